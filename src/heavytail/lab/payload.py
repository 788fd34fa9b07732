"""The data of a run as the page's script reads it: plain, rounded, without NaN."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from heavytail.lab.experiments.experiment import Finding, Measured, over_seeds
from heavytail.lab.experiments.tables import each_seed, of_layer, of_network, rank_correlation
from heavytail.lab.summary import Line, Setting, Summary
from heavytail.report.curves import significant
from heavytail.report.payload import column, number, numbers, printable
from heavytail.report.phase_payload import MEANINGS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AT_END", "CAPACITY", "OF_LAYERS", "OF_NETWORKS", "payload", "spectrum_bins"]

Vector = NDArray[np.float64]

CAPACITY: Mapping[str, str] = {
    "log_frobenius_product": "log₁₀ product of Frobenius norms",
    "log_spectral_product": "log₁₀ product of spectral norms",
    "log_path_norm": "log₁₀ path norm",
    "margin_mean": "margin, mean",
    "margin_p10": "margin, lower tenth",
    "frobenius_margin_mean": "margin / Frobenius norms, mean",
    "frobenius_margin_p10": "margin / Frobenius norms, lower tenth",
    "spectral_margin_mean": "margin / spectral norms, mean",
    "spectral_margin_p10": "margin / spectral norms, lower tenth",
    "normalised_loss": "loss / Frobenius norms",
}
"""Measures of capacity, and how they are called."""

_MINIMUM: Mapping[str, str] = {
    "sharpness": "sharpness",
    "sharpness_100": "sharpness in 100 dimensions",
    "hessian_max": "largest eigenvalue of the Hessian",
}
AT_END: Mapping[str, str] = {"steps_to_target": "steps to the target", **_MINIMUM}
"""Columns of whole networks that are measured once a training."""

OF_NETWORKS: Mapping[str, str] = {
    "train_accuracy": "training accuracy",
    "test_accuracy": "test accuracy",
    "validation_accuracy": "validation accuracy",
    "train_loss": "training loss",
    "test_loss": "test loss",
    "validation_loss": "validation loss",
    **CAPACITY,
}
"""Columns of whole networks that are drawn along training."""

OF_LAYERS: Mapping[str, str] = {
    "mp_softrank": "MP soft rank",
    "stable_rank": "stable rank",
    "alpha": "α",
    "entropy": "entropy of the matrix",
    "num_spikes": "spikes",
    "lambda_max": "largest eigenvalue",
    "log_norm": "log₁₀ ‖W‖²",
    "matrix_rank": "rank",
    "alpha_weighted": "α̂",
}
"""Columns of layers that are drawn."""

_OF_NETWORKS = {**OF_NETWORKS, **AT_END}
_BINS = 36
_DECADES = 6  # below the largest eigenvalue of a layer; what is smaller is counted, not drawn
_LEFT_OUT = 0.02  # of the eigenvalues at the lower end: those of a square matrix reach down to zero
_COMPARED = 3  # layers whose spectra stand beside the measures of capacity
_COLUMNS = 10  # of them, at most
_LOOKS = 8  # spectra of a training are shown at so many looks


def payload(summary: Summary) -> dict[str, Any]:
    """Gather what the page's script draws.

    Args:
        summary: a run of which a training is finished at least.

    Returns:
        Settings, layers and columns; of each finished training its numbers along time, and the binned spectra; of each
        setting what it came to; the findings; and how the measures of capacity go with the test error.
    """
    table = summary.table
    settings = summary.settings
    place = {trial: k for k, setting in enumerate(settings) for trial in setting.trials}
    rows = {str(trial): found for trial, found in table.groupby("trial", sort=False)}
    ranges = {layer: _range(table[table["layer"] == layer]) for layer in summary.layers}
    return {
        "axis": summary.run.experiment.axis.replace("_", " "),
        "settings": _settings(settings, summary.run.experiment.axis),
        "layers": [printable(layer) for layer in summary.layers],
        "columns": {
            "network": _known(table, OF_NETWORKS),
            "end": _known(table, AT_END),
            "layer": _known(table, OF_LAYERS),
        },
        "ranges": [ranges[layer] for layer in summary.layers],
        "trials": [_trial(rows[trial], place[trial], summary.layers, ranges) for trial in summary.run.done],
        "ends": [_ends(setting, summary.lines, summary.layers) for setting in settings],
        "findings": [_finding(finding) for finding in summary.findings],
        "capacity": _capacity(summary),
        "meanings": MEANINGS,
    }


def _settings(settings: Sequence[Setting], axis: str) -> list[dict[str, Any]]:
    """Give the settings: their labels, and where they stand along the axis and beside it."""
    along = list(dict.fromkeys(setting.values.get(axis) for setting in settings))
    beside = [tuple(v for name, v in setting.values.items() if name != axis) for setting in settings]
    variants = list(dict.fromkeys(beside))
    found = []
    for setting, variant in zip(settings, beside, strict=True):
        value = setting.values.get(axis)
        numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
        found.append(
            {
                "label": printable(setting.label),
                "value": value if numeric else None,
                "place": along.index(value),
                "variant": variants.index(variant),
                "trainings": len(setting.trials),
            }
        )
    return found


def _known(table: pd.DataFrame, names: Mapping[str, str]) -> dict[str, str]:
    """Give the columns of which the run has a number."""
    return {name: label for name, label in names.items() if name in table and table[name].notna().any()}


def _trial(
    rows: pd.DataFrame, setting: int, layers: Iterable[str], ranges: Mapping[str, tuple[float, float]]
) -> dict[str, Any]:
    """Give a training along time: of the network and of each layer the columns, and the spectra at some looks."""
    network = of_network(rows).sort_values("epoch")
    return {
        "setting": setting,
        "seed": int(rows["seed"].iloc[0]),
        "network": {**_times(network), "columns": _columns(network, _OF_NETWORKS)},
        "layers": [_layer(rows[rows["layer"] == layer].sort_values("epoch"), ranges[layer]) for layer in layers],
    }


def _times(rows: pd.DataFrame) -> dict[str, list[int]]:
    return {name: rows[name].astype(int).tolist() for name in ("epoch", "step")}


def _columns(rows: pd.DataFrame, names: Iterable[str]) -> dict[str, Any]:
    known = {name: column(rows[name].tolist()) for name in names if name in rows}
    return {name: values for name, values in known.items() if values is not None}


def _layer(rows: pd.DataFrame, span: tuple[float, float]) -> dict[str, Any]:
    evals, edges, spikes = (rows[name].tolist() for name in ("evals", "bulk_edge", "num_spikes"))
    with_spectrum = [k for k, found in enumerate(evals) if found is not None and len(found)]
    chosen = [with_spectrum[k] for k in _evenly(len(with_spectrum), _LOOKS)]
    return {
        **_times(rows),
        "phase": [printable(phase) if isinstance(phase, str) else "" for phase in rows["phase"]],
        "probability": [number(share) for share in rows["phase_probability"]],
        "columns": _columns(rows, OF_LAYERS),
        "spectra": [
            {"look": k, **spectrum_bins(np.asarray(evals[k], np.float64), edges[k], spikes[k], span)} for k in chosen
        ],
    }


def _evenly(count: int, most: int) -> list[int]:
    """Choose at most so many positions of a list, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(k * (count - 1) / (most - 1)) for k in range(most)]


