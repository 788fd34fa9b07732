r"""Spikes: what a perturbation of rank one becomes in the spectrum of noise (Baik, Ben Arous and Peche 2005).

Below a threshold it is lost: the largest eigenvalue stays at the edge and its vector tells nothing. Above, an
eigenvalue leaves the bulk, its place tells the strength, and its vector leans on the true one. Three models, all with
noise of unit variance:

- `CovarianceSpike`: the samples have one population eigenvalue 1 + theta, all others being 1;
- `AdditiveSpike`: theta u v^T + X, X a rectangular matrix of noise, the model of a weight matrix;
- `WignerSpike`: theta v v^T + X, X a symmetric matrix of noise.

Each has a `threshold`, `edge`, `location(theta)`, `strength(location)`, squared overlaps of the empirical vectors with
the true ones, and `fluctuation(theta, n)`. All take arrays of any shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
from numpy.typing import ArrayLike

from heavytail.rmt._law import Real, Vector

__all__ = ["AdditiveSpike", "CovarianceSpike", "WignerSpike"]


@dataclass(frozen=True, slots=True)
class CovarianceSpike:
    r"""Spike of a sample covariance matrix: n samples of p variables, one of population variance 1 + theta.

    With c = p/n an eigenvalue leaves the bulk for theta > sqrt c (Baik and Silverstein 2006).

    Attributes:
        c: p/n, positive.

    Raises:
        ValueError: if c is not positive and finite; from the methods, if theta is negative.

    Example:
        >>> spike = CovarianceSpike(c=0.5)
        >>> print(spike.location(1.0), round(spike.overlap(1.0), 5))
        3.0 0.33333
        >>> print(f"{spike.strength(3.0):.3f}")
        1.000
    """

    c: float

    def __post_init__(self) -> None:  # noqa: D105
        _check_ratio(self.c)

    @property
    def threshold(self) -> float:
        """Least theta that leaves the bulk, sqrt c."""
        return sqrt(self.c)

    @property
    def edge(self) -> float:
        """Upper edge of the eigenvalues, (1 + sqrt c)^2."""
        return (1 + sqrt(self.c)) ** 2

    def location(self, theta: ArrayLike) -> Real:
        """Eigenvalue of the sample covariance: (1 + theta)(1 + c/theta), the edge up to the threshold."""
        h = np.maximum(_strengths(theta), self.threshold)
        return np.maximum((1 + h) * (1 + self.c / h), self.edge)[()]

    def strength(self, location: ArrayLike) -> Real:
        """Give the theta whose eigenvalue lies at `location`; NaN below the edge."""
        x = np.asarray(location, dtype=np.float64)
        x = np.where(x >= self.edge, x, np.nan)
        return (x * _share(1 / x, self.c))[()]

    def overlap(self, theta: ArrayLike) -> Real:
        """Squared overlap of the eigenvector: (1 - c/theta^2) / (1 + c/theta), 0 up to the threshold (Paul 2007)."""
        h = np.maximum(_strengths(theta), self.threshold)
        return (_excess(self.threshold / h) / (1 + self.c / h))[()]

    def fluctuation(self, theta: ArrayLike, n: int) -> Real:
        """Standard deviation of the eigenvalue for real Gaussian samples; NaN up to the threshold.

        n var = 2 (1 + theta)^2 (1 - c/theta^2) (Paul 2007, Theorem 3).

        Args:
            theta: strength, of any shape.
            n: number of samples.
        """
        theta = _strengths(theta)
        h = np.maximum(theta, self.threshold)
        sd = (1 + h) * np.sqrt(2 * _excess(self.threshold / h) / n)
        return _above(theta, self.threshold, sd)


@dataclass(frozen=True, slots=True)
class AdditiveSpike:
    r"""Spike of a rectangular matrix: theta u v^T + X, X of p x n independent entries of variance 1/n.

    With c = p/n a singular value leaves the bulk for theta > c^(1/4) (Benaych-Georges and Nadakuditi 2012). Locations
    are singular values. Where h = theta^2, the eigenvalue (1 + h)(1 + c/h) is that of a covariance spike of strength h,
    but its vectors and its fluctuation are others. For a weight matrix W, N x M with entries of variance sigma^2, take
    W^T / (sigma sqrt N): p = M, n = N, u in the space of the M inputs.

    Attributes:
        c: p/n, positive.

    Raises:
        ValueError: if c is not positive and finite; from the methods, if theta is negative.

    Example:
        >>> spike = AdditiveSpike(c=0.5)
        >>> print(f"{spike.location(2.0):.5f} {spike.overlap_left(2.0):.5f} {spike.overlap_right(2.0):.3f}")
        2.37171 0.86111 0.775
    """

    c: float

    def __post_init__(self) -> None:  # noqa: D105
        _check_ratio(self.c)

    @property
    def threshold(self) -> float:
        """Least theta that leaves the bulk, c^(1/4)."""
        return sqrt(sqrt(self.c))

    @property
    def edge(self) -> float:
        """Upper edge of the singular values, 1 + sqrt c."""
        return 1 + sqrt(self.c)

    def location(self, theta: ArrayLike) -> Real:
        """Singular value: sqrt((1 + theta^2)(c + theta^2)) / theta, the edge up to the threshold."""
        theta = np.maximum(_strengths(theta), self.threshold)
        return np.maximum(np.hypot(theta, 1) * np.hypot(sqrt(self.c) / theta, 1), self.edge)[()]

    def strength(self, location: ArrayLike) -> Real:
        """Give the theta whose singular value lies at `location`; NaN below the edge."""
        s = np.asarray(location, dtype=np.float64)
        s = np.where(s >= self.edge, s, np.nan)
        return (s * np.sqrt(_share(np.square(1 / s), self.c)))[()]

    def overlap_left(self, theta: ArrayLike) -> Real:
        """Squared overlap with u, of length p: 1 - c (1 + h) / (h (h + c)), h = theta^2; 0 up to the threshold."""
        u = self._nearness(_strengths(theta))
        return (_excess(u) / (1 + sqrt(self.c) * u))[()]

    def overlap_right(self, theta: ArrayLike) -> Real:
        """Squared overlap with v, of length n: 1 - (c + h) / (h (h + 1)), h = theta^2; 0 up to the threshold."""
        u = self._nearness(_strengths(theta))
        return (_excess(u) / (1 + u / sqrt(self.c)))[()]

    def fluctuation(self, theta: ArrayLike, n: int) -> Real:
        r"""Standard deviation of the singular value s for real Gaussian noise; NaN up to the threshold.

        .. math:: n\,\mathrm{var}(s^2) = 2 (1 - c/h^2)(1 + 2h + c), \qquad h = \theta^2,

        and var(s) = var(s^2) / 4 s^2. It follows from the equation of s^2 = x, x a b = (1/theta - xi)^2 with
        a = u^T (x - X X^T)^-1 u, b = v^T (x - X^T X)^-1 v and xi = u^T X (x - X^T X)^-1 v: for Gaussian noise the three
        fluctuate independently, with n var(a) = 2 / (h + c)^2 / (h^2 - c), n var(b) = 2 c / (1 + h)^2 / (h^2 - c)
        and n var(xi) = 1 / (h^2 - c).

        Args:
            theta: strength, of any shape.
            n: number of columns.
        """
        theta = _strengths(theta)
        u = self._nearness(theta)
        g = u / sqrt(self.c)  # 1/h
        variance = _excess(u) * (2 + (1 + self.c) * g) / (2 * n * (1 + g) * (1 + self.c * g))
        return _above(theta, self.threshold, np.sqrt(variance))

    def _nearness(self, theta: Vector) -> Vector:
        """Square of threshold over theta, sqrt c / h: 1 up to the threshold, 0 for the strongest spikes."""
        return np.asarray(np.square(self.threshold / np.maximum(theta, self.threshold)))


@dataclass(frozen=True, slots=True)
class WignerSpike:
    """Spike of a symmetric matrix: theta v v^T + X, X symmetric with independent entries of variance 1/n.

    An eigenvalue leaves the bulk, [-2, 2], for theta > 1 (Peche 2006, Capitaine, Donati-Martin and Feral 2009).

    Raises:
        ValueError: from the methods, if theta is negative.

    Example:
        >>> spike = WignerSpike()
        >>> print(spike.location(2.0), spike.overlap(2.0))
        2.5 0.75
    """

    @property
    def threshold(self) -> float:
        """Least theta that leaves the bulk, 1."""
        return 1.0

    @property
    def edge(self) -> float:
        """Upper edge of the eigenvalues, 2."""
        return 2.0

    def location(self, theta: ArrayLike) -> Real:
        """Eigenvalue theta + 1/theta, the edge up to the threshold."""
        h = np.maximum(_strengths(theta), 1)
        return (h + 1 / h)[()]

    def strength(self, location: ArrayLike) -> Real:
        """Give the theta whose eigenvalue lies at `location`; NaN below the edge."""
        x = np.asarray(location, dtype=np.float64)
        inside = np.where(x >= 2, x, np.nan)
        return (inside * ((1 + np.sqrt((1 - 2 / inside) * (1 + 2 / inside))) / 2))[()]

    def overlap(self, theta: ArrayLike) -> Real:
        """Squared overlap of the eigenvector, 1 - 1/theta^2; 0 up to the threshold."""
        return _excess(1 / np.maximum(_strengths(theta), 1))[()]

    def fluctuation(self, theta: ArrayLike, n: int) -> Real:
        """Standard deviation of the eigenvalue for the Gaussian orthogonal ensemble; NaN up to the threshold.

        n var = 2 (1 - 1/theta^2), the diagonal of X having variance 2/n.

        Args:
            theta: strength, of any shape.
            n: size of the matrix.
        """
        theta = _strengths(theta)
        return _above(theta, 1.0, np.sqrt(2 * _excess(1 / np.maximum(theta, 1)) / n))


def _check_ratio(c: float) -> None:
    if not 0 < c < inf:
        raise ValueError(f"c = p/n is positive and finite; got {c!r}")


def _strengths(theta: ArrayLike) -> Vector:
    theta = np.asarray(theta, dtype=np.float64)
    if (theta < 0).any():
        raise ValueError(f"a strength theta is not negative; got {theta.min()!r}")
    return theta


def _share(y: Vector, c: float) -> Vector:
    """Strength h of the eigenvalue x = 1/y at or above the edge, over x: the larger root of h + c/h = x - 1 - c."""
    low, high = (1 - sqrt(c)) ** 2, (1 + sqrt(c)) ** 2
    return np.asarray((1 - (1 + c) * y + np.sqrt(np.maximum((1 - low * y) * (1 - high * y), 0))) / 2)


def _excess(u: Vector) -> Vector:
    """1 - u^2, which is 0 at the threshold, where u = 1."""
    return np.asarray((1 - u) * (1 + u))


def _above(theta: Vector, threshold: float, value: Vector) -> Real:
    """Give a value above the threshold, NaN elsewhere."""
    return np.where(theta > threshold, value, np.nan)[()]
