"""What needs attention first, in sentences that claim no more than the numbers bear."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf, isfinite, isnan, sqrt

from heavytail.diagnosis.noise import Noise
from heavytail.diagnosis.phases import Phase
from heavytail.diagnosis.row import Row
from heavytail.diagnosis.tail import BAND, Tail
from heavytail.report.noise_verdict import all_noise
from heavytail.rmt.ensembles.phases import PHASES
from heavytail.tails.alternatives import LEVEL, UNDECIDED
from heavytail.tails.fingers import FALL, Fingers
from heavytail.tails.laws import PowerLaw

__all__ = ["SEVERITIES", "Finding", "attention"]

SEVERITIES = ("problem", "warning", "note")

_GROUP_FROM = 4
_RANK_LOSS = 0.1
_ENTROPY = 0.4
_DISTANCE = 0.1
_KS_1_PERCENT = 1.63
_WIDEST = BAND[1] - BAND[0]
_SURE = 1.0  # standard errors that alpha of a power law falls by in 1 % of samples, as its largest points are left out
_HEAVIER = 1.645  # tail score that noise exceeds in 5 % of samples
_WHOLE = 0.03
_NOISE, _COLLAPSE = PHASES[0], PHASES[-1]
_LIKELY = 0.9  # probability above which a layer is called random-like: smaller ones are often of small layers
_MOST = 3 / 4  # share of the layers above which a model is like them


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to look at.

    Attributes:
        severity: one of `SEVERITIES`.
        name: the row it is about; of a group, the row where it is strongest.
        sentence: what was found.
        members: the findings of a group, strongest first; empty for a single row.
    """

    severity: str
    name: str
    sentence: str
    members: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class _Check:
    """A rule: what it says of one row (None where it does not apply), and of many."""

    severity: str
    one: Callable[[Row], str | None]
    many: str
    strength: Callable[[Row], float] = lambda row: 0.0
    group_from: int = _GROUP_FROM


def attention(
    rows: Iterable[Row],
    tails: Mapping[str, Tail],
    phases: Mapping[str, Phase] | None = None,
    noise: Mapping[str, Noise] | None = None,
) -> tuple[Finding, ...]:
    """Find what needs attention, the severest first, rows of one kind of finding grouped when they are many.

    Args:
        rows: the rows of a report, in the order of the source.
        tails: their tails by the row's name, for what a few eigenvalues decide; rows without are judged all the same.
        phases: their phases by the row's name, for how many directions a collapse has lost; rows without as above.
        noise: their noise by the row's name, for phases that it explains; rows without as above.

    Returns:
        The findings; none if there is nothing to look at.
    """
    rows = tuple(rows)
    of_phases = (_collapsed(phases or {}), *_noise_like(rows), _explained(noise or {}))
    checks = (*of_phases, *_CHECKS, *_fingers(tails), _bent(tails))
    findings = [finding for check in checks for finding in _apply(check, rows)]
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))


def _apply(check: _Check, rows: tuple[Row, ...]) -> tuple[Finding, ...]:
    strongest_first = sorted(rows, key=check.strength, reverse=True)
    found = tuple(
        Finding(check.severity, row.name, sentence)
        for row in strongest_first
        if (sentence := check.one(row)) is not None
    )
    if len(found) < check.group_from:
        return found
    return (Finding(check.severity, found[0].name, f"{len(found)} layers: {check.many}", found),)


def _failed(row: Row) -> str | None:
    return f"the analysis failed: {row.reason or 'no reason is recorded'}" if row.status == "failed" else None


def _unsupported(row: Row) -> str | None:
    if row.status != "unsupported":
        return None
    return f"cannot be read as numbers: {row.reason or 'no reason is recorded'}"


def _interval(row: Row) -> str:
    if isnan(row.alpha_lo):
        return f"alpha {_number(row.alpha)} (without an interval)"
    low, high = _number(row.alpha_lo), _number(row.alpha_hi)
    return f"alpha {_number(row.alpha)} (95 % interval {low} to {high})"


def _over_trained(row: Row) -> str | None:
    return f"{_interval(row)} lies below 2, which the theory reads as over-trained" if _warns(row, "over-") else None


def _under_trained(row: Row) -> str | None:
    return f"{_interval(row)} lies above 6, which the theory reads as under-trained" if _warns(row, "under-") else None


def _warns(row: Row, start: str) -> bool:
    return row.status == "ok" and row.warning.startswith(start)


def _lost_share(row: Row) -> float:
    return row.rank_loss / row.num_evals if row.num_evals > 0 and isfinite(row.rank_loss) else 0.0


def _rank_loss(row: Row) -> str | None:
    share = _lost_share(row)
    if row.status != "ok" or share < _RANK_LOSS or row.phase == _COLLAPSE:
        return None
    return (
        f"{row.rank_loss:.0f} of {row.num_evals:.0f} singular values ({share:.0%}) "
        "cannot be told from rounding noise: the matrix has lost rank"
    )


