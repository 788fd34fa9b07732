"""Equations of estimators at unit noise, and a fit of least absolute residuals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import linprog
from scipy.optimize.elementwise import find_root

from heavytail.errors import ConvergenceError
from heavytail.learning._additive_noise import Noise
from heavytail.learning._gauss import Array

__all__ = ["find", "least_absolute", "solve_clipped", "solve_optimal"]


def find(f: Callable[..., Array], low: Array, high: Array, args: tuple[Array, ...], place: str) -> Array:
    """Give the root of f(x, *args) between `low` and `high`, where f has different signs, for each element.

    Raises:
        ConvergenceError: if it has not.
    """
    if not low.size:
        return low
    result = find_root(f, (low, high), args=args)
    if not np.all(result.success):
        worst = float(np.max(np.abs(result.f_x)))
        raise ConvergenceError(f"{place}: no root was found; what should vanish is {worst:.1e}")
    return np.asarray(result.x)


def solve_optimal(noise: Noise, load: Array) -> tuple[Array, float]:
    """Give the error of the optimal loss, and the residual.

    It is q (load - 1) = 1/J(q) - q, which lies between 1/J(0) (Stam's inequality) and the variance of the noise.
    """

    def mismatch(u: Array, a: Array) -> Array:
        q = np.exp(u)
        return np.asarray(np.log(q * (a - 1) / noise.spread(q)))

    low, high = np.log(0.99 / noise.precision / (load - 1)), np.log(1.01 * noise.variance / (load - 1))
    q = np.exp(find(mismatch, low, high, (load,), "optimal loss"))
    return q, float(np.max(np.abs(q * (load - 1) / noise.spread(q) - 1), initial=0.0))


def solve_clipped(noise: Noise, load: Array, knee: float) -> tuple[Array, Array, float]:
    """Give error, clipping width and residual for a loss whose slope is clipped beyond `knee`, 0 for absolute values.

    The residual x of a new example becomes that of the fit by taking off k clip(x, -c, c), where c = knee (1 + l) and
    k = l / (1 + l), so that 1/a = k P(|x| < c) and q = a k^2 E min(x^2, c^2). The width c - knee = knee l goes over
    into l for absolute values, where k = 1.
    """

    def widen(q: Array, a: Array) -> Array:
        # P(|x| < c) is at most 1 and 2 c times the density at 0, and at least 1 - E x^2 / c^2
        spare = 1 - 1 / a
        low = 0.99 * np.maximum(knee, 0.5 / noise.peak(q)) / a
        high = 1.01 * (knee + np.sqrt(knee * knee + 4 * (q + noise.variance) * spare)) / (2 * spare) - knee
        return np.exp(find(lambda u, q, a: a * held(np.exp(u), q) - 1, np.log(low), np.log(high), (q, a), "clipping"))

    def held(width: Array, q: Array) -> Array:
        return np.asarray(width / (knee + width) * noise.inside(knee + width, q))

    def removed(width: Array, q: Array) -> Array:
        return np.asarray(np.square(width / (knee + width)) * noise.clipped(knee + width, q))

    def excess(u: Array, a: Array) -> Array:
        q = np.exp(u)
        return np.asarray(np.log(a * removed(widen(q, a), q) / q))

    # no loss beats the optimal one; none of these takes four times the error of least squares
    low, high = np.log(0.99 / noise.precision / (load - 1)), np.log(4 * noise.variance / (load - 1))
    q = np.exp(find(excess, low, high, (load,), "clipped loss"))
    width = widen(q, load)
    residual = np.max(np.abs([load * held(width, q) - 1, load * removed(width, q) / q - 1]), initial=0.0)
    return q, width, float(residual)


def least_absolute(x: Array, y: Array) -> Array:
    """Weights w of least sum of |y - x w|, shape (n,), for x of shape (m, n).

    Raises:
        ConvergenceError: if the linear program is not solved.
    """
    m, n = x.shape
    # by duality: maximise y d over |d| <= 1 with x^T d = 0; the weights are the multipliers of these n equations
    result = linprog(-y, A_eq=x.T, b_eq=np.zeros(n), bounds=(-1, 1), method="highs")
    if result.status != 0:
        raise ConvergenceError(f"least absolute residuals of {m} samples: {result.message}")
    return -np.asarray(result.eqlin.marginals)
