"""Which files of a directory are the model, and the checks on a sharded set."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from heavytail.errors import SourceError
from heavytail.weights.faults import one_line, quoted, reading
from heavytail.weights.order import natural
from heavytail.weights.places.files import File, Folder, LocalFolder
from heavytail.weights.tensor import Tensor

__all__ = ["Choice", "choose", "pick_indexed", "read_index"]

_MOST_INDEX = 1 << 28
_MOST_FOLDERS = 100  # that are looked into where a folder holds no weights itself
_SHARD = re.compile(r"(?P<stem>.*)-(?P<part>\d+)-of-(?P<of>\d+)(?P<end>\.\w+)")
_LOOKED_FOR = (
    "safetensors, pytorch_model*.bin, adapter_model.bin, or one .pt .pth .bin .ckpt .gguf .onnx .keras .h5 .tflite .npz"
)

# What is looked for, in order; the first pattern that matches wins.
_SAFE = (
    "model.safetensors.index.json",
    "model.safetensors",
    "*.safetensors.index.json",
    "consolidated*.safetensors",
    "diffusion_pytorch_model*.safetensors",
    "adapter_model.safetensors",
    "*.safetensors",
)
_TORCH = ("pytorch_model.bin.index.json", "pytorch_model*.bin", "adapter_model.bin")
# What trainers write beside a model.
_TRAINING = ("optimizer.", "scheduler.", "rng_state", "training_args.")
_SINGLE = (".pt", ".pth", ".bin", ".ckpt", ".gguf", ".onnx", ".keras", ".h5", ".tflite", ".npz")


@dataclass(frozen=True, slots=True)
class Choice:
    """The files of a model.

    Attributes:
        files: in order; one index file stands for its shards.
        notes: sentences about files that were not taken.
    """

    files: tuple[File, ...]
    notes: tuple[str, ...] = ()


def choose(folder: Folder) -> Choice:
    """Find the files of the model in a directory.

    Raises:
        SourceError: there are none, there is no telling which, or a shard is missing.
    """
    with reading(folder, "the directory"):
        names = sorted(folder.names(), key=natural)
    files = _first_match(folder, names, (*_SAFE, *_TORCH))
    if files is None:
        return Choice((_only(folder, names),))
    taken = {file.name for file in files}
    notes = []
    if files[0].name.endswith(".index.json"):
        taken |= set(read_index(files[0]).values())
    else:
        _check_parts(folder, [file.name for file in files])
        if len(files) > 1:
            notes.append(f"read together as one model: {', '.join(quoted(f.name) for f in files[:3])}{_more(files)}")
    safe = any(name.endswith(".safetensors") for name in taken)
    endings = (".safetensors", ".bin", *_SINGLE) if safe else (".bin",)
    others = [name for name in names if name not in taken and not name.startswith(_TRAINING)]
    stray = [name for name in others if name.endswith(endings)]
    if stray:
        notes.append(f"not read: {', '.join(map(quoted, stray[:3]))}{_more(stray)}; taken: {quoted(files[0].name)}")
    return Choice(files, tuple(notes))


def _more(names: Sequence[object]) -> str:
    return f" and {len(names) - 3} more" if len(names) > 3 else ""


def _first_match(folder: Folder, names: Sequence[str], patterns: Sequence[str]) -> tuple[File, ...] | None:
    for pattern in patterns:
        found = [folder.file(name) for name in names if fnmatchcase(name, pattern)]
        if found and pattern.endswith(".index.json") and len(found) > 1:
            raise SourceError(folder, f"holds {len(found)} indexes; name the one to read: {_listed(found)}")
        if found:
            return tuple(found)
        if pattern == "model.safetensors":
            parts = [folder.file(name) for name in names if re.fullmatch(r"model-\d+-of-\d+\.safetensors", name)]
            if parts:
                return tuple(parts)
    return None


def _only(folder: Folder, names: Sequence[str]) -> File:
    found = [folder.file(name) for name in names if name.endswith(_SINGLE) and not name.startswith(_TRAINING)]
    if len(found) == 1 or (found and _one_split([file.name for file in found])):
        return found[0]
    if found:
        raise SourceError(folder, f"holds {len(found)} files that may be the model; name one: {_listed(found)}")
    inner = [quoted(name) for name in _folders_of_models(folder)]
    if len(inner) == 1:
        raise SourceError(folder, f"holds no weights, but its folder {inner[0]} does; name it")
    if inner:
        last = f"{len(inner) - 2} more" if len(inner) > 3 else inner[-1]
        listed = f"{', '.join(inner[: min(len(inner) - 1, 2)])} and {last}"
        raise SourceError(folder, f"holds no weights, but its folders {listed} do; name one")
    raise SourceError(folder, f"holds no weights; looked for {_LOOKED_FOR}")


def _folders_of_models(folder: Folder) -> list[str]:
    """Name the folders in one on a disk that hold weights, as several adapters or the parts of a pipeline are saved.

    Other places list their files alone.
    """
    if not isinstance(folder, LocalFolder):
        return []
    with reading(folder, "the directory"):
        inner = sorted((path for path in folder.path.iterdir() if path.is_dir()), key=lambda path: natural(path.name))
    return [path.name for path in inner[:_MOST_FOLDERS] if _has_weights(path)]


def _has_weights(path: Path) -> bool:
    try:
        return any(map(_may_be_weights, LocalFolder(path).names()))
    except OSError:  # one that may not be looked into
        return False


def _may_be_weights(name: str) -> bool:
    known = name.endswith(_SINGLE) or any(fnmatchcase(name, pattern) for pattern in (*_SAFE, *_TORCH))
    return known and not name.startswith(_TRAINING)


def _one_split(names: Sequence[str]) -> bool:
    """Whether these are the parts of one GGUF model, of which the first stands for all."""
    parts = [_SHARD.fullmatch(name) for name in names]
    return len({(p["stem"], p["of"], p["end"]) if p else None for p in parts}) == 1 and names[0].endswith(".gguf")


def _listed(files: Sequence[File]) -> str:
    return one_line(", ".join(file.name for file in files))


def _check_parts(folder: Folder, names: Sequence[str]) -> None:
    """Check that of shards named part-of-count none is missing.

    Raises:
        SourceError: one is.
    """
    parts: dict[tuple[str, str, int], set[int]] = {}
    for name in names:
        match = _SHARD.fullmatch(name)
        if match:
            parts.setdefault((match["stem"], match["end"], int(match["of"])), set()).add(int(match["part"]))
    for (stem, _, count), seen in parts.items():
        if count > 100_000:
            raise SourceError(folder, f"a shard of {quoted(stem)} states {count} parts")
        # Counted from 1 by Hugging Face, from 0 by others.
        first = 0 if 0 in seen else 1
        missing = sorted(set(range(first, first + count)) - seen)
        if missing:
            raise SourceError(folder, f"part {missing[0]} of {count} of {quoted(stem)} is missing")


def read_index(file: File) -> dict[str, str]:
    """Read the index of a sharded model: the shard of each tensor.

    Raises:
        SourceError: it is damaged, or names files elsewhere.
    """
    with reading(file, "the index"):
        if file.size > _MOST_INDEX:
            raise SourceError(file, f"is an index of {file.size} bytes; at most {_MOST_INDEX} are expected")
        with file.open() as stream:
            index = json.loads(stream.read().decode("utf-8"))
    shards = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(shards, dict) or not shards:
        raise SourceError(file, "is a JSON file without a weight_map, so it is not the index of a sharded model")
    for tensor, name in shards.items():
        if not isinstance(name, str) or Path(name).name != name or "\\" in name or "\0" in name:
            raise SourceError(file, f"places tensor {quoted(tensor)} in {quoted(name)}, which is no file beside it")
    return shards


def pick_indexed(
    index: File, shards: Mapping[str, str], read: Mapping[str, Sequence[Tensor]]
) -> tuple[list[Tensor], list[str]]:
    """Take from the shards the tensors that the index names.

    Args:
        index: the index.
        shards: the shard of each tensor.
        read: the tensors in each shard.

    Returns:
        The tensors, by shard and then in the shard's order, and notes.

    Raises:
        SourceError: a tensor is not in its shard.
    """
    held = {(shard, tensor.name) for shard, tensors in read.items() for tensor in tensors}
    for name, shard in shards.items():
        if (shard, name) not in held:
            raise SourceError(index, f"places tensor {quoted(name)} in {quoted(shard)}, which does not hold it")
    taken = [t for shard, tensors in read.items() for t in tensors if shards.get(t.name) == shard]
    stray = sum(len(tensors) for tensors in read.values()) - len(taken)
    return taken, [f"left out: {stray} tensors that the index does not name"] if stray else []
