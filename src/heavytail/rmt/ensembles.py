r"""Random matrices to draw: noise, heavy tails, planted signals, and the beta-Wishart ensemble by its bidiagonal model.

A sampler is `name(N, M, ..., seed)` and gives a float64 array of N rows and M columns, N and M at least 1 (ValueError
otherwise). The seed is a number or a generator, and the same seed gives the same bytes. Entries are independent, of
mean 0 and variance 1, where nothing else is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigvalsh_tridiagonal, solve_triangular

__all__ = [
    "ENTRIES",
    "correlated",
    "gaussian",
    "goe",
    "haar",
    "inverse_wishart",
    "laplace",
    "largest_eigenvalues",
    "levy",
    "lomax",
    "low_rank",
    "pareto",
    "rank_deficient",
    "spiked",
    "student_t",
    "uniform",
    "wishart_bidiagonal",
]

Matrix = NDArray[np.float64]
Seed = int | np.random.Generator


# Laws of independent entries.


def gaussian(N: int, M: int, seed: Seed) -> Matrix:
    """Draw entries of the standard normal law.

    Example:
        >>> gaussian(2, 3, seed=0).shape
        (2, 3)
    """
    return np.random.default_rng(seed).standard_normal(_shape(N, M))


def uniform(N: int, M: int, seed: Seed) -> Matrix:
    """Draw entries uniform on [-sqrt 3, sqrt 3], which have variance 1.

    Example:
        >>> bool(abs(uniform(20, 30, seed=0)).max() <= 3**0.5)
        True
    """
    return np.random.default_rng(seed).uniform(-np.sqrt(3), np.sqrt(3), _shape(N, M))


def laplace(N: int, M: int, seed: Seed) -> Matrix:
    """Draw entries of density exp(-sqrt 2 |w|) / sqrt 2, which have variance 1.

    Example:
        >>> laplace(2, 3, seed=0).shape
        (2, 3)
    """
    return np.random.default_rng(seed).laplace(scale=np.sqrt(0.5), size=_shape(N, M))


def student_t(N: int, M: int, df: float, seed: Seed) -> Matrix:
    """Draw entries of Student's law with df > 0 degrees of freedom, which is its tail index.

    For df > 2 they are divided by their deviation sqrt(df / (df - 2)); up to 2 there is no variance, and they keep
    their natural scale.

    Raises:
        ValueError: if df is not positive.

    Example:
        >>> student_t(2, 3, df=3, seed=0).shape
        (2, 3)
    """
    w = np.random.default_rng(seed).standard_t(_positive("df", df), _shape(N, M))
    return w * np.sqrt((df - 2) / df) if df > 2 else w


def pareto(N: int, M: int, tail_mu: float, seed: Seed) -> Matrix:
    """Draw entries of random sign and pure power law, P(|w| > t) = t^-tail_mu for t >= 1, tail_mu > 0.

    The natural scale is kept: the variance is tail_mu / (tail_mu - 2) above 2, infinite up to 2.

    Raises:
        ValueError: if tail_mu is not positive.

    Example:
        >>> bool(abs(pareto(20, 30, tail_mu=1.5, seed=0)).min() >= 1)
        True
    """
    rng, shape = np.random.default_rng(seed), _shape(N, M)
    size = np.exp(rng.standard_exponential(shape) / _positive("tail_mu", tail_mu))
    return np.copysign(size, rng.random(shape) - 0.5)


def lomax(N: int, M: int, tail_mu: float, seed: Seed) -> Matrix:
    r"""Draw entries of the Lomax law, P(w > t) = (1 + t)^-tail_mu for t >= 0, exactly as numpy's `Generator.pareto`.

    It is the law behind the published experiments on heavy-tailed matrices (Martin and Mahoney 2018), where it stands
    for Pareto's, and two things set it apart. It is a Pareto law moved to start at 0, so a pure power law only far in
    its tail: a fitted exponent is too small, the more so the lighter the tail. And it is one-sided with mean
    1 / (tail_mu - 1), so that a matrix carries a spike of rank one along the all-ones vectors: for tail_mu > 2 the
    largest eigenvalue of W^T W / N grows like M / (tail_mu - 1)^2, linearly in size, instead of N^(4 / tail_mu - 1).
    The draw is left as it is, neither centred nor scaled.

    Raises:
        ValueError: if tail_mu is not positive.

    Example:
        >>> bool((lomax(2, 3, 1.5, seed=0) == np.random.default_rng(0).pareto(1.5, (2, 3))).all())
        True
    """
    return np.random.default_rng(seed).pareto(_positive("tail_mu", tail_mu), _shape(N, M))


def levy(N: int, M: int, tail_mu: float, seed: Seed) -> Matrix:
    r"""Draw entries of the symmetric stable law, E exp(i t w) = exp(-|t|^tail_mu), by Chambers, Mallows and Stuck 1976.

    The stability index tail_mu is in (0, 2]: 1 is the Cauchy law and 2 the normal law of variance 2. Below 2 the tail
    is P(|w| > t) ~ (2 / pi) Gamma(tail_mu) sin(pi tail_mu / 2) t^-tail_mu.

    Raises:
        ValueError: if tail_mu is outside (0, 2].

    Example:
        >>> levy(2, 3, tail_mu=1.5, seed=0).shape
        (2, 3)
    """
    if not 0 < tail_mu <= 2:
        raise ValueError(f"a stable law has tail_mu in (0, 2]; got {tail_mu}")
    rng, shape = np.random.default_rng(seed), _shape(N, M)
    angle = rng.uniform(-np.pi / 2, np.pi / 2, shape)
    ratio = np.cos((1 - tail_mu) * angle) / rng.standard_exponential(shape)
    return np.sin(tail_mu * angle) / np.cos(angle) ** (1 / tail_mu) * ratio ** (1 / tail_mu - 1)


ENTRIES: Mapping[str, Callable[..., Matrix]] = MappingProxyType(
    {law.__name__: law for law in (gaussian, uniform, laplace, student_t, pareto, lomax, levy)}
)
"""The laws of independent entries by name; the last four take their tail index as third argument."""


# Matrices with a structure.


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
    squares = rng.chisquare(_positive("beta", beta) * np.concatenate([N - i, M - 1 - i[:-1]])) / beta
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


def _shape(N: int, M: int) -> tuple[int, int]:
    """Check the size of a matrix."""
    if N < 1 or M < 1:
        raise ValueError(f"a matrix has at least one row and one column; got N = {N}, M = {M}")
    return N, M


def _positive(name: str, value: float) -> float:
    """Check a parameter of a law."""
    if not value > 0:
        raise ValueError(f"{name} must be positive; got {value}")
    return value
