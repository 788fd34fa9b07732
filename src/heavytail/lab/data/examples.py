"""Examples, and the three sets of them that an experiment needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heavytail.errors import RequestError
from heavytail.lab.data._draws import whole

__all__ = ["DataSet", "Examples"]

# Checksums of the data as they were published: the four files of Fashion-MNIST (Xiao, Rasul and Vollgraf 2017) one
# behind the other, unpacked; the digits of scikit-learn, images before labels, a byte a number.
_PUBLISHED = {
    "fashion-mnist": "14410854cf7a289477dcfc7df3f8ec24741e281cdcc425ede0d9a748ca630214",
    "digits": "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826",
}


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Inputs with their labels.

    Attributes:
        inputs: images, float32 of shape (n, channels, height, width), or tokens, int64 of shape (n, length).
        labels: classes, int64 of shape (n,).

    Raises:
        RequestError: there are more of the one than of the other.

    Example:
        >>> few = Examples(np.zeros((4, 1, 2, 2), dtype=np.float32), np.array([1, 0, 3, 2])).take([3, 0])
        >>> few.labels
        array([2, 1])
    """

    inputs: NDArray[Any]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:  # noqa: D105
        if self.labels.shape != self.inputs.shape[:1]:
            raise RequestError(f"labels have shape {self.labels.shape}; {self.inputs.shape[:1]} fits the inputs")

    def __len__(self) -> int:
        """Give the number of examples."""
        return len(self.labels)

    def take(self, which: int | ArrayLike) -> Examples:
        """Give some of the examples.

        Args:
            which: how many, from the first; or their indices, whole numbers from 0 of shape (m,).

        Raises:
            RequestError: there are not as many, or an index is none of them.
        """
        if np.ndim(which) == 0:
            count = whole("which", which, 0)
            if count > len(self):
                raise RequestError(f"which is {count}; there are {len(self)} examples")
            return Examples(self.inputs[:count], self.labels[:count])
        indices = np.asarray(which)
        if indices.size == 0:
            return self.take(0)
        if indices.ndim != 1 or indices.dtype.kind not in "iu":
            raise RequestError(f"which is {indices.dtype} of shape {indices.shape}; it must be one row of indices")
        if indices.min() < 0 or indices.max() >= len(self):
            raise RequestError(
                f"which goes from {indices.min()} to {indices.max()}; there are {len(self)} examples, from 0"
            )
        return Examples(self.inputs[indices], self.labels[indices])


@dataclass(frozen=True, slots=True, eq=False)
class DataSet:
    """Examples to train on, to choose by, and to judge by; no example is in two of the sets.

    Attributes:
        name: as `load_data` takes it.
        classes: number of classes; labels are 0 to classes - 1.
        train: training examples.
        validation: examples kept aside from the training file.
        test: test examples.
        checksum: sha256, hexadecimal, of all bytes that were read (unpacked), whichever examples were taken.
    """

    name: str
    classes: int
    train: Examples
    validation: Examples
    test: Examples
    checksum: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input: (channels, height, width), or (length,) of tokens."""
        return self.train.inputs.shape[1:]

    @property
    def published(self) -> bool | None:
        """Whether the bytes are those that were published; None where their checksum is not known here."""
        return self.checksum == _PUBLISHED[self.name] if self.name in _PUBLISHED else None
