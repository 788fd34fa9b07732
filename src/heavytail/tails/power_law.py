r"""The power law of a tail: density proportional to x^-alpha above xmin (Clauset, Shalizi and Newman 2009).

xmin is the sample point whose tail lies closest to its own maximum-likelihood power law in Kolmogorov-Smirnov
distance. Trying every candidate costs O(n^2). The search here gives the same answer for less: the point where one
tail departs most from its law refutes most of the other tails too, since their gap at that point bounds their
distance from below. A candidate is measured in full only while no such point has refuted it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log, nan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["MIN_TAIL", "PowerLawFit", "fit_power_law", "hill"]

MIN_TAIL = 10
"""Fewest points that a fitted tail may have."""

_EQUAL = 1e-14  # a mean log excess below this is that of points equal to within their rounding
_ROUNDING = 1e-14  # of a distance computed for one candidate or for many
_STEEPEST = 700  # of a law that rises up to xmax: the density there over that at xmin is at most e^700

Vector = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PowerLawFit:
    """A fitted power law tail.

    Attributes:
        alpha: exponent of the density; above 1 unless the law ends at a given xmax.
        sigma: standard error at this xmin, (alpha - 1) / sqrt(n_tail) without a given xmax; it does not count that
            xmin was chosen.
        xmin: start of the law.
        xmax: largest point, or the given end of the law.
        D: Kolmogorov-Smirnov distance between the tail and its fit.
        n_tail: number of points in the tail.
    """

    alpha: float
    sigma: float
    xmin: float
    xmax: float
    D: float
    n_tail: int


def fit_power_law(
    x: ArrayLike,
    *,
    xmin: float | tuple[float, float] | None = None,
    xmax: float | None = None,
    min_tail: int = MIN_TAIL,
    two_sided: bool = True,
) -> PowerLawFit | None:
    r"""Fit a power law to the tail of a sample, its start chosen by the least Kolmogorov-Smirnov distance.

    For a tail of n points starting at xmin the estimate is

    .. math:: \alpha = 1 + n / \sum_j \ln(x_j / x_{min}),

    Clauset, Shalizi and Newman (2009), eq. 3.1. The choice of xmin is exact: no candidate is left out. With xmax the
    law ends there, and s = alpha - 1 is the root of

    .. math:: \frac1n \sum_j \ln(x_j / x_{min}) = \frac1s - \frac{L}{e^{sL} - 1}, \qquad L = \ln(x_{max} / x_{min})

    (the right-truncated Pareto law, Aban, Meerschaert and Panorska 2006), which may have either sign.

    alpha, D and n_tail do not depend on the scale of x: exactly for powers of two, to rounding for other factors.

    Args:
        x: (n,) positive sample, ascending.
        xmin: None tries every point; a pair (low, high) every point in [low, high]; a number fixes the start: the
            tail is the points at or above it, and the law starts at that number, sample point or not.
        xmax: end of the law; points above it are left out. None puts no end to it.
        min_tail: fewest points a tail may have, at least 2.
        two_sided: measure the distance on both sides of the steps of the empirical distribution, equal points being
            one step. False takes the left limits alone and each of equal points as a step of its own, as
            WeightWatcher does.

    Returns:
        The fit, or None where no candidate has `min_tail` points that are not all equal to its start (or, with xmax,
        all but equal to xmax).

    Raises:
        ValueError: if x is not one-dimensional, ascending, positive and finite, if xmin or xmax is not a positive
            number, or if the pair is not ascending.

    Example:
        >>> import numpy as np
        >>> x = np.sort(np.random.default_rng(0).pareto(1.5, 2000) + 1)  # density x^-2.5 above 1
        >>> fit = fit_power_law(x)
        >>> round(fit.alpha, 1)
        2.5
        >>> round(fit_power_law(x, xmin=1.0, xmax=8.0).alpha, 1)
        2.5
    """
    x = as_sample(x)
    _check(xmin, xmax)
    if xmax is not None:
        x = x[: np.searchsorted(x, xmax, "right")]
    tails = _tails(x, xmin, xmax, max(min_tail, 2), two_sided)
    if tails is None:
        return None
    best, D = tails.least()
    n, slope = int(tails.sizes[best]), float(tails.slopes[best])
    deviation = 1 / slope  # standard deviation of ln(x / xmin) under the law
    if tails.spans is not None:
        span = tails.spans[best]
        deviation = float(span * np.sqrt(_mean_share(np.abs(slope * span))[1]))
    return PowerLawFit(
        alpha=1 + slope,
        sigma=1 / (deviation * sqrt(n)),
        xmin=float(x[tails.starts[best]]) if xmin is None or isinstance(xmin, tuple) else float(xmin),
        xmax=float(x[-1]) if xmax is None else float(xmax),
        D=D,
        n_tail=n,
    )


def hill(x: ArrayLike, *, fraction: float = 0.5) -> float:
    """Estimate the density's exponent from the largest points: 1 + k / sum of ln(x_j / x_(n-k)) (Hill 1975).

    With fraction 1/2 it is the median-threshold estimator of the layer-wise allocation methods (TempBalance, Zhou
    et al. 2023) by the formula of their papers; their code counts one point more, see `thresholds.median`. It has no
    test of fit, and on pure noise it depends on the aspect ratio of the matrix.

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
    x = as_sample(x)
    k = int(x.size * fraction)
    if k < 2:
        return nan
    total = float(log_ratio(x[-k:], float(x[-k - 1])).sum())
    return 1 + k / total if total > k * 1e-14 else nan


