"""Where the numbers of an ONNX tensor stand, and how they become arrays: bytes in place, listed one by one, sparse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from math import prod
from pathlib import PurePosixPath
from typing import Any, BinaryIO, ClassVar, Protocol

import ml_dtypes
import numpy as np

from heavytail.errors import SourceError
from heavytail.weights.bits import unpack
from heavytail.weights.faults import one_line, quoted
from heavytail.weights.formats.onnx.graph import Proto, Span, Sparse
from heavytail.weights.formats.onnx.protobuf import Wire, varints
from heavytail.weights.places.files import File
from heavytail.weights.ranges import Plain, contiguous, shape_problem, swapped
from heavytail.weights.tensor import Array

__all__ = ["Files", "InPlace", "Numbers", "locate", "type_name"]

Reader = Callable[[int, int], Array]

# Number of the type in TensorProto.DataType: numpy's name and bits of a number.
_TYPES = {
    1: ("float32", 32),
    2: ("uint8", 8),
    3: ("int8", 8),
    4: ("uint16", 16),
    5: ("int16", 16),
    6: ("int32", 32),
    7: ("int64", 64),
    9: ("bool", 8),
    10: ("float16", 16),
    11: ("float64", 64),
    12: ("uint32", 32),
    13: ("uint64", 64),
    14: ("complex64", 64),
    15: ("complex128", 128),
    16: ("bfloat16", 16),
    17: ("float8_e4m3fn", 8),
    18: ("float8_e4m3fnuz", 8),
    19: ("float8_e5m2", 8),
    20: ("float8_e5m2fnuz", 8),
    21: ("uint4", 4),
    22: ("int4", 4),
    23: ("float4_e2m1fn", 4),
    24: ("float8_e8m0fnu", 8),
    25: ("uint2", 2),
    26: ("int2", 2),
}
_FIELDS = {1: 4, 14: 4, 11: 10, 15: 10, 7: 7, 12: 11, 13: 11}  # the others stand in int32_data
_INT32_DATA = 5
_FIXED = (4, 10)  # float_data and double_data; the others are varints
_PIECE = 1 << 20
_AS_NUMBERS = {"uint4": "uint8", "int4": "int8", "uint2": "uint8", "int2": "int8"}  # one to a byte once unpacked
# Numbers listed one by one are decoded as a whole; exporters list small tensors only.
_MOST_LISTED = 1 << 28
_MOST_SPARSE = 1000  # numbers shown for one that is stored


class Numbers(Protocol):
    """A run of numbers in a file: a small value that can be pickled."""

    @property
    def type(self) -> str:
        """Name of the stored type."""

    @property
    def files(self) -> tuple[File, ...]:
        """The files in which they stand, that of the values first."""

    @property
    def whole(self) -> bool:
        """Whether all are decoded before some can be given."""

    def reader(self) -> Reader:
        """Give a function that reads `count` numbers from the `first` on."""


@dataclass(frozen=True, slots=True)
class InPlace:
    """Numbers that stand as bytes, little-endian, those of fewer than 8 bits packed from the low bits up."""

    region: Plain
    type: str
    bits: int
    whole: ClassVar[bool] = False

    @property
    def files(self) -> tuple[File, ...]:
        """The file in which they stand."""
        return (self.region.file,)

    def reader(self) -> Reader:
        """Give a function that reads them; each call opens the file."""
        return self._read

    def _read(self, first: int, count: int) -> Array:
        low, high = first * self.bits // 8, -(-(first + count) * self.bits // 8)
        raw = np.empty(high - low, np.uint8)
        with self.region.open() as fill:
            fill(low, raw.data)
        if self.bits < 8:
            skipped = first - low * 8 // self.bits
            return _unpacked(raw, self.type, self.bits)[skipped : skipped + count]
        if swapped("little"):
            unit = np.dtype(_dtype(self.type)).itemsize // (2 if self.type.startswith("complex") else 1)
            raw = raw.view(f"u{unit}").byteswap().view(np.uint8)
        return raw.view(_dtype(self.type))


@dataclass(frozen=True, slots=True)
class Listed:
    """Numbers that stand one by one in a field of the message: varints, or a field cut in pieces."""

    file: File
    message: Span
    number: int
    type: str
    bits: int
    count: int
    whole: ClassVar[bool] = True

    @property
    def files(self) -> tuple[File, ...]:
        """The file in which they stand."""
        return (self.file,)

    def reader(self) -> Reader:
        """Decode them all; gives a function that takes a part."""
        with self.file.open() as stream:
            found: Array = np.concatenate([self._decoded(piece) for piece in self._pieces(stream)])
        if len(found) < self.count or (self.bits >= 8 and len(found) > self.count):
            raise ValueError(f"{len(found)} numbers stand where {self.count} are stated")
        return partial(_part, found)

    def _pieces(self, stream: BinaryIO) -> Iterator[bytes]:
        """Read the field, all its occurrences, in pieces that end where a number does."""
        held = bytearray()
        for item in Wire(stream, self.message[1]).fields(*self.message):
            if item.number != self.number:
                continue
            for start in range(item.start, item.end, _PIECE):
                stream.seek(start)
                held += stream.read(min(_PIECE, item.end - start))
                if len(held) >= _PIECE:
                    ended = (i for i in range(len(held), len(held) - 16, -1) if held[i - 1] < 0x80)
                    cut = len(held) // 16 * 16 if self.number in _FIXED else next(ended, len(held))
                    yield bytes(held[:cut])
                    del held[:cut]
        yield bytes(held)

    def _decoded(self, data: bytes) -> Array:
        if self.number in _FIXED:
            found = np.frombuffer(data, "<f4" if self.number == 4 else "<f8")
            return found.astype(found.dtype.newbyteorder("=")).view(_dtype(self.type))
        values = varints(data)
        if self.number != _INT32_DATA:
            return values.astype(np.uint32) if self.type == "uint32" else values.view(_dtype(self.type))
        if self.type == "bool":
            return values.astype(np.bool_)
        if self.bits < 8:
            return _unpacked(values.astype(np.uint8), self.type, self.bits)
        codes: Array = values.astype(f"u{self.bits // 8}")
        return codes.view(_dtype(self.type))


@dataclass(frozen=True, slots=True)
class _Scattered:
    """A sparse tensor as the run of all its numbers."""

    values: Numbers
    indices: Numbers
    count: int
    shape: tuple[int, ...]
    axes: int
    whole: ClassVar[bool] = True

    @property
    def files(self) -> tuple[File, ...]:
        """The files in which values and indices stand."""
        return self.values.files + self.indices.files

    @property
    def type(self) -> str:
        """Name of the type of the values."""
        return self.values.type

    def reader(self) -> Reader:
        """Read what is stored; gives a function that spreads a part of it."""
        values = self.values.reader()(0, self.count)
        indices = self.indices.reader()(0, self.count * self.axes).astype(np.int64)
        if self.axes > 1 or len(self.shape) == 1:
            table = indices.reshape(self.count, self.axes)
            if self.count and ((table < 0) | (table >= np.array(self.shape))).any():
                raise ValueError("an index is outside of the shape")
            indices = table @ np.array(contiguous(self.shape))
        elif self.count and not 0 <= indices.min() <= indices.max() < prod(self.shape):
            raise ValueError("an index is outside of the shape")
        return partial(_spread, values, indices)


def _spread(values: Array, indices: Array, first: int, count: int) -> Array:
    part = np.zeros(count, values.dtype)
    inside = (indices >= first) & (indices < first + count)
    part[indices[inside] - first] = values[inside]
    return part


def _part(found: Array, first: int, count: int) -> Array:
    return found[first : first + count]


def _dtype(name: str) -> np.dtype[Any]:
    """Give numpy's type; that of ml_dtypes where numpy has none.

    Raises:
        AttributeError: neither has it.
    """
    name = _AS_NUMBERS.get(name, name)
    return np.dtype(getattr(ml_dtypes, name)) if name.startswith(("bfloat", "float8", "float4")) else np.dtype(name)


def _unpacked(raw: Array, name: str, bits: int) -> Array:
    """Take apart bytes that hold several numbers each."""
    codes: Array = unpack(raw, bits, signed=name.startswith("int"))
    return codes.view(_dtype(name))


@dataclass(slots=True)
class Files:
    """The model's file, and those beside it that hold its numbers, each looked for once."""

    main: File
    _others: dict[str, tuple[File, int]] = field(default_factory=dict)

    def beside(self, location: str) -> tuple[File, int]:
        """Give a file of external data, and its size.

        Raises:
            SourceError: the location leads out of the model's folder, or nothing is there.
        """
        if location not in self._others:
            path = PurePosixPath(location)
            if not location or path.is_absolute() or ".." in path.parts or set(location) & set("\\:\0"):
                problem = f"keeps numbers in {quoted(location)}, which is not a path within its folder; it is not read"
                raise SourceError(self.main, problem)
            file = self.main.beside(location)
            if file is None:
                raise SourceError(self.main, f"keeps numbers in the file {quoted(location)}, which is missing")
            self._others[location] = file, file.size
        return self._others[location]

    def others(self, *parts: Numbers) -> tuple[File, ...]:
        """Give the files in which numbers stand, each once, but for the model's own."""
        return tuple(dict.fromkeys(file for part in parts for file in part.files if file != self.main))


