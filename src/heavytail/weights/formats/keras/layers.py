"""What Keras says of a layer, and how the layer's variables are to be read: pure rules, no file and no keras.

Keras keeps kernels as (k..., in, out), recurrent ones as (in, gates x hidden), attention's as (features, heads, size).
The rules follow the `build` methods of the layers of Keras 3.15 (2026) and Keras 2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

from heavytail.weights.ranges import Strided, contiguous
from heavytail.weights.tensor import Hint

__all__ = ["Layer", "known", "layers", "place", "unnumbered", "variables"]

Shape = tuple[int, ...]
Reading = tuple[Strided, Hint | None]

_CONV = re.compile(r"(Depthwise|Separable)?Conv(?:olution)?([123])D(Transpose)?")
_GATES = {4: ("lstm", "ifgo"), 3: ("gru", "zrn"), 1: ("rnn", "")}  # Keras's order in torch's letters
_WIDEST_KERNEL = 32  # a 'kernel' of three axes whose first one is longer is no convolution
_ATTENTION = re.compile(r"_?(query|key|value|attention_output|output)(_dense)?")
_VECTORS = ("bias", "gamma", "beta", "moving_mean", "moving_variance", "alpha", "scale")
_CELL = ("kernel", "recurrent_kernel", "bias")
_NORM = ("gamma", "beta", "moving_mean", "moving_variance")

_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "BatchNormalization": _NORM,
    "Dense": ("kernel", "bias"),
    "EinsumDense": ("kernel", "bias"),
    "Embedding": ("embeddings",),
    "GRUCell": _CELL,
    "GroupNormalization": _NORM[:2],
    "LSTMCell": _CELL,
    "LayerNormalization": _NORM[:2],
    "PReLU": ("alpha",),
    "RMSNormalization": ("scale",),
    "SimpleRNNCell": _CELL,
}
_CONVS = [f"{kind}Conv{d}D" for kind in ("", "Depthwise", "Separable") for d in (1, 2, 3)]
_CLASSES = (*_VARIABLES, *_CONVS, *(f"Conv{d}DTranspose" for d in (1, 2, 3)), "LSTM", "GRU", "SimpleRNN")


@dataclass(frozen=True)
class Layer:
    """A layer as a configuration describes it.

    Attributes:
        kind: its class, as Keras names it; empty if unknown.
        name: its name; empty if unknown.
        config: its arguments.
        children: the layers that it holds, in their order.
    """

    kind: str
    name: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    children: tuple[Layer, ...] = ()

    @cached_property
    def by_name(self) -> dict[str, int]:
        """Positions of its children by their names; the first one where two have the same."""
        return {child.name: i for i, child in reversed([*enumerate(self.children)])}

    @cached_property
    def by_class(self) -> dict[str, list[int]]:
        """Positions of its children by the names that Keras makes of their classes."""
        found: dict[str, list[int]] = {}
        for i, child in enumerate(self.children):
            found.setdefault(snake(child.kind), []).append(i)
        return found


def layers(node: object) -> Layer | None:
    """Build the tree of layers from a model's configuration; None where `node` describes no layer."""
    if not isinstance(node, dict) or not isinstance(node.get("class_name"), str):
        return None
    config = node.get("config")
    if isinstance(config, list):  # Sequential in Keras 1 and early Keras 2
        config = {"layers": config}
    if not isinstance(config, dict):
        config = {}
    inner = [config.get(key) for key in ("layers", "layer", "backward_layer", "cell", "cells")]
    nodes = [entry for value in inner for entry in (value if isinstance(value, list) else [value])]
    name = config.get("name", node.get("name"))
    kind = node["class_name"].rpartition(">")[2]
    return Layer(
        kind, name if isinstance(name, str) else "", config, tuple(child for entry in nodes if (child := layers(entry)))
    )


def snake(kind: str) -> str:
    """Give the name that Keras makes of a class."""
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", kind))).lower()


def unnumbered(name: str) -> str:
    """Take off the number that Keras puts behind a name to make it unique."""
    return re.sub(r"_\d+$", "", name)


_BY_SNAKE = {snake(kind): kind for kind in _CLASSES}


def known(name: str) -> Layer | None:
    """Give a layer of the class from which Keras made a name, 'conv2d_3' for example; None if it is no such name."""
    kind = _BY_SNAKE.get(unnumbered(name))
    return Layer(kind) if kind else None


def variables(layer: Layer | None, count: int) -> tuple[str, ...]:
    """Name the variables of a layer that has `count` of them, in the order in which Keras keeps them.

    Returns:
        The names; empty if they are not known.
    """
    if layer is None:
        return ()
    names = _VARIABLES.get(layer.kind, ())
    match = _CONV.fullmatch(layer.kind)
    if match:
        separable = match[1] == "Separable"
        names = ("depthwise_kernel", "pointwise_kernel", "bias") if separable else ("kernel", "bias")
    elif "Normalization" in layer.kind:
        unused = {"scale": "gamma", "center": "beta"}
        missing = [name for option, name in unused.items() if layer.config.get(option) is False]
        names = tuple(name for name in names if name not in missing)
        return names if len(names) == count else ()
    return names


