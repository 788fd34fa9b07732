r"""Students in closed form: the Hebb rule, the pseudo-inverse and ridge regression on the labels.

Each learns from p = load n examples of a spherical teacher (Engel and Van den Broeck 2001; Watkin, Rau and Biehl 1993),
labels flipped with probability `label_noise`. All depend on the label only through its covariance c with the teacher's
field, and on the rest of it as on independent noise of variance 1 - c^2. Hebb is ridge regression of infinite penalty,
the pseudo-inverse that of a vanishing one.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, pi, sqrt
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from heavytail.learning._arguments import check_label_noise, check_number, check_range
from heavytail.learning._gauss import Array, Real
from heavytail.learning._teacher import aligned_below, draw_examples, signal
from heavytail.learning.results import LearningCurve, Phase, Simulation

__all__ = ["Hebb", "PseudoInverse", "RidgeClassifier", "RuleState"]


@dataclass(frozen=True, slots=True)
class RuleState:
    """What a rule has learned, for each load.

    Attributes:
        load: examples per weight.
        overlap: cosine with the teacher.
        error: probability of a new example on which student and teacher disagree, arccos(overlap) / pi.
        training_error: fraction of the training labels, flipped ones included, that the student does not reproduce;
            NaN where the theory does not tell.
        residual: of the equations, relative; 0 for closed forms.
    """

    load: Real
    overlap: Real
    error: Real
    training_error: Real
    residual: Real

    def curve(self, name: str, phase: str | np.ndarray = Phase.SMOOTH) -> LearningCurve:
        """Give the error along the loads as a curve of that name."""
        loads = np.atleast_1d(self.load)
        phases = np.broadcast_to(np.asarray(phase), loads.shape)
        error, overlap = np.atleast_1d(self.error), np.atleast_1d(self.overlap)
        return LearningCurve(name, loads, error, overlap, phases, float(np.max(self.residual, initial=0.0)))


def state_of(load: Array, cotangent: Array, training_error: Array, residual: Array | float = 0.0) -> RuleState:
    """Give the state of a student at the angle to the teacher that has this cotangent.

    The cotangent, not the overlap, so that the error is exact relative to itself where the overlap rounds to 1.
    """
    residual = np.broadcast_to(np.asarray(residual, dtype=np.float64), load.shape)
    overlap, error = np.sin(np.arctan(cotangent)), np.arctan2(1.0, cotangent) / pi
    return RuleState(load[()], overlap[()], error[()], np.asarray(training_error)[()], residual[()])


@dataclass(frozen=True, slots=True)
class Hebb:
    r"""Hebb rule: the sum of all inputs, each times its label.

    .. math:: R = \Big(1 + \frac{\pi}{2 \alpha (1 - 2\lambda)^2}\Big)^{-1/2}

    so that label noise :math:`\lambda` lowers the load :math:`\alpha` to :math:`\alpha (1 - 2\lambda)^2` exactly
    (Vallet 1989; Engel and Van den Broeck 2001, chapter 2). The field of a training example is that of a new one plus
    the label. Presented one at a time the same examples give the same student: online and batch do not differ.

    Attributes:
        label_noise: probability that a label is flipped, in [0, 1/2].

    Raises:
        RequestError: if `label_noise` is outside its range; from the methods, if a load is not positive.

    Example:
        >>> print(f"{Hebb().solve(5.0).error:.6f}")
        0.162614
    """

    label_noise: float = 0.0
    name: ClassVar[str] = "Hebb"

    def __post_init__(self) -> None:  # noqa: D105
        check_label_noise(self.label_noise)

    def solve(self, load: ArrayLike) -> RuleState:
        """Give the state at loads of any shape."""
        a = check_range("load", load, 0, open_low=True)
        cotangent = signal(self.label_noise) * np.sqrt(a)
        shift = 1 / (np.sqrt(a) * np.hypot(1.0, cotangent))
        return state_of(a, cotangent, aligned_below(-shift, cotangent, self.label_noise))

    def learning_curve(self, loads: ArrayLike) -> LearningCurve:
        """Give the generalisation error along the loads."""
        return self.solve(loads).curve(self.name)

    def simulate(self, n: int, load: float, *, seed: int | np.random.Generator = 0, runs: int = 20) -> Simulation:
        """Learn from drawn examples.

        Args:
            n: number of weights.
            load: examples per weight, rounded to a whole number of them.
            seed: of the draws.
            runs: number of independent teachers.

        Returns:
            `overlap`, `error` and `training_error` of each run.

        Raises:
            RequestError: if n and runs are no whole numbers from 1, or the load is less than one example.
        """
        examples = draw_examples(n, load, self.label_noise, runs, np.random.default_rng(seed))
        return examples.measure(self.name, np.einsum("rpn,rp->rn", examples.inputs, examples.labels))


@dataclass(frozen=True, slots=True)
class RidgeClassifier:
    r"""Sign of the ridge regression on the labels: the least of sum (y - J.x / sqrt n)^2 + penalty |J|^2.

    With c = (1 - 2 label_noise) sqrt(2/pi), D^2 = (load + penalty - 1)^2 + 4 penalty from the Marchenko-Pastur
    resolvent, and the learned share of the weights K = 2 load / (1 + load + penalty + D),

    .. math:: R^2 = \frac{c^2 K D}{c^2 (D - penalty) + 1 - c^2}.

    At the best penalty, (1 - c^2) / c^2, this is R^2 = K (Advani and Ganguli 2016, for the regression). The regression
    sees the label as a linear teacher of strength c with noise of variance 1 - c^2.

    Attributes:
        label_noise: probability that a label is flipped, in [0, 1/2].
        penalty: not negative; infinity is the Hebb rule; None is the best one, the same for all loads.

    Raises:
        RequestError: if one is outside its range; from the methods, if a load is not positive.

    Example:
        >>> print(f"{RidgeClassifier().solve(2.0).error:.6f} {RidgeClassifier(penalty=10).solve(2.0).error:.6f}")
        0.186028 0.215944
    """

    label_noise: float = 0.0
    penalty: float | None = None

    def __post_init__(self) -> None:  # noqa: D105
        check_label_noise(self.label_noise)
        if self.penalty is not None:
            check_number("penalty", self.penalty, 0, finite=False)

    @property
    def name(self) -> str:
        """Name of the student: "best ridge", or with its penalty."""
        return "best ridge" if self.penalty is None else f"ridge {self.penalty:g}"

    @property
    def used_penalty(self) -> float:
        """The penalty given, or the best one: (1 - c^2) / c^2, infinite if the labels tell nothing."""
        if self.penalty is not None:
            return self.penalty
        c2 = signal(self.label_noise) ** 2
        return (1 - c2) / c2 if c2 > 0 else inf

    def solve(self, load: ArrayLike) -> RuleState:
        """Give the state at loads of any shape."""
        a, penalty = check_range("load", load, 0, open_low=True), self.used_penalty
        if penalty == inf:
            return Hebb(self.label_noise).solve(a)
        c2 = signal(self.label_noise) ** 2
        # stiffness S and unlearned share G of the weights: S - G = b, S G = penalty, S + G = root
        b = a + penalty - 1
        root = np.hypot(b, 2 * np.sqrt(penalty))
        larger = (np.abs(b) + root) / 2
        smaller = np.divide(penalty, larger, out=np.zeros_like(a), where=larger > 0)
        stiffness, unlearned = np.where(b > 0, larger, smaller), np.where(b > 0, smaller, larger)
        learned = a / (1 + stiffness)
        cotangent = np.sqrt(c2 * learned * root / (c2 * unlearned**2 + 1 - c2))
        # learning an example turns its field g into (S g + y) / (S + 1); the variance of S g is that of the spread
        power = c2 * (unlearned + stiffness * learned) + 1 - c2
        spread = stiffness * np.sqrt(learned * power / np.where(root > 0, root, 1.0))
        shift = np.divide(1.0, spread, out=np.full_like(a, inf), where=spread > 0)
        return state_of(a, cotangent, aligned_below(-shift, cotangent, self.label_noise))

    def learning_curve(self, loads: ArrayLike) -> LearningCurve:
        """Give the generalisation error along the loads."""
        return self.solve(loads).curve(self.name)

    def simulate(self, n: int, load: float, *, seed: int | np.random.Generator = 0, runs: int = 20) -> Simulation:
        """Learn from drawn examples: as `Hebb.simulate`."""
        if self.used_penalty == inf:
            return Hebb(self.label_noise).simulate(n, load, seed=seed, runs=runs)
        examples = draw_examples(n, load, self.label_noise, runs, np.random.default_rng(seed))
        # an example of each weight, of input sqrt(n penalty) and label 0, is the penalty
        rows = sqrt(n * self.used_penalty) * np.eye(n)
        students = [
            np.linalg.lstsq(np.vstack([x, rows]), np.append(y, np.zeros(n)), rcond=None)[0]
            for x, y in zip(examples.inputs, examples.labels, strict=True)
        ]
        return examples.measure(self.name, np.array(students))


@dataclass(frozen=True, slots=True)
class PseudoInverse:
    r"""Pseudo-inverse rule: the least squares fit of the labels, the shortest one where it is not unique.

    With c = (1 - 2 label_noise) sqrt(2/pi),

    .. math:: R^2 = \frac{c^2 \min(\alpha, 1) |1 - \alpha|}{c^2 |1 - \alpha| + 1 - c^2}

    (Opper, Kinzel, Kleinz and Nehl 1990, without noise). At load 1 it has learned nothing: the peak of double descent.
    Up to there it reproduces every training label.

    Attributes:
        label_noise: probability that a label is flipped, in [0, 1/2].

    Raises:
        RequestError: if `label_noise` is outside its range; from the methods, if a load is not positive.

    Example:
        >>> print(PseudoInverse().solve([0.5, 1.0, 2.0]).error.round(6))
        [0.339479 0.5      0.205952]
    """

    label_noise: float = 0.0
    name: ClassVar[str] = "pseudo-inverse"

    def __post_init__(self) -> None:  # noqa: D105
        check_label_noise(self.label_noise)

    def solve(self, load: ArrayLike) -> RuleState:
        """Give the state at loads of any shape."""
        return RidgeClassifier(self.label_noise, penalty=0.0).solve(load)

    def learning_curve(self, loads: ArrayLike) -> LearningCurve:
        """Give the generalisation error along the loads."""
        return self.solve(loads).curve(self.name)

    def simulate(self, n: int, load: float, *, seed: int | np.random.Generator = 0, runs: int = 20) -> Simulation:
        """Learn from drawn examples: as `Hebb.simulate`."""
        examples = draw_examples(n, load, self.label_noise, runs, np.random.default_rng(seed))
        pairs = zip(examples.inputs, examples.labels, strict=True)
        return examples.measure(self.name, np.array([np.linalg.lstsq(x, y, rcond=None)[0] for x, y in pairs]))
