"""Phases of learning: the plane of load and temperature, and the path of label noise and early stopping in it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from heavytail.cli.learning.grids import check_figure
from heavytail.cli.learning.shared import GRID, Answer, add_outputs, answer, arrays_of, kind_of, number_list
from heavytail.errors import RequestError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from heavytail.learning.perceptron import Perceptron
    from heavytail.learning.phases import PhaseDiagram
    from heavytail.learning.vsdl import VSDLPath
    from heavytail.terminal.learning import Table

__all__ = ["add"]

_LINES = {"ising": ("transition", "spinodal", "glass"), "spherical": ("glass",)}
"""Those that weights of a kind can have."""

_NOTES = {
    "ising": "transition: the perfect student has the lower free energy; spinodal: the poor one ends; glass: replica "
    "symmetry of the poor one fails; –: nowhere. In the plane (--json, --plot) a spin glass is that in equilibrium; "
    "beyond the transition, where the perfect student is, those that start at random stay poor (metastable) or in the "
    "glass (glass, metastable)",
    "spherical": "spherical weights learn smoothly: no transition and no spinodal; glass: replica symmetry fails; "
    "–: nowhere",
}
_MANY_LOADS, _MANY_TEMPERATURES = 100, 61  # of a figure


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the question to the verb."""
    phases = commands.add_parser(
        "phases",
        help="phases in the plane of load and temperature",
        description="Give the phases of a perceptron that learns, and the loads of its transition, spinodal and "
        "spin glass at each temperature. Ising weights without label noise are the very simple deep learning model "
        "(VSDL) of Martin and Mahoney (2017).",
        epilog="A list that begins with a minus sign is written with =, as in --path=-2,0.5,0.2,0.8.",
    )
    phases.add_argument("--weights", choices=("ising", "spherical"), default="ising", help="default: ising")
    phases.add_argument(
        "--label-noise", metavar="P", type=float, default=0.0, help="probability of a flip (default: 0)"
    )
    phases.add_argument("--loads", metavar="GRID", type=number_list, help=f"{GRID} (default: 0.04:4:100)")
    phases.add_argument("--temperatures", metavar="GRID", type=number_list, help="the same (default: 0:1.2:61)")
    phases.add_argument(
        "--path",
        metavar="LOAD,RANDOMISED,COLD,WARM",
        type=number_list,
        help="from A, clean labels at temperature COLD, over B, that fraction of them random, to C, at WARM; all are "
        "positive",
    )
    add_outputs(phases)
    phases.set_defaults(run=lambda options: answer(_solve, options), what="phases")


def _solve(options: argparse.Namespace) -> Answer:
    import numpy as np

    from heavytail.learning.perceptron import Perceptron
    from heavytail.learning.phases import phase_diagram
    from heavytail.learning.vsdl import VSDL
    from heavytail.terminal.learning import Column, Table

    path = None
    if options.path:
        if len(options.path) != 4:
            raise RequestError(f"--path has {len(options.path)} numbers; it must be LOAD,RANDOMISED,COLD,WARM")
        if options.label_noise:
            raise RequestError("--path brings the label noise of B and C; leave out --label-noise")
        path = VSDL(options.weights).path(*options.path)
    model = Perceptron(options.weights, options.label_noise)
    loads = np.array(options.loads or number_list("0.04:4:100"))
    temperatures = np.array(options.temperatures or number_list("0:1.2:61"))
    plane = _reach(loads, path, "effective_load"), _reach(temperatures, path, "temperature")
    check_figure(options.plot, 1, loads=plane[0], temperatures=plane[1])
    diagram = phase_diagram(model, loads, temperatures)
    lines, names = diagram.lines, _LINES[options.weights]
    title = f"Loads at which learning changes, {kind_of(options.weights)} weights, label noise {options.label_noise:g}"
    columns = [Column("temperature", temperatures, ".4g"), *(Column(name, getattr(lines, name)) for name in names)]
    tables = [Table(title, columns), *([_path_table(path)] if path else [])]
    notes = [_NOTES[options.weights]]
    if path:
        notes.append("model: clean labels at the effective load; exact: noisy labels at the whole load")
    results = {
        "loads": diagram.loads, "temperatures": diagram.temperatures, "error": diagram.error, "phase": diagram.phase,
        "random_start": diagram.random_start,
        "lines": {name: getattr(lines, name) for name in names},
        "path": _path_dict(path) if path else None,
    }  # fmt: skip
    settings = {"weights": options.weights, "label_noise": options.label_noise, "path": options.path}

    def draw() -> Figure:
        from heavytail.plots import phase_diagram as draw_phases

        return draw_phases(_finely(model, diagram, *plane), path)

    return Answer(settings, results, tables, notes, draw)


def _reach(asked: np.ndarray, path: VSDLPath | None, name: str) -> np.ndarray:
    """Give what was asked for along one axis, ascending, and what is needed to have a path well inside."""
    import numpy as np

    stops = [float(getattr(stop, name)) for stop in path.stops] if path else []
    outside = [0.9 * stop for stop in stops if stop <= asked.min()] + [
        1.1 * stop for stop in stops if stop >= asked.max()
    ]
    return np.unique([*asked, *outside])


def _finely(model: Perceptron, diagram: PhaseDiagram, loads: np.ndarray, temperatures: np.ndarray) -> PhaseDiagram:
    """Give the diagram over the plane of these values, on a dense grid unless it is already."""
    import numpy as np

    from heavytail.learning.phases import phase_diagram

    fine = [
        values if len(values) >= count else np.linspace(values[0], values[-1], count)
        for values, count in ((loads, _MANY_LOADS), (temperatures, _MANY_TEMPERATURES))
    ]
    same = np.array_equal(fine[0], diagram.loads) and np.array_equal(fine[1], diagram.temperatures)
    return diagram if same else phase_diagram(model, *fine)


def _path_table(path: VSDLPath) -> Table:
    from heavytail.terminal.learning import Column, Table

    stops = path.stops
    return Table(
        f"The path A, B, C at load {path.load:g}",
        [
            Column("stop", [stop.name for stop in stops]),
            Column("temperature", [stop.temperature for stop in stops], "g"),
            Column("randomised", [stop.randomised for stop in stops], "g"),
            Column("effective load", [stop.effective_load for stop in stops], "g"),
            *(
                column
                for kind in ("model", "exact")
                for column in (
                    Column(f"{kind} phase", [str(getattr(stop, kind).phase) for stop in stops]),
                    Column(f"{kind} error", [_valid_error(getattr(stop, kind)) for stop in stops]),
                )
            ),
        ],
    )


def _valid_error(state: object) -> float:
    """Give the error of a state; NaN in the spin glass, where the theory has none."""
    return float("nan") if state.phase == "spin glass" else float(state.error)  # type: ignore[attr-defined]


def _path_dict(path: VSDLPath) -> dict[str, object]:
    stops = [
        {
            **arrays_of(stop),
            "model": {"phase": stop.model.phase, "error": _valid_error(stop.model)},
            "exact": {"phase": stop.exact.phase, "error": _valid_error(stop.exact)},
        }
        for stop in path.stops
    ]
    return {"load": path.load, "stops": stops}
