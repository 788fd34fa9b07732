"""The header of a GGUF file: key-value pairs and the places of the tensors, none believed before it is checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from struct import Struct, calcsize, unpack
from typing import BinaryIO, Literal

from heavytail.errors import SourceError
from heavytail.weights.faults import quoted, reading
from heavytail.weights.places.files import File

__all__ = ["Header", "Info", "read_header"]

_VERSIONS = (2, 3)
_ALIGNMENT = 32
_WINDOW = 1 << 20  # a read of a remote file is a request: a vocabulary of 6 MB takes six
_LONGEST = (1 << 16) - 1  # of a key, by the specification; no value that is wanted here is longer
_MOST_AXES = 32  # numpy 1 has no more, ggml has 4
_DEEPEST = 8
_LEAST_PAIR, _LEAST_INFO = 13, 24  # bytes of a pair with a one-byte value, and of a tensor's info, both nameless

# The types of values: how struct calls the numbers, and the two that are none.
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_UINT32, _STRING, _ARRAY = 4, 8, 9

Value = int | float | str | None


@dataclass(frozen=True, slots=True)
class Info:
    """A tensor as the header describes it.

    Attributes:
        name: its name.
        shape: sizes of the axes, the slowest first; the file has them the other way round.
        type: ggml's number of the type of its numbers.
        offset: offset of its first byte in the file.
    """

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the numbers.

    Attributes:
        order: "little" or "big", of every number in the file.
        alignment: what the offset of every tensor is a multiple of.
        values: the numbers and short texts among the key-value pairs; None for all others, such as arrays.
        infos: the tensors, in the order of the header.
    """

    order: str
    alignment: int
    values: Mapping[str, Value]
    infos: tuple[Info, ...]


