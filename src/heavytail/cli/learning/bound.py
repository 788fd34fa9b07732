"""Bounds on the generalisation error beside the true one."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from heavytail.cli.learning.shared import GRID, Answer, add_outputs, answer, number_list, whole

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

__all__ = ["add"]


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the question to the verb."""
    bound = commands.add_parser(
        "bound",
        help="rigorous bounds beside the true error",
        description="Give bounds on the error of a student without training errors: from all errors in the class "
        "(Haussler, Kearns, Seung and Tishby 1996), from the number of students (Occam), from the Vapnik-Chervonenkis "
        "dimension; beside them the true error of a random such student.",
    )
    bound.add_argument("--weights", choices=("ising", "spherical"), default="ising", help="default: ising")
    bound.add_argument("--loads", metavar="GRID", type=number_list, help=f"{GRID} (default: 0.1:10:100)")
    bound.add_argument("--n", metavar="N", type=whole, help="of N weights, too (default: infinitely many only)")
    bound.add_argument(
        "--delta", metavar="D", type=float, default=0.05, help="a bound for N weights fails so often (default: 0.05)"
    )
    add_outputs(bound)
    bound.set_defaults(run=lambda options: answer(_solve, options), what="bound")


def _solve(options: argparse.Namespace) -> Answer:
    import numpy as np

    from heavytail.learning.perceptron import Perceptron
    from heavytail.terminal.learning import Column, Table

    loads = np.array(options.loads or number_list("0.1:10:100"))
    truth = Perceptron(options.weights).learning_curve(loads)
    limit = _bounds(options.weights, loads)
    finite = {} if options.n is None else _bounds(options.weights, loads, options.n, options.delta)
    columns = [
        Column("load", loads, ".4g"),
        Column("true error", truth.error),
        *(Column(name, values) for name, values in limit.items()),
        *(Column(f"{name}, n = {options.n}", values) for name, values in finite.items()),
    ]
    results = {"loads": loads, "true_error": truth.error, "limit": limit, "finite": finite or None}
    settings = {"weights": options.weights, "n": options.n, "delta": options.delta}
    notes = ["a bound of 1 says nothing; " + _phrase(options)]

    def draw() -> Figure:
        from heavytail.plots import bounds

        return bounds(truth, limit, finite, options.n)

    return Answer(
        settings, results, [Table(f"Errors and their bounds, {options.weights} weights", columns)], notes, draw
    )


def _phrase(options: argparse.Namespace) -> str:
    if options.n is None:
        return "all are of infinitely many weights"
    return (
        f"those of {options.n} weights hold with probability {1 - options.delta:g}, the others are of infinitely many"
    )


def _bounds(weights: str, loads: np.ndarray, n: int | None = None, delta: float = 0.05) -> dict[str, np.ndarray]:
    """Give each bound along the loads, of n weights or in the limit."""
    from math import inf

    from heavytail.learning.bounds import VersionSpaceBound, occam_bound, vc_bound

    model = VersionSpaceBound(weights)  # type: ignore[arg-type]
    bounds = {"version space": model.solve(loads).error if n is None else model.finite(n, loads, delta)}
    size = inf if n is None else n
    if weights == "ising":
        bounds["Occam"] = occam_bound(loads, size, delta).consistent
    bounds["VC dimension"] = vc_bound(loads, size, delta).consistent
    return bounds
