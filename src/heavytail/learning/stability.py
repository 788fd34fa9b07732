r"""Maximum stability: the student that reproduces all labels with the largest margin, a hard-margin support vector.

At zero temperature the smallest margin among the training examples, kappa, follows from (Opper, Kinzel, Kleinz and
Nehl 1990; Engel and Van den Broeck 2001, chapter 3)

    1 - R^2 = 2 load int_{-inf}^kappa Dt (kappa - t)^2 P(t),    P = lam + (1 - 2 lam) H(-t R / sqrt(1 - R^2))
    R sqrt(1 - R^2) = (1 - 2 lam) (load / pi) int_{-inf}^kappa dt (kappa - t) exp(-t^2 / (2 (1 - R^2)))

for the label noise lam. In units of d = sqrt(1 - R^2), kappa = x d and t = s d, the second gives R / d in closed form
from x, and the first becomes an equation for x alone, that stays well conditioned for R -> 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize.elementwise import find_root
from scipy.special import ndtr

from heavytail.errors import ConvergenceError
from heavytail.learning._arguments import check_label_noise, check_range
from heavytail.learning._gauss import Array, Real, phi
from heavytail.learning._storage import widest
from heavytail.learning._teacher import draw_examples
from heavytail.learning.capacity import separable_load
from heavytail.learning.results import LearningCurve, Phase, Simulation
from heavytail.learning.rules import RuleState, state_of

__all__ = ["MaximumStability", "StabilityState"]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(120)
_REACH = 12.0  # standard deviations; the Gaussian weight is 2e-32 there


@dataclass(frozen=True, slots=True)
class StabilityState(RuleState):
    """What maximum stability has learned, for each load.

    Attributes:
        margin: kappa, the least field of a training example times its label, for a student of unit length.
    """

    margin: Real


@dataclass(frozen=True, slots=True)
class MaximumStability:
    """Student of the largest margin.

    Without label noise every load can be learned; with it the labels are separable up to `separable_load` only, where
    the margin vanishes.

    Attributes:
        label_noise: probability that a label is flipped, in [0, 1/2].

    Raises:
        RequestError: if `label_noise` is outside its range; from the methods, if a load is not positive.
        ConvergenceError: from `solve`, for a load above `separable_load`.

    Example:
        >>> state = MaximumStability().solve(1.0)
        >>> print(f"{state.error:.5f} {state.margin:.5f}")
        0.26571 0.78655
        >>> print(f"{MaximumStability(label_noise=0.1).separable_load:.4f}")
        2.9923
    """

    label_noise: float = 0.0
    name: ClassVar[str] = "maximum stability"

    def __post_init__(self) -> None:  # noqa: D105
        check_label_noise(self.label_noise)

    @property
    def separable_load(self) -> float:
        """Load up to which the labels can be reproduced, where the margin vanishes; infinite without label noise."""
        return float(separable_load(self.label_noise))

    def solve(self, load: ArrayLike) -> StabilityState:
        """Give the state at loads of any shape."""
        a = check_range("load", load, 0, open_low=True)
        limit = self.separable_load
        if np.any(a > limit):
            where = f"load is {np.max(a):g}, label_noise {self.label_noise:g}"
            raise ConvergenceError(f"{self.name}: {where}; the labels are separable up to load {limit:.6g} only")
        # kappa is below 1 / sqrt(load), which is large only where d is near 1
        found = find_root(self._excess, (np.full_like(a, -1.0), 3 + 2 / np.sqrt(a)), args=(a,))
        if not np.all(found.success):
            worst = np.asarray(a)[~found.success].flat[0]
            raise ConvergenceError(f"{self.name}: load is {worst:g}; no margin was found there")
        x = np.asarray(found.x, dtype=np.float64)
        cotangent = self._cotangent(x, a)
        state = state_of(a, cotangent, np.zeros_like(a), np.abs(found.f_x))
        margin = x / np.hypot(1.0, cotangent)
        return StabilityState(state.load, state.overlap, state.error, state.training_error, state.residual, margin[()])

    def _cotangent(self, x: Array, load: Array) -> Array:
        """R / d from the second equation."""
        return np.asarray(load * sqrt(2 / pi) * (1 - 2 * self.label_noise) * (x * ndtr(x) + phi(x)))

    def _excess(self, x: Array, load: Array) -> Array:
        """Right side of the first equation over its left side, minus 1; it rises with x."""
        cotangent = self._cotangent(x, load)
        d = 1 / np.hypot(1.0, cotangent)
        half = (np.minimum(x, _REACH / d) + _REACH)[..., None] / 2
        s = half * (1 + _NODES) - _REACH
        clean = np.exp(-0.5 * (d[..., None] * s) ** 2) * ndtr((cotangent * d)[..., None] * s)
        clean = np.sum(half * _WEIGHTS * (x[..., None] - s) ** 2 * clean, axis=-1)
        kappa = x * d
        noise = sqrt(2 * pi) * ((1 + kappa**2) * ndtr(kappa) + kappa * phi(kappa)) / d**3
        lam = self.label_noise
        return np.asarray(load * d * sqrt(2 / pi) * ((1 - 2 * lam) * clean + lam * noise) - 1)

    def learning_curve(self, loads: ArrayLike) -> LearningCurve:
        """Give the generalisation error along the loads: NaN above `separable_load`, the phase "none"."""
        a = np.atleast_1d(check_range("load", loads, 0, open_low=True))
        learned = a <= self.separable_load
        state, error, overlap = self.solve(a[learned]), np.full_like(a, np.nan), np.full_like(a, np.nan)
        error[learned], overlap[learned] = state.error, state.overlap
        phase = np.where(learned, Phase.SMOOTH, Phase.NONE)
        return LearningCurve(self.name, a, error, overlap, phase, float(np.max(state.residual, initial=0.0)))

    def simulate(self, n: int, load: float, *, seed: int | np.random.Generator = 0, runs: int = 20) -> Simulation:
        """Learn from drawn examples, exactly: the least squares of distance of Lawson and Hanson (1974, chapter 23).

        Args:
            n: number of weights.
            load: examples per weight, rounded to a whole number of them.
            seed: of the draws.
            runs: number of independent teachers.

        Returns:
            `overlap`, `error`, `training_error` and `margin` of each run; NaN where its labels are not separable.

        Raises:
            RequestError: if n and runs are no whole numbers from 1, or the load is less than one example.
        """
        examples = draw_examples(n, load, self.label_noise, runs, np.random.default_rng(seed))
        signed = examples.inputs * examples.labels[..., None] / sqrt(n)
        students = np.array([widest(rows) for rows in signed])
        margin = np.min(np.einsum("rpn,rn->rp", signed, students), axis=1) * sqrt(n) / np.linalg.norm(students, axis=1)
        return examples.measure(self.name, students, margin=margin)
