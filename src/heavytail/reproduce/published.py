"""Tables that were published with the papers, read from a folder that the user gives; none is part of this package."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from heavytail.errors import SourceError, visible

__all__ = ["COLUMNS", "Table", "read_tables"]

_METRICS = (
    "log_norm",
    "log_spectral_norm",
    "alpha",
    "alpha_weighted",
    "log_stable_rank",
    "mp_softrank",
    "log_alpha_norm",
)

COLUMNS = {
    "model_metrics.csv": (
        *("collection", "dataset", "series", "model", "top1_accuracy", "top1_error", "num_matrices"),
        *("spectral_norm", *_METRICS),
    ),
    "layer_metrics.csv": ("series", "model", "layer_type", "level", "N", *_METRICS),
    "targets_osmr_mse.csv": ("collection", "dataset", "series", "metric", "n", "mse"),
    "mm19_vgg_conv_slices.csv": ("model", "dim1", "dim0", "alpha", "lambda_max_glorot_X"),
}
"""The tables, by the names of their files, and the columns that are used of each."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a published table, all cells as text.

    Attributes:
        path: the file.
        rows: the rows, each by the names of its columns.
    """

    path: Path
    rows: tuple[dict[str, str], ...]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)

    def where(self, **cells: str) -> Table:
        """Give the rows with these cells.

        Raises:
            SourceError: if there are none.

        Example:
            >>> table = Table(Path("t.csv"), ({"model": "a", "alpha": "2"}, {"model": "b", "alpha": "3"}))
            >>> table.where(model="b").numbers("alpha")
            array([3.])
        """
        rows = tuple(row for row in self.rows if all(row[name] == cell for name, cell in cells.items()))
        if not rows:
            wanted = " and ".join(f"{name} {cell}" for name, cell in cells.items())
            raise SourceError(self.path, f"has no rows with {wanted}; expected some, as in the published table")
        return Table(self.path, rows)

    def texts(self, column: str) -> tuple[str, ...]:
        """Give a column as it is."""
        return tuple(row[column] for row in self.rows)

    def numbers(self, column: str) -> NDArray[np.float64]:
        """Give a column of numbers.

        Raises:
            SourceError: if a cell is no finite number.
        """
        values = np.array([_number(row[column]) for row in self.rows])
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            cell = visible(self.rows[bad[0]][column])
            raise SourceError(self.path, f"has {cell!r} in column {column}; expected a finite number")
        return values


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return nan


def read_tables(folder: Path, names: Iterable[str]) -> dict[str, Table]:
    """Read published tables.

    Args:
        folder: where they are.
        names: their files, of those in `COLUMNS`.

    Returns:
        The tables, by name.

    Raises:
        SourceError: if a file is not there, cannot be read, or lacks a column.
    """
    return {name: _read(folder / name, COLUMNS[name]) for name in sorted(names)}


def _read(path: Path, columns: Sequence[str]) -> Table:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            rows = tuple(reader)
            header = reader.fieldnames or ()
    except OSError as error:
        raise SourceError(path, f"{error.strerror or error}; expected the published table of this name") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise SourceError(path, f"is not a table of comma-separated values: {visible(error)}") from error
    lost = [name for name in columns if name not in header]
    if lost:
        raise SourceError(path, f"has no column {lost[0]}; expected a header line with {', '.join(columns)}")
    for line, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise SourceError(path, f"row {line} does not have as many cells as the header, {len(header)}")
    return Table(path, rows)
