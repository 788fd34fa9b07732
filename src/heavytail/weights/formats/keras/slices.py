"""Files within files: a member of an archive that is itself a container, read as a file of its own."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

from heavytail.weights.faults import reading
from heavytail.weights.places.files import File
from heavytail.weights.ranges import Region

__all__ = ["Inflated", "Slice"]


@dataclass(frozen=True, slots=True)
class Slice:
    """A run of bytes of a file, as a file; `str` of it is that of the whole file.

    Attributes:
        file: the whole file.
        start: offset of the first byte.
        size: number of bytes; the file holds them.
        name: the name it goes by.
    """

    file: File
    start: int
    size: int
    name: str

    def __str__(self) -> str:  # noqa: D105
        return str(self.file)

    @property
    def stamp(self) -> str:
        """A text that changes when the content of the whole file does."""
        return self.file.stamp

    def open(self) -> BinaryIO:
        """Open for reading."""
        return io.BufferedReader(_Window(self.file.open(), self.start, self.size))

    def beside(self, name: str) -> File | None:
        """Give the file of that name beside the whole file."""
        return self.file.beside(name)


class _Window(io.RawIOBase):
    """The part of a stream that a `Slice` shows."""

    def __init__(self, stream: BinaryIO, start: int, size: int) -> None:
        self._stream, self._start, self._size, self._at = stream, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if origin + offset < 0:
            raise ValueError(f"a position before the first byte: {origin + offset}")
        self._at = origin + offset
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")[: max(0, self._size - self._at)]
        self._stream.seek(self._start + self._at)
        count: int = self._stream.readinto(view)  # type: ignore[attr-defined]
        self._at += count
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


@dataclass(frozen=True, slots=True)
class Inflated:
    """A compressed run of bytes of a file, as a file: inflated into memory when it is opened.

    A process keeps the one that it has inflated last, so that all tensors of a model are read from it.

    Attributes:
        file: the whole file.
        region: the bytes; the caller has checked that they fit in memory.
        name: the name it goes by.
    """

    file: File
    region: Region
    name: str

    def __str__(self) -> str:  # noqa: D105
        return str(self.file)

    @property
    def size(self) -> int:
        """Number of bytes once inflated."""
        return self.region.size

    @property
    def stamp(self) -> str:
        """A text that changes when the content of the whole file does."""
        return self.file.stamp

    def open(self) -> BinaryIO:
        """Inflate into memory, unless that has been done and the file has not changed."""
        with reading(self.file, self.name):
            stamp = self.file.stamp
            inflate = _inflated if stamp else _inflated.__wrapped__  # without a stamp, what is kept may be old
            return io.BytesIO(inflate(self, stamp))

    def beside(self, name: str) -> File | None:
        """Give the file of that name beside the whole file."""
        return self.file.beside(name)


@lru_cache(maxsize=1)
def _inflated(file: Inflated, stamp: str) -> bytes:
    """Inflate a part of a file that has this stamp; the bytes are written where they stay."""
    stream = io.BytesIO(bytes(file.size))
    with file.region.open() as fill, stream.getbuffer() as view:
        fill(0, view)
    return stream.getvalue()
