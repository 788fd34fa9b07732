"""A live torch module: its parameters and buffers as they are on its device, never altered."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heavytail.weights.formats.faults import quoted
from heavytail.weights.formats.memory import torch_blocks, torch_tensor
from heavytail.weights.formats.ranges import unreadable
from heavytail.weights.tensor import Hint, Tensor

__all__ = ["read_module"]

Array = NDArray[np.generic]


def read_module(module: Any) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    """Describe the parameters and persistent buffers of a torch module.

    A parametrised weight (weight_norm, spectral_norm, ...) is given as the layer uses it in evaluation, under the
    layer's own name, in place of the tensors that it is made from.

    Returns:
        The tensors, and notes on what was replaced.
    """
    module = _unwrapped(module)
    origin = type(module).__name__
    tensors: list[Tensor] = []
    notes: list[str] = []
    for prefix, owner in module.named_modules(remove_duplicate=False):
        path = _clean(prefix)
        if _inside_parametrisation(path):
            continue
        tensors += _own(path, owner, origin)
        for name, made in _parametrised(owner):
            full = _joined(path, name)
            tensors.append(_effective(full, owner, name, made, origin))
            notes.append(f"{quoted(full)} is parametrised by {_kinds(made)}; the weight as used in evaluation is read")
        tensors += _packed(path, owner, origin)
    return tuple(tensors), tuple(notes)


def _unwrapped(module: Any) -> Any:
    """Take off what torch.compile and DataParallel put around a module."""
    torch = sys.modules["torch"]
    while True:
        if type(module).__name__ == "OptimizedModule":
            module = module._orig_mod
        elif isinstance(module, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
            module = module.module
        else:
            return module


def _clean(path: str) -> str:
    return ".".join(part for part in path.split(".") if part != "_orig_mod")


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _inside_parametrisation(path: str) -> bool:
    return "parametrizations" in path.split(".")


def _own(path: str, owner: Any, origin: str) -> Iterator[Tensor]:
    """Describe the tensors that a module holds itself."""
    fleeting = getattr(owner, "_non_persistent_buffers_set", ())
    held = {"recurse": False, "remove_duplicate": False}
    for name, value in (*owner.named_parameters(**held), *owner.named_buffers(**held)):
        if name not in fleeting:
            yield torch_tensor(_joined(path, name), value, origin, _hint(owner, name))


def _hint(owner: Any, name: str) -> Hint | None:
    """Say what a module's class tells about one of its tensors."""
    nn = sys.modules["torch"].nn
    if name.startswith(("weight_ih", "weight_hh", "weight_hr")):
        for kind in ("lstm", "gru", "rnn"):
            if isinstance(owner, (getattr(nn, kind.upper()), getattr(nn, f"{kind.upper()}Cell"))):
                return Hint(kind)
    if name != "weight":
        return None
    if isinstance(owner, nn.Linear):
        return Hint("linear")
    if isinstance(owner, nn.Embedding | nn.EmbeddingBag):
        return Hint("embedding")
    for n in (1, 2, 3):
        if isinstance(owner, (getattr(nn, f"Conv{n}d"), getattr(nn, f"ConvTranspose{n}d"))):
            return Hint(f"conv{n}d", owner.groups, bool(owner.transposed), tuple(owner.stride))
    return None


def _parametrised(owner: Any) -> list[tuple[str, Any]]:
    lists = owner._modules.get("parametrizations")
    return [] if lists is None else list(lists.items())


def _kinds(made: Any) -> str:
    return ", ".join(type(step).__name__ for step in made)


def _effective(name: str, owner: Any, own: str, made: Any, origin: str) -> Tensor:
    with sys.modules["torch"].no_grad():
        sample = torch_tensor(name, _compute(made), origin, _hint(owner, own))
    if sample.problem is not None:
        return sample
    storage = ("parametrised", id(made))
    blocks = partial(_effective_blocks, made, name, origin)
    return Tensor(name, sample.shape, sample.dtype, blocks, origin, storage, hint=sample.hint)


def _effective_blocks(made: Any, name: str, origin: str, rows: int) -> Iterator[Array]:
    with sys.modules["torch"].no_grad():
        value = _compute(made)
    yield from torch_blocks(value, name, origin, rows)


def _compute(made: Any) -> Any:
    """Compute a parametrised weight on a copy: in training, spectral_norm would write to its buffers."""
    return copy.deepcopy(made).eval()()


def _packed(path: str, owner: Any, origin: str) -> Iterator[Tensor]:
    """Describe the weight of a quantised layer, which is packed away from its parameters."""
    if not hasattr(owner, "_packed_params") or not callable(getattr(owner, "weight", None)):
        return
    value = owner.weight()
    dtype = str(value.dtype).removeprefix("torch.")
    problem = f"it is quantised ({dtype}) with scales of its own"
    yield unreadable(_joined(path, "weight"), tuple(value.shape), dtype, origin, problem)
