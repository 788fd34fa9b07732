r"""The bulk of noise under a spectrum, and the spikes that stand out of it.

A matrix is taken as W = noise + signal of low rank, its noise independent entries of variance sigma^2. The expected
number of eigenvalues of W^T W below x is then known to a few hundredths of an eigenvalue, at finite size. With
x / (sigma^2 N) = 1 + c - 2 sqrt(c) cos(theta), c = M/N and theta from 0 at the lower edge to pi at the upper one,

.. math:: n(x) = M F(x) + \frac{1}{4} - \frac{\theta}{2\pi} + \frac{\kappa}{2\pi} \sin 2\theta
          - \frac{1}{\pi} \sum_j \arg(\rho_j + e^{i \theta}).

F is the Marchenko-Pastur law; the next two terms are its correction for real matrices (Bai and Silverstein 2004,
eq. 1.6); kappa is the excess kurtosis of the entries, whose term follows from the self-consistent equation
z = (1 + u + e u^2)(1 + c u + c e u^2) / u, e = kappa / N, to first order, as does a shift of the upper edge by the
factor 1 + kappa / sqrt(N M); the last sum is the phase by which a spike of strength s_j pushes the bulk,
rho_j = (s_threshold / s_j)^2, from the secular equation of Benaych-Georges and Nadakuditi (2012).

Eigenvalues of noise are rigid: they follow n(x) to about one place in the order. So sigma is found by matching orders,
theirs against n(x), over the lower nine tenths of the bulk, where spikes and the tail hardly reach. Spikes are counted
as Kritchman and Nadler (2009) do: the largest eigenvalue is held against the Tracy-Widom law of its size, set aside if
it does not belong, sigma is found anew, and so on until one belongs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import exp, expm1, log, pi, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heavytail.rmt.edges import largest_eigenvalue
from heavytail.rmt.marchenko_pastur import MarchenkoPastur
from heavytail.rmt.tracy_widom import TracyWidom

__all__ = [
    "MAX_SPIKES",
    "MIN_SIZE",
    "NoiseBulk",
    "allowance",
    "critical",
    "displaced_scale",
    "expected_count",
    "fit_noise_bulk",
    "outermost",
]

MIN_SIZE = 16
"""Fewest eigenvalues from which a bulk is found."""

MAX_SPIKES = 0.2
"""Largest share of spikes: beyond it the perturbation is not of low rank, and what is left is not noise."""

MAX_ERROR = 0.2
"""Largest relative standard error of sigma^2: beyond it the bulk is of another shape, and its edge is unknown."""

_RANGE = 0.9  # share of the bulk, from below, that sigma is found from
_POSITIONS = 512  # at most so many eigenvalues of it are used: neighbours say the same
_MODES = 96
_MARGIN = 0.3  # of the shift of the edge by the kurtosis
_FINE = 1e-7  # relative accuracy of sigma^2

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NoiseBulk:
    """The noise found under a spectrum.

    Attributes:
        N: larger dimension of the matrix.
        M: smaller dimension.
        sigma: standard deviation of the noise's entries.
        error: relative standard error of sigma^2, from the fluctuations of noise and from the misfit.
        edge: upper edge of the bulk, as an eigenvalue of W^T W.
        threshold: what noise exceeds with a chance of `level`, and the spikes exceed; farther out where the bulk's
            shape is not quite that of noise.
        num_spikes: eigenvalues beyond the threshold.
        score: place of the largest eigenvalue in units of its Tracy-Widom law, under noise alone.
        misfit: greatest distance between the orders of the bulk's eigenvalues and the expected ones, over their number.
        allowance: the misfit that 99 of 100 bulks of noise of this size stay under.
        kurtosis: excess kurtosis of the entries that was allowed for.
        level: chance that noise alone shows a spike.
        row_spread: coefficient of variation of the variances of rows, 0 where they are taken as equal.
        column_spread: the same of columns.
        counts: where they are unequal, eigenvalues from 0 on and the expected number below each; None otherwise, where
            `law` tells it.
    """

    N: int
    M: int
    sigma: float
    error: float
    edge: float
    threshold: float
    num_spikes: int
    score: float
    misfit: float
    allowance: float
    kurtosis: float
    level: float
    row_spread: float = 0.0
    column_spread: float = 0.0
    counts: tuple[Vector, Vector] | None = None

    @property
    def p_value(self) -> float:
        """Chance that noise alone has so large an eigenvalue."""
        return float(TracyWidom(1).sf(self.score))

    @property
    def misfit_p_value(self) -> float:
        """Chance that a bulk of noise of this size has so large a misfit."""
        excess = (self.misfit - self.allowance) * (self.M - self.num_spikes)
        # Width of Gumbel's law through the 99 % point, of simulated noise; `benchmarks/phases.py --only evidence`.
        width = 0.12 + 0.017 * log(self.M - self.num_spikes)
        return -expm1(log(0.99) * exp(-excess / width))

    @property
    def fits(self) -> bool:
        """Whether the bulk's shape is that of noise."""
        return self.misfit <= self.allowance

    @property
    def law(self) -> MarchenkoPastur | None:
        """Marchenko-Pastur law of the bulk, for eigenvalues over `scale`; None where rows or columns are unequal."""
        if self.counts is not None:
            return None
        return MarchenkoPastur((self.N - self.num_spikes) / (self.M - self.num_spikes), self.sigma)

    @property
    def scale(self) -> int:
        """What eigenvalues of W^T W are divided by for the law."""
        return self.N - self.num_spikes

    @property
    def problem(self) -> str:
        """Why this is not a bulk of noise; empty if it is one."""
        if self.num_spikes > MAX_SPIKES * self.M:
            return f"no noise bulk: over {MAX_SPIKES:.0%} lies beyond its edge"
        if self.error > MAX_ERROR:
            return f"no noise bulk: the best one misplaces {self.misfit:.0%}"
        return ""


