"""What a spectrum says of its phase of training: observations, each with its interval or its chance under noise.

They are made of the eigenvalues and the shape of the matrix alone, so that no rotation, permutation, transposition or
scale can change them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, log, nan, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heavytail.rmt.marchenko_pastur import MarchenkoPastur
from heavytail.rmt.noise_bulk import NoiseBulk, fit_noise_bulk
from heavytail.rmt.spikes import AdditiveSpike
from heavytail.tails.edge import EdgeShape, edge_shape

__all__ = ["MIN_RANK", "PhaseEvidence", "gather"]

MIN_RANK = 20
"""Fewest eigenvalues above zero from which more is told than how many are lost."""

_ZERO = 1e-6  # eigenvalues below this share of the upper decile are of directions that are lost
_NORMAL = 1.959964  # two-sided 95 % point of the normal law

_UNKNOWN = EdgeShape(nan, nan)

Vector = NDArray[np.float64]


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
        breadth: mean log excess of the upper half of the eigenvalues over their median.
        edge: shape of the upper edge.
        edge_of_noise: index of noise of this shape, and its standard deviation.
    """

    M: int
    rank: int
    bulk: NoiseBulk | None = None
    largest: float = nan
    beyond: tuple[int, int, int] = (0, 0, 0)
    breadth: float = nan
    edge: EdgeShape = _UNKNOWN
    edge_of_noise: EdgeShape = _UNKNOWN

    @property
    def lost(self) -> float:
        """Share of directions that are lost."""
        return 1 - self.rank / self.M

    @property
    def soft_rank(self) -> tuple[float, float, float]:
        """Bulk edge over the largest eigenvalue: lower end of its 95 % interval, value, upper end."""
        if self.bulk is None:
            return nan, nan, nan
        value = self.bulk.edge / self.largest
        spread = _NORMAL * sqrt(self.bulk.error**2 + _fluctuation(self.bulk, self.largest) ** 2)
        return value * max(0.0, 1 - spread), value, value * (1 + spread)

    @property
    def edge_p_value(self) -> float:
        """Chance that the edge of noise is as soft."""
        z = (self.edge.index - self.edge_of_noise.index) / self.edge_of_noise.error
        return erfc(z / sqrt(2)) / 2

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
            "num_spikes": self.bulk.num_spikes,
            "spike_p_value": self.bulk.p_value,
            "soft_rank": value,
            "soft_rank_lo": lo,
            "soft_rank_hi": hi,
            "breadth": self.breadth,
            "edge_index": self.edge.index,
            "edge_index_lo": self.edge.index - _NORMAL * self.edge.error,
            "edge_index_hi": self.edge.index + _NORMAL * self.edge.error,
            "edge_index_of_noise": self.edge_of_noise.index,
            "edge_p_value": self.edge_p_value,
        }


def gather(evals: Vector, N: int, floor: float = 0.0) -> PhaseEvidence:
    """Observe one matrix.

    Args:
        evals: (M,) eigenvalues of W^T W, ascending, the largest positive.
        N: larger dimension of W.
        floor: rounding noise of the stored numbers, as an eigenvalue.

    Example:
        >>> W = np.random.default_rng(0).standard_normal((300, 100))
        >>> seen = gather(np.linalg.eigvalsh(W.T @ W), 300)
        >>> seen.lost, seen.bulk.num_spikes, f"{seen.soft_rank[1]:.2f}"
        (0.0, 0, '1.02')
    """
    M = evals.size
    zero = max(floor, _ZERO * float(evals[-max(1, M // 10)]))
    x = evals[np.searchsorted(evals, zero, side="right") :]
    if x.size < MIN_RANK:
        return PhaseEvidence(M, x.size)
    # What is lost takes columns away, and leaves noise of fewer.
    bulk = fit_noise_bulk(x, N, x.size)
    half = x[x.size // 2 :]
    return PhaseEvidence(
        M,
        x.size,
        bulk,
        largest=float(x[-1]),
        beyond=_beyond(x, bulk),
        breadth=float(np.log(half / half[0]).mean()),
        edge=edge_shape(x),
        edge_of_noise=_edge_of_noise(N, x.size),
    )


def _beyond(x: Vector, bulk: NoiseBulk) -> tuple[int, int, int]:
    spread = _NORMAL * bulk.error
    edges = np.array([1 + spread, 1.0, max(0.0, 1 - spread)]) * bulk.edge
    least, found, most = (x.size - np.searchsorted(x, edges, side="right")).tolist()
    return least, found, most


def _edge_of_noise(N: int, M: int) -> EdgeShape:
    """Give the index of the upper edge of noise, from the places of its points, and the scatter of simulated noise."""
    k = max(2, M // 20)
    first, second, third = MarchenkoPastur(N / M).isf((np.array([1, 2, 4]) * k - 0.5) / M)
    return EdgeShape(log((first - second) / (second - third)) / log(2), 1.6 / (k + 0.4))


def _fluctuation(bulk: NoiseBulk, largest: float) -> float:
    """Give the relative standard deviation of the largest eigenvalue as that of a spike; 0 within the bulk."""
    if largest <= bulk.edge:
        return 0.0
    model = AdditiveSpike(bulk.M / bulk.N)
    place = sqrt(largest / bulk.edge) * model.edge
    return float(2 * model.fluctuation(model.strength(place), bulk.N) / place)
