"""TorchScript archives: the attributes of modules as a tree of names, without the code that stands beside them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from heavytail.errors import SourceError
from heavytail.weights.faults import quoted, reading
from heavytail.weights.formats.archive import content
from heavytail.weights.formats.torch.described import is_described, located
from heavytail.weights.formats.torch.objects import find_global, storage_of
from heavytail.weights.formats.torch.pickles import Opaque, Symbol
from heavytail.weights.formats.torch.refs import StorageRef, TensorRef, sizes
from heavytail.weights.formats.torch.zip import Archive, open_archive
from heavytail.weights.formats.wrappers import children, numbered
from heavytail.weights.places.files import File
from heavytail.weights.ranges import Region
from heavytail.weights.tensor import Hint, Tensor

__all__ = ["read_torchscript"]

_DEEPEST = 100
_LEAST_BUDGET = 1 << 23
_VISIT_COST = 64
_MOST_CODE = 1 << 20

_EXPORTED = (
    "is an exported program (torch.export, .pt2), which is not read; "
    "save its weights with: torch.save(torch.export.load(FILE).state_dict, 'weights.pt')"
)
# Other archives of torch, by a member that no other has, with what to do about them.
_RELATIVES = {
    "model.json": (
        "is a TorchScript archive of PyTorch 1.2 or older, which is not read; "
        "load it with torch.jit.load and save it again with a newer PyTorch"
    ),
    "archive_format": _EXPORTED,
    "serialized_exported_program.json": _EXPORTED,
    ".data/extern_modules": (
        "is a torch.package archive, whose pickles need its own code, and is not read; "
        "load it where it is trusted and save the state dict alone"
    ),
}


@dataclass(slots=True, eq=False)
class _Object:
    """An object of a class that the archive defines: what it was given as its state, and nothing else."""

    name: str
    state: object = None

    def accept_state(self, state: object) -> None:
        self.state = state


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A description of a tensor, with the class of the module that holds it."""

    ref: Any
    attribute: str
    owner: str


def read_torchscript(file: File, regions: Mapping[str, Region]) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    """Describe the tensors of a TorchScript archive, as torch.jit.save writes it since PyTorch 1.3.

    Names are paths of attributes, as the state dict of the loaded module has them; tensors that are neither parameters
    nor buffers have theirs too. Constants of the code, which torch.jit.freeze makes of weights, are 'constants.c0' and
    so on, as the code calls them. The inputs of a trace are no weights and are left out.

    Args:
        file: the file.
        regions: its members.

    Returns:
        The tensors, and notes on what was renamed.

    Raises:
        SourceError: the archive is damaged, is of another kind, or names what no archive of weights needs.
    """
    inner = {name.partition("/")[2] for name in regions} | set(regions)
    for member, refusal in _RELATIVES.items():
        if member in inner:
            raise SourceError(file, refusal)
    archive = open_archive(file, regions)
    leaves = list(_leaves(archive, "data", ""))
    if "constants.pkl" in archive.regions:
        leaves += _leaves(archive, "constants", "constants.c")
    found = numbered(leaves)
    tensors = located(file, ((name, leaf.ref) for name, leaf in found.items), partial(_region, archive), archive.swap)
    facts: dict[str, Mapping[str, Any]] = {}
    hints = (_hint(archive, leaf, facts) for _, leaf in found.items)
    return tuple(
        replace(t, hint=h) if h and not t.problem else t for t, h in zip(tensors, hints, strict=True)
    ), found.notes


def _leaves(archive: Archive, folder: str, prefix: str) -> Iterator[tuple[str, _Leaf]]:
    root = archive.unpickle(f"{folder}.pkl", _find, partial(_storage, folder))
    with reading(archive.file, "its tree of attributes"):
        yield from _Walk(archive.regions[f"{folder}.pkl"].size).below(root, prefix, "", 0)


def _storage(folder: str, identity: object) -> StorageRef:
    """Read a persistent id; the storages of attributes and those of constants are counted apart."""
    run = storage_of(identity)
    return replace(run, key=f"{folder}/{run.key}")


def _region(archive: Archive, run: StorageRef) -> Region | None:
    found = archive.storage(run, folder="")
    if found is None and run.key.startswith("data/"):  # as older archives have it
        found = archive.storage(replace(run, key=run.key.removeprefix("data/")), folder="tensors/")
    return found


def _find(name: str) -> object:
    """Give what stands for a name: an empty object for every class that the archive defines."""
    if name.startswith("__torch__."):
        return Symbol(name, build=partial(_made, name))
    return _GLOBALS.get(name) or find_global(name)


def _made(name: str, *arguments: object) -> object:
    """Make an object, whose state follows, or a member of an enumeration, which is made of its value."""
    if not arguments:
        return _Object(name)
    if len(arguments) > 1 or not isinstance(arguments[0], str | int | float):
        raise ValueError(f"the pickle calls {quoted(name)}, which is code; it only makes objects and sets attributes")
    return Opaque(name)


def _first(value: object, *_: object) -> object:
    """Give a list or a dict without the mark of its type."""
    return value


def _sparse(layout: object, shape: object, *parts: object) -> TensorRef:
    """Describe a sparse tensor; torch.save gives it other arguments."""
    dtype = next((part.dtype for part in reversed(parts) if isinstance(part, TensorRef)), "unknown")
    return TensorRef(sizes(shape), dtype, problem="it is sparse")


