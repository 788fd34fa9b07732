"""What keeps a table of models from telling more, in plain sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from math import factorial, isfinite

import numpy as np

from heavytail.trends.report import Trend
from heavytail.trends.table import ModelTable
from heavytail.trends.verdict import LEVEL

__all__ = ["cautions"]

_MOST_NAMES = 6
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
            yield f"{_series(names)} 1 model{_each(names)}: it takes 2 to see a trend"
        elif (orders := factorial(size) // 2) < 1 / LEVEL:
            chance = f"even a perfect order of {size} comes by chance in 1 of {orders}"
            yield f"{_series(names)} {size} models{_each(names)}: " + (
                chance if size > 2 else "any order of 2 is a perfect one"
            )


def _missing(table: ModelTable) -> Iterable[str]:
    rated = np.isfinite(table.quality)
    names = np.array(table.models)
    if not rated.all():
        yield f"{table.quality_name} is missing for {_names(names[~rated])}: left out"
    missing: dict[tuple[str, ...], list[str]] = {}
    for name, values in table.metrics.items():
        lacking = tuple(names[rated][~np.isfinite(values)[rated]])
        if lacking:
            missing.setdefault(lacking, []).append(name)
    for lacking, metrics in missing.items():
        are = f"{_names(metrics)} {'is' if len(metrics) == 1 else 'are'} missing for"
        if len(lacking) == rated.sum():
            yield f"{are} every model"
        else:
            yield f"{are} {_names(lacking)}, and known of the {rated.sum() - len(lacking)} others"


def _wild(table: ModelTable) -> Iterable[str]:
    for name, values in table.metrics.items():
        sizes = np.abs(values[np.isfinite(values) & (values != 0)])
        if sizes.size and sizes.max() > _FAR * np.median(sizes):
            far = np.array(table.models)[np.isfinite(values) & (np.abs(values) > _FAR * np.median(sizes))]
            times = f"{sizes.max() / np.median(sizes):.0e} times its median"
            yield f"{name} of {_names(far)} is up to {times}: least squares follow such values alone; the orders do not"


def _constant(table: ModelTable, trends: Sequence[Trend]) -> Iterable[str]:
    groups = np.array(table.groups)
    same = [group for group in dict.fromkeys(table.groups) if _is_constant(table.quality[groups == group])]
    if same:
        yield f"{table.quality_name} is the same for all models of {_names(same)}"
    for trend in trends:
        values = np.asarray(table.metrics[trend.metric])
        if same := [group for group in trend.groups if _is_constant(values[groups == group])]:
            yield f"{trend.metric} is the same for all models of {_names(same)}"


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


def _series(names: Sequence[str]) -> str:
    return f"series {_names(names)} {'has' if len(names) == 1 else 'have'}"


def _each(names: Sequence[str]) -> str:
    return " each" if len(names) > 1 else ""


def _names(names: Iterable[str]) -> str:
    shown = list(names)
    if rest := len(shown[_MOST_NAMES:]):
        del shown[_MOST_NAMES:]
        shown.append(f"{rest} more")
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
