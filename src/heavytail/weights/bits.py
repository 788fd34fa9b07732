"""Numbers of a few bits, packed into bytes and words."""

from __future__ import annotations

from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["period", "unpack"]


def period(bits: int, width: int = 32) -> tuple[int, int]:
    """Give the least number of words of `width` bits that hold a whole number of values of `bits`, and that number."""
    common = gcd(bits, width)
    return bits // common, width // common


def unpack(words: NDArray[Any], bits: int, signed: bool = False) -> NDArray[np.uint8] | NDArray[np.int8]:
    """Unpack values of `bits` bits that stand along axis 0 from the lowest bit on, across the ends of the words.

    Args:
        words: integers of w bits, shape (k, ...), k a multiple of `period(bits, w)[0]`.
        bits: 1 to 8.
        signed: whether the values are two's complements.

    Returns:
        The values, shape (w k / bits, ...), int8 if they are signed, else uint8.

    Example:
        >>> unpack(np.array([0x76543210], np.int32), 4)
        array([0, 1, 2, 3, 4, 5, 6, 7], dtype=uint8)
        >>> unpack(np.array([0x7F], np.uint8), 4, signed=True)
        array([-1,  7], dtype=int8)
    """
    width = 8 * words.itemsize
    kind = np.dtype(f"u{words.itemsize}").type
    span, count = period(bits, width)
    rest = words.shape[1:]
    grouped = words.astype(kind, copy=False).reshape(-1, span, *rest)
    values = np.empty((len(grouped), count, *rest), np.uint8)
    for i in range(count):
        word, shift = divmod(i * bits, width)
        value = grouped[:, word] >> kind(shift)
        if shift + bits > width:
            value |= grouped[:, word + 1] << kind(width - shift)
        values[:, i] = value & kind((1 << bits) - 1)
    flat = values.reshape(-1, *rest)
    if not signed:
        return flat
    rise = np.uint8(8 - bits)
    return (flat << rise).view(np.int8) >> rise.view(np.int8)  # the shift to the right repeats the sign