def _low_entropy(row: Row) -> str | None:
    if row.status != "ok" or not row.entropy < _ENTROPY:
        return None
    return f"entropy {row.entropy:.2f} on a scale from 0 to 1: few directions carry nearly all of the weight"


def _no_tail(row: Row) -> str | None:
    if row.status != "ok" or not isnan(row.alpha):
        return None
    reasons = [reason for reason in row.reason.split("; ") if "no noise bulk" not in reason]
    return f"no tail was fitted: {'; '.join(filter(None, reasons)) or 'no reason is recorded'}"


def _poor_fit(row: Row) -> str | None:
    if row.status != "ok" or isnan(row.alpha) or isfinite(row.p_value):
        return None
    chance = _KS_1_PERCENT / sqrt(row.num_pl_spikes) if row.num_pl_spikes > 0 else inf
    if isnan(row.D) or max(_DISTANCE, chance) >= row.D:
        return None
    return f"the power law fits poorly (D = {row.D:.2f}): read alpha {_number(row.alpha)} with care"


def _rejected(row: Row) -> str | None:
    if row.status != "ok" or not row.p_value <= LEVEL:
        return None
    return f"the power law is rejected (p = {row.p_value:.2g}): alpha {_number(row.alpha)} is a description at most"


def _bent(tails: Mapping[str, Tail]) -> _Check:
    """Make the rule on power laws that pass their own test, and lose to laws of which none is clearly the best."""
    losers = {name for name, tail in tails.items() if tail.evidence is not None and tail.evidence.verdict.rejected}

    def one(row: Row) -> str | None:
        if row.status != "ok" or row.tail != UNDECIDED or row.p_value <= LEVEL or row.name not in losers:
            return None
        return f"the power law loses to laws that bend: alpha {_number(row.alpha)} is a description at most"

    return _Check("note", one, "the power law loses to laws that bend, and alpha is a description at most")


def _other_law(row: Row) -> str | None:
    if row.status != "ok" or row.tail in ("", UNDECIDED, PowerLaw.name):
        return None
    return f"its tail is {'an' if row.tail[0] in 'aeiou' else 'a'} {row.tail} rather than a power law"


def _too_wide(row: Row) -> str | None:
    if row.status != "ok" or row.warning or not row.alpha_hi - row.alpha_lo > _WIDEST:
        return None
    return (
        f"alpha could be anything from {row.alpha_lo:.1f} to {row.alpha_hi:.1f}: "
        "too wide a range for a statement about training"
    )


def _fingers(tails: Mapping[str, Tail]) -> tuple[_Check, _Check]:
    """Make the rules on exponents that a few eigenvalues decide: those that stay low without them, and the others."""
    known = {name: tail.evidence.fingers for name, tail in tails.items() if tail.evidence is not None}
    falls = {name: found for name, found in known.items() if found is not None and found.count and found.fall > _SURE}

    def check(*, low: bool, say: Callable[[Fingers], str], many: str) -> _Check:
        chosen = {name: found for name, found in falls.items() if _stays_low(found) is low}
        return _Check(
            "note",
            lambda row: say(chosen[row.name]) if row.status == "ok" and row.name in chosen else None,
            many,
            lambda row: chosen[row.name].fall if row.name in chosen else -inf,
        )

    return (
        check(
            low=True,
            say=_hangs,
            many="alpha hangs on a few of the largest eigenvalues and falls by more than 1 without them",
        ),
        check(
            low=False,
            say=_jumps,
            many="alpha jumps by more than 1 as the largest eigenvalues are left out: it is no property of the layer",
        ),
    )


def _stays_low(found: Fingers) -> bool:
    """Whether alpha, once it has fallen, stays so as more points are left out."""
    return not any(alpha >= found.fit.alpha - FALL for alpha in found.alphas[found.count :])


def _hangs(found: Fingers) -> str:
    largest = "largest eigenvalue" if found.count == 1 else f"{found.count} largest eigenvalues"
    before, after = _number(found.fit.alpha), _number(found.clipped.alpha)
    return f"alpha falls from {before} to {after} without the {largest}, on which it hangs"


def _jumps(found: Fingers) -> str:
    known = [alpha for alpha in found.alphas if isfinite(alpha)]
    return (
        f"alpha jumps between {min(known):.1f} and {max(known):.1f} as its 1 to {len(found.alphas) - 1} "
        "largest eigenvalues are left out: it is no property of the layer"
    )


def _traps(row: Row) -> str | None:
    if row.status != "ok" or not row.num_traps > 0:
        return None
    if row.num_traps == 1:
        return "1 trap: a single entry, row or column so large that it makes an eigenvalue of its own"
    return f"{row.num_traps:.0f} traps: {_OWN}"


def _only_noise(row: Row) -> str | None:
    if row.status != "ok" or row.num_spikes != 0 or row.num_traps > 0 or abs(row.sigma_mp - 1) > _WHOLE:
        return None
    if row.tail_score > _HEAVIER or row.phase not in ("", _NOISE, UNDECIDED):
        return None
    if row.phase == UNDECIDED and isnan(row.phase_probability):  # narrower than noise
        return None
    return "its spectrum shows nothing beyond noise: untrained, or reset?"


