r"""Stopping gradient descent early: exactly in the linear model, by simulation in classification.

The linear model is that of `RidgeRegression`, the descent a flow, dw/dt = -X^T (X w - y), from w = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf, log1p, pi, sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import expit

from heavytail.errors import RequestError
from heavytail.learning._arguments import check_label_noise, check_name, check_number, check_range, check_sizes
from heavytail.learning._gauss import Array, Real, overlap_error
from heavytail.learning._teacher import draw_labels
from heavytail.learning.results import Simulation
from heavytail.learning.ridge import RidgeRegression, unit_weights

__all__ = ["EarlyStoppedPerceptron", "FlowState", "GradientFlow", "StoppingPath"]

_LATEST = 1e12  # beyond, a time is as good as infinite, and the integrals would need too many nodes


@dataclass(frozen=True, slots=True)
class FlowState:
    """A gradient flow that was stopped, all of the common shape of loads and times.

    Attributes:
        load: samples per parameter.
        time: at which the flow was stopped.
        error: q, mean square error of a parameter.
        training_error: mean square residual of the samples.
        residual: 0, the solution is an integral.
    """

    load: Real
    time: Real
    error: Real
    training_error: Real
    residual: float = 0.0


@dataclass(frozen=True, slots=True)
class GradientFlow:
    r"""Least squares by gradient flow from zero, stopped early (Advani and Saxe 2017, Ali, Kolter and Tibshirani 2019).

    Each eigenvector of X^T X learns at the rate of its eigenvalue x, so that with the Marchenko-Pastur law of these

    .. math:: q(t) = E\left[ e^{-2xt} + s^2 (1 - e^{-xt})^2 / x \right],

    its mass of 1 - load at zero included, if there is one: directions that no sample has.

    Attributes:
        noise: variance s^2 of the additive noise, not negative.

    Raises:
        RequestError: if it is negative, infinite, or not a number.

    Example:
        >>> best = GradientFlow(noise=0.2).best(2.0)
        >>> print(f"{best.error:.4f} at time {best.time:.3f}")
        0.1541 at time 2.394
    """

    noise: float

    def __post_init__(self) -> None:  # noqa: D105
        check_number("noise", self.noise, 0)

    def solve(self, load: ArrayLike, time: ArrayLike) -> FlowState:
        """Give errors at loads and times that broadcast; a time may be inf, which is least squares of least norm.

        Raises:
            RequestError: if a load is not positive, or a time negative or finite beyond 1e12.
        """
        load, time = np.broadcast_arrays(check_range("load", load, 0, open_low=True), _check_time(time))
        errors = [self._errors(float(a), float(t)) for a, t in zip(load.flat, time.flat, strict=True)]
        error, training_error = np.reshape(errors, (*load.shape, 2)).transpose(-1, *range(load.ndim))
        return FlowState(load[()], time[()], error[()], training_error[()])

    def best(self, load: ArrayLike) -> FlowState:
        """Stop at the time of least error: never without noise, and before 1 / noise with it.

        Raises:
            RequestError: if a load is not positive.
        """
        load = check_range("load", load, 0, open_low=True)
        times = np.reshape([_best_time(float(a), self.noise) for a in load.flat], load.shape)
        return self.solve(load, times)

    def temperature(
        self, load: ArrayLike, time: ArrayLike, *, match: str = "training", penalty: float | None = None
    ) -> Real:
        r"""Temperature of the Gibbs measure of ridge regression that has the same error as the stopped flow.

        Two references are natural. The flow descends the loss alone and ends in the ground state of the measure
        without penalty: matched to that by its training error its temperature falls all the way, from
        max(load, 1) + noise at time 0 to 0; at load 1 as noise / sqrt(2 pi t), else exponentially in the end. The best
        ridge estimate has the least error of all: matched to the measure around it by the error, the flow has a
        temperature at all times, which falls to its minimum, above 0, at the best stopping time, and then rises again,
        for what a flow learns that goes on too long is noise.

        Args:
            load: samples per parameter.
            time: of stopping, broadcasts with the load.
            match: "training" for the training error, "error" for the error.
            penalty: of the measure; None for 0 where training errors are matched, and `noise` where errors are.

        Returns:
            The temperature, of the common shape; NaN where no measure of that penalty has the error of the flow.

        Raises:
            RequestError: if `match` is neither, or another argument is out of range.
        """
        check_name("match", match, ("training", "error"))
        flow = self.solve(load, time)
        natural = 0.0 if match == "training" else self.noise
        cold = RidgeRegression(self.noise, natural if penalty is None else penalty).solve(flow.load)
        # a temperature T adds T fitted to the training error, T g = T fitted / (1 - fitted) to the error
        fitted = np.minimum(cold.degrees_of_freedom / flow.load, 1)
        if match == "training":
            warm, ground, unit = flow.training_error, cold.training_error, fitted
        else:
            bounded = fitted < 1
            warm, ground = np.where(bounded, flow.error, np.nan), np.where(bounded, cold.error, np.nan)
            unit = fitted / np.where(bounded, 1 - fitted, np.nan)
        heat = warm - ground
        heat = np.where(np.abs(heat) < 1e-14 * (1 + self.noise), 0, heat)  # rounding
        return np.where(heat >= 0, heat / unit, np.nan)[()]

    def simulate(
        self, n: int, load: float, time: float, *, seed: int | np.random.Generator = 0, runs: int = 4
    ) -> Simulation:
        """Follow the flow on random samples, in the eigenvectors of X^T X.

        Args:
            n: number of parameters.
            load: samples per parameter.
            time: of stopping, may be inf.
            seed: of the samples, or a generator.
            runs: number of independent samples.

        Returns:
            `error` and `training_error` of each run.

        Raises:
            RequestError: if an argument is out of range.
        """
        n, count, runs = check_sizes(n, load, runs)
        time = check_number("time", _check_time(time), 0, finite=False)
        rng = np.random.default_rng(seed)
        samples = np.empty((runs, 2))
        for run in range(runs):
            x = rng.standard_normal((count, n)) / sqrt(n)
            w = unit_weights(n, rng)
            y = x @ w + sqrt(self.noise) * rng.standard_normal(len(x))
            u, s, v = np.linalg.svd(x, full_matrices=False)
            fit = (-np.expm1(-s * s * time) / s * (y @ u)) @ v
            samples[run] = np.mean(np.square(fit - w)), np.mean(np.square(y - x @ fit))
        return Simulation("gradient flow", n, count / n, {"error": samples[:, 0], "training_error": samples[:, 1]})

    def _errors(self, load: float, time: float) -> tuple[float, float]:
        """Error and training error."""
        if time * (1 - sqrt(load)) ** 2 > 50:  # no eigenvalue but 0 is left
            end = RidgeRegression(self.noise, 0.0).solve(load)
            return float(end.error), float(end.training_error)
        if time == inf:
            return inf if self.noise else 0.0, 0.0
        x, weight = _eigenvalues(load, time)
        learned = -np.expm1(-x * time) / x
        unlearned = float(np.sum(weight * np.expm1(-2 * x * time) / x))  # E exp(-2xt) - 1
        error = 1 + unlearned + self.noise * float(np.sum(weight * learned * learned))
        signal = float(np.sum(weight * np.exp(-2 * x * time)))
        return error, max((signal + self.noise * (load + unlearned)) / load, 0.0)


@dataclass(frozen=True, slots=True)
class StoppingPath:
    """Simulated errors along gradient descent.

    Attributes:
        n: number of weights.
        load: examples per weight.
        time: number of steps times their size, shape (k,).
        errors: generalisation error, shape (runs, k).
        training_errors: fraction of wrong labels among the examples, noisy as they are, shape (runs, k).
    """

    n: int
    load: float
    time: Array
    errors: Array
    training_errors: Array

    @property
    def error(self) -> Array:
        """Mean generalisation error, shape (k,)."""
        return np.asarray(self.errors.mean(axis=0))

    @property
    def standard_error(self) -> Array:
        """Standard error of that mean, shape (k,); NaN for a single run."""
        runs = len(self.errors)
        return self.errors.std(axis=0, ddof=1) / sqrt(runs) if runs > 1 else np.full(self.time.shape, np.nan)

    @property
    def training_error(self) -> Array:
        """Mean training error, shape (k,)."""
        return np.asarray(self.training_errors.mean(axis=0))


@dataclass(frozen=True, slots=True)
class EarlyStoppedPerceptron:
    """Classification by gradient descent on the logistic loss, of a spherical teacher's labels with noise.

    There is no closed theory of the path, so this is a simulation. Its ends are known: the first step is Hebb's rule,
    and after infinitely many the weights point along those of maximal stability, if the labels can be fitted (Soudry
    et al. 2018), but the approach goes with the logarithm of time: no simulation reaches it. In between lies the best
    time, at load 2 about 5 for a tenth of the labels flipped.

    Attributes:
        label_noise: probability that a label is flipped, in [0, 1/2].

    Raises:
        RequestError: if it is not.

    Example:
        >>> path = EarlyStoppedPerceptron(label_noise=0.1).simulate(60, 2.0, steps=[1, 5, 200])
        >>> bool(path.error[1] < min(path.error[0], path.error[2]))
        True
    """

    label_noise: float = 0.0

    def __post_init__(self) -> None:  # noqa: D105
        check_label_noise(self.label_noise)

    def simulate(
        self,
        n: int,
        load: float,
        *,
        steps: Sequence[int] = (1, 2, 3, 5, 7, 10, 20, 50, 100, 200),
        step: float = 1.0,
        seed: int | np.random.Generator = 0,
        runs: int = 10,
    ) -> StoppingPath:
        """Descend from zero weights on the sum of log(1 + exp(-y w x)), x of entries of variance 1/n.

        Args:
            n: number of weights.
            load: examples per weight.
            steps: at which to measure, whole numbers from 1, ascending.
            step: factor of the gradient; the path depends on its product with the number of steps as long as it is
                small.
            seed: of teacher and examples, or a generator.
            runs: number of independent paths; their examples are all kept in memory.

        Returns:
            The errors along the path.

        Raises:
            RequestError: if an argument is out of range; a step of 8 / (1 + sqrt(load))^2 or more would not descend.
        """
        n, count, runs = check_sizes(n, load, runs)
        step = check_number("step", step, 0, 8 / (1 + sqrt(count / n)) ** 2, open_low=True)
        marks = check_range("steps", steps, 1)
        if marks.ndim != 1 or not len(marks) or (marks % 1).any() or (np.diff(marks) <= 0).any():
            raise RequestError(f"steps are {steps!r}; they must be whole numbers that ascend")
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((runs, count, n)) / sqrt(n)
        # the teacher is the first axis; labels turn the examples so that all should have a positive field
        x *= draw_labels(x[:, :, 0], self.label_noise, rng)[:, :, None]
        w, field = np.zeros((runs, n, 1)), np.zeros((*x.shape[:2], 1))
        errors, training_errors = np.empty((2, runs, len(marks)))
        for number in range(1, int(marks[-1]) + 1):
            w += step * (x.transpose(0, 2, 1) @ expit(-field))
            field = x @ w
            at = np.searchsorted(marks, number)
            if marks[at] == number:
                errors[:, at] = overlap_error(w[:, 0, 0] / np.linalg.norm(w[:, :, 0], axis=1))
                training_errors[:, at] = np.mean(field[:, :, 0] <= 0, axis=1)
        return StoppingPath(n, count / n, marks * step, errors, training_errors)


def _check_time(time: ArrayLike) -> Array:
    """Times, refused if one is negative, or finite and late."""
    times = check_range("time", time, 0, finite=False)
    check_range("time", np.where(np.isinf(times), 0, times), 0, _LATEST)
    return times


def _eigenvalues(load: float, time: float) -> tuple[Array, Array]:
    """Nodes x and weights: their sum of f(x) / x is the integral of f over the eigenvalues, for f(0) = 0.

    The eigenvalues of X^T X are load times those of the Marchenko-Pastur law of Q = load, of density
    sqrt((b - x)(x - a)) / 2 pi x. In x = middle + radius cos(angle) the midpoint rule is exact up to rounding once it
    resolves exp(-2 x time), at every load: f(x)/x has no pole.
    """
    radius = 2 * sqrt(load)
    count = 32 + ceil(15 * sqrt(radius * time))
    half = (np.arange(count) + 0.5) * (pi / 2 / count)
    x = (1 - sqrt(load)) ** 2 + 2 * radius * np.square(np.cos(half))
    return x, np.square(radius * np.sin(2 * half)) / (2 * count)


def _best_time(load: float, noise: float) -> float:
    """Time at which the error has no slope; that of each eigenvalue is least at log(1 + x/noise) / x."""
    if noise == 0:
        return inf
    low, high = (1 - sqrt(load)) ** 2, (1 + sqrt(load)) ** 2
    first, last = (log1p(x / noise) / x if x > 0 else 1 / noise for x in (high, low))

    def slope(time: float) -> float:
        x, weight = _eigenvalues(load, time)
        decay = np.exp(-x * time)
        return float(np.sum(weight * decay * (-noise * np.expm1(-x * time) / x - decay)))

    return float(brentq(slope, first, last, xtol=1e-14 * last))
