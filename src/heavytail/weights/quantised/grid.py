"""Scales and zeros: one number for each tile of a matrix, applied to its rows block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from heavytail.errors import SourceError
from heavytail.weights.faults import quoted
from heavytail.weights.quantised.found import Config, Misfit
from heavytail.weights.quantised.packing import regroup
from heavytail.weights.tensor import Array, Tensor

__all__ = ["Dequantised", "Grid", "Numbers", "Step", "exponents", "floats", "grid", "stated_sides", "tile"]

Numbers = NDArray[np.float32]


def floats(array: Array) -> Numbers:
    """Give stored numbers as float32, in memory of their own."""
    return array.astype(np.float32, order="C")


def exponents(array: Array) -> Numbers:
    """Give the powers of two that bytes hold as exponents plus 127, 255 being NaN (OCP MX v1.0, E8M0)."""
    powers = np.ldexp(np.float32(1), np.minimum(array, 254).astype(np.int32) - 127)
    return np.where(array == 255, np.float32(np.nan), powers)


def stated_sides(config: Config) -> tuple[int, ...]:
    """Give the sides of a tile that a configuration states, those of the last axes; empty if it states no one size.

    These are `weight_block_size` (DeepSeek), `group_size` (GPTQ, AWQ) and, for the groups of compressed-tensors,
    `block_structure` and `group_size`.

    Example:
        >>> stated_sides({"weight_block_size": [128, 64]}), stated_sides({"group_size": -1})
        ((128, 64), ())
    """
    groups = config.get("config_groups")
    inner = [group.get("weights") for group in groups.values() if isinstance(group, dict)] if _is_map(groups) else []
    found = {_sides(told) for told in (config, *inner) if _is_map(told)} - {()}
    return found.pop() if len(found) == 1 else ()


def _is_map(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)


def _sides(told: Mapping[str, Any]) -> tuple[int, ...]:
    for key in ("weight_block_size", "block_structure", "group_size"):
        value = told.get(key)
        sides = value if isinstance(value, list) else [value]
        if sides and all(type(n) is int and n > 0 for n in sides):
            return tuple(sides)
    return ()


def tile(n: int, count: int, stated: int = 0) -> int:
    """Give the length of the tiles if `count` of them cover `n` numbers, the last one perhaps in part.

    It is the stated one if that fits. Else it divides `n`, or is a power of two; 0 if there is none.

    Raises:
        Misfit: both are possible, and differ.

    Example:
        >>> tile(1000, 1), tile(1000, 10), tile(1000, 999), tile(1000, 8, stated=128), tile(1001, 8)
        (1000, 100, 0, 128, 128)
    """
    if count == 1:
        return n
    if stated > 0 and -(-n // stated) == count:
        return stated
    power, equal = 1 << (n // count).bit_length(), 0 if n % count else n // count
    power = power if -(-n // power) == count else 0
    if power and equal and power != equal:
        raise Misfit(f"{count} groups of {n} numbers may have {equal} or {power} each, and no group size is stated")
    return power or equal


@dataclass(frozen=True, slots=True)
class Grid:
    """A number for each tile of a tensor.

    Attributes:
        tensor: where the numbers are stored.
        shape: their numbers along the tensor's axes.
        sides: sides of a tile.
        decode: turns what is stored into float32.
        rows: the tile of each row, where its rows are not in order.
        columns: likewise for the last axis; a -1 in it, as compressed-tensors marks it, says that they are in order.
    """

    tensor: Tensor
    shape: tuple[int, ...]
    sides: tuple[int, ...]
    decode: Callable[[Array], Numbers] = floats
    rows: Tensor | None = None
    columns: Tensor | None = None

    def read(self) -> _Read:
        """Read the numbers, which are few beside the tensor's."""
        numbers = self.decode(self.tensor.read()).reshape(self.shape)
        rows = None if self.rows is None else _groups(self.rows, 0, self.shape[0])
        columns = None if self.columns is None else _groups(self.columns, -1, self.shape[-1])
        if columns is not None and (columns == -1).any():
            columns = None
        return _Read(numbers, self.sides, rows, columns)


def _groups(order: Tensor, least: int, count: int) -> NDArray[np.int64]:
    """Read the group of each row or column.

    Raises:
        SourceError: there is no such group.
    """
    groups = order.read().astype(np.int64)
    if groups.min() < least or groups.max() >= count:
        seen = f"{groups.min()} to {groups.max()}"
        raise SourceError(order.origin, f"tensor {quoted(order.name)} names the groups {seen}, there are {count}")
    return groups


