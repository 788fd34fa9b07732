"""What a comparison found, and how it is written down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from math import inf, isfinite, isnan, nan, sqrt
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heavytail.comparison.pair import LayerChange
from heavytail.comparison.row import COLUMNS, KINDS_OF_CHANGE, METRICS, SCHEMA_VERSION, ChangeRow
from heavytail.report.writing import json_text, plain, write_parquet
from heavytail.spectra.subspaces import Subspaces

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["STATUSES", "Comparison", "summarise"]

STATUSES = ("ok", "unmatched", "skipped", "unsupported", "failed")


def summarise(rows: Iterable[ChangeRow], *, adapter: bool = False) -> dict[str, Any]:
    """Count the rows of each status and the kinds of change, and average the metrics over the rows that are ok.

    Args:
        rows: the rows of a comparison.
        adapter: whether the second model is an adapter of the first.

    Returns:
        Counts of rows; whether the second is an `adapter`; `parameters`, the entries of the matrices that were
        compared; `relative_change`, the Frobenius norm of all changes over that of all of the base's matrices;
        `misshapen`, the changes whose bulk is not quite shaped like noise; of the tensors that are no matrices
        `vectors` and `vectors_changed`; `directions`, and how many of them are `intruders` or `undecided`; and for
        each metric its mean in both models, the mean change and its standard error over the layers.
    """
    rows = tuple(rows)
    ok = [row for row in rows if row.status == "ok"]
    found: dict[str, Any] = {status: sum(row.status == status for row in rows) for status in STATUSES}
    found["adapter"] = adapter
    found["parameters"] = sum(int(row.num_matrices * row.N * row.M) for row in ok)
    found["changes"] = {kind: sum(row.change == kind for row in ok) for kind in KINDS_OF_CHANGE}
    found["misshapen"] = sum(row.delta_fits == 0 for row in ok)
    vectors = [row for row in rows if row.status == "skipped" and isfinite(row.relative_change)]
    found["vectors"], found["vectors_changed"] = len(vectors), sum(row.change != "none" for row in vectors)
    found["relative_change"] = _overall(ok)
    for name in ("directions", "intruders", "undecided"):
        numbers = [value for row in ok if isfinite(value := getattr(row, name))]
        found[name] = int(sum(numbers)) if numbers else nan
    found["metrics"] = {name: _mean_change(name, ok) for name in METRICS}
    return found


def _overall(rows: Iterable[ChangeRow]) -> float:
    norms, changes = [], []
    for row in rows:
        if "log_norm" in row.metrics and not isnan(row.relative_change):
            log = row.metrics["log_norm"].base
            norms.append(10.0**log if isfinite(log) else 0.0)  # zeros have no logarithm
            changes.append(norms[-1] * row.relative_change**2 if norms[-1] else row.delta_norm)
    if not sum(norms):
        return inf if sum(changes) > 0 else nan
    return sqrt(sum(changes) / sum(norms))


def _mean_change(name: str, rows: Iterable[ChangeRow]) -> dict[str, float]:
    """Average a metric over the layers that have it in both models."""
    both = [found for row in rows if (found := row.metrics.get(name)) is not None and isfinite(found.change)]
    n = len(both)
    if not n:
        return {"base": nan, "tuned": nan, "change": nan, "error": nan, "layers": 0}
    mean = sum(one.change for one in both) / n
    error = sqrt(sum((one.change - mean) ** 2 for one in both) / (n - 1) / n) if n > 1 else nan
    base, tuned = sum(one.base for one in both) / n, sum(one.tuned for one in both) / n
    return {"base": base, "tuned": tuned, "change": mean, "error": error, "layers": n}


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes:
        base: the first model: its name, format, files and notes on what was left out.
        tuned: the second.
        settings: the options that shaped the numbers.
        notes: how tensors were matched.
        summary: counts and means (see `summarise`).
        layers: the rows, each with the analyses of base, other model and difference, in the order of the base; then
            what only the second model has.
        version: version of heavytail that made it.
    """

    base: Mapping[str, Any]
    tuned: Mapping[str, Any]
    settings: Mapping[str, Any]
    notes: tuple[str, ...]
    summary: Mapping[str, Any]
    layers: tuple[LayerChange, ...]
    version: str

    @property
    def rows(self) -> tuple[ChangeRow, ...]:
        """The rows of the table."""
        return tuple(layer.row for layer in self.layers)

    @cached_property
    def table(self) -> pd.DataFrame:
        """The rows as a pandas.DataFrame, in the columns of `comparison.row.COLUMNS`."""
        import pandas as pd

        return pd.DataFrame([row.as_dict() for row in self.rows], columns=list(COLUMNS))

    def __repr__(self) -> str:
        """Name both models and count the rows."""
        counts = ", ".join(f"{self.summary[status]} {status}" for status in STATUSES)
        return f"<Comparison of {self.base['name']!r} with {self.tuned['name']!r}: {counts}>"

    @property
    def complete(self) -> bool:
        """Whether no row failed, and at least one is ok."""
        statuses = {row.status for row in self.rows}
        return "failed" not in statuses and "ok" in statuses

    def as_dict(self) -> dict[str, Any]:
        """Give the comparison as plain values, a missing number as None."""
        found: dict[str, Any] = plain(
            {
                "schema_version": SCHEMA_VERSION,
                "heavytail": self.version,
                "base": self.base,
                "tuned": self.tuned,
                "settings": self.settings,
                "notes": self.notes,
                "summary": self.summary,
                "layers": [row.as_dict() for row in self.rows],
                "directions": {
                    layer.row.name: [_listed(one) for one in layer.subspaces]
                    for layer in self.layers
                    if layer.subspaces
                },
            }
        )
        return found

    def to_json(self, path: str | PathLike[str] | None = None) -> str:
        """Give the comparison as JSON text, one layer a line, and write it to `path` if one is given."""
        return json_text(self.as_dict(), ("layers", "directions"), path)

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write the table as CSV; a missing value is empty."""
        self.table.to_csv(path, index=False, errors="backslashreplace")

    def to_parquet(self, path: str | PathLike[str]) -> None:
        """Write the table as Parquet.

        Raises:
            RequestError: if pyarrow is not installed.
        """
        write_parquet(self.table, path)

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write the comparison as one self-contained HTML page."""
        from heavytail.comparison.page import render

        Path(path).write_text(render(self), encoding="utf-8")


def _listed(subspaces: Subspaces) -> dict[str, Any]:
    return {name: getattr(value, "tolist", lambda v=value: v)() for name, value in asdict(subspaces).items()}
