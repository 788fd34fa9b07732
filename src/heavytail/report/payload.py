"""The data of a report as the page's script reads it: plain, rounded, without NaN."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from math import inf, sqrt
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from heavytail.diagnosis.noise import LEVEL, Noise
from heavytail.diagnosis.row import COLUMNS, DEFINITIONS, GROUPS, Row
from heavytail.diagnosis.shuffles import Shuffles, Trap
from heavytail.diagnosis.vectors import MEASURES, Localisation
from heavytail.report.attention import Finding
from heavytail.report.curves import ccdf, linear_histogram, log_counts, log_histogram, significant, thinned
from heavytail.report.noise_verdict import bulks_fit
from heavytail.report.phase_payload import MEANINGS, phase_payload
from heavytail.report.tail_payload import tail_payload
from heavytail.rmt.noise_bulk import NoiseBulk
from heavytail.spectra.spectrum import Spectrum

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from heavytail.report.model_report import ModelReport

__all__ = ["by_row", "clean", "column", "curves_payload", "noise_payload", "number", "numbers", "payload", "printable"]

Vector = NDArray[np.float64]

_AnyRow = TypeVar("_AnyRow", bound="DataclassInstance")

_SPIKES = 40  # at most so many are marked, evenly in their order: more would run together
_STEPS = 32  # of the density of noise whose rows and columns differ in scale
_REACH = 3  # linear histograms of singular values end at so many noise edges: the bulk must not be squeezed to nothing
_TRAPS = 20  # at most so many are listed
_SURROGATES = re.compile("[\ud800-\udfff]")


def printable(text: object) -> str:
    """Give a text that UTF-8 can carry: halves of surrogate pairs become U+FFFD."""
    return _SURROGATES.sub("\ufffd", str(text))


def clean(row: _AnyRow) -> _AnyRow:
    """Give a row of any table with printable texts."""
    texts = {field.name: printable(getattr(row, field.name)) for field in fields(row) if field.type == "str"}
    return replace(row, **texts)


def payload(report: ModelReport, rows: Sequence[Row], findings: Iterable[Finding]) -> dict[str, Any]:
    """Gather what the page's script needs.

    Args:
        report: the report.
        rows: its rows with printable texts, in the same order.
        findings: what needs attention among the rows.

    Returns:
        Columns by name (those without any value are null); curves, tails, phases, noise, vectors and findings by row;
        groups, definitions, measures and what the phases mean, in their order.
    """
    return {
        "count": len(rows),
        "columns": {name: column([getattr(row, name) for row in rows]) for name in COLUMNS},
        "curves": [curves_payload(report.spectra.get(row.name), report.noise.get(row.name)) for row in report.rows],
        "tails": [tail_payload(report.tails.get(row.name)) for row in report.rows],
        "phases": [phase_payload(report.phases.get(row.name), row, report.noise.get(row.name)) for row in report.rows],
        "noise": [noise_payload(report.noise.get(row.name), report.spectra.get(row.name)) for row in report.rows],
        "vectors": [_vectors(report.vectors.get(row.name, ())) for row in report.rows],
        "findings": by_row([row.name for row in rows], findings),
        "groups": GROUPS,
        "definitions": DEFINITIONS,
        "measures": MEASURES,
        "meanings": MEANINGS,
        "level": LEVEL,
    }


def column(values: list[Any]) -> list[Any] | None:
    """Give a column of texts, or of numbers to six digits; None where no row has a value."""
    if not any(isinstance(value, str) for value in values):
        values = significant(np.array(values, dtype=np.float64), 6)
    return values if any(value not in (None, "") for value in values) else None


def curves_payload(spectrum: Spectrum | None, noise: Noise | None) -> dict[str, Any] | None:
    """Give the curves of a spectrum as the page's script draws them; None where nothing of it is positive.

    Eigenvalues at or below the floor are counted, not drawn.

    Args:
        spectrum: the spectrum of a row.
        noise: its noise, whose edge limits the linear histograms and whose shuffled copies stand beside them.
    """
    if spectrum is None or not spectrum.evals.size or spectrum.evals[-1] <= 0:
        return None
    evals = spectrum.evals
    floor = spectrum.floor if np.count_nonzero(evals > spectrum.floor) > 1 else 0.0
    edges, density = log_histogram(evals, floor)
    x, rank = ccdf(evals, floor)
    copies = noise.shuffles.evals if noise is not None and noise.shuffles is not None else None
    edge = _edge(noise)
    roots = None if copies is None else np.sqrt(copies)
    return {
        "count": int(evals.size),
        "below": int(np.count_nonzero(evals <= floor)),
        "floor": number(floor),
        "range": significant(np.log10(edges[[0, -1]]), 6),
        "density": significant(density, 3),
        "x": significant(x, 5),
        "rank": rank.tolist(),
        "eigenvalues": _linear(evals, copies, 2 * _REACH * edge),
        "singular": _linear(np.sqrt(evals), roots, _REACH * sqrt(edge)),
    }


def _linear(values: Vector, copies: Vector | None, limit: float) -> dict[str, Any]:
    """Give a linear histogram of values up to a limit, and one of the shuffled copies' in bins as wide."""
    top, counts = linear_histogram(values, limit=limit)
    found = {"top": number(top), "counts": counts.tolist()}
    if beyond := int(np.count_nonzero(values > top)):
        found["beyond"] = beyond
    if copies is not None:
        bins = np.bincount((copies[copies <= limit] * (counts.size / top)).astype(np.intp))
        found["shuffled"] = bins.tolist()
    return found


def _edge(noise: Noise | None) -> float:
    """Give the noise edge of a row; infinity where it has none."""
    return inf if noise is None or noise.reason or not noise.bulks else max(bulk.edge for bulk in noise.bulks)


