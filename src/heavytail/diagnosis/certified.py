"""The row of a matrix whose eigenvalues are not computed but enclosed: what their bounds support, and nothing else."""

from __future__ import annotations

from math import log, nan
from typing import Any

from heavytail.diagnosis.layer import Layer
from heavytail.diagnosis.row import Row
from heavytail.spectra.certified import Bounds, CertifiedSpectrum

__all__ = ["WITHIN", "bounds_of", "diagnose_certified"]

WITHIN = 0.01
"""Relative half-width of its bounds up to which a number stands in the table."""


def bounds_of(spectrum: CertifiedSpectrum, dtype: str) -> dict[str, Bounds]:
    """Give the bounds of each column of the table that has some; they hold together with probability 1 - delta.

    Args:
        spectrum: the enclosed eigenvalues.
        dtype: name of the type of the numbers, which sets the numerical rank.
    """
    least, most = spectrum.rank(dtype)
    return {
        "norm": spectrum.norm,
        "log_norm": spectrum.log_norm,
        "lambda_max": spectrum.lambda_max,
        "log_spectral_norm": spectrum.log_spectral_norm,
        "stable_rank": spectrum.stable_rank,
        "matrix_rank": Bounds(least, most),
        "rank_loss": Bounds(spectrum.M - most, spectrum.M - least),
        "entropy": spectrum.entropy(dtype),
    }


def diagnose_certified(
    spectrum: CertifiedSpectrum, *, name: str, kind: str, dtype: str, stored: str, why: str
) -> Layer:
    """Give the row of an enclosed spectrum: a number stands in it only where its bounds are close.

    Args:
        spectrum: the enclosed eigenvalues.
        name: name of the row.
        kind: what the matrix is.
        dtype: name of the type of the numbers.
        stored: name of the stored type, for the table.
        why: why they are not computed.

    Example:
        >>> import numpy as np
        >>> from heavytail.spectra.certified import approximate_spectrum
        >>> W = np.random.default_rng(0).standard_normal((400, 200))
        >>> spectrum = approximate_spectrum(lambda r: [W], 400, 200)
        >>> names = {"name": "fc", "kind": "linear", "dtype": "float64", "stored": "float64", "why": "it is large"}
        >>> row = diagnose_certified(spectrum, **names).row
        >>> round(row.log_norm, 1), row.alpha
        (4.9, nan)
    """
    bounds = bounds_of(spectrum, dtype)
    values: dict[str, Any] = {column: _value(column, bound) for column, bound in bounds.items()}
    row = Row(
        name=name,
        kind=kind,
        dtype=stored,
        status="ok",
        reason=f"enclosed in {spectrum.passes} passes, bounds hold with probability {1 - spectrum.delta:g} ({why})",
        N=spectrum.N,
        M=spectrum.M,
        Q=spectrum.N / spectrum.M,
        num_matrices=1,
        num_evals=spectrum.M,
        **values,
    )
    return Layer(row, certified=bounds)


def _value(column: str, bounds: Bounds) -> float:
    if column in ("matrix_rank", "rank_loss"):
        return bounds.lo if bounds.lo == bounds.hi else nan
    if column.startswith("log_"):
        return bounds.value(WITHIN / log(10))
    return bounds.value(WITHIN * abs(bounds.lo))
