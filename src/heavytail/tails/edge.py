r"""The shape of a spectrum's upper edge, told by three spacings' ratio: concave, exponential or a power law.

Pickands' estimator (1975) of the extreme-value index of a sample, from its k-th, 2k-th and 4k-th largest points,

.. math:: \xi = \frac{1}{\ln 2} \ln \frac{x_{(k)} - x_{(2k)}}{x_{(2k)} - x_{(4k)}},

depends on neither the scale nor the origin of the points. A density that ends like (b - x)^s at b has xi = -1/(s + 1),
so the square-root edge of noise has -2/3; exponential decay has 0; a power law x^-alpha has 1 / (alpha - 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, nan, sqrt

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["EdgeShape", "edge_shape"]

_SHARE = 20  # one point in so many is beyond the first of the three


@dataclass(frozen=True, slots=True)
class EdgeShape:
    """Extreme-value index of the upper edge.

    Attributes:
        index: xi: -2/3 at the edge of noise far from its finite-size corrections, 0 for exponential decay, positive for
            a power law; NaN where points coincide.
        error: its standard deviation for independent points (Dekkers and de Haan 1989); eigenvalues repel, and scatter
            less.
    """

    index: float
    error: float


def edge_shape(x: ArrayLike) -> EdgeShape:
    """Measure the shape of the upper edge from the points at the upper 5, 10 and 20 %.

    Args:
        x: (n,) points, ascending, n at least 8.

    Raises:
        ValueError: if there are fewer, or one of them is not finite.

    Example:
        >>> x = -np.log(np.linspace(1, 0, 1000, endpoint=False))  # exponential decay
        >>> abs(edge_shape(x).index) < 0.05
        True
    """
    x = np.asarray(x, np.float64)
    if x.ndim != 1 or x.size < 8 or not np.isfinite(x).all():
        raise ValueError(f"the shape of an edge needs a vector of 8 finite points or more; got shape {x.shape}")
    k = max(2, x.size // _SHARE)
    first, second, third = (float(x[x.size - i]) for i in (k, 2 * k, 4 * k))
    if not first > second > third:
        return EdgeShape(nan, nan)
    index = log((first - second) / (second - third)) / log(2)
    growth = 2**index - 1
    ratio = index / growth if abs(index) > 1e-9 else 1 / log(2)
    return EdgeShape(index, abs(ratio) * sqrt(2 ** (2 * index + 1) + 1) / (2 * log(2) * sqrt(k)))
