"""Results as bytes and back, exactly: what a cache keeps. Nothing but the listed classes is ever made from them."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

from heavytail.diagnosis.layer import Measured
from heavytail.diagnosis.noise import Noise
from heavytail.diagnosis.shuffles import Shuffles, Trap
from heavytail.diagnosis.tail import TailEntries
from heavytail.diagnosis.tail_score import TailScore
from heavytail.diagnosis.vectors import Localisation
from heavytail.rmt.noise_bulk import NoiseBulk
from heavytail.spectra.spectrum import Spectrum

__all__ = ["decode", "encode"]

_MAGIC = b"heavytail record 1\n"
_DIGEST, _LENGTH = 32, 8
_TYPES: dict[str, type[Any]] = {
    cls.__name__: cls
    for cls in (Localisation, Measured, Noise, NoiseBulk, Shuffles, Spectrum, TailEntries, TailScore, Trap)
}


def encode(value: Any) -> bytes:
    """Write a result: a text of its structure, then its arrays, under a checksum.

    Args:
        value: None, a number, a text, an array of numbers, a tuple of such, or one of the results that a cache keeps.

    Example:
        >>> decode(encode((1.5, float("inf"), "a")))
        (1.5, inf, 'a')
    """
    arrays: list[np.ndarray[Any, Any]] = []
    tree = json.dumps(_plain(value, arrays)).encode()
    body = b"".join([len(tree).to_bytes(_LENGTH, "little"), tree, *(array.tobytes() for array in arrays)])
    return _MAGIC + blake2b(body, digest_size=_DIGEST).digest() + body


def decode(data: bytes) -> Any:
    """Read what `encode` wrote.

    Raises:
        ValueError: if a byte of it has changed.
    """
    start = len(_MAGIC) + _DIGEST
    body = memoryview(data)[start:]
    if not data.startswith(_MAGIC) or blake2b(body, digest_size=_DIGEST).digest() != data[len(_MAGIC) : start]:
        raise ValueError("the record is damaged")
    length = int.from_bytes(body[:_LENGTH], "little")
    return _value(json.loads(bytes(body[_LENGTH : _LENGTH + length])), body[_LENGTH + length :], [0])


def _plain(value: Any, arrays: list[np.ndarray[Any, Any]]) -> Any:
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": [value.dtype.str, value.shape]}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple):
        return [_plain(item, arrays) for item in value]
    if is_dataclass(value):
        named = {field.name: _plain(getattr(value, field.name), arrays) for field in fields(value)}
        return {"is": type(value).__name__, "of": named}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a record holds no {type(value).__name__}")


def _value(plain: Any, data: memoryview, read: list[int]) -> Any:
    """Make the value of a tree; its arrays stand in `data` in the order in which the tree names them."""
    if isinstance(plain, list):
        return tuple(_value(item, data, read) for item in plain)
    if not isinstance(plain, dict):
        return plain
    if "is" in plain:
        return _TYPES[plain["is"]](**{name: _value(item, data, read) for name, item in plain["of"].items()})
    dtype, shape = plain["array"]
    count = int(np.prod(shape))
    array = np.frombuffer(data, dtype, count, read[0]).reshape(shape)
    read[0] += array.nbytes
    return array.copy()
