"""Quantised ONNX weights: the scale and zero point that the graph applies to them, and the numbers they make.

y = (code - zero point) * scale, with one scale for a tensor, for each row or column, or for each block of an axis
(ONNX operators DequantizeLinear-21, QLinearConv-10, MatMulInteger-10; com.microsoft MatMulNBits-1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from heavytail.weights.faults import reading
from heavytail.weights.formats.onnx.data import Files, InPlace, Numbers, locate, type_name
from heavytail.weights.formats.onnx.graph import Node, Proto, Sparse
from heavytail.weights.formats.onnx.use import Constant, Survey, Use, Value
from heavytail.weights.places.files import File
from heavytail.weights.ranges import unreadable
from heavytail.weights.tensor import Array, Hint, Tensor

__all__ = ["Scheme", "dequantised", "is_companion", "scheme_of"]

# Where an operator takes a weight, its scale and its zero point; and the axis that several scales belong to.
_DIRECT: dict[str, tuple[int, int, int, int]] = {
    "DequantizeLinear": (0, 1, 2, 1),
    "DynamicQuantizeMatMul": (1, 2, 3, -1),
    "MatMulIntegerToFloat": (1, 3, 5, -1),
    "QAttention": (1, 4, 7, -1),
    "QGemm": (3, 4, 5, -1),
    "QLinearConv": (3, 4, 5, 0),
    "QLinearMatMul": (3, 4, 5, -1),
}
_INTEGER = {"ConvInteger": 0, "MatMulInteger": -1}  # scaled by what follows them
_COMPANIONS: dict[str, tuple[int, ...]] = {
    "ConvInteger": (2, 3),
    "DequantizeLinear": (1, 2),
    "DynamicQuantizeMatMul": (2, 3),
    "MatMulInteger": (2, 3),
    "MatMulIntegerToFloat": (2, 3, 4, 5),
    "MatMulNBits": (2, 3, 4),
    "QAttention": (3, 4, 6, 7),
    "QGemm": (1, 2, 4, 5, 7, 8),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "QuantizeLinear": (1, 2),
}
_CODES = {
    "int8", "uint8", "int16", "uint16", "int32", "int4", "uint4", "int2", "uint2", "float4_e2m1fn",
    "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz",
}  # fmt: skip
_WIDE = {"int16", "uint16", "int32"}  # more often positions than weights


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a constant is dequantised.

    Attributes:
        scale: the constant that scales it.
        zero: the constant that is subtracted first; None if none is.
        axis: the axis that a run of scales belongs to.
        block: length of a block of that axis; 0 if each entry has a scale of its own.
        output: the value that it then is.
        packed: the node that says how several codes stand in a byte, where the shape does not.
    """

    scale: Constant
    zero: Constant | None
    axis: int
    block: int
    output: Value | None
    packed: Node | None = None

    @property
    def companions(self) -> tuple[Constant, ...]:
        """The scale, and the zero point if there is one."""
        return (self.scale,) if self.zero is None else (self.scale, self.zero)


def is_companion(use: Use) -> bool:
    """Say whether a node takes a value as a scale or zero point."""
    return use.place in _COMPANIONS.get(use.node.op, ())


def scheme_of(found: Survey, constant: Constant) -> Scheme | str | None:
    """Find how the graph dequantises a constant.

    Returns:
        The scheme; a clause that says why there is none although it is quantised; None if it is not quantised.
    """
    tensor = constant.tensor
    if isinstance(tensor, Sparse) or type_name(tensor) not in _CODES or not tensor.shape:
        return None
    problem = None
    for use in _through(found, constant.value, ("Identity", "Gather")):
        scheme = _scheme(found, use, prod(tensor.shape), type_name(tensor) not in _WIDE)
        if isinstance(scheme, Scheme):
            return scheme
        problem = problem or scheme
    return problem


def _through(found: Survey, value: Value, steps: tuple[str, ...]) -> Iterator[Use]:
    """Give the uses of a value, and of what operators that do not change the numbers make of it."""
    for use in found.uses(value):
        yield use
        if use.node.op in steps and not use.place and use.node.outputs:
            yield from found.uses((use.scope, use.node.outputs[0]))


