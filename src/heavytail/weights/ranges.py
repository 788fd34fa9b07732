"""Byte ranges of files, read as blocks of rows: the part that all containers share."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from heavytail.errors import SourceError
from heavytail.weights.faults import quoted, reading
from heavytail.weights.places.files import File
from heavytail.weights.tensor import Hint, Tensor, numpy_dtype

__all__ = [
    "Deflated",
    "Fill",
    "Plain",
    "Region",
    "Strided",
    "contiguous",
    "shape_problem",
    "stored",
    "swapped",
    "unreadable",
]

Array = NDArray[np.generic]
Fill = Callable[[int, memoryview], None]

_CHUNK = 1 << 18
_MOST_AXES = 32  # numpy 1 has no more
_MOST_BYTES = 1 << 62
_MOST_EMPTY_ROWS = 1 << 20  # a header may state any number of them, and a reader would go through them all
# An expanded tensor (stride 0) shows more numbers than are stored; past this ratio a few bytes could fill the memory.
_MOST_EXPANDED = 1000


class Region(Protocol):
    """A run of bytes that can be opened many times and read in ascending order."""

    @property
    def size(self) -> int:
        """Number of bytes."""

    def open(self) -> AbstractContextManager[Fill]:
        """Open for reading: gives a function that fills a buffer with the bytes from an offset on."""


@dataclass(frozen=True, slots=True)
class Plain:
    """Bytes that stand in a file as they are.

    Attributes:
        file: the file.
        start: offset of the first byte in the file.
        size: number of bytes.
        crc: CRC-32 of the bytes, checked when the last one has been read; None where the container has none.
    """

    file: File
    start: int
    size: int
    crc: int | None = None

    @contextmanager
    def open(self) -> Iterator[Fill]:
        """Open the file; it is closed when the context ends."""
        with reading(self.file, "a tensor"), self.file.open() as stream:
            fill = partial(self._fill, stream)
            yield fill if self.crc is None else _Checking(self, fill).fill

    def _fill(self, stream: BinaryIO, offset: int, buffer: memoryview) -> None:
        stream.seek(self.start + offset)
        done = 0
        while done < len(buffer):
            count = stream.readinto(buffer[done:])  # type: ignore[attr-defined]
            if not count:
                raise SourceError(self.file, f"ended {len(buffer) - done} bytes early; did the file change?")
            done += count


class _Checking:
    """One pass over plain bytes that checks their sum; what is skipped is read for it."""

    def __init__(self, region: Plain, read: Fill) -> None:
        self.region, self.read = region, read
        self.position, self.crc = 0, 0

    def fill(self, offset: int, buffer: memoryview) -> None:
        if offset < self.position:
            raise AssertionError("checked bytes are read in ascending order only")
        while self.position < offset:
            self._next(memoryview(bytearray(min(offset - self.position, _CHUNK))))
        self._next(buffer)
        if self.position == self.region.size and self.crc != self.region.crc:
            raise SourceError(self.region.file, f"a part has checksum {self.crc:08x}, not the stated one")

    def _next(self, buffer: memoryview) -> None:
        self.read(self.position, buffer)
        self.position += len(buffer)
        self.crc = zlib.crc32(buffer, self.crc)


@dataclass(frozen=True, slots=True)
class Deflated:
    """Bytes that stand in a file in deflated form.

    Attributes:
        file: the file.
        start: offset of the first deflated byte in the file.
        packed: number of deflated bytes.
        size: number of bytes once inflated.
        crc: CRC-32 of the inflated bytes; checked when the last byte has been read.
    """

    file: File
    start: int
    packed: int
    size: int
    crc: int

    @contextmanager
    def open(self) -> Iterator[Fill]:
        """Open the file; it is closed when the context ends."""
        with reading(self.file, "a compressed part"), self.file.open() as stream:
            stream.seek(self.start)
            yield _Inflating(self, stream).fill


class _Inflating:
    """One pass over deflated bytes; what is skipped is inflated and dropped."""

    def __init__(self, region: Deflated, stream: BinaryIO) -> None:
        self.region, self.stream = region, stream
        self.left, self.position, self.crc = region.packed, 0, 0
        self.inflater = zlib.decompressobj(-15)

    def fill(self, offset: int, buffer: memoryview) -> None:
        if offset < self.position:
            raise AssertionError("deflated bytes are read in ascending order only")
        while self.position < offset:
            self._next(min(offset - self.position, _CHUNK))
        done = 0
        while done < len(buffer):
            piece = self._next(min(len(buffer) - done, _CHUNK))
            buffer[done : done + len(piece)] = piece
            done += len(piece)
        if self.position == self.region.size and self.crc != self.region.crc:
            raise SourceError(self.region.file, f"a compressed part has checksum {self.crc:08x}, not the stated one")

    def _next(self, most: int) -> bytes:
        while True:
            packed = self.inflater.unconsumed_tail or self.stream.read(min(self.left, _CHUNK))
            if not self.inflater.unconsumed_tail:
                self.left -= len(packed)
            piece = self.inflater.decompress(packed, most)
            if piece:
                break
            if not packed or self.inflater.eof:
                raise SourceError(self.region.file, f"a compressed part ended at byte {self.position}")
        self.position += len(piece)
        self.crc = zlib.crc32(piece, self.crc)
        return piece


@dataclass(frozen=True, slots=True)
class Strided:
    """Where the numbers of a tensor stand in a region.

    Attributes:
        shape: sizes of the axes.
        stride: steps along the axes, in numbers, not negative.
        offset: offset of the first number, in bytes.
        swap: whether the bytes of a number stand in the order that this machine does not use.
    """

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int = 0
    swap: bool = False

    @property
    def span(self) -> int:
        """Numbers from the first to the last one used, both included."""
        return _span(self.shape, self.stride)

    @property
    def interleaved(self) -> bool:
        """Whether rows (slices of axis 0) reach into each other, so that some can only be read with all."""
        return self.shape[:1] > (1,) and self.stride[0] < _span(self.shape[1:], self.stride[1:])


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Give the strides, in numbers, of a row-major array of shape `shape`."""
    stride, step = [0] * len(shape), 1
    for axis in reversed(range(len(shape))):
        stride[axis] = step
        step *= shape[axis]
    return tuple(stride)


