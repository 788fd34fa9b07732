"""CIFAR-10 as it is published for Python: six pickles, of which no code is ever run."""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heavytail.errors import SourceError
from heavytail.lab.data.examples import Examples
from heavytail.lab.data.raw import Raw
from heavytail.weights.faults import one_line, quoted, reading
from heavytail.weights.formats.torch.pickles import Symbol, load_pickle

__all__ = ["FOLDER", "read_cifar10"]

FOLDER = "cifar-10-batches-py"
_CLASSES = 10
_SHAPE = 3, 32, 32
_TRAIN = [f"data_batch_{i}" for i in range(1, 6)]
_TEST = "test_batch"


def read_cifar10(folder: Path) -> Raw:
    """Read the batches of CIFAR-10 (Krizhevsky 2009), cut to the 28 x 28 pixels of the centre of each image.

    Args:
        folder: with data_batch_1 to data_batch_5 and test_batch.

    Raises:
        SourceError: a file is missing or damaged, or its pickle asks for more than an array of bytes and labels.
    """
    digest = sha256()
    batches = []
    for name in [*_TRAIN, _TEST]:
        path = folder / name
        if not path.is_file():
            raise SourceError(folder, f"holds no {name}; the files of {FOLDER} are data_batch_1 to _5 and test_batch")
        with reading(path, "its pickle"):
            content = path.read_bytes()
            digest.update(content)
            batch = load_pickle(BytesIO(content), _find)
        batches.append(_examples(path, batch))
    pool = Examples(*(np.concatenate([getattr(b, part) for b in batches[:-1]]) for part in ("inputs", "labels")))
    return Raw(pool, batches[-1], _CLASSES, digest.hexdigest(), white=255)


class _Bytes:
    """What stands for an array: its shape and bytes arrive after it was made, as its state."""

    def __init__(self, *_: object) -> None:
        self.values: NDArray[np.uint8] | None = None

    def accept_state(self, state: object) -> None:
        """Take (version, shape, dtype, Fortran order, bytes) as numpy writes it."""
        _, shape, dtype, fortran, content = _tuple(state, 5)
        self.fill(content, dtype, shape, "F" if fortran else "C")

    def fill(self, content: object, dtype: object, shape: object, order: Any) -> None:
        """Check what the array is made of, and make it."""
        # Python 2 has one type for bytes and text
        content = content.encode("latin-1") if isinstance(content, str) else content
        if not isinstance(dtype, _Byte) or not isinstance(content, bytes | bytearray):
            raise ValueError("the pickle holds an array that is none of bytes")
        if not isinstance(shape, tuple) or len(shape) != 2 or not all(type(s) is int and s >= 0 for s in shape):
            raise ValueError("the pickle holds an array whose shape is no pair of whole numbers")
        if prod(shape) != len(content):
            raise ValueError(f"the pickle holds an array of shape {shape} with {len(content)} bytes")
        self.values = np.frombuffer(content, dtype=np.uint8).reshape(shape, order=order)


class _Byte:
    """What stands for the dtype uint8; the state that numpy gives it, its byte order, means nothing."""

    def __init__(self, code: object, *_: object) -> None:
        if code not in ("u1", "uint8"):
            seen = quoted(code) if isinstance(code, str) else "what has no name"
            raise ValueError(f"the pickle holds an array of {seen}, not of bytes")


def _from_buffer(content: object, dtype: object, shape: object, order: Any) -> _Bytes:
    array = _Bytes()
    array.fill(content, dtype, shape, order)
    return array


def _encode(text: object, encoding: object) -> bytes:
    """Give bytes that Python 3 wrote for Python 2 to read."""
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("the pickle encodes what is no text in Latin-1")
    return text.encode("latin-1")


def _tuple(value: object, length: int) -> tuple[Any, ...]:
    if not isinstance(value, tuple) or len(value) != length:
        raise ValueError("the pickle gives an array a state that numpy does not write")
    return value


# Every global that a batch may name, and the function of ours that is called in its place.
_BUILDERS = {
    "numpy.ndarray": None,
    "numpy.dtype": _Byte,
    "_codecs.encode": _encode,
    **{f"numpy.{core}.multiarray._reconstruct": _Bytes for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _from_buffer for core in ("core", "_core")},
}


def _find(name: str) -> Symbol:
    if name not in _BUILDERS:
        raise ValueError(f"the pickle asks for {quoted(name)}, which no batch of images needs")
    return Symbol(name, _BUILDERS[name])


def _examples(path: Path, batch: object) -> Examples:
    # the keys that Python 2 wrote are text; those that Python 3 wrote in its stead may be bytes
    found = {_text(k): v for k, v in batch.items()} if isinstance(batch, dict) else {}
    data, labels = found.get("data"), found.get("labels")
    values = data.values if isinstance(data, _Bytes) else None
    if values is None or not isinstance(labels, list):
        raise SourceError(path, "is no batch of CIFAR-10, a dict with the array 'data' and the list 'labels'")
    expected = len(labels), prod(_SHAPE)
    if values.shape != expected:
        raise SourceError(path, f"has data of shape {values.shape}; {expected} is expected with its labels")
    wrong = [x for x in labels if type(x) is not int or not 0 <= x < _CLASSES]
    if wrong:
        # never as text what can be a list of lists of lists
        seen = str(wrong[0]) if type(wrong[0]) is int else f"of type {type(wrong[0]).__name__}"
        raise SourceError(path, f"has a label {one_line(seen)}; labels go from 0 to {_CLASSES - 1}")
    return Examples(values.reshape(-1, *_SHAPE)[:, :, 2:-2, 2:-2], np.array(labels, dtype=np.int64))


def _text(key: object) -> object:
    return key.decode("latin-1") if isinstance(key, bytes) else key
