"""Modular addition, on which networks were first seen to grok."""

from __future__ import annotations

from hashlib import sha256

import numpy as np

from heavytail.lab.data.examples import Examples
from heavytail.lab.data.raw import Raw

__all__ = ["modular_addition"]


def modular_addition(p: int) -> Raw:
    """Give all p^2 sums a + b = c modulo p (Power et al. 2022), half of them to train on.

    The tokens of an example are a, b and the sign =, which is p; its label is c.

    Example:
        >>> raw = modular_addition(3)
        >>> raw.pool.inputs[5], raw.pool.labels[5]
        (array([1, 2, 3]), np.int64(0))
    """
    a, b = (v.ravel() for v in np.indices((p, p), dtype=np.int64))
    tokens, sums = np.stack([a, b, np.full_like(a, p)], axis=1), (a + b) % p
    checksum = sha256(tokens.astype("<i8").tobytes() + sums.astype("<i8").tobytes()).hexdigest()
    return Raw(Examples(tokens, sums), None, p, checksum, train=p * p // 2)
