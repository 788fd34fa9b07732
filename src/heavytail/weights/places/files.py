"""Where bytes stand: a file on a disk, or behind a URL, opened as often as needed and read by ranges."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

__all__ = ["File", "Folder", "LocalFile", "LocalFolder", "stem"]


class File(Protocol):
    """A file that can be opened anywhere: a small, picklable value that holds no handle.

    `str` of it is its full path or URL, as messages name it.
    """

    @property
    def name(self) -> str:
        """Last part of its path."""

    @property
    def size(self) -> int:
        """Number of bytes."""

    @property
    def stamp(self) -> str:
        """A text that changes when the content does, as far as can be told without reading it; empty if it cannot."""

    def open(self) -> BinaryIO:
        """Open for reading, buffered, with seek; large reads go past the buffer."""

    def beside(self, name: str) -> File | None:
        """Give the file of that name in the same folder, a relative path without '..'; None if there is none."""


class Folder(Protocol):
    """A folder of files; `str` of it is its full path or URL."""

    def names(self) -> list[str]:
        """List the names of its files, in any order; those of its folders are left out."""

    def file(self, name: str) -> File:
        """Give one of its files."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file on a disk."""

    path: Path

    def __str__(self) -> str:  # noqa: D105
        return str(self.path)

    def __reduce__(self) -> tuple[type[LocalFile], tuple[Path]]:
        """Go to other processes, which may stand in another folder, by the full path."""
        return LocalFile, (self.path.absolute(),)

    @property
    def name(self) -> str:
        """Last part of its path."""
        return self.path.name

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self.path.stat().st_size

    @property
    def stamp(self) -> str:
        """Device, inode, size and the times of the last changes."""
        s = self.path.stat()
        return f"{s.st_dev}:{s.st_ino}:{s.st_size}:{s.st_mtime_ns}:{s.st_ctime_ns}"

    def open(self) -> BinaryIO:
        """Open for reading."""
        return self.path.open("rb")

    def beside(self, name: str) -> File | None:
        """Give the file of that name in the same folder; None if there is none."""
        path = self.path.parent / name
        return LocalFile(path) if path.is_file() else None


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A folder on a disk."""

    path: Path

    def __str__(self) -> str:  # noqa: D105
        return str(self.path)

    def names(self) -> list[str]:
        """List the names of its files."""
        return [entry.name for entry in self.path.iterdir() if entry.is_file()]

    def file(self, name: str) -> File:
        """Give one of its files."""
        return LocalFile(self.path / name)


def stem(file: File) -> str:
    """Give a file's name without its last ending."""
    return PurePosixPath(file.name).stem
