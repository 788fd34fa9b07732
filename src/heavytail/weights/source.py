"""The door to the weights: a file, a directory, a mapping or a live module becomes a `Source`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from heavytail.errors import SourceError
from heavytail.weights.adapter_config import AdapterConfig
from heavytail.weights.adapters import has_adapters, join_adapters
from heavytail.weights.faults import quoted, reading
from heavytail.weights.folder import choose, pick_indexed, read_index
from heavytail.weights.formats.archive import members
from heavytail.weights.formats.gguf.reader import read_gguf
from heavytail.weights.formats.keras.archive import read_keras
from heavytail.weights.formats.keras.hdf5 import read_hdf5
from heavytail.weights.formats.mapping import read_mapping
from heavytail.weights.formats.module import read_module
from heavytail.weights.formats.npz import read_npy, read_npz
from heavytail.weights.formats.onnx.reader import read_onnx
from heavytail.weights.formats.safetensors import read_safetensors
from heavytail.weights.formats.sniff import foreign, kind_of, zip_kind
from heavytail.weights.formats.tflite.reader import read_tflite
from heavytail.weights.formats.torch.legacy import read_torch_legacy
from heavytail.weights.formats.torch.script import read_torchscript
from heavytail.weights.formats.torch.zip import read_torch_zip
from heavytail.weights.norms import join_norms
from heavytail.weights.order import natural
from heavytail.weights.places.files import File, Folder, LocalFile, LocalFolder
from heavytail.weights.places.remote import RemoteFolder, open_url
from heavytail.weights.quantised import join_quantised, recognise
from heavytail.weights.ranges import Region
from heavytail.weights.tensor import Source, Tensor

__all__ = ["open_source"]

_HEAD = 4096
_MOST_CONFIG = 1 << 24

_Found = tuple[tuple[Tensor, ...], tuple[str, ...]]
_READERS: Mapping[str, Callable[[File], _Found]] = {
    "gguf": read_gguf,
    "hdf5": read_hdf5,
    "npy": read_npy,
    "onnx": read_onnx,
    "safetensors": read_safetensors,
    "tflite": read_tflite,
    "torch legacy": read_torch_legacy,
}
_IN_ZIP: Mapping[str, Callable[[File, Mapping[str, Region]], _Found]] = {
    "keras": read_keras,
    "npz": read_npz,
    "torch zip": read_torch_zip,
    "torchscript": read_torchscript,
}


@dataclass(frozen=True, slots=True)
class _Contents:
    """What one file or object holds."""

    format: str
    files: tuple[File, ...]
    tensors: tuple[Tensor, ...]
    notes: tuple[str, ...] = ()


def open_source(obj: object) -> Source:
    """Describe the tensors of a model; their numbers are read later, and no code in a file is ever run.

    Args:
        obj: path of a file or a directory (str or os.PathLike); a URL of one (str with "://"); a mapping from names to
            arrays, torch tensors or lists of numbers, as a state dict is; or a torch.nn.Module, which is never altered.

    Returns:
        All tensors in the container's order. One that is there and cannot be read has its `problem` set.

    Raises:
        SourceError: there is no model, it is damaged, or it is of a kind that cannot be read.
    """
    if isinstance(obj, str | PathLike):
        if not str(obj):
            raise SourceError(quoted(obj), "is not a path")
        name, contents = _url(obj) if isinstance(obj, str) and "://" in obj else _local(obj)
    elif _is_module(obj):
        name = type(obj).__name__
        contents = _Contents("torch module", (), *read_module(obj))
    elif isinstance(obj, Mapping):
        name = "mapping"
        contents = _Contents("mapping", (), *read_mapping(obj))
    else:
        raise SourceError(type(obj).__name__, "is not a path, a mapping of arrays or a torch module")
    if not contents.tensors:
        why = f" ({'; '.join(contents.notes)})" if contents.notes else ""
        raise SourceError(name, f"holds no tensors{why}")
    tensors, notes, files = contents.tensors, contents.notes, contents.files
    files += tuple(dict.fromkeys(file for tensor in tensors for file in tensor.files if file not in files))
    if recognise(tensors):
        config, found = _configuration(files)
        told = (found or {}).get("quantization_config")
        tensors, more = join_quantised(tensors, told if isinstance(told, dict) else None)
        notes, files = notes + more, files + config
    tensors, more = join_norms(tensors)
    notes += more
    if has_adapters(tensors):
        beside = files[0].beside("adapter_config.json") if files else None
        tensors, more = join_adapters(tensors, AdapterConfig.read(beside) if beside else None)
        notes, files = notes + more, (*files, beside) if beside else files
    return Source(name, contents.format, tuple(map(str, contents.files)), tensors, notes, files)


def _configuration(files: tuple[File, ...]) -> tuple[tuple[File, ...], dict[str, Any] | None]:
    """Find config.json beside a model's first file, and read it as far as it is one and can be read."""
    config = files[0].beside("config.json") if files else None
    if config is None:
        return (), None
    if config.size > _MOST_CONFIG:
        return (config,), None
    try:
        with reading(config, "the configuration"), config.open() as stream:
            found = json.loads(stream.read())
    except SourceError:  # it would only settle what the tensors leave open
        return (config,), None
    return (config,), found if isinstance(found, dict) else None


