"""What every container format gives: tensors that are described now and read later."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from heavytail.weights.places.files import File

__all__ = ["Array", "Factors", "Hint", "Source", "Tensor", "numpy_dtype"]

Array = NDArray[Any]

# Types that numpy itself does not have, under the names that containers use for them.
_EXTRA_DTYPES = {
    name: np.dtype(getattr(ml_dtypes, name))
    for name in (
        *("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"),
        "float8_e8m0fnu",  # powers of two alone: scales
    )
}


def numpy_dtype(name: str) -> np.dtype[np.generic]:
    """Give the numpy dtype called `name`, bfloat16 and the float8 types included."""
    return _EXTRA_DTYPES.get(name) or np.dtype(name)


@dataclass(frozen=True, slots=True)
class Hint:
    """What a live module knows of a tensor and a checkpoint does not.

    Attributes:
        kind: the layer's type: "linear", "embedding", "conv1d", "conv2d", "conv3d", "lstm", "gru", "rnn",
            "bilinear".
        groups: number of groups of a convolution.
        transposed: whether a convolution is transposed, so that axis 0 holds the input channels.
        stride: stride of a convolution; equal to the kernel in a patch embedding.
        gates: a letter for each gate of a recurrent layer, in the order in which they stand along axis 0.
    """

    kind: str
    groups: int = 1
    transposed: bool = False
    stride: tuple[int, ...] = ()
    gates: str = ""


@dataclass(frozen=True, slots=True)
class Factors:
    """Two thin matrices whose product is a tensor: scale * left @ right, in the tensor's shape.

    Attributes:
        left: (rows, r), with the rows of the tensor.
        right: (r, columns), with the columns of a matrix, or all other axes of a convolution's kernel as one.
        scale: what their product is multiplied by.
        magnitude: the lengths that the rows of the merged weight are given, in DoRA (Liu et al. 2024).
    """

    left: Tensor
    right: Tensor
    scale: float
    magnitude: Tensor | None = None

    @property
    def rank(self) -> int:
        """Number of columns of the left one: the rank is no higher."""
        return self.left.shape[1]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as its container describes it; nothing is read before `read` or `blocks` is called.

    Attributes:
        name: name in the container, unique in its source.
        shape: sizes of the axes.
        dtype: name of the type of the numbers that are read, as `numpy_dtype` takes it ("float32", "bfloat16", ...).
        blocks: given a number r of rows (slices along axis 0), reads the tensor once, in order, as consecutive
            arrays of at most r rows in that type; arrays may be read-only views. Axis 0 must exist. It can be pickled,
            unless the tensor is of a live module.
        origin: the file that holds the tensor.
        storage: equal for two tensors that are the same numbers in the same place (tied weights), else unique;
            None where the container cannot tell.
        problem: why the tensor cannot be read, as a sentence; None if it can.
        hint: what a live module, or a container with a graph, knows about the tensor.
        stored: what the container calls the stored type where `dtype` is what it becomes, for example "Q4_K".
        packed: bytes that are stored, where they are not those of the numbers that are read.
        files: further files that its numbers depend on, beside those that were opened.
        whole: whether reading any rows of it takes all of it, as where rows interleave.
        factors: of a product that is stored as its factors.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    blocks: Callable[[int], Iterator[Array]]
    origin: str = ""
    storage: Hashable | None = None
    problem: str | None = None
    hint: Hint | None = None
    stored: str = ""
    packed: int = 0
    files: tuple[File, ...] = ()
    whole: bool = False
    factors: Factors | None = None

    @property
    def size(self) -> int:
        """Number of entries."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the stored numbers; 0 for a type that numpy does not know."""
        try:
            return self.size * numpy_dtype(self.dtype).itemsize
        except TypeError:
            return 0

    def read(self) -> Array:
        """Read the whole tensor in its stored type, shape `shape`."""
        parts = list(self.blocks(max((1, *self.shape[:1]))))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


@dataclass(frozen=True, slots=True)
class Source:
    """A model as a list of tensors.

    Attributes:
        name: what the user asked for, as text.
        format: name of the container, for example "safetensors" or "torch zip".
        files: the files that were opened, in order.
        tensors: all tensors, in the container's order, names unique.
        notes: sentences about what was left out and why, for example optimizer state.
        opened: all files that the numbers depend on, as what can be opened again.
    """

    name: str
    format: str
    files: tuple[str, ...]
    tensors: tuple[Tensor, ...]
    notes: tuple[str, ...] = ()
    opened: tuple[File, ...] = ()
