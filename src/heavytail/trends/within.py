"""One metric in all groups together, what sets the groups apart removed."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, nan

import numpy as np
from numpy.typing import NDArray

from heavytail.trends.association import kendall_limit, least_squares
from heavytail.trends.intervals import slope_interval
from heavytail.trends.pairs import kendall_score

__all__ = ["Within", "within_groups"]

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Within:
    """One metric against quality in all groups together, their differences removed.

    Attributes:
        slope: common to all groups, each with an intercept of its own (fixed effects): of the deviations from the
            means of the groups.
        slope_lo: lower end of its 95 % interval: see `intervals`.
        slope_hi: upper end.
        r2: share of the variance of quality within groups that it explains.
        kendall_tau: sum of Kendall's S over groups, over the sum of the largest that tau-b allows.
        p_value: its two-sided permutation p-value, quality permuted within groups.
        adjusted: the same, adjusted for all that was looked at.
        groups: number of groups that have two models with the metric or more.
        models: number of models in them.
        negative: number of groups with a negative slope.
        positive: number of groups with a positive one.
    """

    slope: float
    slope_lo: float
    slope_hi: float
    r2: float
    kendall_tau: float
    p_value: float
    adjusted: float
    groups: int
    models: int
    negative: int
    positive: int


def within_groups(groups: list[tuple[Vector, Vector]], p_value: float = nan, adjusted: float = nan) -> Within:
    """Put the groups together.

    Args:
        groups: of each group the metric and the quality of its models, NaN where missing.
        p_value: of the test within groups.
        adjusted: the same, adjusted.
    """
    found = [(x[kept], y[kept]) for x, y in groups if np.count_nonzero(kept := np.isfinite(x) & np.isfinite(y)) > 1]
    if not found:
        return Within(nan, nan, nan, nan, nan, p_value, adjusted, 0, 0, 0, 0)
    x, y = (np.concatenate([_deviations(pair[k]) for pair in found]) for k in (0, 1))
    line = least_squares(x, y)
    low, high = slope_interval(x, y, np.repeat(np.arange(len(found)), [len(pair[0]) for pair in found]))
    s = sum(kendall_score(a, b) for a, b in found)
    most = sum(kendall_limit(a, b) for a, b in found)
    slopes = [slope for a, b in found if isfinite(slope := least_squares(a, b).slope)]
    return Within(
        slope=line.slope,
        slope_lo=low,
        slope_hi=high,
        r2=line.r2,
        kendall_tau=s / most if most else nan,
        p_value=p_value,
        adjusted=adjusted,
        groups=len(found),
        models=len(x),
        negative=sum(slope < 0 for slope in slopes),
        positive=sum(slope > 0 for slope in slopes),
    )


def _deviations(z: Vector) -> Vector:
    """Take the mean away; a constant's is exact, so that its rounding is not fitted."""
    return z - z.mean() if np.ptp(z) else np.zeros_like(z)