def _is_module(obj: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(obj, torch.nn.Module)


def _local(path: str | PathLike[str]) -> tuple[str, _Contents]:
    return str(path), _path(Path(fspath(path)).expanduser())


def _url(url: str) -> tuple[str, _Contents]:
    found = open_url(url)
    contents = _folder(found) if isinstance(found, LocalFolder | RemoteFolder) else _one(found)
    return str(found), contents


def _path(path: Path) -> _Contents:
    with reading(path, "the path"):
        if not path.exists():
            raise SourceError(path, "no such file or directory")
        folder = path.is_dir()
        if not folder and not path.is_file():
            raise SourceError(path, "is neither a file nor a directory")
    return _folder(LocalFolder(path)) if folder else _one(LocalFile(path))


def _one(file: File) -> _Contents:
    return _indexed(file) if file.name.endswith(".index.json") else _file(file)


def _folder(folder: Folder) -> _Contents:
    choice = choose(folder)
    if choice.files[0].name.endswith(".index.json"):
        contents = _indexed(choice.files[0])
    else:
        contents = _joined(folder, [_file(file) for file in choice.files])
    return _Contents(contents.format, contents.files, contents.tensors, (*contents.notes, *choice.notes))


def _indexed(index: File) -> _Contents:
    shards = read_index(index)
    parts: dict[str, _Contents] = {}
    for shard in sorted(set(shards.values()), key=natural):
        file = index.beside(shard)
        if file is None:
            raise SourceError(index, f"names the shard {quoted(shard)}, which is missing")
        parts[shard] = _file(file)
    tensors, notes = pick_indexed(index, shards, {shard: part.tensors for shard, part in parts.items()})
    return _Contents(
        next(iter(parts.values())).format,
        tuple(file for part in parts.values() for file in part.files),
        tuple(tensors),
        (*(note for part in parts.values() for note in part.notes), *notes),
    )


def _joined(where: Folder, parts: Sequence[_Contents]) -> _Contents:
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


def _file(file: File) -> _Contents:
    with reading(file, "the file"):
        with file.open() as stream:
            head = stream.read(_HEAD)
        kind = kind_of(file, head, file.size)
    regions: Mapping[str, Region] = {}
    if kind == "zip":
        with reading(file, "the zip directory"):
            regions = members(file)
        kind = zip_kind(regions)
        if kind is None or kind not in _IN_ZIP:
            raise SourceError(file, "is a zip archive, not a model; unpack it first")
        return _Contents(kind, (file,), *_IN_ZIP[kind](file, regions))
    if kind is None or kind not in _READERS:
        raise SourceError(file, foreign(file, head))
    return _Contents(kind, (file,), *_READERS[kind](file))
