"""A live torch module: its parameters and buffers as they are on its device, never altered."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heavytail.weights.faults import quoted
from heavytail.weights.formats.memory import torch_blocks, torch_tensor
from heavytail.weights.ranges import unreadable
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
        derived = _derived(owner)
        replaced = frozenset(part for made in derived for part in made.replaced)
        tensors += _own(path, owner, origin, replaced)
        for made in derived:
            full = _joined(path, made.name)
            tensors.append(_effective(full, owner, made, origin))
            notes.append(f"{quoted(full)} is made by {made.how}; the weight as used in evaluation is read")
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


def _own(path: str, owner: Any, origin: str, replaced: frozenset[str]) -> Iterator[Tensor]:
    """Describe the tensors that a module holds itself, but for those that a derived weight replaces."""
    fleeting = getattr(owner, "_non_persistent_buffers_set", ())
    held = {"recurse": False, "remove_duplicate": False}
    for name, value in (*owner.named_parameters(**held), *owner.named_buffers(**held)):
        if name not in fleeting and name not in replaced:
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
    if isinstance(owner, nn.Bilinear):
        return Hint("bilinear")
    for n in (1, 2, 3):
        if isinstance(owner, (getattr(nn, f"Conv{n}d"), getattr(nn, f"ConvTranspose{n}d"))):
            return Hint(f"conv{n}d", owner.groups, bool(owner.transposed), tuple(owner.stride))
    return None


@dataclass(frozen=True, slots=True)
class _Derived:
    """A weight that a layer computes from other tensors.

    Attributes:
        name: the layer's name for it.
        how: what computes it.
        compute: gives it as evaluation uses it, without a change to the layer.
        replaced: names of the tensors that it is made from.
    """

    name: str
    how: str
    compute: Callable[[], Any]
    replaced: tuple[str, ...] = ()


def _derived(owner: Any) -> list[_Derived]:
    """Find the weights that a layer computes: by parametrizations, or by the older hooks of the two norms."""
    found = []
    for name, steps in (owner._modules.get("parametrizations") or {}).items():
        how = ", ".join(type(step).__name__ for step in steps)
        found.append(_Derived(name, how, partial(_parametrised, steps)))
    for hook in owner._forward_pre_hooks.values():
        home = (type(hook).__module__, type(hook).__name__)
        if home == ("torch.nn.utils.weight_norm", "WeightNorm"):
            parts: tuple[str, ...] = (f"{hook.name}_g", f"{hook.name}_v")
            found.append(_Derived(hook.name, "WeightNorm", partial(hook.compute_weight, owner), parts))
        elif home == ("torch.nn.utils.spectral_norm", "SpectralNorm"):
            parts = (f"{hook.name}_orig", f"{hook.name}_u", f"{hook.name}_v")
            compute = partial(hook.compute_weight, owner, do_power_iteration=False)
            found.append(_Derived(hook.name, "SpectralNorm", compute, parts))
    return found


def _parametrised(steps: Any) -> Any:
    """Compute a parametrised weight on a copy: in training, spectral_norm would write to its buffers."""
    return copy.deepcopy(steps).eval()()


def _effective(name: str, owner: Any, made: _Derived, origin: str) -> Tensor:
    with sys.modules["torch"].no_grad():
        sample = torch_tensor(name, made.compute(), origin, _hint(owner, made.name))
    if sample.problem is not None:
        return sample
    blocks = partial(_effective_blocks, made, name, origin)
    return replace(sample, blocks=blocks, storage=("derived", id(owner), made.name), whole=True)


def _effective_blocks(made: _Derived, name: str, origin: str, rows: int) -> Iterator[Array]:
    with sys.modules["torch"].no_grad():
        value = made.compute()
    yield from torch_blocks(value, name, origin, rows)


def _packed(path: str, owner: Any, origin: str) -> Iterator[Tensor]:
    """Describe the weight of a quantised layer, which is packed away from its parameters."""
    if not hasattr(owner, "_packed_params") or not callable(getattr(owner, "weight", None)):
        return
    value = owner.weight()
    dtype = str(value.dtype).removeprefix("torch.")
    problem = f"it is quantised ({dtype}) with scales of its own"
    yield unreadable(_joined(path, "weight"), tuple(value.shape), dtype, origin, problem)
