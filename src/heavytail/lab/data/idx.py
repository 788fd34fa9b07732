"""IDX files, in which MNIST and its likes are published, compressed by gzip or not.

Two zero bytes, one for the type (8: bytes), one for the number of dimensions, each dimension as a big-endian uint32,
then the numbers, the last dimension fastest (LeCun, Cortes and Burges 1998).
"""

from __future__ import annotations

import gzip
import struct
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from heavytail.errors import SourceError
from heavytail.lab.data.examples import Examples
from heavytail.lab.data.raw import Raw
from heavytail.weights.faults import reading

__all__ = ["read_idx", "read_idx_folder"]

_CLASSES = 10
_BLOCK = 1 << 20
_MOST = 1 << 31  # numbers in a file; a small file can unpack to more than any machine has room for
_PARTS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


class _Digest(Protocol):
    def update(self, data: bytes | bytearray, /) -> None: ...


def read_idx(path: Path, dimensions: int, digest: _Digest | None = None) -> NDArray[np.uint8]:
    """Read one IDX file of bytes.

    Args:
        path: of the file; it is unpacked if its name ends in ".gz".
        dimensions: how many the array must have.
        digest: hash that is updated with the bytes of the file, unpacked.

    Returns:
        The array, with its own memory.

    Raises:
        SourceError: the file cannot be read, is no IDX file, or is shorter or longer than its header says.
    """
    with reading(path, "its bytes"), _open(path) as file:
        header = file.read(4 + 4 * dimensions)
        magic = bytes([0, 0, 8, dimensions])
        if header[:4] != magic:
            raise SourceError(
                path, f"begins with {header[:4].hex() or 'nothing'}; an IDX file of its kind with {magic.hex()}"
            )
        if len(header) < 4 + 4 * dimensions:
            raise SourceError(path, f"ends after {len(header)} bytes, within the header of {4 + 4 * dimensions}")
        shape = struct.unpack(f">{dimensions}I", header[4:])
        size = prod(shape)
        if size > _MOST:
            raise SourceError(path, f"is for {_times(shape)} = {size} numbers; {_MOST} are the most that are read")
        # block by block, so that no more is unpacked than the header promises
        content = bytearray()
        while len(content) <= size and (block := file.read(_BLOCK)):
            content += block
    if len(content) != size:
        seen = f"{len(content)}" if len(content) < size else "more"
        raise SourceError(path, f"is for {_times(shape)} = {size} numbers and holds {seen}")
    if digest is not None:
        digest.update(header)
        digest.update(content)
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def read_idx_folder(folder: Path) -> Raw:
    """Read the four files of MNIST or a set in its format.

    Args:
        folder: with the files, each compressed or not; where both are there, the one that is not is read.

    Raises:
        SourceError: a file is missing or damaged, or the files do not belong together.
    """
    digest = sha256()
    paths = [_find(folder, part) for part in _PARTS]
    pool, held_out = (_examples(images, labels, digest) for images, labels in (paths[:2], paths[2:]))
    sizes = [_times(part.inputs.shape[2:]) for part in (held_out, pool)]
    if sizes[0] != sizes[1]:
        raise SourceError(paths[2], f"has images of {sizes[0]} pixels; those of {paths[0].name} have {sizes[1]}")
    return Raw(pool, held_out, _CLASSES, digest.hexdigest(), white=255)


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _find(folder: Path, part: str) -> Path:
    for path in (folder / part, folder / f"{part}.gz"):
        if path.is_file():
            return path
    raise SourceError(folder, f"holds no {part}, nor {part}.gz; expected are {', '.join(_PARTS)}")


def _examples(images: Path, labels: Path, digest: _Digest) -> Examples:
    inputs, classes = read_idx(images, 3, digest), read_idx(labels, 1, digest)
    if 0 in inputs.shape:
        raise SourceError(images, f"holds no pixels: {_times(inputs.shape)}")
    if len(inputs) != len(classes):
        raise SourceError(labels, f"has {len(classes)} labels; {images.name} has {len(inputs)} images")
    if classes.max() >= _CLASSES:
        raise SourceError(labels, f"has the label {classes.max()}; labels go from 0 to {_CLASSES - 1}")
    return Examples(inputs[:, None], classes.astype(np.int64))


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
