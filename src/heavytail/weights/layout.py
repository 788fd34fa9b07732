"""Which matrices a tensor holds: linear maps, convolutions, fused projections, gates, stacks of experts.

A checkpoint says the shape and the name of a tensor and no more, so some readings are a matter of convention. They
stand here, each with its rule; a live module settles them by what it knows (`Hint`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, Literal

import numpy as np

from heavytail.weights.exclusion import LeftOut, exclude
from heavytail.weights.tensor import Array, Tensor

__all__ = ["Conv", "Part", "Plan", "plan"]

Conv = Literal["slices", "unfold", "operator"]

_FUSED = re.compile(r"(^|\.)(in_proj_weight|qkv|qkv_proj|Wqkv|c_attn|to_qkv)$")
_GATES = re.compile(r"(^|[._])w(?:eight)?_(ih|hh|hr)(_l\d+)?(_reverse)?$")
_LORA = re.compile(r"(^|\.)lora_(embedding_)?([ABE]|down|mid|up)(\.|$)")  # factors that are not joined
_GATE_NAMES = {4: ("lstm", "ifgo"), 3: ("gru", "rzn")}
_WIDEST_KERNEL = 32  # a 3-D tensor whose last axis is longer may be a stack of matrices


@dataclass(frozen=True, slots=True)
class Part:
    """The matrices of one row of the table, and how to get them from (a block of) their tensor.

    Attributes:
        name: the row's name.
        kind: what the matrices are, for the `kind` column.
        N: larger dimension of each matrix.
        M: smaller dimension.
        count: number of matrices that are pooled.
        stack: gives the (count, a, b) matrices as a view of the tensor's block, {a, b} = {N, M}; for a convolution as
            an operator the (groups, out, in, k_1, ..., k_d) kernels.
        operator: whether `stack` gives kernels whose operator is to be analysed.
        block: which of the tensor's blocks of `Plan.rows` rows the part needs.
    """

    name: str
    kind: str
    N: int
    M: int
    count: int
    stack: Callable[[Array], Array]
    operator: bool = False
    block: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done with one tensor.

    Attributes:
        tensor: the tensor.
        parts: the rows that it gives, empty where it gives none.
        rows: rows of the tensor in each of the blocks that its parts need; None for the whole tensor as one block.
        name: name of the row of a tensor that is left out.
        kind: kind of that row, where one is known.
        status: "skipped" or "unsupported" for a tensor that is left out, else "ok".
        reason: why it is left out.
    """

    tensor: Tensor
    parts: tuple[Part, ...] = ()
    rows: int | None = None
    name: str = ""
    kind: str = ""
    status: str = "ok"
    reason: str = ""


def plan(tensors: Iterable[Tensor], conv: Conv = "slices") -> tuple[Plan, ...]:
    """Decide for every tensor of a source which matrices it holds.

    Args:
        tensors: the tensors, in the order of the source.
        conv: how a convolution becomes matrices. "slices": one (out, in) matrix for each kernel position, eigenvalues
            pooled (Martin and Mahoney 2021). "unfold": one (out, in x positions) matrix. "operator": the linear map
            between images. Groups are always apart.

    Returns:
        One plan a tensor, in the same order.

    How a checkpoint's shapes are read:
        * 1-D tensors, scalars, and tensors of three axes or more of which one is longer than 1, are vectors: skipped.
          So are biases, masks, rotary tables and running statistics, by their names. Quantised weights that cannot be
          dequantised are unsupported, their scales skipped.
        * 3-D (out, in, k) is a 1-D convolution. If the last two axes both exceed 32 and the first is shorter than
          either, it is a stack of matrices (experts); leading axes of length 1 are dropped.
        * 4-D and 5-D are convolutions, (out, in, k...) as in torch, or (k..., in, out) as in Keras where the first axes
          and not the last can be a kernel, 32 wide at most. Where both can, the kernel is the end of odd sides, of
          equal sides, where the name has it (torch says 'weight', Keras 'kernel'), the smaller end.
        * (C, 1, k...) with C > 1 is depthwise, unless it is the first kernel of a model none of whose kernels has 2 to
          4 inputs, as a colour image needs: C filters, each a matrix of one row, so that its eigenvalues are the
          squared norms of the filters. Slices of 1 x 1 would say nothing.
        * A convolution with at most 4 inputs and an even kernel of at least 8 is a patch embedding: one (out, in x
          positions) matrix, whatever `conv` says. A live module tells by its stride: equal to the kernel.
        * `in_proj_weight`, `qkv`, `c_attn` and the like with one side three times the other are split into q, k and v;
          `weight_ih`, `weight_hh` into the gates that the ratio of `weight_hh`'s sides tells.
        * What LoRA adds to a layer, known by its factors, is one matrix whatever the layer is.
        * Equal storage is tied: the second one is skipped.
    """
    tensors = tuple(tensors)
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    names = _row_names(tensors)
    excluded = exclude(tensors)
    grey = _grey_kernel([t for t in tensors if len(t.shape) > 2 and t.name not in excluded])
    seen: dict[Any, str] = {}
    plans = []
    for tensor in tensors:
        name = names[tensor.name]
        tied = seen.get((tensor.storage, tensor.shape)) if tensor.storage is not None else None
        left_out = excluded.get(tensor.name)
        if tied:
            left_out = LeftOut("tied", "skipped", f"tied to '{tied}', which has a row of its own")
        if left_out:
            plans.append(Plan(tensor, name=name, **left_out._asdict()))
            continue
        if tensor.storage is not None:
            seen[tensor.storage, tensor.shape] = name
        plans.append(_matrices(tensor, name, shapes, conv, grey=tensor.name == grey))
    return tuple(plans)


