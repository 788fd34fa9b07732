"""From the descriptions in a pickle to tensors that can be read: the part that all torch files share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from heavytail.errors import SourceError
from heavytail.weights.faults import quoted
from heavytail.weights.formats.memory import array_tensor
from heavytail.weights.formats.torch.refs import ArrayRef, StorageRef, TensorRef, itemsize
from heavytail.weights.formats.wrappers import find_weights
from heavytail.weights.places.files import File
from heavytail.weights.ranges import Plain, Region, Strided, shape_problem, stored, unreadable
from heavytail.weights.tensor import Tensor, numpy_dtype

__all__ = ["describe", "is_described", "located"]


def describe(
    file: File, root: object, region: Callable[[StorageRef], Region | None], swap: bool
) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    """Find the weights in an unpickled object and say where their numbers stand.

    Args:
        file: the file.
        root: what its pickle describes.
        region: gives the bytes of a storage, None if the file does not hold it.
        swap: whether the bytes of the numbers must be swapped on this machine.

    Returns:
        The tensors, and notes on what was left out.

    Raises:
        SourceError: a description does not fit the file.
    """
    found = find_weights(root, is_described)
    return located(file, found.items, region, swap), found.notes


def is_described(node: object) -> bool:
    """Say whether an unpickled object describes a tensor or an array."""
    return isinstance(node, TensorRef | ArrayRef)


def located(
    file: File, items: Iterable[tuple[str, Any]], region: Callable[[StorageRef], Region | None], swap: bool
) -> tuple[Tensor, ...]:
    """Say where the numbers of named descriptions stand; the arguments are those of `describe`.

    Raises:
        SourceError: a description does not fit the file.
    """
    return tuple(
        _array(file, name, ref) if isinstance(ref, ArrayRef) else _tensor(file, name, ref, region, swap)
        for name, ref in items
    )


def _tensor(file: File, name: str, ref: TensorRef, region: Callable[[StorageRef], Region | None], swap: bool) -> Tensor:
    if ref.problem is not None or ref.storage is None:
        return unreadable(name, ref.shape, ref.dtype, file, ref.problem or "it has no numbers")
    run = ref.storage
    place = Strided(ref.shape, ref.stride, ref.offset * itemsize(ref.dtype), swap)
    stated = run.view * itemsize(run.dtype)
    if place.span and place.offset + place.span * itemsize(ref.dtype) > stated:
        raise SourceError(file, f"tensor {quoted(name)} reaches past the {stated} bytes of its storage")
    held = region(run)
    if held is None:
        raise SourceError(file, f"the storage {quoted(run.key)} of tensor {quoted(name)} is missing")
    first = run.first * itemsize(run.dtype)
    place = Strided(ref.shape, ref.stride, place.offset + first, swap)
    storage = (str(file), run.key, place.offset, ref.shape, ref.stride, ref.dtype)
    return stored(name, ref.dtype, _checkable(held, place, itemsize(ref.dtype)), place, file, storage)


def _checkable(held: Region, place: Strided, size: int) -> Region:
    """Keep the checksum of a storage for a tensor that is all of it: a view would read more than it needs."""
    whole = place.span == prod(place.shape) and place.span * size == held.size
    return held if whole or not isinstance(held, Plain) else replace(held, crc=None)


def _array(file: File, name: str, ref: ArrayRef) -> Tensor:
    dtype: Any = ref.dtype.name
    if dtype is None or ref.problem is not None:
        return unreadable(name, ref.shape, "object", file, ref.problem or "it holds objects, not numbers")
    kind = numpy_dtype(dtype)
    problem = shape_problem(ref.shape, kind.itemsize)
    if problem is not None:
        return unreadable(name, ref.shape, dtype, file, problem)
    if ref.dtype.swap and kind.isbuiltin == 1:
        kind = kind.newbyteorder(">")
    array = np.frombuffer(ref.data, kind).reshape(ref.shape, order="F" if ref.fortran else "C")
    return array_tensor(name, array, str(file))
