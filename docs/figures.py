"""The figures of the book on learning: python docs/figures.py [FOLDER] [NAME ...]."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.ndimage import zoom

from heavytail import plots
from heavytail.learning.bounds import VersionSpaceBound, occam_bound, vc_bound
from heavytail.learning.early_stopping import GradientFlow
from heavytail.learning.hopfield import Hopfield
from heavytail.learning.online import OnlinePerceptron, OptimalOnline
from heavytail.learning.perceptron import Perceptron
from heavytail.learning.phases import PhaseDiagram, transitions
from heavytail.learning.results import Phase
from heavytail.learning.ridge import RidgeRegression
from heavytail.learning.rules import Hebb, PseudoInverse, RidgeClassifier
from heavytail.learning.sampling import hysteresis
from heavytail.learning.stability import MaximumStability
from heavytail.learning.vsdl import VSDL

SEED = 2
FINER = 8


def curves() -> Figure:
    """Draw what each algorithm makes of the same examples, and finite ones where they are quick to simulate."""
    loads = np.linspace(0.025, 8, 320)
    models = [
        Perceptron(),
        Hebb(),
        PseudoInverse(),
        MaximumStability(),
        RidgeClassifier(),
        OptimalOnline(),
        OnlinePerceptron(),
    ]
    found = [model.learning_curve(loads) for model in models]
    drawn = {
        curve.name: [model.simulate(200, load, seed=SEED, runs=20) for load in (0.5, 2.0, 4.0, 6.0)]
        for model, curve in zip(models, found, strict=True)
        if isinstance(model, Hebb | PseudoInverse | MaximumStability | OnlinePerceptron)
    }
    found.insert(1, Perceptron().learning_curve(loads, vote=True))
    return plots.learning_curves(found, drawn)


def transition() -> Figure:
    """Draw the jump of Ising students at temperature 1, where walks still reach equilibrium, and their hysteresis."""
    model, heat, loads = Perceptron("ising"), 1.0, np.linspace(0.02, 4, 400)
    lines = transitions(model, [heat])
    poor = model.learning_curve(loads[loads < lines.spinodal[0]], heat, branch="poor")
    walk = hysteresis(301, np.linspace(0.4, 3.8, 18), heat, sweeps=1000, runs=10, seed=SEED)
    return plots.ising_transition(model.learning_curve(loads, heat), poor, lines, walk)


def vsdl() -> Figure:
    """Draw the path A, B, C in the model's plane, and in the exact one of noisy labels at one load."""
    load, temperatures = 2.8, np.linspace(0.02, 1.3, 45)
    path = VSDL().path(load, randomised=0.5, cold=0.2, warm=0.7)
    effective = np.linspace(0.6, load, 45)
    model = VSDL().phase_diagram(np.linspace(0.6, load, 200), np.linspace(0.02, 1.3, 100))
    return plots.vsdl_planes(path, model, _noisy_plane(load, effective, temperatures))


def _noisy_plane(load: float, effective: np.ndarray, temperatures: np.ndarray) -> PhaseDiagram:
    """Give the phases of noisy labels at one load, of which the effective load is what is not randomised.

    The lines are solved on the grid and interpolated between, so that the borders are as smooth as they are.
    """
    shares = np.clip(1 - effective / load, 0, None)
    found = [transitions(Perceptron("ising", share / 2), temperatures) for share in shares]

    def finer(name: str) -> np.ndarray:
        reached = np.stack([load / getattr(lines, name) for lines in found], axis=1)  # from 1 on the line is passed
        return zoom(np.nan_to_num(reached), FINER, order=1, grid_mode=False) >= 1

    transition, spinodal, glass = (finer(name) for name in ("transition", "spinodal", "glass"))
    start = np.where(glass & ~spinodal, Phase.SPIN_GLASS, np.where(spinodal, Phase.PERFECT, Phase.POOR))
    phase = np.where(transition, Phase.PERFECT, start)
    axes = (np.linspace(axis[0], axis[-1], FINER * len(axis)) for axis in (effective, temperatures))
    return PhaseDiagram(*axes, np.full(phase.shape, np.nan), phase, start, found[0])


def label_noise() -> Figure:
    """Draw the vote's error along the load, for labels of more and more noise."""
    loads, noises = np.linspace(0.05, 8, 160), (0.0, 0.05, 0.1, 0.2, 0.3, 0.4)
    models = {noise: Perceptron(label_noise=noise) for noise in noises}
    return plots.error_against_load(
        {noise: model.learning_curve(loads, model.nishimori_temperature, vote=True) for noise, model in models.items()}
    )