def read_header(file: File) -> Header:
    """Read the header of a GGUF file, version 2 or 3 of the specification (ggml, 2023), in either order of bytes.

    Vocabularies and other arrays are passed over: they are walked through in a window of fixed size, and nothing of
    them is kept.

    Raises:
        SourceError: the header is damaged, or states what the file cannot hold.
    """
    with reading(file, "the GGUF header"), file.open() as stream:
        order = _order(file, stream.read(8))
        at = _Cursor(stream, 8, file.size, "<" if order == "little" else ">")
        tensors = at.count(_LEAST_INFO, "tensors")
        values, alignment = _pairs(at, at.count(_LEAST_PAIR, "key-value pairs"))
        infos = [_info(at) for _ in range(tensors)]
        start = -(-at.position // alignment) * alignment
        return Header(order, alignment, values, tuple(_placed(info, start, alignment) for info in infos))


def _order(file: File, head: bytes) -> str:
    """Give the order of bytes, which the version, a small number, shows."""
    if len(head) < 8 or head[:4] != b"GGUF":
        raise ValueError("it does not begin with GGUF and a version")
    order: Literal["big", "little"] = "big" if head[4:6] == b"\0\0" else "little"
    version = int.from_bytes(head[4:], order)
    if version not in _VERSIONS:
        raise SourceError(file, f"is GGUF version {version}; versions 2 and 3 can be read")
    return order


def _pairs(at: _Cursor, count: int) -> tuple[dict[str, Value], int]:
    """Read the key-value pairs; gives them with the alignment of the tensors."""
    values: dict[str, Value] = {}
    alignment = _ALIGNMENT
    for _ in range(count):
        key, kind = at.text(), at.uint32()
        if key in values:
            raise ValueError(f"the key {quoted(key)} stands twice")
        values[key] = value = _value(at, kind)
        if key == "general.alignment":
            if kind != _UINT32 or not isinstance(value, int) or value.bit_count() != 1:
                raise ValueError(f"general.alignment is {value}; a power of two is expected, as a uint32")
            alignment = value
    return values, alignment


def _value(at: _Cursor, kind: int) -> Value:
    if kind in _NUMBERS:
        return at.number(_NUMBERS[kind])
    if kind == _STRING:
        length = at.uint64()
        if length <= _LONGEST:
            return at.take(length).decode("utf-8", "replace")
        at.skip(length)
    elif kind == _ARRAY:
        _skip_array(at)
    else:
        raise ValueError(f"a value has the unknown type {kind}")
    return None


def _skip_array(at: _Cursor, depth: int = 1) -> None:
    if depth > _DEEPEST:
        raise ValueError(f"arrays stand in arrays, more than {_DEEPEST} deep")
    kind = at.uint32()
    if kind in _NUMBERS:
        width = calcsize("=" + _NUMBERS[kind])
        at.skip(at.count(width, "numbers") * width)
    elif kind == _STRING:
        at.skip_texts(at.count(8, "texts"))
    elif kind == _ARRAY:
        for _ in range(at.count(12, "arrays")):
            _skip_array(at, depth + 1)
    else:
        raise ValueError(f"an array holds values of the unknown type {kind}")


def _info(at: _Cursor) -> Info:
    name, axes = at.text(), at.uint32()
    if axes > _MOST_AXES:
        raise ValueError(f"tensor {quoted(name)} has {axes} axes; at most {_MOST_AXES} can be read")
    shape = tuple(at.uint64() for _ in range(axes))[::-1]
    if max(shape, default=0) >= 1 << 63:
        raise ValueError(f"tensor {quoted(name)} has an axis of {max(shape)} numbers")
    return Info(name, shape, at.uint32(), at.uint64())


def _placed(info: Info, start: int, alignment: int) -> Info:
    """Count the offset of a tensor from the beginning of the file; the header counts it from `start`."""
    if info.offset % alignment:
        raise ValueError(
            f"tensor {quoted(info.name)} begins at byte {info.offset}; multiples of {alignment} are expected"
        )
    return replace(info, offset=start + info.offset)


class _Cursor:
    """A place in the header, moved forward only; the file is read through a window."""

    def __init__(self, stream: BinaryIO, position: int, size: int, order: str) -> None:
        self.stream, self.size, self.order = stream, size, order
        self.first, self.window, self.at = position, b"", 0  # the window begins at byte `first` of the file

    @property
    def position(self) -> int:
        """Offset in the file."""
        return self.first + self.at

    def skip(self, count: int) -> None:
        """Pass over bytes."""
        if self.position + count > self.size:
            raise EOFError(f"it needs bytes up to {self.position + count}, the file has {self.size}")
        self.at += count

    def take(self, count: int) -> bytes:
        """Read bytes."""
        self._reach(count)
        piece = self.window[self.at : self.at + count]
        self.at += count
        return piece

    def _reach(self, count: int) -> None:
        """See that the next bytes stand in the window."""
        if self.at + count <= len(self.window):
            return
        start = self.position
        self.skip(count)
        self.stream.seek(start)
        self.first, self.window, self.at = start, self.stream.read(max(count, _WINDOW)), 0
        if len(self.window) < count:
            raise EOFError(f"the file ended at byte {start + len(self.window)}; did it change?")

    def number(self, code: str) -> int | float:
        """Read a number that struct calls `code`."""
        found: tuple[int | float, ...] = unpack(self.order + code, self.take(calcsize("=" + code)))
        return found[0]

    def uint32(self) -> int:
        """Read the type of a value or tensor, or a number of axes."""
        return int(self.number("I"))

    def uint64(self) -> int:
        """Read a length, a count or an offset."""
        return int(self.number("Q"))

    def count(self, least: int, what: str) -> int:
        """Read a number of things that take `least` bytes each, at least."""
        count, left = self.uint64(), self.size - self.position
        if count > left // least:
            raise ValueError(f"{count} {what} are stated at byte {self.position - 8}, where {left} bytes are left")
        return count

    def text(self) -> str:
        """Read the name of a key or a tensor."""
        length = self.uint64()
        if length > _LONGEST:
            raise ValueError(f"a name of {length} bytes stands at byte {self.position}; at most {_LONGEST} are allowed")
        return self.take(length).decode("utf-8")

    def skip_texts(self, count: int) -> None:
        """Pass over texts; a vocabulary has some 100 000, so the loop makes one call for each and no more."""
        length = Struct(self.order + "Q").unpack_from
        while count:
            self._reach(8)
            window, at, last = self.window, self.at, len(self.window) - 8
            while count and at <= last:
                at += 8 + length(window, at)[0]
                count -= 1
            self.skip(at - self.at)
