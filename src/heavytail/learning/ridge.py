r"""Ridge regression of a linear teacher: regularisation, temperature and double descent.

n = load P samples y = x w + e are given, x of independent entries of variance 1/P, e of variance `noise`, and weights w
of mean square 1. All is in the Marchenko-Pastur law of X^T X, by g = E 1/(x + penalty), the positive root of

.. math:: \lambda g^2 + (\lambda + a - 1) g = 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike

from heavytail.errors import RequestError
from heavytail.learning._arguments import check_number, check_range, check_sizes
from heavytail.learning._gauss import Array, Real
from heavytail.learning.results import Simulation

__all__ = ["RidgeRegression", "RidgeState", "unit_weights"]


@dataclass(frozen=True, slots=True)
class RidgeState:
    """Order parameters of ridge regression, all of the common shape of loads and temperatures.

    Attributes:
        load: samples per parameter.
        temperature: of the Gibbs measure.
        penalty: lambda.
        error: q, mean square error of a parameter, which is that of a prediction, apart from the noise of the example.
        training_error: mean square residual of the samples.
        degrees_of_freedom: trace of the hat matrix per parameter, E x / (x + lambda).
        residual: 0, the solution is closed.
    """

    load: Real
    temperature: Real
    penalty: Real
    error: Real
    training_error: Real
    degrees_of_freedom: Real
    residual: float = 0.0


@dataclass(frozen=True, slots=True)
class RidgeRegression:
    r"""Least squares with a penalty, and the Gibbs measure around it.

    The measure of the weights is \exp(-(|y - X w|^2 + \lambda |w|^2) / 2T). At T = 0 it is the ridge estimate,

    .. math:: q = -\lambda^2 g' + s^2 (g + \lambda g'),

    for penalty to 0 the least squares solution of least norm, whose error diverges at load 1 (double descent; Advani
    and Saxe 2017, Hastie, Montanari, Rosset and Tibshirani 2022). A temperature adds T g. At T = lambda = s^2 it is the
    posterior under normal weights.

    Attributes:
        noise: variance s^2 of the additive noise, not negative.
        penalty: lambda, not negative; None for the best, which is `noise` at every load.

    Raises:
        RequestError: if either is negative, infinite, or not a number.

    Example:
        >>> print(f"{RidgeRegression(noise=0.2).solve(2.0).error:.8f}")
        0.14833148
        >>> RidgeRegression(noise=0.2, penalty=0.0).solve([0.5, 1.0, 2.0]).error.round(6)
        array([0.7, inf, 0.2])
    """

    noise: float
    penalty: float | None = None

    def __post_init__(self) -> None:  # noqa: D105
        check_number("noise", self.noise, 0)
        if self.penalty is not None:
            check_number("penalty", self.penalty, 0)

    def solve(self, load: ArrayLike, temperature: ArrayLike = 0.0) -> RidgeState:
        """Give errors at loads and temperatures that broadcast; inf where the measure has no bound.

        Raises:
            RequestError: if a load is not positive or a temperature negative.
        """
        load = check_range("load", load, 0, open_low=True)
        temperature = check_range("temperature", temperature, 0)
        penalty = self.noise if self.penalty is None else self.penalty
        values = _ridge(load, temperature, np.asarray(self.noise), np.asarray(penalty))
        return _state(load, temperature, penalty, *values)

    def double_descent(self, load: float, seen: ArrayLike, temperature: float = 0.0) -> RidgeState:
        """Give the error along the number of features the student sees, at a fixed number of samples.

        All features have the same share in the labels; those not seen act as noise. The error has its peak where the
        features seen are as many as the samples, seen = load, and may fall beyond to less than it ever was before
        (Hastie et al. 2022, their misspecified model).

        Args:
            load: samples per feature, of all features.
            seen: fraction of the features that the student sees, in (0, 1], of any shape.
            temperature: of the Gibbs measure.

        Returns:
            The state with `load` and `degrees_of_freedom` per feature seen. `error` is that of a prediction, what it
            loses by not seeing all included; for penalty None the penalty is the noise and the power not seen.

        Raises:
            RequestError: if an argument is out of range.
        """
        seen = check_range("seen", seen, 0, 1, open_low=True)
        per_seen = check_range("load", load, 0, open_low=True) / seen
        heat = check_range("temperature", temperature, 0)
        # in units where the features seen have the power that the model wants
        hidden = 1 - seen
        noise = (self.noise + hidden) / seen
        penalty = noise if self.penalty is None else self.penalty / seen
        error, training_error, freedom = _ridge(per_seen, heat / seen, noise, penalty)
        return _state(per_seen, heat, penalty * seen, seen * error + hidden, seen * training_error, freedom)

    def simulate(
        self,
        n: int,
        load: float,
        temperature: float = 0.0,
        *,
        seed: int | np.random.Generator = 0,
        runs: int = 4,
    ) -> Simulation:
        """Fit random samples, and draw one set of weights from the Gibbs measure of each.

        Args:
            n: number of parameters.
            load: samples per parameter.
            temperature: of the Gibbs measure.
            seed: of samples and weights, or a generator.
            runs: number of independent samples.

        Returns:
            `error` and `training_error` of each run.

        Raises:
            RequestError: if an argument is out of range, or the measure has no bound.
        """
        (n, count, runs), temperature = check_sizes(n, load, runs), check_number("temperature", temperature, 0)
        penalty = self.noise if self.penalty is None else self.penalty
        if temperature and not penalty and count <= n:
            raise RequestError(
                f"penalty is 0 at temperature {temperature:g} and load {count / n:g}; it must be above 0 there"
            )
        rng = np.random.default_rng(seed)
        samples = np.empty((runs, 2))
        for run in range(runs):
            x = rng.standard_normal((count, n)) / sqrt(n)
            w = unit_weights(n, rng)
            y = x @ w + sqrt(self.noise) * rng.standard_normal(len(x))
            # a fit to samples and weights that are shaken by the heat is a draw from the measure
            shaken = y + sqrt(temperature) * rng.standard_normal(len(x))
            pull = sqrt(temperature) * rng.standard_normal(n)
            fit = _fit(x, shaken, penalty, pull)
            samples[run] = np.mean(np.square(fit - w)), np.mean(np.square(y - x @ fit))
        return Simulation("ridge regression", n, count / n, {"error": samples[:, 0], "training_error": samples[:, 1]})


def _ridge(load: Array, temperature: Array, noise: Array, penalty: Array) -> tuple[Array, Array, Array]:
    """Error, training error and degrees of freedom per parameter; no step takes a difference of near numbers."""
    half = penalty + load - 1
    root = np.sqrt(penalty + np.square(np.sqrt(load) - 1)) * np.sqrt(penalty + np.square(np.sqrt(load) + 1))
    larger = 0.5 * (root + np.abs(half))
    with np.errstate(divide="ignore", invalid="ignore"):  # at penalty 0
        inverse = np.where(half >= 0, larger, penalty / larger)  # 1 / g
        idle = np.where(half < 0, larger, penalty / larger)  # penalty g, the share that is not fitted
        inverse, idle = (np.where(larger > 0, v, 0.0) for v in (inverse, idle))
        # g' = -g (1 + g) / root
        error = (idle * (idle + penalty) + noise * load / (1 + inverse)) / root
        error = np.where((root == 0) & (noise == 0), 0.0, error)
        heat = np.where(temperature > 0, temperature / inverse, 0.0)
    # a residual is 1/(1 + g) of that of a new example
    shrink = inverse / (1 + inverse)
    inner = np.square(shrink) * (noise + np.where(shrink > 0, error, 0))
    return error + heat, inner + temperature / (1 + inverse), load / (1 + inverse)


def unit_weights(n: int, rng: np.random.Generator) -> Array:
    """Random weights of mean square 1 exactly, shape (n,)."""
    w = rng.standard_normal(n)
    return np.asarray(w * (sqrt(n) / np.linalg.norm(w)))


def _state(*values: ArrayLike) -> RidgeState:
    load, temperature, penalty, error, training_error, freedom = (v[()] for v in np.broadcast_arrays(*values))
    return RidgeState(load, temperature, penalty, error, training_error, freedom)


def _fit(x: Array, y: Array, penalty: float, pull: Array) -> Array:
    """Weights of least |y - x w|^2 + |pull - sqrt(penalty) w|^2, of least norm among equals."""
    if penalty == 0:
        return np.asarray(np.linalg.lstsq(x, y, rcond=None)[0])
    return np.asarray(np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y + sqrt(penalty) * pull))
