"""What a change is, and by how much every metric of a layer changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import hypot, inf, isfinite, log10, nan, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heavytail.comparison.delta import Delta
from heavytail.comparison.row import METRICS, ChangeRow, MetricChange
from heavytail.diagnosis.layer import Layer
from heavytail.report.noise_verdict import bulks_fit
from heavytail.spectra.subspaces import Subspaces
from heavytail.tails.bootstrap import bootstrap_pairs
from heavytail.tails.interval import scatter
from heavytail.tails.power_law import PowerLawFit

__all__ = ["filled", "metric_changes"]

_EIGENVALUES = 1.15  # widens resampled intervals of eigenvalues, as those of one spectrum (tails.bootstrap)
_ESTIMATED = ("sigma_mp", "bulk_edge", "mp_softrank")
_NORMAL = 1.96

Vector = NDArray[np.float64]


def metric_changes(
    base: Layer, tuned: Layer, replicates: int = 0, seed: int | np.random.Generator = 0, *, related: bool = True
) -> dict[str, MetricChange]:
    """Give every metric of a layer in both models, and its change with an interval.

    Norms, ranks and counts are computed, and their change is what it is. Exponents are estimated: with replicates both
    spectra are resampled together, so that what both fits share does not widen the interval of their difference;
    without, the intervals of both are added as if they erred apart, and so are those of the noise bulk: too wide where
    the change is small.

    Args:
        base: the layer in the base, with a row that is ok.
        tuned: the layer in the other model.
        replicates: resampled spectra, 0 or at least 39.
        seed: of the resampling.
        related: whether both are so much the same matrix that their exponents err together; if not, each spectrum is
            resampled on its own.
    """
    found = {}
    for name in METRICS:
        before, after = float(getattr(base.row, name)), float(getattr(tuned.row, name))
        found[name] = MetricChange(before, after, after - before, after - before)
    if base.spectrum is tuned.spectrum:
        return found
    found |= _of_exponents(base, tuned, replicates, seed, related)
    for name in _ESTIMATED:
        half = hypot(_error(base, name), _error(tuned, name))
        if isfinite(half):
            change = found[name].change
            found[name] = replace(found[name], lo=change - half, hi=change + half)
    return found


def _of_exponents(
    base: Layer, tuned: Layer, replicates: int, seed: int | np.random.Generator, related: bool
) -> dict[str, MetricChange]:
    fits = _fit(base), _fit(tuned)
    if fits[0] is None or fits[1] is None:
        return {}
    if not replicates:
        return {name: _apart(base, tuned, values) for name, values in _FROM_ALPHA.items()}
    assert base.spectrum is not None
    assert tuned.spectrum is not None
    pair = fits[0], fits[1]
    alphas = bootstrap_pairs(base.spectrum.positive, tuned.spectrum.positive, pair, replicates, seed, related=related)
    width = _EIGENVALUES * max(scatter(fit) for fit in pair)
    changes = {name: of(tuned, alphas[1]) - of(base, alphas[0]) for name, of in _FROM_ALPHA.items()}
    return {name: _resampled(base, tuned, name, draws, width) for name, draws in changes.items()}


def _fit(layer: Layer) -> PowerLawFit | None:
    return layer.tail.fit if layer.tail is not None else None


def _resampled(base: Layer, tuned: Layer, name: str, draws: Vector, width: float) -> MetricChange:
    before, after = float(getattr(base.row, name)), float(getattr(tuned.row, name))
    low, high = width * (np.quantile(draws, (0.025, 0.975)) - (after - before))
    change = after - before
    return MetricChange(before, after, change + min(float(low), 0.0), change + max(float(high), 0.0))


def _log_alpha_norm(layer: Layer, alphas: Vector) -> Vector:
    """Give the log alpha-norm of a layer for several exponents, as `diagnosis.tail` does for one."""
    assert layer.spectrum is not None
    evals = layer.spectrum.positive
    logs = np.log(evals / evals[-1])
    sums = np.array([np.exp(alpha * logs).sum() for alpha in alphas])
    return np.asarray(alphas * log10(float(evals[-1])) + np.log10(sums))


def _apart(base: Layer, tuned: Layer, values: Callable[[Layer, Vector], Vector]) -> MetricChange:
    """Give the change of a metric that follows from alpha, from the intervals of alpha in both models."""
    found = []
    for layer in (base, tuned):
        value, *ends = values(layer, np.array([layer.row.alpha, layer.row.alpha_lo, layer.row.alpha_hi]))
        found.append((float(value), float(value - min(ends)), float(max(ends) - value)))
    (before, below, above), (after, under, over) = found
    change = after - before
    return MetricChange(before, after, change - hypot(under, above), change + hypot(over, below))


def _weighted(layer: Layer, alphas: Vector) -> Vector:
    return alphas * layer.row.log_spectral_norm


_FROM_ALPHA: Mapping[str, Callable[[Layer, Vector], Vector]] = {
    "alpha": lambda layer, alphas: alphas,
    "alpha_weighted": _weighted,
    "log_alpha_norm": _log_alpha_norm,
}
"""Metrics of a layer that follow from its exponent."""


def _error(layer: Layer, name: str) -> float:
    """Give half the width of the 95 % interval of a number of the noise bulk; NaN where there is none."""
    if layer.noise is None or layer.noise.reason or not layer.noise.bulks:
        return nan
    errors = [bulk.error for bulk in layer.noise.bulks]  # of sigma^2, relative
    error = sqrt(sum(e * e for e in errors)) / len(errors) / 2 if name == "sigma_mp" else max(errors)
    return _NORMAL * error * float(getattr(layer.row, name))


def filled(
    row: ChangeRow,
    base: Layer,
    delta: Delta,
    subspaces: tuple[Subspaces, ...],
    metrics: Mapping[str, MetricChange],
) -> ChangeRow:
    """Fill in a row from what was found of the change."""
    of = delta.layer.row
    if of.status != "ok":
        return replace(row, metrics=metrics, status=of.status, reason=f"the change: {of.reason}")
    rank = delta.suggested_rank
    return replace(
        row,
        change=delta.kind,
        relative_change=_relative(of.norm, base.row.norm),
        relative_spectral_change=_relative(of.lambda_max, base.row.lambda_max),
        delta_norm=of.norm,
        delta_lambda_max=of.lambda_max,
        delta_stable_rank=of.stable_rank,
        delta_rank=float(delta.rank),
        delta_alpha=of.alpha,
        delta_alpha_lo=of.alpha_lo,
        delta_alpha_hi=of.alpha_hi,
        delta_sigma_mp=of.sigma_mp,
        delta_bulk_edge=of.bulk_edge,
        delta_num_spikes=of.num_spikes,
        delta_fits=_fits(delta.layer),
        suggested_rank=rank,
        suggested_share=_share(delta.layer, rank),
        metrics=metrics,
        reason="; ".join(filter(None, (row.reason, f"the change: {of.reason}" if of.reason else ""))),
        **_directions(subspaces),
    )


def _relative(change: float, base: float) -> float:
    """Give the root of a ratio of squares; infinite where the base is zero."""
    return sqrt(change / base) if base else inf


def _fits(delta: Layer) -> float:
    """Say as a number whether the bulk of a change is shaped like noise; NaN where there is none."""
    if delta.noise is None or delta.noise.reason or not delta.noise.bulks:
        return nan
    return float(bulks_fit(delta.noise.bulks))


def _share(delta: Layer, rank: float) -> float:
    if not isfinite(rank) or delta.spectrum is None:
        return nan
    evals = delta.spectrum.evals
    return float(evals[evals.size - int(rank) :].sum() / evals.sum())


def _directions(subspaces: tuple[Subspaces, ...]) -> dict[str, Any]:
    """Sum up how the leading directions lie over the matrices of a row."""
    found = [one for one in subspaces if one.k]
    if not found:
        return {}
    cosines = np.concatenate([np.concatenate((one.cosines_narrow, one.cosines_wide)) for one in found])
    return {
        "directions": float(sum(one.k for one in found)),
        "overlap": float(np.square(cosines).mean()),
        "largest_angle": float(np.degrees(np.arccos(np.clip(cosines.min(), 0.0, 1.0)))),
        "intruders": float(sum(one.intruders for one in found)),
        "undecided": float(sum(one.undecided for one in found)),
    }
