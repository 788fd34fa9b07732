"""A run in short: what its trainings came to, setting by setting, and what that says of the published statements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heavytail.diagnosis.row import COLUMNS
from heavytail.errors import SourceError
from heavytail.lab.experiments.experiment import Finding, Judgement, Measured, over_seeds
from heavytail.lab.experiments.tables import last
from heavytail.lab.recipe import Recipe
from heavytail.lab.run import Run
from heavytail.report.writing import json_text, plain

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Line", "Setting", "Summary", "counted", "settings_of"]

_FIELDS = tuple(field.name for field in fields(Recipe))
_CHANCE = {"seed", "draw"}  # what differs between repetitions of one setting
_NEEDED = {"trial", "seed", "epoch", "step", "layer"}
_PLACE = {"experiment", "trial", "epoch", "step", "layer", "checksum", "evals", *_FIELDS}


@dataclass(frozen=True, slots=True)
class Setting:
    """Trainings that differ in nothing but chance.

    Attributes:
        values: what the setting is told by: the column that is varied, and whatever else differs beside it.
        trials: names of the trainings.
    """

    values: Mapping[str, Any]
    trials: tuple[str, ...]

    @property
    def label(self) -> str:
        """The setting in words.

        Example:
            >>> Setting({"batch": 16, "rate": 0.1}, ()).label, Setting({}, ()).label
            ('16, rate 0.1', 'all')
        """
        first, *more = self.values.items() or [("", "all")]
        return ", ".join([_text(first[1]), *(f"{name.replace('_', ' ')} {_text(value)}" for name, value in more)])


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def settings_of(trials: Mapping[str, Recipe], axis: str) -> tuple[Setting, ...]:
    """Gather trainings by what they differ in, in the order of the axis.

    A field that goes with the axis, such as a number of epochs that grows with the batch, is not told beside it.

    Args:
        trials: the recipes by name.
        axis: the column that is varied.

    Example:
        >>> trials = {f"b{b}": Recipe(network="mlp3", data="digits", batch=b) for b in (8, 2)}
        >>> [(setting.label, setting.trials) for setting in settings_of(trials, "batch")]
        [('2', ('b2',)), ('8', ('b8',))]
    """
    recipes = {name: recipe.as_dict() for name, recipe in trials.items()}
    varied = [f for f in _FIELDS if f not in _CHANCE and len({recipe[f] for recipe in recipes.values()}) > 1]
    told = [f for f in varied if f == axis]
    for field in varied:
        known = {(*(recipe[f] for f in told), recipe[field]) for recipe in recipes.values()}
        if field not in told and len(known) > len({place[:-1] for place in known}):
            told.append(field)
    members: dict[tuple[Any, ...], list[str]] = {}
    for name, recipe in recipes.items():
        members.setdefault(tuple(recipe[f] for f in told), []).append(name)
    ordered = sorted(members, key=lambda values: [(isinstance(v, str), v is None, v or 0) for v in values])
    return tuple(Setting(dict(zip(told, values, strict=True)), tuple(members[values])) for values in ordered)


@dataclass(frozen=True, slots=True)
class Line:
    """What the finished trainings of a setting came to.

    Attributes:
        setting: the setting, or the epoch.
        layer: the layer; empty for the whole network.
        measured: the mean over the seeds of every number, by the name of its column.
        phases: how many seeds ended in each phase; empty for the whole network.
    """

    setting: Setting
    layer: str
    measured: Mapping[str, Measured]
    phases: Mapping[str, int]


@dataclass(frozen=True)
class Summary:
    """A run in short, whether it is finished or not.

    Attributes:
        run: the run.
    """

    run: Run

    @cached_property
    def table(self) -> pd.DataFrame:
        """The table of the run.

        Raises:
            SourceError: if no training is finished, or its file is damaged.
        """
        for trial in self.run.done:
            _check(self.run.rows_of(trial))
        return self.run.table

    @cached_property
    def settings(self) -> tuple[Setting, ...]:
        """The settings, those without a finished training too."""
        return settings_of(self.run.trials, self.run.experiment.axis)

    @property
    def differs(self) -> str:
        """What is other than it was published."""
        if self.run.size == "full":
            return self.run.experiment.differs
        data = ", ".join(dict.fromkeys(recipe.data for recipe in self.run.trials.values()))
        return f"a quick run on {data}, with fewer and smaller trainings than the full one"

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """The layers whose spectra are followed, in the order of the network."""
        return tuple(name for name in self.table["layer"].unique() if name) if self.run.done else ()

    @property
    def axis(self) -> str:
        """What the lines go along: the column that is varied, or time where all trainings have one setting."""
        return self.run.experiment.axis if len(self.settings) > 1 else "epoch"

    @cached_property
    def rows(self) -> tuple[tuple[Setting, pd.DataFrame], ...]:
        """The rows that the lines are made of: the last look of each setting, or each look of the only one."""
        if not self.run.done:
            return ()
        if self.axis == "epoch":
            every = self.table.groupby("epoch")
            return tuple((Setting({"epoch": epoch}, tuple(rows["trial"].unique())), rows) for epoch, rows in every)
        ends = last(self.table)
        return tuple((setting, ends[ends["trial"].isin(setting.trials)]) for setting in self.settings)

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """What the trainings came to, along the axis: of the whole network, then of its layers."""
        return tuple(
            _line(setting, layer, mine)
            for setting, rows in self.rows
            for layer in ("", *self.layers)
            if len(mine := rows[rows["layer"] == layer])
        )

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """The published statements, judged by what is finished."""
        experiment = self.run.experiment
        if self.run.done:
            return experiment.findings(self.table)
        return tuple(Finding(s, Measured(float("nan"), runs=0), Judgement.MISSING) for s in experiment.statements)

    @property
    def frame(self) -> pd.DataFrame:
        """The lines as a table, every number with the ends of its interval."""
        import pandas as pd

        return pd.DataFrame([_record(line) for line in self.lines])

    def as_dict(self) -> dict[str, Any]:
        """Give the summary as plain data; a number that is missing is None."""
        run, experiment = self.run, self.run.experiment
        return {
            "schema_version": 1,
            "experiment": experiment.id,
            "title": experiment.title,
            "source": experiment.source,
            "differs": self.differs,
            "size": run.size,
            "trainings": len(run.trials),
            "finished": len(run.done),
            "axis": self.axis,
            "findings": [plain(_finding(finding)) for finding in self.findings],
            "lines": [plain(_nested(line)) for line in self.lines],
        }

    def to_json(self, path: str | PathLike[str] | None = None) -> str:
        """Give the summary as JSON text, and write it to `path` if one is given."""
        return json_text(self.as_dict(), ("findings", "lines"), path)

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write the lines as CSV; a missing value is empty."""
        self.frame.to_csv(path, index=False, errors="backslashreplace")

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write the page of the run."""
        self.run.to_html(path)


def _check(file: Path) -> None:
    """See that a file holds a table of a training."""
    from pyarrow import parquet

    try:
        names = parquet.read_schema(file).names
    except (ValueError, OSError) as error:  # pyarrow's are one or the other
        raise SourceError(file, f"cannot be read as Parquet: {error}") from None
    if lacking := _NEEDED - set(names):
        raise SourceError(file, f"has no column {', '.join(sorted(lacking))}; it is no table of a training")


def _line(setting: Setting, layer: str, rows: pd.DataFrame) -> Line:
    """Measure a line; a layer has the columns of heavytail's row, the whole network all others."""
    own = set(COLUMNS)
    names = [
        name
        for name in rows.select_dtypes("number").columns
        if name not in _PLACE and (name in own) == bool(layer) and rows[name].notna().any()
    ]
    measured = {name: over_seeds(rows[name].tolist()) for name in ("epoch", *names)}
    phases = Counter(rows["phase"]) if layer and "phase" in rows else Counter[str]()
    return Line(setting, layer, measured, dict(phases.most_common()))


def _record(line: Line) -> dict[str, Any]:
    record: dict[str, Any] = {**line.setting.values, "layer": line.layer}
    for name, number in line.measured.items():
        record |= {name: number.value, f"{name}_lo": number.low, f"{name}_hi": number.high}
    seeds = max(number.runs for number in line.measured.values())
    return record | {"seeds": seeds, "phases": counted(line.phases)}


def _nested(line: Line) -> dict[str, Any]:
    measured = {name: asdict(number) for name, number in line.measured.items()}
    return {"setting": dict(line.setting.values), "layer": line.layer, "measured": measured, "phases": line.phases}


def _finding(finding: Finding) -> dict[str, Any]:
    statement = asdict(finding.statement)
    return {**statement, "judgement": finding.judgement.value, "measured": asdict(finding.measured)}


def counted(phases: Mapping[str, int]) -> str:
    """Write how many seeds ended in each phase.

    Example:
        >>> counted({"bulk+spikes": 2, "bleeding-out": 1})
        'bulk+spikes 2, bleeding-out 1'
    """
    return ", ".join(f"{phase} {count}" for phase, count in phases.items())
