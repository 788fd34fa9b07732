r"""A perceptron that learns from a noisy teacher, at any temperature: the replica-symmetric theory."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import log
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from heavytail.errors import ConvergenceError, RequestError
from heavytail.learning._branch import Branch
from heavytail.learning._gauss import Array, Real
from heavytail.learning._replica import Point
from heavytail.learning.results import LearningCurve, Phase, Simulation, check_range

__all__ = ["Perceptron", "PerceptronState", "check_student"]


@dataclass(frozen=True, slots=True)
class PerceptronState:
    """Students of a noisy teacher in thermal equilibrium; scalars, or arrays of one shape.

    Attributes:
        load: examples per weight.
        temperature: of the students; the energy is the number of training errors.
        overlap: R, cosine of a student and the teacher.
        self_overlap: q, cosine of two students.
        error: generalisation error of one student, arccos(R) / pi.
        vote_error: of the majority of all students, arccos(R / sqrt(q)) / pi.
        training_error: share of the examples, as labelled, that a student has wrong.
        free_energy: f per weight, of the energy and temperature above.
        entropy: per weight: of Ising students ln 2 at no load; of spherical ones 0 there, and negative from then on.
        replicon: positive where replica symmetry is stable (de Almeida and Thouless 1978).
        phase: "smooth" (spherical) or "poor" (Ising) where the solution holds, "perfect" where the student equals the
            teacher, "spin glass" where replica symmetry fails: its numbers are then no prediction.
        residual: of the equations, relative.
    """

    load: Real
    temperature: Real
    overlap: Real
    self_overlap: Real
    error: Real
    vote_error: Real
    training_error: Real
    free_energy: Real
    entropy: Real
    replicon: Real
    phase: Real
    residual: Real


def check_student(weights: str, label_noise: float) -> None:
    """Refuse weights and label noise that no student has.

    Raises:
        RequestError: naming the argument.
    """
    if weights not in ("spherical", "ising"):
        raise RequestError(f"weights are 'spherical' or 'ising'; got {weights!r}")
    check_range("label_noise", label_noise, 0, 0.5)
    if label_noise == 0.5:
        raise RequestError("label_noise is 0.5: labels that know nothing of a teacher; see the storage capacities")


@dataclass(frozen=True, slots=True)
class Perceptron:
    r"""A student perceptron that learns the labels of a teacher, of which some are flipped.

    Inputs are Gaussian, student and teacher have weights of the same kind, the energy is the number of training errors,
    and students are drawn with probability proportional to exp(-energy / temperature). At temperature 0 that is Gibbs
    learning: any student without errors. The order parameters :math:`q, R` and the free energy f solve

    .. math::
        -\beta f = \mathrm{extr} \Big[ S(q, R) + 2 \alpha \int Dt \, P(t) \ln \big( e^{-\beta} + (1 - e^{-\beta})
        H(-\sqrt{q / (1 - q)} \, t) \big) \Big],

    with :math:`P(t) = (1 - \lambda) H(-x) + \lambda H(x)`, :math:`x = R t / \sqrt{q - R^2}`, load :math:`\alpha` and
    label noise :math:`\lambda` (Györgyi and Tishby 1990; Seung, Sompolinsky and Tishby 1992; Engel and Van den Broeck
    2001).

    Attributes:
        weights: "spherical" or "ising" (each weight +1 or -1).
        label_noise: probability of a flipped label, in [0, 1/2); the randomised fraction of the labels is twice it.

    Raises:
        RequestError: if there are no such weights, or the label noise is out of range.

    Example:
        >>> state = Perceptron().solve(load=2.0)
        >>> print(f"{state.error:.6f} {state.vote_error:.6f}")
        0.240312 0.174534
        >>> Perceptron("ising").solve([1.0, 1.3]).phase
        array(['poor', 'perfect'], dtype='<U10')
    """

    weights: Literal["spherical", "ising"] = "spherical"
    label_noise: float = 0.0

    def __post_init__(self) -> None:  # noqa: D105
        check_student(self.weights, self.label_noise)

    @property
    def nishimori_temperature(self) -> float:
        """Temperature at which the students are as noisy as the labels: there q = R, and the vote is best."""
        return 1 / log((1 - self.label_noise) / self.label_noise) if self.label_noise else 0.0

    def solve(
        self, load: ArrayLike, temperature: ArrayLike = 0.0, *, branch: Literal["equilibrium", "poor"] = "equilibrium"
    ) -> PerceptronState:
        """Solve the equations at loads and temperatures that broadcast against each other.

        Args:
            load: examples per weight, positive.
            temperature: at least 0.
            branch: "equilibrium" has the state of least free energy; "poor" the one that grows from no load, also where
                it is metastable. They differ for Ising weights alone.

        Raises:
            RequestError: if an argument is out of range.
            ConvergenceError: where there is no such state: the poor one beyond its spinodal, a spherical student
                without errors at temperature 0 beyond the load that noisy labels can be separated at.
        """
        state = self._states(load, temperature, branch)
        lost = np.atleast_1d(~(np.asarray(state.residual) < 1e-9))
        if lost.any():
            at = np.atleast_1d(state.load)[lost][0], np.atleast_1d(state.temperature)[lost][0]
            raise ConvergenceError(
                f"{self.weights} perceptron, label noise {self.label_noise:g}: there is no {branch} state at load "
                f"{at[0]:g} and temperature {at[1]:g}"
            )
        return state

    def learning_curve(
        self,
        loads: ArrayLike,
        temperature: float = 0.0,
        *,
        vote: bool = False,
        branch: Literal["equilibrium", "poor"] = "equilibrium",
    ) -> LearningCurve:
        """Give the generalisation error along the load; NaN where replica symmetry fails or there is no state.

        Args:
            loads: examples per weight, positive, shape (n,).
            temperature: at least 0.
            vote: the error of the majority of all students, and not that of one; at the Nishimori temperature it is
                Bayes' error, the least possible.
            branch: as for `solve`.

        Example:
            >>> curve = Perceptron("ising").learning_curve([1.0, 1.2, 1.4])
            >>> curve.error.round(4), curve.phase.tolist()
            (array([0.3105, 0.2669, 0.    ]), ['poor', 'poor', 'perfect'])
        """
        loads = np.asarray(loads, dtype=np.float64)
        state = self._states(loads, temperature, branch)
        valid = np.isfinite(state.residual) & (state.phase != Phase.SPIN_GLASS)
        bayes = vote and np.isclose(temperature, self.nishimori_temperature)
        overlap = state.overlap / np.sqrt(state.self_overlap) if vote else state.overlap
        return LearningCurve(
            name="Bayes" if bayes else "vote" if vote else "Gibbs",
            loads=loads,
            error=np.where(valid, state.vote_error if vote else state.error, np.nan),
            overlap=np.where(valid, overlap, np.nan),
            phase=state.phase,
            residual=float(np.max(state.residual, where=np.isfinite(state.residual), initial=0.0)),
        )

    def simulate(
        self,
        n: int,
        load: float,
        temperature: float = 0.0,
        *,
        sweeps: int = 1000,
        seed: int | np.random.Generator = 0,
        runs: int = 8,
    ) -> Simulation:
        """Simulate students of n weights by Monte Carlo: their error, training error and overlaps, a value a run.

        Spherical students of clean labels at temperature 0 are sampled from the version space, beginning at the
        teacher, which is one of them; all others by Metropolis from a random start, which may stay in a metastable
        state. Needs numba (the extra `learning`).

        Args:
            n: number of weights.
            load: examples per weight, rounded to a whole number of examples.
            temperature: at least 0.
            sweeps: of each run, of which the first half is left out. In equilibrium at the Nishimori temperature
                self_overlap equals overlap; cold spherical students need some ten thousand sweeps for that.
            seed: of teachers, examples and sampling.
            runs: number of independent teachers.

        Raises:
            RequestError: if numba is missing or there is no sampler for these arguments.
        """
        from heavytail.learning import sampling

        if temperature == 0 and self.weights == "spherical" and not self.label_noise:
            return sampling.sample_version_space(n, load, sweeps=sweeps, seed=seed, runs=runs)
        return sampling.sample_perceptron(
            self.weights, n, load, temperature, self.label_noise, sweeps=sweeps, seed=seed, runs=runs
        )

    def _states(self, load: ArrayLike, temperature: ArrayLike, branch: str) -> PerceptronState:
        if branch not in ("equilibrium", "poor"):
            raise RequestError(f"branch is 'equilibrium' or 'poor'; got {branch!r}")
        loads, temperatures = np.broadcast_arrays(
            check_range("load", load, 0, open_low=True), check_range("temperature", temperature, 0)
        )
        distinct, row = np.unique(temperatures, return_inverse=True)
        traced = Branch.trace(self.weights, self.label_noise, distinct)
        point = traced.at(loads.ravel(), row.ravel())
        state = _state(point, loads.ravel(), temperatures.ravel(), Phase.POOR if self._jumps else Phase.SMOOTH)
        if self._jumps and branch == "equilibrium":
            jump = traced.jump().load if (distinct >= self.nishimori_temperature).all() else self.jump(distinct)
            state = self._or_perfect(state, jump[row.ravel()])
        return PerceptronState(*(getattr(state, item.name).reshape(loads.shape)[()] for item in fields(state)))

    @property
    def _jumps(self) -> bool:
        return self.weights == "ising"

    def jump(self, temperature: Array) -> Array:
        """Load from which on the student that equals the teacher has the lower free energy; NaN where none.

        Below the Nishimori temperature it stays what it is there: the poor students are frozen by then, and so is their
        free energy.
        """
        distinct, row = np.unique(np.maximum(temperature, self.nishimori_temperature), return_inverse=True)
        return Branch.trace(self.weights, self.label_noise, distinct).jump().load[row]

    def _or_perfect(self, poor: PerceptronState, jump: Array) -> PerceptronState:
        """Put the perfect student where it has the lower free energy."""
        better, noise = poor.load >= jump, self.label_noise
        perfect = {
            "overlap": 1.0, "self_overlap": 1.0, "error": 0.0, "vote_error": 0.0, "training_error": noise,
            "free_energy": noise * poor.load, "entropy": 0.0, "replicon": 1.0, "phase": Phase.PERFECT, "residual": 0.0,
        }  # fmt: skip
        names = (item.name for item in fields(poor))
        return PerceptronState(*(np.where(better, perfect.get(n, getattr(poor, n)), getattr(poor, n)) for n in names))


def _state(point: Point, load: Array, temperature: Array, phase: Phase) -> PerceptronState:
    frozen = (point.entropy < 0) & (phase is Phase.POOR)
    glassy = frozen | (point.replicon < 0)
    none = np.isnan(point.residual)
    return PerceptronState(
        load=load,
        temperature=temperature,
        overlap=point.overlap,
        self_overlap=point.self_overlap,
        error=point.error,
        vote_error=point.vote_error,
        training_error=point.training_error,
        free_energy=-temperature * point.free_entropy,
        entropy=point.entropy,
        replicon=point.replicon,
        phase=np.where(none, Phase.NONE, np.where(glassy, Phase.SPIN_GLASS, phase)).astype("<U10"),
        residual=point.residual,
    )
