"""A comparison in a terminal: a line a matrix, and what the change is as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import isfinite
from textwrap import wrap
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from heavytail.comparison.row import ChangeRow, MetricChange
from heavytail.errors import visible
from heavytail.terminal.texts import escaped, shortened, width_of

if TYPE_CHECKING:
    from heavytail.comparison import Comparison

__all__ = ["print_comparison"]

_TITLES = {  # of the columns, in the order in which they are shown
    "shape": "N × M",
    "change": "change",
    "relative_change": "‖Δ‖/‖W‖",
    "rank": "rank of Δ",
    "suggested": "LoRA rank",
    "overlap": "overlap",
    "intruders": "intruders",
    "alpha": "α",
    "alpha_change": "change of α (95 %)",
    "phase": "phase",
}
_ALWAYS = ("change", "relative_change", "suggested")
_BY_ROOM = ("alpha_change", "intruders", "alpha", "overlap", "shape", "rank", "phase")
_WORDS = ("change", "phase")
_NAME = 26  # characters that a name has before another column is given room
_GAP = 2
_LISTED = 8  # names of unmatched matrices that are listed
_METRICS = {"alpha": "α", "alpha_weighted": "α̂", "log_norm": "log‖W‖²", "log_spectral_norm": "log λmax"}


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print one line a matrix, with as many columns as there is room for, then the whole, and what has no partner."""
    rows = [row for row in comparison.rows if row.status not in ("skipped", "unmatched")]
    if comparison.summary["adapter"]:  # what it leaves as it is, it says nothing of
        rows = [row for row in rows if row.change != "none"]
    shown = _columns(rows, console.width)
    console.print(_table(rows, shown, console.width))
    for row in rows:
        if row.status != "ok":
            console.print(f"{escaped(row.name)}: {row.status}: {escaped(row.reason)}", highlight=False, style="red")
    if any(row.status == "ok" and row.change != "none" for row in rows):
        legend = "; ".join(text for column, text in _LEGENDS.items() if column in shown)
        console.print("", *wrap(legend, console.width), sep="\n", style="dim", highlight=False)
    console.print()
    for line in _whole(comparison):
        console.print(line, highlight=False)
    for line in _alone(comparison):
        console.print(line, highlight=False)
    notes = (*comparison.notes, *comparison.base["notes"], *comparison.tuned["notes"])
    for note in dict.fromkeys(notes):
        console.print(f"note: {escaped(note)}", highlight=False)


def _columns(rows: Sequence[ChangeRow], width: int) -> list[str]:
    """Choose the columns that there is room for."""
    need = {c: _GAP + width_of([title, *(_cell(row, c) for row in rows)]) for c, title in _TITLES.items()}
    room = width - sum(need[column] for column in _ALWAYS)
    name = min(width_of(["layer", *(visible(row.name) for row in rows)]), _NAME)
    columns = set(_ALWAYS)
    for column in _BY_ROOM:
        if room - need[column] < name:
            break
        columns.add(column)
        room -= need[column]
    return [column for column in _TITLES if column in columns]


def _table(rows: Sequence[ChangeRow], shown: Sequence[str], width: int) -> Table:
    cells = {column: [_TITLES[column], *(_cell(row, column) for row in rows)] for column in shown}
    names = [visible(row.name) for row in rows]
    room = width - sum(_GAP + width_of(texts) for texts in cells.values())
    name = max(1, min(width_of(["layer", *names]), room))
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("layer", no_wrap=True)
    for column in shown:
        table.add_column(_TITLES[column], justify="left" if column in _WORDS else "right", no_wrap=True)
    for i, row in enumerate(rows):
        style = "red" if row.status != "ok" else "yellow" if row.intruders > 0 else None
        texts = (escape(column[i + 1]) for column in cells.values())
        table.add_row(escape(shortened(names[i], name)), *texts, style=style)
    return table


def _cell(row: ChangeRow, column: str) -> str:
    alpha = row.metrics.get("alpha")
    texts = {
        "shape": _shape,
        "change": lambda row: row.change or "–",
        "relative_change": lambda row: _significant(row.relative_change),
        "rank": lambda row: _count(row.delta_rank),
        "suggested": _suggested,
        "overlap": lambda row: f"{row.overlap:.3f}" if isfinite(row.overlap) else "–",
        "intruders": lambda row: _intruders(row),
        "alpha": lambda _: f"{alpha.base:.2f} → {alpha.tuned:.2f}" if alpha and isfinite(alpha.change) else "–",
        "alpha_change": lambda row: "–" if row.change == "none" else _interval(alpha),
        "phase": _phase,
    }
    return texts[column](row)


