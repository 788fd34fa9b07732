r"""Rules for where the tail of a spectrum starts, each a function of the sample that gives an xmin.

A rule takes the place of the Kolmogorov-Smirnov choice: `fit_power_law(x, xmin=median(x))`. It costs next to nothing
and does not wander with the largest points; in return nothing says that a power law starts there, so the distance D of
such a fit is one to look at.
"""

from __future__ import annotations

from math import log10, nan

import numpy as np
from numpy.typing import ArrayLike

from heavytail.tails.power_law import PowerLawFit, Vector, as_sample, log_ratio

__all__ = ["density_peak", "erg_gap", "largest", "log_determinant", "median", "peak_range"]


def density_peak(x: ArrayLike, bins: int = 100) -> float:
    """Start the tail at the peak of the density of log10 x.

    The peak is the lower edge of the fullest of `bins` equal bins between the smallest and the largest logarithm (the
    first of equals), as in WeightWatcher's "xmin_peak" and in the extended truncated power law (E-TPL) of Yang et al.
    (2023). It is a bin's edge, not a sample point.

    Args:
        x: (n,) positive sample, ascending.
        bins: number of bins, at least 1.

    Returns:
        The start of the tail, at most the largest point; NaN for an empty sample.

    Raises:
        ValueError: if x is not one-dimensional, ascending, positive and finite, or if bins is less than 1.

    Example:
        >>> density_peak([1.0, 10.0, 12.0, 15.0, 100.0], bins=2)  # the upper half, from 10^1
        10.0
    """
    x = as_sample(x)
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    if x.size == 0:
        return nan
    if x[0] == x[-1]:
        return float(x[0])
    counts, edges = np.histogram(np.log10(x), bins=bins)
    return float(10 ** edges[counts.argmax()])


def peak_range(x: ArrayLike, bins: int = 100, *, published: bool = False) -> tuple[float, float]:
    """Range around the peak of the density in which a start of the tail is searched: [0.95 peak, 1.5 peak].

    It is the rule of the fits called E-TPL (Yang et al. 2023), "fix-finger" (TempBalance, Zhou et al. 2023) and
    `alpha_peak` (AlphaPruning, Lu et al. 2024). The code of all of these takes log10(0.95 peak) for the lower end and
    compares it with the eigenvalues themselves, so that the range reaches far below the peak, all the way down where
    the peak is under 1/0.95: there it depends on the unit of the weights. With `published` the range is theirs, and

        fit_power_law(x, xmin=peak_range(x, published=True), min_tail=2, two_sided=False).alpha

    is the published `alpha_peak`.

    Args:
        x: (n,) positive sample, ascending.
        bins: number of bins of the histogram, at least 1.
        published: take log10(0.95 peak) for the lower end, as the published code does.

    Returns:
        Lower and upper end, to hand to `fit_power_law` as its xmin; NaN for an empty sample.

    Raises:
        ValueError: if x is not one-dimensional, ascending, positive and finite, or if bins is less than 1.

    Example:
        >>> peak_range([1.0, 10.0, 12.0, 15.0, 100.0], bins=2)
        (9.5, 15.0)
        >>> low, high = peak_range([1.0, 10.0, 12.0, 15.0, 100.0], bins=2, published=True)
        >>> round(low, 3), high
        (0.978, 15.0)
    """
    peak = density_peak(x, bins)
    low = 0.95 * peak
    return log10(low) if published and peak > 0 else low, 1.5 * peak


