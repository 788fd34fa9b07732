"""Orders of the models: every one of them for few models, a sample for many, and how often chance does as well."""

from __future__ import annotations

from functools import cache
from itertools import permutations
from math import factorial

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DRAWS",
    "MOST_ENUMERATED",
    "number_of_orders",
    "orders",
    "pair_signs",
    "permuted_kendall",
    "permuted_products",
    "share",
    "shares",
]

DRAWS = 9999
"""Orders drawn where there are too many to enumerate: no p-value is then below 1 / 10,000."""

MOST_ENUMERATED = 50_000
"""Most orders that are all looked at: those of 8 models, 8! = 40,320."""

_ROUNDING = 1e-9  # of the largest statistic: sums in another order
_CHUNK = 1 << 22  # pairs in memory at once

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Order = NDArray[np.intp]


def number_of_orders(n: int) -> int:
    """Give how many orders of n models are looked at."""
    return factorial(n) if factorial(n) <= MOST_ENUMERATED else DRAWS + 1


def orders(n: int, rng: np.random.Generator) -> Order:
    """Give orders of n models, the one they have first: all n! for n <= 8, else DRAWS more by chance.

    With the observed order among them, the share of orders that do at least as well as it is the exact p-value of a
    permutation test, or (b + 1) / (B + 1) of B drawn ones (Phipson and Smyth 2010), which is valid for every B.

    Args:
        n: number of models.
        rng: where the draws come from.

    Returns:
        (K, n) one order a row.
    """
    if (count := number_of_orders(n)) == factorial(n):
        return _all_orders(n)
    drawn = np.tile(np.arange(n), (count, 1))
    rng.permuted(drawn[1:], axis=1, out=drawn[1:])
    return drawn


@cache
def _all_orders(n: int) -> Order:
    found = np.array(list(permutations(range(n))), dtype=np.intp)
    found.setflags(write=False)  # it is shared
    return found


def pair_signs(x: NDArray[np.float64] | NDArray[np.int16]) -> NDArray[np.int8]:
    """Give the sign of x[j] - x[i] of every pair i < j along the last axis, 0 where one of them is NaN."""
    i, j = np.triu_indices(x.shape[-1], 1)
    first, second = x[..., i], x[..., j]
    return np.asarray((second > first).astype(np.int8) - (second < first).astype(np.int8))


def permuted_kendall(metrics: Matrix, quality: Vector, orders: Order) -> Matrix:
    """Give Kendall's S, concordant less discordant pairs, of every metric with the quality in every order.

    Args:
        metrics: (M, n) metrics; pairs with a NaN count for nothing.
        quality: (n,) quality, which is put into the orders.
        orders: (K, n) orders.

    Returns:
        (K, M) integers as floats.
    """
    ranks = np.unique(quality, return_inverse=True)[1].astype(np.int16)
    signs = pair_signs(metrics).astype(np.float32).T  # products of signs are summed exactly up to 2^24 pairs
    rows = max(1, _CHUNK // max(1, len(signs)))
    parts = [pair_signs(ranks[orders[k : k + rows]]).astype(np.float32) @ signs for k in range(0, len(orders), rows)]
    return np.concatenate(parts).astype(np.float64)


def permuted_products(x: Vector, quality: Vector, orders: Order) -> Vector:
    """Give the sum of products of centred x and quality in every order, which is what a slope is in units of."""
    centred = [z - z.sum() / max(1, len(z)) for z in (x, quality)]
    return np.asarray(centred[1][orders] @ centred[0])


def share(statistics: Vector, statistic: float) -> float:
    """Give the share of statistics that are at least as far from zero as one of them, up to rounding."""
    size = np.abs(statistics)
    return float(np.mean(size >= abs(statistic) - _ROUNDING * size.max()))


def shares(statistics: Matrix) -> Matrix:
    """Give the same of every statistic among those of its column: two-sided p-values, in row 0 of what was observed.

    Args:
        statistics: (K, M) whole numbers under K orders.

    Returns:
        (K, M) shares.
    """
    size = np.abs(statistics).astype(np.intp)
    found = np.empty(size.shape)
    for column, values in enumerate(size.T):
        at_least = np.cumsum(np.bincount(values)[::-1])[::-1]
        found[:, column] = at_least[values] / len(values)
    return found
