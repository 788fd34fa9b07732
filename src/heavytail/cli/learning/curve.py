"""Learning curves: the generalisation error along the load, or along the temperature."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from heavytail.cli.learning.against import answer_against_temperature
from heavytail.cli.learning.regression import answer_regression
from heavytail.cli.learning.shared import GRID, Answer, add_outputs, add_seed, answer, number_list, place_of, whole
from heavytail.cli.learning.simulated import points_of, simulate_some, table_of
from heavytail.cli.learning.students import REGRESSION, STUDENTS, Settings, chosen
from heavytail.errors import RequestError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from heavytail.learning.results import LearningCurve, Simulation
    from heavytail.terminal.learning import Table

__all__ = ["add"]

_NOWHERE = "the theory has no solution there"
_TITLES = {"gibbs": "Gibbs", "bayes": "Bayes", "hebb": "Hebb", "pseudo-inverse": "pseudo-inverse"}
"""Names of students that are not just those of the command line with spaces."""


@dataclass(frozen=True, slots=True)
class _Traced:
    """A student at one place, its curve, and its simulations."""

    student: str
    settings: Settings
    curve: LearningCurve
    reason: str
    simulations: Sequence[Simulation]


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the question to the verb."""
    curve = commands.add_parser(
        "curve",
        help="generalisation error along the load",
        description="Give the generalisation error of students that learn from a teacher, along the load or the "
        "temperature.",
        epilog=f"Students: {', '.join(STUDENTS)}; {REGRESSION}, alone, is ridge regression of a linear teacher.",
    )
    curve.add_argument("students", metavar="STUDENT", nargs="*", help="see below (default: all that have such weights)")
    curve.add_argument("--weights", choices=("spherical", "ising"), default="spherical", help="default: spherical")
    curve.add_argument("--loads", metavar="GRID", type=number_list, help=f"{GRID} (default: 0.1:10:200)")
    curve.add_argument("--temperature", metavar="LIST", type=number_list, default=(0.0,), help="default: 0")
    curve.add_argument(
        "--label-noise", metavar="LIST", type=number_list, default=(0.0,), help="probability of a flip (default: 0)"
    )
    curve.add_argument(
        "--against", choices=("load", "temperature"), default="load", help="what the curve is along (default: load)"
    )
    curve.add_argument(
        "--temperatures", metavar="GRID", type=number_list, help="with --against temperature (default: 0.05:2:79)"
    )
    curve.add_argument(
        "--noise", metavar="LIST", type=number_list, help="regression: variance of the noise (default: 0.2)"
    )
    curve.add_argument("--penalty", metavar="LIST", help="regression: ridge penalties, or best (default: 0,best)")
    curve.add_argument("--simulate", metavar="N", type=whole, help="simulate N weights at a few loads, too")
    add_seed(curve)
    add_outputs(curve)
    curve.set_defaults(run=lambda options: answer(_solve, options), what="curve")


def _solve(options: argparse.Namespace) -> Answer:
    if options.temperatures and options.against != "temperature":
        raise RequestError("--temperatures goes with --against temperature; --temperature has those of the curves")
    if options.students == [REGRESSION]:
        return answer_regression(options)
    if options.noise or options.penalty:
        raise RequestError(f"--noise and --penalty are of {REGRESSION}; perceptrons have --label-noise")
    if options.against == "temperature":
        return answer_against_temperature(options)
    return _along_the_load(options)


def _along_the_load(options: argparse.Namespace) -> Answer:
    import numpy as np

    names = chosen(options.students, options.weights, options.temperature)
    loads = np.array(options.loads or number_list("0.1:10:200"))
    traced = [
        _trace(name, settings, loads, options, number)
        for number, (name, settings) in enumerate(_places(names, options))
    ]
    settings = {
        "students": names, "weights": options.weights, "label_noise": options.label_noise,
        "temperature": options.temperature, "simulate": options.simulate, "seed": options.seed,
    }  # fmt: skip
    return Answer(
        settings, _results(loads, traced), _tables(loads, traced, options), _notes(traced), lambda: _draw(traced)
    )


def _places(names: Sequence[str], options: argparse.Namespace) -> list[tuple[str, Settings]]:
    """Give each student with each label noise, and each temperature if it has one."""
    return [
        (name, Settings(options.weights, noise, temperature))
        for name in names
        for noise in options.label_noise
        for temperature in (options.temperature if STUDENTS[name].warm else (0.0,))
    ]


def _trace(name: str, place: Settings, loads: np.ndarray, options: argparse.Namespace, number: int) -> _Traced:
    student = STUDENTS[name]
    label = _TITLES.get(name, name.replace("-", " "))
    if len(options.label_noise) > 1:
        label += f", label noise {place.label_noise:g}"
    if student.warm and len(options.temperature) > 1:
        label += f", temperature {place.temperature:g}"
    curve, reason = student.curve(place, loads, label)
    drawn: Sequence[Simulation] = ()
    if options.simulate is not None and student.sampler:
        drawn = simulate_some(
            lambda load, rng: student.simulate(place, options.simulate, load, rng), loads, options.seed, number
        )
    return _Traced(name, place, curve, reason, drawn)


def _results(loads: np.ndarray, traced: Sequence[_Traced]) -> dict[str, object]:
    return {
        "loads": loads,
        "curves": [
            {
                "student": one.student,
                "name": one.curve.name,
                "label_noise": one.settings.label_noise,
                "temperature": one.settings.temperature if STUDENTS[one.student].warm else None,
                "error": one.curve.error,
                "overlap": one.curve.overlap,
                "phase": one.curve.phase,
                "residual": one.curve.residual,
                "simulations": points_of(one.simulations),
            }
            for one in traced
        ],
    }


def _tables(loads: np.ndarray, traced: Sequence[_Traced], options: argparse.Namespace) -> list[Table]:
    from heavytail.terminal.learning import Column, Table

    title = f"Generalisation error, {options.weights} weights"
    if len(options.label_noise) == 1 and options.label_noise[0]:
        title += f", label noise {options.label_noise[0]:g}"
    if len(options.temperature) == 1 and options.temperature[0]:
        title += f", temperature {options.temperature[0]:g}"
    columns = [Column("load", loads, ".4g"), *(Column(one.curve.name, one.curve.error) for one in traced)]
    drawn = [table_of(one.curve.name, one.simulations) for one in traced if one.simulations]
    return [Table(title, columns), *drawn]


def _notes(traced: Sequence[_Traced]) -> list[str]:
    """Say of each curve where it is empty, and why."""
    import numpy as np

    notes = []
    for one in traced:
        for phase in ("spin glass", "none"):
            loads = one.curve.loads[(one.curve.phase == phase) & np.isnan(one.curve.error)]
            if len(loads):
                why = "replica symmetry fails there" if phase == "spin glass" else one.reason or _NOWHERE
                notes.append(f"{one.curve.name}: no answer at {place_of('load', loads)}: {why}")
    return notes


def _draw(traced: Sequence[_Traced]) -> Figure:
    from heavytail.plots import learning_curves

    drawn = {one.curve.name: one.simulations for one in traced if one.simulations}
    return learning_curves([one.curve for one in traced], drawn)
