"""The very simple deep learning model: two knobs, load and temperature (Martin and Mahoney 2017, arXiv 1710.09553)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import pi
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import xlogy

from heavytail.errors import RequestError
from heavytail.learning._arguments import check_number, check_range, check_weights
from heavytail.learning._gauss import Array, Real
from heavytail.learning.perceptron import Perceptron, PerceptronState, check_load, check_temperature
from heavytail.learning.phases import PhaseDiagram, phase_diagram
from heavytail.learning.results import LearningCurve

__all__ = ["VSDL", "VSDLPath", "VSDLStop"]


@dataclass(frozen=True, slots=True)
class VSDLStop:
    """A place on the path, as the model has it and as the perceptron that really has noisy labels does.

    Attributes:
        name: "A", "B" or "C".
        temperature: of the students.
        randomised: fraction of the labels that are random.
        effective_load: examples with true labels per weight, which the model takes for the load.
        model: of clean labels at the effective load.
        exact: of noisy labels at the whole load.
    """

    name: str
    temperature: float
    randomised: float
    effective_load: float
    model: PerceptronState
    exact: PerceptronState


@dataclass(frozen=True, slots=True)
class VSDLPath:
    """From A, clean labels, over B, some of them randomised, to C, where training is stopped early.

    Attributes:
        load: examples per weight, all along.
        stops: A, B and C.
    """

    load: float
    stops: tuple[VSDLStop, VSDLStop, VSDLStop]


@dataclass(frozen=True, slots=True)
class VSDL:
    """A network is a perceptron with an effective load and an effective temperature, and nothing else.

    The effective load is m_eff / N = (m - m_rand) / N: examples whose labels were randomised count for nothing. That
    is exact at high temperature alone; at any other, random labels do more harm (`load_ratio`), for students spend
    their freedom on them. Hebb's rule, the first step of gradient descent, has (1 - p)^2 in place of 1 - p. The
    temperature stands for what keeps training from its minimum, early stopping above all; the paper leaves it at
    "depends on 1 / t*". For linear networks `GradientFlow.temperature` gives it.

    Attributes:
        weights: "ising", with a transition, or "spherical", without one.

    Raises:
        RequestError: if there are no such weights.

    Example:
        >>> path = VSDL().path(load=2.0, randomised=0.5, cold=0.2, warm=0.8)
        >>> [str(stop.exact.phase) for stop in path.stops]
        ['perfect', 'spin glass', 'poor']
        >>> [str(stop.model.phase) for stop in path.stops]
        ['perfect', 'poor', 'poor']
    """

    weights: Literal["ising", "spherical"] = "ising"

    def __post_init__(self) -> None:  # noqa: D105
        check_weights(self.weights)

    def effective_load(self, load: ArrayLike, randomised: ArrayLike) -> Real:
        """Examples with true labels per weight: load (1 - randomised), of any shapes that broadcast."""
        return check_load(load) * (1 - check_share(randomised))

    def solve(self, load: ArrayLike, temperature: ArrayLike = 0.0, *, randomised: ArrayLike = 0.0) -> PerceptronState:
        """Give what the model says of a load and a temperature: clean labels, at the effective load."""
        return Perceptron(self.weights).solve(self.effective_load(load, randomised), temperature)

    def learning_curve(self, loads: ArrayLike, temperature: float = 0.0, *, randomised: float = 0.0) -> LearningCurve:
        """Give what the model says of the error along whole loads of shape (n,), positive."""
        share = check_number("randomised", check_share(randomised), 0, 1)
        curve = Perceptron(self.weights).learning_curve(self.effective_load(loads, share), temperature)
        return replace(curve, name="VSDL", loads=np.atleast_1d(check_load(loads)))

    def phase_diagram(self, loads: ArrayLike, temperatures: ArrayLike) -> PhaseDiagram:
        """Give the plane of effective load and temperature."""
        return phase_diagram(Perceptron(self.weights), loads, temperatures)

    def path(self, load: float, randomised: float, cold: float, warm: float) -> VSDLPath:
        """Walk from clean labels at a low temperature over randomised ones to a higher temperature.

        Args:
            load: examples per weight, positive.
            randomised: fraction of random labels at B and C, above 0 and below 1.
            cold: temperature of A and B.
            warm: temperature of C, above `cold`.

        Raises:
            RequestError: if an argument is out of range.
            ConvergenceError: if there is no state at one of the stops.
        """
        if not 0 < randomised < 1:
            raise RequestError(f"randomised is {randomised:g}; it must be above 0 and below 1")
        if not warm > cold:
            raise RequestError(f"warm is {warm:g}; it must be above cold, {cold:g}")

        def stop(name: str, share: float, temperature: float) -> VSDLStop:
            model = self.solve(load, temperature, randomised=share)
            exact = Perceptron(self.weights, share / 2).solve(load, temperature)
            return VSDLStop(name, temperature, share, float(self.effective_load(load, share)), model, exact)

        return VSDLPath(load, (stop("A", 0.0, cold), stop("B", randomised, cold), stop("C", randomised, warm)))

    def load_ratio(self, temperatures: ArrayLike, randomised: float) -> Array:
        """Transition of noisy labels, in effective loads, over that of clean ones: 1 where the model's load is exact.

        Below the Nishimori temperature of the noise the transition stays at one load, and the ratio is the frozen one.

        Args:
            temperatures: shape (n,), at least 0.
            randomised: fraction of random labels, in [0, 1).

        Raises:
            RequestError: for spherical weights, that have no transition, or if an argument is out of range.

        Example:
            >>> VSDL().load_ratio([0.5, 1.0, 5.0, 20.0], randomised=0.2).round(4)
            array([1.2858, 1.1078, 1.0171, 1.0041])
        """
        if self.weights != "ising":
            raise RequestError("only students with Ising weights have a transition")
        share = check_number("randomised", check_share(randomised), 0, 1)
        noisy, clean = Perceptron("ising", share / 2), Perceptron("ising")
        temperature = np.atleast_1d(check_temperature(temperatures))
        return np.asarray((1 - share) * noisy.transition(temperature) / clean.transition(temperature))

    def small_error_load(self, error: ArrayLike) -> Real:
        """Give the load of an error, of any shape in (0, 1], by the paper's expansion for small errors.

        Of spherical weights 1 / error (its equation 8), of Ising weights -pi^2 error ln error (equation 13). The latter
        has a maximum, pi^2 / e = 3.63, which is no transition: the expansion does not hold there.
        """
        error = check_range("error", error, 0, 1, open_low=True)
        return 1 / error if self.weights == "spherical" else -(pi**2) * xlogy(error, error)


def check_share(randomised: ArrayLike) -> Array:
    """Give randomised fractions as an array, refused if one is not in [0, 1)."""
    share = check_range("randomised", randomised, 0, 1)
    if (share == 1).any():
        raise RequestError("randomised is 1: no example tells of a teacher; see the storage capacities")
    return share
