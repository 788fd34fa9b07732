"""GGUF: the container of llama.cpp; quantised matrices become numbers a few blocks at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray

from heavytail.errors import SourceError
from heavytail.weights.faults import quoted, reading
from heavytail.weights.formats.gguf.header import Header, Info, read_header
from heavytail.weights.formats.gguf.types import FILE_TYPES, TYPES, Stored, can_dequantize, dequantize
from heavytail.weights.places.files import File
from heavytail.weights.ranges import (
    Fill,
    Plain,
    Strided,
    contiguous,
    stored,
    swapped,
    unreadable,
)
from heavytail.weights.tensor import Tensor

__all__ = ["read_gguf"]

_PART = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)
_CHUNK = 1 << 17  # numbers that are dequantised at once: what is made on the way stays in the processor's cache
_NEEDS = "its type {} needs the gguf package: pip install 'heavytail[gguf]'"


def read_gguf(file: File) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    """Read the header of a GGUF file: its tensors in the header's order, and notes.

    Shapes are torch's, (out, in) and (experts, out, in), the reverse of the header's. Types that numpy has are read as
    they stand; the quantised ones that the gguf package knows become float32. A file that is one part of a split model
    stands for all of them, which are read from the same folder.

    Raises:
        SourceError: a header is damaged or states what its file does not hold, or a part is missing.
    """
    header = read_header(file)
    files, notes = _parts(file, header.values)
    headers = [header if part is file else _header_of_part(part, i, len(files)) for i, part in enumerate(files)]
    found = [_tensors(part, head) for part, head in zip(files, headers, strict=True)]
    tensors = tuple(
        tensor if part is file else replace(tensor, files=(part,))
        for part, (held, _) in zip(files, found, strict=True)
        for tensor in held
    )
    _check_names(file, tensors)
    total = header.values.get("split.tensors.count")
    if len(files) > 1 and isinstance(total, int) and total != len(tensors):
        raise SourceError(file, f"states {total} tensors in {len(files)} parts, which hold {len(tensors)}")
    return tensors, (*_description(headers[0].values), *notes, *(note for _, rest in found for note in rest))


def _parts(file: File, values: Mapping[str, object]) -> tuple[list[File], tuple[str, ...]]:
    """Find the parts of a split model, in order; gives them with notes."""
    number, count = values.get("split.no", 0), values.get("split.count", 1)
    if not isinstance(count, int) or not isinstance(number, int) or count <= 1:
        return [file], ()
    match = _PART.fullmatch(file.name)
    if match is None or int(match["number"]) != number + 1 or int(match["count"]) != count:
        return [file], (
            f"read part {number + 1} of {count} alone, as the name of the file does not lead to the others",
        )
    names = [f"{match['stem']}-{i + 1:05}-of-{count:05}.gguf" for i in range(count)]
    files = []
    for i, name in enumerate(names):
        part = file if i == number else file.beside(name)
        if part is None:
            raise SourceError(file, f"is part {number + 1} of {count}; the part {quoted(name)} is missing")
        files.append(part)
    return files, (f"read together as one model: {count} parts from {quoted(names[0])} on",)


def _header_of_part(file: File, number: int, count: int) -> Header:
    header = read_header(file)
    found = header.values.get("split.no"), header.values.get("split.count")
    if found != (number, count):
        raise SourceError(file, f"states split.no and split.count {found}; {(number, count)} is expected by its name")
    return header


def _check_names(file: File, tensors: Sequence[Tensor]) -> None:
    seen: set[str] = set()
    for tensor in tensors:
        if tensor.name in seen:
            raise SourceError(file, f"tensor {quoted(tensor.name)} stands twice")
        seen.add(tensor.name)


def _description(values: Mapping[str, object]) -> tuple[str, ...]:
    architecture, kind = values.get("general.architecture"), values.get("general.file_type")
    said = [f"the architecture {quoted(architecture)}"] if isinstance(architecture, str) else []
    if isinstance(kind, int):
        said.append(f"the file type {FILE_TYPES.get(kind, kind)}")
    return (f"the file states {' and '.join(said)}",) if said else ()


def _tensors(file: File, header: Header) -> tuple[list[Tensor], tuple[str, ...]]:
    """Describe the tensors of one file; gives them with notes."""
    with reading(file, "the file"):
        size = file.size
    infos = header.infos
    ends = [info.offset + _bytes(file, info) for info in infos]
    for info, end in zip(infos, ends, strict=True):
        if end > size:
            raise SourceError(
                file, f"tensor {quoted(info.name)} ends at byte {end} of a file of {size}; it may be cut short"
            )
    _check_overlap(file, [(i.offset, end, i.name) for i, end in zip(infos, ends, strict=True) if end > i.offset])
    swap = swapped(header.order)
    tensors = [_tensor(file, info, end - info.offset, swap) for info, end in zip(infos, ends, strict=True)]
    rest = size - -(-max(ends, default=size) // header.alignment) * header.alignment
    if rest <= 0 or any(info.type not in TYPES for info in infos):
        return tensors, ()
    return tensors, (f"{rest} bytes after the last tensor of {quoted(file.name)} belong to no tensor",)


def _check_overlap(file: File, places: list[tuple[int, int, str]]) -> None:
    for (_, end, a), (begin, _, b) in pairwise(sorted(places)):
        if begin < end:
            raise SourceError(
                file,
                f"tensors {quoted(a)} and {quoted(b)} overlap: "
                f"the first ends at byte {end}, the second begins at {begin}",
            )


def _bytes(file: File, info: Info) -> int:
    """Count the bytes of a tensor; 0 if its type is unknown."""
    kind = TYPES.get(info.type)
    if kind is None:
        return 0
    row = info.shape[-1] if info.shape else 1
    if row % kind.block:
        raise SourceError(
            file, f"tensor {quoted(info.name)} has rows of {row} numbers; {kind.name} has blocks of {kind.block}"
        )
    return prod(info.shape) // kind.block * kind.size


def _tensor(file: File, info: Info, size: int, swap: bool) -> Tensor:
    kind, storage = TYPES.get(info.type), (str(file), info.offset)
    if kind is None:
        problem = f"its type {info.type} cannot be read as numbers"
        return unreadable(info.name, info.shape, f"ggml type {info.type}", file, problem)
    region = Plain(file, info.offset, size)
    if kind.dtype or not size:
        place = Strided(info.shape, contiguous(info.shape), swap=swap and kind.size > 1)
        return stored(info.name, kind.dtype or "float32", region, place, file, storage)
    refusal = _refusal(kind, swap)
    if refusal is None:
        blocks = partial(_blocks, _Quantized(info.name, info.shape, region, kind))
        tensor = Tensor(info.name, info.shape, "float32", blocks, str(file), storage, whole=len(info.shape) == 1)
    else:
        tensor = unreadable(info.name, info.shape, kind.name, file, refusal)
    return replace(tensor, stored=kind.name, packed=size)


def _refusal(kind: Stored, swap: bool) -> str | None:
    """Say why blocks of a quantised type cannot be read; None if they can."""
    if swap:  # a block mixes numbers of several widths, and writers disagree on whether they are swapped
        return f"its type {kind.name} in big-endian order cannot be read as numbers"
    try:
        known = can_dequantize(kind)
    except ImportError:
        return _NEEDS.format(kind.name)
    return None if known else f"its type {kind.name} cannot be read as numbers by the installed gguf package"


@dataclass(frozen=True, slots=True)
class _Quantized:
    """A tensor whose rows are blocks of a quantised type."""

    name: str
    shape: tuple[int, ...]
    region: Plain
    kind: Stored


def _blocks(tensor: _Quantized, rows: int) -> Iterator[NDArray[np.float32]]:
    """Read a tensor as blocks of at most `rows` slices along axis 0."""
    n, inner, rows = tensor.shape[0], tensor.shape[1:], max(1, rows)
    group = rows if inner else n  # a vector is one row, and cannot be cut within a block
    done = 0
    with tensor.region.open() as fill:
        for first in range(0, n, group):
            block = np.empty((min(group, n - first), *inner), np.float32)
            _fill(tensor, fill, done, block.reshape(-1))
            done += block.size
            for row in range(0, len(block), rows):
                yield block[row : row + rows]


def _fill(tensor: _Quantized, fill: Fill, first: int, out: NDArray[np.float32]) -> None:
    """Read and dequantise the numbers from number `first` of a tensor on; they begin and end with a block."""
    kind = tensor.kind
    step = _CHUNK // kind.block * kind.block
    packed = np.empty(min(step, out.size) // kind.block * kind.size, np.uint8)
    for begin in range(0, out.size, step):
        piece = out[begin : begin + step]
        raw = packed[: piece.size // kind.block * kind.size]
        fill((first + begin) // kind.block * kind.size, raw.data)
        try:
            piece[:] = dequantize(kind, raw)
        except ImportError as error:
            raise SourceError(
                tensor.region.file, f"tensor {quoted(tensor.name)} cannot be read: {_NEEDS.format(kind.name)}"
            ) from error
