r"""Students that see each example once: the optimal online rule and the perceptron rule.

In the limit of many weights the overlap follows differential equations in the load (Kinouchi and Caticha 1992; Biehl
and Riegler 1994). They are integrated in log load and in w = atanh R, so that neither start nor end loses digits:
R = tanh w, sqrt(1 - R^2) = 1 / cosh w, R / sqrt(1 - R^2) = sinh w. The Hebb rule is an online rule too, with the same
student as in one batch: `heavytail.learning.rules.Hebb`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import atan2, exp, pi, sinh, sqrt
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import solve_ivp

from heavytail.errors import ConvergenceError
from heavytail.learning._arguments import check_label_noise, check_range, check_sizes, whole
from heavytail.learning._gauss import Array
from heavytail.learning._teacher import (
    compare,
    draw_labels,
    draw_teachers,
    label_information,
    label_score,
    signal,
)
from heavytail.learning.results import LearningCurve, Simulation
from heavytail.learning.rules import RuleState, state_of

__all__ = ["OnlinePerceptron", "OptimalOnline"]

_TOLERANCE = 1e-13
_BEFORE = 1e-8  # the start, in units of the least load: there the leading order in the load is exact


@dataclass(frozen=True, slots=True)
class OptimalOnline:
    r"""Online rule that gains the most overlap from each example (Kinouchi and Caticha 1992).

    .. math:: \frac{dR}{d\alpha} = \frac{1 - R^2}{R} (1 - 2\lambda)^2
        \int Du\, \frac{\phi(k)^2}{\lambda + (1 - 2\lambda) H(-k)}, \quad k = \frac{R u}{\sqrt{1 - R^2}}

    The student moves along each input by the mean of what the label says of the teacher's field there, given its own
    field; it needs its overlap for this, and keeps count of it. At large loads its error is twice that of the Bayesian
    student, 0.8834 / load without label noise.

    Attributes:
        label_noise: probability that a label is flipped, in [0, 1/2], known to the student.

    Raises:
        RequestError: if `label_noise` is outside its range; from the methods, if a load is not positive.

    Example:
        >>> print(f"{150 * OptimalOnline().solve(150.0).error:.4f}")
        0.8692
    """

    label_noise: float = 0.0
    name: ClassVar[str] = "optimal online"

    def __post_init__(self) -> None:  # noqa: D105
        check_label_noise(self.label_noise)

    def solve(self, load: ArrayLike) -> RuleState:
        """Give the state at loads of any shape; the training error is NaN, as no example is seen again."""
        if self.label_noise == 0.5:
            loads = check_range("load", load, 0, open_low=True)
            return state_of(loads, np.zeros_like(loads), np.full_like(loads, np.nan))

        def rate(log_load: float, state: Array) -> Array:
            gain = 0.5 * label_information(np.sinh(state[0]), self.label_noise)
            return np.array([exp(log_load) * gain / np.tanh(state[0])])

        return _follow(self.name, rate, lambda a: [signal(self.label_noise) * sqrt(a)], load)

    def learning_curve(self, loads: ArrayLike) -> LearningCurve:
        """Give the generalisation error along the loads."""
        return self.solve(loads).curve(self.name)

    def simulate(self, n: int, load: float, *, seed: int | np.random.Generator = 0, runs: int = 20) -> Simulation:
        """Learn from drawn examples, one after the other.

        Args:
            n: number of weights.
            load: examples per weight, rounded to a whole number of them.
            seed: of the draws.
            runs: number of independent teachers.

        Returns:
            `overlap` and `error` of each run.

        Raises:
            RequestError: if n and runs are no whole numbers from 1, or the load is less than one example.
        """
        variance = np.ones(whole("runs", runs, 1))  # 1 - R^2, as the student has it

        def step(field: Array, label: Array) -> Array:
            spread = np.sqrt(variance)
            score = label_score(label * field / spread, self.label_noise)
            np.multiply(variance, 1 - score**2 / n, out=variance)
            return np.asarray(label * spread * score)

        return _present(self.name, step, n, load, self.label_noise, seed, runs)


@dataclass(frozen=True, slots=True)
class OnlinePerceptron:
    r"""Perceptron rule of Rosenblatt: the input times the label is added where the student's label is wrong.

    With the length Q of the student, per component, the error :math:`\epsilon = \arccos(R) / \pi` and
    :math:`m = 1 - 2\lambda`,

    .. math:: \frac{d(Q R)}{d\alpha} = \frac{m - R}{\sqrt{2\pi}}, \quad
        \frac{dQ^2}{d\alpha} = -\frac{2 Q (1 - m R)}{\sqrt{2\pi}} + \lambda + m \epsilon

    (Biehl and Riegler 1994), from Q = 0. Without label noise the error falls as
    :math:`(2/3)^{1/3} \alpha^{-1/3} / \pi`; with it the overlap ends at :math:`1 - 2\lambda`.

    Attributes:
        label_noise: probability that a label is flipped, in [0, 1/2].

    Raises:
        RequestError: if `label_noise` is outside its range; from the methods, if a load is not positive.

    Example:
        >>> print(f"{OnlinePerceptron(label_noise=0.1).solve(1e6).overlap:.5f}")
        0.80000
    """

    label_noise: float = 0.0
    name: ClassVar[str] = "online perceptron"

    def __post_init__(self) -> None:  # noqa: D105
        check_label_noise(self.label_noise)

    def solve(self, load: ArrayLike) -> RuleState:
        """Give the state at loads of any shape; the training error is NaN, as no example is seen again."""
        lam, contrast = self.label_noise, 1 - 2 * self.label_noise

        def rate(log_load: float, state: Array) -> Array:
            # w = atanh R and log Q; 1 - R and the angle are exact for R -> 1 too
            overlap, cot, length = np.tanh(state[0]), sinh(state[0]), exp(state[1])
            wrong = lam + contrast * atan2(1.0, cot) / pi
            short = 2 / (1 + exp(2 * state[0])) + 2 * lam * overlap  # 1 - m R
            turn = contrast / (sqrt(2 * pi) * length) - overlap * wrong * (1 + cot**2) / (2 * length**2)
            growth = wrong / (2 * length**2) - short / (sqrt(2 * pi) * length)
            return exp(log_load) * np.array([turn, growth])

        # half of the first labels are wrong: Q^2 = a / 2, Q R = m a / sqrt(2 pi)
        return _follow(self.name, rate, lambda a: [contrast * sqrt(a / pi), 0.5 * np.log(a / 2)], load)

    def learning_curve(self, loads: ArrayLike) -> LearningCurve:
        """Give the generalisation error along the loads."""
        return self.solve(loads).curve(self.name)

    def simulate(self, n: int, load: float, *, seed: int | np.random.Generator = 0, runs: int = 20) -> Simulation:
        """Learn from drawn examples, one after the other: as `OptimalOnline.simulate`."""

        def step(field: Array, label: Array) -> Array:
            return np.where(field * label <= 0, label, 0.0)

        return _present(self.name, step, n, load, self.label_noise, seed, runs)


def _follow(
    name: str, rate: Callable[[float, Array], Array], start: Callable[[float], list[float]], load: ArrayLike
) -> RuleState:
    """Integrate in log load the state whose first component is w = atanh R; the residual is the error estimated.

    Raises:
        RequestError: if a load is not positive.
        ConvergenceError: if the integration fails.
    """
    loads = check_range("load", load, 0, open_low=True)
    points, place = np.unique(np.log(loads), return_inverse=True)
    if not points.size:
        return state_of(loads, loads, loads)
    first = _BEFORE * min(loads.min(), 1.0)

    def angles(tolerance: float) -> Array:
        span, limits = (np.log(first), points[-1]), {"rtol": tolerance, "atol": 1e-3 * tolerance}
        # noise makes the perceptron rule forget within a load of 1: stiff in log load
        path = solve_ivp(rate, span, start(first), method="LSODA", t_eval=points, **limits)
        if not path.success:
            raise ConvergenceError(f"{name}: load is {loads.max():g}; {path.message}")
        return np.sinh(np.reshape(path.y[0][place], loads.shape))

    cotangent, coarse = angles(_TOLERANCE), angles(10 * _TOLERANCE)
    return state_of(loads, cotangent, np.full_like(loads, np.nan), np.abs(coarse - cotangent) / np.hypot(1, cotangent))


def _present(
    name: str,
    step: Callable[[Array, Array], Array],
    n: int,
    load: float,
    label_noise: float,
    seed: int | np.random.Generator,
    runs: int,
) -> Simulation:
    """Show fresh examples one by one to students that start from 0 and move along each input by step(field, label)."""
    (n, count, runs), rng = check_sizes(n, load, runs), np.random.default_rng(seed)
    teachers, students = draw_teachers(n, runs, rng), np.zeros((runs, n))
    for _ in range(count):
        inputs = rng.standard_normal((runs, n)) / sqrt(n)
        labels = draw_labels(np.sum(inputs * teachers, axis=1), label_noise, rng)
        students += step(np.sum(inputs * students, axis=1), labels)[:, None] * inputs
    return Simulation(name, n, count / n, compare(students, teachers))
