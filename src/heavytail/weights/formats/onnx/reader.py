"""ONNX: weights in initializers and Constant nodes, at any depth, in the file or beside it, quantised or not.

The graph is walked without the `onnx` package, which would load every number; it tells what each tensor is to the node
that uses it (ONNX operator schemas, opset 28; 2025).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import prod

from heavytail.weights.faults import quoted, reading
from heavytail.weights.formats.naming import Unique
from heavytail.weights.formats.onnx.data import Files, type_name
from heavytail.weights.formats.onnx.graph import Model, Proto, Sparse, parse
from heavytail.weights.formats.onnx.protobuf import Wire
from heavytail.weights.formats.onnx.quantised import Scheme, dequantised, is_companion, scheme_of
from heavytail.weights.formats.onnx.tensors import View, tensor_of
from heavytail.weights.formats.onnx.use import GATES, RESHAPES, Constant, End, Survey, hint_of, part, role, survey
from heavytail.weights.places.files import File
from heavytail.weights.ranges import contiguous, unreadable
from heavytail.weights.tensor import Hint, Tensor

__all__ = ["read_onnx"]

# Names that an exporter made up: what uses the tensor says more.
_MADE_UP = re.compile(r"^onnx::|^\d+$|(^|/)Constant(_\d+)?(_output_\d+)?$")
_DIRECTIONS = (".forward", ".reverse")


def read_onnx(file: File) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    """Describe the tensors of an ONNX model.

    Initializers, sparse ones too, and the tensors of Constant nodes, of the main graph, of the bodies of If, Loop and
    Scan, and of the model's functions; each in the order of the file. Constants that a node spells out as numbers of
    its own (`value_floats`) are vectors at most and are passed over.

        * A quantised weight is read as the float32 numbers that its scale and zero point make of it. These are left
          out, with a note.
        * W and R of LSTM, GRU and RNN are one tensor for each direction; their biases are vectors, and so is a
          constant of shape (1, C) or (C, 1) that nothing multiplies by.
        * A product's tensor is (in, out), as ONNX has it, its leading axes of length 1 left out; a convolution's is
          (out, in, k...).
        * A made-up name ('onnx::MatMul_1234') gives way to that of the node that uses the tensor, where the node has
          one. A name that stands in several graphs is preceded by the path of its graph.

    Returns:
        The tensors, and notes on what was left out.

    Raises:
        SourceError: the file is damaged, or keeps numbers in a file that is missing or out of its folder.
    """
    with reading(file, "the ONNX model"):
        with file.open() as stream:
            model = parse(Wire(stream, file.size))
        found = survey(model)
        schemes = {constant.value: scheme_of(found, constant) for constant in found.constants.values()}
        companions = _companions(found, schemes.values())
        kept = [constant for constant in found.constants.values() if constant.value not in companions]
        names, unique = _names(found, kept)
        files = Files(file)
        tensors: list[Tensor] = []
        for constant, name in zip(kept, names, strict=True):
            seen = _tensors(files, found, constant, name, schemes[constant.value])
            tensors += [t if t.name == name else replace(t, name=unique(t.name)) for t in seen]
        return tuple(tensors), (*_notes(found, model, companions), *unique.notes)


def _companions(found: Survey, schemes: Iterable[Scheme | str | None]) -> list[tuple[int, str]]:
    """Find the scales and zero points: constants that serve quantised tensors and nothing else."""
    applied = {constant.value for scheme in schemes if isinstance(scheme, Scheme) for constant in scheme.companions}
    return [value for value in found.constants if value in applied or _only_companion(found, value)]


def _only_companion(found: Survey, value: tuple[int, str]) -> bool:
    uses = list(found.uses(value))
    return bool(uses) and all(is_companion(use) for use in uses)


def _notes(found: Survey, model: Model, companions: Sequence[tuple[int, str]]) -> tuple[str, ...]:
    notes = []
    if companions:
        several = f"{len(companions)} tensors" if len(companions) > 1 else "a tensor"
        notes.append(f"left out: {several} of scales and zero points, such as {quoted(companions[0][1])}")
    if model.training:
        notes.append("left out: what the model keeps for its training")
    return tuple(notes)


def _names(found: Survey, constants: Sequence[Constant]) -> tuple[list[str], Unique]:
    """Name the tensors, each differently; gives the names with what makes more of them."""
    own = [constant.value[1] for constant in constants]
    better = [_better(found, constant) for constant in constants]
    wished = _counts(name or plain for name, plain in zip(better, own, strict=True))
    chosen = [name if name and wished[name] == 1 else plain for name, plain in zip(better, own, strict=True)]
    counts, unique = _counts(chosen), Unique(chosen)
    named = zip(constants, chosen, strict=True)
    return [name if counts[name] == 1 else unique(constant.path + name) for constant, name in named], unique


def _counts(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts


def _better(found: Survey, constant: Constant) -> str:
    """Name a tensor whose own name is made up after the node that uses it; empty if that says nothing."""
    if not _MADE_UP.search(constant.value[1]):
        return ""
    ends = [end for end in found.ends(constant.value) if end.use.node.name and part(end)]
    return f"{ends[0].use.node.name}.{part(ends[0])}" if ends else ""


def _tensors(files: Files, found: Survey, constant: Constant, name: str, scheme: Scheme | str | None) -> list[Tensor]:
    tensor, ends = constant.tensor, found.ends(constant.value)
    if isinstance(scheme, str):
        return [
            unreadable(name + suffix, view.shape, _type(tensor), files.main, scheme, hint)
            for suffix, view, hint in _views(tensor.shape, ends)
        ]
    if scheme is not None and isinstance(tensor, Proto):
        if scheme.output is not None:
            ends += found.ends(scheme.output)
        plain, flat = not any(_turned(end) for end in ends), _stays_a_vector(tensor.shape, ends)
        return [dequantised(files, name, tensor, scheme, flat, lambda shape: hint_of(ends, shape) if plain else None)]
    return [tensor_of(files, name + suffix, tensor, view, hint) for suffix, view, hint in _views(tensor.shape, ends)]


def _type(tensor: Proto | Sparse) -> str:
    return type_name(tensor.values if isinstance(tensor, Sparse) else tensor)


def _turned(end: End) -> bool:
    """Say whether a convolution takes a tensor with its axes in another order than they are stored."""
    return role(end) in ("conv", "transposed") and any(step.op == "Transpose" for step in end.steps)


def _views(shape: tuple[int, ...], ends: list[End]) -> list[tuple[str, View, Hint | None]]:
    """Say as which tensors a constant is seen: the ending of the name, the part of the numbers, and its hint."""
    roles = {role(end) for end in ends} - {""}
    whole = View(shape, contiguous(shape))
    if _stays_a_vector(shape, ends):
        return [("", View((prod(shape),), (1,)), None)]
    if len(shape) < 3:
        return [("", whole, hint_of(ends, shape))]
    if roles <= {"lstm", "gru", "rnn"} and roles and len(shape) == 3 and not any(end.steps for end in ends):
        hint = hint_of(ends, shape[1:])
        single = contiguous(shape[1:])
        endings = ("",) if shape[0] == 1 else _DIRECTIONS[: shape[0]] if shape[0] == 2 else ()
        if endings:
            return [(ending, View(shape[1:], single, i * prod(shape[1:])), hint) for i, ending in enumerate(endings)]
    if roles == {"linear"} and (seen := _summed(shape, ends)):
        return [("", View(seen, contiguous(seen)), hint_of(ends, seen))]
    if roles == {"linear"} and all(end.use.node.op != "Einsum" for end in ends if role(end)):
        count, last = prod(shape[:-2]), shape[-2:]
        reshaped = any(step.op in RESHAPES for end in ends for step in end.steps)
        seen = last if count == 1 else shape if reshaped else (count, *last)
        return [("", View(seen, contiguous(seen)), hint_of(ends, seen))]
    return [_turn(whole, ends)]


def _summed(shape: tuple[int, ...], ends: list[End]) -> tuple[int, ...]:
    """See an Einsum's tensor as the matrix between the axes summed over and the others; empty if it is none."""
    uses = {(end.use.node.equation.replace(" ", ""), end.use.place) for end in ends if role(end) and not end.steps}
    equation, place = uses.pop() if len(uses) == 1 else ("", 0)
    taken, arrow, out = equation.partition("->")
    terms = taken.split(",")
    if not arrow or place >= len(terms) or len(terms[place]) != len(shape):
        return ()
    mine, others = terms[place], "".join(terms[:place] + terms[place + 1 :])
    summed = [letter not in out for letter in mine]
    changes = [axis for axis in range(1, len(mine)) if summed[axis] != summed[axis - 1]]
    # A letter of all three would be an axis of matrices, one of this term alone a plain sum.
    if len(changes) != 1 or summed != [letter in others for letter in mine]:
        return ()
    return prod(shape[: changes[0]]), prod(shape[changes[0] :])


