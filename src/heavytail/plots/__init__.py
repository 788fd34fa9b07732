"""Figures of results, for a lecture, a paper or the book; needs matplotlib (the extra `plot`).

Each function takes what a model gave and returns a `matplotlib.figure.Figure`, made without pyplot: no window opens,
and no setting of the host's matplotlib changes. `save` writes one to a file.
"""

from __future__ import annotations

from heavytail.plots.laboratory import label_noise, spectra, sweep
from heavytail.plots.learning import (
    bounds,
    error_against_load,
    error_against_temperature,
    ising_transition,
    learning_curves,
)
from heavytail.plots.phases import hopfield_phases, phase_diagram, vsdl_planes
from heavytail.plots.regression import double_descent, early_stopping
from heavytail.plots.storage import capacity_curves, memory_curves
from heavytail.plots.style import save

__all__ = [
    "bounds",
    "capacity_curves",
    "double_descent",
    "early_stopping",
    "error_against_load",
    "error_against_temperature",
    "hopfield_phases",
    "ising_transition",
    "label_noise",
    "learning_curves",
    "memory_curves",
    "phase_diagram",
    "save",
    "spectra",
    "sweep",
    "vsdl_planes",
]
