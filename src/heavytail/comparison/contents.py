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
_ALIKE = 0.5  # cosine from which two corners are of one matrix, whatever their names
_CHANCE = 6.0  # standard deviations of the cosine of unrelated corners, which is 1 over the root of their entries
_WHOLE = 64 << 20  # bytes, at most, of a tensor that is read as a whole for the sake of its corner
_BATCH = 256  # corners that are held against all others at once
_FEWEST = 16  # rows and columns: fewer are alike by chance

Matrix = NDArray[np.float64]
Corners = NDArray[np.float32]


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
    """Whether the second of two matrices of one name is laid out as the transpose of the first.

    Its corner is then like the turned corner of the first, beyond chance and more than as it stands. Where no corner
    can be looked at, shapes that are each other's reverse say so.
    """
    if len(base.shape) != 2 or base.shape != tuned.shape[::-1]:
        return False
    square = base.shape == tuned.shape
    first, second = _corner(base), _corner(tuned)
    if min(base.shape) < _FEWEST or first is None or second is None:
        return not square
    chance = min(_CHANCE / first.size**0.5, _ALIKE)
    return bool(_cosine(first, second.T) > max(chance, _cosine(first, second) if square else chance))


def _is_matrix(plan: Plan) -> bool:
    return bool(plan.parts) and len(plan.tensor.shape) == 2 and min(plan.tensor.shape) >= _FEWEST


def _matched(bases: Sequence[Plan], tuneds: Sequence[Plan]) -> dict[str, Plan]:
    """Match matrices of one shape, or its reverse; the names are those in the base."""
    (first, X), (second, Y) = (_corners(plans) for plans in (bases, tuneds))
    found: dict[str, Plan] = {}
    left, right = np.arange(len(first)), np.arange(len(second))
    square = bases[0].tensor.shape[0] == bases[0].tensor.shape[1]
    while left.size and right.size and (pairs := _mutual(X[left], Y[right], square)):
        found |= {first[left[i]].tensor.name: second[right[j]] for i, j in pairs}
        # Of several that are equal one pair is found at a time.
        left, right = (np.delete(rest, [pair[k] for pair in pairs]) for k, rest in enumerate((left, right)))
    return found


def _mutual(X: Corners, Y: Corners, square: bool) -> list[tuple[int, int]]:
    """Give the pairs of corners that are each other's most alike, and alike."""
    nearest, far = np.zeros(len(X), np.intp), np.full(len(Y), _ALIKE, np.float32)
    likeness, back = np.zeros(len(X), np.float32), np.full(len(Y), -1)
    for i in range(0, len(X), _BATCH):
        block = X[i : i + _BATCH]
        cosines = _cosines(block, Y)
        if square:
            np.maximum(cosines, _cosines(block, Y.swapaxes(1, 2)), out=cosines)
        nearest[i : i + _BATCH], likeness[i : i + _BATCH] = cosines.argmax(axis=1), cosines.max(axis=1)
        best = cosines.argmax(axis=0)
        nearer = cosines[best, range(len(Y))] > far
        far[nearer], back[nearer] = cosines[best, range(len(Y))][nearer], i + best[nearer]
    return [(i, int(j)) for i, j in enumerate(nearest) if likeness[i] > _ALIKE and back[j] == i]


def _corners(plans: Sequence[Plan]) -> tuple[list[Plan], Corners]:
    """Read the corners of matrices, the longer side as rows, each of unit length; those that have one."""
    found = [(plan, corner) for plan in plans if (corner := _corner(plan.tensor)) is not None and corner.any()]
    upright = [corner if plan.tensor.shape[0] >= plan.tensor.shape[1] else corner.T for plan, corner in found]
    return [plan for plan, _ in found], np.array([corner / np.linalg.norm(corner) for corner in upright], np.float32)


def _cosines(X: Corners, Y: Corners) -> Corners:
    return np.asarray(X.reshape(len(X), -1) @ Y.reshape(len(Y), -1).T)


def _cosine(first: Matrix, second: Matrix) -> float:
    if first.shape != second.shape:
        return -1.0
    size = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.vdot(first, second)) / size if size > 0 else -1.0


def _corner(tensor: Tensor) -> Matrix | None:
    """Read the first rows and columns of a matrix; None where they cannot be read, or not without all the others.

    The means of its rows and columns are taken off: two positive matrices, or two with one large column, are not alike
    by that.
    """
    if tensor.whole and tensor.nbytes > _WHOLE:
        return None
    try:
        block = next(iter(tensor.blocks(_CORNER)))
    except Exception:  # the tensor's own row will say what is wrong with it
        return None
    corner = np.asarray(block[:, :_CORNER], dtype=np.float64)
    if not np.isfinite(corner).all():
        return None
    return np.asarray(corner - corner.mean(axis=0) - corner.mean(axis=1, keepdims=True) + corner.mean())
