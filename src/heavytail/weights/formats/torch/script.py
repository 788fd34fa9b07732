"""TorchScript archives: the attributes of modules as a tree of names, and what the code beside them says of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from heavytail.errors import SourceError
from heavytail.weights.faults import quoted, reading
from heavytail.weights.formats.archive import content
from heavytail.weights.formats.torch.calls import Code, Instance
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


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A description of a tensor, with the object that holds it; None for a constant of the code."""

    ref: Any
    attribute: str
    owner: Instance | None


def read_torchscript(file: File, regions: Mapping[str, Region]) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    """Describe the tensors of a TorchScript archive, as torch.jit.save writes it since PyTorch 1.3.

    Names are paths of attributes, as the state dict of the loaded module has them; tensors that are neither parameters
    nor buffers have theirs too. Constants of the code, which torch.jit.freeze makes of weights, are 'constants.c0' and
    so on, as the code calls them. The inputs of a trace are no weights and are left out. What a tensor is used for is
    taken from its module's class and constants, else from the calls in the code, which is read and never run.

    Args:
        file: the file.
        regions: its members.

    Returns:
        The tensors, and notes on what was renamed and on what the code leaves open.

    Raises:
        SourceError: the archive is damaged, is of another kind, or names what no archive of weights needs.
    """
    inner = {name.partition("/")[2] for name in regions} | set(regions)
    for member, refusal in _RELATIVES.items():
        if member in inner:
            raise SourceError(file, refusal)
    archive = open_archive(file, regions)
    root = _unpickled(archive, "data")
    constants = _unpickled(archive, "constants") if "constants.pkl" in archive.regions else ()
    leaves = [*_leaves(archive, root, "data", ""), *_leaves(archive, constants, "constants", "constants.c")]
    found = numbered(leaves)
    tensors = located(file, ((name, leaf.ref) for name, leaf in found.items), partial(_region, archive), archive.swap)
    code = Code(partial(_text, archive), [constant for _, constant in children(constants)])
    code.follow(_instances(root))
    hints = [_hint(leaf, code) for _, leaf in found.items]
    told = tuple(replace(t, hint=h) if h and not t.problem else t for t, h in zip(tensors, hints, strict=True))
    return told, (*found.notes, *_silences(code, [leaf for _, leaf in found.items]))


def _unpickled(archive: Archive, folder: str) -> object:
    return archive.unpickle(f"{folder}.pkl", _find, partial(_storage, folder))


def _leaves(archive: Archive, root: object, folder: str, prefix: str) -> Iterator[tuple[str, _Leaf]]:
    if f"{folder}.pkl" in archive.regions:
        with reading(archive.file, "its tree of attributes"):
            yield from _Walk(archive.regions[f"{folder}.pkl"].size).below(root, prefix, None, 0)


def _text(archive: Archive, module: str) -> str | None:
    """Give the text of a module of code, None if there is none that can be read: weights can be read without it."""
    member = f"code/{module.replace('.', '/')}.py"
    if member not in archive.regions:
        return None
    try:
        with reading(archive.file, "its code"):
            return content(archive.file, archive.regions, member, _MOST_CODE).decode("utf-8", "replace")
    except SourceError as error:
        if isinstance(error.__cause__, OSError):  # the place failed, not the text
            raise
        return None


def _instances(root: object) -> Iterator[Instance]:
    """Give the objects of the archive, each once, a module before its parts."""
    seen: set[int] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Instance):
            yield node
        stack += reversed([child for _, child in _attributes(node)])


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
        return Instance(name)
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

    def below(self, node: object, path: str, owner: Instance | None, depth: int) -> Iterator[tuple[str, _Leaf]]:
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
        owner = node if isinstance(node, Instance) else None
        for key, child in _attributes(node):
            # The constants are a tuple that stands for names: c0, c1, ...
            name = f"{path}{key}" if not depth else f"{path}.{key}"
            yield from self.below(child, name, owner, depth + 1)


def _attributes(node: object) -> Iterator[tuple[str, Any]]:
    if not isinstance(node, Instance):
        yield from children(node)
    elif is_described(node.state) or isinstance(node.state, Instance):  # what __getstate__ gave
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


def _hint(leaf: _Leaf, code: Code) -> Hint | None:
    """Say what a module's class tells about one of its tensors, else what the code does with it."""
    used = code.hints.get(id(leaf.ref))
    convolution = _convolution_of(leaf)
    if leaf.owner is None:
        return used
    if convolution is None:
        return _class_hint(leaf, leaf.owner) or used
    return (
        _convolution(leaf.ref.shape, convolution, code.constants(leaf.owner))
        or used
        or _bare_class(leaf.ref.shape, convolution)
    )


def _class_hint(leaf: _Leaf, owner: Instance) -> Hint | None:
    """Say what the name of one of torch's classes alone tells."""
    match = _TORCH_CLASS.fullmatch(owner.name)
    if match is None:
        return None
    axes = len(leaf.ref.shape)
    if leaf.attribute.startswith(("weight_ih", "weight_hh", "weight_hr")):
        recurrent = _RECURRENT.fullmatch(match["name"])
        return Hint(recurrent["kind"].lower()) if recurrent and axes == 2 else None
    kind = _KINDS.get(match["name"]) if leaf.attribute == "weight" else None
    return Hint(kind) if kind and axes == (3 if kind == "bilinear" else 2) else None


def _convolution_of(leaf: _Leaf) -> re.Match[str] | None:
    """Match the class of the convolution whose kernel this is."""
    match = _TORCH_CLASS.fullmatch(leaf.owner.name) if leaf.owner and leaf.attribute == "weight" else None
    convolution = _CONVOLUTION.fullmatch(match["name"]) if match else None
    return convolution if convolution and len(leaf.ref.shape) == int(convolution["axes"]) + 2 else None


def _convolution(shape: tuple[int, ...], match: re.Match[str], constants: Mapping[str, object]) -> Hint | None:
    """Say what a class with its constants tells; a traced one has none."""
    groups, stride = constants.get("groups"), constants.get("stride")
    if type(groups) is not int or groups < 1 or shape[0] % groups:
        return None
    if not isinstance(stride, tuple) or len(stride) != len(shape) - 2:
        return None
    return Hint(f"conv{match['axes']}d", groups, match["transposed"] is not None, stride)


def _bare_class(shape: tuple[int, ...], match: re.Match[str]) -> Hint | None:
    """Say what the class without its groups tells: a transposed kernel. The rest can be guessed from the shape."""
    known = match["transposed"] is not None and shape[1] > 1
    return Hint(f"conv{match['axes']}d", transposed=True) if known else None


def _silences(code: Code, leaves: Iterable[_Leaf]) -> Iterator[str]:
    """Say what the code leaves open."""
    silent = sum(_silent(leaf, code) for leaf in leaves)
    if silent:
        yield f"{silent} convolutions have no stated groups, which are guessed from shapes"
    if code.absent:
        yield (
            f"{code.absent} tensors are not in the archive: torch.jit.optimize_for_inference turned them into "
            "oneDNN's own form, which torch does not save"
        )


def _silent(leaf: _Leaf, code: Code) -> bool:
    """Say whether a tensor is, or may be, the kernel of a convolution whose groups are not known."""
    if id(leaf.ref) in code.hints or len(leaf.ref.shape) not in (3, 4, 5):
        return False
    if id(leaf.ref) in code.vague or leaf.owner is None:
        return id(leaf.ref) in code.vague or bool(code.unread)
    match = _convolution_of(leaf)
    return match is not None and _convolution(leaf.ref.shape, match, code.constants(leaf.owner)) is None
