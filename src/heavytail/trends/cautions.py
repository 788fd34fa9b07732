"""What keeps a table of models from telling more, in plain sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence, Sized
from itertools import groupby
from math import factorial, isfinite

import numpy as np

from heavytail.trends.report import Trend
from heavytail.trends.table import ModelTable
from heavytail.trends.verdict import LEVEL

__all__ = ["cautions"]

_MOST_NAMES = 6
_MANY = 12  # series above which those of a kind are counted, and few of them named
_MOST_OF_MANY = 3
_FAR = 1e6  # times its median: a value as far decides every fit


def cautions(table: ModelTable, trends: Sequence[Trend]) -> tuple[str, ...]:
    """Say what a reader of these trends must know.

    Args:
        table: the models.
        trends: what was found of them.
    """
    return (*_opposed(trends), *_few(table), *_missing(table), *_wild(table), *_constant(table, trends))


def _few(table: ModelTable) -> Iterable[str]:
    counts = Counter(group for group, y in zip(table.groups, table.quality, strict=True) if isfinite(y))
    if len(counts) == 1:
        (name,) = counts
        yield f"all models are of one series{', ' + name if name else ''}: nothing is known of how others would do"
    by_size = sorted(counts.items(), key=lambda item: item[1])
    for size, items in groupby(by_size, key=lambda item: item[1]):
        names = [group for group, _ in items]
        if size < 2:
            yield f"{_series(names, counts)} 1 model{_each(names)}: it takes 2 to see a trend"
        elif (orders := factorial(size) // 2) < 1 / LEVEL:
            chance = f"even a perfect order of {size} comes by chance in 1 of {orders}"
            yield f"{_series(names, counts)} {size} models{_each(names)}: " + (
                chance if size > 2 else "any order of 2 is a perfect one"
            )


def _missing(table: ModelTable) -> Iterable[str]:
    rated = np.isfinite(table.quality)
    names = np.array(table.models)
    for lacks, which in (("missing", np.isnan(table.quality)), ("not finite", np.isinf(table.quality))):
        if which.any():
            yield f"{table.quality_name} is {lacks} for {_names(names[which])}: left out"
    missing: dict[tuple[str, tuple[str, ...], int], list[str]] = {}
    for name, values in table.metrics.items():
        known = int(np.isfinite(values[rated]).sum())
        for lacks, which in (("missing", np.isnan(values)), ("not finite", np.isinf(values))):
            if lacking := tuple(names[which & rated]):
                missing.setdefault((lacks, lacking, known), []).append(name)
    for (lacks, lacking, known), metrics in missing.items():
        are = f"{_names(metrics)} {'is' if len(metrics) == 1 else 'are'} {lacks} for"
        if len(lacking) == rated.sum():
            yield f"{are} every model"
        else:
            yield f"{are} {_names(lacking)}, and known of the {known} others"


def _wild(table: ModelTable) -> Iterable[str]:
    for name, values in table.metrics.items():
        sizes = np.abs(values[np.isfinite(values) & (values != 0)])
        if sizes.size and sizes.max() > _FAR * np.median(sizes):
            far = np.array(table.models)[np.isfinite(values) & (np.abs(values) > _FAR * np.median(sizes))]
            times = f"{sizes.max() / np.median(sizes):.0e} times its median"
            yield f"{name} of {_names(far)} is up to {times}: least squares follow such values alone; the orders do not"


def _constant(table: ModelTable, trends: Sequence[Trend]) -> Iterable[str]:
    groups = np.array(table.groups)
    members = {group: groups == group for group in dict.fromkeys(table.groups)}
    columns = {table.quality_name: table.quality} | {trend.metric: table.metrics[trend.metric] for trend in trends}
    for name, values in columns.items():
        if same := [group for group, rows in members.items() if _is_constant(np.asarray(values)[rows])]:
            where = f" of {_of_many(same, len(members))}" if len(members) > 1 else ""
            with_it = "metric" if values is table.quality else "quality"
            yield f"{name} is the same for all models{where}, so no {with_it} can go with it"


def _opposed(trends: Sequence[Trend]) -> Iterable[str]:
    words = ("negative", "positive")
    said: dict[tuple[str, str], list[str]] = {}
    for trend in trends:
        if trend.opposed:
            signs = words[trend.pooled.slope > 0], words[trend.within.slope > 0]
            where = (("pooled", trend.pooled), ("within", trend.within))
            zero = [name for name, found in where if not found.slope_lo * found.slope_hi > 0]
            said.setdefault(signs, []).append(
                trend.metric + (f" ({' and '.join(zero)} it may be zero)" if zero else "")
            )
    for (pooled, within), metrics in said.items():
        yield (
            f"pooled over series the slope is {pooled}, within them {within}, of {_names(metrics)}: "
            "compare models of one series only"
        )


def _is_constant(values: np.ndarray) -> bool:
    known = values[np.isfinite(values)]
    return len(known) > 1 and np.ptp(known) == 0


def _series(names: Sequence[str], among: Sized) -> str:
    counted = len(among) > _MANY and len(names) > _MOST_OF_MANY
    return f"{'' if counted else 'series '}{_of_many(names, len(among))} {'has' if len(names) == 1 else 'have'}"


def _of_many(names: Sequence[str], series: int) -> str:
    """Name some of the series; where there are many, count them and name a few."""
    if series > _MANY and len(names) > _MOST_OF_MANY:
        return f"{len(names)} series ({', '.join(names[:_MOST_OF_MANY])}, ...)"
    return _names(names)


def _each(names: Sequence[str]) -> str:
    return " each" if len(names) > 1 else ""


def _names(names: Iterable[str]) -> str:
    shown = list(names)
    if rest := len(shown[_MOST_NAMES:]):
        del shown[_MOST_NAMES:]
        shown.append(f"{rest} more")
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
