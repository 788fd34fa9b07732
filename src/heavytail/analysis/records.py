"""Results as bytes and back, exactly: what a cache keeps. Nothing but the listed classes is ever made from them."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from hashlib import blake2b
from math import prod
from typing import Any

import numpy as np

from heavytail.diagnosis.layer import Measured
from heavytail.diagnosis.noise import Noise
from heavytail.diagnosis.shuffles import Shuffles, Trap
from heavytail.diagnosis.tail import TailEntries
from heavytail.diagnosis.tail_score import TailScore
from heavytail.diagnosis.vectors import Localisation
from heavytail.rmt.noise_bulk import NoiseBulk
from heavytail.spectra.certified import Bounds, CertifiedSpectrum
from heavytail.spectra.spectrum import Spectrum

__all__ = ["decode", "encode"]

_MAGIC = b"heavytail record 1\n"
_DIGEST, _LENGTH = 32, 8
_NUMBERS = re.compile(r"[<>|][biufc]\d+")  # numpy's names of their types
_KEPT = (Bounds, CertifiedSpectrum, Localisation, Measured, Noise, NoiseBulk, Shuffles, Spectrum, TailEntries)
_TYPES: dict[str, type[Any]] = {cls.__name__: cls for cls in (*_KEPT, TailScore, Trap)}


def encode(value: Any) -> bytes:
    """Write a result: a text of its structure, then its arrays, under a checksum.

    Args:
        value: None, a number, a text, an array of numbers, a tuple of such, or one of the results that a cache keeps. A
            number of a numpy type is read again as Python's.

    Raises:
        TypeError: if it is or holds anything else.

    Example:
        >>> decode(encode((1.5, float("inf"), "a")))
        (1.5, inf, 'a')
    """
    arrays: list[np.ndarray[Any, Any]] = []
    tree = json.dumps(_plain(value, arrays), ensure_ascii=False).encode("utf-8", "surrogatepass")
    body = b"".join([len(tree).to_bytes(_LENGTH, "little"), tree, *(array.tobytes() for array in arrays)])
    return _MAGIC + blake2b(body, digest_size=_DIGEST).digest() + body


def decode(data: bytes) -> Any:
    """Read what `encode` wrote.

    Raises:
        ValueError: if a byte of it has changed, or it holds what `encode` does not write.
    """
    start = len(_MAGIC) + _DIGEST
    body = memoryview(data)[start:]
    if not data.startswith(_MAGIC) or blake2b(body, digest_size=_DIGEST).digest() != data[len(_MAGIC) : start]:
        raise ValueError("the record is damaged")
    length = int.from_bytes(body[:_LENGTH], "little")
    tree, arrays = body[_LENGTH : _LENGTH + length], body[_LENGTH + length :]
    try:
        value, left = _value(json.loads(str(tree, "utf-8", "surrogatepass")), arrays)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError) as error:
        raise ValueError(f"the record is not understood: {type(error).__name__}: {error}") from error
    if left:
        raise ValueError("the record holds more than it names")
    return value


def _plain(value: Any, arrays: list[np.ndarray[Any, Any]]) -> Any:
    if isinstance(value, np.ndarray):
        if not _NUMBERS.fullmatch(value.dtype.str):
            raise TypeError(f"a record holds no array of {value.dtype}")
        arrays.append(value)
        return {"array": [value.dtype.str, value.shape]}
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) is tuple:
        return [_plain(item, arrays) for item in value]
    if type(value) is _TYPES.get(type(value).__name__):
        named = {field.name: _plain(getattr(value, field.name), arrays) for field in fields(value)}
        return {"is": type(value).__name__, "of": named}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a record holds no {type(value).__name__}")


def _value(plain: Any, data: memoryview) -> tuple[Any, memoryview]:
    """Make the value of a tree, whose arrays stand in `data` in the order in which it names them; give what is left."""
    if isinstance(plain, list):
        items = []
        for each in plain:
            item, data = _value(each, data)
            items.append(item)
        return tuple(items), data
    if not isinstance(plain, dict):
        return plain, data
    if "is" in plain:
        values, data = _value(list(plain["of"].values()), data)
        return _TYPES[plain["is"]](**dict(zip(plain["of"], values, strict=True))), data
    name, shape = plain["array"]
    if not _NUMBERS.fullmatch(name) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"a record holds no array of {name} and shape {shape}")
    size = prod(shape) * np.dtype(name).itemsize
    return np.frombuffer(data[:size], name).reshape(shape).copy(), data[size:]
