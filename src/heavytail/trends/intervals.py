"""How sure slopes, shares of variance and rank correlations of a few models are: intervals at 95 %.

The bootstrap of Efron (1979) is not enough by itself: models in perfect order are so in every resample, which leaves an
interval of no width, and its percentiles hold the tau of 5 models from a normal population of correlation 0.9 in 76 %
of samples, and an R2 of 0 never. So

* Kendall's tau: the values under which the tau observed is within 1.96 standard deviations of its mean, less half a
  step of tau, for a normal copula, of which mean and variance are exact (Esscher 1924). From 20 models on each end is
  that or the bootstrap's, whichever is farther out: heavier tails than the normal law's need it. From 201 models on
  -+ 1.96 standard errors by the infinitesimal jackknife (Jaeckel 1972), which many resamples come to, stand for it.
* Spearman's rho: tanh(atanh(rho) -+ 1.96 sqrt((1 + rho^2 / 2) / (n - 3))) (Bonett and Wright 2000), each end half a
  step of rho farther out; from 20 models on with the bootstrap's, as above.
* slope: -+ Student's t times the standard error HC3, which needs no equal variances (MacKinnon and White 1985).
* R2: that of the correlation's interval, which is a jackknife's on the scale of atanh, with Student's t.

Shares of intervals that hold the truth, over 5, 8, 12, 20 and 50 models and correlations of 0, 0.5 and 0.9, in 2,000
samples each (benchmarks/trend_coverage.py):

| population            | tau          | rho          | slope        | R2           |
|-----------------------|--------------|--------------|--------------|--------------|
| bivariate normal      | 95.5 to 98.7 | 94.1 to 99.1 | 93.9 to 97.2 | 94.7 to 98.8 |
| Student t, 3 degrees  | 93.2 to 97.5 | 92.2 to 99.1 | 91.7 to 96.4 | 92.3 to 98.3 |

and 92.4 to 98.5 for the slope within groups of 2 to 22 models, its errors normal, Student t or uneven. The largest are
those of 5 models, whose rank correlations take few values; the R2 of 5 models is hardly known at all.
"""

from __future__ import annotations

from math import asin, atanh, inf, nan, pi, sin, sqrt, tanh

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from heavytail.trends.pairs import concordances, kendall_score, sign_sums, untied

__all__ = [
    "FEWEST",
    "FEWEST_RESAMPLED",
    "FEWEST_RESAMPLES",
    "MOST_RESAMPLED",
    "RESAMPLES",
    "kendall_interval",
    "r2_interval",
    "resampling",
    "slope_interval",
    "spearman_interval",
]

FEWEST = 4
"""Fewer models have no interval."""

FEWEST_RESAMPLED = 20
"""Fewest models that are resampled."""

RESAMPLES = 2000
"""Resamples of the bootstrap, unless told."""

MOST_RESAMPLED = 200
"""Most models that are resampled: their pairs are looked at in every resample."""

FEWEST_RESAMPLES = 39
"""With 39 one of 40 equal parts lies beyond each end of a 95 % interval."""

_NORMAL = 1.959963984540054
_TAIL = 0.025
_HALVINGS = 60  # of an interval of 2 or less: down to rounding
_EDGE = 1e-12
_TINY = np.finfo(float).tiny

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Interval = tuple[float, float]


def resampling(n: int, resamples: int, rng: np.random.Generator) -> Matrix:
    """Draw n of n models with replacement, again and again: how often each is drawn, (resamples, n).

    Fewer than 20 models and more than 200 are not resampled: there are no rows then.
    """
    if not FEWEST_RESAMPLED <= n <= MOST_RESAMPLED:
        return np.empty((0, n))
    return rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)


def kendall_interval(x: Vector, y: Vector, weights: Matrix) -> Interval:
    """Give the interval of Kendall's tau.

    Args:
        x: (n,) metric.
        y: (n,) quality.
        weights: (resamples, n) of `resampling`.
    """
    n = len(x)
    if n < FEWEST or np.ptp(x) == 0 or np.ptp(y) == 0:
        return nan, nan
    tau = kendall_score(x, y) / sqrt(untied(x) * untied(y))
    ends = -_largest_tau(-tau, n), _largest_tau(tau, n)
    if n > MOST_RESAMPLED:
        return _hull(ends, tau, _kendall_influence(x, y))
    return _with_bootstrap(ends, _kendall(x, y, weights))


