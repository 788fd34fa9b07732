"""Simulations beside a curve: at which loads, with which random numbers, and how they are written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from heavytail.learning.results import Simulation
    from heavytail.terminal.learning import Table

__all__ = ["points_of", "simulate_some", "table_of"]

_COUNT = 6  # loads at which a curve is simulated


def simulate_some(
    simulate: Callable[[float, np.random.Generator], Simulation], loads: np.ndarray, *seed: int
) -> list[Simulation]:
    """Simulate at a few loads evenly spaced among those of a curve, each with its own stream of random numbers."""
    import numpy as np

    shown = np.unique(np.linspace(0, len(loads) - 1, _COUNT + 1).round().astype(int)[1:])
    return [simulate(float(loads[k]), np.random.default_rng([*seed, int(k)])) for k in shown]


def points_of(drawn: Sequence[Simulation], quantity: str = "error") -> list[dict[str, float]]:
    """Give the mean and the standard error of each, for a file."""
    return [
        {
            "n": one.n,
            "load": one.load,
            "runs": one.runs,
            quantity: one.mean(quantity),
            "standard_error": one.standard_error(quantity),
        }
        for one in drawn
    ]


def table_of(name: str, drawn: Sequence[Simulation], quantity: str = "error") -> Table:
    """Give the same for the terminal."""
    from heavytail.terminal.learning import Column, Table

    columns = [
        Column("load", [one.load for one in drawn], "g"),
        Column(quantity, [one.mean(quantity) for one in drawn]),
        Column("± s.e.", [one.standard_error(quantity) for one in drawn]),
    ]
    return Table(f"Simulation of {name}: n = {drawn[0].n}, {drawn[0].runs} runs", columns)