def _noise_like(rows: tuple[Row, ...]) -> tuple[_Check, ...]:
    """Make the rules on layers of nothing but noise: a few among others stand out, nearly all are one finding."""
    known = [row for row in rows if row.status == "ok" and row.phase]
    alike = {row.name for row in known if row.phase == _NOISE}
    others = sum(row.phase not in (_NOISE, UNDECIDED) for row in known)
    whole = len(alike) > _MOST * len(known)
    sure = {row.name for row in known if row.name in alike and row.phase_probability > _LIKELY}
    apart = sure if others > _MOST * len(known) else set()

    def stands_out(row: Row) -> str | None:
        if row.status != "ok" or row.name not in apart:
            return None
        return f"random-like (probability {_probability(row)}), {_APART}"

    def only_noise(row: Row) -> str | None:
        if row.status == "ok" and whole and row.name in alike:
            return f"random-like (probability {_probability(row)}), as nearly all of the model"
        return None if row.name in apart else _only_noise(row)

    return (
        _Check("note", stands_out, f"random-like, {_APART}"),
        _Check(
            "note",
            only_noise,
            f"the spectrum shows nothing beyond noise: {'is the model trained?' if whole else 'untrained, or reset?'}",
            group_from=2 if whole else _GROUP_FROM,
        ),
    )


def _collapsed(phases: Mapping[str, Phase]) -> _Check:
    """Make the rule on layers that have lost a large part of their directions."""

    def lost(row: Row) -> tuple[int, int]:
        seen = phases[row.name].evidence if row.name in phases else ()
        return sum(one.M - one.rank for one in seen), sum(one.M for one in seen)

    def one(row: Row) -> str | None:
        if row.status != "ok" or row.phase != _COLLAPSE:
            return None
        gone, of = lost(row)
        what = f"{gone} of {of} directions ({gone / of:.0%}) are" if of else "a large part of the directions is"
        return f"rank collapse (probability {_probability(row)}): {what} lost, their eigenvalues nil beside the others"

    return _Check(
        "warning",
        one,
        "rank collapse, a large part of the directions is lost",
        lambda row: lost(row)[0] / max(1, lost(row)[1]),
    )


def _explained(noise: Mapping[str, Noise]) -> _Check:
    """Make the rule on layers whose phase is one of more than noise, and whose noise explains them all the same."""
    return _Check(
        "note",
        lambda row: all_noise(row, noise.get(row.name)) or None if row.status == "ok" else None,
        "the spectrum alone shows more than noise, but noise with rows, columns or entries as unequal explains it",
        group_from=2,
    )


def _probability(row: Row) -> str:
    return "over 0.99" if row.phase_probability > 0.995 else f"{row.phase_probability:.2f}"


def _number(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.3g}"


_APART = "unlike the rest of the model: untrained, frozen, or its signals too weak to show"
_OWN = "single entries, rows or columns so large that they make eigenvalues of their own"
_CHECKS = (
    _Check("problem", _failed, "the analysis failed"),
    _Check("warning", _unsupported, "the weights cannot be read as numbers"),
    _Check(
        "warning",
        _over_trained,
        "alpha lies below 2, which the theory reads as over-trained",
        lambda row: -row.alpha if _warns(row, "over-") else -inf,
    ),
    _Check("warning", _rank_loss, f"at least {_RANK_LOSS:.0%} of the rank is lost to rounding noise", _lost_share),
    _Check(
        "note",
        _under_trained,
        "alpha lies above 6, which the theory reads as under-trained",
        lambda row: row.alpha if _warns(row, "under-") else -inf,
    ),
    _Check(
        "note",
        _low_entropy,
        f"entropy below {_ENTROPY}: few directions carry nearly all of the weight",
        lambda row: -row.entropy if isfinite(row.entropy) else -inf,
    ),
    _Check("note", _no_tail, "no tail was fitted"),
    _Check(
        "note",
        _poor_fit,
        "the power law fits the tail poorly; read alpha with care",
        lambda row: row.D if isfinite(row.D) else -inf,
    ),
    _Check(
        "note",
        _rejected,
        f"the power law is rejected (p ≤ {LEVEL:g}), and alpha is a description at most",
        lambda row: -row.p_value if isfinite(row.p_value) else -inf,
    ),
    _Check("note", _other_law, "the tail follows another law rather than a power law"),
    _Check(
        "note",
        _too_wide,
        f"the interval of alpha is wider than the band from {BAND[0]:g} to {BAND[1]:g}, "
        "too wide for a statement about training",
        lambda row: row.alpha_hi - row.alpha_lo if isfinite(row.alpha_lo) else -inf,
    ),
    _Check(
        "note",
        _traps,
        f"traps: {_OWN}",
        lambda row: row.num_traps if isfinite(row.num_traps) else -inf,
    ),
)