def shape_problem(shape: tuple[int, ...], itemsize: int) -> str | None:
    """Say why no array can have this shape; None if one can."""
    if len(shape) > _MOST_AXES:
        return f"it has {len(shape)} axes and at most {_MOST_AXES} can be read"
    if prod(n for n in shape if n) * itemsize > _MOST_BYTES:
        return "its shape is larger than any memory"
    if 0 in shape and shape[0] > _MOST_EMPTY_ROWS:
        return f"it has {shape[0]} rows without numbers"
    return None


def unreadable(
    name: str, shape: tuple[int, ...], dtype: str, origin: object, problem: str, hint: Hint | None = None
) -> Tensor:
    """Describe a tensor that is there and cannot be read; reading it raises a `SourceError` that says why."""
    refuse = partial(_refuse, name, str(origin), problem)
    return Tensor(name, shape, dtype, refuse, str(origin), problem=problem, hint=hint)


def _refuse(name: str, origin: str, problem: str, rows: int) -> Iterator[Array]:
    raise SourceError(origin, f"tensor {quoted(name)} cannot be read: {problem}")


def stored(
    name: str, dtype: str, region: Region, place: Strided, origin: object, storage: Hashable | None = None
) -> Tensor:
    """Describe a tensor whose numbers stand in a region.

    Raises:
        SourceError: the tensor reaches past the end of the region.
    """
    itemsize = numpy_dtype(dtype).itemsize
    problem = shape_problem(place.shape, itemsize)
    if problem is None and prod(place.shape) > max(1, place.span) * _MOST_EXPANDED:
        problem = f"it repeats {place.span} stored numbers {prod(place.shape)} times"
    if problem is not None:
        return unreadable(name, place.shape, dtype, origin, problem)
    end = place.offset + place.span * itemsize
    if end > region.size:
        raise SourceError(origin, f"tensor {quoted(name)} needs bytes up to {end}, its storage has {region.size}")
    blocks = partial(_blocks, region, place, numpy_dtype(dtype))
    storage = storage if prod(place.shape) else None
    return Tensor(name, place.shape, dtype, blocks, str(origin), storage, whole=place.interleaved)


def _span(shape: tuple[int, ...], stride: tuple[int, ...]) -> int:
    if 0 in shape:
        return 0
    return 1 + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))


def _blocks(region: Region, place: Strided, dtype: np.dtype[np.generic], rows: int) -> Iterator[Array]:
    """Read a tensor as blocks of at most `rows` rows; each byte is read once.

    Rows that stand one behind the other are read block by block. Where they interleave (a transposed tensor) the whole
    span is read first, and the blocks are views of it.
    """
    if not place.shape:
        yield from _scalar(region, place, dtype)
        return
    n, inner, rows = place.shape[0], place.shape[1:], max(1, rows)
    if 0 in place.shape:
        for first in range(0, max(n, 1), rows):
            yield np.empty((min(rows, n - first), *inner), dtype)
        return
    step, width = place.stride[0], _span(inner, place.stride[1:])
    group = n if place.interleaved else rows
    with region.open() as fill:
        for first in range(0, n, group):
            count = min(group, n - first)
            flat = _numbers(fill, place, first * step, (count - 1) * step + width, dtype)
            strides = tuple(dtype.itemsize * s for s in place.stride)
            block: Array = np.ndarray((count, *inner), dtype, flat, strides=strides)
            for row in range(0, count, rows):
                yield block[row : row + rows]


def _scalar(region: Region, place: Strided, dtype: np.dtype[np.generic]) -> Iterator[Array]:
    with region.open() as fill:
        yield _numbers(fill, place, 0, 1, dtype).reshape(())


def _numbers(fill: Fill, place: Strided, first: int, count: int, dtype: np.dtype[np.generic]) -> Array:
    raw = np.empty(count * dtype.itemsize, np.uint8)
    fill(place.offset + first * dtype.itemsize, raw.data)
    if place.swap:
        unit = dtype.itemsize // (2 if dtype.kind == "c" else 1)
        raw = raw.view(f"u{unit}").byteswap().view(np.uint8)
    return raw.view(dtype)


def swapped(order: str) -> bool:
    """Say whether bytes in this order ("little" or "big") must be swapped here."""
    return order != sys.byteorder
