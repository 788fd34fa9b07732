"""The report in a terminal: a table of the matrices, the summary, and what a run would take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite, nan
from textwrap import wrap
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from heavytail.analysis import Estimate
from heavytail.diagnosis.noise import Noise
from heavytail.diagnosis.row import Row
from heavytail.errors import visible
from heavytail.report.model_report import STATUSES, ModelReport
from heavytail.tails.alternatives import UNDECIDED
from heavytail.tails.laws import LAWS
from heavytail.terminal.texts import escaped, human_bytes, human_time, shortened, width_of

__all__ = ["print_estimate", "print_report"]

_TITLES = {  # of the columns, in the order in which they are shown
    "kind": "kind",
    "shape": "N × M",
    "phase": "phase",
    "phase_probability": "prob.",
    "alpha": "α (95 %)",
    "p_value": "p",
    "tail": "tail",
    "tail_excess": "excess",
    "D": "D",
    "alpha_weighted": "α̂",
    "log_norm": "log‖W‖²",
    "log_spectral_norm": "log λmax",
    "stable_rank": "stable rank",
    "matrix_rank": "rank",
    "mp_softrank": "soft rank",
    "num_spikes": "spikes",
    "num_traps": "traps",
    "rand_distance": "distance",
}
_ALWAYS = ("alpha", "num_spikes", "num_traps")
_BY_ROOM = (  # the others, in the order in which they are given room
    *("p_value", "tail", "rand_distance", "phase"),
    *("mp_softrank", "shape", "tail_excess", "alpha_weighted", "matrix_rank", "kind"),
    *("stable_rank", "log_norm", "log_spectral_norm", "D", "phase_probability"),
)
_ASKED = {"num_traps": "nulls", "rand_distance": "nulls", "p_value": "bootstrap", "tail": "bootstrap"}
_WORDS = ("kind", "tail", "phase")
_COUNTS = ("num_spikes", "num_traps")
_PHASE = ("phase", "phase_probability")
_DECIMALS = {"stable_rank": 1, "phase_probability": 2}  # of the others 3
_LAWS = {law.name: law.name.removesuffix(" power law").removesuffix(" exponential") for law in LAWS}
_LAWS |= {UNDECIDED: UNDECIDED}  # as the column has them
_SHORT = {  # how phases begin, where room is little
    **{"random-like": "random", "bleeding-out": "bleeding", "bulk+spikes": "bulk+spike"},
    **{"heavy-tailed": "heavy", "rank-collapse": "rank-coll"},
}
_NAME, _LONG_NAME, _REMARK = 28, 36, 24  # characters that names and remark have before another column is given room
_WIDE = 120  # width from which a remark gives the reason; below it is a word
_GAP = 2


def print_report(report: ModelReport, console: Console) -> None:
    """Print one line a matrix, with as many columns as there is room for, then the averages and what was left out."""
    rows = [row for row in report.rows if row.status != "skipped"]
    brief = console.width < _WIDE
    columns = _table(rows, report, console, brief=brief)
    below = [f"{escaped(row.name)}: {escaped(row.reason)}" for row in rows if brief and row.status != "ok"]
    if "rand_distance" in columns:
        below.append("distance: from the spectra of shuffled copies, 0 to 1 (of one copy from another)")
    if below:
        console.print("", *below, sep="\n", highlight=False)
    summary = report.summary
    console.print()
    console.print(
        f"{summary['parameters']:,} parameters in {summary['ok']} rows; {summary['tail_fits']} tail fits"
        + "".join(
            f", mean {_mean(column, summary)}"
            for column in _TITLES
            if column not in _COUNTS and column in summary and isfinite(summary[column])
        ),
        highlight=False,
    )
    if summary.get("phases"):
        console.print(_phases(summary), highlight=False)
    if any(row.tail for row in rows):
        console.print(_tails(report), highlight=False)
    if report.noise:
        console.print(_noise(summary), highlight=False)
    _print_left_out(report.rows, report.source["notes"], console)


def _table(rows: Sequence[Row], report: ModelReport, console: Console, *, brief: bool) -> tuple[str, ...]:
    """Print the table of the rows and give its columns."""
    names, remarks = [visible(row.name) for row in rows], [_remark(row, brief=brief) for row in rows]
    phased = any(row.phase for row in rows)
    cells = {
        column: [title, *(_cell(row, column, report.noise.get(row.name), brief=brief) for row in rows)]
        for column, title in _TITLES.items()
        if (column not in _ASKED or report.settings.get(_ASKED[column])) and (column not in _PHASE or phased)
    }
    need = {column: _GAP + width_of(texts) for column, texts in cells.items()}
    name, remark = width_of(["layer", *names]), width_of(["remark", *remarks])
    remark = remark if brief else min(remark, _REMARK)
    room = console.width - _GAP - remark - sum(need.get(column, 0) for column in _ALWAYS)
    columns = set(_ALWAYS)
    for column in _BY_ROOM:
        if column in cells:
            if room - need[column] < min(name, _NAME if brief else _LONG_NAME):
                break
            columns.add(column)
            room -= need[column]
    name = max(1, min(name, room))
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("layer", no_wrap=True)
    shown = tuple(column for column in cells if column in columns)
    for column in shown:
        table.add_column(_TITLES[column], justify="left" if column in _WORDS else "right", no_wrap=True)
    table.add_column("remark")
    for i, row in enumerate(rows):
        lines = wrap(remarks[i], max(1, remark + room - name), max_lines=2, placeholder=" …")
        texts = [escape(cells[column][i + 1]) for column in shown]
        table.add_row(escape(shortened(names[i], name)), *texts, f"[{_style(row)}]" + escape("\n".join(lines)))
    console.print(table)
    return shown


def _mean(column: str, summary: Mapping[str, Any]) -> str:
    """Write a mean with its title."""
    return f"α {summary['alpha']:.2f}" if column == "alpha" else f"{_TITLES[column]} {summary[column]:.3f}"


def _alpha(value: float, low: float, high: float) -> str:
    return f"{value:.2f}" + (f" ({low:.2f}–{high:.2f})" if isfinite(low) else "")


def _tails(report: ModelReport) -> str:
    """Say in one line which laws the tails follow."""
    counts = Counter(row.tail for row in report.rows)
    listed = ", ".join(f"{counts[law]} {law}" for law in _LAWS if counts[law])
    rejected = sum(tail.evidence.verdict.rejected for tail in report.tails.values() if tail.evidence is not None)
    return f"tails: {listed}; power law rejected in {rejected}"


def _phases(summary: Mapping[str, Any]) -> str:
    """Say in one line how many layers are in each phase, the most frequent first."""
    counts = sorted(summary["phases"].items(), key=lambda item: -item[1])
    none = summary["ok"] - sum(summary["phases"].values())
    text = ", ".join(f"{count} {name}" for name, count in counts if count)
    return f"phases: {text}" + (f"; none: {none}" if none else "")


def _noise(summary: Mapping[str, Any]) -> str:
    """Say in one line what noise explains of a model."""
    bulks, others = summary["noise_bulks"], summary["ok"] - summary["noise_bulks"]
    text = f"bulk of noise: {bulks} rows, {summary['spiked_rows']} of them with spikes beyond it; none: {others}"
    return text + (f"; {summary['num_traps']} correlation traps" if isfinite(summary["num_traps"]) else "")


def print_estimate(estimate: Estimate, rate: float, threads: int, console: Console) -> None:
    """Print what an analysis would take; `rate` is the work that a thread does in a second."""
    parts = [part for plan in estimate.plans for part in plan.parts]
    operations = sum(cost.operations for cost in estimate.costs)
    largest = max(estimate.costs, key=lambda cost: cost.memory, default=None)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("source", f"{escaped(estimate.source.name)} ({estimate.source.format})")
    table.add_row("rows", f"{len(parts)} from {sum(bool(plan.parts) for plan in estimate.plans)} tensors")
    table.add_row("matrices", f"{sum(part.count for part in parts):,}")
    table.add_row("to read", human_bytes(sum(cost.bytes for cost in estimate.costs)))
    table.add_row("operations", f"{operations:.3g} floating-point operations")
    memory = f"{human_bytes(largest.memory if largest else 0)} for the largest tensor, plus Python's own"
    beyond = sum(len(p.parts) for p, c in zip(estimate.plans, estimate.costs, strict=True) if c.memory > estimate.room)
    if beyond:
        memory += f"; {beyond} rows need more than the limit leaves, {human_bytes(estimate.room)}"
    table.add_row("memory", memory)
    work = sum(cost.work for cost in estimate.costs)
    table.add_row(
        "time", f"about {human_time(work / rate)} of one thread, {human_time(work / rate / threads)} of {threads}"
    )
    console.print(table)
    rows = [
        Row(name=plan.name, kind=plan.kind, dtype=plan.tensor.dtype, status=plan.status, reason=plan.reason)
        for plan in estimate.plans
        if not plan.parts
    ]
    _print_left_out(rows, estimate.source.notes, console)


def _cell(row: Row, column: str, noise: Noise | None, *, brief: bool) -> str:
    if column == "shape":
        return _shape(row)
    if column in _WORDS:
        text = getattr(row, column)
        return visible(_LAWS.get(text, _SHORT.get(text, text) if brief else text)) or "–"
    value = getattr(row, column)
    if not isfinite(value):
        return "–"
    if column == "alpha":
        return _alpha(value, row.alpha_lo, row.alpha_hi)
    if column == "matrix_rank":
        return f"{value:.0f}" if row.rank_loss == 0 else f"{value:.0f}/{row.num_evals:.0f}"
    if column == "rand_distance":
        null = noise.shuffles.distance_null if noise is not None and noise.shuffles is not None else nan
        return f"{value:.2f} ({null:.2f})" if isfinite(null) else f"{value:.2f}"
    if column in _COUNTS:
        return f"{value:.0f}"
    return f"{value:.{_DECIMALS.get(column, 3)}f}"


def _shape(row: Row) -> str:
    if not isfinite(row.N):
        return "–"
    pooled = f"{row.num_matrices:.0f} × " if row.num_matrices > 1 else ""
    return f"{pooled}{row.N:.0f} × {row.M:.0f}"


def _remark(row: Row, *, brief: bool) -> str:
    if row.status != "ok":
        return row.status if brief else f"{row.status}: {visible(row.reason)}"
    return row.warning if row.warning or brief else visible(row.reason)


def _style(row: Row) -> str:
    return "red" if row.status != "ok" else "yellow" if row.warning else "dim"


def _print_left_out(rows: Iterable[Row], notes: Iterable[str], console: Console) -> None:
    rows = tuple(rows)
    for status in STATUSES[1:]:
        kinds = Counter(row.kind or "tensor" for row in rows if row.status == status)
        if kinds:
            listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
            console.print(f"{status}: {listed}", highlight=False)
    for note in notes:
        console.print(f"note: {escaped(note)}", highlight=False)
