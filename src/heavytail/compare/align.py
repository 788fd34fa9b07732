"""Which tensor of one model is which of another: by name, whatever a wrapper, a head or a container put before it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from heavytail.weights.layout import Plan

__all__ = ["Pair", "align", "match_names"]

_LEAST = 2  # components of a name that two names must share at their end


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

    Equal names belong together. Of the others, the beginning that must be exchanged for another to make names equal is
    found by the number of names that it explains, and exchanged where no two names become one; then the next. At last
    the same is tried with dots read as underscores, as some trainers write them.

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
    notes = []
    for separator in "._":
        while found := _exchange(
            [name for name in base if name not in matched],
            sorted(set(tuned) - set(matched.values())),
            separator,
        ):
            old, new, pairs = found
            matched |= pairs
            notes.append(_note(old, new, len(pairs)))
    return {name: matched[name] for name in base if name in matched}, tuple(notes)


def _note(old: str, new: str, count: int) -> str:
    names = "1 name" if count == 1 else f"{count} names"
    begins = "begins" if count == 1 else "begin"
    if old and new:
        return f"{names} {begins} with {old!r} in the first model and with {new!r} in the second"
    if old or new:
        return f"{names} {begins} with {old or new!r} in the {'first' if old else 'second'} model alone"
    return f"{names} {'differs' if count == 1 else 'differ'} by dots and underscores alone"


def _exchange(base: list[str], tuned: list[str], separator: str) -> tuple[str, str, dict[str, str]] | None:
    """Find the beginnings whose exchange matches most names, and what it matches."""
    keys = {name: name.replace(".", separator) for name in (*base, *tuned)}
    ends = defaultdict(list)
    for name in base:
        for at in _cuts(keys[name], separator):
            ends[keys[name][at:]].append(name)
    votes: Counter[tuple[str, str]] = Counter()
    pairs: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for name in tuned:
        key = keys[name]
        end = next((at for at in _cuts(key, separator) if key[at:] in ends), None)
        if end is None or len(ends[key[end:]]) > 1:
            continue
        (other,) = ends[key[end:]]
        exchange = keys[other][: len(keys[other]) - len(key) + end], key[:end]
        if other not in pairs[exchange]:
            votes[exchange] += 1
            pairs[exchange][other] = name
    if not votes:
        return None
    (old, new), _ = min(votes.items(), key=lambda item: (-item[1], item[0]))
    return old, new, pairs[old, new]


def _cuts(key: str, separator: str) -> list[int]:
    """Give where a name may be cut so that enough components are left, the longest end first."""
    places = [0, *(i + 1 for i, letter in enumerate(key) if letter == separator)]
    return places[: max(1, len(places) - _LEAST + 1)]
