"""Finished results on disk, so that what was done once is not done again: after an interruption, or for a new fit.

A result is kept under the content of its tensor, the view of it that makes the matrices, and the version of the method:
it is found again wherever the same numbers stand. The content of a tensor is known by a digest of all its numbers; so
that a file need not be read for it, the digest is kept under the file's stamp (its size and its times, or a server's
tag), and read again when the stamp has changed.

Each record is written under another name and moved to its place at once, and begins with its checksum. So a process may
be killed at any moment and several may share a folder; what a killed one left half written is swept away later.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from os import PathLike
from pathlib import Path
from secrets import token_hex
from time import time
from typing import Any

import numpy as np

from heavytail.analysis.records import decode, encode
from heavytail.errors import RequestError, visible
from heavytail.weights.tensor import Array, Tensor

__all__ = ["METHOD", "Cache", "digest_of"]

METHOD = 1
"""Counts the changes of what is measured of a matrix: results of another method are not taken."""

_PIECE = 1 << 24  # bytes read at a time
_PENDING = "."  # begins the name of a file that is being written
_ABANDONED = 3600  # seconds after which nobody is writing it any more

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder of results.

    Attributes:
        folder: where they are; it exists.
    """

    folder: Path

    @classmethod
    def at(cls, folder: str | PathLike[str]) -> Cache:
        """Open a folder, or make it.

        Raises:
            RequestError: if nothing can be written there.
        """
        if not str(folder):
            raise RequestError("cache is an empty path; it must be a folder")
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = _pending(folder)
            probe.write_bytes(b"")
            probe.unlink()
        except (OSError, ValueError) as error:
            raise RequestError(f"cache {visible(folder)}: {getattr(error, 'strerror', '') or error}") from error
        _sweep(folder)
        return cls(folder)

    def get(self, *key: object) -> Any:
        """Give what is kept under a key; None where there is nothing, or what there is is damaged."""
        path = self._path(key)
        try:
            name, value = _pair(decode(path.read_bytes()))
            if name != path.name:
                raise ValueError("it is another's")
            return value
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _logger.warning("the cached result %s cannot be used and is made anew: %s", path, error)
            return None

    def put(self, value: Any, *key: object) -> None:
        """Keep a value under a key; a disk that is full costs the cache, not the analysis."""
        path, pending = self._path(key), _pending(self.folder)
        data = encode((path.name, value))
        try:
            pending.write_bytes(data)
            path.parent.mkdir(exist_ok=True)
            pending.replace(path)
        except OSError as error:
            _logger.warning("a result is not kept in the cache %s: %s", self.folder, error.strerror or error)
            with suppress(OSError):
                pending.unlink()

    def _path(self, key: tuple[object, ...]) -> Path:
        name = blake2b(repr((METHOD, *key)).encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
        return self.folder / name[:2] / name[2:]


def _pending(folder: Path) -> Path:
    """Give a name for a file that is being written; unlike tempfile's, such a file is as readable as any of the user's.

    A folder may be shared by several people.
    """
    return folder / (_PENDING + token_hex(8))


def _sweep(folder: Path) -> None:
    """Remove what killed processes left half written."""
    for path in folder.glob(f"{_PENDING}*"):
        with suppress(OSError):
            if time() - path.stat().st_mtime > _ABANDONED:
                path.unlink()


def digest_of(tensor: Tensor, array: Array | None = None) -> str:
    """Give the digest of a tensor's numbers, read from its file, or of the array that they are; of a product's factors.

    The same product of other factors is another one here.
    """
    if tensor.factors is not None:
        left, right = digest_of(tensor.factors.left), digest_of(tensor.factors.right)
        return blake2b(repr((tensor.shape, left, right, tensor.factors.scale)).encode(), digest_size=20).hexdigest()
    hash_ = blake2b(f"{tensor.dtype} {tensor.shape}".encode(), digest_size=20)
    rows = max(1, _PIECE * tensor.shape[0] // max(tensor.nbytes, 1))
    # An array is cut too, as one that is not contiguous is copied.
    blocks = tensor.blocks(rows) if array is None else (array[i : i + rows] for i in range(0, len(array), rows))
    for block in blocks:
        hash_.update(np.ascontiguousarray(block).view(np.uint8).data)
    return hash_.hexdigest()


def _pair(record: Any) -> tuple[Any, Any]:
    """Check that a record is a name and a value."""
    if not isinstance(record, tuple) or len(record) != 2:
        raise ValueError("it is no result")
    return record
