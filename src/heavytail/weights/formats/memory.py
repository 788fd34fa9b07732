"""Tensors that are in memory already: numpy arrays, and torch tensors without a copy."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heavytail.errors import SourceError
from heavytail.weights.faults import one_line, quoted
from heavytail.weights.ranges import unreadable
from heavytail.weights.tensor import Hint, Tensor, numpy_dtype

__all__ = ["array_tensor", "is_torch_tensor", "torch_blocks", "torch_tensor"]

Array = NDArray[np.generic]

# Types that torch has, numpy has not, and ml_dtypes has: the bytes are taken as an integer type on the way.
_BY_BYTES = {
    "bfloat16": "int16",
    "float8_e4m3fn": "uint8",
    "float8_e4m3fnuz": "uint8",
    "float8_e5m2": "uint8",
    "float8_e5m2fnuz": "uint8",
}
_DIRECT = frozenset(
    [
        "float64",
        "float32",
        "float16",
        "int64",
        "int32",
        "int16",
        "int8",
        "uint64",
        "uint32",
        "uint16",
        "uint8",
        "bool",
        "complex64",
        "complex128",
    ]
)
_EXTRA = frozenset(numpy_dtype(name) for name in _BY_BYTES)


def array_tensor(name: str, array: Array, origin: str) -> Tensor:
    """Describe a numpy array; its blocks are read-only views, or copies if its bytes are in a foreign order."""
    dtype = array.dtype
    if dtype.kind not in "biufc" and dtype not in _EXTRA:
        return unreadable(name, array.shape, dtype.name, origin, f"its type {dtype.name} is no number")
    native = array if dtype.isnative else array.astype(dtype.newbyteorder("="))
    storage: Hashable = None
    if array.size:
        storage = ("memory", array.__array_interface__["data"][0], array.shape, array.strides, dtype.str)
    return Tensor(name, array.shape, dtype.name, partial(_array_blocks, native), origin, storage)


def _array_blocks(array: Array, rows: int) -> Iterator[Array]:
    whole = array.view(np.ndarray)
    for block in [whole] if not array.ndim else _cut(whole, max(1, rows)):
        view = block.view()
        view.flags.writeable = False
        yield view


def _cut(whole: Any, rows: int) -> Iterator[Any]:
    for first in range(0, max(1, whole.shape[0]), rows):
        yield whole[first : first + rows]


def is_torch_tensor(value: object) -> bool:
    """Say whether a value is a torch tensor, without importing torch: where it is not imported, none can be."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def torch_tensor(name: str, value: Any, origin: str, hint: Hint | None = None) -> Tensor:
    """Describe a live torch tensor; it is read in row blocks, from its device, and never altered."""
    dtype = str(value.dtype).removeprefix("torch.")
    problem = _problem(value, dtype)
    if problem is not None:
        return unreadable(name, _shape(value), dtype, origin, problem, hint)
    shape = tuple(value.shape)
    storage = None
    if value.numel():
        storage = ("torch", str(value.device), value.data_ptr(), shape, value.stride(), dtype)
    blocks = partial(torch_blocks, value, name, origin)
    return Tensor(name, shape, dtype, blocks, origin, storage, hint=hint)


def torch_blocks(value: Any, name: str, origin: str, rows: int) -> Iterator[Array]:
    """Read a torch tensor as numpy blocks of at most `rows` rows.

    Raises:
        SourceError: torch cannot give the numbers.
    """
    value = value.detach()
    for part in [value] if not value.ndim else _cut(value, max(1, rows)):
        try:
            block = _numpy(part)
        except (RuntimeError, TypeError, NotImplementedError) as error:
            raise SourceError(origin, f"tensor {quoted(name)} cannot be read: {one_line(error)}") from error
        block.flags.writeable = False
        yield block


def _numpy(part: Any) -> Array:
    dtype = str(part.dtype).removeprefix("torch.")
    part = part.cpu().resolve_conj().resolve_neg()
    if dtype in _DIRECT:
        array: Array = part.numpy().view()
        return array
    torch = sys.modules["torch"]
    raw = part.view(getattr(torch, _BY_BYTES[dtype])).numpy()
    extra: Array = raw.view(numpy_dtype(dtype))
    return extra


def _shape(value: Any) -> tuple[int, ...]:
    try:
        return tuple(int(n) for n in value.shape)
    except (RuntimeError, TypeError, ValueError):  # a lazy parameter or a nested tensor has no shape
        return ()


def _problem(value: Any, dtype: str) -> str | None:
    torch = sys.modules["torch"]
    if torch.nn.parameter.is_lazy(value):
        return "it is a lazy parameter that has no shape yet"
    if value.is_quantized:
        return f"it is quantised ({dtype}) with scales of its own"
    if value.is_nested or value.layout is not torch.strided:
        return f"it is not dense ({str(value.layout).removeprefix('torch.')})"
    if value.device.type == "meta" or type(value).__name__ == "FakeTensor":
        return "it is a meta tensor: a shape without numbers"
    if dtype not in _DIRECT and dtype not in _BY_BYTES:
        return f"its type {dtype} cannot be read as numbers"
    return None
