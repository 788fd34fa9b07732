"""Statistical mechanics of learning: networks as physical systems, typical behaviour in place of the worst case.

Two knobs, load (examples per weight) and temperature (noise of training), and what learning is like at each setting:
students of a teacher (`Perceptron`, `Hebb`, `MaximumStability`, ...), the very simple deep learning model (`VSDL`),
capacities, memories (`Hopfield`), bounds that hold in the worst case, high-dimensional inference, and landscapes. A
model is a frozen object of its fixed parameters; `solve` gives its order parameters, `learning_curve` its error along
the load, `simulate` a finite system.

Example:
    >>> from heavytail import learning
    >>> state = learning.Perceptron("ising").solve(load=1.2)
    >>> print(f"{state.error:.4f} {state.phase}")
    0.2669 poor
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heavytail.learning.amp import ApproximateMessagePassing
    from heavytail.learning.annealed import Annealed, AnnealedState, HighTemperature
    from heavytail.learning.bounds import BoundState, OccamBound, VCBound, VersionSpaceBound, occam_bound, vc_bound
    from heavytail.learning.capacity import (
        IsingCapacity,
        SphericalStorage,
        StorageState,
        cover_probability,
        gardner_capacity,
        gardner_margin,
        separable_error,
        separable_load,
        simulate_separability,
    )
    from heavytail.learning.compressed_sensing import l1_threshold, simulate_l1
    from heavytail.learning.cowan import CowanNetwork, CowanPath
    from heavytail.learning.early_stopping import EarlyStoppedPerceptron, FlowState, GradientFlow, StoppingPath
    from heavytail.learning.estimators import BayesEstimator, BayesState, EstimatorState, MEstimator
    from heavytail.learning.hopfield import Hopfield, MemoryPhases, MemoryState
    from heavytail.learning.landscapes import (
        RandomEnergyModel,
        RandomEnergyState,
        SherringtonKirkpatrick,
        SphericalSpinGlass,
        SpinGlassState,
    )
    from heavytail.learning.little import LittleNetwork
    from heavytail.learning.online import OnlinePerceptron, OptimalOnline
    from heavytail.learning.perceptron import Perceptron, PerceptronState
    from heavytail.learning.phases import PhaseDiagram, Transitions, phase_diagram, transitions
    from heavytail.learning.results import LearningCurve, Phase, Simulation
    from heavytail.learning.ridge import RidgeRegression, RidgeState
    from heavytail.learning.rules import Hebb, PseudoInverse, RidgeClassifier, RuleState
    from heavytail.learning.sampling import (
        Hysteresis,
        StudentCounts,
        enumerate_students,
        expected_students,
        expected_version_space,
        hysteresis,
        sample_perceptron,
        sample_version_space,
    )
    from heavytail.learning.stability import MaximumStability, StabilityState
    from heavytail.learning.vsdl import VSDL, VSDLPath, VSDLStop

__all__ = [
    "VSDL",
    "Annealed",
    "AnnealedState",
    "ApproximateMessagePassing",
    "BayesEstimator",
    "BayesState",
    "BoundState",
    "CowanNetwork",
    "CowanPath",
    "EarlyStoppedPerceptron",
    "EstimatorState",
    "FlowState",
    "GradientFlow",
    "Hebb",
    "HighTemperature",
    "Hopfield",
    "Hysteresis",
    "IsingCapacity",
    "LearningCurve",
    "LittleNetwork",
    "MEstimator",
    "MaximumStability",
    "MemoryPhases",
    "MemoryState",
    "OccamBound",
    "OnlinePerceptron",
    "OptimalOnline",
    "Perceptron",
    "PerceptronState",
    "Phase",
    "PhaseDiagram",
    "PseudoInverse",
    "RandomEnergyModel",
    "RandomEnergyState",
    "RidgeClassifier",
    "RidgeRegression",
    "RidgeState",
    "RuleState",
    "SherringtonKirkpatrick",
    "Simulation",
    "SphericalSpinGlass",
    "SphericalStorage",
    "SpinGlassState",
    "StabilityState",
    "StoppingPath",
    "StorageState",
    "StudentCounts",
    "Transitions",
    "VCBound",
    "VSDLPath",
    "VSDLStop",
    "VersionSpaceBound",
    "cover_probability",
    "enumerate_students",
    "expected_students",
    "expected_version_space",
    "gardner_capacity",
    "gardner_margin",
    "hysteresis",
    "l1_threshold",
    "occam_bound",
    "phase_diagram",
    "sample_perceptron",
    "sample_version_space",
    "separable_error",
    "separable_load",
    "simulate_l1",
    "simulate_separability",
    "transitions",
    "vc_bound",
]

_HOMES = {
    "Annealed": "annealed",
    "AnnealedState": "annealed",
    "ApproximateMessagePassing": "amp",
    "BayesEstimator": "estimators",
    "BayesState": "estimators",
    "BoundState": "bounds",
    "CowanNetwork": "cowan",
    "CowanPath": "cowan",
    "EarlyStoppedPerceptron": "early_stopping",
    "EstimatorState": "estimators",
    "FlowState": "early_stopping",
    "GradientFlow": "early_stopping",
    "Hebb": "rules",
    "HighTemperature": "annealed",
    "Hopfield": "hopfield",
    "Hysteresis": "sampling",
    "IsingCapacity": "capacity",
    "LearningCurve": "results",
    "LittleNetwork": "little",
    "MEstimator": "estimators",
    "MaximumStability": "stability",
    "MemoryPhases": "hopfield",
    "MemoryState": "hopfield",
    "OccamBound": "bounds",
    "OnlinePerceptron": "online",
    "OptimalOnline": "online",
    "Perceptron": "perceptron",
    "PerceptronState": "perceptron",
    "Phase": "results",
    "PhaseDiagram": "phases",
    "PseudoInverse": "rules",
    "RandomEnergyModel": "landscapes",
    "RandomEnergyState": "landscapes",
    "RidgeClassifier": "rules",
    "RidgeRegression": "ridge",
    "RidgeState": "ridge",
    "RuleState": "rules",
    "SherringtonKirkpatrick": "landscapes",
    "Simulation": "results",
    "SphericalSpinGlass": "landscapes",
    "SphericalStorage": "capacity",
    "SpinGlassState": "landscapes",
    "StabilityState": "stability",
    "StoppingPath": "early_stopping",
    "StorageState": "capacity",
    "StudentCounts": "sampling",
    "Transitions": "phases",
    "VCBound": "bounds",
    "VSDL": "vsdl",
    "VSDLPath": "vsdl",
    "VSDLStop": "vsdl",
    "VersionSpaceBound": "bounds",
    "cover_probability": "capacity",
    "enumerate_students": "sampling",
    "expected_students": "sampling",
    "expected_version_space": "sampling",
    "gardner_capacity": "capacity",
    "gardner_margin": "capacity",
    "hysteresis": "sampling",
    "l1_threshold": "compressed_sensing",
    "occam_bound": "bounds",
    "phase_diagram": "phases",
    "sample_perceptron": "sampling",
    "sample_version_space": "sampling",
    "separable_error": "capacity",
    "separable_load": "capacity",
    "simulate_l1": "compressed_sensing",
    "simulate_separability": "capacity",
    "transitions": "phases",
    "vc_bound": "bounds",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
