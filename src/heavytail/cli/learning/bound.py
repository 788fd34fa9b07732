"""Bounds on the generalisation error beside the true one."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from heavytail.cli.learning.grids import check_figure, dense, traced
from heavytail.cli.learning.shared import GRID, Answer, add_outputs, answer, kind_of, number_list, whole
from heavytail.errors import RequestError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from heavytail.learning.perceptron import Perceptron
    from heavytail.learning.results import LearningCurve

__all__ = ["add"]

_MOST = 1_000_000  # weights, of which bounds sum over all distances
_DELTA = 0.05


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
    bound.add_argument("--loads", metavar="GRID", type=number_list, help=f"{GRID} (default: 0.1:100:100:log)")
    bound.add_argument("--n", metavar="N", type=whole, help="of N weights, too (default: infinitely many only)")
    bound.add_argument(
        "--delta", metavar="D", type=float, help=f"a bound for N weights fails so often (default: {_DELTA})"
    )
    add_outputs(bound)
    bound.set_defaults(run=lambda options: answer(_solve, options), what="bound")


def _solve(options: argparse.Namespace) -> Answer:
    import numpy as np

    from heavytail.learning.perceptron import Perceptron
    from heavytail.terminal.learning import Column, Table

    if options.n is None and options.delta is not None:
        raise RequestError("--delta is of bounds for N weights: it goes with --n N")
    if options.n is not None and options.n > _MOST:
        raise RequestError(
            f"--n is {options.n}; it must be at most {_MOST}: the bounds are as good as the limit by then"
        )
    delta = _DELTA if options.delta is None else options.delta
    model = Perceptron(options.weights)
    loads = np.array(options.loads or number_list("0.1:100:100:log"))
    check_figure(options.plot, 1, loads=loads)
    truth = model.learning_curve(loads)
    limit = _bounds(options.weights, loads)
    finite = {} if options.n is None else _bounds(options.weights, loads, options.n, delta)
    columns = [
        Column("load", loads, ".4g"),
        Column("true error", truth.error),
        *(Column(name, values) for name, values in limit.items()),
        *(Column(f"{name}, n = {options.n}", values) for name, values in finite.items()),
    ]
    results = {"loads": loads, "true_error": truth.error, "limit": limit, "finite": finite or None}
    settings = {"weights": options.weights, "n": options.n, "delta": None if options.n is None else delta}
    notes = ["a bound of 1 says nothing; " + _phrase(options.n, delta)]

    def draw() -> Figure:
        from heavytail.plots import bounds

        curve = _finely(model, loads)
        many = _bounds(options.weights, curve.loads)
        dashed = _bounds(options.weights, curve.loads, options.n, delta) if options.n is not None else {}
        return bounds(curve, many, dashed, options.n, marks=loads)

    return Answer(
        settings, results, [Table(f"Errors and their bounds, {kind_of(options.weights)} weights", columns)], notes, draw
    )


def _phrase(n: int | None, delta: float) -> str:
    if n is None:
        return "all are of infinitely many weights"
    return f"those of {n} weights hold with probability {1 - delta:g}, the others are of infinitely many"


def _finely(model: Perceptron, loads: np.ndarray) -> LearningCurve:
    """Give the true error along many loads, among them those at which it or its bound jumps."""

    def solve(part: np.ndarray) -> dict[str, np.ndarray]:
        return {"phase": model.learning_curve(part).phase, "bound": _bounds(model.weights, part)["version space"]}

    fine, _ = traced(solve, dense(loads), lambda found: (found["phase"] == "perfect") * 2 + (found["bound"] > 0))
    return model.learning_curve(fine)


def _bounds(weights: str, loads: np.ndarray, n: int | None = None, delta: float = _DELTA) -> dict[str, np.ndarray]:
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
