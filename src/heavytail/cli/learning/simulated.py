"""Simulations beside a curve: at which loads, how many, whether in equilibrium, and how they are written down."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from typing import TYPE_CHECKING, Any

from heavytail.cli.learning.shared import solve_where_possible, whole
from heavytail.errors import RequestError

if TYPE_CHECKING:
    import numpy as np

    from heavytail.learning.perceptron import Perceptron
    from heavytail.learning.results import Simulation
    from heavytail.terminal.learning import Table

__all__ = [
    "add_simulation",
    "check_simulation",
    "check_size",
    "out_of_equilibrium",
    "points_of",
    "simulate_some",
    "table_of",
]

_COUNT = 6  # loads at which a curve is simulated
_MOST_NUMBERS = 250_000_000  # drawn at once: 2 GB
_ERRORS_APART = 4  # standard errors from which on two means differ
_TITLES = {"training_error": "training error", "self_overlap": "self overlap"}
_COMPANIONS = ("training_error", "overlap", "self_overlap")


def add_simulation(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the options of simulations."""
    parser.add_argument("--simulate", metavar="N", type=whole, help=f"simulate N {what} at a few loads, too")
    parser.add_argument("--runs", metavar="N", type=whole, help="simulate so many times (default: as the model has it)")
    parser.add_argument("--seed", metavar="S", type=whole, help="seed of what is simulated (default: 0)")


def check_simulation(options: argparse.Namespace, *more: str) -> dict[str, Any]:
    """Give the arguments of a simulation that were given: runs, and those with the names of more options.

    Raises:
        RequestError: if they would be ignored for lack of --simulate, or one run would have no standard error.
    """
    names = ("runs", *more)
    if options.simulate is None:
        for name in (*names, "seed"):
            if getattr(options, name) is not None:
                raise RequestError(f"--{name} goes with --simulate N")
    if options.runs is not None and options.runs < 2:
        raise RequestError(f"--runs is {options.runs}; it must be at least 2, for a standard error")
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def check_size(n: int | None, loads: np.ndarray, held: int = 1) -> None:
    """Refuse a simulation that does not fit into memory, before anything is drawn.

    Args:
        n: number of weights or spins; None for no simulation.
        loads: examples for each of them.
        held: runs that are drawn at once.

    Raises:
        RequestError: with the largest n.
    """
    each = held * (1 + max(float(max(loads)), 0.0))
    if n is not None and n * n * each > _MOST_NUMBERS:
        raise RequestError(
            f"--simulate {n}: {n * n * each:.1e} numbers at once at load {max(loads):g}; the limit, "
            f"{_MOST_NUMBERS:.1e}, allows n up to {int(sqrt(_MOST_NUMBERS / each))}"
        )


def simulate_some(
    simulate: Callable[[float, np.random.Generator], Simulation], loads: np.ndarray, *seed: int
) -> list[Simulation]:
    """Simulate at a few loads evenly spaced among those of a curve, each with its own stream of random numbers."""
    import numpy as np

    shown = np.unique(np.linspace(0, len(loads) - 1, _COUNT + 1).round().astype(int)[1:])
    return [simulate(float(loads[k]), np.random.default_rng([*seed, int(k)])) for k in shown]


def points_of(drawn: Sequence[Simulation], quantity: str = "error") -> list[dict[str, float]]:
    """Give the mean and the standard error of each, for a file, and the means of what was measured beside it."""
    return [
        {
            "n": one.n,
            "load": one.load,
            "runs": one.runs,
            quantity: one.mean(quantity),
            "standard_error": one.standard_error(quantity),
            **{name: one.mean(name) for name in _COMPANIONS if name in one.samples and name != quantity},
        }
        for one in drawn
    ]


def table_of(title: str, drawn: Sequence[Simulation], quantity: str = "error", beside: str = "training_error") -> Table:
    """Give the same for the terminal, with one of the other quantities beside it if it was measured."""
    from heavytail.terminal.learning import Column, Table

    names = [quantity] + ([beside] if beside in drawn[0].samples else [])
    columns = [Column("load", [one.load for one in drawn], ".4g")]
    for name in names:
        columns += [
            Column(_TITLES.get(name, name), [one.mean(name) for one in drawn]),
            Column("± s.e.", [one.standard_error(name) for one in drawn]),
        ]
    return Table(f"Simulation {title}: n = {drawn[0].n}, {drawn[0].runs} runs", columns)


def out_of_equilibrium(model: Perceptron, temperature: float, drawn: Sequence[Simulation]) -> list[float]:
    """Give the loads at which walks are not where theory has them in equilibrium.

    Their training error differs from the theory's, or, at the Nishimori temperature, where two students are as near to
    each other as to the teacher, the self-overlap differs from the overlap; by more than 4 standard errors.
    """
    import numpy as np

    from heavytail.learning.perceptron import PerceptronState

    loads = np.array([one.load for one in drawn])
    state, _ = solve_where_possible(lambda part: model.solve(part, temperature), loads, PerceptronState)
    known = ~np.isin(state["phase"], ("spin glass", "none"))
    nishimori = bool(np.isclose(temperature, model.nishimori_temperature))
    return [
        one.load
        for one, theory, is_known in zip(drawn, state["training_error"], known, strict=True)
        if (is_known and _differs(one.samples["training_error"] - theory)) or (nishimori and _is_split(one.samples))
    ]


def _is_split(samples: Mapping[str, np.ndarray]) -> bool:
    return _differs(samples["self_overlap"] - samples["overlap"])


def _differs(values: np.ndarray) -> bool:
    """Tell whether the mean of independent values is far from 0."""
    error = float(values.std(ddof=1)) / sqrt(len(values))
    return abs(float(values.mean())) > _ERRORS_APART * error + 1e-12
