"""safetensors: a JSON header and one buffer; every statement of the header is checked before it is believed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any, NoReturn

from heavytail.errors import SourceError
from heavytail.weights.faults import one_line, quoted, reading
from heavytail.weights.places.files import File
from heavytail.weights.ranges import Plain, Strided, contiguous, stored, swapped, unreadable
from heavytail.weights.tensor import Tensor

__all__ = ["read_safetensors"]

_MOST_HEADER = 100_000_000  # the reference implementation's limit

# Name in the file: our name, bits of a number, whether numpy can hold it.
_DTYPES = {
    "BOOL": ("bool", 8, True),
    "U8": ("uint8", 8, True),
    "I8": ("int8", 8, True),
    "U16": ("uint16", 16, True),
    "I16": ("int16", 16, True),
    "U32": ("uint32", 32, True),
    "I32": ("int32", 32, True),
    "U64": ("uint64", 64, True),
    "I64": ("int64", 64, True),
    "F16": ("float16", 16, True),
    "BF16": ("bfloat16", 16, True),
    "F32": ("float32", 32, True),
    "F64": ("float64", 64, True),
    "C64": ("complex64", 64, True),
    "F8_E4M3": ("float8_e4m3fn", 8, True),
    "F8_E5M2": ("float8_e5m2", 8, True),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 8, True),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", 8, True),
    "F8_E8M0": ("float8_e8m0fnu", 8, True),
    "F4": ("float4_e2m1fn", 4, False),
    "F6_E2M3": ("float6_e2m3fn", 6, False),
    "F6_E3M2": ("float6_e3m2fn", 6, False),
}


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_safetensors(file: File) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    """Read the header of a safetensors file: its tensors in the order of their bytes, and no notes.

    Raises:
        SourceError: the header is damaged, or states what the file does not hold.
    """
    with reading(file, "the safetensors header"):
        header, start, size = _header(file)
        entries = [_entry(file, name, value) for name, value in header.items() if name != "__metadata__"]
        entries.sort(key=lambda e: (e.begin, e.end))
        _check_cover(file, entries, size - start)
        return tuple(_tensor(file, entry, start) for entry in entries), ()


def _header(file: File) -> tuple[dict[str, Any], int, int]:
    """Read the header; gives it with the offset of the buffer and the size of the file."""
    with file.open() as stream:
        size = file.size
        prefix = stream.read(8)
        if len(prefix) < 8:
            raise SourceError(file, f"has {size} bytes; a safetensors file begins with 8 bytes of header length")
        length = int.from_bytes(prefix, "little")
        if length > _MOST_HEADER:
            raise SourceError(file, f"states a header of {length} bytes; at most {_MOST_HEADER} are allowed")
        if 8 + length > size:
            raise SourceError(file, f"states a header of {length} bytes, the file has {size}; it may be cut short")
        text = stream.read(length)
    header = json.loads(text.decode("utf-8"), object_pairs_hook=_without_repeats, parse_constant=_no_constant)
    if not isinstance(header, dict) or not text.startswith(b"{"):
        raise SourceError(file, "its header is not a JSON object")
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise SourceError(file, "its __metadata__ is not an object of strings")
    return header, 8 + length, size


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {quoted(key)} stands twice")
        found[key] = value
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number of JSON")


def _entry(file: File, name: str, value: object) -> _Entry:
    where = f"tensor {quoted(name)}"
    if not isinstance(value, dict) or not {"dtype", "shape", "data_offsets"} == set(value):
        raise SourceError(file, f"{where} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise SourceError(file, f"{where} has the unknown dtype {quoted(dtype)}")
    if not _sizes(shape):
        raise SourceError(file, f"{where} has the shape {one_line(shape)}; a list of sizes is expected")
    if not _sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise SourceError(file, f"{where} has the data_offsets {one_line(offsets)}; [begin, end] is expected")
    bits = prod(shape) * _DTYPES[dtype][1]
    begin, end = offsets
    if bits != (end - begin) * 8:
        expected = f"{bits // 8} bytes" if bits % 8 == 0 else f"{bits} bits, no whole number of bytes"
        raise SourceError(
            file, f"{where} has {end - begin} bytes; {one_line(dtype)} of shape {one_line(shape)} needs {expected}"
        )
    return _Entry(name, dtype, tuple(shape), begin, end)


def _sizes(value: object) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 1 << 63 for n in value)


def _check_cover(file: File, entries: list[_Entry], size: int) -> None:
    """Check that the tensors cover the buffer without overlap and without a gap, as the format asks.

    Raises:
        SourceError: they do not.
    """
    last = max(entries, key=lambda e: e.end, default=None)
    if last is not None and last.end > size:
        raise SourceError(
            file, f"tensor {quoted(last.name)} ends at byte {last.end} of a buffer of {size}; it may be cut short"
        )
    if entries and entries[0].begin != 0:
        raise SourceError(file, f"the first {entries[0].begin} bytes of the buffer belong to no tensor")
    for a, b in pairwise(entries):
        if b.begin < a.end:
            raise SourceError(
                file,
                f"tensors {quoted(a.name)} and {quoted(b.name)} overlap: "
                f"the first ends at byte {a.end}, the second begins at {b.begin}",
            )
        if b.begin > a.end:
            raise SourceError(file, f"{b.begin - a.end} bytes before tensor {quoted(b.name)} belong to no tensor")
    end = last.end if last is not None else 0
    if end != size:
        raise SourceError(file, f"{size - end} bytes after the last tensor belong to no tensor")


def _tensor(file: File, entry: _Entry, start: int) -> Tensor:
    dtype, bits, readable = _DTYPES[entry.dtype]
    if not readable:
        problem = f"its type {entry.dtype} ({bits} bits a number) cannot be read as numbers"
        return unreadable(entry.name, entry.shape, dtype, file, problem)
    region = Plain(file, start + entry.begin, entry.end - entry.begin)
    place = Strided(entry.shape, contiguous(entry.shape), swap=swapped("little"))
    return stored(entry.name, dtype, region, place, file, (str(file), entry.begin))
