"""What may be said of trends when many were looked at: p-values adjusted for all of them, and the words for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial, isnan, prod

import numpy as np
from numpy.typing import NDArray

from heavytail.trends.permutation import DRAWS, MOST_ENUMERATED, null_kendall, number_of_orders, orders, shares

__all__ = ["LEVEL", "OPEN", "REVERSED", "SUPPORTED", "TOO_FEW", "Family", "find_family", "verdict"]

LEVEL = 0.05
SUPPORTED, REVERSED, OPEN, TOO_FEW = "supported", "reversed", "open", "too few"

_ROUNDING = 1e-9

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Family:
    """All the tests of one table: G groups by M metrics, and M metrics within groups.

    Attributes:
        p_values: (G, M) two-sided p-values of Kendall's tau, of each by itself.
        adjusted: (G, M) adjusted for the family.
        within: (M,) two-sided p-values of the sum over groups of Kendall's S, of each by itself.
        within_adjusted: (M,) adjusted for the family.
        within_least: (M,) the smallest that any orders could have, but for drawing.
    """

    p_values: Matrix
    adjusted: Matrix
    within: Vector
    within_adjusted: Vector
    within_least: Vector


def find_family(groups: Sequence[tuple[Matrix, Vector]], seed: int | np.random.Generator) -> Family:
    """Test every metric in every group and within all groups, and adjust the p-values for all that was tested.

    The null hypothesis is that quality has nothing to do with the metrics in any group. Quality is permuted in each
    group by itself and for all metrics at once, so that metrics which say the same count once (Westfall and Young
    1993, min-P). The G x M cells and the M tests within groups are two families of equal weight, for the few tests that
    use all the data should not pay for the many that use little: the smallest p-value of each family is made uniform
    by its own distribution over the draws, and an adjusted p-value is the share of draws where the smaller of the two
    is no larger. That is exact whatever the dependence, and costs nothing where one group makes both families the same.
    Groups too small to reach a small p-value cost nothing either.

    Args:
        groups: of each group, the (M, n) metrics and the (n,) quality.
        seed: seed or generator.
    """
    rng = np.random.default_rng(seed)
    drawn = _drawn([number_of_orders(len(quality)) for _, quality in groups], rng)
    own: list[Vector] = []
    total, lowest = np.zeros((1, 1)), np.ones(1)
    farthest, chance = np.zeros((2, 1)), np.ones((2, 1))  # the largest and the smallest sum, and how often it comes
    for (metrics, quality), rows in zip(groups, drawn, strict=True):
        statistics = null_kendall(metrics, quality, orders(len(quality), rng), rng)
        p_values = shares(statistics)
        own.append(p_values[0])
        total = total + statistics[rows]
        lowest = np.minimum(lowest, p_values[rows].min(axis=1))
        most = np.stack((statistics.max(axis=0), -statistics.min(axis=0)))
        farthest = farthest + most
        chance = chance * [np.mean(statistics == end, axis=0) for end in (most[0], -most[1])]
    cells, within = np.stack(own), shares(total)
    families = np.sort(lowest), np.sort(within.min(axis=1))
    either = np.sort(np.minimum(_reached(lowest, families[0]), _reached(within.min(axis=1), families[1])))
    return Family(
        p_values=cells,
        adjusted=np.maximum(cells, _reached(_reached(cells, families[0]), either)),
        within=within[0],
        within_adjusted=np.maximum(within[0], _reached(_reached(within[0], families[1]), either)),
        within_least=np.minimum(1, np.sum(np.where(farthest == farthest.max(axis=0), chance, 0), axis=0)),
    )


def verdict(tau: float, expected: int, adjusted: float, p_least: float, models: int) -> str:
    """Say in a word what a test allows to say of a trend.

    Args:
        tau: Kendall's tau, within groups or in one.
        expected: the sign that the theory gives to tau, or 0.
        adjusted: the adjusted p-value.
        p_least: the smallest p-value that any order of these models could have.
        models: number of models.

    Returns:
        "too few" if no order of these models could be told from chance, unless that is because of a constant among
        models enough; else "open" unless the adjusted p-value is at most 5 %, else "supported" if the sign is the
        theory's, which it always is where the theory has none, or "reversed".

    Example:
        >>> verdict(-0.9, -1, 0.01, 0.0001, 8), verdict(0.9, -1, 0.01, 0.0001, 8), verdict(0.9, 0, 0.01, 0.0001, 8)
        ('supported', 'reversed', 'supported')
    """
    constant = isnan(tau) and 2 / factorial(models) <= LEVEL
    if p_least > LEVEL and not constant:
        return TOO_FEW
    if isnan(tau) or adjusted > LEVEL:
        return OPEN
    return REVERSED if tau * expected < 0 else SUPPORTED


def _drawn(sizes: Sequence[int], rng: np.random.Generator) -> Sequence[NDArray[np.intp]]:
    """Choose one order of each group for every joint draw, the observed ones first: every combination, or some."""
    if (count := prod(sizes)) <= MOST_ENUMERATED:
        # An axis only for those that have a choice: numpy has 64 axes, and a table may have more groups.
        chosen = iter(np.unravel_index(np.arange(count), [*(size for size in sizes if size > 1), 1]))
        return [next(chosen) if size > 1 else np.zeros(count, dtype=np.intp) for size in sizes]
    rows = [np.arange(DRAWS + 1) if size == DRAWS + 1 else rng.integers(size, size=DRAWS + 1) for size in sizes]
    for row in rows:
        row[0] = 0
    return rows


def _reached(p_values: NDArray[np.float64], smallest: Vector) -> NDArray[np.float64]:
    """Give the share of draws whose smallest p-value, sorted, is no larger."""
    return np.searchsorted(smallest, p_values * (1 + _ROUNDING), side="right") / len(smallest)
