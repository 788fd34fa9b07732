"""Memories: what the Hopfield network retrieves, and its phases."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any

from heavytail.cli.learning.grids import check_figure, dense, traced
from heavytail.cli.learning.shared import (
    GRID,
    Answer,
    add_outputs,
    answer,
    arrays_of,
    number_list,
    place_of,
    solve_where_possible,
)
from heavytail.cli.learning.simulated import (
    add_simulation,
    check_simulation,
    check_size,
    points_of,
    simulate_some,
    table_of,
)
from heavytail.errors import RequestError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from heavytail.learning.hopfield import Hopfield
    from heavytail.learning.results import Simulation
    from heavytail.terminal.learning import Table

__all__ = ["add"]


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the question to the verb."""
    memory = commands.add_parser(
        "memory",
        help="retrieval in the Hopfield network",
        description="Give the overlap with the retrieved pattern in the Hopfield network, or its phase diagram, in the "
        "theory of Amit, Gutfreund and Sompolinsky.",
    )
    memory.add_argument("--loads", metavar="GRID", type=number_list, help=f"{GRID} (default: 0.001:0.15:150)")
    memory.add_argument("--temperature", metavar="LIST", type=number_list, help="default: 0")
    memory.add_argument("--phases", action="store_true", help="the temperatures at which the phases end, instead")
    add_simulation(memory, "spins")
    add_outputs(memory)
    memory.set_defaults(run=lambda options: answer(_solve, options), what="memory")


def _solve(options: argparse.Namespace) -> Answer:
    import numpy as np

    loads = np.array(options.loads or number_list("0.001:0.15:150"))
    if options.phases:
        if options.simulate is not None or options.temperature:
            raise RequestError(
                "memory --phases is of theory at all temperatures; leave out --simulate and --temperature"
            )
        check_simulation(options)
        check_figure(options.plot, 1, loads=[0.0, float(loads.max())])
        return _phases(loads)
    return _retrieval(loads, options)


def _phases(loads: np.ndarray) -> Answer:
    from heavytail.learning.hopfield import Hopfield
    from heavytail.terminal.learning import Column, Table

    found = Hopfield().phases(loads)
    lines = arrays_of(found)
    columns = [Column("load", loads, ".4g"), *(Column(name, lines[name]) for name in lines if name != "load")]
    notes = [
        "below glass, spins freeze; below retrieval, there is a retrieval state; below equilibrium, it has the least "
        "free energy; below broken, it breaks replica symmetry; –: at no temperature"
    ]

    def draw() -> Figure:
        from heavytail.plots import hopfield_phases

        return hopfield_phases(Hopfield().phases(dense([0.0, *loads])))

    tables = [Table("Temperatures at which the phases of the Hopfield network end", columns)]
    return Answer({"phases": True}, lines, tables, notes, draw)


def _retrieval(loads: np.ndarray, options: argparse.Namespace) -> Answer:
    import numpy as np

    from heavytail.learning.hopfield import Hopfield, MemoryState
    from heavytail.terminal.learning import Column, Table

    model = Hopfield()
    temperatures = tuple(dict.fromkeys(options.temperature or (0.0,)))
    how = check_simulation(options)
    check_size(options.simulate, loads)
    check_figure(options.plot, len(temperatures), loads=loads)
    states: dict[float, dict[str, Any]] = {}
    drawn: dict[float, list[Simulation]] = {}
    notes = []
    columns = [Column("load", loads, ".4g")]
    for number, heat in enumerate(temperatures):
        states[heat], reason = solve_where_possible(partial(model.solve, temperature=heat), loads, MemoryState)
        if reason:
            empty = loads[np.isnan(states[heat]["overlap"])]
            notes.append(f"no answer at {place_of('load', empty)}: {reason}")
        of = f", temperature {heat:g}" if len(temperatures) > 1 else ""
        overlap = states[heat]["overlap"]
        columns += [Column(f"overlap{of}", overlap, ".5f"), Column(f"wrong spins{of}", (1 - overlap) / 2, ".3%")]
        if options.simulate is not None:
            simulate = partial(_simulate, model, options.simulate, heat, how)
            drawn[heat] = simulate_some(simulate, loads, options.seed or 0, number)
    results = {
        "loads": loads,
        "states": [
            {**state, "load": loads, "temperature": heat, "simulations": points_of(drawn.get(heat, ()), "overlap")}
            for heat, state in states.items()
        ],
    }
    title = "Retrieval in the Hopfield network" + (
        f", temperature {temperatures[0]:g}" if len(temperatures) == 1 else ""
    )
    tables: list[Table] = [Table(title, columns)]
    tables += [table_of(f"at temperature {heat:g}", points, "overlap") for heat, points in drawn.items()]

    def draw() -> Figure:
        from heavytail.plots import memory_curves

        return memory_curves({heat: _finely(model, loads, heat) for heat in temperatures}, drawn, marks=loads)

    settings = {"temperature": temperatures, "simulate": options.simulate, "seed": options.seed or 0, **how}
    return Answer(settings, results, tables, notes, draw)


def _finely(model: Hopfield, loads: np.ndarray, heat: float) -> tuple[np.ndarray, np.ndarray]:
    """Give the overlap along many loads, and exact where retrieval ends."""
    import numpy as np

    from heavytail.learning.hopfield import MemoryState

    def solve(part: np.ndarray) -> dict[str, np.ndarray]:
        state, _ = solve_where_possible(partial(model.solve, temperature=heat), part, MemoryState)
        return {"overlap": state["overlap"]}

    fine, found = traced(solve, dense(loads), lambda found: np.isfinite(found["overlap"]))
    return fine, found["overlap"]


def _simulate(
    model: Hopfield, n: int, heat: float, how: dict[str, Any], load: float, rng: np.random.Generator
) -> Simulation:
    return model.simulate(n, load, heat, seed=rng, **how)