def _range(rows: pd.DataFrame) -> tuple[float, float]:
    """Give the ends, in log10, of what is drawn of a layer's eigenvalues, the same at all looks of all trainings."""
    parts = [np.asarray(evals, np.float64) for evals in rows["evals"] if evals is not None and len(evals)]
    evals = np.concatenate(parts) if parts else np.ones(1)
    positive = evals[evals > 0] if (evals > 0).any() else np.ones(1)
    high = float(np.log10(positive.max()))
    low = max(float(np.log10(np.quantile(positive, _LEFT_OUT))), high - _DECADES)
    pad = 0.02 * (high - low) or 0.05
    return round(low - pad, 4), round(high + pad, 4)


def spectrum_bins(evals: Vector, edge: float, spikes: float, span: tuple[float, float]) -> dict[str, Any]:
    """Count eigenvalues in equal bins of their logarithm, the spikes apart.

    Args:
        evals: (n,) eigenvalues, ascending.
        edge: where the noise ends; NaN if there is none.
        spikes: how many of the largest are spikes; NaN for none.
        span: ends of the bins, in log10.

    Returns:
        The count in each bin of what is no spike, the bins that hold spikes with their number, the edge in log10, and
        how many eigenvalues are too small to be drawn.

    Example:
        >>> found = spectrum_bins(np.array([0.0, 1.0, 1.0, 90.0]), 4.0, 1, (-0.01, 2))
        >>> found["bulk"][0], found["spikes"], found["below"]
        (2, [[35, 1]], 1)
    """
    low, high = span
    drawn = evals[evals > 10**low]
    places = np.minimum((np.log10(drawn) - low) / (high - low) * _BINS, _BINS - 1).astype(np.intp)
    count = 0 if isnan(spikes) else min(int(spikes), drawn.size)
    above = np.bincount(places[drawn.size - count :], minlength=_BINS)
    return {
        "bulk": np.bincount(places[: drawn.size - count], minlength=_BINS).tolist(),
        "spikes": [[int(k), int(above[k])] for k in np.flatnonzero(above)],
        "edge": number(np.log10(edge)) if edge > 0 else None,
        "below": int(evals.size - drawn.size),
        "largest": number(float(evals.max())) if evals.size else None,
    }