def expected_count(
    x: ArrayLike, N: int, M: int, sigma: float = 1.0, kurtosis: float = 0.0, spikes: ArrayLike = ()
) -> Vector:
    """Give the expected number of eigenvalues of W^T W below x, those of the spikes not counted.

    Args:
        x: eigenvalues of W^T W, any shape.
        N: larger dimension of W.
        M: smaller dimension.
        sigma: standard deviation of the noise's entries.
        kurtosis: their excess kurtosis, 0 for Gaussian ones.
        spikes: (k,) eigenvalues of W^T W beyond the bulk; what is below the edge counts as a spike at the threshold.

    Returns:
        An array of the shape of x. It is not corrected further within about one eigenvalue of the edges.

    Example:
        >>> float(expected_count(1e9, 100, 50))
        50.0
        >>> float(expected_count(300.0, 100, 50).round(1))  # of the largest eigenvalues' edge 291
        50.0
    """
    spikes = np.asarray(spikes, np.float64)
    n, m = N - spikes.size, M - spikes.size
    theta = _angle(np.asarray(x, np.float64) / (sigma**2 * n), m / n)
    return np.asarray(_count(theta, np.sin(theta), n, m, kurtosis, spikes / (sigma**2 * n)))


def _count(theta: Vector, sine: Vector, n: int, m: int, kurtosis: float, spikes: Vector) -> Vector:
    """Give the expected count at angles, for a bulk of m eigenvalues and spikes in units of sigma^2 n."""
    count = m * _mass(theta, sine, sqrt(m / n)) + 0.25 - theta / (2 * pi)
    if kurtosis:
        count += kurtosis / pi * sine * np.cos(theta)
    if spikes.size:
        # The phase of a spike far out, theta / pi, is in the law of one row and one column less already.
        nodes, sines, cosines = _circle()
        phase = np.arctan2(sines, _weakness(spikes, m / n)[:, None] + cosines).sum(axis=0)
        count -= np.interp(theta, nodes, (phase - spikes.size * nodes) / pi)
    return np.where(theta == 0, 0.0, np.where(theta == pi, float(m), count))


def _mass(theta: Vector, sine: Vector, root: float) -> Vector:
    """Give the Marchenko-Pastur distribution function at angles from the lower edge, root = sqrt(c).

    The closed form of `MarchenkoPastur.cdf`, to 1e-16 / c: an order to a hundredth of a place needs no more.
    """
    turn = np.arctan2(root * sine, 1 - root * np.cos(theta))
    return np.asarray((theta + sine / root - (1 / root**2 - 1) * turn) / pi)


