"""The tail of a layer's spectrum: its power law, how sure its exponent is, and the evidence for and against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite, log10, nan, sqrt
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from heavytail.diagnosis.farms import farms_of_blocks
from heavytail.diagnosis.tail_score import TailScore, entry_kurtosis, shuffled_tail_score, tail_score
from heavytail.spectra.entries import Blocks
from heavytail.spectra.spectrum import Spectrum
from heavytail.tails.alternatives import Verdict, compare_laws
from heavytail.tails.bootstrap import Bootstrap, bootstrap
from heavytail.tails.fingers import Fingers, find_fingers
from heavytail.tails.interval import Profile, interval, profile, scatter
from heavytail.tails.laws import TruncatedPowerLaw
from heavytail.tails.likelihood import Fit, fit
from heavytail.tails.power_law import MIN_TAIL, PowerLawFit, fit_power_law, hill
from heavytail.tails.thresholds import density_peak, log_determinant, median

__all__ = [
    "BAND",
    "MIN_EVALS",
    "NO_ENTRIES",
    "Evidence",
    "Tail",
    "TailEntries",
    "best_fit",
    "find_tail",
    "measure_tail",
]

MIN_EVALS = 20
"""Fewest eigenvalues above rounding for which a tail is fitted; each matrix must have MIN_TAIL of them at least."""

BAND = (2.0, 6.0)
"""Exponents of well-trained layers (Martin, Peng and Mahoney 2021)."""

_NO_SCORE = TailScore()

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TailEntries:
    """What the entries of a row's matrices, beyond their spectrum, say of its tail.

    Attributes:
        score: how heavy the upper tenth is against noise of the same shape.
        farms: see `Evidence.farms`; NaN where it was not asked for.
    """

    score: TailScore = _NO_SCORE
    farms: float = nan


NO_ENTRIES = TailEntries()
"""Of matrices of which nothing is known but their spectrum."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is found of a tail where replicates are asked for.

    Attributes:
        bootstrap: the exponent of resampled spectra, and the test of fit.
        verdict: the other laws, and which of them the evidence prefers.
        fingers: how alpha depends on the largest eigenvalues.
        starts: the power law fitted from other starts, by name of the rule; a rule without a fit is not there.
        e_tpl: the truncated power law from the density's peak on (Yang et al. 2023); None where it has no fit.
        farms: Hill's exponent of windows of one aspect ratio (Hu et al. 2025), of the matrix laid with its shorter side
            as rows; NaN where it holds no window, and for several matrices.
    """

    bootstrap: Bootstrap
    verdict: Verdict
    fingers: Fingers | None
    starts: Mapping[str, PowerLawFit]
    e_tpl: Fit | None
    farms: float

    def as_dict(self) -> dict[str, Any]:
        """Give the evidence as plain values, for JSON."""
        fingers = self.fingers
        return {
            "replicates": self.bootstrap.count,
            "verdict": self.verdict.as_dict(),
            "fingers": fingers
            and {
                "count": fingers.count,
                "shift": fingers.shift,
                "shift_in_sigma": fingers.shift_in_sigma,
                "alphas": list(fingers.alphas),
                "clipped": asdict(fingers.clipped),
            },
            "starts": {name: asdict(found) for name, found in self.starts.items()},
            "e_tpl": self.e_tpl and self.e_tpl.as_dict(),
            "farms": self.farms,
        }


@dataclass(frozen=True, slots=True)
class Tail:
    """The tail of one row.

    Attributes:
        fit: the power law from the start of least distance; None where there is no tail to fit.
        reason: why there is none, or why it has no interval; empty where it has both.
        alpha_lo: lower end of the 95 % interval of alpha: of the resampled spectra where there are any, else of the
            starts that fit as well (see `tails.interval`).
        alpha_hi: upper end.
        hill: Hill's estimate from the upper half; NaN where there is no tail.
        score: how heavy the upper tenth is against noise of the same shape; without one where there is no tail.
        profile: the fit from other starts.
        evidence: what replicates and other laws say, where asked for.
    """

    fit: PowerLawFit | None
    reason: str = ""
    alpha_lo: float = nan
    alpha_hi: float = nan
    hill: float = nan
    score: TailScore = _NO_SCORE
    profile: Profile | None = None
    evidence: Evidence | None = None

    def columns(self, evals: Vector) -> dict[str, Any]:
        """Give the columns of the table."""
        found = self.fit
        if found is None:
            return {}
        log_largest = log10(float(evals[-1]))
        rejected = self.evidence is not None and self.evidence.verdict.rejected
        over, under = self.alpha_hi < BAND[0] and not rejected, self.alpha_lo > BAND[1] and not rejected
        columns = {
            "alpha": found.alpha,
            "alpha_lo": self.alpha_lo,
            "alpha_hi": self.alpha_hi,
            "sigma": found.sigma,
            "xmin": found.xmin,
            "xmax": found.xmax,
            "D": found.D,
            "num_pl_spikes": found.n_tail,
            "warning": "over-trained" if over else "under-trained" if under else "",
            "alpha_hill": self.hill,
            "alpha_weighted": found.alpha * log_largest,
            "log_alpha_norm": found.alpha * log_largest + log10(float(((evals / evals[-1]) ** found.alpha).sum())),
            "tail_excess": self.score.excess,
            "tail_score": self.score.score,
        }
        if self.evidence is not None:
            columns |= {"p_value": self.evidence.bootstrap.p_value, "tail": self.evidence.verdict.law}
        return columns

    def as_dict(self) -> dict[str, Any]:
        """Give the evidence as plain values, for JSON."""
        return {
            "reason": self.reason,
            "scatter": nan if self.fit is None else scatter(self.fit),
            "score": asdict(self.score),
            **({} if self.evidence is None else self.evidence.as_dict()),
        }


def measure_tail(
    spectrum: Spectrum, matrices: Sequence[Blocks], nulls: int = 0, farms: bool = False, seed: int | Generator = 0
) -> TailEntries:
    """Read off a row's matrices what its tail needs beyond the spectrum.

    Args:
        spectrum: the row's spectrum.
        matrices: its matrices, N x M each; none where they are a convolution's frequencies.
        nulls: number of shuffled copies, for the score of matrices whose entries are too heavy-tailed for theory.
        farms: whether windows are looked at.
        seed: of the shuffles.
    """
    if _no_tail(spectrum.positive, spectrum) or spectrum.method == "operator":
        return NO_ENTRIES
    score = tail_score(spectrum, entry_kurtosis(spectrum, matrices))
    if score.reason and nulls > 1:
        score = shuffled_tail_score(spectrum, matrices, nulls, np.random.default_rng(seed))
    return TailEntries(score, _farms(spectrum, matrices) if farms else nan)


def best_fit(spectrum: Spectrum) -> tuple[PowerLawFit | None, str]:
    """Fit the power law of least distance, or say why there is no tail."""
    x = spectrum.positive
    reason = _no_tail(x, spectrum)
    if reason:
        return None, reason
    best = fit_power_law(x)
    if best is None or _equal(best.xmin, spectrum) or _equal(x[x.size // 2], spectrum):
        return None, "the largest eigenvalues are equal to within rounding: there is no tail"
    return best, ""


def find_tail(
    spectrum: Spectrum, entries: TailEntries = NO_ENTRIES, replicates: int = 0, seed: int | Generator = 0
) -> Tail:
    """Find the tail of a spectrum and its power law.

    Args:
        spectrum: the row's spectrum.
        entries: what the entries of its matrices say.
        replicates: number of resampled spectra, 0 or at least 39; with 0 there is no evidence but the interval.
        seed: of the resampling.

    Example:
        >>> from heavytail.spectra.exact import spectrum_of_stack
        >>> W = np.random.default_rng(0).pareto(1.0, (300, 200)) + 1
        >>> tail = find_tail(spectrum_of_stack(W[None], "float64"))
        >>> tail.alpha_lo < tail.fit.alpha < tail.alpha_hi
        True
    """
    best, reason = best_fit(spectrum)
    if best is None:
        return Tail(None, reason)
    x = spectrum.positive
    if spectrum.method == "operator":  # equal pairs and neighbouring frequencies: far fewer independent values
        return Tail(best, "alpha has no interval: an operator's eigenvalues come in equal pairs", hill=hill(x))
    found = profile(x)
    if not replicates:
        return Tail(best, "", *interval(best, found, eigenvalues=True), hill(x), entries.score, found)
    evidence = _weigh(x, best, entries.farms, replicates, np.random.default_rng(seed))
    resampled = evidence.bootstrap
    return Tail(best, "", resampled.alpha_lo, resampled.alpha_hi, hill(x), entries.score, found, evidence)


def _weigh(x: Vector, best: PowerLawFit, farms: float, replicates: int, rng: Generator) -> Evidence:
    resampled = bootstrap(x, best, replicates, rng, eigenvalues=True)
    rules = {"density peak": density_peak, "median": median, "log determinant": log_determinant}
    starts = {name: rule(x) for name, rule in rules.items()}
    fits = {name: fit_power_law(x, xmin=start) for name, start in starts.items() if start == start}
    peak = starts["density peak"]
    return Evidence(
        bootstrap=resampled,
        verdict=compare_laws(x[x >= best.xmin], xmin=best.xmin, p_value=resampled.p_value),
        fingers=find_fingers(x),
        starts={name: found for name, found in fits.items() if found is not None},
        e_tpl=fit(x[x >= peak], TruncatedPowerLaw, xmin=peak),
        farms=farms,
    )


def _farms(spectrum: Spectrum, matrices: Sequence[Blocks]) -> float:
    if len(matrices) != 1:
        return nan
    found = farms_of_blocks(matrices[0], spectrum.N, spectrum.M)
    return found.alpha if found.whole_window else nan


def _no_tail(x: Vector, spectrum: Spectrum) -> str:
    """Say why there is no tail to fit; nothing where there may be one."""
    if spectrum.M < MIN_TAIL:
        return f"{spectrum.N} x {spectrum.M}: too narrow to have a tail of {MIN_TAIL} eigenvalues"
    if x.size < MIN_EVALS:
        what = "eigenvalue" if x.size == 1 else "eigenvalues"
        return f"{x.size} {what} above rounding; a tail fit needs {MIN_EVALS}"
    return ""


def _equal(value: float, spectrum: Spectrum) -> bool:
    """Whether an eigenvalue is equal to the largest one to within rounding.

    Rounding of the entries moves an eigenvalue s^2 by up to 2 s times the rounding of s, which is sqrt(floor).
    """
    largest = float(spectrum.evals[-1])
    return isfinite(spectrum.error) and largest - value <= 2 * sqrt(spectrum.floor) * sqrt(largest) + spectrum.error
