"""What the entries of a matrix say beyond its spectrum: how heavy they are, and which directions lead."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from heavytail.weights.tensor import Array

__all__ = ["Blocks", "excess_kurtosis", "leading_vectors", "whole"]

Blocks = Callable[[int], Iterable[Array]]
"""Given a number r, reads an N x M matrix in order as blocks of at most r rows, shape (<= r, M)."""

Matrix = NDArray[np.float64]

_SPARE = 8  # columns of the subspace iteration beyond those that are asked for
_ITERATIONS = 4


def whole(rows: Blocks) -> Matrix:
    """Read a matrix as one array."""
    return np.concatenate([block.astype(np.float64) for block in rows(1 << 30)])


def excess_kurtosis(rows: Blocks, step: int, largest: float, without: Matrix | None = None) -> float:
    """Compute the excess kurtosis of the entries about zero.

    Args:
        rows: the matrix.
        step: rows read at a time.
        largest: entries beyond it are left out: too large to be of the noise, they make eigenvalues of their own.
        without: (M, k) orthonormal directions that are taken out of the matrix first, as those of its spikes.

    Example:
        >>> W = np.array([[1.0, -1.0], [1.0, 1.0], [50.0, 1.0]])
        >>> excess_kurtosis(lambda r: [W], 3, 10.0)
        -2.0
    """
    count, second, fourth = 0, 0.0, 0.0
    for block in rows(step):
        x = block.astype(np.float64)
        if without is not None:
            x -= (x @ without) @ without.T
        np.square(x, out=x)
        kept = x[x <= largest**2] if float(x.max(initial=0)) > largest**2 else x.ravel()
        count += kept.size
        second += float(kept.sum())
        fourth += float(kept @ kept)
    return fourth * count / second**2 - 3 if second > 0 else 0.0


def leading_vectors(rows: Blocks, step: int, M: int, k: int) -> Matrix:
    """Approximate the leading right singular vectors by subspace iteration (Halko, Martinsson and Tropp 2011).

    Args:
        rows: the matrix, read five times over.
        step: rows read at a time.
        M: number of columns.
        k: number of vectors.

    Returns:
        (M, k) orthonormal directions. Close singular values leave them mixed, which does no harm to their span.
    """
    V = np.random.default_rng(0).standard_normal((M, min(k + _SPARE, M)))
    for _ in range(_ITERATIONS):
        V = np.linalg.qr(V)[0]
        product = np.zeros_like(V)
        for block in rows(step):
            W = block.astype(np.float64)
            product += W.T @ (W @ V)
        V = product
    return np.ascontiguousarray(np.linalg.svd(V, full_matrices=False)[0][:, :k])
