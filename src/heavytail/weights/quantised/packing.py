"""Numbers packed two to a byte by a code, and arrays cut into blocks of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from heavytail.weights.tensor import Array

__all__ = ["E2M1", "pairs", "regroup"]

# The numbers of the 4-bit float with two bits of exponent and one of mantissa, by their code (OCP MX v1.0, 5.3.3).
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)


def pairs(code: Array, low_first: bool) -> NDArray[np.float32]:
    """Give the two numbers that each byte holds by a code of 16 numbers, shape (256, 2)."""
    byte = np.arange(256)
    low, high = code[byte & 15], code[byte >> 4]
    return np.stack([low, high] if low_first else [high, low], axis=1).astype(np.float32)


def regroup(pieces: Iterable[Array], rows: int) -> Iterator[Array]:
    """Give consecutive arrays as arrays of `rows` rows, the last one of what is left; whole ones are not copied.

    Example:
        >>> [list(block) for block in regroup([np.arange(4), np.arange(4, 6)], 3)]
        [[np.int64(0), np.int64(1), np.int64(2)], [np.int64(3), np.int64(4), np.int64(5)]]
    """
    rows, held, count = max(1, rows), list[Array](), 0
    for piece in pieces:
        while count + len(piece) >= rows:
            cut = rows - count
            yield _joined([*held, piece[:cut]])
            piece, held, count = piece[cut:], [], 0
        if len(piece):
            held.append(piece)
            count += len(piece)
    if held:
        yield _joined(held)


def _joined(parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
