"""The evidence for a layer's power law as the page's script reads it: plain, rounded, thinned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heavytail.diagnosis.tail import Evidence, Tail
from heavytail.report.curves import significant, thinned
from heavytail.tails.alternatives import LEVEL, Verdict
from heavytail.tails.fingers import Fingers
from heavytail.tails.interval import Profile, accepted
from heavytail.tails.laws import PowerLaw
from heavytail.tails.likelihood import Fit
from heavytail.tails.power_law import PowerLawFit

__all__ = ["tail_payload"]

_STARTS = 32  # of a profile at most: one in fifteen pixels
_POINTS = 12  # of the curve of a law
_LEAST = -12.0  # log10 of the smallest probability that is told


def tail_payload(tail: Tail | None) -> dict[str, Any] | None:
    """Give what the page shows of a tail beyond the columns of the table; None where there is nothing.

    Args:
        tail: the tail of a row.

    Returns:
        The interval and the p-value of the excess over noise, or why there are none; the profile; where replicates
        were asked for, their number, whether the power law fits by them, whether it is rejected all the same, why the
        verdict is what it is, the laws, the exponent without the largest eigenvalues, and the power law from other
        starts.
    """
    if tail is None or tail.fit is None or tail.profile is None or not tail.profile.alpha.size:
        return None
    score = np.array([tail.score.excess_lo, tail.score.excess_hi, tail.score.p_value])
    found: dict[str, Any] = {
        "score": tail.score.reason or significant(score, 3),
        "profile": _profile(tail.profile, tail.fit),
    }
    return found if tail.evidence is None else found | _evidence(tail.evidence, tail.fit)


def _profile(found: Profile, fit: PowerLawFit) -> dict[str, Any]:
    """Give the size of each tail, its exponent, its distance, and whether it has a part in the interval.

    The distance is that of a fit, which includes half a step of the empirical distribution.
    """
    good = accepted(fit, found, eigenvalues=True)
    kept = thinned(np.arange(found.alpha.size, dtype=np.float64), _STARTS).astype(np.intp)
    return {
        "n": found.n_tail[kept].tolist(),
        "alpha": significant(found.alpha[kept], 3),
        "D": significant((found.D + 0.5 / found.n_tail)[kept], 2),
        "good": good[kept].astype(int).tolist(),
    }


def _evidence(evidence: Evidence, fit: PowerLawFit) -> dict[str, Any]:
    return {
        "replicates": evidence.bootstrap.count,
        "fits": evidence.bootstrap.p_value > LEVEL,
        "rejected": evidence.verdict.rejected,
        "why": evidence.verdict.reason,
        "laws": list(_laws(evidence.verdict, fit.xmax)),
        "fingers": evidence.fingers and _fingers(evidence.fingers),
        "starts": [[name, *_start(found)] for name, found in evidence.starts.items()],
        "farms": significant(np.array([evidence.farms]))[0],
        "e_tpl": evidence.e_tpl
        and [*significant(np.array([evidence.e_tpl.law.xmin, evidence.e_tpl.n])), _parameters(evidence.e_tpl)],
    }


def _laws(verdict: Verdict, end: float) -> Iterator[list[Any]]:
    """Give the name of each law, its parameters, its log-likelihood beyond that of the power law, p, and its curve.

    p is of the test between it and the power law. A law at the border, which is the power law, has no curve.
    """
    pairs = [({c.first, c.second} - {PowerLaw.name}, c.p_value) for c in verdict.comparisons]
    against = {others.pop(): p_value for others, p_value in pairs if len(others) == 1}
    for name, fit in verdict.fits.items():
        gain = fit.log_likelihood - verdict.fits[PowerLaw.name].log_likelihood
        numbers = significant(np.array([gain, against[name]]), 3) if name in against else [0, None]
        drawn = name != PowerLaw.name and not fit.at_border
        yield [name, _parameters(fit), *numbers, _curve(fit, end) if drawn else None]


def _parameters(fit: Fit) -> list[list[Any]]:
    """Give name, value and standard error of each parameter."""
    return [[name, *significant(np.array([value, fit.errors[name]]), 3)] for name, value in fit.law.parameters.items()]


def _curve(fit: Fit, end: float) -> list[float | int | None]:
    """Give log10 of the survival function at equal steps of log x from the start of the law to the largest point."""
    x = np.geomspace(fit.law.xmin, end, _POINTS)
    with np.errstate(divide="ignore"):
        logs: NDArray[np.float64] = np.log10(fit.law.sf(x))
    return [int(y) if y.is_integer() else y for y in np.maximum(logs, _LEAST).round(3).tolist()]


def _fingers(fingers: Fingers) -> dict[str, Any]:
    return {"count": fingers.count, "alphas": significant(np.array(fingers.alphas))}


def _start(fit: PowerLawFit) -> list[Any]:
    return significant(np.array([fit.xmin, fit.n_tail, fit.alpha, fit.sigma, fit.D]), 4)