def as_sample(x: ArrayLike) -> Vector:
    """Check a sample: one-dimensional, ascending, positive and finite."""
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 1 or (x.size and not (x[0] > 0 and x[-1] < inf and bool((x[1:] >= x[:-1]).all()))):
        raise ValueError(f"a sample must be one-dimensional, ascending, positive and finite; got shape {x.shape}")
    return x


def _check(xmin: float | tuple[float, float] | None, xmax: float | None) -> None:
    """Refuse a start, a range of starts or an end that means nothing."""
    if isinstance(xmin, tuple):
        if not xmin[0] <= xmin[1]:
            raise ValueError(f"a range of xmin must be (low, high) with low <= high, got {xmin}")
    elif xmin is not None and not 0 < xmin < inf:
        raise ValueError(f"xmin must be positive and finite, got {xmin}")
    if xmax is not None and not 0 < xmax < inf:
        raise ValueError(f"xmax must be positive and finite, got {xmax}")


def _steps(x: Vector, two_sided: bool) -> tuple[Indices, Vector, Vector]:
    """First index of each step; at every point, the points above the middle of its step and half the step's height."""
    n = x.size
    if not two_sided:
        return np.arange(n), np.arange(n, 0.0, -1), np.zeros(n)
    first = np.flatnonzero(np.concatenate(([True], x[1:] > x[:-1])))
    if first.size == n:
        return first, np.arange(n - 0.5, 0, -1), np.full(n, 0.5)
    ends = np.append(first[1:], n)
    counts = ends - first
    return first, np.repeat(n - (first + ends) / 2, counts), np.repeat(counts / 2, counts)


def log_ratio(x: ArrayLike, reference: float) -> Vector:
    """Logarithm of x / reference, the same to the last bit when both are multiplied by a power of two."""
    (mantissa, exponent), (one, zero) = np.frexp(x), np.frexp(reference)
    return np.asarray(np.log(mantissa / one) + (exponent - zero) * log(2))


def _tails(
    x: Vector, xmin: float | tuple[float, float] | None, xmax: float | None, least: int, two_sided: bool
) -> _Tails | None:
    """Fit every candidate tail of at least `least` points."""
    if x.size < least:
        return None
    starts, above, width = _steps(x, two_sided)
    logs = origins = log_ratio(x, x[-1])
    if isinstance(xmin, tuple):
        starts = starts[(x[starts] >= xmin[0]) & (x[starts] <= xmin[1])]
    elif xmin is not None:
        starts = np.searchsorted(x, [xmin])
        origins = np.full(x.size, log_ratio(xmin, x[-1]))
    starts = starts[starts <= x.size - least]
    sizes, origins = (x.size - starts).astype(np.float64), origins[starts]
    excess = (np.cumsum(logs[::-1])[::-1][starts] - sizes * origins) / sizes  # mean of ln(x_j / xmin) over each tail
    usable = excess > _EQUAL
    if xmax is not None:
        spans = log_ratio(xmax, x[-1]) - origins
        usable &= excess < spans * (1 - 1 / _STEEPEST)
    if not usable.any():
        return None
    starts, sizes, origins, excess = starts[usable], sizes[usable], origins[usable], excess[usable]
    if xmax is None:
        return _Tails(logs, above, width, starts, sizes, origins, 1 / excess, None)
    spans = spans[usable]
    return _Tails(logs, above, width, starts, sizes, origins, _steepness(excess / spans) / spans, spans)


