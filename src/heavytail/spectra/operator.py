"""The exact linear operator of a convolution: its singular values by the Fourier transform of the kernel."""

from __future__ import annotations

from dataclasses import replace
from math import log2, sqrt

import numpy as np

from heavytail.errors import MatrixError
from heavytail.spectra.exact import pool, spectrum_of_stack, unusable
from heavytail.spectra.spectrum import Spectrum
from heavytail.weights.tensor import Array

__all__ = ["GRID", "operator_spectrum"]

GRID = 16
"""Points along each axis of the image that the convolution acts on."""

_EPS = 2.0**-52
_BYTES = 64 << 20  # of transformed kernels held at a time


def operator_spectrum(kernel: Array, dtype: str, grid: int = GRID) -> Spectrum:
    """Compute the spectrum of a convolution, stride 1 and circular padding, as a linear map between images.

    On a grid of n points along each of d axes the operator is block-diagonal in the Fourier basis: at each of the n^d
    frequencies it is the (out, in) matrix of the kernel's Fourier transform (Sedghi, Gupta and Long 2019, theorem 6).
    A real kernel has the same singular values at opposite frequencies; both are counted.

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
    axes = tuple(range(2, kernel.ndim))
    transform = np.fft.fftn(kernel.astype(np.float64), s=sizes, axes=axes).reshape(out, inputs, -1)
    chunk = max(1, _BYTES // (16 * out * inputs))
    stacks = (transform[:, :, i : i + chunk].transpose(2, 0, 1) for i in range(0, transform.shape[2], chunk))
    pooled = pool([spectrum_of_stack(np.ascontiguousarray(stack), dtype, norm) for stack in stacks])
    # The transform of a frequency is off by some log2(n^d) roundings of the kernel's norm.
    transformed = 4 * log2(transform.shape[2]) * _EPS * norm * sqrt(pooled.evals[-1])
    return replace(pooled, error=pooled.error + transformed, method="operator")
