"""Random matrices with a structure: planted signals, correlations, lost rank, and the beta-Wishart ensemble."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigvalsh_tridiagonal, solve_triangular

from heavytail.rmt.ensembles.entries import Matrix, Seed, gaussian, positive

__all__ = [
    "correlated",
    "goe",
    "haar",
    "inverse_wishart",
    "largest_eigenvalues",
    "low_rank",
    "rank_deficient",
    "spiked",
    "wishart_bidiagonal",
]


def haar(n: int, k: int, seed: Seed) -> Matrix:
    """Draw k <= n orthonormal columns of R^n, uniformly: (n, k), U^T U = 1 (Mezzadri 2007).

    Raises:
        ValueError: if k exceeds n.

    Example:
        >>> U = haar(5, 2, seed=0)
        >>> bool(np.allclose(U.T @ U, np.eye(2)))
        True
    """
    if k > n:
        raise ValueError(f"at most n orthonormal columns fit in R^n; got n = {n}, k = {k}")
    q, r = np.linalg.qr(gaussian(n, k, seed))
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)  # R with a positive diagonal is unique, and so Q inherits the symmetry
    return q


def low_rank(N: int, M: int, strengths: ArrayLike, seed: Seed) -> Matrix:
    """Draw sum_i theta_i u_i v_i^T, the u_i orthonormal and uniform, and so the v_i.

    The strengths theta are a vector of k singular values, 0 < k <= min(N, M).

    Raises:
        ValueError: if the strengths are no such vector.

    Example:
        >>> low_rank(4, 3, [2.0], seed=0).shape
        (4, 3)
    """
    theta, rng = np.asarray(strengths, dtype=np.float64), np.random.default_rng(seed)
    if theta.ndim != 1 or not 0 < theta.size <= min(N, M):
        raise ValueError(f"strengths must be a vector of 1 to min(N, M) = {min(N, M)} values; got shape {theta.shape}")
    u, v = haar(N, theta.size, rng), haar(M, theta.size, rng)
    return np.asarray((u * theta) @ v.T)


def spiked(N: int, M: int, strengths: ArrayLike, seed: Seed) -> Matrix:
    """Draw Gaussian noise of variance 1 / N plus `low_rank` spikes (Benaych-Georges and Nadakuditi 2012).

    The scale is that of W^T W without 1 / N: the bulk of singular values ends at 1 + Q^(-1/2), Q = N / M >= 1, and a
    spike leaves it when theta > Q^(-1/4).

    Raises:
        ValueError: as `low_rank`.

    Example:
        >>> top = np.linalg.norm(spiked(400, 200, [2.0], seed=0), 2)
        >>> bool(abs(top - ((1 + 4) * (0.5 + 4)) ** 0.5 / 2) < 0.1)
        True
    """
    rng = np.random.default_rng(seed)
    W = low_rank(N, M, strengths, rng)
    W += gaussian(N, M, rng) / np.sqrt(N)
    return W


def correlated(N: int, population: ArrayLike, seed: Seed) -> Matrix:
    """Draw N Gaussian rows whose covariance is diagonal, with the M eigenvalues of `population`, all >= 0.

    A diagonal loses nothing: in any other basis the singular values and left vectors have the same law.

    Raises:
        ValueError: if the population is no such vector.

    Example:
        >>> correlated(5, [1.0, 4.0], seed=0).shape
        (5, 2)
    """
    spectrum = np.asarray(population, dtype=np.float64)
    if spectrum.ndim != 1 or not (spectrum >= 0).all():
        raise ValueError(f"a population is a vector of eigenvalues >= 0; got shape {spectrum.shape}")
    return np.asarray(gaussian(N, spectrum.size, seed) * np.sqrt(spectrum))


def inverse_wishart(N: int, M: int, seed: Seed) -> Matrix:
    r"""Draw N times the transposed pseudo-inverse of a Gaussian G, so that W^T W / N is exactly (G^T G / N)^-1.

    With N and M large the eigenvalues y of W^T W / N are inverses of Marchenko-Pastur's, of density

    .. math:: \rho(y) = \frac{Q - 1}{2 \pi y^2} \sqrt{(y - y_-)(y_+ - y)}, \qquad y_\pm = (1 \mp Q^{-1/2})^{-2}.

    It is a power law y^(-3/2) between its ends, and as Q -> 1, where y_+ grows without limit, y^(-3/2) / pi for all
    large y: the spectrum of a heavy-tailed layer with alpha = 3/2, and of strongly correlated entries.

    Raises:
        ValueError: if N < M, where G^T G has no inverse.

    Example:
        >>> W, G = inverse_wishart(6, 3, seed=0), gaussian(6, 3, seed=0)
        >>> bool(np.allclose(W.T @ W / 6 @ (G.T @ G / 6), np.eye(3)))
        True
    """
    if N < M:
        raise ValueError(f"an inverse Wishart matrix needs N >= M; got N = {N}, M = {M}")
    q, r = np.linalg.qr(gaussian(N, M, seed))
    return np.asarray(N * solve_triangular(r, q.T).T)  # G = QR, whose pseudo-inverse is R^-1 Q^T


def rank_deficient(N: int, M: int, rank: int, seed: Seed) -> Matrix:
    """Draw the product of an (N, rank) and a (rank, M) Gaussian matrix over sqrt(rank), 1 <= rank <= min(N, M).

    The entries have variance 1, and are neither normal nor independent.

    Raises:
        ValueError: if the rank is out of range.

    Example:
        >>> int(np.linalg.matrix_rank(rank_deficient(8, 6, 2, seed=0)))
        2
    """
    if not 1 <= rank <= min(N, M):
        raise ValueError(f"rank must be from 1 to min(N, M) = {min(N, M)}; got {rank}")
    rng = np.random.default_rng(seed)
    return np.asarray(gaussian(N, rank, rng) @ gaussian(rank, M, rng) / np.sqrt(rank))


def goe(n: int, seed: Seed) -> Matrix:
    """Draw an (n, n) matrix of the Gaussian orthogonal ensemble with the semicircle on [-2, 2].

    Its entries have variance 1 / n off the diagonal and 2 / n on it.

    Example:
        >>> H = goe(4, seed=0)
        >>> bool((H == H.T).all())
        True
    """
    G = gaussian(n, n, seed)
    return np.asarray((G + G.T) / np.sqrt(2 * n))


# The beta-Wishart ensemble.


def wishart_bidiagonal(N: int, M: int, beta: float = 1, *, seed: Seed) -> tuple[Matrix, Matrix]:
    r"""Draw the (M,) diagonal and (M - 1,) subdiagonal of the bidiagonal Wishart model B (Dumitriu and Edelman 2002).

    The squared singular values of B have the joint law of the eigenvalues of W^* W, W an N x M Gaussian matrix with
    E|w|^2 = 1 and N >= M: real for beta = 1, complex for 2, quaternion for 4, and between them for any beta > 0. The
    entries are independent: chi of beta (N - i) degrees of freedom on the diagonal and beta (M - 1 - i) below it, over
    sqrt(beta), i from 0.

    Raises:
        ValueError: if N < M or beta is not positive.

    Example:
        >>> diagonal, below = wishart_bidiagonal(5, 3, seed=0)
        >>> diagonal.shape, below.shape
        ((3,), (2,))
    """
    if N < M:
        raise ValueError(f"the bidiagonal model needs N >= M; got N = {N}, M = {M}")
    rng, i = np.random.default_rng(seed), np.arange(M)
    squares = rng.chisquare(positive("beta", beta) * np.concatenate([N - i, M - 1 - i[:-1]])) / beta
    chi = np.sqrt(squares)
    return chi[:M], chi[M:]


def largest_eigenvalues(N: int, M: int, size: int, beta: float = 1, *, seed: Seed) -> Matrix:
    """Draw (size,) largest eigenvalues of W^* W, not divided by N, W as in `wishart_bidiagonal`: O(M) each.

    Raises:
        ValueError: if N < M or beta is not positive.

    Example:
        >>> edge = (2000**0.5 + 1000**0.5) ** 2
        >>> bool(abs(largest_eigenvalues(2000, 1000, 5, seed=0).mean() / edge - 1) < 0.01)
        True
    """
    rng, top = np.random.default_rng(seed), np.empty(size)
    for draw in range(size):
        diagonal, below = wishart_bidiagonal(N, M, beta, seed=rng)
        squares = diagonal**2
        squares[1:] += below**2
        top[draw] = eigvalsh_tridiagonal(squares, diagonal[:-1] * below, select="i", select_range=(M - 1, M - 1))[0]
    return top
