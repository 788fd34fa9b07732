"""The phase of a layer and the evidence for it as the page's script reads them: plain, rounded, held against noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import isfinite, nan
from statistics import median
from typing import Any

import numpy as np

from heavytail.diagnosis.noise import LEVEL, Noise
from heavytail.diagnosis.phases import Phase
from heavytail.diagnosis.row import Row
from heavytail.report.curves import significant
from heavytail.report.noise_verdict import all_noise
from heavytail.rmt.ensembles.phases import COLLAPSED, PHASES
from heavytail.rmt.universality import tail_index_from_alpha
from heavytail.tails.alternatives import UNDECIDED

__all__ = ["MEANINGS", "phase_payload"]

MEANINGS: Mapping[str, str] = dict(
    zip(
        (*PHASES, UNDECIDED),
        (
            "the spectrum is that of noise, with no signal strong enough to show",
            "noise, with a few eigenvalues just leaving its edge: a signal begins to show",
            "noise, with a few eigenvalues clear of it: strong signals in a few directions",
            "signals in so many directions that the noise has no sharp edge left, and its eigenvalues trail off",
            "correlations of every strength: the spectrum falls off like a power law from its body outwards",
            "a large part of the directions is lost, their eigenvalues nil beside the others",
            "no phase is likelier than all others together, or the spectrum is like none of them",
        ),
        strict=True,
    )
)
"""What each phase is, in half a sentence, in the order of the phases."""

_MANY = 2  # eigenvalues beyond the bulk's edge that noise has in less than 1 of 100 matrices

_Seen = Sequence[Mapping[str, float]]


def phase_payload(phase: Phase | None, row: Row, noise: Noise | None = None) -> dict[str, Any] | None:
    """Give what the page shows of a phase beyond the columns of the table; None where none was looked for.

    Args:
        phase: the phase of a row.
        row: the row, for its exponent.
        noise: its noise, for a phase that it explains.

    Returns:
        The reason where there are no probabilities, or where they are not of all matrices. Where there is evidence, the
        number of matrices and of those narrower than noise, and the evidence by its name, each a list: whether noise is
        unlike this, at a level of 1 %, or None where nothing tells; the value with the ends of its interval, if it has
        one, of several matrices their median, least and most; the chance under noise, if known, of several the median;
        and what else belongs to it. Where there are probabilities, those of `PHASES` in their order, and a remark if
        noise explains the spectrum.
    """
    if phase is None:
        return None
    found: dict[str, Any] = {"reason": phase.reason} if phase.reason else {}
    if phase.probabilities:
        found["probabilities"] = [round(phase.probabilities[name], 3) for name in PHASES]
    if remark := all_noise(row, noise):
        found["remark"] = remark
    if not phase.evidence:
        return found
    seen = [one.as_dict() for one in phase.evidence]
    evidence = {name: say(seen) for name, say in _EVIDENCE.items()}
    evidence["exponent"] = _exponent(row)
    return found | {
        "matrices": len(seen),
        "narrow": sum(one.narrow for one in phase.evidence),
        "evidence": {name: told for name, told in evidence.items() if told is not None},
    }


def _say(seen: _Seen, key: str, *more: Any, p: str = "", unlike: bool | None = None) -> list[Any] | None:
    """Tell an observation; where it has a chance under noise, that decides whether noise is unlike it."""
    values = _known(seen, key)
    if not values:
        return None
    if len(seen) > 1:
        values = [median(values), min(values), max(values)]
    elif ends := [*_known(seen, f"{key}_lo"), *_known(seen, f"{key}_hi")]:
        values += ends
    p_value = _middle(seen, p)
    if p:
        unlike = p_value <= LEVEL if isfinite(p_value) else None
    numbers = significant(np.array(values), 3)
    return [None if unlike is None else int(unlike), numbers, *_rounded(p_value), *more]


def _known(seen: _Seen, key: str) -> list[float]:
    return [value for one in seen if isfinite(value := one.get(key, nan))]


def _middle(seen: _Seen, key: str) -> float:
    return median(_known(seen, key) or [nan])


def _rounded(*values: float) -> list[Any]:
    return significant(np.array(values, np.float64), 3)


def _lost(seen: _Seen) -> list[Any] | None:
    rank, count = (int(sum(_known(seen, key))) for key in ("rank", "num_evals"))
    # Square noise has a smallest eigenvalue so small that it may count as lost.
    some = count - rank > len(seen)
    return _say(seen, "lost", rank, count, unlike=_middle(seen, "lost") > COLLAPSED or (None if some else False))


def _beyond(seen: _Seen) -> list[Any] | None:
    least = [one["beyond_lo"] * one["rank"] for one in seen if "beyond_lo" in one]
    return _say(seen, "beyond", unlike=round(median(least or [0])) >= _MANY)


def _soft_rank(seen: _Seen) -> list[Any] | None:
    return _say(seen, "soft_rank", unlike=_middle(seen, "soft_rank_hi") < 1)


def _edge(seen: _Seen) -> list[Any] | None:
    low, high, noise, p_value = (
        _middle(seen, f"edge_{end}") for end in ("index_lo", "index_hi", "index_of_noise", "p_value")
    )
    shape = _shape(low, high) if p_value <= LEVEL else ""
    return _say(seen, "edge_index", *_rounded(noise), shape, p="edge_p_value")


def _shape(low: float, high: float) -> str:
    """Name the shape of an edge by the interval of its index, which is negative, zero or positive."""
    return "power law" if low > 0 else "concave" if high < 0 else "exponential"


def _breadth(seen: _Seen) -> list[Any] | None:
    noise, p_value = _middle(seen, "breadth_of_noise"), _middle(seen, "breadth_p_value")
    # The chance of as much on its side of noise: what is narrower is as unlike noise as what is broader.
    told = [{**one, "chance": min(p_value, 1 - p_value)} for one in seen]
    return _say(told, "breadth", *_rounded(noise), p="chance") if isfinite(p_value) else None


def _law(seen: _Seen) -> list[Any] | None:
    p_value = _middle(seen, "power_law_p_value")
    return _say(seen, "power_law_ratio", *_rounded(p_value)) if isfinite(p_value) else None


def _exponent(row: Row) -> list[Any] | None:
    """Tell the tail index that belongs to alpha, and to the ends of its interval."""
    mu = tail_index_from_alpha([row.alpha, row.alpha_lo, row.alpha_hi])
    return [None, significant(mu, 3)] if isfinite(mu[0]) else None


_EVIDENCE: Mapping[str, Callable[[_Seen], list[Any] | None]] = {
    "lost": _lost,
    "misfit": partial(_say, key="misfit", p="misfit_p_value"),
    "beyond": _beyond,
    "outliers": partial(_say, key="num_outliers", p="outlier_p_value"),
    "soft_rank": _soft_rank,
    "breadth": _breadth,
    "edge": _edge,
    "law": _law,
}
