"""The data of a report as the page's script reads it: plain, rounded, without NaN."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from heavytail.diagnosis.row import COLUMNS, DEFINITIONS, GROUPS, Row
from heavytail.report.attention import Finding
from heavytail.report.curves import ccdf, linear_histogram, log_histogram, significant
from heavytail.spectra.spectrum import Spectrum

if TYPE_CHECKING:
    from heavytail.report.model_report import ModelReport

__all__ = ["clean", "payload", "printable"]

_TEXTS = tuple(field.name for field in fields(Row) if field.type == "str")
_SURROGATES = re.compile("[\ud800-\udfff]")


def printable(text: object) -> str:
    """Give a text that UTF-8 can carry: halves of surrogate pairs become U+FFFD."""
    return _SURROGATES.sub("\ufffd", str(text))


def clean(row: Row) -> Row:
    """Give the row with printable texts."""
    texts: dict[str, Any] = {name: printable(getattr(row, name)) for name in _TEXTS}
    return replace(row, **texts)


def payload(report: ModelReport, rows: Sequence[Row], findings: Iterable[Finding]) -> dict[str, Any]:
    """Gather what the page's script needs.

    Args:
        report: the report.
        rows: its rows with printable texts, in the same order.
        findings: what needs attention among the rows.

    Returns:
        Columns by name (those without any value are null), curves and findings by row, groups and definitions.
    """
    return {
        "count": len(rows),
        "columns": {name: _column(name, rows) for name in COLUMNS},
        "curves": [_curves(report.spectra.get(row.name)) for row in report.rows],
        "findings": _by_row(rows, findings),
        "groups": GROUPS,
        "definitions": DEFINITIONS,
    }


def _column(name: str, rows: Sequence[Row]) -> list[Any] | None:
    values = [getattr(row, name) for row in rows]
    if name not in _TEXTS:
        values = significant(np.array(values, dtype=np.float64), 6)
        return values if any(value is not None for value in values) else None
    return values if any(values) else None


def _curves(spectrum: Spectrum | None) -> dict[str, Any] | None:
    """Give the curves of a spectrum: eigenvalues at or below the floor are counted, not drawn."""
    if spectrum is None or not spectrum.evals.size or spectrum.evals[-1] <= 0:
        return None
    evals = spectrum.evals
    floor = spectrum.floor if np.count_nonzero(evals > spectrum.floor) > 1 else 0.0
    edges, density = log_histogram(evals, floor)
    x, rank = ccdf(evals, floor)
    return {
        "count": int(evals.size),
        "below": int(np.count_nonzero(evals <= floor)),
        "floor": significant(np.array([floor]))[0],
        "range": significant(np.log10(edges[[0, -1]]), 6),
        "density": significant(density),
        "x": significant(x, 5),
        "rank": rank.tolist(),
        "eigenvalues": _linear(evals),
        "singular": _linear(np.sqrt(evals)),
    }


def _linear(values: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    histogram = linear_histogram(values)
    return {"top": significant(np.array([histogram.top]))[0], "counts": histogram.counts.tolist()}


def _by_row(rows: Sequence[Row], findings: Iterable[Finding]) -> dict[int, list[list[str]]]:
    index: dict[str, int] = {}
    for position, row in enumerate(rows):
        index.setdefault(row.name, position)
    said: dict[int, list[list[str]]] = {}
    for finding in findings:
        for single in finding.members or (finding,):
            said.setdefault(index[single.name], []).append([single.severity, single.sentence])
    return said
