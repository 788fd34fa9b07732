"""Whether models are of one family, as far as their weights say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, product, takewhile
from typing import NamedTuple, Protocol

from heavytail.diagnosis.row import Row

__all__ = ["ALIKE", "least_alike", "patterns", "same_family", "shared", "similarity"]

ALIKE = 0.8
"""Similarity from which two models count as one family.

Of 28 published networks, those of one architecture (ResNet-20/32/56 for CIFAR-10, EfficientNet-Lite0/1, CREPE tiny and
full, CHGNet 0.2.0, 0.3.0 and its fine-tune) have 1.0, and networks of different ones at most 0.71, most of them 0. One
pair lies between: two face detectors of one design but different depths, with 0.75.
"""


_DEEPEST = 4  # components that may stand before all names, of wrappers in wrappers

_Patterns = frozenset[tuple[str, str]]


class _HasRows(Protocol):
    @property
    def rows(self) -> Sequence[Row]: ...


def patterns(rows: Iterable[Row]) -> frozenset[tuple[str, str]]:
    """Give what the matrices of a model are: their names with each number replaced by #, and their kinds.

    The parts of a fused tensor count once; what is no matrix (biases, norms, buffers) does not count.

    Example:
        >>> rows = [Row(name=f"blocks.{i}.fc", kind="linear", dtype="float32", status="ok") for i in range(12)]
        >>> patterns(rows)
        frozenset({('blocks.#.fc', 'linear')})
    """
    return _patterns([(row.name, row.kind) for row in _matrices(rows)])


def shared(a: _HasRows, b: _HasRows) -> tuple[int, int]:
    """Count the `patterns` that two models share, and those that either has.

    What a wrapper puts before all names of a model (`model.`, `module.`) makes no difference: the components that all
    names of a model begin with may be left out, in the one, the other or both, and the way that shares most is taken.

    Args:
        a: anything with the `rows` of a table, such as a `ModelReport`.
        b: another.
    """
    return _shared(_readings(a.rows), _readings(b.rows))


def similarity(a: _HasRows, b: _HasRows) -> float:
    """Say how much of two models' structure is shared: the Jaccard similarity of their `patterns`, wrappers aside.

    It does not depend on depth or width, so that the members of a series come out alike. It cannot know what the
    models were trained on or for, and it is blind where names say little: two networks of numbered layers of the same
    kinds are alike to it, whatever else they are; and one network in two formats, with other names, is not.

    Args:
        a: anything with the `rows` of a table, such as a `ModelReport`.
        b: another.

    Returns:
        From 0, nothing shared, to 1; 0 where neither has a matrix.
    """
    return _jaccard(shared(a, b))


def least_alike(models: Sequence[_HasRows]) -> tuple[int, int, float]:
    """Give the two models that share least, by their places, and their similarity.

    Args:
        models: at least two.
    """
    readings = [_readings(model.rows) for model in models]
    pairs = ((i, j, _jaccard(_shared(readings[i], readings[j]))) for i, j in combinations(range(len(models)), 2))
    return min(pairs, key=lambda pair: pair[2])


def same_family(models: Sequence[_HasRows]) -> bool:
    """Tell whether every two of the models are alike.

    Args:
        models: reports, or anything else with rows.
    """
    return len(models) < 2 or least_alike(models)[2] >= ALIKE


class _Reading(NamedTuple):
    """The patterns of a model without some components that all its names begin with.

    Attributes:
        found: the patterns.
        whole: whether no component is left out.
        listed: whether one that is left out stands before a number: it is the name of a list of layers, which a model
            has of itself, rather than of a wrapper.
    """

    found: _Patterns
    whole: bool
    listed: bool


def _matrices(rows: Iterable[Row]) -> Iterator[Row]:
    return (row for row in rows if row.status != "skipped")


def _patterns(named: Iterable[tuple[str, str]]) -> _Patterns:
    return frozenset((re.sub(r"\d+", "#", name.partition(":")[0]), kind) for name, kind in named)


def _readings(rows: Iterable[Row]) -> list[_Reading]:
    """Read a model with all its components, and without the first, the first two, ... that all its names begin with."""
    split = [(row.name.partition(":")[0].split("."), row.kind) for row in _matrices(rows)]
    names = [parts for parts, _ in split]
    alike = takewhile(lambda parts: len(set(parts)) == 1, zip(*(parts[:-1] for parts in names), strict=False))
    return [
        _Reading(
            _patterns((".".join(parts[cut:]), kind) for parts, kind in split),
            cut == 0,
            cut > 0 and any(part.isdecimal() for parts in names for part in parts[1 : cut + 1]),
        )
        for cut in range(min(len(list(alike)), _DEEPEST) + 1)
    ]


def _shared(first: Sequence[_Reading], second: Sequence[_Reading]) -> tuple[int, int]:
    """Count what two models share, and have, in the readings that share most.

    Both are not read without the names of their lists: `blocks.0.fc` and `stage.0.fc` are of two models.
    """
    pairs = [(a, b) for a, b in product(first, second) if a.whole or b.whole or not (a.listed or b.listed)]
    return max(((len(a.found & b.found), len(a.found | b.found)) for a, b in pairs), key=_jaccard)


def _jaccard(counts: tuple[int, int]) -> float:
    both, either = counts
    return both / max(either, 1)
