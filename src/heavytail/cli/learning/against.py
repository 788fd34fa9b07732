"""The error along the temperature, for one student and for the vote of many, of labels with noise."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

from heavytail.cli.learning.grids import check_figure, dense, traced
from heavytail.cli.learning.shared import Answer, kind_of, number_list, place_of, solve_where_possible
from heavytail.cli.learning.simulated import check_simulation
from heavytail.errors import RequestError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from heavytail.learning.perceptron import Perceptron
    from heavytail.terminal.learning import Column

__all__ = ["answer_against_temperature"]

_MANY = 79  # temperatures of a figure
_ERRORS = {"gibbs": ("Gibbs", "error"), "vote": ("vote", "vote_error")}


def answer_against_temperature(options: argparse.Namespace) -> Answer:
    """Answer for one load and each label noise."""
    import numpy as np

    from heavytail.learning.perceptron import Perceptron
    from heavytail.terminal.learning import Table

    names = _students(options)
    load = float(options.loads[0])
    temperatures = np.array(options.temperatures or number_list("0.05:2:79"))
    found, notes, columns = [], [], []
    check_figure(options.plot, len(names) * len(options.label_noise), temperatures=temperatures)
    for noise in options.label_noise:
        model = Perceptron(options.weights, noise)
        state, reason = _solve(model, load, temperatures)
        best = model.nishimori_temperature
        found.append({"label_noise": noise, "nishimori_temperature": best, **state, "temperature": temperatures})
        columns += _columns(names, state, f", label noise {noise:g}" if len(options.label_noise) > 1 else "")
        notes += _notes(noise, best, state, temperatures, reason)
    settings = {
        "students": names, "weights": options.weights, "label_noise": options.label_noise, "load": load,
        "against": "temperature",
    }  # fmt: skip
    title = f"Generalisation error at load {load:g}, {kind_of(options.weights)} weights"
    table = Table(title, [_temperatures(temperatures), *columns])

    def draw() -> Figure:
        from heavytail.plots import error_against_temperature

        return error_against_temperature([finely(one) for one in found], [_ERRORS[name] for name in names])

    def finely(one: dict[str, object]) -> dict[str, object]:
        """Give the errors along many temperatures, if there were few."""
        if len(temperatures) >= _MANY:
            return one
        model = Perceptron(options.weights, float(one["label_noise"]))  # type: ignore[arg-type]
        values, state = traced(
            lambda part: _solve(model, load, part)[0], dense(temperatures, _MANY), lambda state: state["phase"]
        )
        return {**one, **state, "temperature": values}

    return Answer(settings, {"temperatures": temperatures, "curves": found}, [table], notes, draw)


def _solve(model: Perceptron, load: float, temperatures: np.ndarray) -> tuple[dict[str, np.ndarray], str]:
    """Solve at one load, errors left empty in the spin glass."""
    import numpy as np

    from heavytail.learning.perceptron import PerceptronState

    state, reason = solve_where_possible(partial(model.solve, load), temperatures, PerceptronState)
    for field in ("error", "vote_error"):
        state[field] = np.where(state["phase"] == "spin glass", np.nan, state[field])
    return state, reason


def _students(options: argparse.Namespace) -> list[str]:
    """Give the students asked for; both by default.

    Raises:
        RequestError: if there is one without a temperature, or something that does not go with temperatures.
    """
    names = options.students or list(_ERRORS)
    for name in names:
        if name not in _ERRORS:
            raise RequestError(f"--against temperature has the students {' and '.join(_ERRORS)}; got {name!r}")
    if options.loads is None or len(options.loads) != 1:
        raise RequestError("--against temperature needs one load: --loads NUMBER")
    if options.temperature != (0.0,):
        raise RequestError("--against temperature takes --temperatures, not --temperature")
    if options.simulate is not None:
        raise RequestError("--simulate goes with curves along the load")
    check_simulation(options, "start", "sweeps")
    return names


def _temperatures(values: np.ndarray) -> Column:
    from heavytail.terminal.learning import Column

    return Column("temperature", values, ".4g")


def _columns(names: list[str], state: dict[str, np.ndarray], suffix: str) -> list[Column]:
    from heavytail.terminal.learning import Column

    return [Column(title + suffix, state[field]) for title, field in (_ERRORS[name] for name in names)]


def _notes(noise: float, best: float, state: dict[str, np.ndarray], values: np.ndarray, reason: str) -> list[str]:
    """Say where the Nishimori temperature is, and where there is no answer."""
    notes = []
    if noise:
        notes.append(f"label noise {noise:g}: the Nishimori temperature, at which the vote is best, is {best:.5g}")
    glass = values[state["phase"] == "spin glass"]
    if len(glass):
        where = place_of("temperature", glass)
        notes.append(f"label noise {noise:g}: no answer at {where}: replica symmetry fails there")
    if reason:
        notes.append(f"no answer at {place_of('temperature', values[state['phase'] == 'none'])}: {reason}")
    return notes
