"""The few computations that the claims share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigvalsh_tridiagonal
from scipy.sparse.linalg import svds

from heavytail.rmt.ensembles import lomax, wishart_bidiagonal

__all__ = ["edge_draws", "eigenvalues", "ks_distance", "largest_eigenvalue", "random_sign"]

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


def eigenvalues(W: Matrix) -> Vector:
    """Give the eigenvalues of W^T W (of W W^T where that is smaller), ascending, without 1/N.

    The product squares the range of W, and loses what lies below 1e-16 of the largest; where that could be felt, the
    singular values of W itself are taken, at four times the cost.

    Example:
        >>> eigenvalues(np.diag([1.0, 3.0])).tolist()
        [1.0, 9.0]
    """
    evals = np.linalg.eigvalsh(W.T @ W if W.shape[0] >= W.shape[1] else W @ W.T)
    if evals[0] < 1e-13 * evals[-1]:
        evals = np.linalg.svd(W, compute_uv=False)[::-1] ** 2
    return np.asarray(evals)


def largest_eigenvalue(W: Matrix) -> float:
    """Give the largest eigenvalue of W^T W by Lanczos iteration, to 1e-6.

    Example:
        >>> round(largest_eigenvalue(np.diag([1.0, 2.0, 3.0])), 6)
        9.0
    """
    start = np.ones(min(W.shape))  # fixed, so that the result is
    return float(svds(W, k=1, tol=1e-7, v0=start, return_singular_vectors=False)[0]) ** 2


def edge_draws(N: int, M: int, first_column: Vector, rng: np.random.Generator) -> Vector:
    """Draw the largest eigenvalue of W^T W / N, at O(M) cost, for a Gaussian W whose first column is unlike the rest.

    Rotations of the rows and of the other columns bring such a W to the bidiagonal form of Dumitriu and Edelman (2002)
    with the length of the first column in the first place: its law is that of a matrix with one spike.

    Args:
        N: rows, at least M.
        M: columns.
        first_column: (k,) squared length of the first column in each draw; of noise it is chi-squared with N degrees.
        rng: generator.

    Returns:
        (k,) eigenvalues.

    Example:
        >>> edge_draws(4, 1, np.array([6.0, 8.0]), np.random.default_rng(0)).round(9).tolist()
        [1.5, 2.0]
    """
    top = np.empty(first_column.size)
    for draw, length in enumerate(first_column):
        diagonal, off = wishart_bidiagonal(N, M, seed=rng)
        diagonal[0] = length**0.5
        squares = diagonal**2
        squares[1:] += off**2
        top[draw] = eigvalsh_tridiagonal(squares, diagonal[:-1] * off, select="i", select_range=(M - 1, M - 1))[0] / N
    return top


def ks_distance(x: Vector, cdf: Callable[[Vector], ArrayLike]) -> float:
    """Give the Kolmogorov-Smirnov distance between a sample and a distribution.

    Example:
        >>> ks_distance(np.array([0.5]), lambda x: x)
        0.5
    """
    model, n = np.asarray(cdf(np.sort(x))), x.size
    return float(max((model - np.arange(n) / n).max(), (np.arange(1, n + 1) / n - model).max()))


def random_sign(N: int, M: int, tail_mu: float, rng: np.random.Generator) -> Matrix:
    """Draw the entries of the published experiments, centred by a random sign.

    Example:
        >>> bool(abs(random_sign(100, 100, 5.0, np.random.default_rng(0)).mean()) < 0.02)
        True
    """
    return np.copysign(lomax(N, M, tail_mu, rng), rng.random((N, M)) - 0.5)
