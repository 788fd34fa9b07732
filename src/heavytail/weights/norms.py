"""Weights that a checkpoint stores in parts: weight_norm's magnitude and direction, spectral_norm's unscaled matrix."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from math import prod

import numpy as np

from heavytail.weights.tensor import Array, Tensor

__all__ = ["join_norms"]

# What torch calls the parts: by its parametrizations, and by the hooks that came before them.
_NAMES = (
    re.compile(r"^(?P<at>(?:.*\.)?)parametrizations\.(?P<weight>\w+)\.(?P<part>original1?)$"),
    re.compile(r"^(?P<at>(?:.*\.)?)(?P<weight>\w+)_(?P<part>v|orig)$"),
)
_OTHERS = {
    "original1": ("parametrizations.{}.original0",),
    "original": ("parametrizations.{}.0._u", "parametrizations.{}.0._v"),
    "v": ("{}_g",),
    "orig": ("{}_u", "{}_v"),
}


def join_norms(tensors: Iterable[Tensor]) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    """Join the parts of normalised weights into the weights that the network computes with.

    weight_norm is g v / ||v||, the norm taken over all axes but the first (torch's default) or over all of them
    (Salimans and Kingma 2016, eq. 2); spectral_norm is W / (u^T W v) with the stored u and v (Miyato et al. 2018,
    eq. 8). A joined tensor keeps the name that the layer gives the weight.

    Returns:
        The tensors, a joined one in the place of its first part, and a note that says how many were joined.
    """
    named = {tensor.name: tensor for tensor in tensors}
    joined: dict[str, Tensor] = {}
    parts: set[str] = set()
    for name, tensor in named.items():
        found = _parts(name, named)
        if found:
            weight, others = found
            blocks = _blocks(tensor, others)
            if blocks and weight not in named:
                files = tuple(dict.fromkeys(file for part in (tensor, *others) for file in part.files))
                joined[name] = Tensor(
                    weight,
                    tensor.shape,
                    tensor.dtype,
                    blocks,
                    tensor.origin,
                    hint=tensor.hint,
                    files=files,
                    whole=tensor.whole,
                )
                parts.update(other.name for other in others)
    if not joined:
        return tuple(named.values()), ()
    note = f"{len(joined)} weights under weight_norm or spectral_norm were formed from their parts"
    return tuple(joined.get(name, tensor) for name, tensor in named.items() if name not in parts), (note,)


def _parts(name: str, named: Mapping[str, Tensor]) -> tuple[str, tuple[Tensor, ...]] | None:
    """Give the name of the weight that a tensor is the main part of, and the other parts."""
    for pattern in _NAMES:
        match = pattern.match(name)
        if match:
            others = [match["at"] + other.format(match["weight"]) for other in _OTHERS[match["part"]]]
            if all(other in named for other in others):
                return match["at"] + match["weight"], tuple(named[other] for other in others)
    return None


def _blocks(tensor: Tensor, others: tuple[Tensor, ...]) -> Callable[[int], Iterator[Array]] | None:
    """Give what reads the joined weight, or None where the parts do not fit."""
    if len(tensor.shape) < 2 or not tensor.size or any(part.problem for part in (tensor, *others)):
        return None
    rows = tensor.shape[0]
    if len(others) == 1:
        magnitude = others[0]
        if magnitude.size == 1 or (magnitude.size == rows == magnitude.shape[0]):
            return partial(_weight_norm, tensor, magnitude)
        return None
    if (others[0].size, others[1].size) == (rows, prod(tensor.shape[1:])):
        return partial(_spectral_norm, tensor, others[0], others[1])
    return None


def _weight_norm(direction: Tensor, magnitude: Tensor, rows: int) -> Iterator[Array]:
    g = magnitude.read().astype(np.float64).reshape(-1)
    if g.size == 1:
        whole = sum(float(np.square(block.astype(np.float64)).sum()) for block in direction.blocks(rows))
        g = np.full(direction.shape[0], g[0] / np.sqrt(whole))
        lengths = None
    else:
        lengths = tuple(range(1, len(direction.shape)))
    first = 0
    for block in direction.blocks(rows):
        v = block.astype(np.float64)
        scale = g[first : first + len(v)].reshape(-1, *[1] * (v.ndim - 1))
        with np.errstate(divide="ignore", invalid="ignore"):
            yield v * (scale if lengths is None else scale / np.sqrt(np.square(v).sum(axis=lengths, keepdims=True)))
        first += len(v)


def _spectral_norm(tensor: Tensor, left: Tensor, right: Tensor, rows: int) -> Iterator[Array]:
    u, v = (part.read().astype(np.float64).reshape(-1) for part in (left, right))
    sigma, first = 0.0, 0
    for block in tensor.blocks(rows):
        sigma += float(u[first : first + len(block)] @ (block.astype(np.float64).reshape(len(block), -1) @ v))
        first += len(block)
    for block in tensor.blocks(rows):
        yield block.astype(np.float64) / sigma
