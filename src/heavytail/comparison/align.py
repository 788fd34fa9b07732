"""Which tensor of one model is which of another: by name, whatever a wrapper, a head or a container put before it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from heavytail.weights.layout import Plan

__all__ = ["Pair", "align", "match_names"]

_LEAST = 2  # components that two names must share at their end, where that is not all of one of them
_MOST = 16  # names of one end: more of them tell nothing
_NOTES = 8  # exchanges of beginnings that are told one by one

Exchange = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Pair:
    """What is planned of one tensor in both models; None where a model lacks it.

    Attributes:
        base: in the base.
        tuned: in the other one.
    """

    base: Plan | None
    tuned: Plan | None

    @property
    def name(self) -> str:
        """Name of the tensor, that in the base where it is there."""
        plan = self.base or self.tuned
        assert plan is not None
        return plan.tensor.name


def align(base: Iterable[Plan], tuned: Iterable[Plan]) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    """Align the tensors of two models by name.

    Args:
        base: plans of the base's tensors.
        tuned: plans of the other model's.

    Returns:
        Pairs in the base's order, then what only the other model has; and notes on how names were matched.
    """
    there = {plan.tensor.name: plan for plan in tuned}
    base = tuple(base)
    names, notes = match_names([plan.tensor.name for plan in base], list(there))
    pairs = [Pair(plan, there.get(names.get(plan.tensor.name, ""))) for plan in base]
    taken = set(names.values())
    pairs += [Pair(None, plan) for name, plan in there.items() if name not in taken]
    return tuple(pairs), notes


def match_names(base: Iterable[str], tuned: Iterable[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Match names of one model to those of another.

    Equal names belong together. Of the others, each pair that ends alike proposes to exchange the beginning of the one
    for that of the other, and the exchanges that most pairs propose are made first. Two that would give one name to two
    others, and have as many proposals, are not made; nor is one that would rename a part of a model of which most names
    are not in the other, as two heads may begin alike. At last the same is tried with dots read as underscores, as some
    trainers write them.

    Args:
        base: names in the base, unique.
        tuned: names in the other model, unique.

    Returns:
        The name in the other model for each name of the base that has one, and a note for each exchange.

    Example:
        >>> match_names(["layer.0.weight", "head.weight"], ["bert.layer.0.weight", "classifier.weight"])
        ({'layer.0.weight': 'bert.layer.0.weight'}, ("1 name begins with 'bert.' in the second model alone",))
    """
    base, tuned = list(base), list(tuned)
    matched = {name: name for name in set(base) & set(tuned)}
    exchanges: dict[Exchange, int] = {}
    for separator in "._":
        while found := _exchanges(
            [name for name in base if name not in matched],
            sorted(set(tuned) - set(matched.values())),
            separator,
        ):
            for exchange, pairs in found.items():
                matched |= pairs
                exchanges[exchange] = exchanges.get(exchange, 0) + len(pairs)
    most = sorted(exchanges.items(), key=lambda item: -item[1])
    notes = [_note(old, new, count) for (old, new), count in most[:_NOTES]]
    if rest := most[_NOTES:]:
        notes.append(f"{sum(count for _, count in rest)} more names begin in {len(rest)} other ways")
    return {name: matched[name] for name in base if name in matched}, tuple(notes)


def _note(old: str, new: str, count: int) -> str:
    names = "1 name" if count == 1 else f"{count} names"
    begins = "begins" if count == 1 else "begin"
    if old and new:
        return f"{names} {begins} with {old!r} in the first model and with {new!r} in the second"
    if old or new:
        return f"{names} {begins} with {old or new!r} in the {'first' if old else 'second'} model alone"
    return f"{names} {'differs' if count == 1 else 'differ'} by dots and underscores alone"


def _exchanges(base: list[str], tuned: list[str], separator: str) -> dict[Exchange, dict[str, str]]:
    """Find the beginnings whose exchange matches most names, and what each of them matches."""
    proposed = _proposed(base, tuned, separator)
    begins = [_beginnings(names, separator) for names in (base, tuned)]
    ranks: dict[tuple[int, bool], list[Exchange]] = defaultdict(list)
    for exchange, pairs in proposed.items():
        if not all(exchange) or any(2 * len(pairs) > at[one] for at, one in zip(begins, exchange, strict=True)):
            ranks[-len(pairs), all(exchange)].append(exchange)
    found = {}
    seen: set[tuple[int, str]] = set()
    for _, equals in sorted(ranks.items()):
        named = [pair for exchange in equals for pair in proposed[exchange].items()]
        claims = Counter(claim for pair in named for claim in enumerate(pair))
        for exchange in sorted(equals):
            pairs = proposed[exchange]
            if all(claims[claim] == 1 and claim not in seen for pair in pairs.items() for claim in enumerate(pair)):
                found[exchange] = pairs
        seen |= set(claims)
    return found


def _proposed(base: list[str], tuned: list[str], separator: str) -> dict[Exchange, dict[str, str]]:
    """Give for each exchange of beginnings the names that become equal by it; each pair is as long alike as may be."""
    whole = {name.replace(".", separator): name for name in base}
    ends = defaultdict(list)
    for key, name in whole.items():
        for at in _cuts(key, separator):
            ends[key[at:]].append((key[:at], name))
    proposed: dict[Exchange, dict[str, str]] = defaultdict(dict)
    for name in tuned:
        key = name.replace(".", separator)
        for at in _cuts(key, separator):
            alike = ends.get(key[at:], [])
            if len(alike) > _MOST:
                alike = [("", whole[key[at:]])] if key[at:] in whole else []
            alike = [(old, other) for old, other in alike if _enough(other, len(old), name, at)]
            for old, other in alike:
                proposed[old, key[:at]].setdefault(other, name)
            if alike:
                break
    return proposed


def _enough(base: str, first: int, tuned: str, second: int) -> bool:
    """Whether names that are equal from these places on have enough in common: all of one, or several components."""
    if 0 in (first, second):
        return True
    return max(base.count(".", first), tuned.count(".", second)) + 1 >= _LEAST


def _beginnings(names: list[str], separator: str) -> Counter[str]:
    """Count the names of each beginning."""
    keys = (name.replace(".", separator) for name in names)
    return Counter(key[:at] for key in keys for at in _cuts(key, separator))


def _cuts(key: str, separator: str) -> list[int]:
    """Give where a name may be cut, the longest end first."""
    return [0, *(i + 1 for i, letter in enumerate(key) if letter == separator)]
