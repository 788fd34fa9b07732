r"""Approximate message passing: the posterior mean of the teacher from one batch of examples, in a few products.

Bayes-optimal for the sign perceptron with label noise (Kabashima 2008; Donoho, Maleki and Montanari 2009; Rangan 2011;
Barbier et al. 2019). In the limit of many weights its overlap q = R^2 with the teacher follows state evolution,

    qh = load E[g^2] / (1 - q),    q = int Dz tanh(sqrt(qh) z + qh)  or  qh / (1 + qh)

for Ising or spherical teachers, g the score of a label. The fixed points are the replica symmetric states; the
algorithm reaches the one of least overlap. All is done in the odds v = q / (1 - q), so that q -> 1 costs no digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log, sqrt
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq, minimize_scalar
from scipy.optimize.elementwise import find_root

from heavytail.errors import ConvergenceError
from heavytail.learning._arguments import (
    check_label_noise,
    check_number,
    check_range,
    check_sizes,
    check_weights,
    whole,
)
from heavytail.learning._gauss import Array, Real, gaussian_rule
from heavytail.learning._teacher import (
    Weights,
    aligned_below,
    draw_examples,
    label_information,
    label_score,
    signal,
)
from heavytail.learning.results import LearningCurve, Phase, Simulation
from heavytail.learning.rules import RuleState, state_of

__all__ = ["ApproximateMessagePassing"]

_STEP = 0.05  # of the table in log qh
_SURE = 700.0  # a qh beyond which an Ising weight is known to all digits
_MOST_ITERATIONS = 200
_STILL = 1e-12  # mean square change of the weights


@dataclass(frozen=True, slots=True)
class ApproximateMessagePassing:
    """Approximate message passing for the perceptron, with the error of the Bayesian student where it is not trapped.

    Attributes:
        weights: of the teacher, known to the student: "spherical", or "ising" for components -1 and 1.
        label_noise: probability that a label is flipped, in [0, 1/2], known to the student.

    Raises:
        RequestError: if one is outside its range; from the methods, if a load is not positive.
        ConvergenceError: from `solve` and `learning_curve`, if a fixed point is not found.

    Example:
        >>> amp = ApproximateMessagePassing()
        >>> print(f"{amp.solve(5.0).error:.6f} {amp.state_evolution(5.0, steps=5).round(4)}")
        0.083935 [0.     0.8723 0.9368 0.9541 0.9605 0.9632]
        >>> print(f"{ApproximateMessagePassing('ising').perfect_load:.7f}")
        1.4926318
    """

    weights: Weights = "spherical"
    label_noise: float = 0.0
    name: ClassVar[str] = "message passing"

    def __post_init__(self) -> None:  # noqa: D105
        check_weights(self.weights)
        check_label_noise(self.label_noise)

    @property
    def perfect_load(self) -> float:
        """Load above which an Ising teacher is found without error: the spinodal. Infinite for a spherical one."""
        return self._spinodal()[1]

    def solve(self, load: ArrayLike) -> RuleState:
        """Give the fixed point of state evolution from the uninformed start, at loads of any shape.

        The load is an explicit function of qh; the fixed point is where it first takes the value asked for. Above
        `perfect_load` the overlap is 1.
        """
        loads = check_range("load", load, 0, open_low=True)
        if self.label_noise == 0.5 or not loads.size:
            return state_of(loads, np.zeros_like(loads), np.full_like(loads, self.label_noise))
        peak, most = self._spinodal()
        below = loads <= most
        cotangent, residual = np.full_like(loads, inf), np.zeros_like(loads)
        if np.any(below):
            field, residual[below] = self._fixed_point(loads[below], peak)
            cotangent[below] = np.sqrt(self._odds(np.exp(field)))
        return state_of(loads, cotangent, self._training_error(cotangent), residual)

    def _fixed_point(self, loads: Array, peak: float) -> tuple[Array, Array]:
        """Least log qh with each load, and the relative error of the load there."""
        least = log(0.1 * signal(self.label_noise) ** 2 * np.min(loads))
        most = min(peak, log(10 + np.max(loads) ** 2))
        table = np.linspace(least, most, 2 + int((most - least) / _STEP))
        place = np.searchsorted(np.maximum.accumulate(self._load(table)), loads)
        place = np.clip(place, 1, len(table) - 1)
        found = find_root(lambda y, a: self._load(y) / a - 1, (table[place - 1], table[place]), args=(loads,))
        if not np.all(found.success):
            worst = loads[~found.success].flat[0]
            raise ConvergenceError(f"{self.name}, {self.weights}: load is {worst:g}; no fixed point was found there")
        return np.asarray(found.x), np.abs(found.f_x)

    def _load(self, log_field: ArrayLike) -> Real:
        """Load that has a fixed point at this log qh."""
        field = np.exp(log_field)
        odds = self._odds(field)
        return field / ((1 + odds) * label_information(np.sqrt(odds), self.label_noise))

    def _spinodal(self) -> tuple[float, float]:
        """Log qh and load of the maximum of the load."""
        if self.weights == "spherical" or self.label_noise == 0.5:
            return inf, inf
        peak = minimize_scalar(lambda y: -self._load(y), bounds=(-1, 4), method="bounded", options={"xatol": 1e-9})
        return float(peak.x), float(-peak.fun)

    def _odds(self, field: ArrayLike) -> Real:
        """Odds q / (1 - q) of what the prior makes of qh."""
        field = np.asarray(field, dtype=np.float64)
        if self.weights == "spherical":
            return field
        # q and 1 - q are the means of sinh tanh and of sech, both times exp(-qh / 2)
        z, weight = gaussian_rule()
        h = np.sqrt(np.minimum(field, _SURE))[..., None] * z
        return np.sum(weight * np.sinh(h) * np.tanh(h), axis=-1) / np.sum(weight / np.cosh(h), axis=-1)

    def _training_error(self, cotangent: Array) -> Array:
        """Fraction of labels that the posterior mean does not reproduce: those too unlikely to be believed."""
        if self.label_noise == 0:
            return np.zeros_like(cotangent)
        doubt = brentq(lambda k: k + label_score(k, self.label_noise), -50, 0)
        with np.errstate(divide="ignore"):
            return np.asarray(aligned_below(doubt / cotangent, cotangent, self.label_noise))

    def state_evolution(self, load: ArrayLike, steps: int, start: float = 0.0) -> Array:
        """Give the overlap with the teacher after each iteration.

        Args:
            load: examples per weight, of any shape.
            steps: number of iterations.
            start: overlap to start from, in [0, 1]; 0 is that of a student who knows nothing, and 1 a fixed point.

        Returns:
            Overlaps, with one more axis of steps + 1, the last.
        """
        loads = check_range("load", load, 0, open_low=True)
        overlap, steps = check_number("start", start, 0, 1), whole("steps", steps, 0)
        odds = np.full_like(loads, overlap**2 / (1 - overlap**2) if overlap < 1 else inf)
        path = [odds]
        for _ in range(steps):
            finite = np.where(np.isfinite(odds), odds, 0.0)
            field = loads * (1 + finite) * label_information(np.sqrt(finite), self.label_noise)
            odds = np.where(np.isfinite(odds), self._odds(field), inf)
            path.append(odds)
        return np.asarray(np.sin(np.arctan(np.sqrt(np.stack(path, axis=-1)))))

    def learning_curve(self, loads: ArrayLike) -> LearningCurve:
        """Give the generalisation error along the loads; the phase is "perfect" above `perfect_load`."""
        state = self.solve(loads)
        before = Phase.SMOOTH if self.weights == "spherical" else Phase.POOR
        return state.curve(self.name, np.where(np.atleast_1d(state.load) > self.perfect_load, Phase.PERFECT, before))

    def simulate(self, n: int, load: float, *, seed: int | np.random.Generator = 0, runs: int = 4) -> Simulation:
        """Learn from drawn examples.

        Args:
            n: number of weights.
            load: examples per weight, rounded to a whole number of them.
            seed: of the draws.
            runs: number of independent teachers.

        Returns:
            `overlap`, `error`, `training_error` and `iterations` of each run; 200 iterations are the most.

        Raises:
            RequestError: if n and runs are no whole numbers from 1, or the load is less than one example.
        """
        (n, count, runs), rng = check_sizes(n, load, runs), np.random.default_rng(seed)
        results = []
        for _ in range(runs):  # one at a time: the inputs are large
            examples = draw_examples(n, load, self.label_noise, 1, rng, self.weights)
            student, iterations = self._pass(examples.inputs[0] / sqrt(n), examples.labels[0])
            results.append(examples.measure(self.name, student[None], iterations=np.array([float(iterations)])))
        samples = {key: np.concatenate([one.samples[key] for one in results]) for key in results[0].samples}
        return Simulation(self.name, n, count / n, samples)

    def _pass(self, inputs: Array, labels: Array) -> tuple[Array, int]:
        """Posterior mean of the weights, and the number of iterations."""
        count, n = inputs.shape
        mean, variance, score = np.zeros(n), 1.0, np.zeros(count)
        iteration, moved = 0, inf
        while iteration < _MOST_ITERATIONS and moved > _STILL:
            iteration, last = iteration + 1, mean
            field = inputs @ mean - variance * score
            score = labels * label_score(labels * field / sqrt(variance), self.label_noise) / sqrt(variance)
            precision = np.sum(score * (score + field / variance)) / n
            pull = precision * mean + inputs.T @ score
            if self.weights == "ising":
                # n weights tell their variance to 1 / n only; with less a single doubtful example outweighs the rest
                mean = np.tanh(pull)
                variance = max(float(np.mean(1 - mean**2)), 1 / n)
            else:
                mean, variance = pull / (1 + precision), float(1 / (1 + precision))
            moved = float(np.mean((mean - last) ** 2))
        return mean, iteration
