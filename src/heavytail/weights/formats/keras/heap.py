"""A guard for the global heaps of an HDF5 file, where its texts stand.

The HDF5 library (2.0 and before) never returns from a heap with a free part of size 0. What it reads passes by here,
and each heap in it is walked first, once. Heaps that overlap, whose walks could take the square of the file's size, are
refused. Layout: "HDF5 File Format Specification", section III.E, disk format level 1E.
"""

from __future__ import annotations

import io
from typing import BinaryIO

from heavytail.errors import SourceError

__all__ = ["GuardedStream", "check_widths"]

_SIGNATURE = b"GCOL\1"
_HEADER = 16  # of a heap, and of each object in it
_MOST_WALKED = 4  # bytes of heaps walked, for each byte of the file; heaps that do not overlap take one
_WIDTHS = {0: 13, 1: 13, 2: 9, 3: 9}  # where a superblock of each version states the widths of offsets and lengths


def check_widths(where: object, head: bytes) -> None:
    """Check that offsets and lengths have 8 bytes, as every known writer has them, so that heaps can be walked.

    Raises:
        SourceError: they have not, or the file is of an unknown version.
    """
    at = _WIDTHS.get(head[8] if len(head) > 8 else 255)
    if at is None or len(head) < at + 2:
        raise SourceError(where, "damaged, its HDF5 superblock is cut short or of an unknown version")
    if head[at : at + 2] != b"\x08\x08":
        raise SourceError(
            where, f"states HDF5 offsets and lengths of {head[at]} and {head[at + 1]} bytes; 8 are expected"
        )


class GuardedStream:
    """A stream for reading that gives no damaged heap away."""

    def __init__(self, where: object, stream: BinaryIO) -> None:
        self._where, self._stream = where, stream
        self._tail, self._end = b"", 0
        self._walked: set[int] = set()
        self._left = _MOST_WALKED * stream.seek(0, io.SEEK_END)
        stream.seek(0)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a position."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """Give the position."""
        return self._stream.tell()

    def read(self, count: int = -1) -> bytes:
        """Read some bytes.

        Raises:
            SourceError: there is a damaged heap in them.
        """
        start = self._stream.tell()
        data = self._stream.read(count)
        self._check(start, data)
        return data

    def readinto(self, buffer: memoryview) -> int:
        """Fill a buffer.

        Raises:
            SourceError: there is a damaged heap in what is read.
        """
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def flush(self) -> None:
        """Do nothing: nothing is written."""

    def _check(self, start: int, data: bytes) -> None:
        # A signature can be cut in two by the ends of two reads.
        if start == self._end:
            data, start = self._tail + data, start - len(self._tail)
        self._end, self._tail = start + len(data), data[1 - len(_SIGNATURE) :]
        at = data.find(_SIGNATURE)
        while at >= 0:
            self._walk(start + at)
            self._stream.seek(self._end)
            at = data.find(_SIGNATURE, at + 1)

    def _charge(self) -> None:
        self._left -= _HEADER
        if self._left < 0:
            raise SourceError(self._where, "damaged, its HDF5 heaps overlap")

    def _walk(self, start: int) -> None:
        """Go through a heap as the library will, unless that has been done."""
        if start in self._walked:
            return
        self._walked.add(start)
        self._charge()
        self._stream.seek(start)
        header = self._stream.read(_HEADER)
        size = int.from_bytes(header[8:], "little")
        at = _HEADER
        while at + _HEADER <= size:
            self._charge()
            self._stream.seek(start + at)
            entry = self._stream.read(_HEADER)
            if len(entry) < _HEADER:
                raise SourceError(self._where, f"damaged, its HDF5 heap at byte {start} reaches past the end")
            length = int.from_bytes(entry[8:], "little")
            # Object 0 is the free space, its header counted in.
            step = -(-length // 8) * 8 + _HEADER if any(entry[:2]) else length
            if step < _HEADER or at + step > size:
                raise SourceError(
                    self._where, f"damaged, its HDF5 heap at byte {start} has an object of {length} bytes"
                )
            at += step
