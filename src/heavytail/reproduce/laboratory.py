"""The claims of the laboratory: what was published of trained networks, beside runs of its experiments.

Each experiment has two claims: of its full run, which is read from a folder since it takes minutes to hours, and of its
quick run, which is made anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from heavytail.errors import SourceError
from heavytail.lab.experiments import Experiment, Published, experiments
from heavytail.lab.run import Run
from heavytail.reproduce.claim import Check, Claim, Verdict, within

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CLAIMS", "read_runs"]

_DIFFERS: Mapping[tuple[str, str], str] = {}
"""Statements that do not hold of a full run, by experiment and measure, with the reason."""

_QUICK_DIFFERS: Mapping[tuple[str, str], str] = {}
"""The same of a quick run."""

_ROUNDING = 1e-12

_QUICK_SECONDS: Mapping[str, float] = {}
"""Times of quick runs that were measured, on one processor."""


def read_runs(folder: Path | None, wanted: Iterable[str]) -> dict[str, pd.DataFrame]:
    """Read the tables of the full runs that are in a folder, each under the name of its experiment.

    Raises:
        SourceError: if a run is damaged or of another experiment, or if the folder is not there.
    """
    if folder is None:
        return {}
    if not folder.is_dir():
        raise SourceError(str(folder), "is no folder of runs")
    found = {}
    for name in sorted(set(filter(None, wanted))):
        if (folder / name).is_dir():
            run = Run.open(folder / name)
            if (run.experiment.id, run.size) != (name, "full"):
                raise SourceError(
                    str(run.folder), f"is a {run.size} run of {run.experiment.id}, not a full one of {name}"
                )
            found[name] = run.table
    return found


def _of_full(rng: np.random.Generator, table: pd.DataFrame, *, experiment: Experiment) -> dict[str, float]:
    return {name: measured.value for name, measured in experiment.measure(table).items()}


def _of_quick(rng: np.random.Generator, *, experiment: Experiment) -> dict[str, float]:
    from heavytail.lab.runner import run_experiment

    with TemporaryDirectory() as folder:
        return _of_full(rng, run_experiment(experiment.id, folder, "quick", jobs=1).table, experiment=experiment)


def _check(statement: Published, reason: str | None) -> Check:
    note = f"{statement.says}{f'; published: {statement.figures}' if statement.figures else ''}"
    expected = Verdict.REPRODUCED if reason is None else Verdict.DOES_NOT_CARRY_OVER
    low, high = statement.low, statement.high
    if isfinite(low) and isfinite(high):
        return within(statement.measure, low, high, note, expected)
    if isfinite(low):
        return Check(statement.measure, low, _ROUNDING, note, expected, "at least")
    return Check(statement.measure, high, _ROUNDING, note, expected, "at most")


def _claims(experiment: Experiment) -> Iterable[Claim]:
    for size, differs in (("full", _DIFFERS), ("quick", _QUICK_DIFFERS)):
        reasons = {s.measure: differs.get((experiment.id, s.measure)) for s in experiment.statements}
        full = size == "full"
        yield Claim(
            id=experiment.id if full else f"{experiment.id}-quick",
            title=experiment.title if full else f"{experiment.title}, on digits",
            source=experiment.source,
            what=experiment.about,
            size=experiment.differs if full else "scikit-learn's digits, a run of two minutes at most",
            compute=partial(_of_full if full else _of_quick, experiment=experiment),
            checks=tuple(_check(s, reasons[s.measure]) for s in experiment.statements),
            seconds=0.1 if full else _QUICK_SECONDS.get(experiment.id, 60.0),
            reason=" ".join(reason for reason in reasons.values() if reason),
            slow=not full,
            experiment=experiment.id if full else "",
        )


CLAIMS = tuple(claim for experiment in experiments() for claim in _claims(experiment))
"""All claims of the laboratory."""
