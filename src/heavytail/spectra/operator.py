"""The exact linear operator of a convolution: its singular values by the Fourier transform of the kernel."""

from __future__ import annotations

from dataclasses import replace
from math import prod, sqrt

import numpy as np
from numpy.typing import NDArray

from heavytail.errors import MatrixError
from heavytail.spectra.exact import pool, spectrum_of_stack, unusable
from heavytail.spectra.spectrum import Spectrum
from heavytail.weights.tensor import Array

__all__ = ["GRID", "HELD", "frequencies", "operator_spectrum"]

GRID = 16
"""Points along each axis of the image that the convolution acts on."""

_EPS = 2.0**-52
HELD = 16 << 20
"""Bytes of transformed kernels that are made at a time; what is computed of them takes some times as many."""


def operator_spectrum(kernel: Array, dtype: str, grid: int = GRID) -> Spectrum:
    """Compute the spectrum of a convolution, stride 1 and circular padding, as a linear map between images.

    On a grid of n points along each of d axes the operator is block-diagonal in the Fourier basis: at each of the n^d
    frequencies it is the (out, in) matrix of the kernel's Fourier transform (Sedghi, Gupta and Long 2019, theorem 6).
    A real kernel has the same singular values at opposite frequencies: one of them is computed, both are counted.

    Args:
        kernel: (out, in, k_1, ..., k_d) real array.
        dtype: name of the stored type.
        grid: points along each axis; a kernel that is wider than the grid gets a grid of its own width.

    Returns:
        The spectrum of the n^d matrices, pooled. The sum of its eigenvalues is n^d times the kernel's squared norm.

    Raises:
        MatrixError: if an entry is not finite.

    Example:
        >>> import numpy as np
        >>> edge = np.array([[[1.0, -1.0]]])  # a difference filter on four points
        >>> operator_spectrum(edge, "float64", grid=4).evals.round(6)
        array([0., 2., 2., 4.])
    """
    if problem := unusable([kernel]) if not np.isfinite(kernel.astype(np.float64)).all() else "":
        raise MatrixError(problem)
    norm = float(np.linalg.norm(kernel.astype(np.float64)))
    sizes = tuple(max(grid, k) for k in kernel.shape[2:])
    out, inputs = kernel.shape[:2]
    flat = kernel.astype(np.float64).reshape(out * inputs, -1)
    chosen, opposite = _half(sizes)
    chunk = max(1, HELD // (16 * out * inputs))
    stacks = (flat @ _waves(chosen[i : i + chunk], sizes, kernel.shape[2:]) for i in range(0, len(chosen), chunk))
    found = [spectrum_of_stack(_matrices(stack, out, inputs), dtype, norm) for stack in stacks]
    pooled = _doubled(pool(found), np.flatnonzero(opposite))
    # A sum over the kernel's positions is off by as many roundings of its norm at most.
    transformed = (prod(kernel.shape[2:]) + 4) * _EPS * norm * sqrt(pooled.evals[-1])
    return replace(pooled, error=pooled.error + transformed, method="operator")


def frequencies(kernel: tuple[int, ...], grid: int = GRID) -> int:
    """Give the number of frequencies that are computed for a kernel of these sides: one of each opposite pair.

    Example:
        >>> frequencies((3, 3))
        130
    """
    sizes = [max(grid, k) for k in kernel]
    return (prod(sizes) + prod(2 - n % 2 for n in sizes)) // 2


def _half(sizes: tuple[int, ...]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Give one of each pair of opposite frequencies, as indices (k, d), and whether it has an opposite."""
    every = np.indices(sizes).reshape(len(sizes), -1).T
    number = np.ravel_multi_index(tuple(every.T), sizes)
    mirror = np.ravel_multi_index(tuple((-every % sizes).T), sizes)
    first = number <= mirror
    return every[first], (number != mirror)[first]


def _waves(frequencies: NDArray[np.intp], sizes: tuple[int, ...], kernel: tuple[int, ...]) -> NDArray[np.complex128]:
    """Give exp(-2 pi i f x / n) for the kernel's positions x, in rows, and frequencies f, in columns."""
    positions = np.indices(kernel).reshape(len(kernel), -1).T
    # Whole turns are taken off as integers, so that no digit is lost to them.
    turns = sum(np.outer(x, f) % n / n for x, f, n in zip(positions.T, frequencies.T, sizes, strict=True))
    return np.asarray(np.exp(-2j * np.pi * turns))


def _matrices(transformed: NDArray[np.complex128], out: int, inputs: int) -> NDArray[np.complex128]:
    return np.ascontiguousarray(transformed.T).reshape(-1, out, inputs)


def _doubled(half: Spectrum, paired: NDArray[np.intp]) -> Spectrum:
    """Count the matrices that have an opposite of equal singular values twice."""
    by_matrix = np.concatenate([half.by_matrix, half.by_matrix[paired]])
    positive = np.concatenate([half.positive, *(evals[evals > half.floor] for evals in half.by_matrix[paired])])
    return replace(half, evals=np.sort(by_matrix, axis=None), by_matrix=by_matrix, positive=np.sort(positive))
