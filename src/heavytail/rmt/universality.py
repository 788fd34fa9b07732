"""Universality classes of matrices by the tail index of their entries (Martin and Mahoney 2018), and what is proved.

Entries are independent with P(|w| > t) ~ t^-tail_mu; eigenvalues are those of X = W^T W / N. Each statement of the
table says whether it is a theorem, with its source, or an observation on matrices of practical size. The two must not
be mixed for 2 < tail_mu < 4: there the variance is finite, so the limiting density is that of Marchenko and Pastur, and
the power law that one sees, with its fitted exponent, belongs to the size at which it was fitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "CLASSES",
    "FINITE_SIZE_FIT",
    "GAUSSIAN",
    "LIMIT_RELATION",
    "MODERATELY_HEAVY",
    "SPIKED",
    "VERY_HEAVY",
    "WEAKLY_HEAVY",
    "ExponentRelation",
    "Statement",
    "UniversalityClass",
    "alpha_from_tail_index",
    "classify",
    "tail_index_from_alpha",
]

Vector = NDArray[np.float64]
Status = Literal["theorem", "empirical fit", "observation"]


@dataclass(frozen=True, slots=True)
class Statement:
    """Something said of a class, and what it rests on.

    Attributes:
        text: the statement.
        status: "theorem", "empirical fit", or "observation" for what was seen in simulations.
        source: where it is proved or reported.
    """

    text: str
    status: Status
    source: str


@dataclass(frozen=True, slots=True)
class UniversalityClass:
    """One row of the table.

    Attributes:
        name: the name Martin and Mahoney give it.
        tail_mu: the open range of tail indices; (inf, inf) where all moments are finite.
        entries: what the entries are.
        limit: the eigenvalue density for N -> infinity at fixed N/M.
        finite_size: its shape at practical sizes.
        edge: statistics of the bulk edge.
        tail: statistics of the largest eigenvalues.
    """

    name: str
    tail_mu: tuple[float, float]
    entries: str
    limit: Statement
    finite_size: Statement
    edge: Statement
    tail: Statement


@dataclass(frozen=True, slots=True)
class ExponentRelation:
    """A line alpha = slope tail_mu + intercept between the tail index of entries and the exponent of eigenvalues.

    Attributes:
        slope: a of Martin and Mahoney.
        intercept: their b.
        tail_mu: the range of tail indices it is meant for.
        status: "theorem" or "empirical fit".
        source: where it is proved or reported.
        size: (N, M) of the matrices of a fit; None for a limit.
    """

    slope: float
    intercept: float
    tail_mu: tuple[float, float]
    status: Status
    source: str
    size: tuple[int, int] | None = None

    def alpha(self, tail_mu: ArrayLike) -> Vector:
        """Give the exponent alpha, any shape; NaN outside the open range of the relation.

        Example:
            >>> LIMIT_RELATION.alpha([1.0, 3.0]).tolist()
            [1.5, nan]
        """
        mu = np.asarray(tail_mu, dtype=np.float64)
        low, high = self.tail_mu
        return np.where((mu > low) & (mu < high), self.slope * mu + self.intercept, np.nan)[()]


LIMIT_RELATION = ExponentRelation(
    0.5, 1.0, (0.0, 2.0), "theorem", "Belinschi, Dembo and Guionnet (2009): density ~ l^(-1 - tail_mu/2)"
)
"""alpha = 1 + tail_mu/2, exact in the limit for tail_mu < 2."""

FINITE_SIZE_FIT = ExponentRelation(
    1.21,
    -0.0253,
    (2.0, 4.0),
    "empirical fit",
    "Martin and Mahoney (2018), fits to uncentred Lomax entries; tail_mu up to 3.5",
    (2000, 1000),
)
"""The published line for 2 < tail_mu < 4; other sizes have other lines, and the limit has no power law at all."""

_MP = "Marchenko and Pastur (1967); for finite variance alone, Yin (1986)"
_MM = "Martin and Mahoney (2018), table of universality classes"
_ABP = "Auffinger, Ben Arous and Peche (2009)"

GAUSSIAN = UniversalityClass(
    name="Marchenko-Pastur",
    tail_mu=(inf, inf),
    entries="Gaussian, or with all moments",
    limit=Statement("Marchenko-Pastur", "theorem", _MP),
    finite_size=Statement("Marchenko-Pastur", "observation", _MM),
    edge=Statement("Tracy-Widom", "theorem", "Johnstone (2001); Pillai and Yin (2014) for general entries"),
    tail=Statement("none: no eigenvalue leaves the bulk", "theorem", "Yin, Bai and Krishnaiah (1988)"),
)
SPIKED = UniversalityClass(
    name="Spiked covariance",
    tail_mu=(inf, inf),
    entries="Gaussian plus a low-rank perturbation",
    limit=Statement("Marchenko-Pastur", "theorem", _MP + "; a finite rank does not change the limit"),
    finite_size=Statement("Marchenko-Pastur and Gaussian spikes", "observation", _MM),
    edge=Statement("Tracy-Widom", "theorem", "Baik, Ben Arous and Peche (2005), below the threshold"),
    tail=Statement("Gaussian, for simple spikes above the threshold", "theorem", "Paul (2007)"),
)
WEAKLY_HEAVY = UniversalityClass(
    name="Weakly heavy-tailed",
    tail_mu=(4.0, inf),
    entries="power law with a fourth moment",
    limit=Statement("Marchenko-Pastur", "theorem", _MP),
    finite_size=Statement("Marchenko-Pastur and a power-law tail", "observation", _MM),
    edge=Statement("Tracy-Widom, after large finite-size corrections", "theorem", "Ding and Yang (2018)"),
    tail=Statement("Tracy-Widom in the limit; heavy-tailed at practical sizes", "observation", _MM),
)
MODERATELY_HEAVY = UniversalityClass(
    name="Moderately heavy-tailed",
    tail_mu=(2.0, 4.0),
    entries="power law with a variance but no fourth moment",
    limit=Statement("Marchenko-Pastur; the outliers are a vanishing share", "theorem", _MP),
    finite_size=Statement(
        "power law l^-(a tail_mu + b), a and b by N and M; the l^-(tail_mu/2 + 1) of their table is no limit",
        "empirical fit",
        _MM,
    ),
    edge=Statement("none to be seen: the largest entries cover it", "observation", _MM),
    tail=Statement("Frechet, on the scale (N M)^(2/tail_mu) / N", "theorem", _ABP),
)
VERY_HEAVY = UniversalityClass(
    name="Very heavy-tailed",
    tail_mu=(0.0, 2.0),
    entries="power law without a variance, scaled by N^(1/tail_mu) in place of sqrt(N)",
    limit=Statement("Levy-Wishart, with tail l^-(tail_mu/2 + 1)", "theorem", LIMIT_RELATION.source),
    finite_size=Statement("power law l^-(tail_mu/2 + 1)", "observation", _MM),
    edge=Statement("none: the support of the limit is unbounded", "theorem", LIMIT_RELATION.source),
    tail=Statement("Frechet, on the scale (N M)^(2/tail_mu) / N", "theorem", "Soshnikov (2006); " + _ABP),
)
CLASSES = (GAUSSIAN, SPIKED, WEAKLY_HEAVY, MODERATELY_HEAVY, VERY_HEAVY)
"""The table, from the lightest entries to the heaviest."""


def classify(tail_mu: float) -> UniversalityClass:
    """Give the class of matrices whose entries have the tail index tail_mu; inf is the Gaussian class.

    The spiked class is not told by the tail of the entries, and is never given.

    Raises:
        ValueError: if tail_mu is not positive, or is 2 or 4, the border of two classes.

    Example:
        >>> classify(3.0).name, classify(3.0).limit.status
        ('Moderately heavy-tailed', 'theorem')
    """
    if tail_mu == inf:
        return GAUSSIAN
    for row in (WEAKLY_HEAVY, MODERATELY_HEAVY, VERY_HEAVY):
        if row.tail_mu[0] < tail_mu < row.tail_mu[1]:
            return row
    raise ValueError(f"tail_mu is {tail_mu:g}, expected above 0 and neither 2 nor 4, which lie between two classes")


def alpha_from_tail_index(tail_mu: ArrayLike, *, empirical: bool = False) -> Vector:
    """Give the exponent alpha of the eigenvalue density for entries of tail index tail_mu.

    Args:
        tail_mu: tail index, any shape.
        empirical: also use the published fit of 2000 x 1000 matrices for 2 < tail_mu < 4, where no limit exists.

    Returns:
        alpha, in the shape of tail_mu: exact for tail_mu in (0, 2), NaN where there is no relation.

    Example:
        >>> alpha_from_tail_index([1.0, 3.0]).tolist()
        [1.5, nan]
        >>> alpha_from_tail_index([1.0, 3.0], empirical=True).round(4).tolist()
        [1.5, 3.6047]
    """
    exact = LIMIT_RELATION.alpha(tail_mu)
    return np.where(np.isnan(exact), FINITE_SIZE_FIT.alpha(tail_mu), exact)[()] if empirical else exact


def tail_index_from_alpha(alpha: ArrayLike) -> Vector:
    """Give the tail index that Martin and Mahoney's code assigns to a fitted exponent alpha: an empirical rule.

    2 (alpha - 1) below alpha = 2, where it inverts the limit; 2 for alpha from 2 to 3; alpha - 1 above. The last is
    not the inverse of their own fit, and a fitted alpha above 2 does not determine the entries (WeightWatcher 0.7.7,
    `mu4alpha`).

    Args:
        alpha: exponent of the eigenvalue density, any shape.

    Returns:
        tail_mu, in the shape of alpha; NaN up to alpha = 1, where no tail index belongs.

    Example:
        >>> tail_index_from_alpha([1.0, 1.5, 2.5, 4.0]).tolist()
        [nan, 1.0, 2.0, 3.0]
    """
    alpha = np.asarray(alpha, dtype=np.float64)
    # 2 (alpha - 1) <= 2 up to alpha = 2, and alpha - 1 >= 2 from alpha = 3 on.
    mu = np.maximum(np.minimum(2 * (alpha - 1), 2), alpha - 1)
    return np.where(alpha > 1, mu, np.nan)[()]
