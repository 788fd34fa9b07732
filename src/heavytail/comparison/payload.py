"""The data of a comparison as the page's script reads it: plain, rounded, without NaN."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from heavytail.comparison.row import COLUMNS, DEFINITIONS, KINDS_OF_CHANGE, METRICS, ChangeRow
from heavytail.diagnosis.row import DEFINITIONS as OF_A_LAYER
from heavytail.report.attention import Finding
from heavytail.report.curves import ccdf, log_histogram, significant
from heavytail.report.payload import by_row, column, curves_payload, noise_payload, number

if TYPE_CHECKING:
    from heavytail.comparison.pair import LayerChange
    from heavytail.comparison.report import Comparison
    from heavytail.diagnosis.layer import Layer
    from heavytail.spectra.spectrum import Spectrum
    from heavytail.spectra.subspaces import Subspaces

__all__ = ["payload"]

_FIT = ("alpha", "alpha_lo", "alpha_hi", "xmin", "xmax", "num_pl_spikes", "num_evals")
_EXACT, _POINTS = 30, 90  # of the CCDFs of both models, which lie over each other
_OWN = COLUMNS[: -5 * len(METRICS)]

COMPUTED = ("log_norm", "log_spectral_norm", "stable_rank", "matrix_rank", "entropy", "num_spikes")
"""Metrics that are computed from the numbers and not estimated: their changes have no intervals."""

GROUPS: dict[str, tuple[str, ...]] = {
    "identity": _OWN[: _OWN.index("change")],
    "change": ("change", "relative_change", "relative_spectral_change"),
    "spectrum of the change": tuple(name for name in _OWN if name.startswith(("delta_", "suggested_"))),
    "directions": _OWN[_OWN.index("directions") :],
    **{metric: COLUMNS[len(_OWN) + 5 * i :][:5] for i, metric in enumerate(METRICS)},
}
"""Columns that are shown together."""


def payload(comparison: Comparison, rows: Sequence[ChangeRow], findings: Iterable[Finding]) -> dict[str, Any]:
    """Gather what the page's script needs.

    Args:
        comparison: the comparison.
        rows: its rows with printable texts, in the same order.
        findings: what needs attention among the rows.

    Returns:
        Columns by name (those without any value are null); by row the curves, the noise and the power law of the
        change, the spectra of both models, how their leading directions lie, and findings; groups, definitions, kinds
        of change and metrics, in their order, with what these mean and which of
        them are computed; the median relative change of what changed.
    """
    layers = comparison.layers
    deltas = [(layer.delta.spectrum, layer.delta.noise) if layer.delta else (None, None) for layer in layers]
    return {
        "count": len(rows),
        "columns": _columns(rows),
        "curves": [curves_payload(spectrum, noise) for spectrum, noise in deltas],
        "noise": [noise_payload(noise, spectrum) for spectrum, noise in deltas],
        "fits": [_fit(layer.delta) for layer in layers],
        "spectra": [_spectra(layer) for layer in layers],
        "directions": [_directions(layer.subspaces) for layer in layers],
        "findings": by_row([row.name for row in rows], findings),
        "groups": GROUPS,
        "definitions": DEFINITIONS,
        "kinds": KINDS_OF_CHANGE,
        "metrics": METRICS,
        "computed": COMPUTED,
        "meanings": {metric: OF_A_LAYER[metric] for metric in METRICS},
        "median": _median([row.relative_change for row in rows if row.status == "ok"]),
    }


def _median(changes: Sequence[float]) -> float | int | None:
    """Give the median of the relative changes of the layers that changed."""
    moved = [change for change in changes if 0 < change < np.inf]
    return number(median(moved)) if moved else None


def _columns(rows: Sequence[ChangeRow]) -> dict[str, list[Any] | None]:
    flat = [row.as_dict() for row in rows]
    return {name: column([row[name] for row in flat]) for name in COLUMNS}


def _fit(delta: Layer | None) -> dict[str, Any] | None:
    """Give the power law of the change, as the columns of a layer; None where there is none."""
    if delta is None or not np.isfinite(delta.row.alpha):
        return None
    numbers = [getattr(delta.row, name) for name in _FIT]
    return dict(zip(_FIT, significant(np.array(numbers, dtype=np.float64), 6), strict=True))


def _spectra(layer: LayerChange) -> list[dict[str, Any] | None] | None:
    """Give the spectra of both models; of a layer that did not change that of the base alone."""
    if layer.base is None or layer.tuned is None:
        return None
    same = layer.base is layer.tuned
    found = [_outline(one.spectrum) for one in ((layer.base,) if same else (layer.base, layer.tuned))]
    return found if any(found) else None


def _outline(spectrum: Spectrum | None) -> dict[str, Any] | None:
    """Give density and CCDF of the eigenvalues above the floor; None where there is none."""
    if spectrum is None or not np.any(spectrum.evals > spectrum.floor):
        return None
    edges, density = log_histogram(spectrum.evals, spectrum.floor)
    x, rank = ccdf(spectrum.evals, spectrum.floor, _EXACT, _POINTS)
    return {
        "count": int(spectrum.evals.size),
        "range": significant(np.log10(edges[[0, -1]]), 6),
        "density": significant(density, 3),
        "x": significant(x, 5),
        "rank": rank.tolist(),
    }


def _directions(subspaces: Sequence[Subspaces]) -> dict[str, Any] | None:
    """Give how the leading directions lie; of several matrices for the one whose directions turned most."""
    found = [(i, one) for i, one in enumerate(subspaces) if one.k]
    if not found:
        return None
    i, worst = min(found, key=lambda item: (-item[1].intruders, float(item[1].cosines_narrow.min())))
    return {
        "k": worst.k,
        "matrix": i,
        "matrices": len(subspaces),
        "narrow": significant(worst.cosines_narrow, 5),
        "wide": significant(worst.cosines_wide, 5),
        "lo": [significant(side, 5) for side in worst.nearest_lo],
        "hi": [significant(side, 5) for side in worst.nearest_hi],
        "cutoff": worst.cutoff,
        "intruders": worst.intruders,
        "undecided": worst.undecided,
    }