# What is done to a weight, in place, with the numbers of a grid.
Step = tuple[np.ufunc, Grid]


def grid(
    tensor: Tensor, shape: tuple[int, ...], decode: Callable[[Array], Numbers] = floats, stated: tuple[int, ...] = ()
) -> Grid:
    """Lay stored scales over a tensor of shape `shape`: one for all, one a row (1-D), or one a tile.

    Args:
        tensor: the scales.
        shape: shape of what they scale.
        decode: turns what is stored into float32.
        stated: sides of a tile along the last axes, where they are known.

    Raises:
        Misfit: they cannot cover it, or the tile is open.
    """
    if tensor.size == 1:
        counts = (1,) * len(shape)
    elif len(tensor.shape) == 1:
        counts = (shape[0], *[1] * (len(shape) - 1))
    else:
        counts = tensor.shape
    stated = ((0,) * len(shape) + stated)[-len(shape) :]
    sides = tuple(tile(n, count, side) for n, count, side in zip(shape, counts, stated, strict=False))
    if len(counts) != len(shape) or 0 in sides or tensor.size != prod(counts):
        raise Misfit(f"'{tensor.name}' of shape {tensor.shape} does not cover a weight of shape {shape}")
    return Grid(tensor, counts, sides, decode)


@dataclass(frozen=True, slots=True)
class _Read:
    """The numbers of a grid, in memory."""

    numbers: Numbers
    sides: tuple[int, ...]
    rows: NDArray[np.int64] | None
    columns: NDArray[np.int64] | None

    def apply(self, step: np.ufunc, block: Numbers, first: int) -> None:
        """Do `block = step(block, numbers)` in place; `first` is the block's first row in the tensor."""
        for start, end, numbers in self._runs(first, len(block)):
            tiles, spread = self._spread(block[start:end], numbers)
            step(tiles, spread, out=tiles)

    def _runs(self, first: int, count: int) -> Iterator[tuple[int, int, Numbers]]:
        """Give runs of rows of a block that share their numbers, or all rows where each has its own."""
        if self.rows is None and self.sides[0] == 1:
            yield 0, count, self.numbers[first : first + count]
            return
        own = np.arange(first, first + count) // self.sides[0] if self.rows is None else self.rows[first:][:count]
        cuts = [0, *(np.flatnonzero(np.diff(own)) + 1).tolist(), count]
        for start, end in pairwise(cuts):
            yield start, end, self.numbers[own[start]][None]

    def _spread(self, block: Numbers, numbers: Numbers) -> tuple[Numbers, Numbers]:
        """View a block, and spread its numbers, so that one can be applied to the other."""
        if self.columns is not None:
            return block, numbers[..., self.columns]
        for axis in range(1, block.ndim - 1):
            if numbers.shape[axis] > 1:
                numbers = np.repeat(numbers, self.sides[axis], axis)[
                    (slice(None),) * axis + (slice(block.shape[axis]),)
                ]
        side, width = self.sides[-1], block.shape[-1]
        if numbers.shape[-1] * side == width:
            return block.reshape(*block.shape[:-1], -1, side), numbers[..., None]
        return block, np.repeat(numbers, side, -1)[..., :width]


@dataclass(frozen=True, slots=True)
class Dequantised:
    """Reads a quantised tensor as float32, as `Tensor.blocks` does.

    Attributes:
        main: the stored numbers.
        decode: turns some of their rows into rows of the weight, in memory of its own.
        steps: what is done to these, in order, with the numbers of which grid.
        span: rows of `main` that must be decoded together.
        count: rows of the weight that these give.
    """

    main: Tensor
    decode: Callable[[Array], Numbers]
    steps: tuple[Step, ...]
    span: int = 1
    count: int = 1

    def __call__(self, rows: int) -> Iterator[Array]:
        """Give the weight as blocks of `rows` rows, the last one of what is left."""
        return regroup(self._pieces(max(1, rows // self.count)), rows)

    def _pieces(self, groups: int) -> Iterator[Array]:
        steps = [(step, grid.read()) for step, grid in self.steps]
        first = 0
        for stored in regroup(self.main.blocks(groups * self.span), groups * self.span):
            block = self.decode(stored)
            with np.errstate(over="ignore", invalid="ignore"):
                for step, numbers in steps:
                    numbers.apply(step, block, first)
            yield block
            first += len(block)
