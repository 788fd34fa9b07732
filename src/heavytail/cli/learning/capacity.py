"""Capacities: how many patterns a perceptron can store, and how many noisy examples it can fit."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from heavytail.cli.learning.shared import Answer, add_outputs, answer, number_list, whole
from heavytail.errors import RequestError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from heavytail.terminal.learning import Table

__all__ = ["add"]


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the question to the verb."""
    capacity = commands.add_parser(
        "capacity",
        help="patterns that a perceptron can store",
        description="Give the patterns per weight that spherical (Gardner) and Ising (Krauth, Mezard) weights can "
        "store with a margin, and the noisy examples of a teacher that spherical ones can fit.",
    )
    capacity.add_argument("--margin", metavar="LIST", type=number_list, help="default: 0:2:21")
    capacity.add_argument(
        "--label-noise", metavar="LIST", type=number_list, help="probability of a flip (default: 0.01:0.5:50)"
    )
    capacity.add_argument(
        "--patterns", metavar="LIST", type=number_list, help="numbers of random patterns: is there a separating plane?"
    )
    capacity.add_argument("--n", metavar="N", type=whole, help="of that many inputs (Cover)")
    add_outputs(capacity)
    capacity.set_defaults(run=lambda options: answer(_solve, options), what="capacity")


def _solve(options: argparse.Namespace) -> Answer:
    import numpy as np

    from heavytail.learning.capacity import IsingCapacity, gardner_capacity, separable_error, separable_load

    if (options.patterns is None) != (options.n is None):
        raise RequestError("--patterns and --n go together: patterns in general position of n inputs")
    margin = np.array(options.margin or number_list("0:2:21"))
    noise = np.array(options.label_noise or number_list("0.01:0.5:50"))
    results = {
        "margin": margin,
        "spherical": gardner_capacity(margin),
        "ising": np.array([IsingCapacity(float(kappa)).capacity() for kappa in margin]),
        "label_noise": noise,
        "separable_load": separable_load(noise),
        "separable_error": separable_error(noise),
        "cover": _cover(options) if options.patterns else None,
    }
    notes = ["up to the separable load spherical weights fit all labels, the flipped ones too; the error is that there"]
    settings = {"patterns": options.patterns, "n": options.n}

    def draw() -> Figure:
        from heavytail.plots import capacity_curves

        return capacity_curves(results)

    return Answer(settings, results, _tables(results, options.n), notes, draw)


def _cover(options: argparse.Namespace) -> dict[str, object]:
    import numpy as np

    from heavytail.learning.capacity import cover_probability

    patterns = np.array(options.patterns)
    return {"n": options.n, "patterns": patterns, "probability": cover_probability(patterns, options.n)}


def _tables(results: dict[str, object], n: int | None) -> list[Table]:
    from heavytail.terminal.learning import Column, Table

    column = {name: Column(name.replace("_", " "), values) for name, values in results.items() if name != "cover"}  # type: ignore[arg-type]
    tables = [
        Table("Patterns per weight that can be stored", [column["margin"], column["spherical"], column["ising"]]),
        Table(
            "Noisy examples per weight that can be fitted",
            [column["label_noise"], column["separable_load"], column["separable_error"]],
        ),
    ]
    cover = results["cover"]
    if isinstance(cover, dict):
        title = f"Probability that random labels of {n} inputs are linearly separable"
        columns = [Column("patterns", cover["patterns"], "g"), Column("probability", cover["probability"], ".5f")]
        tables.append(Table(title, columns))
    return tables
