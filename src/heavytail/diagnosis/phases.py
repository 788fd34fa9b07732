r"""The phase of training of a layer, with a probability for each, decided from its spectrum alone.

Five questions, each answered by a logistic rule of one or two observations, lead through a tree:

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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import asinh, exp, log, nan, sqrt
from typing import Any

import numpy as np

from heavytail.diagnosis.phase_evidence import PhaseEvidence, gather
from heavytail.rmt.ensembles.phases import PHASES
from heavytail.spectra.spectrum import Spectrum
from heavytail.tails.alternatives import UNDECIDED

__all__ = ["COEFFICIENTS", "MIN_EVALS", "Phase", "features", "find_phase", "probabilities", "weight"]

MIN_EVALS = 30
"""Fewest eigenvalues a matrix must have: the rules were fitted from there on."""

COEFFICIENTS: Mapping[str, tuple[float, ...]] = {
    "collapsed": (-48.39, 465.1),
    "noise": (-19.79, -6.242, -7.392),
    "beyond": (5.619, 7.458, -1.968),
    "clear": (-9.282, 38.38),
    "heavy": (-5.775, 31.48, 20.34),
}
"""For each question the constant and the coefficient of each of its `features`, for the natural log of the odds, which
all but the first take times `weight`."""

_FEW = 30  # eigenvalues at which the answers are less certain by the square root of two
_BROAD = 0.35  # excess of breadth that 1 in 100 of bulk-decay has: where it is broader still, the tail's law decides


@dataclass(frozen=True, slots=True)
class Phase:
    """The phase of one row.

    Attributes:
        probabilities: of each phase; empty where there are none.
        evidence: the observations on each of the row's matrices; empty where none can be made.
        reason: why there are no probabilities, or why some of the matrices have no part in them; else empty.
    """

    probabilities: Mapping[str, float]
    evidence: tuple[PhaseEvidence, ...]
    reason: str = ""

    @property
    def name(self) -> str:
        """The likeliest phase; 'undecided' where it is not likelier than all others together, '' where nothing is seen.

        Example:
            >>> Phase({"random-like": 0.5, "bleeding-out": 0.5}, ()).name
            'undecided'
        """
        likely = [phase for phase, probability in self.probabilities.items() if probability > 1 / 2]
        return likely[0] if likely else UNDECIDED if self.probabilities or self.evidence else ""

    def columns(self) -> dict[str, Any]:
        """Give the columns of the table."""
        return {"phase": self.name, "phase_probability": max(self.probabilities.values(), default=nan)}

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
    floors = spectrum.floor * (sizes / sizes.max())  # the bound is that of the largest of the matrices
    evidence = tuple(gather(evals, spectrum.N, floor) for evals, floor in zip(spectrum.by_matrix, floors, strict=True))
    return Phase(probabilities(evidence), evidence, _narrow(evidence))


def _narrow(evidence: Sequence[PhaseEvidence]) -> str:
    count = sum(seen.narrow for seen in evidence)
    if not count:
        return ""
    whose = "" if len(evidence) == 1 else f"{count} of {len(evidence)} matrices: "
    return whose + "body narrower than noise's, as in no phase"


def probabilities(evidence: Sequence[PhaseEvidence]) -> dict[str, float]:
    """Answer the five questions for a row.

    The first is asked of all its directions, the others of each matrix, and the answers are averaged.

    Returns:
        The probability of each of `PHASES`; none where half of the matrices or more are narrower than noise.
    """
    collapsed = _answer("collapsed", (float(np.mean([seen.lost for seen in evidence])),), 1.0)
    judged = [seen for seen in evidence if seen.bulk is not None and not seen.narrow]
    if 2 * len(judged) <= sum(seen.bulk is not None for seen in evidence) and collapsed <= 1 / 2:
        return {}
    others = np.mean([_kept(seen) for seen in judged], axis=0) if judged else np.full(5, 1 / 5)
    return dict(zip(PHASES, (*((1 - collapsed) * others).tolist(), collapsed), strict=True))


def _kept(seen: PhaseEvidence) -> tuple[float, ...]:
    """Answer all questions but the first: the probabilities of the five phases of a matrix that has not collapsed."""
    says = {question: _answer(question, values, weight(seen.rank)) for question, values in features(seen).items()}
    noise, signal = says["noise"], says["noise"] * says["beyond"]
    return (
        noise - signal,
        signal * (1 - says["clear"]),
        signal * says["clear"],
        (1 - noise) * (1 - says["heavy"]),
        (1 - noise) * says["heavy"],
    )


def weight(rank: int) -> float:
    """Give the factor of the log odds for so many eigenvalues: what few of them show scatters, and says less."""
    return sqrt(rank / (rank + _FEW))


def _answer(question: str, values: tuple[float, ...], weight: float) -> float:
    """Give the probability of yes."""
    x = weight * float(np.dot(COEFFICIENTS[question], (1, *values)))
    return 1 / (1 + exp(-x)) if x > 0 else exp(x) / (1 + exp(x))


def features(seen: PhaseEvidence) -> dict[str, tuple[float, ...]]:
    """Give what all questions but the first are answered from, by the question; nothing where too little is left."""
    bulk, ratio = seen.bulk, seen.power_law_ratio
    if bulk is None:
        return {}
    return {
        "noise": (log(bulk.misfit / bulk.allowance), log((seen.beyond[1] + 1) / seen.rank)),
        "beyond": (asinh(bulk.score / 3), log(seen.rank)),
        "clear": (log(seen.largest / bulk.edge),),
        "heavy": (min(seen.breadth - seen.breadth_of_noise.value, _BROAD), ratio if ratio == ratio else 0.0),
    }
