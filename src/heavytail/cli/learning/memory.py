"""Memories: what the Hopfield network retrieves, and its phases."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any

from heavytail.cli.learning.shared import (
    GRID,
    Answer,
    add_outputs,
    add_seed,
    answer,
    arrays_of,
    number_list,
    place_of,
    solve_where_possible,
    whole,
)
from heavytail.cli.learning.simulated import points_of, simulate_some, table_of
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
    memory.add_argument("--simulate", metavar="N", type=whole, help="simulate N spins at a few loads, too")
    add_seed(memory)
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

        return hopfield_phases(found)

    tables = [Table("Temperatures at which the phases of the Hopfield network end", columns)]
    return Answer({"phases": True}, lines, tables, notes, draw)


def _retrieval(loads: np.ndarray, options: argparse.Namespace) -> Answer:
    import numpy as np

    from heavytail.learning.hopfield import Hopfield, MemoryState
    from heavytail.terminal.learning import Column, Table

    model = Hopfield()
    temperatures = options.temperature or (0.0,)
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
            drawn[heat] = simulate_some(partial(_simulate, model, options.simulate, heat), loads, options.seed, number)
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
    tables += [table_of(f"temperature {heat:g}", points, "overlap") for heat, points in drawn.items()]

    def draw() -> Figure:
        from heavytail.plots import memory_curves

        return memory_curves(loads, {heat: state["overlap"] for heat, state in states.items()}, drawn)

    settings = {"temperature": temperatures, "simulate": options.simulate, "seed": options.seed}
    return Answer(settings, results, tables, notes, draw)


def _simulate(model: Hopfield, n: int, heat: float, load: float, rng: np.random.Generator) -> Simulation:
    return model.simulate(n, load, heat, seed=rng)