def _ends(setting: Setting, lines: Iterable[Line], layers: Sequence[str]) -> dict[str, Any]:
    """Give what a setting came to: of the network and of each layer value, ends of the interval and seeds."""
    mine = {line.layer: line for line in lines if line.setting == setting}
    return {
        "network": _told(mine.get(""), _OF_NETWORKS),
        "layers": [_told(mine.get(layer), OF_LAYERS) for layer in layers],
    }


def _told(line: Line | None, names: Iterable[str]) -> dict[str, Any]:
    return {name: _numbers(line.measured[name]) for name in names if line is not None and name in line.measured}


def _numbers(measured: Measured) -> list[float | int | None]:
    return [*numbers(measured.value, measured.low, measured.high), measured.runs]


def _finding(finding: Finding) -> dict[str, Any]:
    low, high = finding.statement.low, finding.statement.high
    return {
        "measure": printable(finding.statement.measure),
        "range": significant(np.array([low, high]), 6),
        "measured": _numbers(finding.measured),
        "judgement": finding.judgement.value,
    }


def _capacity(summary: Summary) -> dict[str, Any]:
    """Give each measure along the axis, and how its order goes with that of the test error."""
    network = of_network(summary.table).set_index(["trial", "epoch"])
    if "test_accuracy" not in network:
        return {"heads": [], "rows": []}
    shown = {"seed": network["seed"], "test error": 1 - network["test_accuracy"]}
    shown |= {label: network[name] for name, label in _known(network, {**CAPACITY, **_MINIMUM}).items()}
    for layer in summary.layers[:_COMPARED]:
        rows = of_layer(summary.table, layer).set_index(["trial", "epoch"])
        known = _known(
            rows, {name: OF_LAYERS[name] for name in ("alpha", "alpha_weighted", "stable_rank", "mp_softrank")}
        )
        shown |= {f"{label} of {printable(layer)}": rows[name] for name, label in known.items()}
    table = network[[]].assign(**shown)
    lines = [(setting.label, of_network(rows).set_index(["trial", "epoch"]).index) for setting, rows in summary.rows]
    compared = table.loc[[place for _, index in lines for place in index]]
    chosen = [lines[k] for k in _evenly(len(lines), _COLUMNS)]
    return {
        "axis": summary.axis,
        "heads": [label for label, _ in chosen],
        "rows": [
            {
                "label": label,
                "values": [_numbers(over_seeds(table.loc[index, label].tolist())) for _, index in chosen],
                "tau": _numbers(each_seed(compared, partial(_order, label))) if label != "test error" else None,
            }
            for label in table.columns
            if label != "seed"
        ],
    }


def _order(label: str, rows: pd.DataFrame) -> float:
    return rank_correlation(rows[label], rows["test error"])