def _scheme(found: Survey, use: Use, size: int, small: bool) -> Scheme | str | None:
    """Find how a node dequantises a constant of this size, of a type of at most 8 bits or not."""
    node = use.node
    if node.op in _DIRECT and use.place == _DIRECT[node.op][0]:
        _, scale, zero, axis = _DIRECT[node.op]
        axis = node.integer("axis", axis) if node.op == "DequantizeLinear" else axis
        output = (use.scope, node.outputs[0]) if node.op == "DequantizeLinear" and node.outputs else None
        return _made(found, use, _input(node, scale), _input(node, zero), axis, node.integer("block_size", 0), output)
    if node.op == "MatMulNBits" and use.place == 1:
        return _packed(found, use)
    if node.op in _INTEGER and use.place == 1:
        name = _factor(found, (use.scope, next(iter(node.outputs), "")))
        return _made(found, use, name, _input(node, 3), _INTEGER[node.op], 0, None)
    if node.op == "Cast" and small and node.outputs:
        return _cast(found, (use.scope, node.outputs[0]), size)
    return None


def _input(node: Node, index: int) -> str:
    return node.inputs[index] if index < len(node.inputs) else ""


def _constant(found: Survey, scope: int, name: str) -> Constant | None:
    """Give the constant that a name means, through Identity and Cast nodes."""
    for _ in range(10):
        value = found.value(scope, name)
        maker = found.makers.get(value)
        if maker is None or maker.op not in ("Identity", "Cast") or not maker.inputs:
            return found.constants.get(value)
        scope, name = value[0], maker.inputs[0]
    return None


def _made(found: Survey, use: Use, scale: str, zero: str, axis: int, block: int, output: Value | None) -> Scheme | str:
    """Make a scheme of the names of its parts."""
    scaling = _constant(found, use.scope, scale) if scale else None
    shift = _constant(found, use.scope, zero) if zero else None
    if scaling is None or (zero and shift is None):
        what = "scale" if scaling is None else "zero point"
        return f"it is quantised, for {use.node.op}, and its {what} is no constant of the graph"
    return Scheme(scaling, shift, axis, max(block, 0), output)


def _cast(found: Survey, value: Value, size: int, zero: Constant | None = None) -> Scheme | None:
    """Read what follows a Cast, perhaps Sub of a constant, then Mul by one: dequantisation spelt out.

    The factor must be smaller than the codes: one of their size is a weight, and they are a mask on it.
    """
    for use in found.uses(value):
        if use.node.op not in ("Mul", "Sub") or len(use.node.inputs) != 2 or not use.node.outputs:
            continue
        other, output = _constant(found, use.scope, use.node.inputs[1 - use.place]), (use.scope, use.node.outputs[0])
        if other is None:
            continue
        if use.node.op == "Mul" and prod(other.tensor.shape) < max(size, 2):
            return Scheme(other, zero, -1, 0, output)
        if use.node.op == "Sub" and zero is None and use.place == 0:
            return _cast(found, output, size, other)
    return None


def _factor(found: Survey, value: Value) -> str:
    """Name the constant among the factors by which the integers of a product are scaled: the weight's scale.

    The other factors must be made by the graph: a constant could be the input's scale as well.
    """
    constants, made = [], 0
    for _ in range(4):
        use = next((u for u in found.uses(value) if u.node.op in ("Cast", "Mul") and u.node.outputs), None)
        if use is None:
            break
        if use.node.op == "Mul" and len(use.node.inputs) == 2:
            other = use.node.inputs[1 - use.place]
            maker = found.makers.get(found.value(use.scope, other))
            for name in maker.inputs if maker is not None and maker.op == "Mul" else (other,):
                if _constant(found, use.scope, name) is None:
                    made += 1
                else:
                    constants.append(name)
        value = use.scope, use.node.outputs[0]
    return constants[0] if len(constants) == 1 and made else ""


def _packed(found: Survey, use: Use) -> Scheme | str:
    node = use.node
    if _input(node, 4):
        return "it is quantised, for MatMulNBits, in groups that an index names"
    made = _made(found, use, _input(node, 2), _input(node, 3), 1, node.integer("block_size", 0), None)
    return made if isinstance(made, str) else Scheme(made.scale, made.zero, 1, made.block, None, node)


