"""A published claim, its recomputation, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from heavytail.reproduce.published import Table

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["OWN", "Check", "Claim", "Outcome", "Row", "Verdict", "printed", "within"]


OWN = "a figure of the reference's own computation from these tables, not printed in the paper"
"""Note of a check whose number was worked out from what was published, and not itself published."""


Side = Literal["", "at least", "at most"]


class Verdict(StrEnum):
    """What became of a published number, from the best to the worst; DATA_MISSING is of whole claims alone."""

    REPRODUCED = "reproduced"
    DOES_NOT_CARRY_OVER = "does not carry over"
    PUBLISHED_WRONG = "published value wrong"
    NOT_REPRODUCED = "not reproduced"
    DATA_MISSING = "data missing"


@dataclass(frozen=True, slots=True)
class Check:
    """One published number.

    Attributes:
        name: name of the measured value it is compared with.
        published: the number that was published.
        tolerance: largest difference that counts as agreement, > 0.
        note: where the number and its tolerance come from.
        side: "" for agreement within the tolerance on both sides; "at least" or "at most" for a published bound, which
            any number beyond it satisfies too.
        expected: the verdict that is expected; for another than agreement the claim gives the reason.
            PUBLISHED_WRONG says that the number is false of what it was published for, DOES_NOT_CARRY_OVER that it is
            right there, but not under the other conditions tried here.
    """

    name: str
    published: float
    tolerance: float
    note: str = ""
    expected: Verdict = Verdict.REPRODUCED
    side: Side = ""

    def __post_init__(self) -> None:
        """Refuse a check that nothing or everything would pass."""
        if not (isfinite(self.published) and isfinite(self.tolerance) and self.tolerance > 0):
            raise ValueError(
                f"check {self.name!r} needs a finite published value and a finite tolerance > 0; "
                f"got {self.published} and {self.tolerance}"
            )

    def against(self, ours: float) -> Row:
        """Compare the published number with ours.

        A value of ours that is not finite agrees with nothing, and proves nothing wrong.
        """
        difference = ours - self.published
        off = {"": abs(difference), "at least": -difference, "at most": difference}[self.side]
        if off <= self.tolerance and isfinite(ours):
            verdict = Verdict.REPRODUCED
        elif self.expected is Verdict.REPRODUCED or not isfinite(ours):
            verdict = Verdict.NOT_REPRODUCED
        else:
            verdict = self.expected
        surprising = verdict is not self.expected
        note = f"{self.side} {self.published:g}: {self.note}" if self.side else self.note
        return Row(self.name, ours, self.published, difference, self.tolerance, verdict, surprising, note, self.side)


def within(name: str, low: float, high: float, note: str = "", expected: Verdict = Verdict.REPRODUCED) -> Check:
    """Give the check of a published range: its middle, with half its width as the tolerance.

    Example:
        >>> within("alpha", 2, 4).against(3.9).verdict
        <Verdict.REPRODUCED: 'reproduced'>
    """
    return Check(name, (low + high) / 2, (high - low) / 2, note, expected)


def printed(name: str, digits: str, note: str = "", expected: Verdict = Verdict.REPRODUCED) -> Check:
    """Give the check of a number as it was printed: the tolerance is half a unit of its last digit.

    Example:
        >>> [printed("R2", digits).against(0.8835).verdict.value for digits in ("0.88", "0.883")]
        ['reproduced', 'reproduced']
    """
    decimals = len(digits.partition(".")[2])
    a_tie_goes_either_way = 1 + 1e-9
    return Check(name, float(digits), 0.5 * 10.0**-decimals * a_tie_goes_either_way, note, expected)


@dataclass(frozen=True, slots=True)
class Row:
    """A published number beside ours.

    Attributes:
        name: what was measured.
        ours: our value; NaN where there is none.
        published: theirs.
        difference: ours - published.
        tolerance: largest difference that counts as agreement.
        verdict: what became of it.
        surprising: whether the verdict is another than was expected: an agreement with a number known to be wrong is
            as surprising as a disagreement with one believed to be right.
        note: where the published number and its tolerance come from.
        side: "at least" or "at most" where the published number is a bound.
    """

    name: str
    ours: float
    published: float
    difference: float
    tolerance: float
    verdict: Verdict
    surprising: bool
    note: str
    side: Side = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim of the literature and the computation that checks it.

    Attributes:
        id: short name, unique in the ledger.
        title: what it is about.
        source: paper and figure, notebook or section.
        what: what is computed.
        size: sizes and numbers of draws used, and the published ones where they differ.
        compute: measures the values that the checks name, from a random generator and the tables of `data`.
        checks: the published numbers, at least one.
        seconds: run time that was measured, on one processor.
        reason: why a published value is wrong or does not carry over, where one is or does not.
        slow: whether it is left out unless asked for.
        data: names of the published tables that it is computed from, which are no part of this package.
        experiment: the experiment of the laboratory whose full run it is computed from, if it is.
    """

    id: str
    title: str
    source: str
    what: str
    size: str
    compute: Callable[..., Mapping[str, float]]
    checks: tuple[Check, ...]
    seconds: float
    reason: str = ""
    slow: bool = False
    data: tuple[str, ...] = ()
    experiment: str = ""

    def __post_init__(self) -> None:
        """Refuse a claim that checks nothing or expects a disagreement without a reason."""
        if not self.checks:
            raise ValueError(f"claim {self.id} has no checks")
        if any(check.expected is not Verdict.REPRODUCED for check in self.checks) and not self.reason:
            raise ValueError(f"claim {self.id} expects a disagreement and gives no reason")

    def run(
        self, seed: int = 0, tables: Mapping[str, Table] | None = None, runs: Mapping[str, DataFrame] | None = None
    ) -> Outcome:
        """Recompute the claim; the seed and the tables decide the result, whatever else is run.

        Args:
            seed: the seed of what is drawn.
            tables: the published tables, by name; without any, a claim that needs some is of missing data.
            runs: the tables of finished runs, by the experiment; a claim that needs another one is of missing data.

        Raises:
            ValueError: if the computation did not measure what a check names.
            SourceError: if a table has no such rows, or no number where one is needed.
        """
        if (self.data and tables is None) or (self.experiment and self.experiment not in (runs or {})):
            return Outcome(self, seed, ())
        given: tuple[Table | DataFrame, ...] = () if tables is None else tuple(tables[name] for name in self.data)
        if runs and self.experiment:
            given = (*given, runs[self.experiment])
        ours = self.compute(np.random.default_rng([seed, *self.id.encode()]), *given)
        missing = [check.name for check in self.checks if check.name not in ours]
        if missing:
            raise ValueError(f"claim {self.id} did not measure {missing[0]!r}; it measured {sorted(ours)}")
        return Outcome(self, seed, tuple(check.against(float(ours[check.name])) for check in self.checks))


