"""Learning curves: the generalisation error along the load, or along the temperature."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from heavytail.cli.learning.against import answer_against_temperature
from heavytail.cli.learning.grids import check_figure, dense, traced
from heavytail.cli.learning.regression import answer_regression
from heavytail.cli.learning.shared import GRID, Answer, add_outputs, answer, kind_of, number_list, place_of, whole
from heavytail.cli.learning.simulated import (
    add_simulation,
    check_simulation,
    check_size,
    out_of_equilibrium,
    points_of,
    simulate_some,
    table_of,
)
from heavytail.cli.learning.students import REGRESSION, STUDENTS, Settings, chosen
from heavytail.errors import RequestError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from heavytail.learning.results import LearningCurve, Simulation
    from heavytail.terminal.learning import Table

__all__ = ["add"]

_NOWHERE = "the theory has no solution there"
_TITLES = {
    "gibbs": "Gibbs", "bayes": "Bayes", "hebb": "Hebb", "pseudo-inverse": "pseudo-inverse",
    "annealed": "annealed (approximation)", "high-temperature": "high temperature (approximation)",
}  # fmt: skip
"""Names of students that are not just those of the command line with spaces."""

_RUNS = 20  # the most that a student has by default


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
        epilog=f"Students: {', '.join(STUDENTS)}, the last two of which are approximations to gibbs; {REGRESSION}, "
        "alone, is ridge regression of a linear teacher. A list that begins with a minus sign is written with =, as in "
        "--loads=-1,2.",
    )
    curve.add_argument(
        "students",
        metavar="STUDENT",
        nargs="*",
        help="see below (default: all that have such weights, no approximation)",
    )
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
    add_simulation(curve, "weights")
    curve.add_argument("--start", choices=("random", "teacher"), help="of walks: gibbs and vote (default: random)")
    curve.add_argument("--sweeps", metavar="N", type=whole, help="of walks, of which half are measured (default: 1000)")
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
    if any(options.temperature) and not any(STUDENTS[name].warm for name in names):
        with_one = ", ".join(name for name, student in STUDENTS.items() if student.warm)
        raise RequestError(f"--temperature is of {with_one}; {', '.join(names)}: no temperature to choose")
    loads = np.array(options.loads or number_list("0.1:10:200"))
    places = _places(names, options)
    how = _how_simulated(names, places, options)
    check_size(options.simulate, loads, options.runs or _RUNS)
    check_figure(options.plot, len(places), loads=loads)
    found = [_trace(name, place, loads, options, number, how) for number, (name, place) in enumerate(places)]
    settings = {
        "students": names, "weights": options.weights, "label_noise": options.label_noise,
        "temperature": options.temperature, "simulate": options.simulate, "seed": options.seed or 0, **how,
    }  # fmt: skip
    notes = [*_notes(found), *_notes_on_walks(found, options.start or "random")]
    return Answer(settings, _results(loads, found), _tables(loads, found, options), notes, lambda: _draw(found))


def _how_simulated(
    names: Sequence[str], places: Sequence[tuple[str, Settings]], options: argparse.Namespace
) -> dict[str, Any]:
    """Give what was said about simulations.

    Raises:
        RequestError: if some of it would be ignored.
    """
    how = check_simulation(options, "start", "sweeps")
    if options.simulate is None:
        return how
    for name in names:
        if not STUDENTS[name].sampler:
            raise RequestError(f"{name} is an approximate theory; no student can be simulated that learns so")
    if ("start" in how or "sweeps" in how) and not any(STUDENTS[name].walks for name in names):
        raise RequestError("--start and --sweeps are of walks: gibbs and vote")
    if options.start == "random" and any(STUDENTS[name].walks and _is_version_space(place) for name, place in places):
        raise RequestError("--start random: clean spherical students at temperature 0 are walked from the teacher")
    return how


def _is_version_space(place: Settings) -> bool:
    return place.weights == "spherical" and place.temperature == 0 == place.label_noise


def _places(names: Sequence[str], options: argparse.Namespace) -> list[tuple[str, Settings]]:
    """Give each student with each label noise, and each temperature if it has one."""
    return [
        (name, Settings(options.weights, noise, temperature))
        for name in names
        for noise in options.label_noise
        for temperature in (options.temperature if STUDENTS[name].warm else (0.0,))
    ]


def _trace(
    name: str, place: Settings, loads: np.ndarray, options: argparse.Namespace, number: int, how: dict[str, Any]
) -> _Traced:
    student = STUDENTS[name]
    label = _TITLES.get(name, name.replace("-", " "))
    if len(options.label_noise) > 1:
        label += f", label noise {place.label_noise:g}"
    if student.warm and len(options.temperature) > 1:
        label += f", temperature {place.temperature:g}"
    curve, reason = student.curve(place, loads, label)
    drawn: Sequence[Simulation] = ()
    if options.simulate is not None:
        said = how if student.walks else {key: value for key, value in how.items() if key == "runs"}
        drawn = simulate_some(
            lambda load, rng: student.simulate(place, options.simulate, load, rng, **said),
            loads, options.seed or 0, number,
        )  # fmt: skip
    return _Traced(name, place, curve, reason, drawn)


def _results(loads: np.ndarray, found: Sequence[_Traced]) -> dict[str, object]:
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
            for one in found
        ],
    }


def _tables(loads: np.ndarray, found: Sequence[_Traced], options: argparse.Namespace) -> list[Table]:
    from heavytail.terminal.learning import Column, Table

    title = f"Generalisation error, {kind_of(options.weights)} weights"
    if len(options.label_noise) == 1 and options.label_noise[0]:
        title += f", label noise {options.label_noise[0]:g}"
    if len(options.temperature) == 1 and options.temperature[0]:
        title += f", temperature {options.temperature[0]:g}"
    columns = [Column("load", loads, ".4g"), *(Column(one.curve.name, one.curve.error) for one in found)]
    drawn = [table_of(f"of {one.curve.name}", one.simulations) for one in found if one.simulations]
    return [Table(title, columns), *drawn]


def _notes(found: Sequence[_Traced]) -> list[str]:
    """Say of each curve where it is empty, and why."""
    import numpy as np

    notes = []
    for one in found:
        for phase in ("spin glass", "none"):
            loads = one.curve.loads[(one.curve.phase == phase) & np.isnan(one.curve.error)]
            if len(loads):
                why = "replica symmetry fails there" if phase == "spin glass" else one.reason or _NOWHERE
                notes.append(f"{one.curve.name}: no answer at {place_of('load', loads)}: {why}")
    return notes


def _notes_on_walks(found: Sequence[_Traced], start: str) -> list[str]:
    """Say at which loads simulated walks are not in equilibrium."""
    from heavytail.learning.perceptron import Perceptron

    notes = []
    for one in found:
        if not one.simulations or not STUDENTS[one.student].walks:
            continue
        place = one.settings
        model = Perceptron(place.weights, place.label_noise)  # type: ignore[arg-type]
        if loads := out_of_equilibrium(model, place.temperature, one.simulations):
            whence = "random weights" if start == "random" and not _is_version_space(place) else "the teacher"
            where = ", ".join(f"{load:.4g}" for load in loads)
            notes.append(
                f"{one.curve.name}: walks from {whence} that are not in equilibrium: load{'s' * (len(loads) > 1)} "
                f"{where}; their points are no test of the theory (more --sweeps, or another --start)"
            )
    return notes


def _draw(found: Sequence[_Traced]) -> Figure:
    """Draw the curves along many loads, the loads asked for marked where they are few."""
    from heavytail.plots import learning_curves
    from heavytail.plots.style import of_students

    students = [one.student for one in found]
    return learning_curves(
        [_finely(one) for one in found],
        {one.curve.name: one.simulations for one in found if one.simulations},
        colours=of_students(students),
        dashed=[one.curve.name for one in found if not STUDENTS[one.student].sampler],
        marks=found[0].curve.loads,
    )


def _finely(one: _Traced) -> LearningCurve:
    """Give the curve along many loads, and exact where its phase changes."""
    from heavytail.learning.results import LearningCurve

    def solve(loads: np.ndarray) -> dict[str, np.ndarray]:
        curve, _ = STUDENTS[one.student].curve(one.settings, loads, one.curve.name)
        return {"error": curve.error, "overlap": curve.overlap, "phase": curve.phase}

    loads, arrays = traced(solve, dense(one.curve.loads), lambda found: found["phase"])
    return LearningCurve(one.curve.name, loads, residual=one.curve.residual, **arrays)