@dataclass(frozen=True, slots=True)
class _Companion:
    """Scales or zero points: numbers that broadcast to the codes, but for the axis that is cut in blocks."""

    numbers: Numbers
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Codes:
    """A quantised tensor: the codes, and what makes numbers of them.

    Attributes:
        codes: the codes.
        stored: their shape, whose last axis may be padded.
        shape: the shape without that padding.
        scale: the scales.
        zero: the zero points, or one for all.
        axis: the axis that is cut in blocks.
        block: their length; 1 if no axis is cut.
    """

    codes: Numbers
    stored: tuple[int, ...]
    shape: tuple[int, ...]
    scale: _Companion
    zero: _Companion | float
    axis: int
    block: int


def dequantised(
    files: Files, name: str, proto: Proto, scheme: Scheme, flat: bool, hint: Callable[[tuple[int, ...]], Hint | None]
) -> Tensor:
    """Describe a quantised tensor as the float32 numbers that it stands for.

    Args:
        files: where the numbers stand.
        name: the tensor's name.
        proto: its description.
        scheme: how the graph dequantises it.
        flat: whether it is to be seen as a vector.
        hint: says what the graph knows of a tensor of some shape.

    Raises:
        SourceError: a description does not fit the file.
    """
    made = _codes(files, proto, scheme)
    kind = type_name(proto) if scheme.packed is None else f"uint{scheme.packed.integer('bits', 4)}"
    if isinstance(made, str):
        return unreadable(name, proto.shape, kind, files.main, made, hint(proto.shape))
    made = _flattened(made) if flat and made.block == 1 else made
    parts = [made.codes, made.scale.numbers]
    title = f"{kind} with scales"
    if scheme.zero is not None and isinstance(made.zero, _Companion):
        title, parts = f"{title} and zero points", [*parts, made.zero.numbers]
    packed = sum(part.region.size for part in parts if isinstance(part, InPlace))
    storage = (str(files.main), proto.message[0], scheme.scale.value)
    blocks = partial(_blocks, files.main, made)
    tensor = Tensor(name, made.shape, "float32", blocks, str(made.codes.files[0]), storage, None, hint(made.shape))
    return replace(tensor, stored=title, packed=packed, files=files.others(*parts), whole=made.codes.whole)


def _codes(files: Files, proto: Proto, scheme: Scheme) -> _Codes | str:
    """Fit the parts of a quantised tensor together; or say, as a clause, why they do not fit."""
    found = [locate(files, part) for part in (proto, *(part.tensor for part in scheme.companions))]
    if isinstance(problem := next((part for part in found if isinstance(part, str)), None), str):
        return problem
    codes, scale, *zero = (part for part in found if not isinstance(part, str))
    if scheme.packed is not None:
        return _unpacked(scheme, scheme.packed, codes, scale, zero)
    shape = proto.shape
    axis = scheme.axis + len(shape) * (scheme.axis < 0)
    wanted = [_fitted(_shape(part), shape, axis, scheme.block) for part in scheme.companions]
    if None in wanted:
        return f"its scale of shape {_shape(scheme.scale)} does not fit its shape {shape}"
    shapes = [part for part in wanted if part is not None]
    cut = scheme.block if scheme.block and len(_shape(scheme.scale)) == len(shape) else 1
    shift = _Companion(zero[0], shapes[1]) if zero else 0.0
    return _Codes(codes, shape, shape, _Companion(scale, shapes[0]), shift, axis if cut > 1 else 0, cut)


def _flattened(made: _Codes) -> _Codes:
    """See codes of one long axis as a vector."""

    def line(part: _Companion) -> _Companion:
        return _Companion(part.numbers, (prod(part.shape),))

    zero = line(made.zero) if isinstance(made.zero, _Companion) else made.zero
    size = (prod(made.shape),)
    return replace(made, stored=size, shape=size, scale=line(made.scale), zero=zero)


def _shape(constant: Constant) -> tuple[int, ...]:
    return constant.tensor.shape


