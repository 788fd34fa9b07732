r"""Two simpler theories of learning: the annealed one, and the limit of high temperature, where it is exact."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from math import pi
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize.elementwise import find_root

from heavytail.errors import ConvergenceError, RequestError
from heavytail.learning._arguments import broadcast_pair, check_name, check_range
from heavytail.learning._counting import spin_entropy
from heavytail.learning._gauss import Array, Real
from heavytail.learning.perceptron import check_student
from heavytail.learning.results import LearningCurve, Phase

__all__ = ["Annealed", "AnnealedState", "HighTemperature"]

_FIRST, _LAST = 1e-300, 300.0  # of the coordinate artanh R: 1 - R is 1e-260 at the last
_RESIDUAL = 1e-9  # beyond, a state is not given
_EXACT = {"xatol": 1e-14, "xrtol": 1e-14}


@dataclass(frozen=True, slots=True)
class AnnealedState:
    """Students in equilibrium by a theory of one order parameter; scalars, or arrays of one shape.

    Attributes:
        load: examples per weight.
        temperature: of the students.
        overlap: R, cosine of a student and the teacher.
        error: generalisation error of a student.
        free_entropy: -f/T per weight.
        phase: "smooth", "poor" or "perfect".
        residual: of the equation that R solves, relative.
    """

    load: Real
    temperature: Real
    overlap: Real
    error: Real
    free_entropy: Real
    phase: Real
    residual: Real


@dataclass(frozen=True, slots=True)
class _Theory(ABC):
    """A theory of the overlap alone: the free entropy is S(R) + load g(R), and the load a function of R.

    The coordinate is u = artanh R.
    """

    weights: Literal["spherical", "ising"] = "spherical"
    label_noise: float = 0.0

    def __post_init__(self) -> None:
        check_student(self.weights, self.label_noise)

    @abstractmethod
    def _gain(self, error: Array, temperature: Array) -> Array:
        """Give g: what an example adds to the free entropy of students of this error."""

    @abstractmethod
    def _slope(self, u: Array, temperature: Array) -> Array:
        """Give dg/du, positive."""

    def _wrong(self, error: Array) -> Array:
        """Give the probability that a student of this error has an example, as labelled, wrong."""
        return self.label_noise + (1 - 2 * self.label_noise) * error

    def _entropy(self, u: Array) -> Array:
        return np.asarray(-0.5 * np.log1p(np.sinh(u) ** 2)) if self.weights == "spherical" else spin_entropy(u)

    def _cost(self, u: Array) -> Array:
        """Give -dS/du."""
        return np.tanh(u) if self.weights == "spherical" else u / np.cosh(u) ** 2

    def _error(self, u: Array) -> Array:
        return np.asarray(np.arctan2(1, np.sinh(u)) / pi)

    def _error_slope(self, u: Array) -> Array:
        """Give -d error / du."""
        return np.asarray(1 / (pi * np.cosh(u)))

    def _load(self, u: Array, temperature: Array) -> Array:
        return self._cost(u) / self._slope(u, temperature)

    def _fold(self, temperature: Array) -> Array:
        """Give the coordinate of the spinodal: the first maximum of the load."""
        grid = np.linspace(0.01, 18.0, 1800)
        falling = np.diff(self._load(grid, temperature[:, None]), axis=1) < 0
        turn = np.argmax(falling, axis=1)

        def slope(u: Array, temperature: Array) -> Array:
            return self._load(u + 1e-5, temperature) - self._load(u - 1e-5, temperature)

        low, high = grid[np.maximum(turn - 1, 0)], grid[turn + 1]
        return np.asarray(find_root(slope, (low, high), args=(temperature,), tolerances=_EXACT).x)

    def spinodal(self, temperature: ArrayLike) -> Real:
        """Load at which the poor students of Ising weights end, for temperatures of any shape.

        Raises:
            RequestError: for spherical weights, whose learning has no spinodal.
        """
        return self._transitions(temperature)[0]

    def transition(self, temperature: ArrayLike) -> Real:
        """Load from which on the perfect student has the lower free energy, for temperatures of any shape.

        Raises:
            RequestError: for spherical weights, whose learning has no transition.
        """
        return self._transitions(temperature)[1]

    def _transitions(self, temperature: ArrayLike) -> tuple[Real, Real]:
        if not self._jumps:
            raise RequestError("only students with Ising weights and sign outputs have a transition")
        given = self._check(temperature)
        flat = np.atleast_1d(given).ravel()
        fold = self._fold(flat)

        def advantage(u: Array, temperature: Array) -> Array:
            gain = self._gain(self._error(u), temperature) - self._gain(np.zeros_like(u), temperature)
            return self._entropy(u) + self._load(u, temperature) * gain

        jump = find_root(advantage, (np.full_like(fold, 1e-3), fold), args=(flat,), tolerances=_EXACT).x
        spinodal, transition = (np.reshape(self._load(u, flat), given.shape)[()] for u in (fold, jump))
        return spinodal, transition

    @property
    def _jumps(self) -> bool:
        return self.weights == "ising"

    @staticmethod
    def _check(temperature: ArrayLike) -> Array:
        return check_range("temperature", temperature, 0)

    def solve(
        self, load: ArrayLike, temperature: ArrayLike, *, branch: Literal["equilibrium", "poor"] = "equilibrium"
    ) -> AnnealedState:
        """Solve for the overlap at loads and temperatures that broadcast against each other.

        Args:
            load: examples per weight, positive.
            temperature: at least 0; of the high-temperature theory above 0.
            branch: "equilibrium" has the state of least free energy, "poor" the one that grows from no load.

        Raises:
            RequestError: if an argument is out of range.
            ConvergenceError: if the poor state is asked for beyond its spinodal, or a load so large that the error is
                below 1e-130, or so small that the overlap is below 1e-300.
        """
        check_name("branch", branch, ("equilibrium", "poor"))
        loads, temperatures = broadcast_pair(check_range("load", load, 0, open_low=True), self._check(temperature))
        shape, loads, temperatures = loads.shape, loads.ravel(), temperatures.ravel()
        end, jump = np.full(loads.shape, _LAST), np.full(loads.shape, np.inf)
        if self._jumps:
            distinct, row = np.unique(temperatures, return_inverse=True)
            end, jump = self._fold(distinct)[row], np.atleast_1d(self.transition(distinct))[row]
        perfect = (loads >= jump) & (branch == "equilibrium")
        u = np.full(loads.shape, _LAST)
        u[~perfect] = self._coordinate(loads[~perfect], temperatures[~perfect], end[~perfect])
        error = np.where(perfect, 0.0, self._error(u))
        state = AnnealedState(
            load=loads,
            temperature=temperatures,
            overlap=np.where(perfect, 1.0, np.tanh(u)),
            error=error,
            free_entropy=np.where(perfect, 0, self._entropy(u)) + loads * self._gain(error, temperatures),
            phase=np.where(perfect, Phase.PERFECT, Phase.POOR if self._jumps else Phase.SMOOTH).astype("<U10"),
            residual=np.where(perfect, 0.0, np.abs(self._load(u, temperatures) / loads - 1)),
        )
        return AnnealedState(*(getattr(state, item.name).reshape(shape)[()] for item in fields(state)))

    def _coordinate(self, load: Array, temperature: Array, end: Array) -> Array:
        """Give u at each load, at most at its end; solved for ln u, so that all digits of a small overlap are found."""

        def excess(log_u: Array, load: Array, temperature: Array) -> Array:
            return np.asarray(np.log(self._load(np.exp(log_u), temperature) / load))

        with np.errstate(all="ignore"):  # what comes of it is refused
            low, high = np.full(load.shape, np.log(_FIRST)), np.log(end)
            _refuse(excess(low, load, temperature) > 0, load, temperature, "too small: the overlap is below 1e-300")
            beyond = load > self._load(end, temperature)
            folds = "above the spinodal: there is no poor state"
            _refuse(beyond, load, temperature, folds if self._jumps else "too large: the error is below 1e-130")
            found = find_root(excess, (low, high), args=(load, temperature))
            failed = ~(found.success & (np.abs(found.f_x) <= _RESIDUAL))
        _refuse(failed, load, temperature, "too hard: the overlap was not found")
        return np.asarray(np.exp(found.x))

    def learning_curve(self, loads: ArrayLike, temperature: float) -> LearningCurve:
        """Give the generalisation error in equilibrium along loads of shape (n,), positive."""
        state = self.solve(np.atleast_1d(loads), temperature)
        name = "annealed" if isinstance(self, Annealed) else "high temperature"
        residual = float(np.max(state.residual, initial=0.0))
        return LearningCurve(name, state.load, state.error, state.overlap, state.phase, residual)


def _refuse(where: np.ndarray, load: Array, temperature: Array, reason: str) -> None:
    """Raise an error that names the first load and temperature that has no such state."""
    if where.any():
        raise ConvergenceError(f"load {load[where][0]:g} is, at temperature {temperature[where][0]:g}, {reason}")


@dataclass(frozen=True, slots=True)
class Annealed(_Theory):
    r"""The annealed theory: the logarithm of the mean partition function in place of the mean of its logarithm.

    .. math:: -\beta f = S(R) + \alpha \ln \big[ 1 - (1 - e^{-\beta}) (\lambda + (1 - 2 \lambda) \epsilon(R)) \big]

    It is a bound of the free energy, exact at high temperature. At low temperature it puts Ising students' transition
    too late for clean labels (at temperature 0 at a load of 1.448, truly 1.245) and too early for noisier ones (1.659,
    truly 2.514, where a tenth is flipped). At temperature 0 its error is also the bound of Haussler, Kearns, Seung and
    Tishby (1996) at the transition (Seung, Sompolinsky and Tishby 1992).

    Attributes:
        weights: "spherical" or "ising".
        label_noise: probability of a flipped label, in [0, 1/2).

    Raises:
        RequestError: if there are no such weights, or the label noise is out of range.

    Example:
        >>> model = Annealed("ising")
        >>> print(f"{model.transition(0.0):.6f} {model.spinodal(0.0):.6f}")
        1.447966 1.730112
    """

    def _price(self, temperature: Array) -> Array:
        with np.errstate(divide="ignore", over="ignore"):
            return np.asarray(-np.expm1(-1 / temperature))

    def _gain(self, error: Array, temperature: Array) -> Array:
        return np.asarray(np.log1p(-self._price(temperature) * self._wrong(error)))

    def _slope(self, u: Array, temperature: Array) -> Array:
        price = self._price(temperature)
        return price * (1 - 2 * self.label_noise) * self._error_slope(u) / (1 - price * self._wrong(self._error(u)))


@dataclass(frozen=True, slots=True)
class HighTemperature(_Theory):
    r"""The limit of high temperature and many examples, at a fixed ratio: replicas decouple, and it is exact.

    .. math:: \beta f = \frac{\alpha}{T} (1 - 2 \lambda) \epsilon(R) - S(R)

    With a randomised fraction p = 2 lambda of the labels the load counts as (1 - p) times itself, exactly (Seung,
    Sompolinsky and Tishby 1992). With linear outputs the error is the mean squared one, 1 - R, and there is no
    transition.

    Attributes:
        weights: "spherical" or "ising".
        label_noise: probability of a flipped label, in [0, 1/2); 0 for linear outputs.
        output: "sign" or "linear".

    Raises:
        RequestError: if there are no such weights or output, or the label noise is out of range.

    Example:
        >>> model = HighTemperature("ising")
        >>> print(f"{model.transition(1.0):.6f} {model.spinodal(1.0):.6f}")
        1.695933 2.082070
        >>> state = HighTemperature("ising", output="linear").solve(load=2.0, temperature=1.0)
        >>> print(f"{state.overlap:.6f} {np.tanh(2.0):.6f}")
        0.964028 0.964028
    """

    output: Literal["sign", "linear"] = "sign"

    def __post_init__(self) -> None:  # noqa: D105
        check_student(self.weights, self.label_noise)
        if self.output not in ("sign", "linear"):
            raise RequestError(f"output is 'sign' or 'linear'; got {self.output!r}")
        if self.output == "linear" and self.label_noise:
            raise RequestError(
                f"label_noise is {self.label_noise:g}; linear outputs have no labels that could be flipped"
            )

    @staticmethod
    def _check(temperature: ArrayLike) -> Array:
        return check_range("temperature", temperature, 0, open_low=True)

    @property
    def _jumps(self) -> bool:
        return self.weights == "ising" and self.output == "sign"

    def _error(self, u: Array) -> Array:
        if self.output == "sign":
            return np.asarray(np.arctan2(1, np.sinh(u)) / pi)
        return np.asarray(2 / (1 + np.exp(2 * u)))

    def _error_slope(self, u: Array) -> Array:
        return np.asarray(1 / (pi * np.cosh(u)) if self.output == "sign" else 1 / np.cosh(u) ** 2)

    def _gain(self, error: Array, temperature: Array) -> Array:
        return -self._wrong(error) / temperature

    def _slope(self, u: Array, temperature: Array) -> Array:
        return (1 - 2 * self.label_noise) * self._error_slope(u) / temperature
