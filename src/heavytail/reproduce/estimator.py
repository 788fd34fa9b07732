r"""The power-law fit of the published experiments, which is not quite the one of Clauset, Shalizi and Newman.

They called `powerlaw.Fit(x, xmax=max(x))` (Alstott, Bullmore and Plenz 2014, versions up to 1.5). The bound enters the
Kolmogorov-Smirnov distance, whose model is cut at xmax, but not the likelihood, so that alpha is the estimate of an
unbounded law. The choice of xmin differs for it: a short tail gets a smaller distance than it deserves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heavytail.tails.power_law import PowerLawFit

__all__ = ["fit_published"]

_POINTS = 64  # of each tail, for the lower bounds of the distances

Vector = NDArray[np.float64]
Index = NDArray[np.int64]


def fit_published(x: ArrayLike) -> PowerLawFit:
    r"""Fit a power law as the published experiments did.

    For the tail x_i <= ... <= x_n, of k = n - i + 1 points, the exponent and the distance are

    .. math:: \alpha = 1 + k / \sum_j \ln(x_j / x_i), \qquad
        D = \max_j \left| \frac{1 - (x_j / x_i)^{1 - \alpha}}{1 - (x_n / x_i)^{1 - \alpha}} - \frac{j - i}{k} \right|,

    and the tail of least D is taken among all of two points and more.

    Args:
        x: (n,) sample, in any order; values that are not positive are dropped.

    Returns:
        The fit.

    Raises:
        ValueError: if fewer than two different positive values are left.

    Example:
        >>> x = 1 + np.random.default_rng(0).pareto(1.5, 2000)  # density x^-2.5 above 1
        >>> round(fit_published(x).alpha, 1)
        2.5
    """
    x = np.asarray(x, dtype=np.float64)
    x = np.sort(x[x > 0])
    if x.size < 2 or x[0] == x[-1]:
        raise ValueError(f"a power law needs two different positive values; got {x.size} positive values")
    logs, starts = np.log(x / x[-1]), np.flatnonzero(x < x[-1])
    starts = starts[np.diff(x[starts], prepend=0) > 0]  # of equal points the first
    tail = x.size - starts
    slopes = tail / (np.cumsum(logs[::-1])[::-1][starts] - tail * logs[starts])

    points = starts[:, None] + (tail[:, None] * (np.arange(_POINTS) + 0.5) / _POINTS).astype(np.int64)
    bounds = _gaps(logs, starts[:, None], slopes[:, None], points).max(axis=1)
    best, D = 0, np.inf
    for candidate in np.argsort(bounds, kind="stable"):
        if bounds[candidate] > D:
            break  # the distance on a few points is at most the distance on all: nobody left is nearer
        i = starts[candidate : candidate + 1]
        distance = float(_gaps(logs, i, slopes[candidate : candidate + 1], np.arange(i[0], x.size)).max())
        if distance < D:
            best, D = int(candidate), distance
    slope, k = float(slopes[best]), int(tail[best])
    return PowerLawFit(1 + slope, slope / k**0.5, float(x[starts[best]]), float(x[-1]), D, k)


def _gaps(logs: Vector, i: Index, slope: Vector, j: Index) -> Vector:
    """Distances at the points j between the cut power law of the tail from i and its empirical distribution."""
    model = np.expm1((logs[i] - logs[j]) * slope) / np.expm1(logs[i] * slope)  # logs are those of x / xmax
    return np.asarray(np.abs(model - (j - i) / (logs.size - i)))
