"""Landscapes: the spherical spin glass, the random energy model and Sherrington and Kirkpatrick's."""

from __future__ import annotations

from math import log, sqrt

import numpy as np

from heavytail.learning.landscapes import RandomEnergyModel, SherringtonKirkpatrick, SphericalSpinGlass
from heavytail.reproduce.claim import Check, Claim, printed

__all__ = ["CLAIMS"]

Generator = np.random.Generator


_ENERGIES = {3: ("1.6329932", "1.6569984"), 4: ("1.7320508", "1.7940850"), 10: ("1.8973666", "2.1353638")}


def _landscapes(_: Generator) -> dict[str, float]:
    found: dict[str, float] = {}
    for p in _ENERGIES:
        glass = SphericalSpinGlass(p)
        found |= {f"p = {p}: threshold": -glass.threshold_energy, f"p = {p}: ground state": -glass.ground_state()}
    three, levels = SphericalSpinGlass(3), RandomEnergyModel()
    energy, entropy = SherringtonKirkpatrick().ground_state()
    cold = SherringtonKirkpatrick().solve(1e-3)
    step = 1e-4
    near = levels.solve([1.0 - step, 1.0 + step]).free_energy
    return found | {
        "p = 3: complexity of minima at the threshold": float(three.complexity(three.threshold_energy, index=0)),
        "random energy model: transition": levels.critical_temperature,
        "random energy model: transition, closed form": levels.critical_temperature,
        "random energy model: ground state": levels.ground_state,
        "random energy model: entropy plus slope of the free energy": float(
            levels.solve(1.0).entropy + (near[1] - near[0]) / (2 * step)
        ),
        "Sherrington-Kirkpatrick: replica-symmetric ground state": energy,
        "Sherrington-Kirkpatrick: entropy of it": entropy,
        "Sherrington-Kirkpatrick: energy at T = 0.001 less it": float(cold.energy) - energy,
    }


_A9 = Claim(
    "A9",
    "Landscapes of spin glasses",
    "Auffinger, Ben Arous and Cerny 2013; Choromanska et al. 2015; Derrida 1981; Sherrington and Kirkpatrick 1975",
    "Energies of the threshold and of the ground state of the spherical p-spin glass, below zero, and its complexity; "
    "transition and ground state of the random energy model; replica-symmetric ground state of Sherrington and "
    "Kirkpatrick's model.",
    "formulas alone, nothing is drawn",
    _landscapes,
    (
        *(printed(f"p = {p}: threshold", digits, "closed form") for p, (digits, _) in _ENERGIES.items()),
        *(
            printed(f"p = {p}: ground state", digits, "with 30 digits" if p == 10 else "reference value")
            for p, (_, digits) in _ENERGIES.items()
        ),
        printed("p = 3: complexity of minima at the threshold", ".0132403", "reference value"),
        printed("random energy model: transition", ".60056", "reference value"),
        Check("random energy model: transition, closed form", 1 / (2 * sqrt(log(2))), 1e-12, "1 / (2 sqrt(ln 2))"),
        Check("random energy model: ground state", -sqrt(log(2)), 1e-12, "closed form"),
        Check("random energy model: entropy plus slope of the free energy", 0.0, 1e-8, "thermodynamics"),
        printed("Sherrington-Kirkpatrick: replica-symmetric ground state", "-0.797885", "closed form"),
        Check("Sherrington-Kirkpatrick: entropy of it", -1 / (2 * np.pi), 1e-12, "closed form, negative"),
        Check("Sherrington-Kirkpatrick: energy at T = 0.001 less it", 0.0, 1e-5, "limit, of order T^2"),
    ),
    seconds=0.1,
)

CLAIMS = (_A9,)
"""The claims of this group, in the order of the reference."""
