"""FlatBuffers, read by ranges: every offset and every length is checked before it is followed.

A table is a signed offset to its vtable and the fields; the vtable says at which offset each field stands, 0 where it
is absent. Strings, vectors and tables are referred to by unsigned offsets from where the reference stands (FlatBuffers
internals, Google 2014). Python's own runtime reads the whole file first and follows any offset without a check.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from heavytail.weights.tensor import Array

__all__ = ["Bytes", "Table", "root"]

_PAGE = 1 << 16
_MOST_PAGES = 64
# Parts of a file may be shared, so that a small one could state as much as a huge one. Real ones do not come near.
_MOST_READ = 2
_SLACK = 1 << 16
_TABLE_COST = 32  # in bytes: what describes a table here takes more memory than the table may take in the file


class Bytes:
    """The bytes of an open file, read in pages of which the latest are kept.

    Args:
        stream: the open file.
        size: number of its bytes.
    """

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.stream, self.size = stream, size
        self.left = _MOST_READ * size + _SLACK
        self.pages: dict[int, bytes] = {}

    def at(self, start: int, count: int) -> bytes:
        """Read `count` bytes from `start` on.

        Raises:
            ValueError: the file ends before.
        """
        if start < 0 or start + count > self.size:
            raise ValueError(f"bytes {start} to {start + count} of {self.size} are referred to")
        page, first = divmod(start, _PAGE)
        if first + count > _PAGE:
            return self._read(start, count)
        if page not in self.pages:
            if len(self.pages) == _MOST_PAGES:
                del self.pages[next(iter(self.pages))]
            self.pages[page] = self._read(page * _PAGE, min(_PAGE, self.size - page * _PAGE))
        return self.pages[page][first : first + count]

    def number(self, start: int, code: str) -> int:
        """Read a number, its type given as `struct` has it."""
        return int(struct.unpack("<" + code, self.at(start, struct.calcsize(code)))[0])

    def charge(self, cost: int) -> None:
        """Take from what may be read.

        Raises:
            ValueError: the parts of the file are shared more often than in any real file.
        """
        self.left -= cost
        if self.left < 0:
            raise ValueError("its parts, taken together, are larger than the file")

    def _read(self, start: int, count: int) -> bytes:
        self.stream.seek(start)
        return self.stream.read(count)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a flatbuffer; its fields are known by their number in the schema, from 0.

    Whatever is read raises a `ValueError` or a `struct.error` if the file does not hold it.
    """

    data: Bytes
    position: int

    def number(self, field: int, code: str, default: int = 0) -> int:
        """Read a whole number, its type given as `struct` has it; `default` where the field is absent."""
        at = self._field(field)
        return default if at is None else self.data.number(at, code)

    def table(self, field: int) -> Table | None:
        """Give the table that a field refers to; None where it is absent."""
        at = self._field(field)
        return None if at is None else self._referred(at)

    def tables(self, field: int) -> list[Table]:
        """Give the tables of a vector of tables."""
        start, count = self.vector(field, 4) or (0, 0)
        self.data.charge(count * _TABLE_COST)
        return [self._referred(start + 4 * i) for i in range(count)]

    def vector(self, field: int, itemsize: int) -> tuple[int, int] | None:
        """Say where a vector's first item stands and how many there are; None where the field is absent."""
        at = self._field(field)
        if at is None:
            return None
        start = at + self.data.number(at, "I") + 4
        count = self.data.number(start - 4, "I")
        if start + count * itemsize > self.data.size:
            end = start + count * itemsize
            raise ValueError(f"a vector of {count} items ends at byte {end} of {self.data.size}")
        return start, count

    def numbers(self, field: int, dtype: str) -> Array:
        """Read a vector of numbers of a numpy type; empty where the field is absent."""
        kind = np.dtype(dtype).newbyteorder("<")
        start, count = self.vector(field, kind.itemsize) or (0, 0)
        self.data.charge(count * kind.itemsize)
        return np.frombuffer(self.data.at(start, count * kind.itemsize), kind).astype(dtype)

    def text(self, field: int) -> str:
        """Read a string; empty where the field is absent."""
        start, count = self.vector(field, 1) or (0, 0)
        self.data.charge(count)
        return self.data.at(start, count).decode("utf-8", "replace")

    def _field(self, field: int) -> int | None:
        vtable = self.position - self.data.number(self.position, "i")
        entry = 4 + 2 * field
        if entry + 2 > self.data.number(vtable, "H"):
            return None
        offset = self.data.number(vtable + entry, "H")
        return self.position + offset if offset else None

    def _referred(self, at: int) -> Table:
        return Table(self.data, at + self.data.number(at, "I"))


def root(stream: BinaryIO, size: int) -> Table:
    """Give the root table of a flatbuffer: an open file of `size` bytes."""
    data = Bytes(stream, size)
    return Table(data, data.number(0, "I"))
