"""The curves of one spectrum, small enough to travel inside a page."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CCDF",
    "LinearHistogram",
    "LogCounts",
    "LogHistogram",
    "ccdf",
    "linear_histogram",
    "log_counts",
    "log_histogram",
    "significant",
    "thinned",
]

_MIN_BINS, _MAX_BINS = 8, 60


class LogCounts(NamedTuple):
    """Counts over bins that are equally wide in log10.

    Attributes:
        edges: (bins + 1,) ascending, positive.
        counts: (bins,) eigenvalues in each.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]


class LogHistogram(NamedTuple):
    """A density over bins that are equally wide in log10.

    Attributes:
        edges: (bins + 1,) ascending, positive.
        density: (bins,) share of all eigenvalues per unit of eigenvalue.
    """

    edges: NDArray[np.float64]
    density: NDArray[np.float64]


class LinearHistogram(NamedTuple):
    """Counts over equally wide bins between 0 and `top`."""

    top: float
    counts: NDArray[np.int64]


class CCDF(NamedTuple):
    """Points of the complementary distribution function, from the largest eigenvalue down.

    Attributes:
        x: (points,) eigenvalues, descending.
        rank: (points,) how many eigenvalues are at least x; the CCDF at x is rank over the number of eigenvalues.
    """

    x: NDArray[np.float64]
    rank: NDArray[np.int64]


def log_histogram(evals: NDArray[np.float64], floor: float = 0.0, bins: int | None = None) -> LogHistogram:
    """Bin the eigenvalues above `floor` logarithmically, as a density over all eigenvalues.

    Args:
        evals: (n,) eigenvalues, not negative.
        floor: only eigenvalues above it are binned.
        bins: number of bins; by default it grows as n^0.4.

    Returns:
        The histogram; its integral is the share of the eigenvalues above `floor`. No such eigenvalue: no bins.

    Example:
        >>> edges, density = log_histogram(np.array([0.0, 1.0, 10.0, 100.0]), bins=2)
        >>> float((density * np.diff(edges)).sum())
        0.75
    """
    edges, counts = log_counts(evals, floor, bins)
    return LogHistogram(edges, counts / np.diff(edges) / evals.size if counts.size else np.empty(0))


def log_counts(evals: NDArray[np.float64], floor: float = 0.0, bins: int | None = None) -> LogCounts:
    """Count the eigenvalues above `floor` in logarithmic bins between the smallest and the largest of them.

    Example:
        >>> log_counts(np.array([0.0, 1.0, 10.0, 100.0]), bins=2).counts.tolist()
        [1, 2]
    """
    drawn = evals[evals > max(floor, 0.0)]
    if drawn.size == 0:
        return LogCounts(np.empty(0), np.empty(0, dtype=np.int64))
    low, high = np.log10(drawn.min()), np.log10(drawn.max())
    if high - low < 1e-6:
        low, high = low - 0.05, high + 0.05
    positions = np.linspace(low, high, (bins or _bins(drawn.size)) + 1)
    counts, _ = np.histogram(np.clip(np.log10(drawn), low, high), positions)
    return LogCounts(10.0**positions, counts.astype(np.int64))


def linear_histogram(values: NDArray[np.float64], bins: int | None = None, limit: float = np.inf) -> LinearHistogram:
    """Count values that are not negative in equal bins from 0 to the largest, or to `limit` where that is smaller.

    Example:
        >>> linear_histogram(np.array([0.1, 0.2, 4.0]), bins=4).counts.tolist()
        [2, 0, 0, 1]
    """
    top = min(float(values.max()), limit) if values.size else 0.0
    if top <= 0:
        return LinearHistogram(0.0, np.empty(0, dtype=np.int64))
    counts, _ = np.histogram(values, bins or _bins(values.size), (0.0, top))
    return LinearHistogram(top, counts.astype(np.int64))


def ccdf(evals: NDArray[np.float64], floor: float = 0.0, exact: int = 50, points: int = 150) -> CCDF:
    """Take points of the CCDF that keep the tail exact.

    Args:
        evals: (n,) eigenvalues, ascending.
        floor: only eigenvalues above it are taken.
        exact: this many of the largest eigenvalues are all kept.
        points: at most this many points; beyond the exact ones they are equally spaced in the log of the rank.

    Example:
        >>> ccdf(np.array([1.0, 2.0, 2.0, 5.0])).rank.tolist()
        [1, 3, 3, 4]
    """
    count = int((evals > max(floor, 0.0)).sum())
    order = np.arange(1, count + 1)
    if count > points:
        spaced = np.geomspace(exact, count, points - exact + 1)
        order = np.union1d(order[:exact], np.round(spaced).astype(np.int64))
    x = evals[evals.size - order]
    return CCDF(x, evals.size - np.searchsorted(evals, x, side="left").astype(np.int64))


def thinned(values: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """Take at most so many of the values, evenly in their order, the first and the last among them.

    Example:
        >>> thinned(np.arange(9.0), 3)
        array([0., 4., 8.])
    """
    if values.size <= most:
        return values
    return np.asarray(values[np.linspace(0, values.size - 1, most).round().astype(np.intp)])


def significant(values: NDArray[np.float64], digits: int = 4) -> list[float | int | None]:
    """Round to significant digits as plain numbers; whole numbers become int, what is not finite None.

    Example:
        >>> significant(np.array([0.123456, 4096.0, np.nan]))
        [0.1235, 4096, None]
    """
    return [_plain(float(value), digits) for value in values]


def _plain(value: float, digits: int) -> float | int | None:
    if not np.isfinite(value):
        return None
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 2**53 else rounded


def _bins(count: int) -> int:
    return int(np.clip(3 * count**0.4, _MIN_BINS, _MAX_BINS))
