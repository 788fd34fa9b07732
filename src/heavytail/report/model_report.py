"""What an analysis found, and how it is written down."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heavytail.diagnosis.row import COLUMNS, SCHEMA_VERSION, Row
from heavytail.diagnosis.weightwatcher import DETAILS, details
from heavytail.errors import RequestError
from heavytail.spectra.spectrum import Spectrum

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["STATUSES", "ModelReport", "summarise"]

STATUSES = ("ok", "skipped", "unsupported", "failed")

_AVERAGED = (
    *("log_norm", "log_spectral_norm", "stable_rank", "entropy"),
    *("alpha", "alpha_hill", "alpha_weighted", "log_alpha_norm"),
)


def summarise(rows: Iterable[Row]) -> dict[str, float | int]:
    """Count the rows of each status, and average the columns over the ok rows where they are not missing."""
    rows = tuple(rows)
    ok = [row for row in rows if row.status == "ok"]
    counts: dict[str, float | int] = {status: sum(row.status == status for row in rows) for status in STATUSES}
    counts["parameters"] = sum(int(row.num_matrices * row.N * row.M) for row in ok)
    counts["tail_fits"] = sum(isfinite(row.alpha) for row in ok)
    for column in _AVERAGED:
        values = [value for row in ok if isfinite(value := getattr(row, column))]
        counts[column] = sum(values) / len(values) if values else float("nan")
    return counts


@dataclass(frozen=True)
class ModelReport:
    """What `analyze` found.

    Attributes:
        source: what was read: its name, format, files and notes on what was left out.
        settings: the options that shaped the numbers.
        summary: how many rows there are of each status, how many parameters and tail fits, and averages over the ok
            rows. `parameters` counts the entries of the matrices, as an operator those of all its frequencies.
        rows: one `Row` a matrix or left-out tensor, in the order of the source.
        spectra: the `Spectrum` of every ok row, by the row's name.
        version: version of heavytail that made the report.
    """

    source: Mapping[str, Any]
    settings: Mapping[str, Any]
    summary: Mapping[str, Any]
    rows: tuple[Row, ...]
    spectra: Mapping[str, Spectrum]
    version: str

    @cached_property
    def table(self) -> pd.DataFrame:
        """The rows as a pandas.DataFrame, one column a field of `Row`."""
        import pandas as pd

        return pd.DataFrame([row.as_dict() for row in self.rows], columns=list(COLUMNS))

    def __repr__(self) -> str:
        """Name the source and count the rows."""
        counts = ", ".join(f"{self.summary[status]} {status}" for status in STATUSES)
        return f"<ModelReport of {self.source['name']!r}: {counts}>"

    @property
    def complete(self) -> bool:
        """Whether no row failed, and at least one is ok."""
        statuses = {row.status for row in self.rows}
        return "failed" not in statuses and "ok" in statuses

    def weightwatcher_table(self) -> pd.DataFrame:
        """Give the table in WeightWatcher's own columns.

        Raises:
            RequestError: if the analysis was not made with convention="weightwatcher", or not of all layers, which
                its layer ids count.
        """
        import pandas as pd

        if self.settings["layers"] is not None:
            raise RequestError("weightwatcher_table needs an analysis of all layers, for its layer ids count them")
        if self.settings["convention"] != "weightwatcher":
            raise RequestError("weightwatcher_table needs an analysis with convention='weightwatcher'")
        return pd.DataFrame(details(self.rows, self.spectra), columns=list(DETAILS))

    def as_dict(self) -> dict[str, Any]:
        """Give the report as plain values, a missing number as None."""
        return {
            "schema_version": SCHEMA_VERSION,
            "heavytail": self.version,
            "source": dict(self.source),
            "settings": dict(self.settings),
            "summary": _plain(self.summary),
            "layers": [_plain(row.as_dict()) for row in self.rows],
        }

    def to_json(self, path: str | PathLike[str] | None = None) -> str:
        """Give the report as JSON text, one layer a line, and write it to `path` if one is given."""
        head = self.as_dict()
        layers = ",\n".join("    " + json.dumps(layer, allow_nan=False) for layer in head.pop("layers"))
        text = (
            json.dumps(head, indent=2, allow_nan=False).removesuffix("\n}") + f',\n  "layers": [\n{layers}\n  ]\n}}\n'
        )
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write the table as CSV; a missing value is empty."""
        self.table.to_csv(path, index=False, errors="backslashreplace")

    def to_parquet(self, path: str | PathLike[str]) -> None:
        """Write the table as Parquet.

        Raises:
            RequestError: if pyarrow is not installed.
        """
        try:
            self.table.to_parquet(path, engine="pyarrow", index=False)
        except ImportError as error:
            raise RequestError("Parquet needs pyarrow: pip install 'heavytail[parquet]'") from error

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write the report as one self-contained HTML page."""
        from heavytail.report.page import render

        Path(path).write_text(render(self), encoding="utf-8")


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and not isfinite(value) else value for key, value in values.items()}
