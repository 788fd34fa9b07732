"""Trends in one HTML file that needs nothing else: a scatter a series, and all series pooled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from heavytail.report.curves import significant
from heavytail.report.html import page, plain_items, plural
from heavytail.report.payload import number, numbers, printable
from heavytail.trends.metrics import metric_named
from heavytail.trends.report import LEAST_MODELS
from heavytail.trends.verdict import LEVEL, OPEN, REVERSED, SUPPORTED, TOO_FEW

if TYPE_CHECKING:
    from heavytail.trends.association import Association
    from heavytail.trends.report import Trend, TrendsReport
    from heavytail.trends.table import ModelTable

__all__ = ["band", "payload", "render"]

Vector = NDArray[np.float64]

_STEPS = 16  # of the band, which is drawn as straight pieces
_FEW = 6  # with no more series than these, two models have a panel too

VERDICTS: Mapping[str, str] = {
    SUPPORTED: f"the adjusted p-value is at most {LEVEL} and the sign is the one the theory expects "
    "(any sign where it expects none)",
    OPEN: f"the models do not settle it: the adjusted p-value is above {LEVEL}",
    TOO_FEW: "so few models that even a perfect order would not be rare by chance",
    REVERSED: f"the adjusted p-value is at most {LEVEL} and the sign is against the theory",
}
"""What each verdict means, the best support first."""

_OVERVIEW: Mapping[str, tuple[str, str, str]] = {
    "metric": ("", "metric", "A number of a model, computed from its weights."),
    "theory": ("", "theory", "Whether the theory expects the better model to have the smaller or the larger value."),
    "verdict": ("", "verdict", "Of the trend within series, all series together."),
    "within_slope": ("within series", "slope", "Change of quality for one unit of the metric, of one line through all "
                     "series after each was moved to its own mean; with its 95 % interval."),
    "within_r2": ("within series", "R²", "Share of the variance of quality within series that this line explains."),
    "within_tau": ("within series", "τ", "Kendall's tau over pairs of models of the same series: 1 if all stand in one "
                   "order, −1 in the opposite one."),
    "within_p": ("within series", "adjusted p", "Permutation p-value, adjusted for all that was looked at."),
    "signs": ("within series", "falls / rises", "In how many series the line falls, and in how many it rises."),
    "pooled_slope": ("pooled", "slope", "Slope of one line through all models, their series ignored; with its 95 % "
                     "interval."),
    "pooled_r2": ("pooled", "R²", "Share of the variance of quality that this line explains."),
    "pooled_tau": ("pooled", "τ", "Kendall's tau over all pairs of models."),
    "opposed": ("pooled", "opposed", "Whether pooled and within slopes differ in sign (Simpson's paradox)."),
    "sign_error": ("sign error", "mean", "Share of the pairs of models of a series that the metric puts in the wrong "
                   f"order, mean over series of at least {LEAST_MODELS} models. A coin reaches 0.5."),
    "robust": ("sign error", "worst", f"In the series of at least {LEAST_MODELS} models where it is largest: "
               "the robust sign error of Dziugaite et al. (2020)."),
}  # fmt: skip
_SERIES: Mapping[str, tuple[str, str, str]] = {
    "series": ("", "series", "Models that belong together, by the grouping that was asked for."),
    "verdict": ("", "verdict", "Of the trend in this series."),
    "n": ("", "n", "Models that have both the metric and the quality."),
    "slope": ("least squares", "slope", "Change of quality for one unit of the metric; with its 95 % interval."),
    "r2": ("least squares", "R²", "Share of the variance of quality that the line explains; with its 95 % interval."),
    "rmse": ("least squares", "RMSE", "Root of the mean squared residual, in units of quality."),
    "loo_rmse": ("left out", "RMSE", "The same where each model is predicted by a line through the others."),
    "loo_r2": ("left out", "R²", "One minus the ratio of that squared error to that of predicting the mean of the "
               "others; below 0 the line predicts worse than the mean."),
    "tau": ("order", "τ", "Kendall's tau-b of the metric against quality as given; with its 95 % interval."),
    "rho": ("order", "ρ", "Spearman's rank correlation; with its 95 % interval."),
    "p": ("order", "p of τ", "Two-sided permutation p-value of tau, in this series alone."),
    "adjusted": ("order", "adjusted p", "The same, adjusted for all that was looked at."),
    "sign_error": ("order", "sign error", "Share of the pairs of models that the metric puts in the wrong order."),
}  # fmt: skip


def render(report: TrendsReport) -> str:
    """Write trends as one self-contained HTML page (see `heavytail.report.html.page`).

    Args:
        report: metrics against quality, by series.

    Returns:
        The page, to be encoded as UTF-8.
    """
    table, trends = report.table, _ranked(report.trends)
    return page(
        "trends.html.j2",
        payload(report),
        styles=("trends.css",),
        scripts=("scatter.js", "trends.js"),
        quality=printable(table.quality_name),
        facts=_facts(report),
        warnings=[printable(warning) for warning in report.warnings],
        verdicts=[
            (verdict, [printable(trend.metric) for trend in trends if trend.verdict == verdict]) for verdict in VERDICTS
        ],
        opposed=[printable(trend.metric) for trend in trends if trend.opposed],
        several=len(set(table.groups)) > 1,
        meanings=VERDICTS,
        notes=[printable(note) for note in table.notes],
        settings=plain_items(report.settings),
        overview=_OVERVIEW.values(),
        columns=_SERIES.values(),
        version=report.version,
    )


def payload(report: TrendsReport) -> dict[str, Any]:
    """Gather what the page's script draws: every number rounded, missing ones null.

    Args:
        report: metrics against quality, by series.

    Returns:
        Models, their series (the largest first) and quality; of each metric, the best supported first, its values, its
        trends with lines and bands by panel, and the series too small for a panel.
    """
    table = report.table
    series = [name for name, _ in Counter(table.groups).most_common()]
    place = {name: index for index, name in enumerate(series)}
    return {
        "quality": printable(table.quality_name),
        "better": "higher" if table.higher_is_better else "lower",
        "models": [printable(model) for model in table.models],
        "series": [printable(name) for name in series],
        "of": [place[group] for group in table.groups],
        "y": significant(table.quality, 6),
        "metrics": [_metric(trend, table, series) for trend in _ranked(report.trends)],
        "verdicts": VERDICTS,
        "overview": _OVERVIEW,
        "columns": _SERIES,
    }


def band(x: Vector, found: Association, at: Vector, level: float = 0.95) -> tuple[Vector, Vector]:
    """Give the band of the mean of a least-squares line, for independent normal residuals of equal variance.

    Source: Draper and Smith (1998), Applied Regression Analysis, section 3.1.

    Args:
        x: (n,) the metric of the models the line was fitted to, n of at least 3.
        found: the line.
        at: (m,) where the band is wanted.
        level: how often it covers the mean.

    Returns:
        Lower and upper end, (m,) each; NaN where the metric is constant.
    """
    free = found.n - 2
    variance = found.rmse**2 * found.n / free
    spread = np.sum((x - x.mean()) ** 2)
    leverage = 1 / found.n + (at - x.mean()) ** 2 / (spread or nan)
    half = float(stdtrit(free, (1 + level) / 2)) * np.sqrt(variance * leverage)
    middle = found.intercept + found.slope * at
    return middle - half, middle + half


def _ranked(trends: Iterable[Trend]) -> list[Trend]:
    """Order trends by the evidence within series, the best supported first."""
    order = list(VERDICTS)

    def support(trend: Trend) -> tuple[int, float, float]:
        p_value, tau = trend.within.adjusted, trend.within.kendall_tau
        return order.index(trend.verdict), nan_last(p_value), -abs(tau) if tau == tau else 0.0

    def nan_last(value: float) -> float:
        return value if value == value else 2.0

    return sorted(trends, key=support)


def _facts(report: TrendsReport) -> list[str]:
    table = report.table
    series = len(set(table.groups))
    facts = [plural(len(table.models), "model")]
    facts += [plural(series, "series", "series")] if series > 1 else []
    facts += [plural(len(report.trends), "metric")]
    return [*facts, f"{printable(table.quality_name)}, {'higher' if table.higher_is_better else 'lower'} is better"]


def _metric(trend: Trend, table: ModelTable, series: Sequence[str]) -> dict[str, Any]:
    """Give a metric: its values, and its trend in each panel."""
    x = np.asarray(table.metrics[trend.metric], dtype=np.float64)
    whole = np.isfinite(x) & np.isfinite(table.quality)
    groups = np.array(table.groups, dtype=object)
    members = [whole & (groups == name) for name in series]
    counts = [int(np.count_nonzero(inside)) for inside in members]
    least = 2 if sum(count > 1 for count in counts) <= _FEW else 3
    sign = trend.direction * (1 if table.higher_is_better else -1)
    return {
        "name": printable(trend.metric),
        "title": printable(metric_named(trend.metric).title),
        "direction": trend.direction,
        "expected": sign,
        "x": significant(np.where(whole, x, nan), 6),
        "verdict": trend.verdict,
        "opposed": trend.opposed,
        "sign_error": number(trend.sign_error),
        "robust": number(trend.robust_sign_error),
        "within": _within(trend),
        "pooled": _association(trend.pooled, x[whole]),
        "panels": [
            _association(trend.groups[name], x[members[place]])
            | {"series": place, "verdict": trend.verdicts[name], "adjusted": number(trend.adjusted[name])}
            for place, name in enumerate(series)
            if counts[place] >= least
        ],
        "small": [[place, count] for place, count in enumerate(counts) if count < least],
    }


def _within(trend: Trend) -> dict[str, Any]:
    within = trend.within
    return {
        "slope": numbers(within.slope, within.slope_lo, within.slope_hi),
        "r2": number(within.r2),
        "tau": number(within.kendall_tau),
        "p": number(within.p_value),
        "adjusted": number(within.adjusted),
        "groups": within.groups,
        "models": within.models,
        "negative": within.negative,
        "positive": within.positive,
    }


def _association(found: Association, x: Vector) -> dict[str, Any]:
    """Give the numbers of a panel; whether its line is `firm`, or of too few models to be evidence."""
    return {
        "n": found.n,
        "slope": numbers(found.slope, found.slope_lo, found.slope_hi),
        "r2": numbers(found.r2, found.r2_lo, found.r2_hi),
        "tau": numbers(found.kendall_tau, found.kendall_lo, found.kendall_hi),
        "rho": numbers(found.spearman_rho, found.spearman_lo, found.spearman_hi),
        "rmse": number(found.rmse),
        "loo_rmse": number(found.loo_rmse),
        "loo_r2": number(found.loo_r2),
        "p": number(found.p_kendall),
        "sign_error": number(found.sign_error),
        "firm": bool(found.p_least <= LEVEL),
        "line": _line(found, x),
    }


def _line(found: Association, x: Vector) -> dict[str, Any] | None:
    """Give the line between the outermost models, with its band at equal steps; none through two points."""
    if x.size < 3 or not np.isfinite(found.slope):
        return None
    at = np.linspace(x.min(), x.max(), _STEPS + 1)
    low, high = band(x, found, at)
    ends = found.intercept + found.slope * at[[0, -1]]
    return {
        "x": significant(at[[0, -1]], 6),
        "y": significant(ends, 6),
        "low": significant(low, 5),
        "high": significant(high, 5),
    }
