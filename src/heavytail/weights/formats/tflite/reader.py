"""TensorFlow Lite: the constants of a model's graphs, read through the operators that use them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import prod

import numpy as np
from numpy.typing import NDArray

from heavytail.weights.bits import unpack
from heavytail.weights.faults import quoted, reading
from heavytail.weights.formats.naming import Unique
from heavytail.weights.formats.tflite.flatbuffer import Table, root
from heavytail.weights.formats.tflite.graph import Use, operator_codes, uses
from heavytail.weights.formats.tflite.sparse import sparse
from heavytail.weights.places.files import File
from heavytail.weights.ranges import (
    Plain,
    Strided,
    contiguous,
    shape_problem,
    stored,
    swapped,
    unreadable,
)
from heavytail.weights.tensor import Array, Tensor, numpy_dtype

__all__ = ["read_tflite"]

# Number in the schema: numpy's name.
_DTYPES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    6: "bool",
    7: "int16",
    8: "complex64",
    9: "int8",
    10: "float64",
    11: "complex128",
    12: "uint64",
    15: "uint32",
    16: "uint16",
    17: "int4",
    18: "bfloat16",
}
_NO_NUMBERS = {5: "STRING", 13: "RESOURCE", 14: "VARIANT"}
_NO_DETAILS, _BLOCKWISE = 0, 2


@dataclass(frozen=True, slots=True)
class _Constant:
    """A constant of a graph, as the file describes it: the table is read while the file is open.

    Attributes:
        name: its name, unique.
        table: its Tensor.
        shape: sizes of its axes, as the file has them.
        place: where its bytes stand.
        use: how an operator reads it; None if that is unknown.
    """

    name: str
    table: Table
    shape: tuple[int, ...]
    place: Plain
    use: Use | None

    @property
    def axes(self) -> tuple[int, ...]:
        """For each axis in torch's order, the axis of the file."""
        return self.use.axes if self.use else tuple(range(len(self.shape)))

    @property
    def turned(self) -> tuple[int, ...]:
        """Sizes of its axes, in torch's order."""
        return tuple(self.shape[axis] for axis in self.axes)

    def unreadable(self, dtype: str, problem: str) -> Tensor:
        """Describe it as one that cannot be read."""
        return unreadable(self.name, self.turned, dtype, self.place.file, problem)


def read_tflite(file: File) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    """Describe the constants of a TensorFlow Lite model (schema version 3), those of all its subgraphs.

    Quantised numbers, real = scale (stored - zero point), become float32 as they are read. Filters are given in
    torch's order of axes, sparse tensors as dense ones.

    Returns:
        The tensors in the order of the file, and notes on what was left out.

    Raises:
        SourceError: the file is damaged.
    """
    with reading(file, "the TensorFlow Lite model"), file.open() as stream:
        model = root(stream, file.size)
        codes = operator_codes(model)
        buffers = model.tables(4)
        tensors: list[Tensor] = []
        unique, variables = Unique(), 0
        for graph in model.tables(2):
            tables = graph.tables(0)
            shapes = [tuple(table.numbers(0, "int32").tolist()) for table in tables]
            known = uses(graph, codes, shapes)
            for i, (table, shape) in enumerate(zip(tables, shapes, strict=True)):
                place = _place(file, buffers[table.number(2, "I")])
                if not place.size:
                    continue
                if table.number(5, "B"):
                    variables += 1
                    continue
                name = unique(table.text(3) or f"#{i}")
                tensors.append(_tensor(_Constant(name, table, shape, place, known.get(i))))
    left_out = (f"left out: {variables} variables, which the model sets",) if variables else ()
    return tuple(tensors), (*left_out, *unique.notes)


def _place(file: File, buffer: Table) -> Plain:
    """Say where the bytes of a buffer stand: in the flatbuffer, or behind it in a model of more than 2 GB.

    Raises:
        ValueError: past the end of the file.
    """
    start, size = buffer.vector(0, 1) or (0, 0)
    if not size:
        start, size = buffer.number(1, "Q"), buffer.number(2, "Q")
        if min(start, size) <= 1:  # 0 and 1 stand for nothing, as a converter leaves them
            return Plain(file, 0, 0)
    if start + size > buffer.data.size:
        raise ValueError(f"a buffer ends at byte {start + size} of {buffer.data.size}")
    return Plain(file, start, size)


def _tensor(constant: _Constant) -> Tensor:
    if any(n < 0 for n in constant.shape):
        raise ValueError(f"the constant {quoted(constant.name)} has the shape {constant.shape}")
    number = constant.table.number(1, "b")
    dtype = _DTYPES.get(number, _NO_NUMBERS.get(number, f"type {number}"))
    problem = shape_problem(constant.shape, 16) or (constant.use.problem if constant.use else "")
    if number not in _DTYPES:
        problem = f"its type {dtype} cannot be read as numbers"
    tensor = constant.unreadable(dtype, problem) if problem else _quantised(constant, _stored(constant, dtype))
    return replace(tensor, hint=constant.use.hint if constant.use else None)


