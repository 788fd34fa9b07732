"""Orders of the models: every one of them for few models, a sample for many, and how often chance does as well.

Counting all pairs of n models in each of 10,000 orders takes 5,000 n^2 steps for every metric. From 61 models on the S
of an order is therefore taken as its projection on the places of single models, (1/n) sum of a_i b_i with a_i the
number of models smaller than i less that of those larger (Hajek 1968), and a normal remainder with the covariance that
is exactly left (Daniels 1944). The projection is drawn from the same orders for all metrics, ties and all; the
remainder has 1 / (2 n) of the variance. Where metric and quality have few values the S of an order takes few values
too, which a normal remainder would smear: there it is counted from the table of both, which is quick.
"""

from __future__ import annotations

from functools import cache
from itertools import permutations
from math import factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heavytail.trends.pairs import sign_products, sign_sums

__all__ = [
    "DRAWS",
    "MOST_CELLS",
    "MOST_ENUMERATED",
    "MOST_PAIRED",
    "null_kendall",
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

MOST_PAIRED = 60
"""Most models whose pairs are counted in every order."""

MOST_CELLS = 4096
"""Most cells, a value of the metric by a value of the quality, of the tables from which S is counted."""

_ROUNDING = 1e-9  # of the largest statistic: sums in another order
_CHUNK = 1 << 22  # pairs in memory at once

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Order = NDArray[np.integer[Any]]


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
    drawn = np.tile(np.arange(n, dtype=np.min_scalar_type(n)), (count, 1))
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


def null_kendall(metrics: Matrix, quality: Vector, orders: Order, rng: np.random.Generator) -> Matrix:
    """Give Kendall's S of every metric in every order: counted for up to 60 models, else of the law described above.

    Args:
        metrics: (M, n) metrics; pairs with a NaN count for nothing.
        quality: (n,) quality, without NaN.
        orders: (K, n) orders, the first of them the observed one, whose S is always counted.
        rng: where the remainders come from.

    Returns:
        (K, M) integers as floats.
    """
    if len(quality) <= MOST_PAIRED:
        return permuted_kendall(metrics, quality, orders)
    every = np.vstack((metrics, quality))
    products, sums = sign_products(every), sign_sums(every)
    found = permuted_products(sums[:-1], sums[-1], orders) / len(quality)
    size, axes = np.linalg.eigh(_remainder(sums, products))
    root = axes * np.sqrt(np.maximum(size, 0))
    found += rng.standard_normal(found.shape) @ root.T
    found[0] = products[-1, :-1] / 2
    levels = len(np.unique(quality))
    for k, metric in enumerate(metrics):
        if len(np.unique(metric)) * levels <= MOST_CELLS:
            found[:, k] = _tabled_kendall(metric, quality, orders)
    return np.asarray(np.rint(found))


def _tabled_kendall(metric: Vector, quality: Vector, orders: Order) -> Vector:
    """Count S from tables of how many models have each value of the metric and each of the quality."""
    values, row = np.unique(metric, return_inverse=True)  # NaN is the last value
    column = np.unique(quality, return_inverse=True)[1]
    shape = len(values), int(column.max()) + 1
    known, step = int(np.isfinite(values).sum()), max(1, _CHUNK // max(len(metric), shape[0] * shape[1]))
    found = []
    for k in range(0, len(orders), step):
        cells = row * shape[1] + column[orders[k : k + step]]
        cells += np.arange(len(cells))[:, None] * (shape[0] * shape[1])
        size = len(cells) * shape[0] * shape[1]
        tables = np.bincount(cells.ravel(), minlength=size).reshape(-1, *shape)[:, :known]
        smaller = np.cumsum(tables, axis=1) - tables  # models with a smaller metric, by quality
        upto = np.cumsum(smaller, axis=2)
        found.append(np.sum(tables * (2 * upto - smaller - upto[:, :, -1:]), axis=(1, 2)))
    return np.concatenate(found).astype(np.float64)


def _remainder(sums: Matrix, products: Matrix) -> Matrix:
    """Give the covariance of metrics' S that their projections leave (Daniels 1944, equation 4.9, less theirs).

    Args:
        sums: (M + 1, n) of `sign_sums`, of the metrics and the quality.
        products: (M + 1, M + 1) of `sign_products`.
    """
    n = sums.shape[1]
    metrics, quality = sums[:-1] @ sums[:-1].T, sums[-1] @ sums[-1]
    pairs, untied = products[:-1, :-1], products[-1, -1]
    whole = ((metrics - pairs) * (quality - untied) / (n - 2) + pairs * untied / 2) / (n * (n - 1))
    return np.asarray(whole - metrics * quality / (n * n * (n - 1)))


def permuted_products(metrics: Matrix, quality: Vector, orders: Order) -> Matrix:
    """Give the sum of products of centred metrics and quality in every order, which is what a slope is in units of.

    Args:
        metrics: (M, n) metrics.
        quality: (n,) quality, which is put into the orders.
        orders: (K, n) orders.

    Returns:
        (K, M) sums.
    """
    n = max(1, len(quality))
    centred = (metrics - metrics.sum(axis=1, keepdims=True) / n).T
    y, rows = quality - quality.sum() / n, max(1, _CHUNK // n)
    return np.concatenate([y[orders[k : k + rows]] @ centred for k in range(0, len(orders), rows)])


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
    size = np.abs(statistics)
    as_far = [len(size) - np.searchsorted(np.sort(values), values, "left") for values in size.T]
    return np.stack(as_far, axis=1) / len(size)
