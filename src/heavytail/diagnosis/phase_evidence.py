"""What a spectrum says of its phase of training: observations, each with its interval or its chance under noise.

They are made of the eigenvalues and the shape of the matrix alone, so that no rotation, permutation, transposition or
scale can change them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import erfc, log, nan, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from heavytail.rmt.edges import largest_eigenvalue
from heavytail.rmt.marchenko_pastur import MarchenkoPastur
from heavytail.rmt.noise_bulk import NoiseBulk, fit_noise_bulk
from heavytail.rmt.spikes import AdditiveSpike
from heavytail.tails.alternatives import Comparison, vuong
from heavytail.tails.edge import EdgeShape, edge_shape
from heavytail.tails.laws import Exponential, PowerLaw
from heavytail.tails.likelihood import fit

__all__ = ["MIN_RANK", "PhaseEvidence", "gather"]

MIN_RANK = 20
"""Fewest eigenvalues above zero from which more is told than how many are lost."""

_ZERO = 1e-7  # eigenvalues below this share of the upper decile are of directions that are lost
_CLIFF = 1e4  # ratio of neighbours that no continuous spectrum has, but for the very largest
_SPIKES = 3  # largest eigenvalues that may be spikes: neither breadth nor the tail's law hang on them
_FEW = 5  # eigenvalues beyond the bulk besides, fewer than which have no law
_NARROW, _MISFIT = 2.0, 1e-4  # standard deviations by which a body is narrower than noise's, if its bulk is not noise's
_TRACY_WIDOM = 1.268  # standard deviation of the Tracy-Widom law of index 1
_NORMAL = 1.959964  # two-sided 95 % point of the normal law

_UNKNOWN = EdgeShape(nan, nan)

Vector = NDArray[np.float64]


class Expected(NamedTuple):
    """What noise would show, and its standard deviation."""

    value: float
    error: float

    def p_value(self, seen: float) -> float:
        """Chance that noise shows as much."""
        return erfc((seen - self.value) / self.error / sqrt(2)) / 2


@dataclass(frozen=True, slots=True)
class PhaseEvidence:
    """The observations on one matrix.

    Attributes:
        M: number of eigenvalues.
        rank: those of them that are not lost.
        bulk: the best bulk of noise under them, its entries taken as Gaussian and alike; None where fewer than
            `MIN_RANK` are left, and the rest is NaN then.
        largest: the largest eigenvalue.
        beyond: eigenvalues beyond the bulk's edge: least, as found and most, as far as the edge is known to 95 %.
        breadth: mean log excess over the median of the eigenvalues above it, the largest tenth and at least three left
            out.
        breadth_of_noise: that of noise of this shape.
        law: power law against exponential law, fitted to the eigenvalues beyond the bulk's edge but the three largest
            (Vuong 1989); None for fewer than five of them.
        edge: shape of the upper edge.
        edge_of_noise: index of noise of this shape.
    """

    M: int
    rank: int
    bulk: NoiseBulk | None = None
    largest: float = nan
    beyond: tuple[int, int, int] = (0, 0, 0)
    breadth: float = nan
    breadth_of_noise: Expected = Expected(nan, nan)  # noqa: RUF009 - immutable
    law: Comparison | None = None
    edge: EdgeShape = _UNKNOWN
    edge_of_noise: Expected = Expected(nan, nan)  # noqa: RUF009 - immutable

    @property
    def lost(self) -> float:
        """Share of directions that are lost."""
        return 1 - self.rank / self.M

    @property
    def narrow(self) -> bool:
        """Whether the body is narrower than noise's, as in no phase: of 12,000 matrices of noise none is."""
        if self.bulk is None or self.bulk.misfit_p_value > _MISFIT:
            return False
        return self.breadth < self.breadth_of_noise.value - _NARROW * self.breadth_of_noise.error

    @property
    def soft_rank(self) -> tuple[float, float, float]:
        """Bulk edge over the largest eigenvalue: lower end of its 95 % interval, value, upper end."""
        if self.bulk is None:
            return nan, nan, nan
        value = self.bulk.edge / self.largest
        spread = _NORMAL * sqrt(self.bulk.error**2 + _fluctuation(self.bulk, self.largest) ** 2)
        return value * max(0.0, 1 - spread), value, value * (1 + spread)

    @property
    def power_law_ratio(self) -> float:
        """Log-likelihood ratio of `law` for each eigenvalue: positive for a power law; NaN where there is none."""
        return nan if self.law is None else self.law.log_ratio / (self.beyond[1] - _SPIKES)

    def as_dict(self) -> dict[str, Any]:
        """Give the observations as plain values, for JSON."""
        found: dict[str, Any] = {"num_evals": self.M, "rank": self.rank, "lost": self.lost}
        if self.bulk is None:
            return found
        lo, value, hi = self.soft_rank
        least, beyond, most = (count / self.rank for count in self.beyond)
        return found | {
            "misfit": self.bulk.misfit,
            "misfit_p_value": self.bulk.misfit_p_value,
            "beyond": beyond,
            "beyond_lo": least,
            "beyond_hi": most,
            "num_outliers": self.bulk.num_spikes,
            "outlier_p_value": self.bulk.p_value,
            "soft_rank": value,
            "soft_rank_lo": lo,
            "soft_rank_hi": hi,
            "breadth": self.breadth,
            "breadth_of_noise": self.breadth_of_noise.value,
            "breadth_p_value": self.breadth_of_noise.p_value(self.breadth),
            "power_law_ratio": self.power_law_ratio,
            "power_law_p_value": nan if self.law is None else self.law.p_value,
            "edge_index": self.edge.index,
            "edge_index_lo": self.edge.index - _NORMAL * self.edge.error,
            "edge_index_hi": self.edge.index + _NORMAL * self.edge.error,
            "edge_index_of_noise": self.edge_of_noise.value,
            "edge_p_value": self.edge_of_noise.p_value(self.edge.index),
        }