def place(layer: Layer | None, path: Sequence[str], name: str, around: Mapping[str, Shape]) -> Reading:
    """Say how a variable is to be seen: where its numbers stand for torch's order of axes, and what it is.

    Args:
        layer: the layer that it belongs to, as far as it is known.
        path: names of the layers that lead to it.
        name: name of the variable.
        around: shapes of the layer's variables by their names, this one among them.
    """
    shape = around[name]
    as_is = Strided(shape, contiguous(shape))
    if name in _VECTORS:
        return _flat(shape, len(shape)), None
    if 0 in shape or not shape:
        return as_is, None
    if name.endswith("embeddings") and len(shape) == 2:
        return as_is, Hint("embedding")
    if name in ("kernel", "recurrent_kernel") and "recurrent_kernel" in around and len(shape) == 2:
        return _recurrent(shape, around["recurrent_kernel"])
    if name == "W" and layer is not None and layer.config.get("dim_ordering") == "th" and len(shape) == 4:
        return as_is, Hint("conv2d", stride=_stride(layer, 2))
    if not name.endswith("kernel") and not (name == "W" and layer is not None):
        return as_is, None
    return _einsum(layer, path, shape) or _kernel(_class(layer, around), name, shape) or (as_is, None)


def _flat(shape: Shape, axes: int) -> Strided:
    """See the first `axes` axes as one, and the others as one if there are any."""
    flat = (prod(shape[:axes]), *((prod(shape[axes:]),) if axes < len(shape) else ()))
    return Strided(flat, contiguous(flat))


def _recurrent(shape: Shape, recurrent: Shape) -> Reading:
    """See the stacked gates of a recurrent layer as rows."""
    rows, columns = shape
    hidden = recurrent[0]
    if len(recurrent) != 2 or columns != recurrent[1] or not hidden or columns % hidden:
        return Strided(shape, contiguous(shape)), Hint("linear")
    kind, gates = _GATES.get(columns // hidden, ("linear", ""))
    return Strided((columns, rows), (1, columns)), Hint(kind, gates=gates)


def _einsum(layer: Layer | None, path: Sequence[str], shape: Shape) -> Reading | None:
    """See the kernel of a linear map between several axes as one matrix, where its axes stand in two runs."""
    kind = layer.kind if layer is not None else ""
    if len(shape) < 3 or not (kind in ("", "EinsumDense") or "Attention" in kind):
        return None
    equation = layer.config.get("equation") if layer is not None else None
    role = _ATTENTION.fullmatch(path[-1]) if path else None
    if isinstance(equation, str) and (match := re.fullmatch(r"([^,]*),([^,]*)->(.*)", equation)):
        given, kernel, made = match.groups()
        used = [label in given for label in kernel]
        split = sum(used)
        shared = any(label in given and label in made for label in kernel)
        if len(kernel) != len(shape) or shared or used not in (sorted(used), sorted(used, reverse=True)):
            return None
        split = split if used[0] else len(shape) - split
    elif role and len(shape) == 3:
        split = 2 if "output" in role[1] else 1
    else:
        return None
    return (_flat(shape, split), Hint("linear")) if 0 < split < len(shape) else None


def _class(layer: Layer | None, around: Mapping[str, Shape]) -> Layer | None:
    """Give the layer if its class is one of Keras's, else tell what a kernel is by its bias.

    A bias has one number for each output, so it tells the axis of the outputs.
    """
    if layer is not None and (layer.kind in _VARIABLES or _CONV.fullmatch(layer.kind)):
        return layer
    kernel, bias = around.get("kernel", ()), around.get("bias", ())
    d = len(kernel) - 2
    if not 1 <= d <= 3 or (d == 1 and kernel[0] > _WIDEST_KERNEL):
        return None
    kinds = {kernel[-2:-1]: f"Conv{d}DTranspose", (kernel[-2] * kernel[-1],): f"DepthwiseConv{d}D"}
    kinds[kernel[-1:]] = f"Conv{d}D"
    return Layer(kinds.get(bias or kernel[-1:], ""))


def _kernel(layer: Layer | None, name: str, shape: Shape) -> Reading | None:
    """See a kernel of a convolution in torch's order, (out, in, k...) or, transposed, (in, out, k...)."""
    if len(shape) == 2:
        return Strided(shape, contiguous(shape)), Hint("linear")
    d = len(shape) - 2
    layer = layer or Layer("")
    match = _CONV.fullmatch(layer.kind)
    if not 1 <= d <= 3 or not (match or name in ("depthwise_kernel", "pointwise_kernel")):
        return None
    kind, steps = f"conv{d}d", contiguous(shape)
    stride = _stride(layer, d) if name != "pointwise_kernel" else ()
    if name == "depthwise_kernel" or (match and match[1] == "Depthwise"):
        # The multiplier's outputs of a channel stand side by side, as torch's do.
        seen = Strided((shape[-2] * shape[-1], 1, *shape[:d]), (1, 1, *steps[:d]))
        return seen, Hint(kind, groups=shape[-2], stride=stride)
    groups = layer.config.get("groups", 1)
    if type(groups) is not int or groups < 1 or shape[-1] % groups:
        return None
    seen = Strided((shape[-1], shape[-2], *shape[:d]), (steps[-1], steps[-2], *steps[:d]))
    return seen, Hint(kind, groups, transposed=bool(match and match[3]), stride=stride)


def _stride(layer: Layer, d: int) -> tuple[int, ...]:
    """Give the stride of a convolution; empty if it is not stated."""
    stride = layer.config.get("strides", layer.config.get("subsample"))
    sides = stride if isinstance(stride, list) else [stride] * d
    return tuple(sides) if len(sides) == d and all(type(n) is int for n in sides) else ()
