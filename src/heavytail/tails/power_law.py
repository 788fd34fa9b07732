r"""The power law of a tail: density proportional to x^-alpha above xmin (Clauset, Shalizi and Newman 2009).

xmin is the sample point whose tail lies closest to its own maximum-likelihood power law in Kolmogorov-Smirnov
distance. Trying every candidate costs O(n^2). The search here gives the same answer for less: the distance on a few
points of a tail is a lower bound of the distance on all of them, candidates are visited in the order of that bound,
and the visit ends when the bound passes the best distance found.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["MIN_TAIL", "PowerLaw", "fit_power_law", "hill"]

MIN_TAIL = 10
"""Fewest points that a fitted tail may have."""

_DENSE = 96  # up to this many points all distances are computed at once
_COARSE, _FINE = 16, 128  # points a candidate for the first and for the second lower bound

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """A fitted power law tail.

    Attributes:
        alpha: exponent of the density, above 1.
        sigma: standard error (alpha - 1) / sqrt(n_tail); it does not count that xmin was chosen.
        xmin: smallest point of the tail.
        xmax: largest point.
        D: Kolmogorov-Smirnov distance between the tail and its fit.
        n_tail: number of points in the tail.
    """

    alpha: float
    sigma: float
    xmin: float
    xmax: float
    D: float
    n_tail: int


def fit_power_law(x: ArrayLike, *, min_tail: int = MIN_TAIL, two_sided: bool = True) -> PowerLaw | None:
    r"""Fit a power law to the tail of a sample, its start chosen by the least Kolmogorov-Smirnov distance.

    For a tail of n points starting at xmin the estimate is

    .. math:: \alpha = 1 + n / \sum_j \ln(x_j / x_{min}),

    Clauset, Shalizi and Newman (2009), eq. 3.1. The choice of xmin is exact: no candidate is left out.

    Args:
        x: (n,) positive sample, ascending.
        min_tail: fewest points a tail may have, at least 2.
        two_sided: measure the distance on both sides of the steps of the empirical distribution, equal points being
            one step. False takes the left limits alone and each of equal points as a step of its own, as
            WeightWatcher does.

    Returns:
        The fit, or None where no candidate has `min_tail` points that are not all equal.

    Raises:
        ValueError: if x is not one-dimensional, ascending, positive and finite.

    Example:
        >>> import numpy as np
        >>> x = np.sort(np.random.default_rng(0).pareto(1.5, 2000) + 1)  # density x^-2.5 above 1
        >>> fit = fit_power_law(x)
        >>> round(fit.alpha, 1)
        2.5
    """
    x = _sample(x)
    n = x.size
    starts, middle, width = _steps(x) if two_sided else (np.arange(n), np.arange(n, dtype=np.float64), 0.0)
    starts = starts[starts <= n - max(min_tail, 2)]
    if starts.size == 0:
        return None
    logs = np.log(x)
    logs -= logs[-1]
    tail = n - starts
    excess = np.cumsum(logs[::-1])[::-1][starts] - tail * logs[starts]  # sum of ln(x_j / xmin) over each tail
    usable = excess > tail * 1e-14  # below that the points are equal to within their rounding
    starts, tail, excess = starts[usable], tail[usable], excess[usable]
    if starts.size == 0:
        return None
    distances = _Distances(logs, middle, width, starts, tail / excess)
    best, D = distances.least()
    slope, i, k = float(distances.slopes[best]), int(starts[best]), int(tail[best])
    return PowerLaw(1 + slope, slope / sqrt(k), float(x[i]), float(x[-1]), D, k)


def hill(x: ArrayLike, *, fraction: float = 0.5) -> float:
    """Estimate the density's exponent from the largest points: 1 + k / sum of ln(x_j / x_(n-k)) (Hill 1975).

    With fraction 1/2 it is the median-threshold estimator of the layer-wise allocation methods (TempBalance, Zhou
    et al. 2023). It has no test of fit, and on pure noise it depends on the aspect ratio of the matrix.

    Args:
        x: (n,) positive sample, ascending.
        fraction: share of the points taken as the tail, in (0, 1).

    Returns:
        The exponent; NaN where fewer than two points remain or all are equal.

    Raises:
        ValueError: if x is not one-dimensional, ascending, positive and finite.

    Example:
        >>> round(hill([1.0, 2.0, 4.0, 8.0]), 3)  # 1 + 2 / (ln 2 + ln 4)
        1.962
    """
    x = _sample(x)
    k = int(x.size * fraction)
    if k < 2:
        return nan
    total = float(np.log(x[-k:] / x[-k - 1]).sum())
    return 1 + k / total if total > k * 1e-14 else nan


def _sample(x: ArrayLike) -> Vector:
    """Check a sample: one-dimensional, ascending, positive and finite."""
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 1 or (x.size and not (x[0] > 0 and x[-1] < inf and bool((x[1:] >= x[:-1]).all()))):
        raise ValueError(f"a sample must be one-dimensional, ascending, positive and finite; got shape {x.shape}")
    return x


def _steps(x: Vector) -> tuple[NDArray[np.int64], Vector, Vector | float]:
    """Give the first index of each distinct value, and the middle and half height of the step at every point."""
    n = x.size
    first = np.flatnonzero(np.concatenate(([True], x[1:] > x[:-1]))) if n else np.arange(0)
    if first.size == n:
        return first, np.arange(0.5, n), 0.5
    ends = np.append(first[1:], n)
    counts = ends - first
    return first, np.repeat((first + ends) / 2, counts), np.repeat(counts / 2, counts)


@dataclass(frozen=True, slots=True)
class _Distances:
    """The Kolmogorov-Smirnov distance of every candidate tail from its power law, computed as far as needed.

    The tail that starts at point i has the distance max over j >= i of |F(j) - (middle_j - i) / n_i| + width_j / n_i,
    F(j) = 1 - (x_j / x_i)^-slope, n_i = n - i.

    Attributes:
        logs: (n,) logarithms of the sample, ascending.
        middle: (n,) middle of the empirical step at each point, in points.
        width: (n,) half height of that step, in points, or one number for all.
        starts: (c,) index of the first point of each candidate tail.
        slopes: (c,) fitted alpha - 1 of each candidate.
    """

    logs: Vector
    middle: Vector
    width: Vector | float
    starts: NDArray[np.int64]
    slopes: Vector

    def least(self) -> tuple[int, float]:
        """Give the position of the candidate with the least distance (the first of equals) and that distance."""
        n = self.logs.size
        if n <= _DENSE:
            exact = self._all()
            best = int(np.argmin(exact))
            return best, float(exact[best])
        bound = self._bounds(np.arange(self.starts.size), _COARSE)
        best = int(np.argmin(bound))
        D = self._exact(best)
        alive = np.flatnonzero(bound <= D)
        bound = self._bounds(alive, _FINE)
        for position in np.argsort(bound, kind="stable"):
            if bound[position] > D:
                break
            candidate = int(alive[position])
            distance = self._exact(candidate)
            if (distance, candidate) < (D, best):
                best, D = candidate, distance
        return best, D

    def _all(self) -> Vector:
        """Distances of all candidates, by the full table of candidates and points."""
        i = self.starts[:, None]
        n = self.logs.size
        drop = (self.logs[self.starts][:, None] - self.logs) * self.slopes[:, None]
        gap = np.exp(np.minimum(drop, 0, out=drop))  # points below the tail count for nothing, and must not overflow
        gap += (self.middle - i) / (n - i) - 1
        np.abs(gap, out=gap)
        gap += self.width / (n - i)
        gap[np.arange(n) < i] = 0
        return np.asarray(gap.max(axis=1))

    def _exact(self, candidate: int) -> float:
        """Distance of one candidate, over all points of its tail."""
        i, slope = int(self.starts[candidate]), float(self.slopes[candidate])
        n = self.logs.size - i
        gap = np.exp((self.logs[i] - self.logs[i:]) * slope)
        gap += (self.middle[i:] - (i + n)) / n
        np.abs(gap, out=gap)
        gap += (self.width if isinstance(self.width, float) else self.width[i:]) / n
        return float(gap.max())

    def _bounds(self, candidates: NDArray[np.int64], points: int) -> Vector:
        """Lower bounds of the distances: the greatest over a few points of each tail, evenly spread."""
        i = self.starts[candidates][:, None]
        n = self.logs.size - i
        j = i + (n * (np.arange(points) + 0.5) / points).astype(np.int64)
        gap = np.exp((self.logs[i] - self.logs[j]) * self.slopes[candidates][:, None])
        gap += (self.middle[j] - i) / n - 1
        np.abs(gap, out=gap)
        gap += (self.width if isinstance(self.width, float) else self.width[j]) / n
        return np.asarray(gap.max(axis=1) - 1e-14)  # the table and the exact sum may round differently
