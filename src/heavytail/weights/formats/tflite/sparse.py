"""Sparse tensors of TensorFlow Lite: a tree of dense and compressed dimensions becomes rows of a dense tensor.

The values stand in the order of a walk through the dimensions, those of a block last. A dense dimension takes every
index; a compressed one (SPARSE_CSR) lists, for each entry of the dimensions before, the indices that it takes
(`SparsityParameters` of TensorFlow Lite's schema, after Kjolstad et al., The Tensor Algebra Compiler, 2017).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import NamedTuple

import numpy as np

from heavytail.errors import SourceError
from heavytail.weights.faults import quoted, reading
from heavytail.weights.formats.tflite.flatbuffer import Table
from heavytail.weights.places.files import File
from heavytail.weights.ranges import Plain, Strided, contiguous, stored, swapped, unreadable
from heavytail.weights.tensor import Array, Tensor, numpy_dtype

__all__ = ["sparse"]

_INDEX_TYPES = {1: "int32", 2: "uint16", 3: "uint8"}
_DENSE, _COMPRESSED = 0, 1
_MOST_SPREAD = 1000  # zeros take no bytes, so a few of them could fill the memory


@dataclass(frozen=True, slots=True)
class _Level:
    """A dimension of the walk.

    Attributes:
        size: number of indices.
        step: from one index to the next one, in the tensor in torch's order.
        ends: where the indices of each entry of the levels before end, a 0 first; None in a dense dimension.
        indices: the indices that are taken; None in a dense dimension.
    """

    size: int
    step: int
    ends: Tensor | None = None
    indices: Tensor | None = None


class _SparseError(Exception):
    """Why a sparse tensor cannot be decoded, as a clause."""


class _Dimensions(NamedTuple):
    """The dimensions of the walk, in its order: sizes, and steps in the tensor in torch's order."""

    sizes: list[int]
    steps: list[int]


def sparse(
    name: str, dtype: str, place: Plain, shape: tuple[int, ...], axes: tuple[int, ...], parameters: Table
) -> Tensor:
    """Describe a sparse tensor.

    Args:
        name: its name.
        dtype: type of the values.
        place: where the values stand.
        shape: sizes of its axes, as the file has them.
        axes: for each axis in torch's order, the axis of the file.
        parameters: its SparsityParameters.

    Returns:
        The dense tensor, in torch's order; unreadable where the parameters are none that can be decoded.
    """
    turned = tuple(shape[axis] for axis in axes)
    try:
        values = _values(name, dtype, place)
        levels = _levels(place.file, parameters, shape, axes)
        _check(levels, values.size, prod(shape))
    except _SparseError as problem:
        return unreadable(name, turned, dtype, place.file, f"its sparse form cannot be decoded: {problem}")
    packed = place.size + sum(t.nbytes for level in levels for t in (level.ends, level.indices) if t is not None)
    blocks = partial(_blocks, name, values, levels, turned)
    return replace(values, shape=turned, blocks=blocks, stored=f"sparse {dtype}", packed=packed, whole=True)


def _values(name: str, dtype: str, place: Plain) -> Tensor:
    count, rest = divmod(place.size, numpy_dtype(dtype).itemsize)
    if rest:
        raise _SparseError(f"its {place.size} bytes are no whole number of {dtype}")
    return _flat(place.file, name, dtype, place.start, count)


def _flat(file: File, name: str, dtype: str, start: int, count: int) -> Tensor:
    region = Plain(file, start, count * numpy_dtype(dtype).itemsize)
    return stored(name, dtype, region, Strided((count,), (1,), swap=swapped("little")), file)


