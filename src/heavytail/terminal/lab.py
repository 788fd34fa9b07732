"""The laboratory in a terminal: the list of experiments, and a run in short."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite, isnan
from textwrap import wrap
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from heavytail.terminal.learning import Column, Table, print_tables
from heavytail.terminal.texts import escaped

if TYPE_CHECKING:
    from heavytail.lab.experiments import Experiment, Finding, Measured
    from heavytail.lab.summary import Line, Summary

__all__ = ["print_experiments", "print_summary"]

_STYLES = {"holds": "green", "does not hold": "red", "undecided": "yellow", "not measured": "dim"}
_NETWORK: Mapping[str, tuple[str, float, int]] = {
    "train_accuracy": ("train accuracy, %", 100, 1),
    "test_accuracy": ("test accuracy, %", 100, 1),
    "steps_to_target": ("steps to target", 1, 0),
    "sharpness": ("sharpness", 1, 3),
}
_LAYER: Mapping[str, tuple[str, float, int]] = {
    "mp_softrank": ("MP soft rank", 1, 3),
    "stable_rank": ("stable rank", 1, 1),
    "alpha": ("α", 1, 2),
    "num_spikes": ("spikes", 1, 1),
}


def print_experiments(experiments: Iterable[Experiment], console: Console) -> None:
    """Print one line an experiment: what it is, where it was published, how long it takes."""
    table = Grid(box=None, header_style="bold", pad_edge=False)
    for title in ("id", "what it is about", "source"):
        table.add_column(title, overflow="fold")
    for title in ("quick", "full", "minutes"):
        table.add_column(title, justify="right")
    for one in experiments:
        counts = [str(len(one.trials(size))) for size in ("quick", "full")]
        table.add_row(
            one.id, escape(one.title), escape(one.source), *counts, f"{one.minutes:g}" if one.minutes else "-"
        )
    console.print(table, highlight=False)
    text = "quick, full: trainings of the size; minutes: of the full run, on two processors, - if not measured yet"
    console.print("", *wrap(text, console.width), sep="\n", highlight=False, style="dim")
    console.print("heavytail lab run ID --out DIR runs one, --quick in two minutes at most", highlight=False)


def print_summary(summary: Summary, console: Console) -> None:
    """Print what a run came to: its settings in a table, then the published statements with their judgement."""
    run, experiment = summary.run, summary.run.experiment
    lines, findings = summary.lines, summary.findings  # if they cannot be read, nothing is printed
    console.print(f"[bold]{experiment.id}[/]  {escape(experiment.title)}", highlight=False)
    about = [experiment.source, experiment.about, f"Differs: {summary.differs}" if summary.differs else ""]
    _print_wrapped(" ".join(f"{text.rstrip('.')}." for text in about if text), console, style="dim")
    done, count = len(run.done), len(run.trials)
    shown = f"all {count}" if done == count else f"{done} of {count}"
    rest = "; what follows is of these" if 0 < done < count else ""
    console.print(f"{shown} trainings of the {run.size} run are finished{rest}", highlight=False)
    if lines:
        console.print()
        when = "" if summary.axis == "epoch" else ", at the end of the training"
        note = f"mean ± 95 % interval over the seeds{when}"
        print_tables([_axis_table(summary)], [note], console)
    console.print()
    for finding in findings:
        _print_finding(finding, console)


def _axis_table(summary: Summary) -> Table:
    """Give the table along the axis: the whole network, and the first layer that is followed."""
    layer = summary.layers[0] if summary.layers else ""
    networks = [line for line in summary.lines if not line.layer]
    of_layer = {line.setting.label: line for line in summary.lines if line.layer == layer}
    axis = summary.axis.replace("_", " ")
    columns = [
        Column(axis, _right([line.setting.label for line in networks])),
        Column("seeds", _right([str(line.measured["epoch"].runs) for line in networks])),
    ]
    if axis != "epoch":
        columns.append(Column("epochs", _right([f"{line.measured['epoch'].value:g}" for line in networks])))
    columns += _numbers(networks, _NETWORK)
    if layer:
        layers = [of_layer.get(line.setting.label) for line in networks]
        columns += [*_numbers(layers, _LAYER), Column("phase, seeds", [_phases(line) for line in layers])]
    return Table(f"By {axis}" + (f"; spectra of {layer}" if layer else ""), columns)


def _numbers(lines: Sequence[Line | None], columns: Mapping[str, tuple[str, float, int]]) -> list[Column]:
    """Give the columns of which any line has a number."""
    found = []
    for name, (header, factor, decimals) in columns.items():
        cells = [_plus_minus(line.measured.get(name) if line else None, factor, decimals) for line in lines]
        if any(cell != "–" for cell in cells):
            found.append(Column(header, _right(cells)))
    return found


def _right(cells: Sequence[str]) -> list[str]:
    width = max(map(len, cells), default=0)
    return [cell.rjust(width) for cell in cells]


def _phases(line: Line | None) -> str:
    from heavytail.lab.summary import counted

    return counted(line.phases) if line else "–"


def _plus_minus(measured: Measured | None, factor: float, decimals: int) -> str:
    if measured is None or isnan(measured.value):
        return "–"
    value, high = factor * measured.value, factor * measured.high
    return f"{value:.{decimals}f}" + (f" ± {high - value:.{decimals}f}" if isfinite(high) else "")


def _print_finding(finding: Finding, console: Console) -> None:
    """Print a statement: the judgement, what it says, and under it the numbers."""
    from heavytail.lab.wording import measured_text, range_text

    statement, judgement = finding.statement, finding.judgement
    console.print(f"[{_STYLES[judgement]}]{judgement:<13}[/] {escaped(statement.says)}", highlight=False)
    numbers = f"{statement.measure}: {measured_text(finding.measured)}; it would hold {range_text(statement)}"
    published = f"; published: {statement.figures}" if statement.figures else ""
    _print_wrapped(numbers + published, console, indent=" " * 14, style="dim")


def _print_wrapped(text: str, console: Console, indent: str = "", style: str = "") -> None:
    lines = wrap(text, console.width, initial_indent=indent, subsequent_indent=indent)
    console.print(*lines, sep="\n", highlight=False, markup=False, style=style)