def _stays_a_vector(shape: tuple[int, ...], ends: list[End]) -> bool:
    """Say whether the graph tells that a constant is no matrix: a row or column that nothing multiplies by, or B."""
    if len(shape) < 2 or not ends or any(role(end) for end in ends):
        return False
    return (len(shape) == 2 and 1 in shape) or all(end.use.node.op in GATES for end in ends)


def _turn(whole: View, ends: list[End]) -> tuple[str, View, Hint | None]:
    """See a kernel in the order of axes in which the convolutions take it."""
    turned = [end for end in ends if _turned(end)]
    if not turned:
        return "", whole, hint_of(ends, whole.shape)
    orders = {_order(end, len(whole.shape)) for end in ends if role(end)}
    order = orders.pop() if len(orders) == 1 else ()
    if not order:
        return "", whole, None
    view = View(tuple(whole.shape[a] for a in order), tuple(whole.stride[a] for a in order))
    return "", view, hint_of(ends, view.shape)


def _order(end: End, rank: int) -> tuple[int, ...]:
    """Give the order in which a convolution takes the axes; empty if that is not known."""
    steps = [step for step in end.steps if step.op == "Transpose"]
    if len(steps) != 1:
        return ()
    order = steps[0].integers.get("perm") or tuple(reversed(range(rank)))
    return order if sorted(order) == list(range(rank)) else ()