def noise_payload(noise: Noise | None, spectrum: Spectrum | None) -> dict[str, Any] | None:
    """Give the noise of a row: its law and its evidence, or the reason why it has none; and its shuffled copies.

    Args:
        noise: the noise of a row; None where none was looked for.
        spectrum: its spectrum.
    """
    if noise is None or spectrum is None:
        return None
    found: dict[str, Any] = {
        "reason": printable(noise.reason),
        "spacing": numbers(noise.spacing_ratio, noise.spacing_error),
        "shuffles": None if noise.shuffles is None else _shuffles(noise.shuffles, spectrum),
    }
    return found if noise.reason or not noise.bulks else found | _bulks(noise, spectrum)


def _bulks(noise: Noise, spectrum: Spectrum) -> dict[str, Any]:
    bulks = noise.bulks
    worst = max(bulks, key=lambda bulk: bulk.misfit / bulk.allowance)
    return {
        "laws": [_law(bulk) for bulk in bulks],
        "edge": number(_edge(noise)),
        "threshold": numbers(min(bulk.threshold for bulk in bulks), max(bulk.threshold for bulk in bulks)),
        "spikes": significant(thinned(_spikes(bulks, spectrum), _SPIKES), 3),
        "sigma": _sigma(bulks),
        "p_value": number(noise.p_value),
        "misfit": numbers(worst.misfit, worst.allowance),
        "fits": bulks_fit(bulks),
        "spread": numbers(max(bulk.row_spread for bulk in bulks), max(bulk.column_spread for bulk in bulks)),
        "kurtosis": number(sum(bulk.kurtosis for bulk in bulks) / len(bulks)),
    }


def _law(bulk: NoiseBulk) -> list[Any]:
    """Give lower edge, upper edge and number of eigenvalues of a bulk; they determine its Marchenko-Pastur density.

    With a and b the edges, it is 2 / (pi (sqrt(b) - sqrt(a))^2) sqrt((b - x) (x - a)) / x. Where rows or columns
    differ in scale a fourth item follows: the number of eigenvalues in equal steps of the singular value.
    """
    if bulk.law is not None:
        low, high = (edge * bulk.scale for edge in bulk.law.edges)
        return significant(np.array([low, high, bulk.M - bulk.num_spikes]), 6)
    if bulk.counts is None:
        raise ValueError("a bulk has a law or counts")
    x, below = bulk.counts
    low = float(x[np.searchsorted(below, below[0] + 0.02 * (below[-1] - below[0])) - 1])
    steps = np.linspace(sqrt(low), sqrt(bulk.edge), _STEPS + 1)
    counts = np.diff(np.interp(steps**2, x, below))
    return [*significant(np.array([low, bulk.edge, counts.sum()]), 6), significant(counts, 3)]


def _spikes(bulks: Sequence[NoiseBulk], spectrum: Spectrum) -> Vector:
    largest = [evals[spectrum.M - bulk.num_spikes :] for bulk, evals in zip(bulks, spectrum.by_matrix, strict=True)]
    return np.sort(np.concatenate(largest))


def _sigma(bulks: Sequence[NoiseBulk]) -> list[Any]:
    """Give sigma and the ends of its 95 % interval; of several bulks the least, the middle and the largest sigma."""
    if len(bulks) > 1:
        return significant(np.quantile([bulk.sigma for bulk in bulks], [0.5, 0, 1]))
    (bulk,) = bulks
    half = 0.98 * bulk.error  # of sigma, whose relative error is half of that of its square
    return numbers(bulk.sigma, bulk.sigma * max(0.0, 1 - half), bulk.sigma * (1 + half))


def _shuffles(shuffles: Shuffles, spectrum: Spectrum) -> dict[str, Any]:
    edges, counts = log_counts(shuffles.evals, spectrum.floor)
    return {
        "count": shuffles.count,
        "range": significant(np.log10(edges[[0, -1]]), 5) if counts.size else [],
        "counts": counts.tolist(),
        "distance": numbers(shuffles.distance, shuffles.distance_lo, shuffles.distance_hi, shuffles.distance_null),
        "p_edge": number(shuffles.p_edge),
        "p_largest": number(shuffles.p_largest),
        "traps": [_trap(trap) for trap in shuffles.traps[:_TRAPS]],
    }


def _trap(trap: Trap) -> list[Any]:
    return [trap.kind, trap.matrix, trap.row, trap.column, *numbers(trap.excess)]


def _vectors(found: Iterable[Localisation]) -> dict[str, Any] | None:
    """Give the localisation by side: the measures of random directions, and for each part those of its vectors."""
    sides: dict[str, Any] = {}
    for one in found:
        side = sides.setdefault(one.side, {"haar": {}, "parts": {}})
        side["haar"][one.measure] = number(one.haar)
        part = side["parts"].setdefault(one.part, {"count": one.count})
        part[one.measure] = numbers(one.mean, one.z)
    return sides or None


def number(value: float) -> float | int | None:
    """Give a number to four digits; None where it is missing."""
    return numbers(value)[0]


def numbers(*values: float) -> list[float | int | None]:
    """Give numbers to four digits, each None where it is missing."""
    return significant(np.array(values, dtype=np.float64))


def by_row(names: Sequence[str], findings: Iterable[Finding]) -> dict[int, list[list[str]]]:
    """Give findings by the first row of their name, each with its severity and its sentence."""
    index: dict[str, int] = {}
    for position, name in enumerate(names):
        index.setdefault(name, position)
    said: dict[int, list[list[str]]] = {}
    for finding in findings:
        for single in finding.members or (finding,):
            said.setdefault(index[single.name], []).append([single.severity, single.sentence])
    return said