@dataclass(frozen=True, slots=True)
class Outcome:
    """A recomputed claim.

    Attributes:
        claim: the claim.
        seed: the seed it was run with.
        rows: the published numbers beside ours; none if the data are missing.
    """

    claim: Claim
    seed: int
    rows: tuple[Row, ...]

    @property
    def verdict(self) -> Verdict:
        """The claim's verdict, the worst of its rows."""
        return max((row.verdict for row in self.rows), key=list(Verdict).index, default=Verdict.DATA_MISSING)

    @property
    def missing(self) -> str:
        """What the claim needs and how to give it, where its data are missing; else empty."""
        if self.rows:
            return ""
        if name := self.claim.experiment:
            run = f"heavytail lab run {name} --out RUNS/{name}"
            return f"needs the full run of {name}: {run}, then the folder of the runs (--runs RUNS)"
        return f"needs {' and '.join(self.claim.data)}: give the folder of the published tables as data (--data DIR)"

    @property
    def surprising(self) -> bool:
        """Whether a row came out otherwise than the ledger expects."""
        return any(row.surprising for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """Give the outcome as plain data for JSON; a number that is not finite is None."""
        claim = self.claim
        return {
            "id": claim.id,
            "title": claim.title,
            "source": claim.source,
            "what": claim.what,
            "size": claim.size,
            "seconds": claim.seconds,
            "slow": claim.slow,
            "data": list(claim.data),
            "experiment": claim.experiment,
            "missing": self.missing,
            "seed": self.seed,
            "verdict": str(self.verdict),
            "surprising": self.surprising,
            "reason": claim.reason,
            "rows": [
                {
                    "name": row.name,
                    "ours": row.ours if isfinite(row.ours) else None,
                    "published": row.published,
                    "difference": row.difference if isfinite(row.difference) else None,
                    "tolerance": row.tolerance,
                    "verdict": str(row.verdict),
                    "surprising": row.surprising,
                    "note": row.note,
                    "side": row.side,
                }
                for row in self.rows
            ],
        }
