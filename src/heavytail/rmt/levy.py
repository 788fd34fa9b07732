"""The spectral laws of Levy matrices: symmetric (Wigner) and covariance (Wishart), entries of tail index below 2.

Their entries have no variance, so the semicircle and the Marchenko-Pastur law do not hold; the limits are the laws of
Ben Arous and Guionnet (2008) and of Belinschi, Dembo and Guionnet (2009). The Wigner law is the case Q = 1 of the
other: its x^2 has the law of the Wishart eigenvalues. The equations, and how they are solved, are in `_levy`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, inf, lgamma, log, nan, pi

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heavytail.rmt._law import Law, Vector
from heavytail.rmt._levy import Complex, log_quantile, solve

__all__ = ["LevyWigner", "LevyWishart"]

_UNRESOLVED = 3e-11  # of |z G(z)|: what lies below in the imaginary part left of the law is rounding
_FLAT = 1e-120  # size of z up to which the transform of a bounded density is constant


@dataclass(frozen=True, slots=True)
class LevyWigner(Law):
    r"""The eigenvalue law of a symmetric n x n Levy matrix A with P(|A_ij| > u) = u^-tail_mu / n for large u.

    Such entries are n^(-1/tail_mu) times a Pareto variable U^(-1/tail_mu) of either sign, or anything with that tail.
    The law is symmetric, has a bounded density without edges, and decays as

    .. math:: \rho(x) \to (\mu / 2) |x|^{-1-\mu}.

    Relative errors are below 1e-12 (1e-8 from tail_mu = 1.99 on), in the tails too.

    Source: Ben Arous and Guionnet (2008), "The spectrum of heavy tailed random matrices".

    Attributes:
        tail_mu: tail index of the entries, 0.05 to 1.999; the law itself exists for all of (0, 2).

    Raises:
        ValueError: if tail_mu is out of range.
        ArithmeticError: by any method, if the equations were not solved to precision; no wrong number is returned.

    Example:
        >>> law = LevyWigner(1.0)
        >>> round(float(law.pdf(0.0)) * np.pi, 9), round(float(law.pdf(1.0)), 6)
        (1.0, 0.130005)
    """

    tail_mu: float

    def __post_init__(self) -> None:
        """Check the parameters."""
        _check(self.tail_mu)

    def pdf(self, x: ArrayLike) -> Vector:
        """Density at x, any shape."""
        x = np.abs(np.asarray(x, dtype=np.float64))
        near = x < self._flat()

        def density(x: Vector) -> Vector:
            return -solve(self.tail_mu / 2, 1.0, 2 * np.log(x) + 0j)[0].imag / (pi * x)

        return _fill(np.where(near, self.density_at_zero(), 0.0), ~near & (x < inf), density, x)

    def sf(self, x: ArrayLike) -> Vector:
        """Probability above x, any shape; exact to 1e-12, and relatively so in the upper tail."""
        x = np.asarray(x, dtype=np.float64)
        size = np.abs(x)
        near = size < self._flat()

        def mass(size: Vector) -> Vector:
            return solve(self.tail_mu / 2, 1.0, 2 * np.log(size) + 0j)[1] / 2

        half = _fill(np.where(near, 0.5 - size * self.density_at_zero(), 0.0), ~near & (size < inf), mass, size)
        return np.where(x > 0, half, 1 - half)[()]

    def cdf(self, x: ArrayLike) -> Vector:
        """Probability up to x, any shape; exact to 1e-12, and relatively so in the lower tail."""
        return self.sf(-np.asarray(x, dtype=np.float64))

    def ppf(self, p: ArrayLike) -> Vector:
        """Quantile of the probabilities p, any shape; NaN outside [0, 1].

        Example:
            >>> law = LevyWigner(1.5)
            >>> round(float(law.cdf(law.ppf(0.3))), 9)
            0.3
        """
        p = np.asarray(p, dtype=np.float64)
        tail = 2 * np.minimum(p, 1 - p)
        return (np.sign(p - 0.5) * np.exp(log_quantile(self.tail_mu / 2, 1.0, tail) / 2))[()]

    def isf(self, p: ArrayLike) -> Vector:
        """Value that is passed with probability p, any shape; NaN outside [0, 1]."""
        return -self.ppf(p)

    def mean(self) -> float:
        """Mean: 0, but NaN for tail_mu <= 1, where both tails are too heavy for one."""
        return 0.0 if self.tail_mu > 1 else nan

    def var(self) -> float:
        """Variance: infinite, or NaN where there is no mean."""
        return inf if self.tail_mu > 1 else nan

    def _shape(self) -> tuple[float, float]:
        return nan, nan

    def stieltjes(self, z: ArrayLike) -> Complex:
        """G(z), the mean of 1 / (z - x), at complex z of any shape with Im z > 0.

        Raises:
            ValueError: if some Im z is not positive.
        """
        z = _upper(z, _FLAT)
        left = z.real < 0
        mirror = np.where(left, -z.conj(), z)
        G = solve(self.tail_mu / 2, 1.0, 2 * np.log(mirror))[0] / mirror
        return np.where(left, -G.conj(), G)[()]

    def density_at_zero(self) -> float:
        """Density at 0, its maximum: Gamma(1 + 2/mu) [Gamma(1 + mu/2) / Gamma(1 - mu/2)]^(1/mu) / pi."""
        mu = self.tail_mu
        return exp(lgamma(1 + 2 / mu) + (lgamma(1 + mu / 2) - lgamma(1 - mu / 2)) / mu) / pi

    def tail_density(self, x: ArrayLike) -> Vector:
        """What the density tends to for large |x|: (tail_mu / 2) |x|^(-1 - tail_mu)."""
        return _tail(self.tail_mu / 2, self.tail_mu, np.abs(np.asarray(x, dtype=np.float64)))

    def _flat(self) -> float:
        """Size of x up to which the density equals its maximum to 1e-18: the next term of its series is quadratic."""
        mu = self.tail_mu
        log_square = log(2) + lgamma(2 / mu) - lgamma(6 / mu)  # of the ratio of the first term to the third
        return 1e-9 * exp(log_square / 2 + (lgamma(1 - mu / 2) - lgamma(1 + mu / 2)) / mu)

    def support(self) -> tuple[float, float]:
        """The whole line: the law has no edges."""
        return -inf, inf


@dataclass(frozen=True, slots=True)
class LevyWishart(Law):
    r"""The law of the M eigenvalues of W^T W for N x M Levy matrices, P(|W_ij| > u) = u^-tail_mu / N, Q = N/M >= 1.

    In the notation of Belinschi, Dembo and Guionnet, X = W^T is p x n with p = M, n = N and gamma = p/n = 1/Q. Entries
    are N^(-1/tail_mu) times a Pareto variable of either sign. The density decays as

    .. math:: \rho(l) \to (\mu / 2) l^{-1-\mu/2}.

    For Q = 1 it is that of x^2 under the Wigner law and diverges as 1/sqrt(l) at 0. For Q > 1 it has no edge at the
    left either: it is positive everywhere, but falls towards 0 as exp(-C l^-b) with b = mu / (2 - mu), so fast that
    it looks like an edge for mu near 2. As Q grows the law becomes the one-sided stable law of index mu/2.

    Relative errors are below 1e-12 (1e-8 from tail_mu = 1.99 on), in the upper tail too; at the left, where the density
    dies out, the error of l times the density is below 1e-14 (1e-11).

    Source: Belinschi, Dembo and Guionnet (2009), "Spectral measure of heavy tailed band and covariance random
    matrices".

    Attributes:
        tail_mu: tail index of the entries, 0.05 to 1.999; the law itself exists for all of (0, 2).
        Q: aspect ratio N/M, at least 1; for a wide matrix take the law of its transpose.

    Raises:
        ValueError: if tail_mu or Q is out of range.
        ArithmeticError: by any method, if the equations were not solved to precision; no wrong number is returned.

    Example:
        >>> law = LevyWishart(1.5, Q=2.0)
        >>> round(float(law.pdf(1.0)), 5), round(float(law.sf(1e6)) * 1e6**0.75, 3)
        (0.18764, 1.0)
    """

    tail_mu: float
    Q: float = 1.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        _check(self.tail_mu)
        if not 1 <= self.Q < inf:
            raise ValueError(f"Q = N/M is {self.Q:g}, expected at least 1 and finite; transpose a wide matrix")

    def pdf(self, x: ArrayLike) -> Vector:
        """Density at eigenvalues x, any shape; 0 below 0, and at 0 infinite for Q = 1.

        For Q > 1 it is 0, too, at the left where it cannot be told from rounding.
        """
        x = np.asarray(x, dtype=np.float64)

        def density(x: Vector) -> Vector:
            if self.Q == 1:
                return LevyWigner(self.tail_mu).pdf(np.sqrt(x)) / np.sqrt(x)
            h = solve(self.tail_mu / 2, self.Q, np.log(x) + 0j)[0]
            lost = (h.real < 0) & (-h.imag < _UNRESOLVED * np.abs(h))
            return np.where(lost, 0, -h.imag) / (pi * x)

        return _fill(np.where((x == 0) & (self.Q == 1), inf, 0.0), (x > 0) & (x < inf), density, x)

    def sf(self, x: ArrayLike) -> Vector:
        """Probability above x, any shape; exact to 1e-12, and relatively so in the upper tail."""
        x = np.asarray(x, dtype=np.float64)

        def mass(x: Vector) -> Vector:
            return np.clip(solve(self.tail_mu / 2, self.Q, np.log(x) + 0j)[1], 0, 1)

        return _fill(np.where(x <= 0, 1.0, 0.0), (x > 0) & (x < inf), mass, x)

    def cdf(self, x: ArrayLike) -> Vector:
        """Probability up to x, any shape; exact to 1e-12."""
        return 1 - self.sf(x)

    def ppf(self, p: ArrayLike) -> Vector:
        """Quantile of the probabilities p, any shape; NaN outside [0, 1]."""
        return self.isf(1 - np.asarray(p, dtype=np.float64))

    def isf(self, p: ArrayLike) -> Vector:
        """Value that is passed with probability p, any shape; NaN outside [0, 1]."""
        return np.exp(log_quantile(self.tail_mu / 2, self.Q, np.asarray(p, dtype=np.float64)))[()]

    def mean(self) -> float:
        """Mean: infinite for every tail_mu."""
        return inf

    def var(self) -> float:
        """Variance: infinite, as the mean is."""
        return inf

    def _shape(self) -> tuple[float, float]:
        return nan, nan

    def stieltjes(self, z: ArrayLike) -> Complex:
        """G(z), the mean of 1 / (z - l), at complex z of any shape with Im z > 0.

        Raises:
            ValueError: if some Im z is not positive.
        """
        if self.Q == 1:
            root = np.sqrt(_upper(z, 0))
            return np.asarray(LevyWigner(self.tail_mu).stieltjes(root) / root)[()]
        z = _upper(z, _FLAT**2)
        return (solve(self.tail_mu / 2, self.Q, np.log(z))[0] / z)[()]

    def tail_density(self, x: ArrayLike) -> Vector:
        """What the density tends to for large x: (tail_mu / 2) x^(-1 - tail_mu / 2)."""
        return _tail(self.tail_mu / 2, self.tail_mu / 2, np.asarray(x, dtype=np.float64))

    def support(self) -> tuple[float, float]:
        """The positive half line, for every Q: see the class for why there is no left edge."""
        return 0.0, inf


def _check(tail_mu: float) -> None:
    """Refuse a tail index that has no such law, or one out of the reach of double precision."""
    if not 0.05 <= tail_mu <= 1.999:
        raise ValueError(f"tail_mu is {tail_mu:g}, expected 0.05 to 1.999: from 2 on the entries have a variance")


def _upper(z: ArrayLike, least: float) -> Complex:
    """Check that z lies in the upper half plane, and move it out to the modulus `least` where it is nearer to 0."""
    z = np.asarray(z, dtype=np.complex128)
    if not bool((z.imag > 0).all()):
        raise ValueError(f"the Stieltjes transform is taken at Im z > 0, got Im z = {z.imag.min():g}")
    return np.asarray(z * np.maximum(1, least / np.abs(z)))


def _fill(default: Vector, where: NDArray[np.bool_], function: Callable[[Vector], Vector], x: Vector) -> Vector:
    """Give `default`, function(x) where that is to be computed, and NaN for NaN; 0-d arrays become scalars."""
    default[where] = function(x[where])
    default[np.isnan(x)] = np.nan
    return default[()]


def _tail(factor: float, power: float, x: Vector) -> Vector:
    """Give factor x^(-1 - power): infinite at 0, and 0 below."""
    return _fill(np.where(x == 0, inf, 0.0), x > 0, lambda x: factor * x ** (-1 - power), x)
