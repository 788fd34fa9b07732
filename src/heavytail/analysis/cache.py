"""Finished results on disk, so that what was done once is not done again: after an interruption, or for a new fit.

A result is kept under the content of its tensor, the view of it that makes the matrices, and the version of the method:
it is found again wherever the same numbers stand. The content of a tensor is known by a digest of all its numbers; so
that a file need not be read for it, the digest is kept under the file's stamp (its size and its times, or a server's
tag), and read again when the stamp has changed.

Each record is written beside its place and moved there at once, and begins with its checksum. So a process may be
killed at any moment and several may share a folder.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np

from heavytail.analysis.records import decode, encode
from heavytail.errors import RequestError
from heavytail.weights.tensor import Array, Tensor

__all__ = ["METHOD", "Cache", "digest_of", "hashed"]

METHOD = 1
"""Counts the changes of what is measured of a matrix: results of another method are not taken."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder of results.

    Attributes:
        folder: where they are; it exists.
    """

    folder: Path

    @classmethod
    def at(cls, folder: Path) -> Cache:
        """Open a folder, or make it.

        Raises:
            RequestError: if nothing can be written there.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            NamedTemporaryFile(dir=folder).close()
        except OSError as error:
            raise RequestError(f"cache {folder}: {error.strerror or error}") from error
        return cls(folder)

    def get(self, *key: object) -> Any:
        """Give what is kept under a key; None where there is nothing, or what there is is damaged."""
        path = self._path(key)
        try:
            return decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            _logger.warning("the cached result %s cannot be used and is made anew: %s", path, error)
            return None

    def put(self, value: Any, *key: object) -> None:
        """Keep a value under a key; a disk that is full costs the cache, not the analysis."""
        path, data = self._path(key), encode(value)
        name = ""
        try:
            path.parent.mkdir(exist_ok=True)
            with NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
                name = file.name
                file.write(data)
            Path(name).replace(path)
        except OSError as error:
            _logger.warning("a result is not kept in the cache %s: %s", self.folder, error.strerror or error)
            with suppress(OSError):
                Path(name).unlink()

    def _path(self, key: tuple[object, ...]) -> Path:
        name = blake2b(repr((METHOD, *key)).encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
        return self.folder / name[:2] / name[2:]


def hashed(blocks: Iterator[Array], into: Any) -> Iterator[Array]:
    """Pass on the blocks of a tensor, their numbers going into a hash on the way."""
    for block in blocks:
        into.update(np.ascontiguousarray(block).view(np.uint8).data)
        yield block


def digest_of(tensor: Tensor, array: Array | None = None) -> str:
    """Give the digest of a tensor's numbers, read from its file, or of the array that they are."""
    hash_ = blake2b(f"{tensor.dtype} {tensor.shape}".encode(), digest_size=20)
    rows = max(1, (1 << 24) * tensor.shape[0] // max(tensor.nbytes, 1))
    blocks = tensor.blocks(rows) if array is None else iter([array])
    for _ in hashed(blocks, hash_):
        pass
    return hash_.hexdigest()
