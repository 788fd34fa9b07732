"""A run in one HTML file that needs nothing else: the verdict, the curves, the spectra and the phases of training."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import heavytail
from heavytail.lab.experiments.experiment import Finding, Judgement
from heavytail.lab.payload import payload
from heavytail.lab.summary import Summary
from heavytail.lab.wording import measured_text, range_text
from heavytail.report.html import page, plain_items, plural
from heavytail.report.payload import printable

if TYPE_CHECKING:
    from heavytail.lab.run import Run

__all__ = ["render"]

_COUNTED = {
    Judgement.HOLDS: ("holds", "hold"),
    Judgement.FAILS: ("does not hold", "do not hold"),
    Judgement.UNDECIDED: ("is undecided", "are undecided"),
    Judgement.MISSING: ("is not measured", "are not measured"),
}


@dataclass(frozen=True, slots=True)
class _Statement:
    """A finding in words."""

    says: str
    judgement: str
    measure: str
    measured: str
    agrees: str
    published: str


def render(run: Run) -> str:
    """Write a run as one self-contained HTML page (see `heavytail.report.html.page`).

    Args:
        run: a run of which a training is finished at least.

    Returns:
        The page, to be encoded as UTF-8.

    Raises:
        SourceError: if no training is finished, or its file is damaged.
    """
    summary = Summary(run)
    experiment = run.experiment
    return page(
        "lab.html.j2",
        payload(summary),
        styles=("lab.css",),
        scripts=("noise.js", "phase.js", "scatter.js", "lab_curves.js", "lab_spectra.js", "lab.js"),
        title=experiment.title,
        facts=_facts(summary),
        about=experiment.about,
        differs=summary.differs,
        unfinished=len(run.trials) - len(run.done),
        verdict=_verdict(summary.findings),
        statements=[_statement(finding) for finding in summary.findings],
        recipe=_recipe(summary),
        provenance=_provenance(summary),
        axis=experiment.axis.replace("_", " "),
        several=len(summary.settings) > 1,
        version=heavytail.__version__,
    )


def _facts(summary: Summary) -> list[str]:
    run = summary.run
    seeds = len({recipe.seed for recipe in run.trials.values()})
    finished = plural(len(run.done), "training")
    if len(run.done) < len(run.trials):
        finished = f"{len(run.done)} of {plural(len(run.trials), 'training')} finished"
    data = ", ".join(dict.fromkeys(recipe.data for recipe in run.trials.values()))
    networks = ", ".join(dict.fromkeys(recipe.network for recipe in run.trials.values()))
    return [run.experiment.id, f"{run.size} run", f"{networks} on {data}", finished, plural(seeds, "seed")]


def _verdict(findings: Sequence[Finding]) -> str:
    """Say in a sentence how many of the statements hold."""
    counts = Counter(finding.judgement for finding in findings)
    found = [(counts[judgement], words) for judgement, words in _COUNTED.items() if counts[judgement]]
    parts = [f"{count} {words[count > 1]}" for count, words in found]
    return f"Of {plural(len(findings), 'published statement')} " + ", ".join(parts) + "."


def _statement(finding: Finding) -> _Statement:
    statement = finding.statement
    return _Statement(
        printable(statement.says),
        finding.judgement.value,
        printable(statement.measure),
        measured_text(finding.measured),
        range_text(statement),
        printable(statement.figures),
    )


def _recipe(summary: Summary) -> list[tuple[str, str]]:
    """Give the recipe: the values of what differs between trainings, then what all have in common."""
    recipes = [recipe.as_dict() for recipe in summary.run.trials.values()]
    values = {name.replace("_", " "): list(dict.fromkeys(recipe[name] for recipe in recipes)) for name in recipes[0]}
    varied = {name: found for name, found in values.items() if len(found) > 1}
    return plain_items(varied | {name: found[0] for name, found in values.items() if name not in varied})


def _provenance(summary: Summary) -> list[tuple[str, str]]:
    """Give where the numbers come from: the source, the versions, the data."""
    run, table = summary.run, summary.table
    begun = json.loads((run.folder / "run.json").read_text(encoding="utf-8")).get("heavytail", "")
    found = {"published": run.experiment.source, "begun with": f"heavytail {begun}"}
    if "checksum" in table:
        checksums = table.groupby("data")["checksum"].first()
        found |= {f"sha256 of {data}": checksum for data, checksum in checksums.items()}
    if "seconds" in table and table["seconds"].notna().any():
        seconds = float(table.groupby("trial")["seconds"].max().sum())
        found["time of training"] = (
            f"{seconds / 60:.0f} minutes of one processor" if seconds >= 120 else f"{seconds:.0f} s"
        )
    return plain_items(found)
