"""What the entries of a matrix say beyond its spectrum: how heavy they are, and which directions lead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heavytail.weights.tensor import Array, Tensor

__all__ = ["Blocks", "Entries", "leading_vectors", "measure_entries", "turned", "whole"]

Blocks = Callable[[int], Iterable[Array]]
"""Given a number r, reads an N x M matrix in order as blocks of at most r rows, shape (<= r, M)."""

Matrix = NDArray[np.float64]

_SPARE = 8  # columns of the subspace iteration beyond those that are asked for
_ITERATIONS = 2
_PIECE = 8 << 20  # bytes read at a time


def whole(rows: Blocks) -> Matrix:
    """Read a matrix as one array."""
    return np.concatenate([block.astype(np.float64) for block in rows(1 << 30)])


@dataclass(frozen=True, slots=True)
class Entries:
    """Moments of a matrix's entries about zero, in units of a given size.

    Attributes:
        rows: (N,) mean squares of the rows.
        columns: (M,) mean squares of the columns.
        kurtosis: excess kurtosis of all entries.
    """

    rows: Matrix
    columns: Matrix
    kurtosis: float


def measure_entries(rows: Blocks, step: int, M: int, size: float, largest: float, without: Matrix) -> Entries:
    """Measure the entries of a matrix.

    Args:
        rows: the matrix.
        step: rows read at a time.
        M: number of columns.
        size: unit of the entries, positive.
        largest: entries beyond it, in that unit, are left out: too large to be of the noise, they make eigenvalues of
            their own.
        without: (M, k) orthonormal directions that are taken out of the matrix first, as those of its spikes.

    Example:
        >>> W = np.array([[1.0, -1.0], [1.0, 1.0], [50.0, 1.0]])
        >>> measure_entries(lambda r: [W], 3, 2, 1.0, 10.0, np.zeros((2, 0))).kurtosis
        -2.0
    """
    by_row, by_column, kept, fourth = [], np.zeros(M), 0, 0.0
    for block in rows(step):
        x = block.astype(np.float64)
        x *= 1 / size
        if without.shape[1]:
            _deflate(x, without)
        np.square(x, out=x)
        kept += x.size
        if float(x.max(initial=0)) > largest**2:
            large = x > largest**2
            kept -= int(large.sum())
            x[large] = 0
        by_row.append(x @ np.full(M, 1 / M))
        by_column += np.ones(len(x)) @ x
        flat = x.ravel("K")
        fourth += float(flat @ flat)
    second = float(by_column.sum())
    mean_squares = np.concatenate(by_row)
    kurtosis = fourth * kept / second**2 - 3 if second > 0 else 0.0
    return Entries(mean_squares, by_column / mean_squares.size, kurtosis)


def _deflate(x: Matrix, V: Matrix) -> None:
    """Take orthonormal directions out of rows, in the order of their memory: across it a subtraction takes long."""
    weights = x @ V
    if x.flags.c_contiguous:
        x -= weights @ V.T
    else:
        columns = x.T
        columns -= V @ weights.T


def leading_vectors(rows: Blocks, step: int, M: int, k: int) -> Matrix:
    """Approximate the leading right singular vectors by subspace iteration (Halko, Martinsson and Tropp 2011).

    Args:
        rows: the matrix, read twice over.
        step: rows read at a time.
        M: number of columns.
        k: number of vectors.

    Returns:
        (M, k) orthonormal directions. Close singular values leave them mixed, which does no harm to their span.
    """
    if k == 0:
        return np.zeros((M, 0))
    V = np.random.default_rng(0).standard_normal((M, min(k + _SPARE, M)))
    for _ in range(_ITERATIONS):
        V = np.linalg.qr(V)[0]
        product = np.zeros_like(V)
        for block in rows(step):
            W = block.astype(np.float64)
            product += W.T @ (W @ V)
        V = product
    return np.ascontiguousarray(np.linalg.svd(V, full_matrices=False)[0][:, :k])


def turned(tensor: Tensor, size: int) -> Blocks:
    """Read a wide matrix as its transpose, in panels of columns; one pass over the tensor for each of them.

    Args:
        tensor: (rows, columns).
        size: bytes of a panel, in the stored type.
    """
    rows, columns = tensor.shape
    most = size * columns // max(tensor.nbytes, 1)
    step = max(1, _PIECE * rows // max(tensor.nbytes, 1))

    def read(r: int) -> Iterator[Array]:
        width = max(r, most // r * r)  # whole blocks, so that the sums over them do not depend on the size
        for first in range(0, columns, width):
            at, panel = 0, None
            for block in tensor.blocks(step):
                if panel is None:
                    panel = np.empty((rows, min(width, columns - first)), block.dtype)
                panel[at : at + len(block)] = block[:, first : first + width]
                at += len(block)
            assert panel is not None
            for i in range(0, panel.shape[1], r):
                yield panel[:, i : i + r].T.copy()  # a view would keep the panel when the next one is made
            del panel

    return read
