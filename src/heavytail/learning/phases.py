"""Where a perceptron's learning changes in kind: transitions along the load, and the plane of load and temperature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline, PchipInterpolator

from heavytail.learning._branch import Branch
from heavytail.learning._gauss import Array
from heavytail.learning.perceptron import Perceptron, check_load, check_temperature, poor_phase
from heavytail.learning.results import Phase

__all__ = ["PhaseDiagram", "Transitions", "phase_diagram", "transitions"]


@dataclass(frozen=True, slots=True)
class Transitions:
    """Loads at which learning changes in kind, for each temperature; NaN where it does not; arrays of shape (n,).

    With label noise the lines of transition and glass meet at the Nishimori temperature: there the energy of the poor
    students is the label noise times the load, as is that of the perfect one, so equal free energies mean no entropy.
    Below, the poor students freeze before the transition, and a frozen free energy does not change with temperature
    (Krauth and Mezard 1989): the transition stays at one load.

    Attributes:
        temperature: of the students.
        transition: the perfect student has the lower free energy from here on (thermodynamic transition).
        spinodal: the poor students, metastable from the transition on, end here; below the glass line as replica
            symmetry has it.
        glass: replica symmetry of the poor students fails from here on: their entropy is negative (Ising weights), or
            the replicon is.
        replica_transition: the transition as replica symmetry has it, also below the Nishimori temperature, where it
            fails.
    """

    temperature: Array
    transition: Array
    spinodal: Array
    glass: Array
    replica_transition: Array


@dataclass(frozen=True, slots=True)
class PhaseDiagram:
    """The plane of load and temperature.

    Attributes:
        loads: shape (n,).
        temperatures: shape (m,).
        error: generalisation error of a student in equilibrium, shape (m, n); NaN in the spin glass; between the points
            of a table, to about 1e-4.
        phase: in equilibrium, shape (m, n), text, as `Perceptron.solve` has it.
        random_start: of students that start at random, shape (m, n), text: the poor ones as long as there are any.
        lines: the transitions at these temperatures.
    """

    loads: Array
    temperatures: Array
    error: Array
    phase: np.ndarray
    random_start: np.ndarray
    lines: Transitions

    @property
    def region(self) -> np.ndarray:
        """What a figure tells apart, shape (m, n): the phase, and where it is perfect what a random start meets first.

        That is "metastable" where it is poor, "metastable glass" where it is a spin glass.
        """
        waiting = self.phase == Phase.PERFECT
        region = np.where(waiting & (self.random_start == Phase.POOR), Phase.METASTABLE, self.phase)
        return np.where(waiting & (self.random_start == Phase.SPIN_GLASS), Phase.METASTABLE_GLASS, region)


def transitions(model: Perceptron, temperatures: ArrayLike) -> Transitions:
    """Give the loads at which learning changes in kind, for temperatures of shape (n,), at least 0.

    Example:
        >>> lines = transitions(Perceptron("ising"), [0.0, 1.0])
        >>> lines.transition.round(4), lines.spinodal.round(4), lines.glass.round(4)
        (array([1.2447, 2.3328]), array([1.4926, 2.8456]), array([1.2447,    nan]))
    """
    temperature = np.atleast_1d(check_temperature(temperatures)).ravel()
    return _lines(model, Branch.trace(model.weights, model.label_noise, temperature))


def _lines(model: Perceptron, branch: Branch) -> Transitions:
    transition = model.transition_on(branch)
    return Transitions(branch.temperature, transition, branch.fold.load, branch.glass(), branch.jump().load)


def phase_diagram(model: Perceptron, loads: ArrayLike, temperatures: ArrayLike) -> PhaseDiagram:
    """Give the diagram of a model over loads of shape (n,), positive, and temperatures of shape (m,), at least 0.

    Example:
        >>> phase_diagram(Perceptron("ising"), [1.0, 2.0, 3.0], [1.0]).phase
        array([['poor', 'poor', 'perfect']], dtype='<U10')
    """
    load = np.atleast_1d(check_load(loads)).ravel()
    temperature = np.atleast_1d(check_temperature(temperatures)).ravel()
    branch = Branch.trace(model.weights, model.label_noise, temperature)
    lines = _lines(model, branch)
    error = np.array([_poor_error(branch, row, load) for row in range(len(temperature))])
    random_start = poor_phase(model.weights, load, lines.glass[:, None], lines.spinodal[:, None], np.isnan(error))
    perfect = load >= lines.transition[:, None]
    random_start[perfect & (random_start == Phase.NONE)] = Phase.PERFECT
    phase = np.where(perfect, Phase.PERFECT, random_start)
    error[phase == Phase.SPIN_GLASS] = np.nan
    error[perfect] = 0.0
    return PhaseDiagram(load, temperature, error, phase, random_start, lines)


def _poor_error(branch: Branch, row: int, load: Array) -> Array:
    """Interpolate the error along the branch of one temperature; NaN beyond its end."""
    known = np.isfinite(branch.table.load[row])
    coordinates, loads, errors = (
        np.append(values[row][known], end[row])
        for values, end in (
            (branch.table.coordinate, branch.fold.coordinate),
            (branch.table.load, branch.fold.load),
            (branch.table.error, branch.fold.error),
        )
    )
    rising = np.append(True, loads[1:] > np.fmax.accumulate(loads)[:-1])  # not so where there is no fold, or saturation
    coordinates, loads, errors = coordinates[rising], loads[rising], errors[rising]
    where = PchipInterpolator(loads, coordinates, extrapolate=False)(np.maximum(load, loads[0]))
    return np.asarray(CubicSpline(coordinates, errors)(where))
