r"""Where the noise ends: the largest eigenvalue of W^T W for an N x M matrix of independent Gaussian entries.

Centred and scaled it follows the Tracy-Widom law of index 1,

.. math:: P(\lambda_{max} \le \mu + \tau s) \to F_1(s),

with an error of order M^(-2/3) for the centring of Ma (2012) and M^(-1/3) for that of Johnstone (2001).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cbrt, sqrt
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from heavytail.rmt._law import Real
from heavytail.rmt.tracy_widom import TracyWidom

__all__ = ["Edge", "bulk_edge", "largest_eigenvalue", "weightwatcher_edge"]

_F1 = TracyWidom(1)


@dataclass(frozen=True, slots=True)
class Edge:
    """Law of a largest eigenvalue, or of several: location + scale * s, s of the Tracy-Widom law of index 1.

    Attributes:
        location: mu, where s = 0; the eigenvalue's mean lies 1.2065 scales below it.
        scale: tau, positive.
    """

    location: Real
    scale: Real

    def standardise(self, x: ArrayLike) -> Real:
        """Express x, of any shape, in units of the law: s = (x - location) / scale."""
        return ((np.asarray(x, dtype=np.float64) - self.location) / self.scale)[()]

    def quantile(self, p: ArrayLike) -> Real:
        """Value below which noise stays with probability p in [0, 1], of any shape; NaN outside."""
        return self.location + self.scale * _F1.ppf(p)

    def p_value(self, x: ArrayLike) -> Real:
        """Probability that noise alone passes x, of any shape."""
        return _F1.sf(self.standardise(x))


def bulk_edge(N: int, M: int, sigma: float = 1.0) -> float:
    """Upper Marchenko-Pastur edge of the eigenvalues of W^T W: sigma^2 (sqrt N + sqrt M)^2.

    Args:
        N: rows of W, at least 1.
        M: columns of W, at least 1.
        sigma: standard deviation of the entries, positive.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> bulk_edge(400, 100)
        900.0
    """
    _check(N, M, sigma)
    return sigma**2 * (sqrt(N) + sqrt(M)) ** 2


def largest_eigenvalue(
    N: ArrayLike, M: ArrayLike, sigma: float = 1.0, centring: Literal["ma", "johnstone"] = "ma"
) -> Edge:
    r"""Law of the largest eigenvalue of W^T W, W an N x M matrix of independent Gaussian entries.

    With n and p the larger and the smaller of N and M,

    .. math:: \mu = \sigma^2 (\sqrt{n'} + \sqrt{p'})^2, \quad
        \tau = \sigma^2 (\sqrt{n'} + \sqrt{p'}) (1/\sqrt{n'} + 1/\sqrt{p'})^{1/3},

    where n' = n - 1/2, p' = p - 1/2 (Ma 2012, Theorem 2) or n' = n - 1, p' = p (Johnstone 2001, eq. 1.3 and 1.4, who
    takes n >= p). The first does not tell n from p and is correct to second order.

    Args:
        N: rows of W, at least 1, of any shape; with Johnstone's centring one of N and M is at least 2.
        M: columns of W, at least 1, of the same shape.
        sigma: standard deviation of the entries, positive.
        centring: "ma" or "johnstone".

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> edge = largest_eigenvalue(1000, 500)
        >>> print(f"{edge.quantile(0.95) / 1000:.4f}")  # of W^T W / N
        2.9346
    """
    _check(N, M, sigma)
    if centring not in ("ma", "johnstone"):
        raise ValueError(f"centring is 'ma' or 'johnstone'; got {centring!r}")
    rows, columns = np.asarray(N, dtype=np.float64), np.asarray(M, dtype=np.float64)
    n, p = (
        (rows - 0.5, columns - 0.5) if centring == "ma" else (np.maximum(rows, columns) - 1, np.minimum(rows, columns))
    )
    if np.any(n <= 0):
        raise ValueError("Johnstone's centring needs a matrix of at least 2 rows or columns; got 1 x 1")
    total = np.sqrt(n) + np.sqrt(p)
    scale = sigma**2 * total * np.cbrt(1 / np.sqrt(n) + 1 / np.sqrt(p))
    return Edge((sigma**2 * total**2)[()], scale[()])


def weightwatcher_edge(N: int, M: int, sigma: float = 1.0) -> float:
    r"""Edge above which WeightWatcher 0.7.7 counts spikes of W^T W; for comparison only.

    In units of sigma^2 N it is lambda_+ + sqrt(TW), TW = Q^(-1/2) lambda_+^(2/3) M^(-2/3). TW itself is the right
    scale, that of Johnstone; its square root is wider by a factor of order M^(1/3), so spikes are missed.

    Args:
        N: rows of W, at least 1.
        M: columns of W, at least 1.
        sigma: standard deviation of the entries, positive.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> round(weightwatcher_edge(1000, 500) / 1000, 5)  # the 95 % edge of noise is 2.93493
        3.06554
    """
    _check(N, M, sigma)
    n, p = max(N, M), min(N, M)
    ratio = p / n
    top = (1 + sqrt(ratio)) ** 2
    return sigma**2 * n * (top + sqrt(sqrt(ratio)) * cbrt(top / p))


def _check(N: ArrayLike, M: ArrayLike, sigma: float) -> None:
    if not all(np.size(length) and np.min(length) >= 1 for length in (N, M)):
        raise ValueError(f"a matrix has at least one row and one column; got {N!r} x {M!r}")
    if not 0 < sigma < np.inf:
        raise ValueError(f"sigma is positive and finite; got {sigma!r}")