def _shape(row: ChangeRow) -> str:
    if not isfinite(row.N):
        return "–"
    return (f"{row.num_matrices:.0f} × " if row.num_matrices > 1 else "") + f"{row.N:.0f} × {row.M:.0f}"


def _intruders(row: ChangeRow) -> str:
    if not isfinite(row.intruders):
        return "–"
    most = f"–{row.intruders + row.undecided:.0f}" if row.undecided > 0 else ""
    return f"{row.intruders:.0f}{most}/{row.directions:.0f}"


def _suggested(row: ChangeRow) -> str:
    if not isfinite(row.suggested_rank):
        return "–"
    share = f" ({row.suggested_share:.0%})" if row.suggested_rank and isfinite(row.suggested_share) else ""
    about = "~" if row.suggested_rank and row.delta_fits == 0 else ""
    return f"{about}{row.suggested_rank:.0f}{share}"


def _phase(row: ChangeRow) -> str:
    if row.base_phase == row.tuned_phase:
        return row.base_phase or "–"
    return f"{row.base_phase or '–'} → {row.tuned_phase or '–'}"


def _count(value: float) -> str:
    return f"{value:.0f}" if isfinite(value) else "–"


def _significant(value: float) -> str:
    """Write a ratio with three digits."""
    if value == 0 or not isfinite(value):
        return "0" if value == 0 else "–"
    return f"{value:.3f}" if value >= 0.01 else f"{value:.1e}"


def _interval(found: MetricChange | None) -> str:
    if found is None or not isfinite(found.change):
        return "–"
    return f"{_signed(found.change)} ({_signed(found.lo)} to {_signed(found.hi)})"


def _signed(value: float) -> str:
    """Write a change with two decimals; what rounds to nothing has no sign."""
    text = f"{value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text


def _whole(comparison: Comparison) -> list[str]:
    """Say in a few lines what the change is as a whole."""
    summary = comparison.summary
    ok = [row for row in comparison.rows if row.status == "ok"]
    kinds = [f"{count} {_KINDS.get(kind, kind)}" for kind, count in summary["changes"].items() if count]
    if small := sum(not row.change for row in ok):
        kinds.append(f"{small} too small to tell")
    adapted = "the adapted ones" if summary["adapter"] else "all"
    lines = [
        f"{summary['ok']} matrices compared, {summary['parameters']:,} parameters: {', '.join(kinds)}",
        f"‖Δ‖/‖W‖ over {adapted} {_significant(summary['relative_change'])}",
    ]
    if summary["vectors"]:
        lines[1] += f"; {summary['vectors_changed']} of {summary['vectors']} vectors changed"
    means = []
    for name, title in _METRICS.items():
        found = summary["metrics"][name]
        if found["layers"] and summary["changes"]["none"] < summary["ok"]:
            error = f" ± {found['error']:.2g}" if isfinite(found["error"]) else ""
            means.append(f"{title} {found['base']:.3f} {found['change']:+.2g}{error}")
    if means:
        lines.append("means and their change (standard error over layers): " + ", ".join(means))
    if isfinite(summary["intruders"]):
        open_ = f", {summary['undecided']} undecided" if summary["undecided"] > 0 else ""
        found, of = summary["intruders"], summary["directions"]
        lines.append(f"intruder dimensions: {found} of {of} leading directions{open_}")
    return lines


_KINDS = {"none": "unchanged"}

_LEGENDS = {
    "change": "Δ: the change; spiked: noise and directions beyond it",
    "suggested": "LoRA rank: directions beyond noise, and their share of Δ; ~ beside a bulk not quite that of noise",
    "overlap": "overlap: of the leading directions of both, 1 for equal ones",
    "intruders": "intruders: leading directions far from all of the base's",
}


def _alone(comparison: Comparison) -> list[str]:
    """Say what has no partner, and count what is no matrix."""
    unmatched = [row for row in comparison.rows if row.status == "unmatched"]
    matrices = [row for row in unmatched if isfinite(row.N)]
    lines = [f"unmatched: {escaped(row.name)} {escaped(row.reason)}" for row in matrices[:_LISTED]]
    if len(matrices) > _LISTED:
        lines.append(f"unmatched: {len(matrices) - _LISTED} more matrices")
    if others := len(unmatched) - len(matrices):
        reasons = Counter(row.reason for row in unmatched if not isfinite(row.N)).most_common(2)
        lines.append(
            f"unmatched: {others} tensors that are no matrices: "
            + "; ".join(
                f"{count} {'are' if count > 1 else 'is'} {reason.removeprefix('is ')}" for reason, count in reasons
            )
        )
    return lines
