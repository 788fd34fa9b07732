"""What an analysis found, and how it is written down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from math import isfinite, nan
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heavytail.diagnosis.noise import LEVEL, Noise
from heavytail.diagnosis.phases import Phase
from heavytail.diagnosis.row import COLUMNS, SCHEMA_VERSION, Row
from heavytail.diagnosis.tail import Tail
from heavytail.diagnosis.vectors import Localisation
from heavytail.diagnosis.weightwatcher import DETAILS, details
from heavytail.errors import RequestError
from heavytail.report.writing import json_text, plain, write_parquet
from heavytail.rmt.ensembles.phases import PHASES
from heavytail.spectra.certified import Bounds
from heavytail.spectra.spectrum import Spectrum
from heavytail.tails.alternatives import UNDECIDED
from heavytail.tails.laws import PowerLaw

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["STATUSES", "ModelReport", "summarise"]

STATUSES = ("ok", "skipped", "unsupported", "failed")

_BY_LAYER = ("layers", "tails", "phases", "noise", "vectors", "bounds")
_AVERAGED = (
    *("log_norm", "log_spectral_norm", "stable_rank", "entropy"),
    *("alpha", "alpha_hill", "alpha_weighted", "log_alpha_norm", "mp_softrank"),
)


def summarise(rows: Iterable[Row], noise: Mapping[str, Noise] | None = None) -> dict[str, Any]:
    """Count the rows of each status, and average the columns over the ok rows where they are not missing.

    Args:
        rows: the rows of a model.
        noise: their noise, by name, for the number of rows with spikes at a false discovery rate of `LEVEL`.
    """
    rows = tuple(rows)
    ok = [row for row in rows if row.status == "ok"]
    counts: dict[str, Any] = {status: sum(row.status == status for row in rows) for status in STATUSES}
    counts["parameters"] = sum(int(row.num_matrices * row.N * row.M) for row in ok)
    counts["tail_fits"] = sum(isfinite(row.alpha) for row in ok)
    for column in _AVERAGED:
        values = [value for row in ok if isfinite(value := getattr(row, column))]
        counts[column] = sum(values) / len(values) if values else float("nan")
    phases = [row.phase for row in ok if row.phase]
    counts["phases"] = {name: phases.count(name) for name in (*PHASES, UNDECIDED)} if phases else {}
    return counts | _tail_counts(ok) | _noise_counts(ok, noise or {})


def _tail_counts(rows: list[Row]) -> dict[str, float | int]:
    verdicts = [row.tail for row in rows if row.tail]
    return {
        "over_trained": sum(row.warning == "over-trained" for row in rows),
        "under_trained": sum(row.warning == "under-trained" for row in rows),
        "power_laws": verdicts.count(PowerLaw.name) if verdicts else nan,
        "undecided": verdicts.count(UNDECIDED) if verdicts else nan,
    }


def _noise_counts(rows: list[Row], noise: Mapping[str, Noise]) -> dict[str, float | int]:
    bulky = [row for row in rows if isfinite(row.num_spikes)]
    trapped = [row.num_traps for row in rows if isfinite(row.num_traps)]
    # Benjamini and Hochberg (1995); scipy.stats has it, and takes longer to import than many a model to analyse. Rows
    # without spikes have p-values above the level and cannot pass.
    p_values = sorted(noise[row.name].p_value for row in bulky if row.num_spikes > 0 and row.name in noise)
    passing = [i for i, p in enumerate(p_values, 1) if p <= LEVEL * i / len(bulky)]
    return {
        "noise_bulks": len(bulky),
        "num_spikes": int(sum(row.num_spikes for row in bulky)),
        "spiked_rows": max(passing, default=0),
        "num_traps": int(sum(trapped)) if trapped else float("nan"),
    }


@dataclass(frozen=True)
class ModelReport:
    """What `analyze` found.

    Attributes:
        source: what was read: its name, format, files and notes on what was left out.
        settings: the options that shaped the numbers.
        summary: how many rows there are of each status, how many parameters and tail fits, and averages over the ok
            rows. `parameters` counts the entries of the matrices, as an operator those of all its frequencies;
            `noise_bulks` the rows that have a bulk of noise, `num_spikes` the spikes of all of them, `spiked_rows` the
            rows with spikes at a false discovery rate of 1 % over the model, `num_traps` the traps of all rows;
            `over_trained` and `under_trained` count warnings, `power_laws` and `undecided` the verdicts on the tails,
            where replicates were asked for.
        rows: one `Row` a matrix or left-out tensor, in the order of the source.
        spectra: the `Spectrum` of every ok row, by the row's name.
        version: version of heavytail that made the report.
        tails: the `Tail` of every ok row, by the row's name: its power law, other starts, and the evidence asked for.
        phases: the `Phase` of every ok row, by the row's name: a probability for each phase, and the evidence.
        noise: the `Noise` of every ok row, by the row's name: intervals, p-values and what carries the traps.
        vectors: how localised the singular vectors of each row are, by the row's name, where asked for.
        bounds: of each row whose eigenvalues are enclosed and not computed, bounds by column.
    """

    source: Mapping[str, Any]
    settings: Mapping[str, Any]
    summary: Mapping[str, Any]
    rows: tuple[Row, ...]
    spectra: Mapping[str, Spectrum]
    version: str
    tails: Mapping[str, Tail] = field(default_factory=dict)
    phases: Mapping[str, Phase] = field(default_factory=dict)
    noise: Mapping[str, Noise] = field(default_factory=dict)
    vectors: Mapping[str, tuple[Localisation, ...]] = field(default_factory=dict)
    bounds: Mapping[str, Mapping[str, Bounds]] = field(default_factory=dict)

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
        values: dict[str, Any] = plain(
            {
                "schema_version": SCHEMA_VERSION,
                "heavytail": self.version,
                "source": self.source,
                "settings": self.settings,
                "summary": self.summary,
                "layers": [row.as_dict() for row in self.rows],
                "tails": {name: tail.as_dict() for name, tail in self.tails.items()},
                "phases": {name: phase.as_dict() for name, phase in self.phases.items()},
                "noise": {name: noise.as_dict() for name, noise in self.noise.items()},
            }
        )
        if self.vectors:
            values["vectors"] = plain({name: [asdict(one) for one in found] for name, found in self.vectors.items()})
        if self.bounds:
            values["bounds"] = plain(
                {name: {column: [b.lo, b.hi] for column, b in found.items()} for name, found in self.bounds.items()}
            )
        return values

    def to_json(self, path: str | PathLike[str] | None = None) -> str:
        """Give the report as JSON text, one layer a line, and write it to `path` if one is given."""
        return json_text(self.as_dict(), _BY_LAYER, path)

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
        """Write the report as one self-contained HTML page."""
        from heavytail.report.page import render

        Path(path).write_text(render(self), encoding="utf-8")
