"""What a comparison found, in sentences that claim no more than its numbers bear."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, log10
from statistics import median
from typing import Any

from heavytail.comparison.row import ChangeRow
from heavytail.report.attention import SEVERITIES, Finding
from heavytail.report.html import plural

__all__ = ["attention", "in_short", "percent"]

_GROUP_FROM = 4
_FAR = 3.0  # robust deviations of the log of the relative change
_TIMES = 2.0  # and so many times the median: layers that all change alike are told apart by less than matters
_FEWEST = 8  # layers among which one can be far from the others
_MAD = 1.4826  # times the median absolute deviation: the standard deviation of a normal law
_UNDECIDED = "undecided"

_TYPICAL: Mapping[str, str] = {
    "noise": "is what noise of its shape would be, without a direction that stands out: typical of quantisation and "
    "other rounding",
    "spiked": "is noise and a few directions that stand out of it{ranks}",
    "low rank": "has few directions and nothing beside them{ranks}: typical of an adapter, alone or merged into the "
    "weights",
    "dense": "goes in many directions at once: neither noise nor a few directions beside it",
}
"""What is said of the kind of change that most layers have."""


def in_short(rows: Iterable[ChangeRow], summary: Mapping[str, Any]) -> tuple[str, ...]:
    """Say in a few sentences what became of the model as a whole.

    Args:
        rows: the rows of a comparison.
        summary: its summary (see `report.summarise`).

    Returns:
        Sentences: how much changed, what kind of change it is where one kind prevails, other types of numbers, and
        whether there are new directions.
    """
    ok = [row for row in rows if row.status == "ok"]
    said = (*_extent(ok, summary), _adapter(ok, summary), _prevailing(ok), _retyped(ok), _new_directions(summary))
    return tuple(filter(None, said))


def percent(share: float) -> str:
    """Write a share for people.

    Example:
        >>> percent(0.00878), percent(4.2253), percent(2e-7)
        ('0.88\u202f%', '423\u202f%', 'less than 0.001\u202f%')
    """
    number = 100 * share
    if 0 < number < 0.001:
        return "less than 0.001\u202f%"
    return f"{number:.0f}\u202f%" if number >= 99.5 else f"{number:.2g}\u202f%"


def _extent(ok: Sequence[ChangeRow], summary: Mapping[str, Any]) -> list[str]:
    changed = sum(row.change != "none" for row in ok)
    vectors, moved = summary["vectors"], summary["vectors_changed"]
    if not changed and not moved:
        return [f"Nothing changed: every number of {_all(len(ok), vectors)} is the same."]
    size = summary["relative_change"]
    whole = "the norm of the adapted ones" if summary["adapter"] else "their norm over all"
    by = f", by {percent(size)} of {whole}" if changed and isfinite(size) else ""
    others = "; the others are exactly as they were" if 0 < changed < len(ok) else ""
    said = f"{changed or 'None'} of {plural(len(ok), 'matrix', 'matrices')} changed{by}{others}."
    return [f"{said} {moved or 'None'} of {plural(vectors, 'vector')} changed." if vectors else said]


def _all(matrices: int, vectors: int) -> str:
    return plural(matrices, "matrix", "matrices") + (f" and {plural(vectors, 'vector')}" if vectors else "")


def _adapter(ok: Sequence[ChangeRow], summary: Mapping[str, Any]) -> str:
    """Say that the other model is an adapter, and what it leaves alone."""
    if not summary["adapter"]:
        return ""
    untouched = sum(row.change == "none" for row in ok)
    matrices = plural(untouched, "matrix", "matrices")
    return "The other model is an adapter of the base" + (f", which leaves {matrices} alone." if untouched else ".")


def _prevailing(ok: Sequence[ChangeRow]) -> str:
    """Say what the change of most layers is; nothing where no kind is that of half of them."""
    told = [row for row in ok if row.change not in ("", "none")]
    (kind, count), *_ = Counter(row.change for row in told).most_common(1) or [("", 0)]
    if len(told) < 2 or 2 * count < len(told):
        return ""
    alike = [row for row in told if row.change == kind]
    ranks = [row.suggested_rank for row in alike if isfinite(row.suggested_rank)]
    odd = sum(row.delta_fits == 0 for row in alike)
    but = f"; in {odd} of them the bulk is not quite shaped like noise" if odd else ""
    large = "changed matrices" + (" that are large enough to tell" if any(not row.change for row in ok) else "")
    which = f"{count} of the {len(told)} {large}" if count < len(told) else f"all {count} {large}"
    return f"The change of {which} {_TYPICAL[kind].format(ranks=_ranks(ranks))}{but}."


def _ranks(ranks: Sequence[float]) -> str:
    if not ranks:
        return ""
    low, high = min(ranks), max(ranks)
    return f", {low:.0f} each" if low == high else f", {low:.0f} to {high:.0f} of them (median {median(ranks):.0f})"


def _retyped(ok: Sequence[ChangeRow]) -> str:
    """Say which types of numbers became others."""
    pairs = Counter((row.base_dtype, row.tuned_dtype) for row in ok if row.base_dtype and row.tuned_dtype)
    said = [
        f"{plural(count, 'matrix', 'matrices')} went from {before} to {after}"
        for (before, after), count in pairs.most_common()
        if before != after
    ]
    return f"{'; '.join(said)}." if said else ""


def _new_directions(summary: Mapping[str, Any]) -> str:
    directions, intruders, open_ = (summary[name] for name in ("directions", "intruders", "undecided"))
    if not isfinite(directions) or not directions:
        return ""
    but = f" Of {open_} it could not be decided." if open_ > 0 else ""
    if not intruders:
        known = "known to be new" if open_ > 0 else "new"
        return f"None of the {directions} leading directions that were looked at is {known}.{but}"
    return (
        f"{intruders} of {directions} leading directions {'is' if intruders == 1 else 'are'} far from "
        f"all directions of the base: intruder dimensions.{but}"
    )


@dataclass(frozen=True, slots=True)
class _Check:
    """A rule: the rows that it finds with what it says of each, the strongest first, and what it says of many."""

    severity: str
    find: Callable[[Sequence[ChangeRow]], Iterable[tuple[ChangeRow, str]]]
    many: str


def attention(rows: Iterable[ChangeRow]) -> tuple[Finding, ...]:
    """Find the layers that need attention, the severest first, those of one kind of finding grouped when many.

    Args:
        rows: the rows of a comparison, in its order.

    Returns:
        The findings; none if there is nothing to look at.
    """
    rows = tuple(rows)
    findings = [finding for check in _CHECKS for finding in _apply(check, rows)]
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))


def _apply(check: _Check, rows: Sequence[ChangeRow]) -> tuple[Finding, ...]:
    found = tuple(Finding(check.severity, row.name, sentence) for row, sentence in check.find(rows))
    if len(found) < _GROUP_FROM:
        return found
    said = check.many.format(rows=len(rows), fitted=len(_fitted(rows)), chance=round(0.05 * len(_fitted(rows))))
    return (Finding(check.severity, found[0].name, f"{len(found)} {said}", found),)


def _of_status(status: str, text: str) -> Callable[[Sequence[ChangeRow]], Iterable[tuple[ChangeRow, str]]]:
    def find(rows: Sequence[ChangeRow]) -> Iterable[tuple[ChangeRow, str]]:
        return ((row, text + (row.reason or "no reason is recorded")) for row in rows if row.status == status)

    return find


def _unmatched(matrix: bool) -> Callable[[Sequence[ChangeRow]], Iterable[tuple[ChangeRow, str]]]:
    def find(rows: Sequence[ChangeRow]) -> Iterable[tuple[ChangeRow, str]]:
        for row in rows:
            if row.status == "unmatched" and isfinite(row.N) == matrix:
                alone = not (row.base_dtype and row.tuned_dtype)
                yield row, row.reason if alone else f"does not match: {row.reason}"

    return find


def _intruders(rows: Sequence[ChangeRow]) -> Iterable[tuple[ChangeRow, str]]:
    found = [row for row in rows if row.intruders > 0]
    for row in sorted(found, key=lambda row: -row.intruders):
        are = "is" if row.intruders == 1 else "are"
        text = f"of its {row.directions:.0f} leading directions {are} far from all of the base's (intruder dimensions)"
        yield row, f"{row.intruders:.0f} {text}"


def _far(rows: Sequence[ChangeRow]) -> Iterable[tuple[ChangeRow, str]]:
    """Find the layers that changed far more than the others do, on a logarithmic scale."""
    moved = [row for row in rows if row.status == "ok" and 0 < row.relative_change < inf]
    if len(moved) < _FEWEST:
        return
    middle = median(row.relative_change for row in moved)
    spread = _MAD * median(abs(log10(row.relative_change / middle)) for row in moved)
    for row in sorted(moved, key=lambda row: -row.relative_change):
        times = row.relative_change / middle
        if times >= _TIMES and log10(times) > _FAR * spread:
            how = f"{times:.2g}" if times < 99.5 else f"{times:.0f}"
            yield row, f"changed by {percent(row.relative_change)}, {how} times the median of the changed layers"


def _from_zero(rows: Sequence[ChangeRow]) -> Iterable[tuple[ChangeRow, str]]:
    found = (row for row in rows if row.status == "ok" and row.relative_change == inf)
    return ((row, "was zero in the base, so its change has no relative size") for row in found)


def _fitted(rows: Sequence[ChangeRow]) -> list[ChangeRow]:
    """Give the rows whose alpha has a change with an interval."""
    return [row for row in rows if (alpha := row.metrics.get("alpha")) is not None and alpha.lo < alpha.hi]


def _exponent(rows: Sequence[ChangeRow]) -> Iterable[tuple[ChangeRow, str]]:
    beyond = [row for row in _fitted(rows) if row.metrics["alpha"].lo > 0 or row.metrics["alpha"].hi < 0]
    for row in sorted(beyond, key=lambda row: -abs(row.metrics["alpha"].change)):
        alpha = row.metrics["alpha"]
        way = "rose" if alpha.change > 0 else "fell"
        ends = sorted((abs(alpha.lo), abs(alpha.hi)))
        interval = f"95 % interval {ends[0]:.2f} to {ends[1]:.2f}"
        yield row, f"alpha {way} from {alpha.base:.2f} to {alpha.tuned:.2f}, by {abs(alpha.change):.2f} ({interval})"


def _phase(rows: Sequence[ChangeRow]) -> Iterable[tuple[ChangeRow, str]]:
    for row in rows:
        phases = row.base_phase, row.tuned_phase
        if all(phases) and phases[0] != phases[1] and _UNDECIDED not in phases:
            yield row, f"its phase was {phases[0]} and is {phases[1]}"


_CHECKS = (
    _Check("problem", _of_status("failed", "could not be compared: "), "layers could not be compared"),
    _Check("warning", _intruders, "layers have leading directions far from all of the base's (intruder dimensions)"),
    _Check("warning", _far, "layers changed far more than the others"),
    _Check("warning", _unmatched(matrix=True), "matrices have no counterpart in the other model"),
    _Check("warning", _of_status("unsupported", "cannot be read as numbers: "), "tensors cannot be read as numbers"),
    _Check("note", _from_zero, "layers were zero in the base, so their change has no relative size"),
    _Check(
        "note",
        _exponent,
        "layers: alpha changed by more than its 95 % interval allows for; of {fitted} layers without any change it "
        "would seem so in about {chance}",
    ),
    _Check("note", _phase, "layers have another phase"),
    _Check("note", _unmatched(matrix=False), "tensors that are no matrices have no counterpart in the other model"),
)
