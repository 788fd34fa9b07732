"""Recovery of sparse signals by their L1 norm."""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linprog

from heavytail.errors import ConvergenceError
from heavytail.learning._arguments import check_number, check_range, check_sizes
from heavytail.learning._estimation import find
from heavytail.learning._gauss import Array, H, Real, hazard, log_phi
from heavytail.learning.results import Simulation

__all__ = ["l1_threshold", "simulate_l1"]


def l1_threshold(sparsity: ArrayLike) -> Real:
    r"""Measurements per component above which the vector of least L1 norm is the signal.

    .. math:: a(f) = \min_t\, f (1 + t^2) + 2 (1 - f) \left[ (1 + t^2) H(t) - t \phi(t) \right].

    At the minimum f t = 2 (1 - f)(\phi(t) - t H(t)), so that a = f + 2 (1 - f) H(t). It holds for Gaussian measurements
    and many others (Donoho and Tanner 2005, Donoho, Maleki and Montanari 2009).

    Args:
        sparsity: fraction f of components that are not 0, in [0, 1], of any shape.

    Returns:
        The threshold, of the same shape: 0 at f = 0, 1 at f = 1.

    Raises:
        RequestError: if a sparsity is out of range.

    Example:
        >>> l1_threshold([0.05, 0.1, 0.2, 0.3]).round(4)
        array([0.2039, 0.3288, 0.5111, 0.6456])
    """
    f = check_range("sparsity", sparsity, 0, 1)
    inner = (f > 0) & (f < 1)
    odds = np.log(f[inner] / (1 - f[inner]))
    threshold = np.array(f)
    if inner.any():
        u = find(_mismatch, np.full_like(odds, -40.0), np.full_like(odds, np.log(40.0)), (odds,), "threshold of L1")
        threshold[inner] += 2 * (1 - f[inner]) * H(np.exp(u))
    return threshold[()]


def _mismatch(u: Array, odds: Array) -> Array:
    """Log of 2 (phi - t H) / t less that of f / (1 - f), at t = exp u."""
    t = np.exp(u)
    return np.asarray(np.log(2 * (1 / t - 1 / hazard(t))) + log_phi(t) - odds)


def simulate_l1(
    n: int, load: float, sparsity: float, *, seed: int | np.random.Generator = 0, runs: int = 10
) -> Simulation:
    """Measure sparse Gaussian signals without noise and seek the vectors of least L1 norm by linear programming.

    Args:
        n: number of components.
        load: measurements per component.
        sparsity: fraction of components that are not 0; their number is rounded.
        seed: of signals and measurements, or a generator.
        runs: number of signals.

    Returns:
        Of each run the `error`, mean square of a component, and `recovered`, 1 where it is below 1e-8 times that of the
        signal, else 0.

    Raises:
        RequestError: if an argument is out of range, or the load is less than one measurement.
        ConvergenceError: if a linear program is not solved.
    """
    (n, count, runs), sparsity = check_sizes(n, load, runs), check_number("sparsity", sparsity, 0, 1)
    rng = np.random.default_rng(seed)
    error, recovered = np.empty(runs), np.empty(runs)
    for run in range(runs):
        x = rng.standard_normal((count, n)) / sqrt(n)
        signal = np.zeros(n)
        signal[rng.permutation(n)[: round(sparsity * n)]] = rng.standard_normal(round(sparsity * n))
        # positive and negative parts; the sum of both is the norm
        result = linprog(np.ones(2 * n), A_eq=np.hstack([x, -x]), b_eq=x @ signal, bounds=(0, None), method="highs")
        if result.status != 0:
            raise ConvergenceError(f"L1 at load {count / n:g}, sparsity {sparsity:g}: {result.message}")
        error[run] = np.mean(np.square(result.x[:n] - result.x[n:] - signal))
        recovered[run] = error[run] <= 1e-8 * np.mean(np.square(signal))
    return Simulation("L1", n, count / n, {"error": error, "recovered": recovered})
