"""The directory of a zip file, checked before it is believed."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from itertools import pairwise
from typing import BinaryIO

import numpy as np

from heavytail.errors import SourceError
from heavytail.weights.faults import quoted
from heavytail.weights.places.files import File
from heavytail.weights.ranges import Deflated, Plain, Region

__all__ = ["content", "members"]

# Deflate cannot pack more than 1032 bytes into one.
_BEST_RATIO = 1032
_LOCAL_HEADER = 30


def members(file: File) -> dict[str, Region]:
    """Read the directory of a zip file: where the bytes of each member stand, in the order of the file.

    Raises:
        SourceError: members overlap, lie outside the file, or state sizes that cannot be.
        zipfile.BadZipFile: the directory is damaged.
    """
    with file.open() as stream:
        size = file.size
        with zipfile.ZipFile(stream) as archive:
            infos = sorted(archive.infolist(), key=lambda i: i.header_offset)
        found: dict[str, Region] = {}
        spans: list[tuple[int, int, str]] = []
        for info in infos:
            if info.is_dir():
                continue
            if info.filename in found:
                raise SourceError(file, f"the zip member {quoted(info.filename)} stands twice")
            region = found[info.filename] = _region(file, stream, info, size)
            spans.append((info.header_offset, region.start + info.compress_size, info.filename))
    for (_, end, a), (begin, _, b) in pairwise(spans):
        if begin < end:
            raise SourceError(file, f"the zip members {quoted(a)} and {quoted(b)} overlap")
    return found


def _region(file: File, stream: BinaryIO, info: zipfile.ZipInfo, size: int) -> Plain | Deflated:
    name = quoted(info.filename)
    if info.flag_bits & 1:
        raise SourceError(file, f"the zip member {name} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise SourceError(file, f"the zip member {name} is compressed by method {info.compress_type}, not by deflate")
    stream.seek(info.header_offset)
    header = stream.read(_LOCAL_HEADER)
    if len(header) < _LOCAL_HEADER or header[:4] != b"PK\3\4":
        raise SourceError(file, f"the zip member {name} does not begin where the directory says")
    names = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    start = info.header_offset + _LOCAL_HEADER + names
    if start + info.compress_size > size:
        raise SourceError(file, f"the zip member {name} ends past the end of the file; it may be cut short")
    if info.compress_type == zipfile.ZIP_STORED:
        if info.file_size != info.compress_size:
            raise SourceError(file, f"the zip member {name} is stored as it is and states two sizes")
        return Plain(file, start, info.file_size, info.CRC)
    if info.file_size > info.compress_size * _BEST_RATIO:
        raise SourceError(
            file, f"the zip member {name} states {info.file_size} bytes, more than {info.compress_size} can hold"
        )
    return Deflated(file, start, info.compress_size, info.file_size, info.CRC)


def content(file: File, regions: Mapping[str, Region], name: str, most: int) -> bytes:
    """Read a whole member that must be small.

    Raises:
        SourceError: it is larger than `most` bytes.
    """
    region = regions[name]
    if region.size > most:
        raise SourceError(file, f"the zip member {quoted(name)} has {region.size} bytes; at most {most} are expected")
    raw = np.empty(region.size, np.uint8)
    with region.open() as fill:
        fill(0, raw.data)
    return raw.tobytes()
