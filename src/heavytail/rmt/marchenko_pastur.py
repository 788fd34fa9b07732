r"""The Marchenko-Pastur law: the eigenvalues of W^T W / N for a large matrix of independent entries."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite, log, log1p, pi, sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from heavytail.rmt._angle import AngleLaw
from heavytail.rmt._law import Law, Real, Vector

__all__ = ["MarchenkoPastur"]


@dataclass(frozen=True, slots=True)
class MarchenkoPastur(Law):
    r"""Marchenko-Pastur law (1967) of X = W^T W / N, W an N x M matrix of independent entries of variance sigma^2.

    For N and M to infinity at Q = N/M fixed, with c = 1/Q and the edges a, b = sigma^2 (1 -+ sqrt c)^2, the density is

    .. math:: \rho(x) = \frac{\sqrt{(b - x)(x - a)}}{2 \pi c \sigma^2 x}, \qquad a < x < b,

    and for Q < 1 there is an atom of mass 1 - Q at zero.

    Attributes:
        Q: aspect ratio N/M, any positive number.
        sigma: standard deviation of the entries of W, positive.

    Raises:
        ValueError: if Q or sigma is not positive and finite.

    Example:
        >>> law = MarchenkoPastur(Q=4.0)
        >>> law.edges
        (0.25, 2.25)
        >>> law.mean(), law.var(), float(law.cdf(2.25))
        (1.0, 0.25, 1.0)
    """

    Q: float
    sigma: float = 1.0

    def __post_init__(self) -> None:  # noqa: D105
        for name in ("Q", "sigma"):
            if not 0 < getattr(self, name) < inf:
                raise ValueError(f"{name} is positive and finite; got {getattr(self, name)!r}")

    @property
    def atom(self) -> float:
        """Mass at zero, max(0, 1 - Q)."""
        return max(0.0, 1 - self.Q)

    @property
    def edges(self) -> tuple[float, float]:
        """Edges a, b of the continuous part."""
        root = sqrt(self._c)
        return self.sigma**2 * ((self.Q - 1) / self.Q / (1 + root)) ** 2, self.sigma**2 * (1 + root) ** 2

    def support(self) -> tuple[float, float]:
        """Ends of the support: the edges, or (0, b) where there is an atom."""
        a, b = self.edges
        return (a if self.Q >= 1 else 0.0), b

    def pdf(self, x: ArrayLike) -> Real:
        """Density of the continuous part at x, of any shape; 0 at and beyond the edges, inf at 0 for Q = 1."""
        x = np.asarray(x, dtype=np.float64)
        a, b = self.edges
        inside = (x > a) & (x < b)
        y = np.where(inside, x, (a + b) / 2)
        value = np.sqrt(b - y) * (np.sqrt(y - a) / y) / (2 * pi * self._c * self.sigma**2)
        outside = np.where(np.isnan(x), np.nan, np.where((x == 0) & (a == 0), inf, 0.0))
        return np.where(inside, value, outside)[()]

    def cdf(self, x: ArrayLike) -> Real:
        """Probability of a value up to x, of any shape; it includes the atom from x = 0 on."""
        return self._tails(x)[0][()]

    def sf(self, x: ArrayLike) -> Real:
        """Probability of a value above x, of any shape; exact relative to itself at the upper edge."""
        return self._tails(x)[1][()]

    def ppf(self, p: ArrayLike) -> Real:
        """Quantile of the probability p in [0, 1], of any shape; NaN outside."""
        p = np.asarray(p, dtype=np.float64)
        return self._quantile(p, 1 - p)

    def isf(self, p: ArrayLike) -> Real:
        """Value that is passed with probability p in [0, 1], of any shape; NaN outside."""
        p = np.asarray(p, dtype=np.float64)
        return self._quantile(1 - p, p)

    def moment(self, k: int) -> float:
        r"""E x^k, atom included: sigma^2k times Narayana's polynomial, sum_{r<k} c^r/(r+1) C(k, r) C(k-1, r).

        It is found by recurrence, (k + 1) m_k = (2k - 1)(1 + c) sigma^2 m_{k-1} - (k - 2)(1 - c)^2 sigma^4 m_{k-2}; a
        moment beyond the range of floats is inf.

        Raises:
            ValueError: if k is not a whole number from 0.
        """
        if k < 0 or k != int(k):
            raise ValueError(f"the order of a moment is a whole number from 0; got {k!r}")
        x, d = (1 + self._c) * self.sigma**2, (1 - self._c) * self.sigma**2
        moment, before = float(self.sigma**2 if k else 1), 0.0  # the latter times d
        for j in range(2, int(k) + 1):
            following = ((2 * j - 1) * (x * moment) - (j - 2) * (d * before)) / (j + 1)
            moment, before = following, d * moment
            if not isfinite(moment):
                return inf
        return moment

    def mean(self) -> float:
        """Mean, sigma^2."""
        return self.sigma**2

    def var(self) -> float:
        """Variance, sigma^4 / Q."""
        return self.sigma**4 * self._c

    def _shape(self) -> tuple[float, float]:
        return sqrt(self._c), self._c - 1

    def log_mean(self) -> float:
        """E ln x, the normalised log-determinant: ln sigma^2 - 1 + (1 - Q) ln(1 - 1/Q); -inf where there is an atom."""
        if self.Q < 1:
            return -inf
        spread = (1 - self.Q) * log1p(-self._c) if self.Q > 1 else 0.0
        return 2 * log(self.sigma) - 1 + spread

    def inverse_mean(self) -> float:
        """E 1/x = 1 / (sigma^2 (1 - 1/Q)); inf for Q <= 1."""
        return self.Q / (self.Q - 1) / self.sigma**2 if self.Q > 1 else inf

    def stieltjes(self, z: ArrayLike) -> Any:
        """Stieltjes transform G(z) = E 1/(z - x), of any shape: the branch that falls off as 1/z.

        Im G has the sign of -Im z. On the support a real z stands for z + 0i, so that pdf = -Im G / pi.
        """
        z = np.asarray(z, dtype=np.complex128)
        a, b = self.edges
        variance = self.sigma**2
        return (2 / (z - variance * (1 - self._c) + np.sqrt(z - a) * np.sqrt(z - b)))[()]

    def r_transform(self, z: ArrayLike) -> Any:
        """R-transform sigma^2 / (1 - c sigma^2 z), of any shape: G(R(z) + 1/z) = z."""
        return self.sigma**2 / (1 - self._c * self.sigma**2 * np.asarray(z))[()]

    def s_transform(self, z: ArrayLike) -> Any:
        """S-transform 1 / (sigma^2 (1 + c z)), of any shape; it multiplies in free products."""
        return 1 / (self.sigma**2 * (1 + self._c * np.asarray(z)))[()]

    @property
    def _c(self) -> float:
        return 1 / self.Q

    @property
    def _angle(self) -> AngleLaw:
        q = min(self.Q, 1 / self.Q)
        rho = sqrt(q)
        return AngleLaw(rho, abs(self.Q - 1) / max(self.Q, 1.0) / (1 + rho))

    def _tails(self, x: ArrayLike) -> tuple[Vector, Vector]:
        """Probabilities up to x and above x."""
        x = np.asarray(x, dtype=np.float64)
        below, above = self._depths(x)
        upper = below > above
        half = 2 * np.arcsin(np.sqrt(np.minimum(below, above)))
        mass = min(1.0, self.Q)
        near = mass * np.where(upper, self._angle.upper(half), self._angle.lower(half))
        sf = np.where(upper, near, np.where(x < 0, 1.0, mass - near))
        cdf = np.where(upper, 1 - near, np.where(x < 0, 0.0, self.atom + near))
        return cdf, sf

    def _depths(self, x: Vector) -> tuple[Vector, Vector]:
        """Distances of x from the lower and the upper edge in units of b - a, not below 0."""
        a, b = self.edges
        variance, root = self.sigma**2, sqrt(self._c)
        if root > 0.5:
            below, above = x - a, b - x
        else:  # a narrow law: counted from the mean, which is close to x, no digits are lost
            offset = x - variance
            below, above = offset + variance * root * (2 - root), variance * root * (2 + root) - offset
        width = 4 * variance * root
        return np.where(x <= a, 0, np.maximum(below / width, 0)), np.where(x >= b, 0, np.maximum(above / width, 0))

    def _quantile(self, p: Vector, q: Vector) -> Real:
        """Give the x with cdf(x) = p and sf(x) = q = 1 - p, whichever is more exact."""
        a, b = self.edges
        mass = min(1.0, self.Q)
        lower = np.clip((p - self.atom) / mass, 0, 1)
        upper = np.clip(q / mass, 0, 1)
        is_upper = upper < self._angle.upper(np.array(pi / 2))
        half = np.empty_like(lower)
        half[is_upper] = self._angle.upper_angle(upper[is_upper])
        half[~is_upper] = self._angle.lower_angle(lower[~is_upper])
        step = (b - a) * np.sin(half / 2) ** 2
        x = np.where(is_upper, b - step, a + step)
        x = np.where((p <= self.atom) & (self.atom > 0), 0.0, x)
        return np.where((p >= 0) & (p <= 1), x, np.nan)[()]
