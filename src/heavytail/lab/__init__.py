"""The laboratory: the training experiments that the theory rests on, and monitors for trainings of one's own.

`run_experiment` repeats an experiment of the literature into a folder; `Monitor` follows the spectra of any network
while it is trained. It needs torch (`pip install 'heavytail[lab]'`), which is imported when it is first used.

Example:
    >>> from heavytail import lab
    >>> lab.experiment_of("e21").axis
    'batch'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heavytail.lab.complexity import Capacity, capacity
    from heavytail.lab.data import DataSet, Examples, load_data, randomise_labels, randomise_pixels
    from heavytail.lab.experiments import Experiment, experiment_of
    from heavytail.lab.flatness import interpolate, sharpness
    from heavytail.lab.hessian import top_eigenvalues
    from heavytail.lab.monitor import Monitor
    from heavytail.lab.networks import build
    from heavytail.lab.recipe import Recipe
    from heavytail.lab.run import Run
    from heavytail.lab.runner import run_experiment
    from heavytail.lab.training import examples_of, train

_HOMES = {
    "Capacity": "complexity",
    "DataSet": "data",
    "Examples": "data",
    "Experiment": "experiments",
    "Monitor": "monitor",
    "Recipe": "recipe",
    "Run": "run",
    "SpectralCallback": "callbacks",
    "SpectralTrainerCallback": "callbacks",
    "build": "networks",
    "capacity": "complexity",
    "examples_of": "training",
    "experiment_of": "experiments",
    "interpolate": "flatness",
    "load_data": "data",
    "randomise_labels": "data",
    "randomise_pixels": "data",
    "run_experiment": "runner",
    "sharpness": "flatness",
    "top_eigenvalues": "hessian",
    "train": "training",
}

__all__ = [
    "Capacity",
    "DataSet",
    "Examples",
    "Experiment",
    "Monitor",
    "Recipe",
    "Run",
    "build",
    "capacity",
    "examples_of",
    "experiment_of",
    "interpolate",
    "load_data",
    "randomise_labels",
    "randomise_pixels",
    "run_experiment",
    "sharpness",
    "top_eigenvalues",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, and torch with it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
