"""A run: an experiment's trainings in a folder, some of them perhaps still to be done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import heavytail
from heavytail.errors import RequestError, SourceError
from heavytail.lab.experiments import experiment_of
from heavytail.lab.experiments.experiment import Experiment, Finding, Size
from heavytail.lab.experiments.tables import last, of_network
from heavytail.lab.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Run"]

_SCHEMA = 1


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """An experiment of one size in a folder.

    The folder holds `run.json` (what is done, with which recipes), `results.parquet` (the one table), `quality.csv`
    (the test errors in percent), `models` (the trained weights, a safetensors file a trial) and `trials` (what was
    recorded of each; of one under way, its state).

    Attributes:
        folder: where it is.
        experiment: the experiment.
        size: "quick" or "full".
        trials: the recipe of each training.
    """

    folder: Path
    experiment: Experiment
    size: Size
    trials: Mapping[str, Recipe]

    @classmethod
    def create(cls, folder: Path, experiment: Experiment, size: Size, trials: Mapping[str, Recipe]) -> Run:
        """Make the folder of a run, or go on with one that is there.

        Raises:
            RequestError: if the folder holds something else, or other trainings under the same names.
        """
        run = cls(folder, experiment, size, trials)
        description = run._description()
        file = folder / "run.json"
        if file.exists():
            old = _read(file)
            here = {name: old["trials"].get(name) for name in description["trials"]}
            same = all(recipe in (None, description["trials"][name]) for name, recipe in here.items())
            if (old["experiment"], old["size"]) != (experiment.id, size) or not same:
                text = f"is a {old['size']} run of {old['experiment']} with other recipes"
                raise RequestError(f"{folder}: {text}; use another folder for this {size} run of {experiment.id}")
            description["trials"] = old["trials"] | description["trials"]
        elif folder.exists() and any(folder.iterdir()):
            raise RequestError(f"{folder}: is neither empty nor a run; use another folder")
        for part in ("models", "trials"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        _write(file, json.dumps(description, indent=1))
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Open the run in a folder.

        Raises:
            SourceError: if there is none, or its description is damaged.
        """
        found = _read(folder / "run.json")
        trials = {name: Recipe.from_dict(values) for name, values in found["trials"].items()}
        return cls(folder, experiment_of(found["experiment"]), found["size"], trials)

    def _description(self) -> dict[str, Any]:
        return {
            "schema_version": _SCHEMA,
            "heavytail": heavytail.__version__,
            "experiment": self.experiment.id,
            "size": self.size,
            "trials": {name: recipe.as_dict() for name, recipe in self.trials.items()},
        }

    @property
    def done(self) -> tuple[str, ...]:
        """The trials that are finished, in their order."""
        return tuple(name for name in self.trials if self.rows_of(name).exists())

    def rows_of(self, trial: str) -> Path:
        """Give the file of a finished trial's rows."""
        return self.folder / "trials" / f"{trial}.parquet"

    def state_of(self, trial: str) -> Path:
        """Give the file of the state of a trial under way."""
        return self.folder / "trials" / f"{trial}.state"

    def model_of(self, trial: str) -> Path:
        """Give the file of a finished trial's weights."""
        return self.folder / "models" / f"{trial}.safetensors"

    @property
    def table(self) -> pd.DataFrame:
        """The one table: a row for each look at a network, where `layer` is empty, and at each of its layers.

        Raises:
            SourceError: if no trial is finished.
        """
        import pandas as pd

        if not self.done:
            raise SourceError(str(self.folder), f"none of {len(self.trials)} trainings is finished; run it first")
        return pd.concat([pd.read_parquet(self.rows_of(name)) for name in self.done], ignore_index=True)

    def gather(self) -> None:
        """Write the table of what is finished to `results.parquet`, and what `heavytail trends` needs of it.

        That is `quality.csv`, the test error of each model; with it the models are a series:
        `heavytail trends RUN/models/*.safetensors --quality RUN/quality.csv`.
        """
        table = self.table
        part = self.folder / "results.part"
        table.to_parquet(part, index=False)
        part.replace(self.folder / "results.parquet")
        ends = last(of_network(table))
        errors = ends.assign(
            model=ends["trial"], test_error=100 * (1 - ends["test_accuracy"]), series=self.experiment.id
        )
        _write(self.folder / "quality.csv", errors[["model", "test_error", "series"]].to_csv(index=False))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The published statements, judged by the trials that are finished."""
        return self.experiment.findings(self.table)

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write the run as one self-contained HTML page.

        Raises:
            SourceError: if no trial is finished.
        """
        from heavytail.lab.page import render

        Path(path).write_text(render(self), encoding="utf-8")


def _read(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SourceError(str(file.parent), f"is no run of the laboratory; expected a file {file.name} in it") from None
    except (OSError, ValueError) as error:
        raise SourceError(str(file), str(error)) from None
    lacking = {"schema_version", "experiment", "size", "trials"} - set(found)
    if lacking or found["schema_version"] != _SCHEMA:
        lacks = f"; lacks {', '.join(sorted(lacking))}" if lacking else ""
        raise SourceError(str(file), f"is no description of a run of version {_SCHEMA}{lacks}")
    return found


def _write(file: Path, text: str) -> None:
    part = file.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)
