"""The door to the weights: a file, a directory, a mapping or a live module becomes a `Source`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from heavytail.errors import SourceError
from heavytail.weights.folder import choose, natural, pick_indexed, read_index
from heavytail.weights.formats.archive import members
from heavytail.weights.formats.faults import quoted, reading
from heavytail.weights.formats.mapping import read_mapping
from heavytail.weights.formats.module import read_module
from heavytail.weights.formats.npz import read_npy, read_npz
from heavytail.weights.formats.safetensors import read_safetensors
from heavytail.weights.formats.sniff import foreign, kind_of, zip_kind
from heavytail.weights.formats.torch_legacy import read_torch_legacy
from heavytail.weights.formats.torch_zip import read_torch_zip
from heavytail.weights.norms import join_norms
from heavytail.weights.tensor import Source, Tensor

__all__ = ["open_source"]

_HEAD = 4096


@dataclass(frozen=True, slots=True)
class _Contents:
    """What one file or object holds."""

    format: str
    files: tuple[str, ...]
    tensors: tuple[Tensor, ...]
    notes: tuple[str, ...] = ()


def open_source(obj: object) -> Source:
    """Describe the tensors of a model; their numbers are read later, and no code in a file is ever run.

    Args:
        obj: path of a file or a directory (str or os.PathLike); a mapping from names to arrays, torch tensors or
            lists of numbers, as a state dict is; or a torch.nn.Module, which is never altered.

    Returns:
        All tensors in the container's order. One that is there and cannot be read has its `problem` set.

    Raises:
        SourceError: there is no model, it is damaged, or it is of a kind that cannot be read.
    """
    if isinstance(obj, str | PathLike):
        if not str(obj) or "://" in str(obj):
            raise SourceError(quoted(obj), "is not a path; this version reads local files and folders")
        path = Path(fspath(obj))
        name, contents = str(obj), _path(path.expanduser())
    elif _is_module(obj):
        name = type(obj).__name__
        contents = _Contents("torch module", (), *read_module(obj))
    elif isinstance(obj, Mapping):
        name = "mapping"
        contents = _Contents("mapping", (), *read_mapping(obj))
    else:
        raise SourceError(type(obj).__name__, "is not a path, a mapping of arrays or a torch module")
    if not contents.tensors:
        notes = f" ({'; '.join(contents.notes)})" if contents.notes else ""
        raise SourceError(name, f"holds no tensors{notes}")
    tensors, joined = join_norms(contents.tensors)
    return Source(name, contents.format, contents.files, tensors, (*contents.notes, *joined))


def _is_module(obj: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(obj, torch.nn.Module)


def _path(path: Path) -> _Contents:
    with reading(path, "the path"):
        if not path.exists():
            raise SourceError(path, "no such file or directory")
        folder = path.is_dir()
        if not folder and not path.is_file():
            raise SourceError(path, "is neither a file nor a directory")
    if not folder:
        return _indexed(path) if path.name.endswith(".index.json") else _file(path)
    choice = choose(path)
    if choice.files[0].name.endswith(".index.json"):
        contents = _indexed(choice.files[0])
    else:
        contents = _joined(path, [_file(file) for file in choice.files])
    return _Contents(contents.format, contents.files, contents.tensors, (*contents.notes, *choice.notes))


def _indexed(path: Path) -> _Contents:
    shards = read_index(path)
    parts: dict[str, _Contents] = {}
    for shard in sorted(set(shards.values()), key=natural):
        file = path.parent / shard
        if not file.is_file():
            raise SourceError(path, f"names the shard {quoted(shard)}, which is missing")
        parts[shard] = _file(file)
    tensors, notes = pick_indexed(path, shards, {shard: part.tensors for shard, part in parts.items()})
    return _Contents(
        next(iter(parts.values())).format,
        tuple(file for part in parts.values() for file in part.files),
        tuple(tensors),
        (*(note for part in parts.values() for note in part.notes), *notes),
    )


def _joined(where: Path, parts: Sequence[_Contents]) -> _Contents:
    """Join the files of a model; a name that stands in two of them would be ambiguous."""
    homes: dict[str, str] = {}
    for tensor in (t for part in parts for t in part.tensors):
        if tensor.name in homes:
            a, b = Path(homes[tensor.name]).name, Path(tensor.origin).name
            raise SourceError(where, f"tensor {quoted(tensor.name)} stands in both {quoted(a)} and {quoted(b)}")
        homes[tensor.name] = tensor.origin
    return _Contents(
        parts[0].format,
        tuple(file for part in parts for file in part.files),
        tuple(tensor for part in parts for tensor in part.tensors),
        tuple(note for part in parts for note in part.notes),
    )


def _file(path: Path) -> _Contents:
    with reading(path, "the file"):
        with path.open("rb") as file:
            head = file.read(_HEAD)
        kind = kind_of(path, head, path.stat().st_size)
    found: tuple[tuple[Tensor, ...], tuple[str, ...]]
    if kind == "zip":
        kind, found = _zip(path)
    elif kind == "npy":
        found = read_npy(path)
    elif kind == "torch legacy":
        found = read_torch_legacy(path)
    elif kind == "safetensors":
        found = read_safetensors(path), ()
    else:
        raise SourceError(path, foreign(path, head))
    return _Contents(kind, (str(path),), *found)


def _zip(path: Path) -> tuple[str, Any]:
    with reading(path, "the zip directory"):
        regions = members(path)
    kind = zip_kind(regions)
    if kind == "torch zip":
        return kind, read_torch_zip(path, regions)
    if kind == "npz":
        return kind, read_npz(path, regions)
    raise SourceError(path, kind or "is a zip archive, not a model; unpack it first")
