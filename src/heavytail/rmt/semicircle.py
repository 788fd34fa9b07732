r"""The semicircle law: the eigenvalues of a large symmetric matrix of independent entries."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, pi, prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from heavytail.rmt._angle import AngleLaw
from heavytail.rmt._law import Law, Real

__all__ = ["Semicircle"]

_ANGLE = AngleLaw(rho=0.0, gap=1.0)


@dataclass(frozen=True, slots=True)
class Semicircle(Law):
    r"""Wigner's law (1955) of an n x n symmetric matrix of independent entries of variance sigma^2 / n.

    .. math:: \rho(x) = \frac{\sqrt{4 \sigma^2 - x^2}}{2 \pi \sigma^2}, \qquad |x| < 2 \sigma.

    There is no S-transform here: it divides by the mean, which is zero.

    Attributes:
        sigma: half of the radius, positive.

    Raises:
        ValueError: if sigma is not positive and finite.

    Example:
        >>> law = Semicircle()
        >>> law.support(), law.var(), law.moment(4)
        ((-2.0, 2.0), 1.0, 2.0)
    """

    sigma: float = 1.0

    def __post_init__(self) -> None:  # noqa: D105
        if not 0 < self.sigma < inf:
            raise ValueError(f"sigma is positive and finite; got {self.sigma!r}")

    @property
    def edges(self) -> tuple[float, float]:
        """Edges, -2 sigma and 2 sigma."""
        return -2.0 * self.sigma, 2.0 * self.sigma

    def support(self) -> tuple[float, float]:
        """Ends of the support, the edges."""
        return self.edges

    def pdf(self, x: ArrayLike) -> Real:
        """Density at x, of any shape; 0 at and beyond the edges."""
        y = np.asarray(x, dtype=np.float64) / (2 * self.sigma)
        return (np.sqrt(np.maximum((1 - y) * (1 + y), 0)) / (pi * self.sigma))[()]

    def cdf(self, x: ArrayLike) -> Real:
        """Probability of a value up to x, of any shape; exact relative to itself at the lower edge."""
        y = np.clip(np.asarray(x, dtype=np.float64) / (2 * self.sigma), -1, 1)
        half = 2 * np.arcsin(np.sqrt((1 - np.abs(y)) / 2))
        near = _ANGLE.lower(half)
        return np.where(y > 0, 1 - near, near)[()]

    def sf(self, x: ArrayLike) -> Real:
        """Probability of a value above x, of any shape; exact relative to itself at the upper edge."""
        return self.cdf(-np.asarray(x, dtype=np.float64))

    def ppf(self, p: ArrayLike) -> Real:
        """Quantile of the probability p in [0, 1], of any shape; NaN outside."""
        p = np.asarray(p, dtype=np.float64)
        inside = (p >= 0) & (p <= 1)
        half = _ANGLE.lower_angle(np.where(inside, np.minimum(p, 1 - p), 0.5))
        x = -2 * self.sigma * np.cos(half) * np.where(p > 0.5, -1, 1)
        return np.where(inside, x, np.nan)[()]

    def isf(self, p: ArrayLike) -> Real:
        """Value that is passed with probability p in [0, 1], of any shape; NaN outside."""
        return -self.ppf(p)

    def moment(self, k: int) -> float:
        """E x^k: sigma^k times Catalan's number of k/2, or 0 for odd k; inf beyond the range of floats.

        Raises:
            ValueError: if k is not a whole number from 0.
        """
        if k < 0 or k != int(k):
            raise ValueError(f"the order of a moment is a whole number from 0; got {k!r}")
        ratios = ((4 * j - 2) / (j + 1) * self.sigma**2 for j in range(1, int(k) // 2 + 1))
        return 0.0 if k % 2 else float(prod(ratios))

    def mean(self) -> float:
        """Mean, 0."""
        return 0.0

    def var(self) -> float:
        """Variance, sigma^2."""
        return float(self.sigma) ** 2

    def _shape(self) -> tuple[float, float]:
        return 0.0, -1.0

    def stieltjes(self, z: ArrayLike) -> Any:
        """Stieltjes transform G(z) = E 1/(z - x), of any shape: the branch that falls off as 1/z.

        Im G has the sign of -Im z. On the support a real z stands for z + 0i, so that pdf = -Im G / pi.
        """
        z = np.asarray(z, dtype=np.complex128)
        a, b = self.edges
        return (2 / (z + np.sqrt(z - a) * np.sqrt(z - b)))[()]

    def r_transform(self, z: ArrayLike) -> Any:
        """R-transform sigma^2 z, of any shape: G(R(z) + 1/z) = z."""
        return (self.sigma**2 * np.asarray(z))[()]
