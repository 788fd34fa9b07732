"""An experiment: which networks are trained, what is measured of them, and what was published of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf, isnan, nan, sqrt
from typing import TYPE_CHECKING, Literal

import numpy as np

from heavytail.lab.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Experiment", "Finding", "Judgement", "Measured", "Published", "Size", "over_seeds"]

Size = Literal["quick", "full"]


class Judgement(StrEnum):
    """What a measurement says of a published statement."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNDECIDED = "undecided"
    MISSING = "not measured"


@dataclass(frozen=True, slots=True)
class Measured:
    """A number with its interval.

    Attributes:
        value: the mean over the seeds.
        low: lower end of its 95 % interval; NaN of a single seed.
        high: upper end.
        runs: number of seeds.
    """

    value: float
    low: float = nan
    high: float = nan
    runs: int = 1


@dataclass(frozen=True, slots=True)
class Published:
    """What was published, as a range of a number that is measured.

    Attributes:
        measure: name of the number.
        low: least value that agrees.
        high: largest value that agrees.
        says: the statement in words.
        figures: the published figures that it rests on, where there are some.
    """

    measure: str
    low: float
    high: float
    says: str
    figures: str = ""

    def judge(self, measured: Measured | None) -> Judgement:
        """Compare: it holds or fails where the whole interval says so, and is undecided where only a part of it does.

        Example:
            >>> Published("gain", 0, 1, "small batches are better").judge(Measured(0.05, -0.01, 0.11, 3)).value
            'undecided'
        """
        if measured is None or isnan(measured.value):
            return Judgement.MISSING
        ends = [measured.value] if isnan(measured.low) else [measured.low, measured.high]
        if all(self.low <= end <= self.high for end in ends):
            return Judgement.HOLDS
        if max(ends) < self.low or min(ends) > self.high:
            return Judgement.FAILS
        return Judgement.UNDECIDED


@dataclass(frozen=True, slots=True)
class Finding:
    """A statement, what was measured, and the judgement."""

    statement: Published
    measured: Measured
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class Experiment:
    """Networks that are trained to see whether a statement holds.

    Attributes:
        id: short name, as in the ledger.
        title: what it is about.
        source: paper and figure, or notebook.
        about: what is done, in a sentence or two.
        trials: the trainings of a size, by name; those of the first seed come first.
        measure: measures what the statements name from the table of a run.
        statements: what was published.
        axis: the column that is varied.
        minutes: time of the full run that was measured, on two processors.
        differs: what is other than it was published: data, sizes, times.
    """

    id: str
    title: str
    source: str
    about: str
    trials: Callable[[Size], Mapping[str, Recipe]]
    measure: Callable[[pd.DataFrame], Mapping[str, Measured]]
    statements: tuple[Published, ...]
    axis: str
    minutes: float
    differs: str = ""

    def findings(self, table: pd.DataFrame) -> tuple[Finding, ...]:
        """Judge every statement by the table of a run."""
        measured = self.measure(table)
        missing = Measured(nan, runs=0)
        return tuple(
            Finding(s, measured.get(s.measure, missing), s.judge(measured.get(s.measure))) for s in self.statements
        )


def over_seeds(values: Sequence[float], least: float = -inf, most: float = inf) -> Measured:
    """Give the mean of one number a seed, with Student's 95 % interval; seeds without the number are left out.

    Args:
        values: the number of each seed.
        least: the least that the number can be, where the interval ends at the latest.
        most: the most that it can be.

    Example:
        >>> over_seeds([1.0, 2.0, 3.0])
        Measured(value=2.0, low=-0.48..., high=4.48..., runs=3)
    """
    from scipy.special import stdtrit

    known = np.array([value for value in values if not isnan(value)], dtype=float)
    if len(known) < 2:
        return Measured(float(known[0]) if len(known) else nan, runs=len(known))
    half = float(stdtrit(len(known) - 1, 0.975) * known.std(ddof=1) / sqrt(len(known)))
    mean = float(known.mean())
    return Measured(mean, max(mean - half, least), min(mean + half, most), len(known))
