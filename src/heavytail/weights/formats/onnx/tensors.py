"""ONNX tensors as they are seen: a constant of the graph, or a part of it, in the shape in which the graph uses it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import prod

import numpy as np

from heavytail.weights.faults import reading
from heavytail.weights.formats.onnx.data import Files, InPlace, Numbers, locate, type_name
from heavytail.weights.formats.onnx.graph import Proto, Sparse
from heavytail.weights.places.files import File
from heavytail.weights.ranges import Strided, stored, swapped, unreadable
from heavytail.weights.tensor import Array, Hint, Tensor

__all__ = ["View", "tensor_of"]

_CODES_ONLY = ("int2", "int4", "uint2", "uint4", "float4_e2m1fn", "float8_e8m0fnu")


@dataclass(frozen=True, slots=True)
class View:
    """How a tensor is seen: a part of the numbers, in another shape or order.

    Attributes:
        shape: sizes of the axes.
        stride: steps along the axes, in numbers.
        first: the first number.
    """

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    first: int = 0


def tensor_of(files: Files, name: str, proto: Proto | Sparse, view: View, hint: Hint | None) -> Tensor:
    """Describe a tensor whose numbers are read as they are.

    Raises:
        SourceError: its description does not fit the file.
    """
    numbers = locate(files, proto)
    head = proto.values if isinstance(proto, Sparse) else proto
    kind = type_name(head)
    if isinstance(numbers, str):
        return unreadable(name, view.shape, kind, files.main, numbers, hint)
    if kind in _CODES_ONLY:
        problem = f"its type {kind} needs scales, and it has none"
        return unreadable(name, view.shape, kind, numbers.files[0], problem, hint)
    if isinstance(numbers, InPlace):
        region, width = numbers.region, numbers.bits // 8
        place = Strided(view.shape, view.stride, view.first * width, numbers.bits > 8 and swapped("little"))
        start = region.start + place.offset
        tensor = stored(name, kind, region, place, region.file, (str(region.file), start, view.stride, kind))
        return replace(tensor, hint=hint, files=files.others(numbers))
    blocks = partial(_blocks, files.main, numbers, view)
    storage = (str(files.main), head.message[0], view.first) if prod(view.shape) else None
    tensor = Tensor(name, view.shape, kind, blocks, str(numbers.files[0]), storage)
    return replace(tensor, hint=hint, files=files.others(numbers), whole=numbers.whole)


def _blocks(file: File, numbers: Numbers, view: View, rows: int) -> Iterator[Array]:
    """Read numbers that have to be decoded, as blocks of at most `rows` rows.

    Raises:
        SourceError: they are damaged.
    """
    with reading(file, "a tensor"):
        read = numbers.reader()
        if not view.shape:
            yield read(view.first, 1).reshape(())
            return
        place = Strided(view.shape, view.stride)
        step, inner, rows = view.stride[0], view.shape[1:], max(1, rows)
        width = Strided(inner, view.stride[1:]).span
        for first in range(0, max(view.shape[0], 1), rows):
            count = min(rows, view.shape[0] - first)
            span = (count - 1) * step + width if place.span else 0
            flat = read(view.first + first * step, span)
            strides = tuple(flat.itemsize * s for s in view.stride)
            yield np.ndarray((count, *inner), flat.dtype, np.ascontiguousarray(flat), strides=strides)