def _mean_share(z: Vector) -> tuple[Vector, Vector]:
    """Mean and variance of a variable on [0, 1] with density proportional to e^(-zu), for z >= 0."""
    small = z < 0.25
    near, far = np.where(small, z, 0), np.where(small, 1, z)
    square = near * near
    below_half = near * (
        1 / 12 - square * (1 / 720 - square * (1 / 30240 - square * (1 / 1209600 - square / 47900160)))
    )
    spread = 1 / 12 - square * (1 / 240 - square * (1 / 6048 - square * (1 / 172800 - square / 5322240)))
    fall = np.exp(-far)
    mean = np.where(small, 0.5 - below_half, 1 / far + fall / np.expm1(-far))
    variance = np.where(small, spread, 1 / far**2 - fall / np.expm1(-far) ** 2)
    return mean, variance


def _steepness(mean: Vector) -> Vector:
    """Solve 1/z - 1/(e^z - 1) = mean for z, with mean in (0, 1): the inverse of Langevin's function, by Newton."""
    low = np.minimum(mean, 1 - mean)
    y = 1 - 2 * low
    z = y * (3 - y * y) / (2 * low * (1 - low))  # Cohen (1991), within 5 %
    for _ in range(5):
        value, variance = _mean_share(z)
        z += (value - low) / variance  # the variance is minus the derivative of the mean
    z = np.maximum(z, 1e-15)  # so that the law between xmin and xmax is never 0 / 0
    return np.asarray(np.where(mean <= 0.5, z, -z))


@dataclass(frozen=True, slots=True)
class _Tails:
    """Every candidate tail and its fitted law; its Kolmogorov-Smirnov distance is computed only as far as needed.

    The tail that starts at point i has the distance max over j >= i of |S(j) - above_j / n_i| + width_j / n_i, with
    n_i = n - i and the law's survival function S.

    Attributes:
        logs: (n,) logarithms of the sample, ascending.
        above: (n,) number of points above the middle of the empirical step at each point.
        width: (n,) half height of that step, in points.
        starts: (c,) index of the first point of each candidate tail, ascending.
        sizes: (c,) number of points of each.
        origins: (c,) logarithm of the start of each law.
        slopes: (c,) fitted alpha - 1.
        spans: (c,) ln(xmax / xmin), None for laws without end.
    """

    logs: Vector
    above: Vector
    width: Vector
    starts: Indices
    sizes: Vector
    origins: Vector
    slopes: Vector
    spans: Vector | None

    def least(self) -> tuple[int, float]:
        """Give the candidate with the least distance (the first of equals) and that distance."""
        best, D = -1, inf
        bound = self._gap(slice(None), self.starts)  # of each tail at its first point
        bound[-1] = 0  # the shortest goes first: all the others hold its worst point
        while True:
            candidate = int(bound.argmin())
            if bound[candidate] > D + _ROUNDING:
                return best, D
            start = int(self.starts[candidate])
            gap = self._gap(candidate, slice(start, None))
            worst = start + int(gap.argmax())
            distance = float(gap[worst - start])
            if (distance, candidate) < (D, best):
                best, D = candidate, distance
            holders = slice(int(self.starts.searchsorted(worst, "right")))
            np.maximum(bound[holders], self._gap(holders, worst), out=bound[holders])
            bound[candidate] = inf

    def _gap(self, c: int | slice, j: int | slice | Indices) -> Vector:
        """Distance between law and sample: of one candidate at many points, of many at one, or of each at its own."""
        n = self.sizes[c]
        fall = (self.origins[c] - self.logs[j]) * self.slopes[c]
        gap = np.exp(fall) if self.spans is None else 1 - np.expm1(fall) / np.expm1(-self.slopes[c] * self.spans[c])
        gap *= n
        gap -= self.above[j]
        np.abs(gap, out=gap)
        gap += self.width[j]
        gap /= n
        return gap