def _row_names(tensors: tuple[Tensor, ...]) -> dict[str, str]:
    """Give each tensor's name without a trailing '.weight', unless another tensor has that name."""
    all_names = {tensor.name for tensor in tensors}
    short = {name: name.removesuffix(".weight") for name in all_names}
    return {name: brief if name == brief or brief not in all_names else name for name, brief in short.items()}


def _grey_kernel(kernels: Sequence[Tensor]) -> str:
    """Name the kernel whose single input is an image or a signal: the first one, if none has the inputs of a colour."""
    inputs = [kernel.shape[_torch_order(kernel.name, kernel.shape)[1]] for kernel in kernels]
    return kernels[0].name if kernels and not any(2 <= n <= 4 for n in inputs) else ""


def _matrices(tensor: Tensor, name: str, shapes: Mapping[str, tuple[int, ...]], conv: Conv, grey: bool) -> Plan:
    """Plan a tensor that holds matrices; the kernel on a grey image is not depthwise."""
    shape = tensor.shape
    if len(shape) == 2:
        if tensor.factors:  # of low rank as a whole, and known by its factors only as one
            return _linear(tensor, name)
        return _gates(tensor, name, shapes) or _fused(tensor, name) or _linear(tensor, name)
    if tensor.hint and tensor.hint.kind == "bilinear":
        out, rows, columns = shape
        parts = tuple(_part(f"{name}:{o}", "bilinear", rows, columns, _itself, o) for o in range(out))
        return Plan(tensor, parts, rows=1)
    if len(shape) == 3 and tensor.hint is None:
        experts, rows, columns = shape
        if experts == 1 and columns > _WIDEST_KERNEL:
            return Plan(tensor, (_part(name, _two_d_kind(tensor, name), rows, columns, _itself),))
        if min(rows, columns) > _WIDEST_KERNEL and experts < min(rows, columns):
            parts = tuple(_part(f"{name}:{e}", "expert", rows, columns, _itself, e) for e in range(experts))
            return Plan(tensor, parts, rows=1)
    return Plan(tensor, (_convolution(tensor, name, conv, grey),))


def _part(name: str, kind: str, rows: int, columns: int, stack: Callable[[Array], Array], block: int = 0) -> Part:
    """Make the part of a single matrix."""
    return Part(name, kind, max(rows, columns), min(rows, columns), 1, stack, block=block)


def _two_d_kind(tensor: Tensor, name: str) -> str:
    """Name the kind of a single matrix; for a checkpoint only the label, never the reading, depends on the name."""
    if tensor.factors or _LORA.search(name):
        return "lora"
    if tensor.hint:
        return tensor.hint.kind
    leaf = name.rsplit(".", 1)[-1].lower()
    return "embedding" if "embed" in leaf or leaf in ("wte", "wpe") else "linear"


# How a part's matrices are seen in its tensor: plain functions, bound to what they need, so that a part can be pickled.


def _itself(array: Array) -> Array:
    return array


def _whole(array: Array) -> Array:
    return array[None]


def _columns(first: int, end: int, array: Array) -> Array:
    return array[None, :, first:end]


@dataclass(frozen=True, slots=True)
class _Kernels:
    """A convolution's tensor as the (groups, out, in, k...) kernels."""

    axes: tuple[int, ...]
    shape: tuple[int, ...]
    transposed: bool

    def __call__(self, array: Array) -> Array:
        grouped = array.transpose(self.axes).reshape(self.shape)
        return grouped.swapaxes(1, 2) if self.transposed else grouped


def _unfolded(kernels: _Kernels, array: Array) -> Array:
    stack = kernels(array)
    return stack.reshape(*stack.shape[:2], -1)


def _slices(kernels: _Kernels, array: Array) -> Array:
    stack = kernels(array)
    flat = stack.reshape(*stack.shape[:3], -1)
    return np.moveaxis(flat, 3, 1).reshape(-1, *stack.shape[1:3])