def _stored(constant: _Constant, dtype: str) -> Tensor:
    """Describe the numbers as they are stored."""
    name, place, shape, axes = constant.name, constant.place, constant.shape, constant.axes
    storage = (str(place.file), place.start)
    halved = dtype == "int4"
    number = "int8" if halved else dtype
    sparsity = constant.table.table(6)
    if sparsity and halved:
        return constant.unreadable(number, "it is sparse and has two numbers in a byte")
    if sparsity:
        return replace(sparse(name, dtype, place, shape, axes, sparsity), storage=storage)
    needed = (prod(shape) + 1) // 2 if halved else prod(shape) * numpy_dtype(dtype).itemsize
    if place.size != needed:
        return constant.unreadable(number, f"it has {place.size} bytes; {dtype} of shape {shape} needs {needed}")
    if halved:
        tensor = Tensor(name, constant.turned, number, partial(_nibbles, place, shape, axes), str(place.file), storage)
        return replace(tensor, stored=dtype, packed=place.size, whole=_turned(axes))
    steps = contiguous(shape)
    strided = Strided(constant.turned, tuple(steps[axis] for axis in axes), swap=swapped("little"))
    return stored(name, dtype, place, strided, place.file, storage)


def _nibbles(place: Plain, shape: tuple[int, ...], axes: tuple[int, ...], rows: int) -> Iterator[Array]:
    """Read numbers of four bits, two in a byte, the lower half first; all at once where rows of torch's interleave."""
    rows = max(1, rows)
    with place.open() as fill:
        if not axes or _turned(axes):
            whole = _unpacked(fill, 0, prod(shape)).reshape(shape).transpose(axes)
            yield from (whole[i : i + rows] for i in range(0, len(whole), rows)) if axes else (whole,)
            return
        width = prod(shape[1:])
        for first in range(0, shape[0], rows):
            count = min(rows, shape[0] - first)
            block = _unpacked(fill, first * width, count * width).reshape(count, *shape[1:])
            yield block.transpose(axes)


def _turned(axes: tuple[int, ...]) -> bool:
    """Say whether rows in torch's order interleave in the file."""
    return bool(axes) and axes[0] != 0


def _unpacked(fill: Callable[[int, memoryview], None], first: int, count: int) -> Array:
    begin, end = first // 2, (first + count + 1) // 2
    raw = np.empty(end - begin, np.uint8)
    fill(begin, raw.data)
    return unpack(raw, 4, signed=True)[first % 2 :][:count]


def _quantised(constant: _Constant, tensor: Tensor) -> Tensor:
    """Apply the scales of a quantised tensor; any other is given back as it is."""
    parameters = constant.table.table(4)
    if tensor.problem or parameters is None or numpy_dtype(tensor.dtype).kind not in "iu":
        return tensor
    details = parameters.number(4, "B")
    if details != _NO_DETAILS:
        how = "in blocks" if details == _BLOCKWISE else f"in a way of its own ({details})"
        return constant.unreadable(tensor.dtype, f"its numbers are quantised {how}, which this version does not apply")
    scale, zero = parameters.numbers(2, "float32"), parameters.numbers(3, "int64")
    if not scale.size:
        return tensor
    along, shape = parameters.number(6, "i"), constant.shape
    channels = shape[along] if 0 <= along < len(shape) else 1
    if scale.size not in (1, channels) or zero.size not in (0, 1, scale.size):
        problem = f"it has {scale.size} scales and {zero.size} zero points for {channels} channels"
        return constant.unreadable(tensor.dtype, problem)
    spread = [1] * len(shape)
    if scale.size > 1:
        spread[constant.axes.index(along)] = scale.size
    scale = scale.reshape(spread)
    zero = np.broadcast_to(zero if zero.size else np.int64(0), scale.size).reshape(spread)
    return replace(
        tensor,
        dtype="float32",
        blocks=partial(_scaled, tensor.blocks, scale, zero),
        storage=(tensor.storage, scale.tobytes(), zero.tobytes()),
        stored=f"{tensor.stored or tensor.dtype} with scales",
        packed=tensor.packed or constant.place.size,
    )


def _scaled(
    blocks: Callable[[int], Iterator[Array]], scale: NDArray[np.float32], zero: NDArray[np.int64], rows: int
) -> Iterator[Array]:
    """Read numbers, take off the zero point and scale; in float32, where that is as exact as its result can be."""
    first, by_row = 0, scale.shape[:1] > (1,)
    for block in blocks(rows):
        wide = np.float32 if block.itemsize <= 2 else np.float64
        here = slice(first, first + len(block)) if by_row else ...
        with np.errstate(over="ignore", invalid="ignore"):  # a scale may be any number, and is judged later
            yield ((block.astype(wide) - zero[here].astype(wide)) * scale[here]).astype(np.float32)
        first += len(block) if by_row else 0
