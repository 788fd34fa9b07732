"""The difference of two tensors, read in lock-step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt, ulp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heavytail.errors import MatrixError
from heavytail.spectra.entries import Blocks
from heavytail.weights.tensor import Array, Tensor

__all__ = ["Size", "difference", "memory", "size_of_change", "together"]

_PIECE = 1 << 18  # entries compared at a time
_TAKEN = 2 * 16 + 16 + 4  # bytes of an entry meanwhile, complex at most: two numbers, their difference, what is equal
_WHOLE = ("ii", "uu")  # kinds of numbers that float64 may not hold


@dataclass(frozen=True, slots=True)
class Size:
    """How far two tensors are from each other.

    Attributes:
        base: Frobenius norm of the first.
        tuned: Frobenius norm of the second.
        change: Frobenius norm of their difference; 0 where all numbers are the same, NaN among them
            too, and only there.
    """

    base: float
    tuned: float
    change: float

    @property
    def relative(self) -> float:
        """The change over the base; infinite where the base is zero and the other is not."""
        if self.change == 0:
            return 0.0
        return self.change / self.base if self.base else float("inf")


@np.errstate(over="ignore", invalid="ignore")
def size_of_change(base: Tensor, tuned: Tensor) -> Size:
    """Measure how far two tensors of one shape are from each other, in one pass over both.

    Example:
        >>> from heavytail.weights.formats.mapping import read_mapping
        >>> (a, b), _ = read_mapping({"a": np.array([3.0, 4.0]), "b": np.array([3.0, 3.0])})
        >>> size_of_change(a, b)
        Size(base=5.0, tuned=4.242640687119285, change=1.0)
    """
    squares = np.zeros(3)
    equal = True
    for first, second in _pieces(base, tuned):
        kinds = first.dtype.kind + second.dtype.kind
        wide = np.complex128 if "c" in kinds else np.float64
        x, y = first.astype(wide), second.astype(wide)
        same = np.array_equal(first, second) if kinds in _WHOLE else np.array_equal(x, y, equal_nan=True)
        equal &= same
        squares += [_square(x), _square(y), 0.0 if same else _square(y - x)]
    change = 0.0 if equal else sqrt(squares[2]) or ulp(0.0)  # squares of tiny numbers vanish, a change does not
    return Size(sqrt(squares[0]), sqrt(squares[1]), change)


def memory(base: Tensor, tuned: Tensor) -> int:
    """Give the most bytes that `size_of_change` holds at a time.

    Of each tensor these are a block of rows and the one before it, or all of it where it is read as a whole.
    """
    return min(_PIECE, base.size) * _TAKEN + _read(base) + _read(tuned)


def _read(tensor: Tensor) -> int:
    rows = tensor.shape[0] if tensor.shape else 1
    return tensor.nbytes if tensor.whole or 2 * _rows(tensor) >= rows else 2 * _rows(tensor) * tensor.nbytes // rows


def _rows(tensor: Tensor) -> int:
    """Give the rows that are read at a time."""
    return max(1, _PIECE * tensor.shape[0] // max(tensor.size, 1)) if tensor.shape else 1


def _pieces(base: Tensor, tuned: Tensor) -> Iterator[tuple[Array, Array]]:
    """Read two tensors of one shape in lock-step, in pieces; a row may be many of them."""
    for first, second in together(base.blocks, tuned.blocks, _rows(base)):
        x, y = first.reshape(-1), second.reshape(-1)
        for at in range(0, x.size, _PIECE):
            yield x[at : at + _PIECE], y[at : at + _PIECE]


def _square(x: NDArray[Any]) -> float:
    flat = x.ravel()
    return float(np.vdot(flat, flat).real)


def difference(base: Blocks, tuned: Blocks) -> Blocks:
    """Give the second of two matrices minus the first, read in blocks of rows, in float64."""

    def read(r: int) -> Iterator[Array]:
        for first, second in together(base, tuned, r):
            yield second.astype(np.float64) - first.astype(np.float64)

    return read


def together(base: Blocks, tuned: Blocks, rows: int) -> Iterator[tuple[Array, Array]]:
    """Read two arrays in lock-step, in pairs of blocks of equal rows, wherever each of them cuts its own."""
    others = iter(tuned(rows))
    rest: Array | None = None
    for block in base(rows):
        at = 0
        while at < len(block):
            if rest is None or not len(rest):
                rest = next(others, None)
            if rest is None:
                raise MatrixError("one of the two ends before the other")
            count = min(len(block) - at, len(rest))
            yield block[at : at + count], rest[:count]
            at, rest = at + count, rest[count:]
