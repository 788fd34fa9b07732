"""Models of learning in a terminal: columns of numbers along the load, the temperature or the margin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite, isnan
from textwrap import wrap

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from heavytail.errors import visible
from heavytail.terminal.texts import width_of

__all__ = ["MOST_ROWS", "Column", "Table", "print_tables"]

MOST_ROWS = 25
_GAP = 2  # cells between columns


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        header: its words may go on lines of their own.
        values: numbers, of which those that are missing are NaN, or texts.
        form: of the numbers, as `format` has it; one of fixed decimals leaves zero without them, and small numbers have
            four digits of their own.
    """

    header: str
    values: Sequence[float] | Sequence[str] | np.ndarray
    form: str = ".4f"

    def cells(self, rows: Sequence[int]) -> list[str]:
        """Give some of its values as texts."""
        return [self._cell(self.values[row]) for row in rows]

    def _cell(self, value: float | str) -> str:
        if isinstance(value, str):
            return visible(value)
        if not isfinite(value):
            return "–" if isnan(value) else "∞"
        if self.form[-1] == "%":
            return "0%" if value == 0 else f"{value:{self.form}}" if abs(value) > 1e-5 else f"{100 * value:.4g}%"
        if self.form[-1] == "f":
            return "0" if value == 0 else f"{value:{self.form}}" if abs(value) > 1e-3 else f"{value:.4g}"
        return f"{value:{self.form}}"


@dataclass(frozen=True, slots=True)
class Table:
    """A table: what it is of, and its columns, the first of which says where each row is."""

    title: str
    columns: Sequence[Column]


def print_tables(tables: Sequence[Table], notes: Sequence[str], console: Console) -> None:
    """Print tables, each of at most 25 rows, evenly spaced, and the notes below them."""
    for number, table in enumerate(tables):
        if number:
            console.print()
        console.print(f"[bold]{escape(visible(table.title))}[/]", highlight=False)
        count = len(table.columns[0].values)
        rows = (
            [round(k * (count - 1) / (MOST_ROWS - 1)) for k in range(MOST_ROWS)] if count > MOST_ROWS else range(count)
        )
        for block in _blocks(table.columns, rows, console.width):
            console.print(block)
        if count > MOST_ROWS:
            console.print(f"{MOST_ROWS} of {count} rows; --json has all", style="dim", highlight=False)
    for note in notes:
        console.print(*wrap(visible(note), console.width), sep="\n", highlight=False, markup=False)


def _blocks(columns: Sequence[Column], rows: Sequence[int], width: int) -> Iterator[Grid]:
    """Give the columns in as many grids as the width asks for, each with the first column."""
    texts = [column.cells(rows) for column in columns]
    widths = [width_of([*column.header.split(), *cells]) for column, cells in zip(columns, texts, strict=True)]
    block, used = [0], widths[0]
    for k in range(1, len(columns)):
        if len(block) > 1 and used + _GAP + widths[k] > width:
            yield _grid(columns, texts, widths, block)
            block, used = [0], widths[0]
        block.append(k)
        used += _GAP + widths[k]
    yield _grid(columns, texts, widths, block)


def _grid(
    columns: Sequence[Column], texts: Sequence[Sequence[str]], widths: Sequence[int], block: Sequence[int]
) -> Grid:
    grid = Grid(box=None, padding=(0, _GAP, 0, 0), header_style="dim", pad_edge=False)
    for k in block:
        left = len(columns[k].values) > 0 and isinstance(columns[k].values[0], str)
        grid.add_column(
            escape(columns[k].header), justify="left" if left else "right", width=widths[k], vertical="bottom"
        )
    for cells in zip(*(texts[k] for k in block), strict=True):
        grid.add_row(*map(escape, cells))
    return grid
