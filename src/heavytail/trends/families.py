"""Whether models are of one family, as far as their weights say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Protocol

from heavytail.diagnosis.row import Row

__all__ = ["ALIKE", "least_alike", "patterns", "same_family", "similarity"]

ALIKE = 0.8
"""Similarity from which two models count as one family.

Of 28 published networks, those of one architecture (ResNet-20/32/56 for CIFAR-10, EfficientNet-Lite0/1, CREPE tiny and
full, CHGNet 0.2.0, 0.3.0 and its fine-tune) have 1.0, and networks of different ones at most 0.71, most of them 0. One
pair lies between: two face detectors of one design but different depths, with 0.75.
"""


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
    return frozenset(
        (re.sub(r"\d+", "#", row.name.partition(":")[0]), row.kind) for row in rows if row.status != "skipped"
    )


def similarity(a: _HasRows, b: _HasRows) -> float:
    """Say how much of two models' structure is shared: the Jaccard similarity of their `patterns`.

    It does not depend on depth or width, so that the members of a series come out alike. It cannot know what the
    models were trained on or for, and it is blind where names say little: two networks of numbered layers of the same
    kinds are alike to it, whatever else they are; and one network in two formats, with other names, is not.

    Args:
        a: anything with the `rows` of a table, such as a `ModelReport`.
        b: another.

    Returns:
        From 0, nothing shared, to 1; 0 where neither has a matrix.
    """
    first, second = patterns(a.rows), patterns(b.rows)
    return len(first & second) / max(len(first | second), 1)


def least_alike(models: Sequence[_HasRows]) -> tuple[int, int, float]:
    """Give the two models that share least, by their places, and their similarity.

    Args:
        models: at least two.
    """
    pairs = ((i, j, similarity(models[i], models[j])) for i, j in combinations(range(len(models)), 2))
    return min(pairs, key=lambda pair: pair[2])


def same_family(models: Sequence[_HasRows]) -> bool:
    """Tell whether every two of the models are alike.

    Args:
        models: reports, or anything else with rows.
    """
    return len(models) < 2 or least_alike(models)[2] >= ALIKE