def _fitted(scale: tuple[int, ...], shape: tuple[int, ...], axis: int, block: int) -> tuple[int, ...] | None:
    """Give the shape of scales with as many axes as the codes have; None if they do not fit."""
    rank = len(shape)
    if prod(scale) == 1:
        return (1,) * rank
    if not 0 <= axis < rank:
        return None
    if block and len(scale) == rank:
        cut = tuple(-(-n // block) if a == axis else n for a, n in enumerate(shape))
        return scale if scale == cut else None
    if len(scale) == 1 and scale[0] == shape[axis]:
        return tuple(n if a == axis else 1 for a, n in enumerate(shape))
    padded = (1,) * (rank - len(scale)) + scale
    fits = len(padded) == rank and all(s in (1, n) for s, n in zip(padded, shape, strict=True))
    return padded if fits else None


def _unpacked(scheme: Scheme, node: Node, codes: Numbers, scale: Numbers, zero: list[Numbers]) -> _Codes | str:
    """Fit the parts of MatMulNBits: rows of whole blocks, the scales of a row's blocks, packed zero points."""
    bits, block = node.integer("bits", 4), scheme.block
    rows, columns = node.integer("N", 0), node.integer("K", 0)
    if bits not in (2, 4, 8) or block < 1 or min(rows, columns) < 1 or not isinstance(codes, InPlace):
        return f"its {rows} x {columns} numbers of {bits} bits in blocks of {block} cannot be taken apart"
    blocks = -(-columns // block)
    stored = rows, blocks * block
    if codes.region.size * 8 != prod(stored) * bits or prod(_shape(scheme.scale)) != rows * blocks:
        return f"its {rows} x {columns} numbers of {bits} bits in blocks of {block} do not fit what is stored"
    numbers = InPlace(codes.region, f"uint{bits}", bits)
    shift: _Companion | float = float(1 << (bits - 1))
    if zero and isinstance(zero[0], InPlace) and zero[0].type == "uint8":
        padded = -(-blocks * bits // 8) * 8 // bits
        if zero[0].region.size * 8 != rows * padded * bits:
            return "its zero points do not fit its blocks"
        shift = _Companion(InPlace(zero[0].region, f"uint{bits}", bits), (rows, padded))
    elif zero:
        if scheme.zero is None or prod(_shape(scheme.zero)) != rows * blocks:
            return "its zero points do not fit its blocks"
        shift = _Companion(zero[0], (rows, blocks))
    return _Codes(numbers, stored, (rows, columns), _Companion(scale, (rows, blocks)), shift, 1, block)


def _blocks(file: File, made: _Codes, rows: int) -> Iterator[Array]:
    """Read and dequantise blocks of at most `rows` rows, in float32 where that is as exact as its result can be."""
    with reading(file, "a quantised tensor"):
        wide = np.dtype(np.float64 if made.codes.type == "int32" else np.float32)
        codes, scale, zero = made.codes.reader(), _spreader(made, made.scale, wide), _spreader(made, made.zero, wide)
        (n, *inner), width, rows = made.stored, prod(made.stored[1:]), max(1, rows)
        for first in range(0, max(n, 1), rows):
            count = min(rows, n - first)
            numbers = codes(first * width, count * width).astype(wide).reshape(count, *inner)
            with np.errstate(over="ignore", invalid="ignore"):  # a scale may be any number, and is judged later
                numbers -= zero(first, count)
                numbers *= scale(first, count)
                numbers = numbers.astype(np.float32, copy=False)
            yield numbers[..., : made.shape[-1]] if made.shape != made.stored else numbers


def _spreader(made: _Codes, part: _Companion | float, wide: np.dtype[Any]) -> Callable[[int, int], Array]:
    """Give a function that reads the companions of `count` rows of codes from the `first` on, in the type `wide`."""
    if not isinstance(part, _Companion):
        same: Array = np.full(1, part, wide)
        return lambda first, count: same
    read = part.numbers.reader()
    if part.shape[0] == 1:
        whole = _repeated(made, read(0, prod(part.shape)).astype(wide).reshape(part.shape))
        return lambda first, count: whole
    width, block = prod(part.shape[1:]), made.block if made.axis == 0 else 1

    def some(first: int, count: int) -> Array:
        low, high = first // block, -(-(first + count) // block)
        found = read(low * width, (high - low) * width).astype(wide).reshape(high - low, *part.shape[1:])
        if made.axis:
            return _repeated(made, found)
        return np.repeat(found, block, axis=0)[first - low * block :][:count] if block > 1 else found

    return some


def _repeated(made: _Codes, found: Array) -> Array:
    """Repeat companions along the axis that is cut in blocks, as far as the codes reach."""
    if made.block == 1 or found.shape[made.axis] == 1:
        return found
    return np.repeat(found, made.block, axis=made.axis)[(slice(None),) * made.axis + (slice(made.stored[made.axis]),)]