_MARKS = ("restore_type_tag", "build_intlist", "build_tensorlist", "build_doublelist", "build_boollist")
# Storages that torch.save writes as bytes without a type.
_STORAGES = {
    "ComplexHalf": "complex32",
    **{f"UInt{bits}": f"uint{bits}" for bits in (16, 32, 64)},
    **{f"Float8_{kind}": f"float8_{kind}" for kind in ("e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz", "e8m0fnu")},
}
# What the pickles of TorchScript name beside classes and what is in other files of torch, or use in another way.
_GLOBALS: dict[str, Symbol] = {
    "torch._utils._rebuild_sparse_tensor": Symbol("torch._utils._rebuild_sparse_tensor", build=_sparse),
    **{name: Symbol(name, build=_first) for name in (f"torch.jit._pickle.{mark}" for mark in _MARKS)},
    **{name: Symbol(name, value=dtype) for name, dtype in ((f"torch.{k}Storage", d) for k, d in _STORAGES.items())},
}


class _Walk:
    """One walk over the objects, in the order of their attributes; what is shared is met at each of its places."""

    def __init__(self, size: int) -> None:
        # Shared objects can multiply, where a few bytes make millions of names.
        self.left = _LEAST_BUDGET + 16 * size

    def below(self, node: object, path: str, owner: str, depth: int) -> Iterator[tuple[str, _Leaf]]:
        """Name the tensors at and below an object.

        Raises:
            ValueError: there are too many attributes, or they are nested too deeply, as in an object that holds itself.
        """
        self.left -= _VISIT_COST + len(path)
        if self.left < 0:
            raise ValueError("shared objects make far more attributes than the file has")
        if depth > _DEEPEST:
            raise ValueError(f"objects are nested more than {_DEEPEST} deep")
        if is_described(node):
            yield path or "tensor", _Leaf(node, path.rpartition(".")[2], owner)
            return
        owner = node.name if isinstance(node, _Object) else ""
        for key, child in _attributes(node):
            # The constants are a tuple that stands for names: c0, c1, ...
            name = f"{path}{key}" if not depth else f"{path}.{key}"
            yield from self.below(child, name, owner, depth + 1)


def _attributes(node: object) -> Iterator[tuple[str, Any]]:
    if not isinstance(node, _Object):
        yield from children(node)
    elif is_described(node.state) or isinstance(node.state, _Object):  # what __getstate__ gave
        yield "state", node.state
    else:
        yield from children(node.state)


_TORCH_CLASS = re.compile(r"__torch__\.torch\.nn\.modules\.\w+\.(?:___torch_mangle_\d+\.)?(?P<name>\w+)")
_CONVOLUTION = re.compile(r"Conv(?P<transposed>Transpose)?(?P<axes>[123])d")
_RECURRENT = re.compile(r"(?P<kind>LSTM|GRU|RNN)(Cell)?")
_KINDS = {
    "Linear": "linear",
    "NonDynamicallyQuantizableLinear": "linear",
    "Embedding": "embedding",
    "EmbeddingBag": "embedding",
    "Bilinear": "bilinear",
}


def _hint(archive: Archive, leaf: _Leaf, facts: dict[str, Mapping[str, Any]]) -> Hint | None:
    """Say what a module's class tells about one of its tensors."""
    match = _TORCH_CLASS.fullmatch(leaf.owner)
    if match is None:
        return None
    axes = len(leaf.ref.shape)
    if leaf.attribute.startswith(("weight_ih", "weight_hh", "weight_hr")):
        recurrent = _RECURRENT.fullmatch(match["name"])
        return Hint(recurrent["kind"].lower()) if recurrent and axes == 2 else None
    if leaf.attribute != "weight":
        return None
    convolution = _CONVOLUTION.fullmatch(match["name"])
    if convolution is None:
        kind = _KINDS.get(match["name"])
        return Hint(kind) if kind and axes == (3 if kind == "bilinear" else 2) else None
    if leaf.owner not in facts:
        facts[leaf.owner] = _constants(archive, leaf.owner)
    groups, stride = facts[leaf.owner].get("groups"), facts[leaf.owner].get("stride")
    # A traced convolution states neither.
    if type(groups) is not int or groups < 1 or not isinstance(stride, tuple):
        return None
    if axes != int(convolution["axes"]) + 2 or len(stride) != axes - 2 or leaf.ref.shape[0] % groups:
        return None
    return Hint(f"conv{axes - 2}d", groups, convolution["transposed"] is not None, stride)


def _constants(archive: Archive, owner: str) -> Mapping[str, Any]:
    """Read the literals that the text of a class declares as its constants: 'groups : Final[int] = 2'."""
    module, _, name = owner.rpartition(".")
    member = f"code/{module.replace('.', '/')}.py"
    if member not in archive.regions:
        return {}
    with reading(archive.file, f"the constants of {quoted(owner)}"):
        text = content(archive.file, archive.regions, member, _MOST_CODE).decode("utf-8", "replace")
    body = re.search(rf"^class {name}\(.*\n((?: .*\n|\n)*)", text, re.MULTILINE)
    if body is None:
        return {}
    stated = re.findall(r"^  (groups|stride) : Final\[.*?\] = ([\d(), ]{1,64})$", body[1], re.MULTILINE)
    with reading(archive.file, f"the constants of {quoted(owner)}"):
        return {key: ast.literal_eval(value) for key, value in stated}