def temperature() -> Figure:
    """Draw one student and the vote along the temperature: the vote is best at the Nishimori temperature."""
    model, temperatures = Perceptron(label_noise=0.1), np.linspace(0.06, 1.5, 145)
    state = model.solve(3.0, temperatures)
    glass = state.phase == "spin glass"
    found = {
        "label_noise": model.label_noise,
        "nishimori_temperature": model.nishimori_temperature,
        "temperature": temperatures,
        "phase": state.phase,
        "error": np.where(glass, np.nan, state.error),
        "vote_error": np.where(glass, np.nan, state.vote_error),
    }
    return plots.error_against_temperature([found])


def bounds() -> Figure:
    """Draw what is guaranteed to Ising students above what they do."""
    loads, n = np.geomspace(0.2, 200, 400), 100
    model = VersionSpaceBound("ising")

    def named(version_space: object, size: float) -> dict[str, np.ndarray]:
        return {
            "version space": np.asarray(version_space),
            "Occam": np.asarray(occam_bound(loads, size).consistent),
            "VC dimension": np.asarray(vc_bound(loads, size).consistent),
        }

    truth = Perceptron("ising").learning_curve(loads)
    return plots.bounds(truth, named(model.solve(loads).error, np.inf), named(model.finite(n, loads), n), n)


def memory() -> Figure:
    """Draw the phases of the Hopfield network."""
    return plots.hopfield_phases(Hopfield().phases(np.linspace(0, 0.2, 401)))


def double_descent() -> Figure:
    """Draw ridge regression: the peak without a penalty, and how a penalty takes it away."""
    loads, noise = np.linspace(0.02, 4, 400), 0.2
    penalties = {"no penalty": 0.0, "penalty 0.02": 0.02, "best penalty": None}
    models = {name: RidgeRegression(noise, penalty) for name, penalty in penalties.items()}
    drawn = {
        name: [model.simulate(300, load, seed=SEED, runs=8) for load in (0.3, 0.7, 1.4, 2.0, 3.0)]
        for name, model in models.items()
        if name != "penalty 0.02"
    }
    return plots.double_descent({name: model.solve(loads) for name, model in models.items()}, drawn)


def early_stopping() -> Figure:
    """Draw gradient flow in the linear model: the best time to stop, and the temperature that it stands for."""
    model, load, times = GradientFlow(noise=0.5), 1.0, np.geomspace(0.03, 30, 200)
    heat = np.asarray(model.temperature(load, times))
    ridge = float(RidgeRegression(model.noise).solve(load).error)
    return plots.early_stopping(model.solve(load, times), heat, model.best(load), ridge)


def retrieval() -> Figure:
    """Draw what a Hopfield network retrieves, theory and networks of 1000 spins."""
    loads, model = np.linspace(0.002, 0.18, 357), Hopfield()
    overlaps = {}
    for heat in (0.0, 0.2, 0.4):
        known = loads < model.capacity(heat).load
        overlaps[heat] = np.full(loads.shape, np.nan)
        overlaps[heat][known] = model.solve(loads[known], heat).overlap
    points = (0.02, 0.05, 0.08, 0.11, 0.13, 0.15, 0.17)
    drawn = {heat: [model.simulate(1000, load, heat, seed=SEED, runs=16) for load in points] for heat in (0.0, 0.2)}
    return plots.memory_curves({heat: (loads, overlap) for heat, overlap in overlaps.items()}, drawn)


FIGURES: dict[str, Callable[[], Figure]] = {
    "learning-curves": curves,
    "learning-transition": transition,
    "learning-vsdl": vsdl,
    "learning-label-noise": label_noise,
    "learning-temperature": temperature,
    "learning-bounds": bounds,
    "learning-hopfield": memory,
    "learning-double-descent": double_descent,
    "learning-early-stopping": early_stopping,
    "learning-retrieval": retrieval,
}


def main(arguments: list[str]) -> None:
    """Make all figures, or those named, in a folder: that of the book's pictures if none is given."""
    named = bool(arguments) and Path(arguments[0]).is_dir()
    folder = Path(arguments.pop(0)) if named else Path(__file__).parent / "img"
    if unknown := [name for name in arguments if name not in FIGURES]:
        raise SystemExit(f"there is no folder and no figure {unknown[0]!r}; there are {', '.join(FIGURES)}")
    for name in arguments or FIGURES:
        plots.save(FIGURES[name](), folder / f"{name}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
