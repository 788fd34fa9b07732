"""Claims in a terminal: the list of them, and each recomputed one beside what was published."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from heavytail.reproduce import Claim, Outcome

__all__ = ["print_claims", "print_outcome"]


def print_claims(claims: Iterable[Claim], console: Console) -> None:
    """Print one line a claim: what it is, where it was made, how long its recomputation takes."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("claim", "what it is about", "source"):
        table.add_column(title, overflow="fold")
    table.add_column("checks", justify="right")
    table.add_column("seconds", justify="right")
    table.add_column("data", overflow="fold")
    for claim in claims:
        seconds = f"{claim.seconds:.1f}" + (" slow" if claim.slow else "")
        table.add_row(
            *(claim.id, escape(claim.title), escape(claim.source), str(len(claim.checks)), seconds),
            " ".join(claim.data) or (f"run of {claim.experiment}" if claim.experiment else ""),
        )
    console.print(table)
    console.print("\nheavytail reproduce ID ... recomputes some, heavytail reproduce all all but the slow ones")
    console.print("claims with data are computed from published tables of that name, in a folder given by --data")
    console.print("claims with a run are computed from it (heavytail lab run), in a folder given by --runs")


def print_outcome(outcome: Outcome, console: Console) -> None:
    """Print a recomputed claim, each published number beside ours, or in one line what it is missing."""
    claim = outcome.claim
    head = f"\n[bold]{claim.id}[/]  {escape(claim.title)}: [bold]{outcome.verdict}[/]"
    if outcome.missing:
        console.print(f"{head}; {escape(outcome.missing)}", highlight=False)
        return
    console.print(head, highlight=False)
    console.print(f"[dim]{escape(claim.source)}. {escape(claim.what)} Size: {escape(claim.size)}.[/]", highlight=False)
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
