"""How a metric goes with the quality of some models: a line, two rank correlations, and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heavytail.trends.intervals import (
    RESAMPLES,
    kendall_interval,
    r2_interval,
    resampling,
    slope_interval,
    spearman_interval,
)
from heavytail.trends.pairs import kendall_score, untied
from heavytail.trends.permutation import null_kendall, orders, permuted_products, share

__all__ = ["Association", "Line", "associate", "associate_all", "kendall_limit", "least_squares", "ranks", "sign_error"]

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Seed = int | np.random.Generator


@dataclass(frozen=True, slots=True)
class Association:
    """One metric against the quality of some models.

    Attributes:
        n: number of models that have both.
        slope: of the least-squares line of quality on the metric.
        intercept: of that line.
        r2: share of the quality's variance that the line explains.
        rmse: root of the mean squared residual, without correction for degrees of freedom.
        loo_rmse: root of the mean squared error of predicting each model from the others.
        loo_r2: 1 - that mean squared error over the one of predicting the mean of the others; below 0 the line is
            worse than the mean.
        kendall_tau: Kendall's tau-b of metric and quality.
        spearman_rho: Spearman's rank correlation of them.
        slope_lo: lower end of the 95 % interval of the slope, and so on: see `intervals`.
        slope_hi: upper end.
        r2_lo: of r2.
        r2_hi: of r2.
        kendall_lo: of kendall_tau.
        kendall_hi: of kendall_tau.
        spearman_lo: of spearman_rho.
        spearman_hi: of spearman_rho.
        p_kendall: two-sided permutation p-value of Kendall's tau.
        p_spearman: of Spearman's rho.
        p_slope: of the slope.
        p_least: the smallest p_kendall that any order of these models could have.
        sign_error: share of pairs of different quality that the metric orders against the theory, those it cannot tell
            apart as a half; NaN where the theory has no sign.
    """

    n: int
    slope: float
    intercept: float
    r2: float
    rmse: float
    loo_rmse: float
    loo_r2: float
    kendall_tau: float
    spearman_rho: float
    slope_lo: float
    slope_hi: float
    r2_lo: float
    r2_hi: float
    kendall_lo: float
    kendall_hi: float
    spearman_lo: float
    spearman_hi: float
    p_kendall: float
    p_spearman: float
    p_slope: float
    p_least: float
    sign_error: float


@dataclass(frozen=True, slots=True)
class Line:
    """A least-squares line; the fields are those of `Association`."""

    slope: float = nan
    intercept: float = nan
    r2: float = nan
    rmse: float = nan
    loo_rmse: float = nan
    loo_r2: float = nan


def associate(
    metric: ArrayLike, quality: ArrayLike, direction: int, seed: Seed = 0, resamples: int = RESAMPLES
) -> Association:
    """Measure how a metric goes with quality.

    A permutation p-value is the share of the orders of the models whose statistic is at least as far from zero: of all
    orders for at most 8 models, else of 10,000, the observed one among them. Ties stay ties. For more than 60 models
    Kendall's S of those orders is drawn from its law instead of counted: see `permutation`.

    Args:
        metric: (n,) the metric of each model.
        quality: (n,) their quality. Models that lack one of the two, being NaN, are left out.
        direction: the sign that the theory gives to the association with the quality as it is given, or 0.
        seed: seed or generator.
        resamples: of the bootstrap.

    Returns:
        What was found; what too few models, or a constant, do not determine is NaN.

    Example:
        >>> found = associate([1.84, 1.65, 1.41, 1.16], [68.97, 69.66, 71.64, 72.08], direction=-1)
        >>> found.kendall_tau, round(found.p_kendall, 4), round(found.r2, 2)
        (-1.0, 0.0833, 0.94)
    """
    metrics = np.asarray(metric, dtype=np.float64)[None]
    return associate_all(metrics, np.asarray(quality, dtype=np.float64), (direction,), seed, resamples)[0]


def associate_all(
    metrics: Matrix, quality: Vector, directions: Sequence[int], seed: Seed, resamples: int
) -> tuple[Association, ...]:
    """Measure how each of some metrics goes with quality; those that the same models have share orders and resamples.

    Args:
        metrics: (M, n) metrics.
        quality: (n,) quality.
        directions: of each metric.
        seed: seed or generator.
        resamples: of the bootstrap.
    """
    rng = np.random.default_rng(seed)
    present = np.isfinite(metrics) & np.isfinite(quality)
    found: dict[int, Association] = {}
    for mask in np.unique(present, axis=0):
        alike = np.flatnonzero((present == mask).all(axis=1))
        x, y = metrics[alike][:, mask], quality[mask]
        shuffled, weights = orders(len(y), rng), resampling(len(y), resamples, rng)
        s, slope = null_kendall(x, y, shuffled, rng), permuted_products(x, y, shuffled)
        spearman = permuted_products(np.stack([ranks(one) for one in x]), ranks(y), shuffled)
        for k, row in enumerate(alike.tolist()):
            drawn = s[:, k], spearman[:, k], slope[:, k]
            found[row] = _associate(x[k], y, directions[row], drawn, weights)
    return tuple(found[row] for row in range(len(metrics)))


def _associate(
    x: Vector, y: Vector, direction: int, drawn: tuple[Vector, Vector, Vector], weights: Matrix
) -> Association:
    """Put an association together from Kendall's S, Spearman's sum and the slope's in all orders, and resamples."""
    s, spearman, slope = drawn
    line, limit = least_squares(x, y), kendall_limit(x, y)
    slope_lo, slope_hi = slope_interval(x, y, np.zeros(len(x), dtype=np.intp))
    r2_lo, r2_hi = r2_interval(x, y)
    kendall_lo, kendall_hi = kendall_interval(x, y, weights)
    spearman_lo, spearman_hi = spearman_interval(x, y, weights)
    return Association(
        n=len(x),
        slope=line.slope,
        intercept=line.intercept,
        r2=line.r2,
        rmse=line.rmse,
        loo_rmse=line.loo_rmse,
        loo_r2=line.loo_r2,
        kendall_tau=float(s[0] / limit) if limit else nan,
        spearman_rho=_correlation(ranks(x), ranks(y)),
        slope_lo=slope_lo,
        slope_hi=slope_hi,
        r2_lo=r2_lo,
        r2_hi=r2_hi,
        kendall_lo=kendall_lo,
        kendall_hi=kendall_hi,
        spearman_lo=spearman_lo,
        spearman_hi=spearman_hi,
        p_kendall=share(s, s[0]),
        p_spearman=share(spearman, spearman[0]),
        p_slope=share(slope, slope[0]),
        p_least=share(s, np.abs(s).max()),
        sign_error=sign_error(x, y, direction),
    )


