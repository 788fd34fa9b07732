"""From a spectrum and its tail to the numbers of its row: scale, shape, and why a number is missing."""

from __future__ import annotations

from math import log, log10
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heavytail.diagnosis.row import Row
from heavytail.diagnosis.tail import Tail
from heavytail.spectra.spectrum import Spectrum

Vector = NDArray[np.float64]

__all__ = ["diagnose"]


def diagnose(spectrum: Spectrum, tail: Tail, *, name: str, kind: str, dtype: str) -> Row:
    """Compute a row's numbers from its spectrum and its tail.

    Numbers that describe shape do not change when all weights are multiplied by a constant. What cannot be computed
    is NaN, and the row's reason says why.

    Example:
        >>> import numpy as np
        >>> from heavytail.spectra.exact import spectrum_of_stack
        >>> W = np.random.default_rng(0).standard_normal((1, 300, 100))
        >>> from heavytail.diagnosis.tail import find_tail
        >>> spectrum = spectrum_of_stack(W, "float64")
        >>> tail = find_tail(spectrum)
        >>> row = diagnose(spectrum, tail, name="fc", kind="linear", dtype="float64")
        >>> row.matrix_rank, row.num_evals, row.alpha > 1
        (100, 100, True)
    """
    evals = spectrum.evals
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
    return Row(
        **identity,
        **tail.columns(evals),
        reason=tail.reason,
        log_norm=log10(norm),
        log_spectral_norm=log10(lambda_max),
        stable_rank=norm / lambda_max,
        entropy=_entropy(spectrum.positive),
    )


def _entropy(positive: Vector) -> float:
    """Give the entropy of the normalised eigenvalues over its greatest value, the log of their number."""
    if positive.size < 2:
        return 0.0
    p = positive / positive.sum()
    return min(float(-(p @ np.log(p)) / log(positive.size)), 1.0)
