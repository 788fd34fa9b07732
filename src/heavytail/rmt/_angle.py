r"""The law of the angle under the square-root edges of Marchenko-Pastur and of the semicircle.

x = centre + half width * cos(theta) removes both square roots: theta has the density

.. math:: \frac{2}{\pi} \frac{\sin^2\theta}{|1 + \rho e^{i\theta}|^2}, \qquad 0 < \theta < \pi, \quad 0 \le \rho \le 1,

with rho = 0 for the semicircle and rho^2 = min(Q, 1/Q) for Marchenko-Pastur. Each half of the law is measured from its
own edge, by terms that are all positive, so probabilities are exact relative to themselves at both edges.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import inf, log1p, pi

import numpy as np
from scipy.special import roots_legendre

from heavytail.rmt._law import Vector

__all__ = ["AngleLaw"]


@lru_cache(maxsize=1)
def _gauss() -> tuple[Vector, Vector]:
    """Nodes and weights on [0, 1]: sixteen are exact to 2e-15 on every interval they are used on."""
    y, w = roots_legendre(16)
    return (1 + y) / 2, w / 2


@dataclass(frozen=True, slots=True)
class AngleLaw:
    """The angle's law.

    Attributes:
        rho: in [0, 1].
        gap: 1 - rho, given apart since near rho = 1 the subtraction would lose it.
    """

    rho: float
    gap: float

    def upper(self, angle: Vector) -> Vector:
        """Probability of an angle of at most `angle` <= pi/2 from the upper edge."""
        return self._integral(angle, (1 + self.rho) ** 2, -4 * self.rho)

    def lower(self, angle: Vector) -> Vector:
        """Probability of an angle of at most `angle` <= pi/2 from the lower edge.

        By quadrature up to twice the distance of the density's poles, where the closed form would cancel.
        """
        reach = -2 * log1p(-self.gap) if self.gap < 1 else inf
        if reach >= pi / 2:
            return self._integral(angle, self.gap**2, 4 * self.rho)
        return np.where(
            angle <= reach, self._integral(np.minimum(angle, reach), self.gap**2, 4 * self.rho), self._closed(angle)
        )

    def upper_angle(self, mass: Vector) -> Vector:
        """Angle from the upper edge of a probability, at most that of the half."""
        return _solve(self.upper, mass, (1 + self.rho) ** 2, -4 * self.rho)

    def lower_angle(self, mass: Vector) -> Vector:
        """Angle from the lower edge of a probability, at most that of the half."""
        return _solve(self.lower, mass, self.gap**2, 4 * self.rho)

    def _integral(self, angle: Vector, at_edge: float, slope: float) -> Vector:
        """Integrate the density, 2/pi sin^2 / (at_edge + slope sin^2(phi/2)), over 0 < phi < angle."""
        nodes, weights = _gauss()
        angle = np.asarray(angle)
        return _density(angle[..., None] * nodes, at_edge, slope) @ weights * angle

    def _closed(self, angle: Vector) -> Vector:
        """Probability of an angle from the lower edge, in closed form."""
        sine, versine = np.sin(angle), 2 * np.sin(angle / 2) ** 2
        psi = np.arctan2(self.rho * sine, self.gap + self.rho * versine)
        return np.asarray(
            (angle + sine / self.rho - self.gap * (1 + self.rho) / self.rho**2 * psi) / pi, dtype=np.float64
        )


def _density(angle: Vector, at_edge: float, slope: float) -> Vector:
    """Density at an angle from an edge: 2/pi sin^2(angle) over |1 + rho e^i theta|^2."""
    square = np.sin(angle / 2) ** 2
    below = at_edge + slope * square
    return np.asarray(8 / pi * square * (1 - square) / np.where(below > 0, below, 1))


def _solve(function: Callable[[Vector], Vector], mass: Vector, at_edge: float, slope: float) -> Vector:
    """Invert a probability by Newton's method on its cube root.

    The cube root is concave in the angle, so that from below the steps climb to the root and never pass it. Both first
    guesses lie below it, since the probability is at most its cubic at the edge and at most 2/pi times the angle.
    """
    goal = np.clip(mass, 1e-150, None)  # so that no square underflows
    angle = np.maximum(np.cbrt(1.5 * pi * goal * at_edge), pi / 2 * goal)
    for _ in range(40):
        value = function(angle)
        step = 3 * value * (1 - np.cbrt(goal / value)) / _density(angle, at_edge, slope)
        angle = angle - step
        if not (np.abs(step) > 1e-8 * angle).any():  # what is left is of the order of the square
            break
    return np.where(mass > 0, angle, 0.0)
