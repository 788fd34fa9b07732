"""The data of a report as the page's script reads it: plain, rounded, without NaN."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from math import inf, sqrt
from typing import TYPE_CHECKING, Any

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
    from heavytail.report.model_report import ModelReport

__all__ = ["clean", "curves_payload", "noise_payload", "payload", "printable"]

Vector = NDArray[np.float64]

_TEXTS = tuple(field.name for field in fields(Row) if field.type == "str")
_SPIKES = 40  # at most so many are marked, evenly in their order: more would run together
_STEPS = 32  # of the density of noise whose rows and columns differ in scale
_REACH = 3  # linear histograms of singular values end at so many noise edges: the bulk must not be squeezed to nothing
_TRAPS = 20  # at most so many are listed
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
        Columns by name (those without any value are null); curves, tails, phases, noise, vectors and findings by row;
        groups, definitions, measures and what the phases mean, in their order.
    """
    return {
        "count": len(rows),
        "columns": {name: _column(name, rows) for name in COLUMNS},
        "curves": [curves_payload(report.spectra.get(row.name), report.noise.get(row.name)) for row in report.rows],
        "tails": [tail_payload(report.tails.get(row.name)) for row in report.rows],
        "phases": [phase_payload(report.phases.get(row.name), row, report.noise.get(row.name)) for row in report.rows],
        "noise": [noise_payload(report.noise.get(row.name), report.spectra.get(row.name)) for row in report.rows],
        "vectors": [_vectors(report.vectors.get(row.name, ())) for row in report.rows],
        "findings": _by_row(rows, findings),
        "groups": GROUPS,
        "definitions": DEFINITIONS,
        "measures": MEASURES,
        "meanings": MEANINGS,
        "level": LEVEL,
    }


def _column(name: str, rows: Sequence[Row]) -> list[Any] | None:
    values = [getattr(row, name) for row in rows]
    if name not in _TEXTS:
        values = significant(np.array(values, dtype=np.float64), 6)
        return values if any(value is not None for value in values) else None
    return values if any(values) else None


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
        "floor": significant(np.array([floor]))[0],
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
    found = {"top": significant(np.array([top]))[0], "counts": counts.tolist()}
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
        "spacing": _numbers(noise.spacing_ratio, noise.spacing_error),
        "shuffles": None if noise.shuffles is None else _shuffles(noise.shuffles, spectrum),
    }
    return found if noise.reason or not noise.bulks else found | _bulks(noise, spectrum)


def _bulks(noise: Noise, spectrum: Spectrum) -> dict[str, Any]:
    bulks = noise.bulks
    worst = max(bulks, key=lambda bulk: bulk.misfit / bulk.allowance)
    return {
        "laws": [_law(bulk) for bulk in bulks],
        "edge": _numbers(_edge(noise))[0],
        "threshold": _numbers(min(bulk.threshold for bulk in bulks), max(bulk.threshold for bulk in bulks)),
        "spikes": significant(thinned(_spikes(bulks, spectrum), _SPIKES), 3),
        "sigma": _sigma(bulks),
        "p_value": _numbers(noise.p_value)[0],
        "misfit": _numbers(worst.misfit, worst.allowance),
        "fits": bulks_fit(bulks),
        "spread": _numbers(max(bulk.row_spread for bulk in bulks), max(bulk.column_spread for bulk in bulks)),
        "kurtosis": _numbers(sum(bulk.kurtosis for bulk in bulks) / len(bulks))[0],
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
    numbers = np.diff(np.interp(steps**2, x, below))
    return [*significant(np.array([low, bulk.edge, numbers.sum()]), 6), significant(numbers, 3)]


def _spikes(bulks: Sequence[NoiseBulk], spectrum: Spectrum) -> Vector:
    largest = [evals[spectrum.M - bulk.num_spikes :] for bulk, evals in zip(bulks, spectrum.by_matrix, strict=True)]
    return np.sort(np.concatenate(largest))


def _sigma(bulks: Sequence[NoiseBulk]) -> list[Any]:
    """Give sigma and the ends of its 95 % interval; of several bulks the least, the middle and the largest sigma."""
    if len(bulks) > 1:
        return significant(np.quantile([bulk.sigma for bulk in bulks], [0.5, 0, 1]))
    (bulk,) = bulks
    half = 0.98 * bulk.error  # of sigma, whose relative error is half of that of its square
    return _numbers(bulk.sigma, bulk.sigma * max(0.0, 1 - half), bulk.sigma * (1 + half))


def _shuffles(shuffles: Shuffles, spectrum: Spectrum) -> dict[str, Any]:
    edges, counts = log_counts(shuffles.evals, spectrum.floor)
    return {
        "count": shuffles.count,
        "range": significant(np.log10(edges[[0, -1]]), 5) if counts.size else [],
        "counts": counts.tolist(),
        "distance": _numbers(shuffles.distance, shuffles.distance_lo, shuffles.distance_hi, shuffles.distance_null),
        "p_edge": _numbers(shuffles.p_edge)[0],
        "p_largest": _numbers(shuffles.p_largest)[0],
        "traps": [_trap(trap) for trap in shuffles.traps[:_TRAPS]],
    }


def _trap(trap: Trap) -> list[Any]:
    return [trap.kind, trap.matrix, trap.row, trap.column, *_numbers(trap.excess)]


def _vectors(found: Iterable[Localisation]) -> dict[str, Any] | None:
    """Give the localisation by side: the measures of random directions, and for each part those of its vectors."""
    sides: dict[str, Any] = {}
    for one in found:
        side = sides.setdefault(one.side, {"haar": {}, "parts": {}})
        side["haar"][one.measure] = _numbers(one.haar)[0]
        part = side["parts"].setdefault(one.part, {"count": one.count})
        part[one.measure] = _numbers(one.mean, one.z)
    return sides or None


def _numbers(*values: float) -> list[float | int | None]:
    return significant(np.array(values, dtype=np.float64))


def _by_row(rows: Sequence[Row], findings: Iterable[Finding]) -> dict[int, list[list[str]]]:
    index: dict[str, int] = {}
    for position, row in enumerate(rows):
        index.setdefault(row.name, position)
    said: dict[int, list[list[str]]] = {}
    for finding in findings:
        for single in finding.members or (finding,):
            said.setdefault(index[single.name], []).append([single.severity, single.sentence])
    return said