def spearman_interval(x: Vector, y: Vector, weights: Matrix) -> Interval:
    """Give the interval of Spearman's rho; the arguments are those of `kendall_interval`."""
    n = len(x)
    if n < FEWEST or np.ptp(x) == 0 or np.ptp(y) == 0:
        return nan, nan
    a, b = sign_sums(np.stack((x, y)))
    rho = float(a @ b / np.sqrt((a @ a) * (b @ b)))
    step = 6 / (n * (n * n - 1))  # half of what exchanging two neighbours takes from a perfect order

    def end(sign: int) -> float:
        if sign * rho > 1 - step:
            return float(sign)
        near = min(max(rho + sign * step, step - 1), 1 - step)
        return tanh(atanh(near) + sign * _NORMAL * sqrt((1 + near**2 / 2) / (n - 3)))

    if n > MOST_RESAMPLED:
        return _hull((end(-1), end(1)), rho, _spearman_influence(x, y))
    return _with_bootstrap((end(-1), end(1)), _spearman(x, y, weights))


def slope_interval(x: Vector, y: Vector, strata: NDArray[np.intp]) -> Interval:
    """Give the interval of a least-squares slope that is common to some strata, each with a mean of its own.

    Args:
        x: (n,) metric.
        y: (n,) quality.
        strata: (n,) to which stratum each model belongs: 0, 1, ..., each with two models or more. One whose metric is
            constant tells nothing of the slope, nor of how sure it is, and is left out.
    """
    x, y, strata = _varying(x, y, strata)
    counts = np.bincount(strata)
    degrees = len(x) - len(counts) - 1
    if len(x) < FEWEST or degrees < 1:
        return nan, nan
    dx, dy = (z - (np.bincount(strata, z) / counts)[strata] for z in (x, y))
    if not (total := dx @ dx):
        return nan, nan
    slope, rest = dx @ dy / total, 1 - 1 / counts[strata] - dx**2 / total
    if rest.min() < _EDGE:
        return nan, nan
    error = np.sqrt(np.sum((dx * (dy - slope * dx) / rest) ** 2)) / total
    reach = float(stdtrit(degrees, 1 - _TAIL) * error)
    return float(slope - reach), float(slope + reach)


def r2_interval(x: Vector, y: Vector) -> Interval:
    """Give the interval of the share of variance that a line explains.

    Args:
        x: (n,) metric.
        y: (n,) quality.
    """
    n = len(x)
    if n < FEWEST or np.ptp(x) == 0 or np.ptp(y) == 0:
        return nan, nan
    dx, dy = x - x.mean(), y - y.mean()
    r = float(dx @ dy / np.sqrt((dx @ dx) * (dy @ dy)))
    z = np.arctanh(np.clip(_without_each(dx, dy), _EDGE - 1, 1 - _EDGE))
    error = sqrt((n - 1) / n * np.sum((z - z.mean()) ** 2)) if np.isfinite(z).all() else inf
    centre, reach = atanh(min(max(r, _EDGE - 1), 1 - _EDGE)), float(stdtrit(n - 2, 1 - _TAIL)) * error
    ends = (tanh(centre - reach), tanh(centre + reach))
    squares = sorted(end**2 for end in ends)
    return (0.0 if ends[0] <= 0 <= ends[1] else squares[0]), squares[1]


def _without_each(dx: Vector, dy: Vector) -> Vector:
    """Give the correlation of all models but one, for each: NaN where the others do not vary."""
    share = len(dx) / (len(dx) - 1)
    products, in_x, in_y = (pair.sum() - share * pair for pair in (dx * dy, dx * dx, dy * dy))
    varies = (in_x > _EDGE * in_x.max()) & (in_y > _EDGE * in_y.max())
    return np.where(varies, products, nan) / np.sqrt(np.where(varies, in_x * in_y, 1.0))


def _kendall_influence(x: Vector, y: Vector) -> Vector:
    """Give how tau-b changes with the weight of each model: it is a ratio of quadratic forms of the weights."""
    s, in_x, in_y = concordances(x, y), concordances(x, x), concordances(y, y)
    scale = np.sqrt(in_x.sum() * in_y.sum())
    return np.asarray(2 * s / scale - s.sum() / scale * (in_x / in_x.sum() + in_y / in_y.sum()))


