r"""The phase of training of a layer, with a probability for each, decided from its spectrum alone.

Five questions, each answered by a logistic rule of one to three observations, lead through a tree:

1. Is a large mass of eigenvalues at zero?                        rank-collapse
2. If not: is what remains a bulk of noise with a few others?
3. If so: is any eigenvalue beyond the noise?                     if not, random-like
4. If so: does it stand clear of the bulk?                        bulk+spikes, else bleeding-out
5. If 2 is denied: does the tail reach out like a power law?      heavy-tailed, else bulk-decay

The coefficients are those of most likelihood for draws of the ensembles in `heavytail.rmt.ensembles`, which define the
phases, all six as frequent (`benchmarks/phases.py --refit`). The probabilities hold among such matrices; a layer may be
like none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import asinh, exp, log
from typing import Any

import numpy as np

from heavytail.diagnosis.phase_evidence import PhaseEvidence, gather
from heavytail.rmt.ensembles.phases import PHASES
from heavytail.spectra.spectrum import Spectrum

__all__ = ["COEFFICIENTS", "MIN_EVALS", "UNDECIDED", "Phase", "features", "find_phase", "probabilities"]

MIN_EVALS = 30
"""Fewest eigenvalues a matrix must have: the rules were fitted from there on."""

UNDECIDED = "undecided"
"""Where no phase is more likely than all others together."""

COEFFICIENTS: Mapping[str, tuple[float, ...]] = {
    "collapsed": (-54.01, 527.2),
    "noise": (-15.62, -4.739, -5.752),
    "beyond": (3.078, 5.71, -1.293),
    "clear": (-7.996, 31.89),
    "heavy": (-6.397, 17.75, 15.65),
}
"""For each question the constant and the coefficient of each of its `features`, for the natural log of the odds."""

_BROAD = 0.5  # excess of breadth that 1 in 100 of bulk-decay has: where it is broader still, the tail's law decides


@dataclass(frozen=True, slots=True)
class Phase:
    """The phase of one row.

    Attributes:
        probabilities: of each phase, of all matrices of the row on average; empty where there are none.
        evidence: the observations on each of its matrices.
        reason: why there are no probabilities, or why some of its matrices are of no phase; else empty.
    """

    probabilities: Mapping[str, float]
    evidence: tuple[PhaseEvidence, ...]
    reason: str = ""

    @property
    def name(self) -> str:
        """The likeliest phase; 'undecided' where it is not likelier than all others together, '' where unknown."""
        if not self.probabilities:
            return ""
        best = max(self.probabilities, key=lambda phase: self.probabilities[phase])
        return best if self.probabilities[best] > 1 / 2 else UNDECIDED

    def columns(self) -> dict[str, Any]:
        """Give the columns of the table."""
        if not self.probabilities:
            return {}
        return {"phase": self.name, "phase_probability": max(self.probabilities.values())}

    def as_dict(self) -> dict[str, Any]:
        """Give the probabilities and the evidence as plain values, for JSON."""
        return {
            "phase": self.name,
            "reason": self.reason,
            "probabilities": dict(self.probabilities),
            "evidence": [seen.as_dict() for seen in self.evidence],
        }


def find_phase(spectrum: Spectrum) -> Phase:
    """Find the phase of a row.

    Args:
        spectrum: the row's spectrum, not all zero.

    Example:
        >>> from heavytail.rmt.ensembles import pareto
        >>> from heavytail.spectra.exact import spectrum_of_stack
        >>> find_phase(spectrum_of_stack(pareto(400, 200, 1.2, seed=0)[None], "float64")).name
        'heavy-tailed'
    """
    if spectrum.method == "operator":
        return Phase({}, (), "no phase: a convolution's operator has no noise law here")
    if spectrum.M < MIN_EVALS:
        return Phase({}, (), f"no phase below {MIN_EVALS} eigenvalues a matrix")
    sizes = spectrum.by_matrix.sum(axis=1)
    floors = spectrum.floor * sizes / sizes.max()  # the bound is that of the largest of the matrices
    evidence = tuple(gather(evals, spectrum.N, floor) for evals, floor in zip(spectrum.by_matrix, floors, strict=True))
    each = np.mean([probabilities(seen) for seen in evidence], axis=0)
    foreign = sum(seen.foreign for seen in evidence)
    whose = "its bulk is" if len(evidence) == 1 else f"{foreign} of {len(evidence)} bulks are"
    reason = f"{whose} narrower than noise's, nearer to an orthogonal matrix: no phase has such" if foreign else ""
    return Phase(dict(zip(PHASES, each.tolist(), strict=True)), evidence, reason)


def probabilities(seen: PhaseEvidence) -> tuple[float, ...]:
    """Answer the five questions: the probability of each of `PHASES`, in their order."""
    says = {
        question: _sigmoid(float(np.dot(COEFFICIENTS[question], (1, *values))))
        for question, values in features(seen).items()
    }
    kept = 1 - says["collapsed"]
    if seen.bulk is None or seen.foreign:  # nothing is known but what is lost
        return *(kept / 5,) * 5, says["collapsed"]
    noise, other = kept * says["noise"], kept * (1 - says["noise"])
    signal = noise * says["beyond"]
    return (
        noise * (1 - says["beyond"]),
        signal * (1 - says["clear"]),
        signal * says["clear"],
        other * (1 - says["heavy"]),
        other * says["heavy"],
        says["collapsed"],
    )


def features(seen: PhaseEvidence) -> dict[str, tuple[float, ...]]:
    """Give what each question is answered from, by the question."""
    found: dict[str, tuple[float, ...]] = {"collapsed": (seen.lost,)}
    bulk = seen.bulk
    if bulk is None:
        return found
    reach = log(seen.largest / bulk.edge)
    share = log((seen.beyond[1] + 1) / seen.rank)
    return found | {
        "noise": (log(bulk.misfit / bulk.allowance), share),
        "beyond": (asinh(bulk.score / 3), log(seen.rank)),
        "clear": (reach,),
        "heavy": (min(seen.breadth - seen.breadth_of_noise, _BROAD), seen.power_law_ratio),
    }


def _sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x)) if x > 0 else exp(x) / (1 + exp(x))
