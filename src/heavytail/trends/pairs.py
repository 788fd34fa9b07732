"""Sums over pairs of models of the signs of their differences, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["concordances", "kendall_score", "sign_products", "sign_sums", "untied"]

_BLOCK = 1 << 22  # pairs in memory at once

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


def untied(x: Vector) -> int:
    """Count the pairs that x tells apart; those with a NaN do not count."""
    counts = np.unique(x[~np.isnan(x)], return_counts=True)[1]
    total = int(counts.sum())
    return (total * total - int(np.sum(counts * counts))) // 2


def sign_sums(x: Matrix) -> Matrix:
    """Give of every model how many are smaller less how many are larger, (M, n) of (M, n); 0 where it is NaN."""
    sums = np.zeros(x.shape)
    for values, found in zip(x, sums, strict=True):
        known = ~np.isnan(values)
        ordered, own = np.sort(values[known]), values[known]
        found[known] = np.searchsorted(ordered, own, "left") + np.searchsorted(ordered, own, "right") - len(own)
    return sums


def sign_products(x: Matrix) -> Matrix:
    """Give of every two rows the sum over ordered pairs of the product of their signs: twice Kendall's S, (M, M)."""
    total = np.zeros((len(x), len(x)))
    for signs in _blocks(x):
        flat = signs.reshape(len(x), -1)
        total += flat @ flat.T  # whole numbers below 2^24: exact
    return total


def concordances(x: Vector, y: Vector) -> Vector:
    """Give of every model its concordant less its discordant pairs with the others, (n,)."""
    return np.concatenate([np.zeros(0), *(np.sum(a * b, axis=1) for a, b in _blocks(np.stack((x, y))))])


def kendall_score(x: Vector, y: Vector) -> int:
    """Give Kendall's S: concordant less discordant pairs; those with a NaN count for nothing."""
    return round(float(concordances(x, y).sum())) // 2


def _blocks(x: Matrix) -> Iterator[NDArray[np.float32]]:
    """Give the signs of x[:, i] - x[:, j] for some rows i at a time, (M, rows, n); 0 where one is NaN."""
    rows = max(1, _BLOCK // max(1, x.size))
    for k in range(0, x.shape[1], rows):
        mine, others = x[:, k : k + rows, None], x[:, None]
        yield (mine > others).astype(np.float32) - (mine < others).astype(np.float32)
