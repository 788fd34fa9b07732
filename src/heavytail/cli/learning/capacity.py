"""Capacities: how many patterns a perceptron can store, and how many noisy examples it can fit."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from heavytail.cli.learning.grids import check_figure
from heavytail.cli.learning.shared import Answer, add_outputs, answer, number_list, whole
from heavytail.errors import RequestError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from heavytail.terminal.learning import Table

__all__ = ["add"]

_DEFAULTS = {"margin": "0:2:21", "label_noise": "0.01:0.5:50"}
_TABLES = {
    "Patterns per weight that can be stored": ("margin", "spherical", "ising"),
    "Noisy examples per weight that can be fitted": ("label_noise", "separable_load", "separable_error"),
}
_EMPTY = dict.fromkeys((*(name for names in _TABLES.values() for name in names), "cover"))
_MANY = 101  # values along the axes of a figure


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the question to the verb."""
    capacity = commands.add_parser(
        "capacity",
        help="patterns that a perceptron can store",
        description="Give the patterns per weight that spherical (Gardner) and Ising (Krauth, Mezard) weights can "
        "store with a margin, and the noisy examples of a teacher that spherical ones can fit.",
        epilog="A list that begins with a minus sign is written with =, as in --margin=-1,0.",
    )
    capacity.add_argument(
        "--margin", metavar="LIST", type=number_list, help="from 0 (default, unless another list is given: 0:2:21)"
    )
    capacity.add_argument(
        "--label-noise", metavar="LIST", type=number_list, help="probability of a flip (likewise: 0.01:0.5:50)"
    )
    capacity.add_argument(
        "--patterns", metavar="LIST", type=number_list, help="numbers of random patterns: is there a separating plane?"
    )
    capacity.add_argument("--n", metavar="N", type=whole, help="of that many inputs (Cover)")
    add_outputs(capacity)
    capacity.set_defaults(run=lambda options: answer(_solve, options), what="capacity")


def _solve(options: argparse.Namespace) -> Answer:
    import numpy as np

    if (options.patterns is None) != (options.n is None):
        raise RequestError("--patterns and --n go together: patterns in general position of n inputs")
    asked = {"margin": options.margin, "label_noise": options.label_noise, "patterns": options.patterns}
    if not any(asked.values()):
        asked |= {name: number_list(text) for name, text in _DEFAULTS.items()}
    if asked["margin"] and min(asked["margin"]) < 0:
        raise RequestError(
            f"margin is {min(asked['margin']):g}; it must be at least 0: below, the weights that store "
            "the patterns fall apart into pieces, and replica symmetry, on which the capacity rests, fails"
        )
    given = {name: np.array(values) for name, values in asked.items() if values}
    check_figure(options.plot, 1, **given)
    results = _solved(given, options.n)
    notes = []
    if "label_noise" in given:
        notes.append(
            "up to the separable load spherical weights fit all labels, the flipped ones too; the error is that there"
        )
    settings = {"patterns": options.patterns, "n": options.n}

    def draw() -> Figure:
        from heavytail.plots import capacity_curves

        return capacity_curves(_solved({name: _finely(name, values) for name, values in given.items()}, options.n))

    return Answer(settings, _EMPTY | results, _tables(results, options.n), notes, draw)


def _finely(name: str, values: np.ndarray) -> np.ndarray:
    """Give many values over the range of those given; patterns are whole numbers."""
    import numpy as np

    many = np.unique([*np.linspace(values.min(), values.max(), _MANY), *values])
    return np.unique(np.round(many)) if name == "patterns" else many


def _solved(given: dict[str, np.ndarray], n: int | None) -> dict[str, Any]:
    """Give the capacities of what was asked for."""
    import numpy as np

    from heavytail.learning.capacity import (
        IsingCapacity,
        cover_probability,
        gardner_capacity,
        separable_error,
        separable_load,
    )

    results: dict[str, Any] = {}
    if "margin" in given:
        margin = given["margin"]
        ising = np.array([IsingCapacity(float(kappa)).capacity() for kappa in margin])
        results |= {"margin": margin, "spherical": gardner_capacity(margin), "ising": ising}
    if "label_noise" in given:
        noise = given["label_noise"]
        results |= {
            "label_noise": noise, "separable_load": separable_load(noise), "separable_error": separable_error(noise),
        }  # fmt: skip
    if "patterns" in given and n is not None:
        patterns = given["patterns"]
        results["cover"] = {"n": n, "patterns": patterns, "probability": cover_probability(patterns, n)}
    return results


def _tables(results: dict[str, Any], n: int | None) -> list[Table]:
    from heavytail.terminal.learning import Column, Table

    tables = []
    for title, names in _TABLES.items():
        if names[0] in results:
            forms = (".4g", *[".4f"] * (len(names) - 1))
            columns = [
                Column(name.replace("_", " "), results[name], form) for name, form in zip(names, forms, strict=True)
            ]
            tables.append(Table(title, columns))
    if cover := results.get("cover"):
        title = f"Probability that random labels of {n} inputs are linearly separable"
        columns = [Column("patterns", cover["patterns"], "g"), Column("probability", cover["probability"], ".5f")]
        tables.append(Table(title, columns))
    return tables
