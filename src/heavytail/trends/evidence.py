"""How often a metric has ordered two models of one series rightly, in published series or in one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vector = NDArray[np.float64]

__all__ = ["ACROSS", "OVERCONFIDENT", "PUBLISHED", "UNITS", "Evidence", "measure"]

_LEAST = 40  # pairs in a bin of gaps


@dataclass(frozen=True, slots=True)
class Evidence:
    """How often a metric orders two models of one series rightly.

    Attributes:
        metric: its name.
        direction: -1 if the better model is expected to have the smaller value, +1 if the larger.
        right: share of pairs that it orders rightly, all series together; half of those that it holds equal. Series of
            many models have most of the pairs.
        by_series: mean over series of the share in each, every series weighing the same, as the probabilities have it.
        worst: the same share in the series where it is least; NaN where models of different series are paired.
        pairs: how many pairs there are, of models of one series whose qualities differ.
        series: how many series there are.
        gaps: the median difference of the metric in each of some bins of pairs, ascending.
        shares: the share that it orders rightly in each bin, every series weighing the same however many pairs it has.
        counts: the series of each bin.
        source: where the models are from.
    """

    metric: str
    direction: int
    right: float
    by_series: float
    worst: float
    pairs: int
    series: int
    gaps: tuple[float, ...]
    shares: tuple[float, ...]
    counts: tuple[int, ...]
    source: str

    def sure(self, gaps: ArrayLike) -> Vector:
        """Give the probability that the first of two models is the better one, from how far the metric says so.

        It is 1/2 where the metric does not tell the models apart and goes to the share of right orders at the gap of
        each bin, between them as a straight line; beyond the last it stays. The pairs of one series tell of each other,
        and two new models are of another series: so a share s of n series counts as (s n + 1) / (n + 2), Laplace's rule
        of succession, and no order is certain.

        Args:
            gaps: how far the first model's metric is on the better side of the second's; negative if it is not.

        Returns:
            Probabilities of the same shape.

        Example:
            >>> PUBLISHED["alpha_weighted"].sure([0, 1, -1]).round(2)
            array([0.5 , 0.86, 0.14])
        """
        given, series = np.asarray(gaps, np.float64), np.array(self.counts)
        shares = (np.array(self.shares) * series + 1) / (series + 2)
        excess = np.interp(np.abs(given), (0.0, *self.gaps), (0.0, *(shares - 0.5)))
        return np.asarray(0.5 + np.sign(given) * excess)


def measure(
    name: str,
    direction: int,
    metric: ArrayLike,
    quality: ArrayLike,
    series: Sequence[object],
    source: str = "",
    bins: int = 4,
) -> Evidence | None:
    """Count the pairs of models of one series that a metric orders rightly.

    Args:
        name: of the metric.
        direction: -1 if the better model is expected to have the smaller value, +1 if the larger.
        metric: (n,) its values, NaN where there is none.
        quality: (n,) of the models, larger is better.
        series: (n,) of the models.
        source: where the models are from.
        bins: at most so many, each of the same number of pairs.

    Returns:
        The counts; None where no series has two models whose qualities differ.
    """
    x, y, labels = np.asarray(metric, np.float64), np.asarray(quality, np.float64), np.array(list(map(str, series)))
    finite = np.isfinite(x) & np.isfinite(y)
    members = (finite & (labels == one) for one in dict.fromkeys(labels))
    found = [pairs for rows in members if (pairs := _pairs(x[rows], y[rows], direction))[0].size]
    if not found:
        return None
    gaps, right = (np.concatenate(parts) for parts in zip(*found, strict=True))
    sizes = np.array([one.size for one, _ in found])
    of, weights = np.repeat(np.arange(len(found)), sizes), np.repeat(1 / sizes, sizes)
    by_gap = np.array_split(np.argsort(gaps, kind="stable"), max(1, min(bins, gaps.size // _LEAST)))
    return Evidence(
        metric=name,
        direction=direction,
        right=float(right.mean()),
        by_series=float(np.mean([one.mean() for _, one in found])),
        worst=float(min(one.mean() for _, one in found)),
        pairs=int(gaps.size),
        series=len(found),
        gaps=tuple(float(np.median(gaps[one])) for one in by_gap),
        shares=tuple(float(np.average(right[one], weights=weights[one])) for one in by_gap),
        counts=tuple(len(set(of[one])) for one in by_gap),
        source=source,
    )


def _pairs(x: Vector, y: Vector, direction: int) -> tuple[Vector, Vector]:
    """Give of each pair whose qualities differ the gap of the metrics, and 1 if these order it rightly, else 0."""
    i, j = np.triu_indices(x.size, 1)
    differ = y[i] != y[j]
    dx, dy = (x[i] - x[j])[differ], (y[i] - y[j])[differ]
    return np.abs(dx), (1 + direction * np.sign(dx) * np.sign(dy)) / 2


UNITS = {"log_norm": 2.0}
"""What a published metric is multiplied by to be the one of that name here, which is of the squared norm."""

# The models are image classifiers of OSMR's collection, as Martin, Peng and Mahoney (2021, arXiv:2002.06716) measured
# them with WeightWatcher 0.2.7 in January 2020, without efficientnet_b0 and efficientnet_b1. A series is the models of
# one name on one data set, at least 4 of them.
_SERIES = (  # metric, right, by_series, worst, pairs, gaps, shares, counts
    (
        "log_norm",
        0.842,
        0.807,
        0.333,
        886,
        (0.037, 0.125, 0.231, 0.463),
        (0.644, 0.727, 0.891, 0.933),
        (16, 18, 20, 16),
    ),
    (
        "log_spectral_norm",
        0.860,
        0.818,
        0.333,
        883,
        (0.026, 0.122, 0.271, 0.550),
        (0.657, 0.828, 0.825, 0.991),
        (18, 15, 13, 14),
    ),
    (
        "alpha_weighted",
        0.862,
        0.808,
        0.333,
        886,
        (0.134, 0.465, 0.916, 1.786),
        (0.722, 0.713, 0.898, 0.913),
        (18, 19, 19, 14),
    ),
    (
        "log_alpha_norm",
        0.862,
        0.807,
        0.333,
        886,
        (0.122, 0.436, 0.882, 1.695),
        (0.720, 0.701, 0.898, 0.919),
        (18, 19, 19, 14),
    ),
)
_ANY = (  # metric, right, pairs, gap: of those trained on ImageNet, 40 series, any two of them paired
    ("log_norm", 0.552, 15219, 0.454),
    ("log_spectral_norm", 0.580, 15045, 0.482),
    ("alpha_weighted", 0.567, 15219, 1.626),
    ("log_alpha_norm", 0.566, 15219, 1.580),
)

PUBLISHED: Mapping[str, Evidence] = {
    name: Evidence(
        name, -1, right, mean, worst, pairs, 20, gaps, shares, counts, "20 published series of image classifiers"
    )
    for name, right, mean, worst, pairs, gaps, shares, counts in _SERIES
}
"""Evidence on models of one series, by metric: of those that keep in each series what the others promise of it."""

OVERCONFIDENT: Mapping[str, str] = {
    "alpha": "told of each series by the others, it would be given 61% of their pairs and orders 55% of them rightly"
}
"""Published metrics that do not keep it, and by how much."""

ACROSS: Mapping[str, Evidence] = {
    name: Evidence(name, -1, right, right, nan, pairs, 40, (gap,), (right,), (40,), "175 published image classifiers")
    for name, right, pairs, gap in _ANY
}
"""Evidence on models of any two architectures, by metric: little better than a coin. It has no worst series."""