def fit_noise_bulk(evals: ArrayLike, N: int, M: int, *, kurtosis: float = 0.0, level: float = 0.01) -> NoiseBulk:
    """Find the noise under a spectrum, and count the spikes beyond it.

    On noise alone the chance of a spike is `level` within its half (independent entries with a fourth moment, M from
    50, Q up to 16). A spike at 1.2 times the threshold of Baik, Ben Arous and Peche in a 1000 x 500 matrix is found
    about as often as by a test that knows sigma.

    Args:
        evals: (M,) eigenvalues of W^T W, ascending.
        N: larger dimension of W.
        M: smaller dimension, at least `MIN_SIZE`.
        kurtosis: excess kurtosis of the entries of the noise, which shifts the edge.
        level: chance that noise alone shows a spike, in (0, 0.5).

    Returns:
        The best bulk; its `problem` says why it is none.

    Raises:
        ValueError: if there are not M ascending positive eigenvalues, M is too small, or N < M.

    Example:
        >>> W = np.random.default_rng(0).standard_normal((1000, 500))
        >>> W[:, 0] += 10  # a column that is not noise
        >>> bulk = fit_noise_bulk(np.linalg.eigvalsh(W.T @ W), 1000, 500)
        >>> bulk.num_spikes, round(bulk.sigma, 2), round(bulk.edge / 1000, 1)
        (1, 1.0, 2.9)
    """
    evals = _checked(evals, N, M)
    _, locations, scales = _edges(N, M)
    locations = locations * outermost(N, M, kurtosis)
    limits = locations + critical(level) * scales  # of the largest eigenvalue left, after that many were set aside
    descending = evals[::-1]
    k, score = 0, 0.0
    variance = _start(evals, N, M)
    tolerance = 0.02 * float(scales[0] / locations[0])  # a fiftieth of the edge's width, until no more stand out
    while True:
        variance = _variance(evals, N, M, k, kurtosis, variance, tolerance)
        if k == 0:
            score = float((descending[0] / variance - locations[0]) / scales[0])
        beyond = descending[k : M - 1] > variance * limits[k:]
        more = int(beyond.argmin()) if not beyond.all() else M - 1 - k
        k += more
        if k > MAX_SPIKES * M or (more == 0 and tolerance == _FINE):
            break
        if more == 0:
            tolerance = _FINE
    k = min(k, M - MIN_SIZE // 2)
    return _judge(evals, N, M, k, variance, score, kurtosis, level)


def _judge(
    evals: Vector, N: int, M: int, k: int, variance: float, score: float, kurtosis: float, level: float
) -> NoiseBulk:
    bulk = evals[: M - k]
    gap = expected_count(bulk, N, M, sqrt(variance), kurtosis, evals[M - k :]) - np.arange(0.5, M - k)
    misfit, allowed = float(np.abs(gap).max()) / bulk.size, allowance(bulk.size)
    systematic = displaced_scale(N - k, M - k, misfit - allowed)
    statistical = _relative_variance(N - k, M - k) + max(kurtosis, -2.0) / (N * M)
    edges, locations, scales = _edges(N, M)
    location, width = float(locations[k]) * outermost(N, M, kurtosis), float(scales[k])
    threshold = variance * (location * (1 + 2 * systematic) + critical(level) * width)
    refused = k > MAX_SPIKES * M
    return NoiseBulk(
        N=N,
        M=M,
        sigma=sqrt(variance),
        error=sqrt(max(statistical, 0.0) + systematic**2),
        edge=float(edges[k]) * (1 + kurtosis / sqrt(N * M)) * variance,
        threshold=threshold,
        num_spikes=k if refused or not systematic else int((evals > threshold).sum()),
        score=score - 2 * systematic * float(locations[0]) / float(scales[0]),
        misfit=misfit,
        allowance=allowed,
        kurtosis=kurtosis,
        level=level,
    )


def displaced_scale(N: int, M: int, share: float) -> float:
    """Give the relative change of sigma^2 that displaces this share of the eigenvalues; 0 for a negative share.

    A change e displaces up to e / (pi sqrt(c)) of them.
    """
    return pi * sqrt(M / N) * max(0.0, share)


def outermost(N: int, M: int, kurtosis: float) -> float:
    """Give the factor by which the kurtosis of the entries may move the largest eigenvalue.

    Where it is positive the shift, of first order, gets a margin: single large entries make it fluctuate.
    """
    shift = kurtosis / sqrt(N * M)
    return 1 + shift + _MARGIN * max(0.0, shift)


def _checked(evals: ArrayLike, N: int, M: int) -> Vector:
    x = np.asarray(evals, np.float64)
    if not N >= M >= MIN_SIZE:
        raise ValueError(f"N = {N}, M = {M}; a noise bulk needs N >= M >= {MIN_SIZE}")
    if x.shape != (M,):
        raise ValueError(f"evals has shape {x.shape}; expected ({M},)")
    if not (np.diff(x) >= 0).all() or not x[0] >= 0 or not 0 < x[-1] < np.inf:
        raise ValueError("evals must be ascending, not negative, finite, and not all zero")
    return x


@lru_cache(maxsize=256)
def _edges(N: int, M: int) -> tuple[Vector, Vector, Vector]:
    """Give, for unit Gaussian noise of 0, 1, ... rows and columns less, bulk edge and law of the largest eigenvalue."""
    removed = np.arange(M - 1)
    edge = largest_eigenvalue(N - removed, M - removed)
    return (np.sqrt(N - removed) + np.sqrt(M - removed)) ** 2, np.asarray(edge.location), np.asarray(edge.scale)


def _angle(y: Vector, c: float) -> Vector:
    return np.asarray(np.arccos(np.clip((1 + c - y) / (2 * sqrt(c)), -1, 1)))


def _weakness(y: Vector, c: float) -> Vector:
    """Give rho = (threshold / strength)^2 of spikes at y, eigenvalues of unit noise over N; 1 at and below the edge."""
    # The root of s^4 - (y - 1 - c) s^2 + c = 0 that is above the threshold, s^2 > sqrt(c).
    edge = 2 * sqrt(c)
    middle = np.maximum(y - 1 - c, edge)
    return np.asarray(edge / (middle + np.sqrt((middle - edge) * (middle + edge))))


def _start(evals: Vector, N: int, M: int) -> float:
    median = float(evals[M // 2])
    return max(median, float(evals[-1]) * 1e-12) / N / _median(N / M)


@lru_cache(maxsize=256)
def _median(Q: float) -> float:
    return float(MarchenkoPastur(Q).median())


def _variance(evals: Vector, N: int, M: int, k: int, kurtosis: float, variance: float, tolerance: float) -> float:
    """Match the orders of the lower part of the bulk, k spikes set aside: Gauss-Newton in log sigma^2."""
    n, m = N - k, M - k
    upto = max(int(_RANGE * m), 2)
    index = _positions(upto)
    x, spikes = evals[index] / n, evals[m:] / n
    for _ in range(60):
        theta = _angle(x / variance, m / n)
        sine = np.sin(theta)
        gap = _count(theta, sine, n, m, kurtosis, spikes / variance) - (index + 0.5)
        slope = m / pi * sqrt(n / m) * sine
        weight = float(slope @ slope)
        # All eigenvalues outside the support: go to where they are inside.
        step = float(slope @ gap) / weight if weight > 0 else float(np.sign(gap.sum()))
        variance *= exp(min(max(step, -0.5), 0.5))
        if abs(step) < tolerance:  # the next one would be smaller by far
            break
    return variance


@lru_cache(maxsize=256)
def _positions(upto: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, upto - 1, min(upto, _POSITIONS)).astype(np.int64))


@lru_cache(maxsize=256)
def _relative_variance(N: int, M: int) -> float:
    """Variance of log sigma^2 from the fluctuations of Gaussian noise.

    The number of eigenvalues below theta fluctuates by sum_m b_m sin(m theta), b_m independent of variance
    2 / (pi^2 m): Johansson (1998) for real matrices, integrated by parts.
    """
    c = M / N
    theta, modes, sines = _waves()
    density = 2 / pi * np.sin(theta) ** 2 / (1 + c - 2 * sqrt(c) * np.cos(theta) + 1e-300)
    below = np.cumsum(density) * (theta[1] - theta[0]) <= _RANGE
    slope = np.sin(theta) / (pi * sqrt(c))
    weight = np.where(below, slope * density, 0)
    weight /= (weight * slope).sum()
    loads = sines @ weight
    return float((2 / (pi**2 * modes) * loads**2).sum()) / M**2


@lru_cache
def _waves() -> tuple[Vector, Vector, Vector]:
    theta, modes = np.linspace(0, pi, 513), np.arange(1.0, _MODES + 1)
    return theta, modes, np.sin(np.outer(modes, theta))


@lru_cache
def _circle() -> tuple[Vector, Vector, Vector]:
    nodes = np.linspace(0, pi, 129)
    return nodes, np.sin(nodes), np.cos(nodes)


@lru_cache
def critical(level: float) -> float:
    """Give the place that noise passes with a chance of `level`, in units of the Tracy-Widom law."""
    return float(TracyWidom(1).isf(level))


def allowance(m: int) -> float:
    """Give the misfit that 99 of 100 bulks of m eigenvalues of noise stay under (checked by benchmarks/phases.py)."""
    return (0.38 + 0.46 * log(m)) / m