def median(x: ArrayLike) -> float:
    """Start the tail at the middle of the sample, x[n // 2] of x[0] <= ... <= x[n - 1].

    The published code of the layer-wise methods (TempBalance, AlphaPruning, FARMS) starts here and counts the starting
    point among the n - n // 2 of its tail: `fit_power_law(x, xmin=median(x)).alpha` is their exponent. The formula in
    their papers (Zhou et al. 2023, Hill 1975), which is `hill`, divides by the points above the start only. From the
    same start with k points above it alpha - 1 is (k + 1) / k times larger in the code; on a pure power law its
    relative bias is 2 / (k - 1) and that of `hill` is 1 / (k - 1). For even n the two starts are also one point apart:
    `hill` takes n / 2 points above x[n / 2 - 1].

    Args:
        x: (n,) positive sample, ascending.

    Returns:
        The start of the tail, a sample point; NaN for an empty sample.

    Raises:
        ValueError: if x is not one-dimensional, ascending, positive and finite.

    Example:
        >>> median([1.0, 2.0, 4.0, 8.0])
        4.0
    """
    x = as_sample(x)
    return float(x[x.size // 2]) if x.size else nan


def largest(x: ArrayLike, k: int) -> float:
    """Start the tail at the k-th largest point, so that it has k points (more where others equal the k-th).

    Args:
        x: (n,) positive sample, ascending.
        k: number of points in the tail, from 1 to n.

    Returns:
        The start of the tail, a sample point.

    Raises:
        ValueError: if x is not one-dimensional, ascending, positive and finite, or if k is not from 1 to n.

    Example:
        >>> largest([1.0, 2.0, 4.0, 8.0], 3)
        2.0
    """
    x = as_sample(x)
    if not 1 <= k <= x.size:
        raise ValueError(f"a tail of a sample of {x.size} points has from 1 to {x.size} points, got {k}")
    return float(x[-k])


def log_determinant(x: ArrayLike) -> float:
    r"""Start the tail where its determinant falls to one, after rescaling the spectrum to mean one.

    With y = x n / sum(x) the sum of ln y over the k largest points rises while y > 1 and then falls. The tail is the
    smallest that brings it below zero:

    .. math:: k = \min \{ k : \sum_{j > n - k} \ln y_j < 0 \},

    the condition det X = 1, or trace-log condition, of Martin and Hinrichs (2025), "SETOL". The point that carries
    the sum through zero belongs to the tail, as in WeightWatcher's column detX_num, which is k; without it the sum is
    zero or more. By the inequality of the means there is such a k unless all points are equal.

    WeightWatcher multiplies the points themselves, from the smallest of the tail up. Among thousands the product
    leaves the range of floating point before the large ones can bring it back: it underflows to zero and k comes out
    too small, or, where the points to multiply with are between 1/2 and 1, it rests on the smallest subnormal number,
    which each of them rounds back to, and k comes out too large. Sums of logarithms do neither.

    Args:
        x: (n,) positive sample, ascending: all positive eigenvalues, since the mean is over all of them.
            WeightWatcher's mean counts zeros too.

    Returns:
        The start of the tail, a sample point; NaN where all points are equal or there is none.

    Raises:
        ValueError: if x is not one-dimensional, ascending, positive and finite.

    Example:
        >>> log_determinant([0.05, 0.25, 0.6, 0.9, 3.2])  # 3.2 * 0.9 * 0.6 > 1 > 3.2 * 0.9 * 0.6 * 0.25
        0.25
    """
    x = as_sample(x)
    k = _determinant_count(x)
    return float(x[-k]) if k else nan


def erg_gap(x: ArrayLike, fit: PowerLawFit) -> int | None:
    """Number of points in the tail of determinant one less those in a fitted tail, WeightWatcher's ERG_gap.

    Martin and Hinrichs (2025) expect it to vanish, with alpha = 2, in an ideally trained layer; below zero the power
    law starts inside the bulk that the condition leaves out.

    Args:
        x: (n,) positive sample, ascending, with a fit to it.
        fit: the fitted tail.

    Returns:
        The gap in points; None where no tail has determinant one.

    Raises:
        ValueError: if x is not one-dimensional, ascending, positive and finite.

    Example:
        >>> from heavytail.tails.power_law import fit_power_law
        >>> x = [0.05, 0.25, 0.6, 0.9, 3.2]
        >>> erg_gap(x, fit_power_law(x, xmin=0.6, min_tail=2))  # four points against three
        1
    """
    x = as_sample(x)
    k = _determinant_count(x)
    return k - fit.n_tail if k else None


def _determinant_count(x: Vector) -> int:
    """Least number of largest points, rescaled to mean one, whose logarithms sum to less than zero; 0 if none does."""
    if x.size == 0 or x[0] == x[-1]:
        return 0
    logs = log_ratio(x, x[-1]) - np.log(np.mean(x / x[-1]))
    return int(np.argmax(np.cumsum(logs[::-1]) < 0)) + 1