def _levels(file: File, parameters: Table, shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[_Level, ...]:
    order = [int(n) for n in parameters.numbers(0, "int32")]
    blocked = [int(n) for n in parameters.numbers(1, "int32")]
    metadata = parameters.tables(2)
    rank = len(shape)
    if sorted(order[:rank]) != list(range(rank)) or sorted(order[rank:]) != list(range(rank, rank + len(blocked))):
        raise _SparseError("its traversal order is no order of its axes, then of its block")
    if len(set(blocked)) < len(blocked) or not set(blocked) <= set(range(rank)):
        raise _SparseError("its block does not lie along axes of it")
    if len(metadata) != len(order):
        raise _SparseError(f"it describes {len(metadata)} dimensions, its traversal order has {len(order)}")
    stated = {axis: table.number(1, "i") for axis, table in zip(order, metadata, strict=True)}
    dimensions = _dimensions(shape, axes, order, blocked, [stated[rank + b] for b in range(len(blocked))])
    return tuple(_level(file, *one) for one in zip(metadata, *dimensions, strict=True))


def _dimensions(
    shape: tuple[int, ...], axes: tuple[int, ...], order: list[int], blocked: list[int], block: list[int]
) -> _Dimensions:
    steps = dict(zip(axes, contiguous(tuple(shape[axis] for axis in axes)), strict=True))
    sizes = dict(enumerate(shape))
    for b, (axis, size) in enumerate(zip(blocked, block, strict=True)):
        if size < 1 or shape[axis] % size:
            raise _SparseError(f"a block of {size} does not divide an axis of {shape[axis]}")
        sizes[len(shape) + b], steps[len(shape) + b] = size, steps[axis]
        sizes[axis], steps[axis] = shape[axis] // size, steps[axis] * size
    return _Dimensions([sizes[axis] for axis in order], [steps[axis] for axis in order])


def _level(file: File, table: Table, size: int, step: int) -> _Level:
    form = table.number(0, "b")
    if form == _DENSE:
        if table.number(1, "i") != size:
            raise _SparseError(f"a dense dimension of {table.number(1, 'i')} stands for one of {size}")
        return _Level(size, step)
    if form != _COMPRESSED:
        raise _SparseError(f"a dimension has the unknown form {form}")
    return _Level(size, step, _indices(file, table, 2), _indices(file, table, 4))


def _indices(file: File, table: Table, field: int) -> Tensor:
    """Describe a vector of indices: a union of tables, each with one vector; the types differ."""
    dtype, held = _INDEX_TYPES.get(table.number(field, "B")), table.table(field + 1)
    if dtype is None or held is None:
        raise _SparseError("the indices of a dimension are absent or of an unknown type")
    start, count = held.vector(0, numpy_dtype(dtype).itemsize) or (0, 0)
    return _flat(file, "", dtype, start, count)


def _check(levels: tuple[_Level, ...], values: int, size: int) -> None:
    """Check, by the lengths alone, that the dimensions lead to as many places as there are values.

    Raises:
        _SparseError: they do not.
    """
    entries = 1
    for level in levels:
        if level.indices is None or level.ends is None:
            entries *= level.size
            continue
        if level.ends.size != entries + 1:
            raise _SparseError(f"a dimension has {level.ends.size} ends of lists, not {entries + 1}")
        entries = level.indices.size
    if entries != values:
        raise _SparseError(f"it has {values} values for {entries} places")
    if not 0 < size <= _MOST_SPREAD * values:
        raise _SparseError(f"its {values} values are spread over {size} places")


def _blocks(
    name: str, values: Tensor, levels: tuple[_Level, ...], shape: tuple[int, ...], rows: int
) -> Iterator[Array]:
    """Read the tensor row by row: the places of all values are found first, the zeros filled in where they are due."""
    with reading(values.origin, f"the sparse tensor {quoted(name)}"):
        places = _places(levels)
    order = np.argsort(places, kind="stable")
    places, numbers = places[order], values.read()[order]
    if (places[1:] == places[:-1]).any():
        raise SourceError(values.origin, f"the sparse tensor {quoted(name)} has two values in one place")
    width = prod(shape[1:])
    for first in range(0, shape[0], max(1, rows)):
        count = min(max(1, rows), shape[0] - first)
        begin, end = np.searchsorted(places, (first * width, (first + count) * width))
        block = np.zeros(count * width, numbers.dtype)
        block[places[begin:end] - first * width] = numbers[begin:end]
        yield block.reshape(count, *shape[1:])


def _places(levels: tuple[_Level, ...]) -> Array:
    """Give the place of each value, in the order of the walk."""
    places: Array = np.zeros(1, np.int64)
    for level in levels:
        if level.indices is None or level.ends is None:
            places = np.add.outer(places, level.step * np.arange(level.size)).reshape(-1)
            continue
        ends, indices = level.ends.read().astype(np.int64), level.indices.read().astype(np.int64)
        lengths = np.diff(ends)
        if ends[0] != 0 or ends[-1] != len(indices) or (lengths < 0).any():
            raise ValueError("the ends of a dimension's lists do not ascend from 0 to their number")
        if len(indices) and not 0 <= indices.min() <= indices.max() < level.size:
            raise ValueError(f"an index is outside a dimension of {level.size}")
        places = np.repeat(places, lengths) + level.step * indices
    return places
