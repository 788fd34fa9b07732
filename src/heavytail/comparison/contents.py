"""Which matrix of one model is which of another by their numbers, where an exporter has thrown the names away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from heavytail.comparison.align import Pair
from heavytail.weights.layout import Plan
from heavytail.weights.tensor import Tensor

__all__ = ["is_turned", "match_contents"]

_CORNER = 64  # rows and columns of a matrix that tell it from others
_ALIKE = 0.5  # cosine from which two corners are of one matrix; that of unrelated ones is about 1 / _CORNER
_FEWEST = 16  # rows and columns: fewer are alike by chance

Matrix = NDArray[np.float64]


def match_contents(pairs: Iterable[Pair]) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    """Match matrices that have no partner of their name to those of their shape with nearly the same numbers.

    Weights of one model that were fine-tuned, quantised or exported, perhaps transposed, agree in a corner of 64 x 64
    far better than any two others: unrelated corners have a cosine of about 1/64, and 0.5 is asked for.

    Args:
        pairs: pairs, some of them of one tensor alone.

    Returns:
        The pairs, those found among them in the place of the base's tensor, and a note that says how many were found.
    """
    pairs = tuple(pairs)
    alone = [[pair.base for pair in pairs if pair.tuned is None], [pair.tuned for pair in pairs if pair.base is None]]
    first, second = ([plan for plan in plans if plan is not None and _is_matrix(plan)] for plans in alone)
    by_shape: dict[tuple[int, ...], tuple[list[Plan], list[Plan]]] = defaultdict(lambda: ([], []))
    for side, plans in enumerate((first, second)):
        for plan in plans:
            by_shape[tuple(sorted(plan.tensor.shape))][side].append(plan)
    found: dict[str, Plan] = {}
    for bases, tuneds in by_shape.values():
        if bases and tuneds:
            found |= _matched(bases, tuneds)
    if not found:
        return pairs, ()
    taken = {plan.tensor.name for plan in found.values()}
    kept = (pair for pair in pairs if pair.base is not None or pair.name not in taken)
    together = tuple(Pair(pair.base, found[pair.name]) if pair.name in found else pair for pair in kept)
    noun = "matrix was" if len(found) == 1 else "matrices were"
    return together, (f"{len(found)} {noun} matched by the numbers, for the names differ",)


def is_turned(base: Tensor, tuned: Tensor) -> bool:
    """Whether the second of two matrices is laid out as the transpose of the first."""
    if len(base.shape) != 2 or base.shape != tuned.shape[::-1]:
        return False
    if base.shape != tuned.shape:
        return True
    if base.shape[0] < _FEWEST:
        return False
    first, second = _corner(base), _corner(tuned)
    if first is None or second is None:
        return False
    return _cosine(first, second.T) > max(_ALIKE, _cosine(first, second))


def _is_matrix(plan: Plan) -> bool:
    return bool(plan.parts) and len(plan.tensor.shape) == 2 and min(plan.tensor.shape) >= _FEWEST


def _matched(bases: Sequence[Plan], tuneds: Sequence[Plan]) -> dict[str, Plan]:
    """Match tensors of one shape, the most alike first; the names are those in the base."""
    first, second = ([(plan, _corner(plan.tensor)) for plan in plans] for plans in (bases, tuneds))
    alike = sorted(
        (
            (-_likeness(one, other, base.tensor, tuned.tensor), i, j)
            for i, (base, one) in enumerate(first)
            for j, (tuned, other) in enumerate(second)
            if one is not None and other is not None
        ),
    )
    found: dict[int, int] = {}
    for cosine, i, j in alike:
        if -cosine > _ALIKE and i not in found and j not in found.values():
            found[i] = j
    return {bases[i].tensor.name: tuneds[j] for i, j in found.items()}


def _likeness(first: Matrix, second: Matrix, base: Tensor, tuned: Tensor) -> float:
    """Give the cosine of two corners, as they are or turned, whatever the shapes allow."""
    straight = _cosine(first, second) if base.shape == tuned.shape else -1.0
    return max(straight, _cosine(first, second.T) if base.shape == tuned.shape[::-1] else -1.0)


def _cosine(first: Matrix, second: Matrix) -> float:
    if first.shape != second.shape:
        return -1.0
    size = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.vdot(first, second)) / size if size > 0 else -1.0


def _corner(tensor: Tensor) -> Matrix | None:
    """Read the first rows and columns of a matrix; None where they cannot be read."""
    try:
        block = next(iter(tensor.blocks(_CORNER)))
    except Exception:  # the tensor's own row will say what is wrong with it
        return None
    corner = np.asarray(block[:, :_CORNER], dtype=np.float64)
    return corner - corner.mean() if np.isfinite(corner).all() else None  # two positive matrices are not alike by that