def _spearman_influence(x: Vector, y: Vector) -> Vector:
    """Give how Spearman's rho changes with the weight of each model, which is in the ranks of all the others too."""
    a, b = sign_sums(np.stack((x, y)))
    scale = np.sqrt((a @ a) * (b @ b))

    def change(u: Vector, v: Vector) -> Vector:
        """Give that of the sum of products of the ranks of u with v, by u's ranks."""
        order = np.argsort(u, kind="stable")
        below, total = np.concatenate(([0.0], np.cumsum(v[order]))), v.sum()
        ordered = u[order]
        larger = total - below[np.searchsorted(ordered, u, "right")]
        return np.asarray(larger - below[np.searchsorted(ordered, u, "left")])

    products = a * b + change(x, b) + change(y, a)
    in_x, in_y = a * a + 2 * change(x, a), b * b + 2 * change(y, b)
    rho = a @ b / scale
    return np.asarray(products / scale - rho / 2 * (in_x / (a @ a) + in_y / (b @ b)))


def _hull(interval: Interval, centre: float, influence: Vector) -> Interval:
    """Widen an interval to 1.96 standard errors by the infinitesimal jackknife."""
    reach = _NORMAL * float(np.sqrt(np.sum((influence - influence.mean()) ** 2)))
    return max(-1.0, min(interval[0], centre - reach)), min(1.0, max(interval[1], centre + reach))


def _largest_tau(tau: float, n: int) -> float:
    """Give the largest population's tau under which the one observed of n models is not surprisingly small.

    What is not surprising is an interval, with tau in it, for the deviation is a concave function of the population's.
    """

    def surprises(population: float) -> bool:
        rho = sin(pi / 2 * population)
        spread = 1 - population**2 + 2 * (n - 2) * (1 / 9 - (2 / pi * asin(rho / 2)) ** 2)
        deviation = sqrt(max(spread, 0) * 2 / (n * (n - 1)))
        return population - tau > _NORMAL * deviation + 2 / (n * (n - 1)) + _EDGE

    low, high = tau, 1.0
    if not surprises(high):
        return high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if surprises(middle) else (middle, high)
    return low


def _varying(x: Vector, y: Vector, strata: NDArray[np.intp]) -> tuple[Vector, Vector, NDArray[np.intp]]:
    """Keep the strata whose metric varies, numbered anew."""
    first = np.full(strata.max(initial=-1) + 1, nan)
    first[strata] = x  # one of each
    varies = np.bincount(strata, x != first[strata]) > 0
    kept = varies[strata]
    return x[kept], y[kept], (np.cumsum(varies) - 1)[strata[kept]]


def _with_bootstrap(interval: Interval, resampled: Vector) -> Interval:
    resampled = resampled[np.isfinite(resampled)]
    if not resampled.size:
        return interval
    low, high = np.quantile(resampled, (_TAIL, 1 - _TAIL))
    return min(interval[0], float(low)), max(interval[1], float(high))


def _kendall(x: Vector, y: Vector, weights: Matrix) -> Vector:
    """Give tau-b of models that are there so many times: sums over pairs are quadratic forms of the weights."""
    a, b = np.sign(x[:, None] - x), np.sign(y[:, None] - y)
    s, in_x, in_y = (np.sum((weights @ pairs) * weights, axis=1) for pairs in (a * b, a * a, b * b))
    with np.errstate(invalid="ignore"):
        return np.asarray(s / np.sqrt(in_x * in_y))


def _spearman(x: Vector, y: Vector, weights: Matrix) -> Vector:
    """Give the correlation of mean ranks of models that are there so many times."""
    in_x, in_y = (weights @ (np.sign(z - z[:, None]) / 2) for z in (x, y))  # ranks but for a constant
    return _pearson(in_x, in_y, weights)


def _pearson(x: Matrix, y: Matrix, weights: Matrix) -> Vector:
    total = weights.sum(axis=1, keepdims=True)
    dx, dy = (z - np.sum(weights * z, axis=1, keepdims=True) / total for z in (x, y))
    products, in_x, in_y = (np.sum(weights * pair, axis=1) for pair in (dx * dy, dx * dx, dy * dy))
    in_both = np.minimum(in_x / in_x.max(initial=_TINY), in_y / in_y.max(initial=_TINY))
    varies = in_both > _EDGE  # rounding lets a constant vary a little
    return np.where(varies, products, nan) / np.sqrt(np.where(varies, in_x * in_y, 1.0))
