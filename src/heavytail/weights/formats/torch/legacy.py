"""PyTorch files before 1.6: five pickles, then the storages one behind the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO, cast

from heavytail.errors import SourceError
from heavytail.weights.faults import one_line, quoted, reading
from heavytail.weights.formats.torch.described import describe
from heavytail.weights.formats.torch.objects import Forbidden, find_global, storage_of
from heavytail.weights.formats.torch.pickles import load_pickle
from heavytail.weights.formats.torch.refs import StorageRef, itemsize
from heavytail.weights.places.files import File
from heavytail.weights.ranges import Plain, Region, swapped
from heavytail.weights.tensor import Tensor

__all__ = ["MAGIC", "read_torch_legacy"]

_NUMBER = 0x1950A86A20F9469CFC6C
# The number as every pickle protocol writes it; it stands in the first bytes of the file.
MAGIC = b"\x8a\x0a" + _NUMBER.to_bytes(10, "little") + b"."
_PROTOCOL = 1001
_LONGEST_LINE = 1 << 20


class _Bounded:
    """A file that never makes room for more bytes than it has, whatever a pickle asks for.

    It has no `tell`: the opcode reader would call it once an opcode, which costs a system call.
    """

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.stream, self.size = stream, size

    def read(self, count: int) -> bytes:
        return self.stream.read(
            min(count, self.size) if count < _LONGEST_LINE else min(count, self.size - self.stream.tell())
        )

    def readline(self) -> bytes:
        return self.stream.readline(_LONGEST_LINE)


def read_torch_legacy(file: File) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    """Read the pickles of a legacy PyTorch file and find where its storages stand.

    Returns:
        The tensors, and notes on what was left out.

    Raises:
        SourceError: the file is damaged, or its pickles ask for what is not on the list.
    """
    runs: dict[str, StorageRef] = {}

    def persistent(identity: object) -> StorageRef:
        run = storage_of(identity)
        first = runs.setdefault(run.key, run)
        if (first.dtype, first.numel) != (run.dtype, run.numel):
            raise ValueError(f"the storage {quoted(run.key)} is described in two ways")
        return run

    try:
        with reading(file, "its pickles"), file.open() as handle:
            size = file.size
            stream = cast(BinaryIO, _Bounded(handle, size))
            system = _preamble(file, stream)
            root = load_pickle(stream, find_global, persistent)
            keys = load_pickle(stream, find_global)
            regions = _regions(file, handle, size, keys, runs)
    except Forbidden as refusal:
        raise SourceError(file, str(refusal)) from None
    order = "little" if system.get("little_endian", True) else "big"
    return describe(file, root, lambda run: regions.get(run.key), swapped(order))


def _preamble(file: File, stream: BinaryIO) -> Mapping[Any, Any]:
    """Read the three pickles before the model: a magic number, the protocol, facts about the writer's machine."""
    if load_pickle(stream, find_global) != _NUMBER:
        raise SourceError(file, "its first pickle is not the magic number of PyTorch")
    protocol = load_pickle(stream, find_global)
    if protocol != _PROTOCOL:
        raise SourceError(file, f"has the PyTorch protocol {one_line(protocol)}; {_PROTOCOL} is expected")
    system = load_pickle(stream, find_global)
    if not isinstance(system, dict):
        raise SourceError(file, "its third pickle does not describe the machine that wrote it")
    return system


def _regions(
    file: File, stream: BinaryIO, size: int, keys: object, runs: Mapping[str, StorageRef]
) -> dict[str, Region]:
    """Walk over the storages: each is a count of 8 bytes and its numbers."""
    if not isinstance(keys, list):
        raise SourceError(file, "its fifth pickle is not the list of storages")
    regions: dict[str, Region] = {}
    position = stream.tell()
    for key in map(_key, keys):
        run = runs.get(key)
        if run is None or key in regions:
            raise SourceError(file, f"the storage {quoted(key)} belongs to no tensor or stands twice")
        stream.seek(position)
        count = int.from_bytes(stream.read(8), "little")
        nbytes = run.numel * itemsize(run.dtype)
        if position + 8 + nbytes > size:
            raise SourceError(file, f"the storage {quoted(key)} ends past the end of the file; it may be cut short")
        if count != run.numel:
            raise SourceError(file, f"the storage {quoted(key)} has {count} numbers; {run.numel} are stated")
        regions[key] = Plain(file, position + 8, nbytes)
        position += 8 + nbytes
    return regions


def _key(key: object) -> str:
    if not isinstance(key, str | int):
        raise ValueError("a storage is named by what is no string")
    return str(key)
