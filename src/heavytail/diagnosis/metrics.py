"""From a spectrum to the numbers of its row: scale, shape, and why a number is missing."""

from __future__ import annotations

from math import log, log10, nan, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heavytail.diagnosis.row import Row
from heavytail.spectra.spectrum import Spectrum
from heavytail.tails.power_law import MIN_TAIL, PowerLaw, fit_power_law, hill

Vector = NDArray[np.float64]

__all__ = ["BAND", "MIN_EVALS", "diagnose"]

MIN_EVALS = 20
"""Fewest eigenvalues above rounding for which a tail is fitted; each matrix must have MIN_TAIL of them at least."""

BAND = (2.0, 6.0)
"""Exponents of well-trained layers (Martin, Peng and Mahoney 2021)."""


def diagnose(spectrum: Spectrum, *, name: str, kind: str, dtype: str) -> Row:
    """Compute a row's numbers from its spectrum.

    Numbers that describe shape do not change when all weights are multiplied by a constant. What cannot be computed
    is NaN, and the row's reason says why.

    Example:
        >>> import numpy as np
        >>> from heavytail.spectra.exact import spectrum_of_stack
        >>> W = np.random.default_rng(0).standard_normal((1, 300, 100))
        >>> row = diagnose(spectrum_of_stack(W, "float64"), name="fc", kind="linear", dtype="float64")
        >>> row.matrix_rank, row.num_evals, row.alpha > 1
        (100, 100, True)
    """
    evals = spectrum.evals
    positive = spectrum.positive
    norm, lambda_max = float(evals.sum()), float(evals[-1])
    identity: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "dtype": dtype,
        "status": "ok",
        "N": spectrum.N,
        "M": spectrum.M,
        "Q": spectrum.N / spectrum.M,
        "num_matrices": spectrum.num_matrices,
        "num_evals": evals.size,
        "norm": norm,
        "lambda_max": lambda_max,
        "matrix_rank": spectrum.rank,
        "rank_loss": evals.size - spectrum.rank,
    }
    if lambda_max == 0:
        return Row(**identity, reason="every entry is zero")
    log_spectral_norm = log10(lambda_max)
    fit, reason = _tail(positive, spectrum)
    shape = {} if fit is None else _shape(fit, evals, log_spectral_norm)
    if spectrum.method == "operator":  # equal pairs and neighbouring frequencies: far fewer independent values
        shape["warning"] = ""
    return Row(
        **identity,
        **shape,
        reason=reason,
        log_norm=log10(norm),
        log_spectral_norm=log_spectral_norm,
        stable_rank=norm / lambda_max,
        entropy=_entropy(positive),
        alpha_hill=nan if reason else hill(positive),
    )


def _entropy(positive: Vector) -> float:
    """Give the entropy of the normalised eigenvalues over its greatest value, the log of their number."""
    if positive.size < 2:
        return 0.0
    p = positive / positive.sum()
    return min(float(-(p @ np.log(p)) / log(positive.size)), 1.0)


def _tail(positive: Vector, spectrum: Spectrum) -> tuple[PowerLaw | None, str]:
    """Fit the tail, or say why there is none to fit."""
    if spectrum.M < MIN_TAIL:
        return None, f"{spectrum.N} x {spectrum.M}: too narrow to have a tail of {MIN_TAIL} eigenvalues"
    if positive.size < MIN_EVALS:
        what = "eigenvalue" if positive.size == 1 else "eigenvalues"
        return None, f"{positive.size} {what} above rounding; a tail fit needs {MIN_EVALS}"
    fit = fit_power_law(positive)
    if fit is None or _equal(fit.xmin, spectrum) or _equal(positive[positive.size // 2], spectrum):
        return None, "the largest eigenvalues are equal to within rounding: there is no tail"
    return fit, ""


def _equal(value: float, spectrum: Spectrum) -> bool:
    """Whether an eigenvalue is equal to the largest one to within rounding.

    Rounding of the entries moves an eigenvalue s^2 by up to 2 s times the rounding of s, which is sqrt(floor).
    """
    largest = float(spectrum.evals[-1])
    return largest - value <= 2 * sqrt(spectrum.floor) * sqrt(largest) + spectrum.error


def _shape(fit: PowerLaw, evals: Vector, log_spectral_norm: float) -> dict[str, Any]:
    """Give the columns that follow from a power law fit."""
    alpha, sigma = fit.alpha, fit.sigma
    over, under = alpha + 2 * sigma < BAND[0], alpha - 2 * sigma > BAND[1]
    return {
        "alpha": alpha,
        "sigma": sigma,
        "xmin": fit.xmin,
        "xmax": fit.xmax,
        "D": fit.D,
        "num_pl_spikes": fit.n_tail,
        "warning": "over-trained" if over else "under-trained" if under else "",
        "alpha_weighted": alpha * log_spectral_norm,
        "log_alpha_norm": alpha * log_spectral_norm + log10(float(((evals / evals[-1]) ** alpha).sum())),
    }
