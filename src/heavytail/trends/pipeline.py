"""The job: every metric of a table against quality, in every group, within groups and over all models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from heavytail import __version__
from heavytail.errors import RequestError
from heavytail.trends.association import Association, associate_all
from heavytail.trends.cautions import cautions
from heavytail.trends.intervals import FEWEST_RESAMPLES, RESAMPLES
from heavytail.trends.metrics import metric_named
from heavytail.trends.permutation import DRAWS
from heavytail.trends.report import LEAST_MODELS, Trend, TrendsReport
from heavytail.trends.table import ModelTable
from heavytail.trends.verdict import LEVEL, find_family, verdict
from heavytail.trends.within import Within, within_groups

if TYPE_CHECKING:
    from heavytail.trends.reading import Source

__all__ = ["trends"]


def trends(
    table: ModelTable | Source | Sequence[Source],
    seed: int | np.random.Generator = 0,
    resamples: int = RESAMPLES,
) -> TrendsReport:
    """Measure how each metric of a table goes with quality.

    Args:
        table: the models, with their groups, metrics and quality, or what `read_table` reads without options.
        seed: of all draws.
        resamples: of the bootstrap.

    Raises:
        RequestError: if there is no metric, or fewer than 2 models with a quality, or too few resamples for 95 %.

    Example:
        >>> quality = np.array([68.97, 69.66, 71.64, 72.08, 70.45, 71.51, 73.52, 74.27])
        >>> alpha_weighted = np.array([1.84, 1.65, 1.41, 1.16, 1.60, 1.36, 1.08, 0.81])
        >>> names, groups = tuple("abcdefgh"), ("VGG",) * 8
        >>> table = ModelTable(names, groups, {"alpha_weighted": alpha_weighted}, quality, "top1_accuracy", True)
        >>> found = trends(table).trends[0]
        >>> round(found.groups["VGG"].kendall_tau, 2), found.verdict, found.opposed
        (-0.93, 'supported', False)
    """
    if not isinstance(table, ModelTable):
        from heavytail.trends.reading import read_table

        table = read_table(table)
    _check(table, resamples)
    rng = np.random.default_rng(seed)
    members = _members(table)
    values = np.stack([np.asarray(table.metrics[name], dtype=np.float64) for name in table.metrics])
    values = np.where(np.isfinite(values), values, nan)
    family = find_family([(values[:, rows], table.quality[rows]) for rows in members.values()], rng)
    signs = [_expected(name, table) for name in table.metrics]
    over_all, *streams = rng.spawn(1 + len(members))
    pooled = associate_all(values, table.quality, signs, over_all, resamples)
    groups = {
        group: associate_all(values[:, rows], table.quality[rows], signs, stream, resamples)
        for (group, rows), stream in zip(members.items(), streams, strict=True)
    }
    found = tuple(
        _trend(
            name,
            signs[k],
            {
                group: (every[k], float(family.adjusted[row, k]))
                for row, (group, every) in enumerate(groups.items())
                if len(members[group]) > 1
            },
            pooled[k],
            within_groups(
                [(values[k, rows], table.quality[rows]) for rows in members.values()],
                float(family.within[k]),
                float(family.within_adjusted[k]),
            ),
            float(family.within_least[k]),
        )
        for k, name in enumerate(table.metrics)
    )
    settings = {
        "seed": seed if isinstance(seed, int) else None,
        "resamples": resamples,
        "permutations": DRAWS,
        "level": LEVEL,
    }
    return TrendsReport(table, settings, found, cautions(table, found), __version__)


def _check(table: ModelTable, resamples: int) -> None:
    if not table.metrics:
        raise RequestError("trends need at least one metric; the table has none")
    if (count := int(np.isfinite(table.quality).sum())) < 2:
        raise RequestError(f"trends need at least 2 models with a {table.quality_name}; the table has {count}")
    if resamples < FEWEST_RESAMPLES:
        raise RequestError(f"the number of resamples must be at least {FEWEST_RESAMPLES}; got {resamples}")


def _members(table: ModelTable) -> dict[str, NDArray[np.intp]]:
    """Give the rows of each group that have a quality."""
    groups, known = np.array(table.groups), np.isfinite(table.quality)
    members = {group: np.flatnonzero((groups == group) & known) for group in dict.fromkeys(table.groups)}
    return {group: rows for group, rows in members.items() if len(rows)}


def _expected(name: str, table: ModelTable) -> int:
    """Give the sign that the theory gives to the association with the quality as it is given."""
    direction = metric_named(name).direction
    return direction if table.higher_is_better else -direction


def _trend(
    name: str,
    expected: int,
    cells: Mapping[str, tuple[Association, float]],
    pooled: Association,
    within: Within,
    within_least: float,
) -> Trend:
    adjusted = {group: max(p_value, found.p_kendall) for group, (found, p_value) in cells.items()}
    groups = {group: found for group, (found, _) in cells.items()}
    large = [found for found in groups.values() if found.n >= LEAST_MODELS]
    errors = [found.sign_error for found in large if isfinite(found.sign_error)]
    return Trend(
        metric=name,
        direction=metric_named(name).direction,
        groups=groups,
        verdicts={
            group: verdict(found.kendall_tau, expected, adjusted[group], found.p_least, found.n)
            for group, found in groups.items()
        },
        adjusted=adjusted,
        pooled=pooled,
        within=within,
        verdict=verdict(within.kendall_tau, expected, within.adjusted, within_least, within.models),
        opposed=within.groups > 1 and pooled.slope * within.slope < 0,
        sign_error=sum(errors) / len(errors) if errors else nan,
        robust_sign_error=max(errors, default=nan),
    )
