"""The students that the command line knows: which model each one is, and what it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from heavytail.cli.learning.shared import solve_where_possible
from heavytail.errors import ConvergenceError, RequestError

if TYPE_CHECKING:
    import numpy as np

    from heavytail.learning.results import LearningCurve, Simulation

__all__ = ["REGRESSION", "STUDENTS", "Settings", "Student", "chosen"]

REGRESSION = "regression"
_BOTH = ("spherical", "ising")
_HIGH = "high-temperature"


@dataclass(frozen=True, slots=True)
class Settings:
    """One place of a student: everything but the load.

    Attributes:
        weights: "spherical" or "ising".
        label_noise: flip probability.
        temperature: of the students that have one.
    """

    weights: str
    label_noise: float
    temperature: float


@dataclass(frozen=True, slots=True)
class Student:
    """How a student learns, or what an approximate theory has it learn.

    Attributes:
        weights: that it can have.
        model: makes its model.
        warm: whether it has a temperature that can be chosen.
        heat: temperature of its learning curve, for a model whose curve has one.
        vote: whether the curve is that of the vote of many students.
        sampler: makes the model that is simulated; None for a theory that no student follows.
        quantity: of the simulation.
    """

    weights: tuple[str, ...]
    model: Callable[[Settings], Any]
    warm: bool = False
    heat: Callable[[Settings], float] | None = None
    vote: bool = False
    sampler: Callable[[Settings], Any] | None = None
    quantity: str = "error"

    def curve(self, settings: Settings, loads: np.ndarray, name: str) -> tuple[LearningCurve, str]:
        """Give the curve, empty where there is no solution, and why it is."""
        from heavytail.learning.results import LearningCurve

        model, heat = self.model(settings), (self.heat(settings),) if self.heat else ()
        more = {"vote": True} if self.vote else {}
        found, reason = solve_where_possible(
            lambda part: model.learning_curve(part, *heat, **more), loads, LearningCurve
        )
        empty = loads[found["phase"] == "none"]
        if len(empty) and not reason:  # the curve only says where; the solver says why
            reason = _refusal(lambda: model.solve(empty[0], *heat))
        residual = found["residual"]
        worst = float(residual[residual == residual].max(initial=0.0))
        return LearningCurve(name, loads, found["error"], found["overlap"], found["phase"], worst), reason

    @property
    def walks(self) -> bool:
        """Whether it is simulated by a walk that takes time to reach equilibrium."""
        return self.warm and self.sampler is not None

    def simulate(self, settings: Settings, n: int, load: float, rng: np.random.Generator, **how: Any) -> Simulation:
        """Simulate n weights; the generalisation error is called so whatever the model calls it."""
        assert self.sampler is not None
        heat = (settings.temperature,) if self.warm else ()
        found: Simulation = self.sampler(settings).simulate(n, load, *heat, seed=rng, **how)
        return replace(found, samples={**found.samples, "error": found.samples[self.quantity]})


def _refusal(solve: Callable[[], object]) -> str:
    """Give the reason for which there is no solution."""
    try:
        solve()
    except ConvergenceError as error:
        return str(error)
    return ""


def _perceptron(settings: Settings) -> Any:
    from heavytail.learning.perceptron import Perceptron

    return Perceptron(settings.weights, settings.label_noise)  # type: ignore[arg-type]


def _message_passing(settings: Settings) -> Any:
    from heavytail.learning.amp import ApproximateMessagePassing

    return ApproximateMessagePassing(settings.weights, settings.label_noise)  # type: ignore[arg-type]


def _named(module: str, name: str, *, with_weights: bool = False) -> Callable[[Settings], Any]:
    """Give what makes a model of that name, imported when it is made."""

    def make(settings: Settings) -> Any:
        from importlib import import_module

        model = getattr(import_module(f"heavytail.learning.{module}"), name)
        return model(*([settings.weights] if with_weights else []), label_noise=settings.label_noise)

    return make


def _rule(module: str, name: str) -> Student:
    make = _named(module, name)
    return Student(("spherical",), make, sampler=make)


def _chosen(settings: Settings) -> float:
    return settings.temperature


def _best(settings: Settings) -> float:
    return float(_perceptron(settings).nishimori_temperature)


STUDENTS: Mapping[str, Student] = {
    "gibbs": Student(_BOTH, _perceptron, True, _chosen, sampler=_perceptron),
    "vote": Student(_BOTH, _perceptron, True, _chosen, vote=True, sampler=_perceptron, quantity="vote_error"),
    "bayes": Student(_BOTH, _perceptron, heat=_best, vote=True, sampler=_message_passing),
    "hebb": _rule("rules", "Hebb"),
    "pseudo-inverse": _rule("rules", "PseudoInverse"),
    "maximum-stability": _rule("stability", "MaximumStability"),
    "best-ridge": _rule("rules", "RidgeClassifier"),
    "optimal-online": _rule("online", "OptimalOnline"),
    "online-perceptron": _rule("online", "OnlinePerceptron"),
    "annealed": Student(_BOTH, _named("annealed", "Annealed", with_weights=True), True, _chosen),
    "high-temperature": Student(_BOTH, _named("annealed", "HighTemperature", with_weights=True), True, _chosen),
}


def chosen(names: Sequence[str], weights: str, temperatures: Sequence[float]) -> tuple[str, ...]:
    """Give the students asked for, or all those that there are with these weights and temperatures, but no theories.

    Raises:
        RequestError: for a student that there is not, or not with these weights or temperatures.
    """
    if not names:
        hot = max(temperatures) > 0
        students = [name for name, student in STUDENTS.items() if student.sampler and weights in student.weights]
        return tuple(name for name in students if hot or name != "vote")
    for name in names:
        if name not in STUDENTS and name != REGRESSION:
            raise RequestError(f"there is no student {name!r}; there are {', '.join((*STUDENTS, REGRESSION))}")
        if name == REGRESSION:
            raise RequestError(f"{REGRESSION} has another kind of error; ask for it alone")
        if weights not in STUDENTS[name].weights:
            raise RequestError(f"{name} has spherical weights; --weights is {weights}")
        if name == _HIGH and min(temperatures) <= 0:
            raise RequestError(f"{_HIGH} needs --temperature above 0; it is {min(temperatures):g}")
    return tuple(dict.fromkeys(names))
