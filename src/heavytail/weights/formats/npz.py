"""numpy's .npz and .npy files: headers first, numbers later, pickled objects never."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from heavytail.errors import SourceError
from heavytail.weights.faults import one_line, quoted, reading
from heavytail.weights.places.files import File, stem
from heavytail.weights.ranges import Plain, Region, Strided, contiguous, stored, swapped, unreadable
from heavytail.weights.tensor import Tensor

__all__ = ["MAGIC", "read_npy", "read_npz"]

MAGIC = b"\x93NUMPY"
_MOST_HEADER = 1 << 16  # a list of a hundred axes or fields is far shorter
_NUMBERS = re.compile(r"[<>|=][biufc]\d{1,2}")
_PYTHON2_LONG = re.compile(r"(?<=\d)L\b")


def read_npz(file: File, regions: Mapping[str, Region]) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    """Describe the arrays in an .npz file.

    Args:
        file: the file.
        regions: its members.

    Returns:
        The tensors, and notes on what was left out.

    Raises:
        SourceError: a member is damaged.
    """
    arrays = [name for name in regions if name.endswith(".npy")]
    others = [name for name in regions if not name.endswith(".npy")]
    tensors = tuple(_tensor(file, name.removesuffix(".npy"), regions[name], name) for name in arrays)
    notes = (f"left out: {len(others)} zip members that are no arrays",) if others else ()
    return tensors, notes


def read_npy(file: File) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    """Describe the array in an .npy file; it is named after the file.

    Raises:
        SourceError: the file is damaged.
    """
    with reading(file, "the file"):
        region = Plain(file, 0, file.size)
    return (_tensor(file, stem(file), region, file.name),), ()


def _tensor(file: File, name: str, region: Region, member: str) -> Tensor:
    with reading(file, f"the header of {quoted(member)}"):
        header, start = _header(region)
        shape, fortran = _shape(header), header["fortran_order"] is True
        descr = header["descr"]
    if not isinstance(descr, str) or not _NUMBERS.fullmatch(descr):
        problem = f"its type {one_line(descr)} is no number"
        return unreadable(name, shape, one_line(descr), file, problem)
    with reading(file, f"the dtype of {quoted(member)}"):
        dtype = np.dtype(descr)
    held, needed = region.size - start, prod(shape) * dtype.itemsize
    if held != needed:
        raise SourceError(file, f"array {quoted(name)} has {held} bytes; {descr} of shape {shape} needs {needed}")
    stride = contiguous(shape[::-1])[::-1] if fortran else contiguous(shape)
    order = {"<": "little", ">": "big"}.get(descr[0])
    place = Strided(shape, stride, start, swap=order is not None and dtype.itemsize > 1 and swapped(order))
    return stored(name, dtype.name, region, place, file, (str(file), member))


def _header(region: Region) -> tuple[dict[str, Any], int]:
    """Read the header of an array; gives it with the offset of the first number."""
    with region.open() as fill:
        prefix = _bytes(region, fill, 0, 12)
        if prefix[:6] != MAGIC or prefix[6] not in (1, 2, 3):
            raise ValueError("it does not begin as an array of numpy does")
        width = 2 if prefix[6] == 1 else 4
        length = int.from_bytes(prefix[8 : 8 + width], "little")
        if length > _MOST_HEADER:
            raise ValueError(f"a header of {length} bytes is stated; at most {_MOST_HEADER} are expected")
    # A deflated member is read in ascending order only: the header is read again from its beginning.
    with region.open() as fill:
        text = _bytes(region, fill, 0, 8 + width + length)[8 + width :]
    if b"\\" in text:
        raise ValueError("the header has a backslash")
    header = ast.literal_eval(_PYTHON2_LONG.sub("", text.decode("utf-8" if prefix[6] == 3 else "latin-1")).strip())
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise ValueError("the header is not descr, fortran_order and shape")
    return header, 8 + width + length


def _bytes(region: Region, fill: Any, first: int, count: int) -> bytes:
    if first + count > region.size:
        raise ValueError(f"it has {region.size} bytes, fewer than its header")
    buffer = bytearray(count)
    fill(first, memoryview(buffer))
    return bytes(buffer)


def _shape(header: Mapping[str, Any]) -> tuple[int, ...]:
    shape = header["shape"]
    if not isinstance(shape, tuple) or not all(type(n) is int and 0 <= n < 1 << 63 for n in shape):
        raise ValueError(f"the shape {one_line(shape)} is no tuple of sizes")
    return shape
