"""The report in a terminal: a table of the matrices, the summary, and what a run would take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from heavytail.analysis import Estimate
from heavytail.diagnosis.row import Row
from heavytail.errors import visible
from heavytail.report.model_report import STATUSES, ModelReport

if TYPE_CHECKING:
    from heavytail.reproduce import Claim, Outcome

__all__ = ["human_bytes", "print_claims", "print_estimate", "print_outcome", "print_report"]

_COLUMNS = (
    ("alpha", "α ± σ"),
    ("D", "D"),
    ("alpha_weighted", "α̂"),
    ("log_norm", "log‖W‖²"),
    ("log_spectral_norm", "log λmax"),
    ("stable_rank", "stable rank"),
    ("matrix_rank", "rank"),
    ("mp_softrank", "soft rank"),
    ("num_spikes", "spikes"),
)
_COUNTS = ("num_spikes", "num_traps")
_TRAPS = ("num_traps", "traps"), ("rand_distance", "shuffled")
_WIDE, _NARROW = 130, 3  # width from which all columns are shown, and how many below it


def print_report(report: ModelReport, console: Console) -> None:
    """Print one line a matrix, then the averages and what was left out."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    columns = _COLUMNS if console.width >= _WIDE else _COLUMNS[:_NARROW]
    if report.settings.get("nulls"):
        columns += _TRAPS
    table.add_column("layer", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("N × M", justify="right", no_wrap=True)
    for _, title in columns:
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("remark", overflow="fold")
    for row in report.rows:
        if row.status != "skipped":
            cells = [_cell(row, column) for column, _ in columns]
            table.add_row(_text(row.name), _text(row.kind), _shape(row), *cells, _remark(row))
    console.print(table)
    summary = report.summary
    console.print()
    console.print(
        f"{summary['parameters']:,} parameters in {summary['ok']} rows; {summary['tail_fits']} tail fits"
        + "".join(
            f", mean {title} {summary[column]:.3f}"
            for column, title in _COLUMNS
            if column not in _COUNTS and column in summary and isfinite(summary[column])
        ).replace(" ± σ", ""),
        highlight=False,
    )
    if report.noise:
        console.print(_noise(summary), highlight=False)
    _print_left_out(report.rows, report.source["notes"], console)


def _noise(summary: Mapping[str, Any]) -> str:
    """Say in one line what noise explains of a model."""
    bulks, others = summary["noise_bulks"], summary["ok"] - summary["noise_bulks"]
    text = f"bulk of noise: {bulks} rows, {summary['spiked_rows']} of them with spikes beyond it; none: {others}"
    return text + (f"; {summary['num_traps']} correlation traps" if isfinite(summary["num_traps"]) else "")


def print_estimate(estimate: Estimate, rate: float, console: Console) -> None:
    """Print what an analysis would take; `rate` is the machine's speed in floating-point operations a second."""
    parts = [part for plan in estimate.plans for part in plan.parts]
    operations = sum(cost.operations for cost in estimate.costs)
    largest = max(estimate.costs, key=lambda cost: cost.memory, default=None)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("source", f"{_text(estimate.source.name)} ({estimate.source.format})")
    table.add_row("rows", f"{len(parts)} from {sum(bool(plan.parts) for plan in estimate.plans)} tensors")
    table.add_row("matrices", f"{sum(part.count for part in parts):,}")
    table.add_row("to read", human_bytes(sum(cost.bytes for cost in estimate.costs)))
    table.add_row("operations", f"{operations:.3g} floating-point operations")
    table.add_row(
        "memory", f"{human_bytes(largest.memory if largest else 0)} for the largest tensor, plus Python's own"
    )
    table.add_row("time", f"about {operations / rate:.1f} s on one thread")
    console.print(table)
    rows = [
        Row(name=plan.name, kind=plan.kind, dtype=plan.tensor.dtype, status=plan.status, reason=plan.reason)
        for plan in estimate.plans
        if not plan.parts
    ]
    _print_left_out(rows, estimate.source.notes, console)


def print_claims(claims: Iterable[Claim], console: Console) -> None:
    """Print one line a claim: what it is, where it was made, how long its recomputation takes."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("claim", "what it is about", "source"):
        table.add_column(title, overflow="fold")
    table.add_column("checks", justify="right")
    table.add_column("seconds", justify="right")
    for claim in claims:
        seconds = f"{claim.seconds:.1f}" + (" slow" if claim.slow else "")
        table.add_row(claim.id, escape(claim.title), escape(claim.source), str(len(claim.checks)), seconds)
    console.print(table)
    console.print("\nheavytail reproduce ID ... recomputes some, heavytail reproduce all all but the slow ones")


def print_outcome(outcome: Outcome, console: Console) -> None:
    """Print a recomputed claim: each published number beside ours."""
    claim = outcome.claim
    console.print(f"\n[bold]{claim.id}[/]  {escape(claim.title)}: [bold]{outcome.verdict}[/]", highlight=False)
    console.print(f"[dim]{escape(claim.source)}. {escape(claim.what)} {escape(claim.size)}.[/]", highlight=False)
    if claim.reason:
        console.print(f"[dim]{escape(claim.reason)}[/]", highlight=False)
    from heavytail.reproduce import HEADER
    from heavytail.reproduce import table as rows_of

    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in HEADER[1:]:
        table.add_column(title, justify="left" if title in ("what", "verdict") else "right")
    for row in rows_of([outcome]):
        table.add_row(*(escape(cell) for cell in row[1:]))
    console.print(table, highlight=False)


def human_bytes(count: float) -> str:
    """Write a number of bytes for people.

    Example:
        >>> human_bytes(134_217_728)
        '134 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _text(text: str) -> str:
    """Give a text from a file as it can be printed: neither the terminal nor the markup obeys it."""
    return escape(visible(text))


def _cell(row: Row, column: str) -> str:
    value = getattr(row, column)
    if not isfinite(value):
        return "–"
    if column == "alpha":
        return f"{value:.2f} ± {row.sigma:.2f}"
    if column == "matrix_rank":
        return f"{value:.0f}" if row.rank_loss == 0 else f"{value:.0f}/{row.num_evals:.0f}"
    if column in _COUNTS:
        return f"{value:.0f}"
    return f"{value:.1f}" if column == "stable_rank" else f"{value:.3f}"


def _shape(row: Row) -> str:
    if not isfinite(row.N):
        return "–"
    pooled = f"{row.num_matrices:.0f} × " if row.num_matrices > 1 else ""
    return f"{pooled}{row.N:.0f} × {row.M:.0f}"


def _remark(row: Row) -> str:
    if row.status == "ok":
        return f"[yellow]{row.warning}[/]" if row.warning else f"[dim]{_text(row.reason)}[/]"
    return f"[red]{row.status}[/]: {_text(row.reason)}"


def _print_left_out(rows: Iterable[Row], notes: Iterable[str], console: Console) -> None:
    rows = tuple(rows)
    for status in STATUSES[1:]:
        kinds = Counter(row.kind or "tensor" for row in rows if row.status == status)
        if kinds:
            listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
            console.print(f"{status}: {listed}", highlight=False)
    for note in notes:
        console.print(f"note: {_text(note)}", highlight=False)
