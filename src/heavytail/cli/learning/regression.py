"""Ridge regression along the load: the mean squared error and its double descent."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any

from heavytail.cli.learning.grids import check_figure, dense
from heavytail.cli.learning.shared import Answer, arrays_of, number_list
from heavytail.cli.learning.simulated import check_simulation, check_size, points_of, simulate_some, table_of
from heavytail.errors import RequestError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from heavytail.learning.results import Simulation
    from heavytail.learning.ridge import RidgeRegression

__all__ = ["answer_regression"]


def answer_regression(options: argparse.Namespace) -> Answer:
    """Answer for ridge regression with each noise and penalty."""
    import numpy as np

    from heavytail.learning.ridge import RidgeRegression
    from heavytail.terminal.learning import Column, Table

    _refuse_what_it_has_not(options)
    penalties, noises = _penalties(options.penalty or "0,best"), options.noise or (0.2,)
    loads = np.array(options.loads or number_list("0.1:4:200"))
    models = {
        _name(penalty, noise if len(noises) > 1 else None): RidgeRegression(noise, penalty)
        for noise in noises
        for penalty in penalties
    }
    how = check_simulation(options)
    check_size(options.simulate, loads)
    check_figure(options.plot, len(models), loads=loads)
    states = {name: model.solve(loads) for name, model in models.items()}
    drawn = {
        name: simulate_some(partial(_simulate, model, options.simulate, how), loads, options.seed or 0, number)
        for number, (name, model) in enumerate(models.items())
        if options.simulate is not None
    }
    results = {
        "loads": loads,
        "curves": [
            {
                "name": name,
                "noise": models[name].noise,
                **arrays_of(state),
                "simulations": points_of(drawn.get(name, [])),
            }
            for name, state in states.items()
        ],
    }
    settings = {
        "students": options.students, "noise": noises, "penalty": ["best" if one is None else one for one in penalties],
        "simulate": options.simulate, "seed": options.seed or 0, **how,
    }  # fmt: skip
    table = Table(
        "Mean squared error of a parameter, ridge regression, parameters of mean square 1"
        + (f", noise {noises[0]:g}" if len(noises) == 1 else ""),
        [Column("load", loads, ".4g"), *(Column(name, state.error) for name, state in states.items())],
    )
    tables = [table, *(table_of(f"with {name}", points) for name, points in drawn.items())]

    def draw() -> Figure:
        from heavytail.plots import double_descent

        many = dense(loads)
        return double_descent({name: model.solve(many) for name, model in models.items()}, drawn, marks=loads)

    return Answer(settings, results, tables, [], draw)


def _refuse_what_it_has_not(options: argparse.Namespace) -> None:
    """Refuse options of perceptrons, which would be ignored."""
    given = {
        "--weights": options.weights != "spherical",
        "--temperature": options.temperature != (0.0,),
        "--label-noise": options.label_noise != (0.0,),
        "--against": options.against != "load",
        "--start": options.start is not None,
        "--sweeps": options.sweeps is not None,
    }
    for option, is_given in given.items():
        if is_given:
            raise RequestError(f"regression has no {option}; it has --noise and --penalty")


def _penalties(text: str) -> list[float | None]:
    """Read penalties with commas, of which None is the best."""
    try:
        return [None if part == "best" else float(part) for part in text.split(",")]
    except ValueError:
        raise RequestError(f"--penalty is {text!r}; it must be numbers with commas, or best") from None


def _name(penalty: float | None, noise: float | None) -> str:
    name = "best penalty" if penalty is None else f"penalty {penalty:g}"
    return name if noise is None else f"{name}, noise {noise:g}"


def _simulate(model: RidgeRegression, n: int, how: dict[str, Any], load: float, rng: np.random.Generator) -> Simulation:
    return model.simulate(n, load, seed=rng, **how)
