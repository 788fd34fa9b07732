"""The wire format of Protocol Buffers, walked in place: which field stands where, and nothing read that is not asked.

A message is a run of fields, each a tag and a value; a nested message is a value of stated length, so that what is not
wanted is passed over by a seek (Google, "Protocol Buffers: Encoding", 2023).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Field", "Wire", "signed", "varints"]

_WINDOW = 1 << 16
_LONGEST_VARINT = 10
_MOST_TEXT = 1 << 16  # names are far shorter
_MOST_NUMBER = (1 << 29) - 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Field(NamedTuple):
    """A field of a message.

    Attributes:
        number: which field of the message's type.
        wire: how the value is stored: 0 a varint, 1 eight bytes, 2 a length and that many bytes, 5 four bytes.
        value: a varint's value; 0 for the others.
        start: offset of the value's first byte in the file; of a length-delimited one, behind the length.
        end: offset behind its last byte.
    """

    number: int
    wire: int
    value: int
    start: int
    end: int


class Wire:
    """The bytes of a file as messages; all failures are a `ValueError` of one clause.

    Args:
        stream: the open file, with seek.
        size: bytes of the file.
    """

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self.size = stream, size
        self._base, self._window = 0, b""

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """Walk the fields of the message at bytes `start` to `end` of the file.

        Raises:
            ValueError: the bytes are no such message.
        """
        while start < end:
            tag, at = self._varint(start, end)
            number, wire = tag >> 3, tag & 7
            if not 0 < number <= _MOST_NUMBER:
                raise ValueError(f"a field is numbered {number} at byte {start}")
            value = 0
            if wire == _VARINT:
                value, stop = self._varint(at, end)
            elif wire == _BYTES:
                length, at = self._varint(at, end)
                stop = at + length
            elif wire in (_FIXED64, _FIXED32):
                stop = at + (8 if wire == _FIXED64 else 4)
            else:
                raise ValueError(f"a field at byte {start} has the wire type {wire}, which is not in use")
            if stop > end:
                raise ValueError(f"a field at byte {start} needs {stop - at} bytes, {end - at} are left")
            yield Field(number, wire, value, at, stop)
            start = stop

    def content(self, field: Field) -> bytes:
        """Read the bytes of a value of moderate size.

        Raises:
            ValueError: it is longer than any name or list of sizes.
        """
        if field.end - field.start > _MOST_TEXT:
            raise ValueError(f"a text or a list at byte {field.start} has {field.end - field.start} bytes")
        return self._read(field.start, field.end)

    def text(self, field: Field) -> str:
        """Read a text.

        Raises:
            ValueError: it is not UTF-8, too long, or no text.
        """
        if field.wire != _BYTES:
            raise ValueError(f"a number stands at byte {field.start} in place of a text")
        return self.content(field).decode("utf-8")

    def integers(self, field: Field) -> list[int]:
        """Read the signed integers of one occurrence of a repeated field, packed or not.

        Raises:
            ValueError: they are damaged or too many.
        """
        if field.wire == _VARINT:
            return [signed(field.value)]
        if field.wire != _BYTES:
            raise ValueError(f"a number of fixed width stands at byte {field.start} in place of an integer")
        return [int(n) for n in varints(self.content(field)).view(np.int64)]

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """Read a varint that ends before `end`; gives it with the offset behind it."""
        first = at - self._base
        if not 0 <= first <= len(self._window) - _LONGEST_VARINT:
            self._load(at)
            first = 0
        if at < end and first < len(self._window) and self._window[first] < 0x80:  # nearly all of them
            return self._window[first], at + 1
        value = shift = 0
        for byte in self._window[first : first + min(_LONGEST_VARINT, end - at)]:
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF, at
            shift += 7
        raise ValueError(f"a number before byte {at} does not end")

    def _read(self, start: int, end: int) -> bytes:
        first = start - self._base
        if start == end:
            return b""
        if not 0 <= first <= len(self._window) - (end - start):
            self._load(start)
            first = 0
        found = self._window[first : first + end - start]
        if len(found) < end - start:
            raise ValueError("the file ended early; did it change?")
        return found

    def _load(self, at: int) -> None:
        self._stream.seek(at)
        self._base, self._window = at, self._stream.read(_WINDOW)


def signed(value: int) -> int:
    """Give the signed number of 64 bits that a varint stands for."""
    return value - (1 << 64) if value >> 63 else value


def varints(data: bytes) -> NDArray[np.uint64]:
    """Decode a run of varints, all of them at once.

    Raises:
        ValueError: the last one does not end, or one is longer than 10 bytes.

    >>> varints(bytes([1, 0xAC, 0x02, 0x7F])).tolist()
    [1, 300, 127]
    """
    raw = np.frombuffer(data, np.uint8)
    if not len(raw):
        return np.empty(0, np.uint64)
    ends = np.flatnonzero(raw < 0x80)
    if not len(ends) or ends[-1] != len(raw) - 1:
        raise ValueError("the last number of a list does not end")
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > _LONGEST_VARINT:
        raise ValueError("a number of a list does not end")
    values = np.zeros(len(ends), np.uint64)
    for place in range(int(lengths.max())):
        longer = lengths > place
        values[longer] |= (raw[starts[longer] + place] & 0x7F).astype(np.uint64) << np.uint64(7 * place)
    return values
