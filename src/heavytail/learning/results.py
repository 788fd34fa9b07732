"""What every model of learning gives: curves along the load, and simulations with their standard errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt

import numpy as np

from heavytail.learning._gauss import Array

__all__ = ["LearningCurve", "Phase", "Simulation"]


class Phase(StrEnum):
    """What is the case at a load and a temperature."""

    SMOOTH = "smooth"
    POOR = "poor"
    METASTABLE = "metastable"
    METASTABLE_GLASS = "metastable glass"
    PERFECT = "perfect"
    SPIN_GLASS = "spin glass"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """Generalisation error along the load.

    Attributes:
        name: of the student, as a legend has it.
        loads: examples per weight, shape (n,), as given.
        error: probability of a wrong label on a new example, shape (n,); NaN where the theory has no valid answer.
        overlap: cosine between student and teacher, shape (n,); NaN likewise.
        phase: of each load what is the case there, shape (n,), text: "smooth" where the model has no other,
            "spin glass" where replica symmetry fails, "none" where there is no solution.
        residual: largest residual of the equations over the loads, 0 for closed forms.
    """

    name: str
    loads: Array
    error: Array
    overlap: Array
    phase: np.ndarray
    residual: float


@dataclass(frozen=True, slots=True)
class Simulation:
    """What independent runs of a finite system gave.

    Attributes:
        name: of what was simulated.
        n: number of weights, inputs or spins.
        load: examples, patterns or samples for each of them.
        samples: of each measured quantity one value a run, shape (runs,).
    """

    name: str
    n: int
    load: float
    samples: Mapping[str, Array]

    @property
    def runs(self) -> int:
        """Number of independent runs."""
        return len(next(iter(self.samples.values())))

    def mean(self, quantity: str) -> float:
        """Mean of a quantity over the runs."""
        return float(np.mean(self.samples[quantity]))

    def standard_error(self, quantity: str) -> float:
        """Standard error of that mean; NaN for a single run."""
        values = self.samples[quantity]
        return float(np.std(values, ddof=1) / sqrt(len(values))) if len(values) > 1 else float("nan")