def gather(evals: Vector, N: int, floor: float = 0.0) -> PhaseEvidence:
    """Observe one matrix.

    Args:
        evals: (M,) eigenvalues of W^T W, ascending, not negative.
        N: larger dimension of W.
        floor: rounding noise of the stored numbers, as an eigenvalue.

    Example:
        >>> W = np.random.default_rng(0).standard_normal((300, 100))
        >>> seen = gather(np.linalg.eigvalsh(W.T @ W), 300)
        >>> seen.lost, seen.bulk.num_spikes, f"{seen.soft_rank[1]:.2f}"
        (0.0, 0, '1.02')
    """
    M = evals.size
    x = evals[_lost(evals, floor) :]
    if x.size < MIN_RANK:
        return PhaseEvidence(M, x.size)
    # What is lost takes columns away, and leaves noise of fewer.
    bulk = fit_noise_bulk(x, N, x.size)
    tail = x[x > bulk.edge]
    start, end = _body(x.size)
    return PhaseEvidence(
        M,
        x.size,
        bulk,
        largest=float(x[-1]),
        beyond=_beyond(x, bulk),
        breadth=float(np.log(x[start:end] / x[start]).mean()),
        breadth_of_noise=_breadth_of_noise(N, x.size),
        law=_law(tail[: max(0, tail.size - _SPIKES)], bulk.edge),
        edge=edge_shape(x),
        edge_of_noise=_edge_of_noise(N, x.size),
    )


def _lost(evals: Vector, floor: float) -> int:
    """Count the directions that are lost: at zero, or a cliff below the others."""
    M = evals.size
    top = evals[-max(3, M // 10) :]
    cliffs = np.flatnonzero(top[1:-1] > _CLIFF * top[:-2])
    reference = top[cliffs[-1] + 1] if cliffs.size else top[0]
    lost = int(np.searchsorted(evals, _ZERO * reference, side="right"))
    # The spectrum of square noise reaches down to zero, and the smallest of its eigenvalues are not lost.
    if 0 < lost < min(M, 3 + M * sqrt(_ZERO)) and evals[lost] <= _CLIFF * evals[lost - 1]:
        lost = 0
    # Rounding leaves what is lost well below the bound on it. Where eigenvalues go on across the bound, none is lost:
    # of square noise the smallest three stand far apart, and the others do not.
    below = int(np.searchsorted(evals, floor, side="right"))
    if 0 < below < M and evals[below] > (_CLIFF if below <= 3 else 4) * evals[below - 1]:
        lost = max(lost, below)
    return max(lost, int(np.searchsorted(evals, 0.0, side="right")))


def _body(M: int) -> tuple[int, int]:
    """Give the ranks, in ascending order, between which breadth is measured."""
    return M // 2, M - max(_SPIKES, M // 10)


def _beyond(x: Vector, bulk: NoiseBulk) -> tuple[int, int, int]:
    spread = _NORMAL * bulk.error
    edges = np.array([1 + spread, 1.0, max(0.0, 1 - spread)]) * bulk.edge
    least, found, most = (x.size - np.searchsorted(x, edges, side="right")).tolist()
    return least, found, most


def _law(tail: Vector, edge: float) -> Comparison | None:
    laws = [fit(tail, law, xmin=edge) for law in (PowerLaw, Exponential)] if tail.size >= _FEW else []
    first, second = laws or (None, None)
    return None if first is None or second is None else vuong(first, second, tail)


@lru_cache(maxsize=256)
def _breadth_of_noise(N: int, M: int) -> Expected:
    """Integrate the Marchenko-Pastur law over the body; scatter and offset are those of simulated noise."""
    law, c, (first, last) = MarchenkoPastur(N / M), M / N, _body(M)
    median, top = law.ppf(np.array([(first + 0.5) / M, last / M]))
    start, end = np.arccos(np.clip((np.array([median, top]) - 1 - c) / (2 * sqrt(c)), -1, 1))
    nodes, weights = np.polynomial.legendre.leggauss(64)
    x = 1 + c + 2 * sqrt(c) * np.cos(end + (start - end) * (1 + nodes) / 2)
    share = weights * (1 - ((x - 1 - c) / (2 * sqrt(c))) ** 2) / x
    value = float(share @ np.log(x / median) / share.sum())
    error = value * (1.9 + 0.36 * log(M)) / M
    return Expected(value - 0.25 * error, error)


@lru_cache(maxsize=256)
def _edge_of_noise(N: int, M: int) -> Expected:
    """Give the index of the upper edge of noise, from the places of its points, and the scatter of simulated noise."""
    k = max(2, M // 20)
    first, second, third = MarchenkoPastur(N / M).isf((np.array([1, 2, 4]) * k - 0.5) / M)
    return Expected(log((first - second) / (second - third)) / log(2), (1.5 + 0.12 * log(k)) / (k + 0.4))


def _fluctuation(bulk: NoiseBulk, largest: float) -> float:
    """Give the relative standard deviation of the largest eigenvalue: as that of a spike, at least as that of noise."""
    noise = largest_eigenvalue(bulk.N, bulk.M)
    least = _TRACY_WIDOM * float(noise.scale) / float(noise.location)
    if largest <= bulk.edge:
        return least
    model = AdditiveSpike(bulk.M / bulk.N)
    place = sqrt(largest / bulk.edge) * model.edge
    return max(least, float(2 * model.fluctuation(model.strength(place), bulk.N) / place))