def least_squares(x: Vector, y: Vector) -> Line:
    """Fit a line, and predict each point from the others in closed form: residual / (1 - leverage) (Allen 1974).

    Args:
        x: (n,) abscissae.
        y: (n,) ordinates.

    Returns:
        The line; NaN where x has fewer than two values, r2 where y has, what is left out where a point alone fixes
        the slope.
    """
    n = len(x)
    if n < 2 or np.ptp(x) == 0:
        return Line()
    dx, dy = x - x.mean(), y - y.mean()
    slope = dx @ dy / (dx @ dx)
    residual, rest = dy - slope * dx, 1 - 1 / n - dx**2 / (dx @ dx)
    loo_rmse = loo_r2 = nan
    varies = np.ptp(y) > 0
    if rest.min() > 1e-12:
        press = np.mean((residual / rest) ** 2)
        loo_rmse = float(np.sqrt(press))
        loo_r2 = float(1 - press / np.mean((dy * n / (n - 1)) ** 2)) if varies else nan
    return Line(
        slope=float(slope),
        intercept=float(y.mean() - slope * x.mean()),
        r2=float(1 - residual @ residual / (dy @ dy)) if varies else nan,
        rmse=float(np.sqrt(np.mean(residual**2))),
        loo_rmse=loo_rmse,
        loo_r2=loo_r2,
    )


def kendall_limit(x: Vector, y: Vector) -> float:
    """Give what tau-b divides Kendall's S by: the geometric mean of the numbers of pairs that x and that y tell apart.

    Pairs with a NaN do not count.
    """
    return sqrt(untied(x) * untied(y))


def ranks(x: Vector) -> Vector:
    """Rank numbers from 1, tied ones by their mean."""
    ordered = np.sort(x)
    return np.asarray((np.searchsorted(ordered, x, "left") + np.searchsorted(ordered, x, "right") + 1) / 2)


def sign_error(metric: Vector, quality: Vector, direction: int) -> float:
    """Give the share of pairs of different quality that a metric orders against the theory, ties as a half.

    Args:
        metric: (n,) the metric.
        quality: (n,) the quality.
        direction: the sign the theory gives to their association, or 0.

    Returns:
        From 0, every pair as expected, to 1; NaN without a sign or without pairs.
    """
    told = untied(quality)
    return (1 - direction * kendall_score(metric, quality) / told) / 2 if direction and told else nan


def _correlation(x: Vector, y: Vector) -> float:
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return nan
    dx, dy = x - x.mean(), y - y.mean()
    return float(dx @ dy / np.sqrt((dx @ dx) * (dy @ dy)))
