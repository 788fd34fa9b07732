"""The numbers of WeightWatcher 0.7.7, flaws included, so that its users can check this package against it.

What is wrong with them is part of the bargain: an absolute cut at 1e-5, a one-sided distance, no least tail, the rank
of float64 for weights of any type, alpha -1 for a failed fit in its own table. Its release says nothing of its small
sample fit, which is followed here too: below 20 eigenvalues alpha has the factor (n - 1) in place of n and tails of
fewer than 8 are out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import inf, log10, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heavytail.diagnosis.row import Row
from heavytail.errors import MatrixError
from heavytail.spectra.exact import svd_error, unusable
from heavytail.spectra.spectrum import Spectrum
from heavytail.tails.power_law import PowerLawFit, fit_power_law

__all__ = ["DETAILS", "details", "diagnose_weightwatcher", "spectrum_weightwatcher"]

_CUT = 1e-5
_SMALL, _SMALLEST_TAIL = 20, 8
_EPSILON = 1e-10
_EPS = 2.0**-52

Vector = NDArray[np.float64]

DETAILS = (
    *("layer_id", "name", "D", "M", "N", "Q", "alpha", "alpha_weighted", "entropy", "has_esd", "lambda_max"),
    *("layer_type", "log_alpha_norm", "log_norm", "log_spectral_norm", "longname", "matrix_rank", "norm", "num_evals"),
    *("num_pl_spikes", "rank_loss", "rf", "sigma", "spectral_norm", "stable_rank", "status", "sv_max", "sv_min"),
    *("warning", "weak_rank_loss", "xmax", "xmin"),
)


def spectrum_weightwatcher(stack: Vector, N: int, M: int) -> Spectrum:
    """Compute a pooled spectrum from the singular values of (k, a, b) matrices, with float64's rank for N.

    Raises:
        MatrixError: if an entry is not finite.
    """
    if not np.isfinite(stack).all():
        raise MatrixError(unusable([stack]))
    s = np.asarray(np.linalg.svd(stack, compute_uv=False)[:, ::-1], np.float64)
    evals = s * s
    return Spectrum(
        N=N,
        M=M,
        evals=np.sort(evals, axis=None),
        by_matrix=evals,
        positive=np.sort(evals[s > s[:, -1:] * N * _EPS]),
        floor=_CUT,
        error=float(svd_error(evals, N).max()),
        method="svd",
    )


def diagnose_weightwatcher(spectrum: Spectrum, *, name: str, kind: str, dtype: str) -> Row:
    """Compute a row by WeightWatcher's formulas; where it would write -1 for a failed fit the row has NaN."""
    evals, s = spectrum.evals, np.sqrt(spectrum.evals)
    norm, lambda_max = float(evals.sum()), float(evals[-1])
    rank = int((s > s[-1] * spectrum.N * _EPS).sum())
    row = Row(
        name=name,
        kind=kind,
        dtype=dtype,
        status="ok",
        N=spectrum.N,
        M=spectrum.M,
        Q=spectrum.N / spectrum.M,
        num_matrices=spectrum.num_matrices,
        num_evals=evals.size,
        norm=norm,
        lambda_max=lambda_max,
        matrix_rank=rank,
        rank_loss=evals.size - spectrum.rank,
    )
    if lambda_max == 0:
        return replace(row, reason="every entry is zero")
    p = s * s / float((s * s).sum()) + _EPSILON
    row = replace(
        row,
        log_norm=log10(norm),
        log_spectral_norm=log10(lambda_max),
        stable_rank=norm / lambda_max,
        entropy=float(-(p * np.log(p)).sum() / np.log(rank + _EPSILON)),
    )
    fit = _fit(evals[evals > _CUT])
    if fit is None:
        return replace(row, reason=f"no power law fit among {evals.size} eigenvalues")
    tail = int((evals >= fit.xmin).sum())
    return replace(row, sigma=fit.sigma, xmin=fit.xmin, D=fit.D, num_pl_spikes=tail, **_exponent(fit.alpha, row, evals))


def _exponent(alpha: float, row: Row, evals: Vector) -> dict[str, Any]:
    """Give the columns that follow from an exponent."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        log_alpha_norm = float(np.log10((evals**alpha).sum()))
    return {
        "alpha": alpha,
        "xmax": float(evals[-1]),
        "warning": "over-trained" if alpha < 2 else "under-trained" if alpha > 6 else "",
        "alpha_weighted": alpha * row.log_spectral_norm,
        "log_alpha_norm": log_alpha_norm,
    }


def _fit(x: Vector) -> PowerLawFit | None:
    """Fit as WeightWatcher does; None where it fails. Equal points have an infinite exponent there."""
    if x.size < 2:
        return None
    if x.size >= _SMALL and x[0] == x[-1]:
        return PowerLawFit(inf, inf, float(x[0]), float(x[-1]), 0.5, 2)
    if x.size >= _SMALL:
        return fit_power_law(x, min_tail=2, two_sided=False)
    logs = np.log(x)
    best: PowerLawFit | None = None
    for i in range(max(1, x.size - _SMALLEST_TAIL + 1)):
        n = x.size - i
        total = float((logs[i:] - logs[i]).sum())
        if total <= 1e-12:
            continue
        slope = (n - 1) / total
        D = float(np.abs(1 - (x[i:] / x[i]) ** -slope - np.arange(n) / n).max())
        if best is None or best.D > D:
            # Where no tail is long enough it takes all points, and keeps the error of an exponent of 0.
            sigma = slope / sqrt(n) if n >= _SMALLEST_TAIL else -1 / sqrt(n)
            best = PowerLawFit(1 + slope, sigma, float(x[i]), float(x[-1]), D, n)
    return best


def details(rows: Iterable[Row], spectra: Mapping[str, Spectrum]) -> list[dict[str, Any]]:
    """Give the rows of WeightWatcher's own table, with its column names, its -1 for a failed fit and its layer ids."""
    table = []
    layer_id = 0
    for row in rows:
        layer_id += row.kind != ""
        if row.status != "ok" or row.name not in spectra:
            continue
        spectrum = spectra[row.name]
        failed = row.alpha != row.alpha
        if row.lambda_max == 0:
            row = replace(row, log_norm=-inf, log_spectral_norm=-inf)
        if failed:
            row = replace(row, D=-1, sigma=-1, xmin=-1, num_pl_spikes=-1, **_exponent(-1, row, spectrum.evals))
        known = row.as_dict()
        renamed = {
            "layer_id": layer_id,
            "has_esd": True,
            "layer_type": row.kind,
            "longname": row.name,
            "rf": row.num_matrices,
            "spectral_norm": row.lambda_max,
            "status": "failed" if failed else "success",
            "sv_max": sqrt(row.lambda_max),
            "sv_min": float(spectrum.sv_min.max()),
            "warning": "over-trained" if failed else row.warning,
            "xmax": None if failed else row.xmax,
            "weak_rank_loss": int((spectrum.evals < 1e-6).sum()),
        }
        table.append({column: renamed.get(column, known.get(column)) for column in DETAILS})
    return table
