"""Integrals over a Gaussian variable, and the functions that occur in them."""

from __future__ import annotations

from math import log, pi, sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erfcx, log_ndtr

__all__ = ["Array", "H", "Real", "gaussian_rule", "hazard", "log_H", "log_phi", "overlap_error", "phi"]

Array = NDArray[np.float64]
Real = Any
"""A float for scalar arguments, a float64 array of their common shape for arrays."""

_REACH = 12.0  # the Gaussian weight is 2e-32 there


def log_phi(x: ArrayLike) -> Real:
    """Logarithm of the normal density, of any shape."""
    x = np.asarray(x, dtype=np.float64)
    return -0.5 * x * x - 0.5 * log(2 * pi)


def phi(x: ArrayLike) -> Real:
    """Normal density, of any shape."""
    return np.exp(log_phi(x))


def log_H(x: ArrayLike) -> Real:
    """Logarithm of H(x), the probability that a normal variable exceeds x; exact relative to itself far out too."""
    return log_ndtr(-np.asarray(x, dtype=np.float64))


def H(x: ArrayLike) -> Real:
    """Probability that a normal variable exceeds x, of any shape."""
    return np.exp(log_H(x))


def hazard(x: ArrayLike) -> Real:
    """phi(x) / H(x), of any shape; about x for large x, exact relative to itself.

    Example:
        >>> print(f"{hazard(0.0):.6f} {hazard(50.0):.4f}")
        0.797885 50.0200
    """
    with np.errstate(over="ignore"):  # far on the left: phi / 1 is 0
        return sqrt(2 / pi) / erfcx(np.asarray(x, dtype=np.float64) / sqrt(2))


def overlap_error(overlap: ArrayLike) -> Real:
    """Probability that two perceptrons of this overlap disagree on a Gaussian input: arccos(R) / pi."""
    return np.arccos(np.clip(overlap, -1.0, 1.0)) / pi


def gaussian_rule(width: ArrayLike = 1.0, centre: ArrayLike = 0.0, nodes: int = 401) -> tuple[Array, Array]:
    """Give nodes and weights of an integral over a normal variable, whose integrand has a feature to resolve.

    The trapezoid rule in u, with t = centre + width sinh(u): nodes lie densely at the feature and thin out towards 12
    standard deviations. It converges exponentially for integrands that are smooth on the scale of the feature.

    Args:
        width: scale of the sharpest feature, of any shape, positive; 1 where there is none, or a wider one.
        centre: where it is, of the same shape.
        nodes: how many.

    Returns:
        Nodes and weights, each with one more axis, the last.

    Example:
        >>> t, weight = gaussian_rule(1e-4)
        >>> print(f"{np.sum(weight * t**4):.12f} {np.sum(weight * t * H(-1e4 * t)):.12f}")
        3.000000000000 0.398942278407
    """
    scale: Array = np.minimum(np.asarray(width, dtype=np.float64), 1.0)[..., None]  # wider, sinh u has no digits
    middle: Array = np.clip(np.asarray(centre, dtype=np.float64), -_REACH, _REACH)[..., None]
    low, high = np.arcsinh((-_REACH - middle) / scale), np.arcsinh((_REACH - middle) / scale)
    up = np.exp(0.5 * (high + low) + 0.5 * (high - low) * np.linspace(-1.0, 1.0, nodes))
    down = 1 / up
    t = middle + 0.5 * scale * (up - down)  # scale sinh u
    step = (high - low) / (nodes - 1)
    return t, 0.5 * step * scale * (up + down) * np.exp(-0.5 * t * t) / sqrt(2 * pi)
