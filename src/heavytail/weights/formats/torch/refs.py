"""Descriptions of tensors and arrays as a pickle gives them, before anyone knows where their numbers stand."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

from heavytail.weights.tensor import numpy_dtype

__all__ = [
    "ODD_SIZES",
    "ArrayRef",
    "DtypeRef",
    "StorageRef",
    "TensorRef",
    "count",
    "dtype_problem",
    "itemsize",
    "sizes",
]

# Bytes of a number of the torch types that numpy cannot hold.
ODD_SIZES = {
    "complex32": 4,
    "qint32": 4,
    "bits16": 2,
    **dict.fromkeys(
        [
            "qint8",
            "quint8",
            "quint4x2",
            "quint2x4",
            "bits8",
            "bits1x8",
            "bits2x4",
            "bits4x2",
            "float8_e8m0fnu",
            "float4_e2m1fn_x2",
        ],
        1,
    ),
    **{f"{sign}int{bits}": 1 for sign in ("", "u") for bits in range(1, 8)},
}


@dataclass(frozen=True, slots=True)
class StorageRef:
    """A run of numbers outside the pickle.

    Attributes:
        key: name of the run in the container.
        dtype: type of the numbers; "uint8" for a run that is known as bytes only.
        numel: how many numbers the run has.
        first: index of the first number that is meant (a view of a legacy file).
        view: how many are meant.
    """

    key: str
    dtype: str
    numel: int
    first: int
    view: int


@dataclass(frozen=True, slots=True, eq=False)
class TensorRef:
    """A tensor that a pickle describes; offset and stride count numbers of its dtype."""

    shape: tuple[int, ...]
    dtype: str
    storage: StorageRef | None = None
    offset: int = 0
    stride: tuple[int, ...] = ()
    problem: str | None = None


@dataclass(slots=True, eq=False)
class DtypeRef:
    """A numpy dtype; `name` is None for one that is no number."""

    name: str | None
    swap: bool = False

    def accept_state(self, state: Any) -> None:
        """Take the state that numpy writes: version, byte order, and four facts about structured types."""
        if isinstance(state, tuple) and len(state) > 4:
            self.swap = state[1] == ">"
            if state[3] is not None or state[4] is not None:
                self.name = None


@dataclass(slots=True, eq=False)
class ArrayRef:
    """A numpy array whose bytes stand in the pickle."""

    shape: tuple[int, ...] = ()
    dtype: DtypeRef = field(default_factory=lambda: DtypeRef(None))
    fortran: bool = False
    data: bytes | bytearray = b""
    problem: str | None = None

    def accept_state(self, state: Any) -> None:
        """Take the state that numpy writes: version, shape, dtype, order, bytes."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("the state of a numpy array is not version, shape, dtype, order and bytes")
        _, shape, dtype, fortran, data = state
        if isinstance(data, str):  # Python 2
            data = data.encode("latin-1")
        if not isinstance(dtype, DtypeRef):
            raise ValueError("the dtype of a numpy array is none")
        self.shape, self.dtype, self.fortran = sizes(shape), dtype, bool(fortran)
        if dtype.name is None or not isinstance(data, bytes | bytearray):
            self.problem = "it holds objects, not numbers"
            return
        needed = prod(self.shape) * numpy_dtype(dtype.name).itemsize
        if needed != len(data):
            raise ValueError(f"a numpy array has {len(data)} bytes, its shape needs {needed}")
        self.data = data


def itemsize(dtype: str) -> int:
    """Bytes of one number of a torch type."""
    return ODD_SIZES.get(dtype) or numpy_dtype(dtype).itemsize


def dtype_problem(dtype: str) -> str | None:
    """Say why numbers of a torch type cannot be read; None if they can."""
    return f"its type {dtype} cannot be read as numbers" if dtype in ODD_SIZES else None


def count(value: Any) -> int:
    """Check that a value from a file is a count.

    Raises:
        ValueError: it is not.
    """
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError("the pickle gives a size that is no count")
    return value


def sizes(value: Any) -> tuple[int, ...]:
    """Check that a value from a file is a shape.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, tuple | list):
        raise ValueError("the pickle gives a shape that is no tuple")
    return tuple(count(n) for n in value)