def type_name(proto: Proto) -> str:
    """Name the type of a tensor's numbers."""
    return _TYPES.get(proto.type, ("string" if proto.type == 8 else f"type {proto.type}", 0))[0]


def locate(files: Files, proto: Proto | Sparse) -> Numbers | str:
    """Say where a tensor's numbers stand; or, as a clause, why they cannot be read.

    Raises:
        SourceError: the description does not fit the file.
    """
    if isinstance(proto, Sparse):
        return _scattered(files, proto)
    name, bits = _TYPES.get(proto.type, ("", 0))
    if not name or not _has(name):
        return f"its type {type_name(proto)} cannot be read as numbers"
    if proto.split:
        return "it is stored in segments"
    problem = shape_problem(proto.shape, max(1, bits // 8))
    if problem is not None:
        return problem
    count = prod(proto.shape)
    needed = -(-count * bits // 8)
    if proto.external is not None:
        return InPlace(_external(files, proto, needed), name, bits)
    return _inside(files, proto, name, bits)


def _inside(files: Files, proto: Proto, name: str, bits: int) -> Numbers | str:
    """Say where numbers stand that the model's own file holds."""
    expected = _FIELDS.get(proto.type, _INT32_DATA)
    if proto.raw is None and proto.typed and proto.typed != expected:
        raise SourceError(files.main, f"tensor {quoted(proto.name)} keeps {name} in a field of another type")
    place = proto.raw
    if place is None and proto.typed:
        if expected not in _FIXED or proto.packed is None:
            return _listed(files, proto, name, bits)
        place = proto.packed
    start, end = place or (proto.message[0], proto.message[0])
    needed = -(-prod(proto.shape) * bits // 8)
    if end - start != needed:
        raise SourceError(files.main, _misfit(proto, end - start, needed))
    return InPlace(Plain(files.main, start, needed), name, bits)


def _has(name: str) -> bool:
    try:
        return bool(_dtype(name).itemsize)
    except AttributeError:
        return False


def _misfit(proto: Proto, held: int, needed: int) -> str:
    shape = one_line(list(proto.shape))
    return f"tensor {quoted(proto.name)} has {held} bytes; {type_name(proto)} of shape {shape} needs {needed}"


def _external(files: Files, proto: Proto, needed: int) -> Plain:
    told = dict(proto.external or ())
    file, size = files.beside(told.get("location", ""))
    numbers = [told.get("offset") or "0", told.get("length") or str(needed)]
    if not all(n.isascii() and n.isdigit() and len(n) < 20 for n in numbers):
        raise SourceError(files.main, f"tensor {quoted(proto.name)} has the offset and length {one_line(numbers)}")
    offset, length = (int(n) for n in numbers)
    if length != needed:
        raise SourceError(files.main, _misfit(proto, length, needed))
    if offset + length > size:
        where = f"keeps tensor {quoted(proto.name)} up to byte {offset + length} of {quoted(file.name)}"
        raise SourceError(files.main, f"{where}, which has {size} bytes; it may be cut short")
    return Plain(file, offset, length)


def _listed(files: Files, proto: Proto, name: str, bits: int) -> Listed | str:
    count = prod(proto.shape)
    entries = count if bits >= 8 else -(-count * bits // 8)
    if proto.held < entries:  # a number takes a byte at least
        raise SourceError(files.main, _misfit(proto, proto.held, entries))
    if proto.held > _MOST_LISTED:
        return f"its numbers are listed one by one in {proto.held} bytes, and at most {_MOST_LISTED} are decoded"
    return Listed(files.main, proto.message, proto.typed, name, bits, count)


def _scattered(files: Files, sparse: Sparse) -> Numbers | str:
    values, indices = locate(files, sparse.values), locate(files, sparse.indices)
    count, size = prod(sparse.values.shape), prod(sparse.shape)
    if isinstance(values, str) or isinstance(indices, str):
        return f"it is sparse, and {values if isinstance(values, str) else indices}"
    problem = shape_problem(sparse.shape, 16)
    if problem is not None or size > _MOST_SPARSE * max(count, 1):
        return problem or f"it is sparse, with {count} of {size} numbers stored"
    axes = len(sparse.shape) if len(sparse.indices.shape) == 2 else 1
    if indices.type != "int64" or prod(sparse.indices.shape) != count * axes or not sparse.shape:
        raise SourceError(files.main, f"the indices of the sparse tensor {quoted(sparse.name)} do not fit its values")
    return _Scattered(values, indices, count, sparse.shape, axes)
