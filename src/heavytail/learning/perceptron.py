r"""A perceptron that learns from a noisy teacher, at any temperature: the replica-symmetric theory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from math import log
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heavytail.errors import ConvergenceError, RequestError
from heavytail.learning._arguments import (
    broadcast_pair,
    check_label_noise,
    check_name,
    check_number,
    check_range,
    check_weights,
)
from heavytail.learning._branch import Branch
from heavytail.learning._gauss import Array, Real
from heavytail.learning._replica import PRIORS
from heavytail.learning._replica import residual as field_residual
from heavytail.learning.results import LearningCurve, Phase, Simulation

__all__ = ["Perceptron", "PerceptronState", "check_load", "check_student", "check_temperature", "poor_phase"]

_MOST = 1e9  # load and temperature: all tables reach further
_PRECISE = 1e-9


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
            teacher, "spin glass" where replica symmetry fails: its numbers are then no prediction, and NaN where the
            equations have no solution at all.
        residual: of the equations, relative, by other integrals than those that solved them; NaN likewise.
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

    def map(self, function: Callable[[Array], Real]) -> PerceptronState:
        """Apply a function to every array."""
        return PerceptronState(*(function(getattr(self, item.name)) for item in fields(self)))

    def replaced(self, where: NDArray[np.bool_], other: PerceptronState) -> PerceptronState:
        """Give this state, and another one where that is said."""
        pairs = ((getattr(self, item.name), getattr(other, item.name)) for item in fields(self))
        return PerceptronState(*(np.where(where, theirs, ours) for ours, theirs in pairs))


def check_student(weights: str, label_noise: float) -> None:
    """Refuse weights and label noise that no student has.

    Raises:
        RequestError: naming the argument.
    """
    check_weights(weights)
    check_label_noise(label_noise)
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
            load: examples per weight, positive, up to 1e9.
            temperature: at least 0, up to 1e9.
            branch: "equilibrium" has the state of least free energy; "poor" the one that grows from no load, also where
                it is metastable. They differ for Ising weights alone.

        Raises:
            RequestError: if an argument is out of range.
            ConvergenceError: where there is no such state, as the poor one beyond its spinodal, or the equations were
                not solved to a residual of 1e-9.
        """
        state = self._states(load, temperature, branch)
        lost = np.atleast_1d(
            (state.phase == Phase.NONE) | (state.residual > _PRECISE) & (state.phase != Phase.SPIN_GLASS)
        )
        if lost.any():
            a, T, residual = (
                np.atleast_1d(values)[lost][0] for values in (state.load, state.temperature, state.residual)
            )
            why = f"there is no {branch} state" if np.isnan(residual) else f"the residual is {residual:.0e}"
            raise ConvergenceError(
                f"{self.weights} perceptron, label noise {self.label_noise:g}: {why} at load {a:g}, temperature {T:g}"
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
        temperature = check_number("temperature", temperature, 0, _MOST)
        state = self._states(np.atleast_1d(check_load(loads)), temperature, branch)
        valid = (state.residual <= _PRECISE) & (state.phase != Phase.SPIN_GLASS)
        bayes = vote and np.isclose(temperature, self.nishimori_temperature)
        overlap = state.overlap / np.sqrt(state.self_overlap) if vote else state.overlap
        return LearningCurve(
            name="Bayes" if bayes else "vote" if vote else "Gibbs",
            loads=state.load,
            error=np.where(valid, state.vote_error if vote else state.error, np.nan),
            overlap=np.where(valid, overlap, np.nan),
            phase=state.phase,
            residual=float(np.max(state.residual, where=valid, initial=0.0)),
        )

    def simulate(
        self,
        n: int,
        load: float,
        temperature: float = 0.0,
        *,
        start: Literal["random", "teacher"] = "random",
        sweeps: int = 1000,
        seed: int | np.random.Generator = 0,
        runs: int = 8,
    ) -> Simulation:
        """Simulate students of n weights by Monte Carlo: their error, training error and overlaps, a value a run.

        Spherical students of clean labels at temperature 0 are sampled from the version space, beginning at the
        teacher, which is one of them; all others by Metropolis, which from a random start may stay in a metastable
        state. Needs numba (the extra `learning`).

        Args:
            n: number of weights.
            load: examples per weight, rounded to a whole number of examples.
            temperature: at least 0.
            start: of Metropolis, "random" or "teacher".
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
            self.weights, n, load, temperature, self.label_noise, start=start, sweeps=sweeps, seed=seed, runs=runs
        )

    def transition(self, temperature: ArrayLike) -> Real:
        """Load from which on the student that equals the teacher has the lower free energy; NaN for spherical weights.

        Below the Nishimori temperature it stays what it is there: the poor students are frozen by then, and so is their
        free energy.

        Args:
            temperature: at least 0, of any shape.
        """
        given = check_temperature(temperature)
        distinct, row = np.unique(given, return_inverse=True)
        return self.transition_on(Branch.trace(self.weights, self.label_noise, distinct))[row.reshape(given.shape)]

    def transition_on(self, branch: Branch) -> Array:
        """Give the transition at the temperatures of a branch that was traced already."""
        loads, frozen = branch.jump().load, branch.temperature < self.nishimori_temperature
        if frozen.any() and self._jumps:
            melting = np.array([self.nishimori_temperature])
            loads[frozen] = Branch.trace(self.weights, self.label_noise, melting).jump().load
        return loads

    @property
    def _jumps(self) -> bool:
        return self.weights == "ising"

    def _states(self, load: ArrayLike, temperature: ArrayLike, branch: str) -> PerceptronState:
        check_name("branch", branch, ("equilibrium", "poor"))
        loads, temperatures = broadcast_pair(check_load(load), check_temperature(temperature))
        distinct, row = np.unique(temperatures.ravel(), return_inverse=True)
        traced = Branch.trace(self.weights, self.label_noise, distinct, enough=loads.max(initial=0))
        poor = self._poor(traced, loads.ravel(), row)
        if self._jumps and branch == "equilibrium":
            perfect = poor.load >= self.transition_on(traced)[row]
            poor = poor.replaced(perfect, self._perfect(poor.load, poor.temperature))
        return poor.map(lambda values: values.reshape(loads.shape)[()])

    def _poor(self, traced: Branch, load: Array, row: NDArray[np.intp]) -> PerceptronState:
        """Give the state that grows from no load, and the phase it is in."""
        point = traced.at(load, row)
        residual = field_residual(PRIORS[self.weights], point, self.label_noise)
        return PerceptronState(
            load=load,
            temperature=traced.temperature[row],
            overlap=point.overlap,
            self_overlap=point.self_overlap,
            error=point.error,
            vote_error=point.vote_error,
            training_error=point.training_error,
            free_energy=-traced.temperature[row] * point.free_entropy,
            entropy=point.entropy,
            replicon=point.replicon,
            phase=poor_phase(self.weights, load, traced.glass()[row], traced.fold.load[row], np.isnan(residual)),
            residual=residual,
        )

    def _perfect(self, load: Array, temperature: Array) -> PerceptronState:
        """Give the state of the student that equals the teacher: it has the flipped labels wrong, and no entropy."""
        zero, one = np.zeros_like(load), np.ones_like(load)
        noise = self.label_noise
        phase = np.full(load.shape, Phase.PERFECT, dtype="<U10")
        return PerceptronState(
            load, temperature, one, one, zero, zero, noise * one, noise * load, zero, one, phase, zero
        )  # fmt: skip


def poor_phase(weights: str, load: Array, glass: Array, spinodal: Array, unsolved: Array) -> np.ndarray:
    """Give the phase of the state that grows from no load, for loads that broadcast against the lines.

    Args:
        weights: of the students.
        load: examples per weight.
        glass: where replica symmetry begins to fail; NaN where it does not.
        spinodal: where the state ends; NaN where it does not.
        unsolved: where the equations have no solution.
    """
    phase = np.full(unsolved.shape, Phase.POOR if weights == "ising" else Phase.SMOOTH, dtype="<U10")
    phase[unsolved] = Phase.NONE
    phase[np.broadcast_to((load >= glass) & ~(load > spinodal), unsolved.shape)] = Phase.SPIN_GLASS
    return phase


def check_load(load: ArrayLike) -> Array:
    """Give loads as an array, refused if one is not in (0, 1e9]."""
    return check_range("load", load, 0, _MOST, open_low=True)


def check_temperature(temperature: ArrayLike) -> Array:
    """Give temperatures as an array, refused if one is not in [0, 1e9]."""
    return check_range("temperature", temperature, 0, _MOST)