def _linear(tensor: Tensor, name: str) -> Plan:
    rows, columns = tensor.shape
    return Plan(tensor, (_part(name, _two_d_kind(tensor, name), rows, columns, _whole),))


def _fused(tensor: Tensor, name: str) -> Plan | None:
    """Split a fused query, key and value projection; torch stacks their rows, GPT-2's Conv1D their columns."""
    rows, columns = tensor.shape
    if not _FUSED.search(name):
        return None
    if rows == 3 * columns:
        third = columns
        parts = tuple(_part(f"{name}:{part}", "qkv", third, third, _whole, i) for i, part in enumerate("qkv"))
        return Plan(tensor, parts, rows=third)
    if columns == 3 * rows:
        parts = tuple(
            _part(f"{name}:{part}", "qkv", rows, rows, partial(_columns, i * rows, (i + 1) * rows))
            for i, part in enumerate("qkv")
        )
        return Plan(tensor, parts)
    return None


def _gates(tensor: Tensor, name: str, shapes: Mapping[str, tuple[int, ...]]) -> Plan | None:
    """Split the stacked gates of a recurrent layer, in torch's order where nothing else is known."""
    rows, columns = tensor.shape
    if tensor.hint and tensor.hint.gates:
        kind, gates = tensor.hint.kind, tensor.hint.gates
        hidden = rows // len(gates)
        parts = tuple(_part(f"{name}:{gate}", kind, hidden, columns, _whole, i) for i, gate in enumerate(gates))
        return Plan(tensor, parts, rows=hidden)
    match = _GATES.search(tensor.name)
    if not match or match[2] == "hr":
        return None
    at = match.start(2)
    partner, projection = (tensor.name[:at] + which + tensor.name[at + 2 :] for which in ("hh", "hr"))
    if projection in shapes:
        hidden = shapes[projection][-1]
    elif len(shapes.get(partner, ())) == 2:
        hidden = shapes[partner][1]
    else:
        return None
    if not hidden or rows % hidden or rows // hidden not in _GATE_NAMES:
        return None
    kind, letters = _GATE_NAMES[rows // hidden]
    parts = tuple(_part(f"{name}:{gate}", kind, hidden, columns, _whole, i) for i, gate in enumerate(letters))
    return Plan(tensor, parts, rows=hidden)


def _convolution(tensor: Tensor, name: str, conv: Conv, grey: bool) -> Part:
    """Read a tensor of three to five axes as a convolution."""
    hint, shape = tensor.hint, tensor.shape
    axes = tuple(range(len(shape))) if hint else _torch_order(tensor.name, shape)
    first, inputs, *kernel = (shape[axis] for axis in axes)
    positions = prod(kernel)
    if hint:
        groups, transposed = hint.groups, hint.transposed
        patches = hint.stride == tuple(kernel) and positions > 1 and not transposed
    else:
        depthwise = inputs == 1 < first and positions > 1 and not grey
        groups, transposed = (first if depthwise else 1), False
        patches = inputs <= 4 and max(kernel) >= 8 and all(k % 2 == 0 for k in kernel) and groups == 1
    rows = first // groups
    depthwise = groups > 1 and rows == inputs == 1
    label = f"conv{'_transpose' if transposed else ''}{len(kernel)}d"
    kind = "patch_embedding" if patches else "depthwise" if depthwise else label

    kernels = _Kernels(axes, (groups, rows, inputs, *kernel), transposed)
    out, into = (inputs, rows) if transposed else (rows, inputs)
    if conv == "unfold" or patches or (depthwise and conv == "slices"):
        columns = into * positions
        return Part(name, kind, max(out, columns), min(out, columns), groups, partial(_unfolded, kernels))
    N, M = max(out, into), min(out, into)
    if conv == "operator":
        return Part(name, kind, N, M, groups, kernels, operator=True)
    return Part(name, kind, N, M, groups * positions, partial(_slices, kernels))


def _torch_order(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Give the axes of a convolution in torch's order (out, in, k...), for a tensor in torch's or in Keras's order."""
    d = len(shape) - 2
    first, last = shape[:d], shape[-d:]
    torch = max(last) <= _WIDEST_KERNEL
    keras = d > 1 and max(first) <= _WIDEST_KERNEL
    if torch and keras:
        keras = (*_like_a_kernel(first), name.endswith("kernel"), -sum(first)) > (
            *_like_a_kernel(last),
            name.endswith("weight"),
            -sum(last),
        )
    return (d + 1, d, *range(d)) if keras else tuple(range(d + 2))


def _like_a_kernel(sides: tuple[int, ...]) -> tuple[bool, bool]:
    """Rank how much the sides look like a kernel's rather than like numbers of channels."""
    return all(side % 2 for side in sides), len(set(sides)) == 1
