"""How experiments read the table of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import isnan, nan
from typing import TYPE_CHECKING, Any

import numpy as np

from heavytail.lab.experiments.experiment import Measured, over_seeds
from heavytail.rmt.ensembles.phases import PHASES

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "PHASE_ORDER",
    "difference",
    "each_seed",
    "each_tau",
    "gain_of_best",
    "last",
    "of_layer",
    "of_network",
    "rank_correlation",
    "rises",
]

PHASE_ORDER = {name: k for k, name in enumerate(PHASES)}
"""From random-like to heavy-tailed and the collapse of the rank."""


def of_network(table: pd.DataFrame) -> pd.DataFrame:
    """Give the rows of whole networks."""
    return table[table["layer"] == ""]


def of_layer(table: pd.DataFrame, layer: str) -> pd.DataFrame:
    """Give the rows of one layer."""
    return table[table["layer"] == layer]


def last(table: pd.DataFrame) -> pd.DataFrame:
    """Give the rows of each trial's last look."""
    return table[table["epoch"] == table.groupby("trial")["epoch"].transform("max")]


def each_seed(table: pd.DataFrame, number: Callable[[pd.DataFrame], float]) -> Measured:
    """Measure a number of each seed's rows, and give their mean."""
    return over_seeds([number(rows) for _, rows in table.groupby("seed")])


def each_tau(table: pd.DataFrame, x: str, y: str, sign: int = 1) -> Measured:
    """Measure Kendall's tau of two columns, or its negative, in each seed's rows, and give the mean."""
    return over_seeds([sign * rank_correlation(rows[x], rows[y]) for _, rows in table.groupby("seed")], -1, 1)


def difference(rows: pd.DataFrame, column: str, axis: str, of: Any, minus: Any) -> float:
    """Give the value of a column at one setting less that at another, in the rows of one seed; NaN where one lacks."""
    values = rows.set_index(axis)[column]
    return float(values[of] - values[minus]) if {of, minus} <= set(values.index) else nan


def rises(table: pd.DataFrame, column: str, axis: str, order: Sequence[Any]) -> Measured:
    """Count how often a column rises from one setting to the next, beyond the interval of its change over the seeds.

    Args:
        table: a row for each seed and setting.
        column: the column.
        axis: the column of the settings.
        order: the settings in the order in which the column is said to fall.

    Returns:
        The number of such steps, NaN without two settings of two seeds.
    """
    values = table.pivot_table(index="seed", columns=axis, values=column)
    known = [setting for setting in order if setting in values]
    steps = [over_seeds((values[b] - values[a]).to_list()) for a, b in pairwise(known)]
    seen = [step.low > 0 for step in steps if not isnan(step.low)]
    return Measured(float(sum(seen)) if seen else nan, runs=len(values))


def gain_of_best(table: pd.DataFrame, column: str, axis: str, over: Any) -> Measured:
    """Measure how much more the best setting has of a column than another, chosen without the seed it is measured on.

    The setting that is best of all seeds together would gain something by chance alone; so each seed takes the one that
    is best of the other seeds.

    Args:
        table: a row for each seed and setting.
        column: of which more is better.
        axis: the column of the settings.
        over: the setting that is compared with.

    Returns:
        The mean gain over the seeds, NaN of fewer than two of them.
    """
    values = table.pivot_table(index="seed", columns=axis, values=column)
    if len(values) < 2 or over not in values:
        return Measured(nan, runs=0)
    best = [values.drop(index=seed).mean().idxmax() for seed in values.index]
    return over_seeds([float(values.loc[s, b] - values.loc[s, over]) for s, b in zip(values.index, best, strict=True)])


def rank_correlation(x: pd.Series, y: pd.Series) -> float:
    """Give Kendall's tau-b of two columns, NaN of fewer than three rows or of a constant.

    Example:
        >>> import pandas as pd
        >>> rank_correlation(pd.Series([1, 2, 3]), pd.Series([1, 2, 2]))
        0.816...
    """
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    known = ~(np.isnan(a) | np.isnan(b))
    upper = np.triu_indices(int(known.sum()), 1)
    signs = [np.sign(v[known][:, None] - v[known][None, :])[upper] for v in (a, b)]
    scale = float(np.sqrt(np.prod([(s != 0).sum() for s in signs], dtype=float)))
    tau = float((signs[0] * signs[1]).sum()) / scale if scale and known.sum() > 2 else nan
    return nan if isnan(tau) else tau
