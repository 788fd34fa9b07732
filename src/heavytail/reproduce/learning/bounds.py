"""Rigorous bounds on the error, against typical behaviour."""

from __future__ import annotations

import numpy as np

from heavytail.learning.annealed import Annealed
from heavytail.learning.bounds import VersionSpaceBound, occam_bound, vc_bound
from heavytail.learning.perceptron import Perceptron
from heavytail.learning.sampling import enumerate_students
from heavytail.reproduce.claim import Check, Claim, printed, within

__all__ = ["CLAIMS"]

Generator = np.random.Generator


_CROSSINGS = {0.5: 0.670981, 1.0: 0.5, 1.2: 0.426158, 1.4: 0.323788}
_FINITE = {1.0: ".4994", 1.2: ".4255", 1.4: ".3244", 1.6: "0.0000", 2.0: "0.0000"}


def _bounds(rng: Generator) -> dict[str, float]:
    bound = VersionSpaceBound("ising")
    loads = np.linspace(0.1, 3.0, 59)
    true = Perceptron("ising").learning_curve(loads).error
    spherical = Perceptron("spherical").learning_curve(loads).error
    found = {f"crossing at load {load}": float(bound.solve(load).error) for load in _CROSSINGS}
    found |= {f"1000 weights, load {load}": float(bound.finite(1000, load)) for load in _FINITE}
    students = {load: enumerate_students(13, round(13 * load), runs=100, seed=rng) for load in (1.0, 1.5, 2.0)}
    above = {}
    for load, drawn in students.items():
        worst = [np.flatnonzero(one[:, 0])[-1] for one in drawn.counts]  # furthest student without training errors
        errors = np.arccos(1 - 2 * np.array(worst) / 13) / np.pi
        above[load] = float(np.mean(errors > bound.finite(13, load) + 1e-12))
    return found | {
        "critical load": bound.critical_load(),
        "error at the critical load": bound.critical_error(),
        "critical load, as the annealed transition": float(Annealed("ising").transition(0.0)),
        "critical load, rounded": bound.critical_load(),
        "error at the critical load, rounded": bound.critical_error(),
        "50 weights, load 1.6": float(bound.finite(50, 1.6)),
        "share of loads where the truth exceeds the bound": float(np.mean(true > bound.solve(loads).error)),
        "share of loads where the truth exceeds it, spherical": float(
            np.mean(spherical > VersionSpaceBound("spherical").solve(loads).error)
        ),
        "spherical: exponent of the load": float(
            np.diff(np.log2(VersionSpaceBound("spherical").solve([1e4, 2e4]).error))[0]
        ),
        "share of draws of 13 weights that exceed the bound": max(above.values()),
    }


_A8 = Claim(
    "A8",
    "Bounds by the version space",
    "Haussler, Kearns, Seung and Tishby 1996",
    "Rightmost crossing of the entropy of students and the rate at which examples rule them out; where it jumps; the "
    "bound for finite systems that holds with probability 0.95; whether true learning curves and the worst students of "
    "enumerated systems stay below.",
    "formulas; 13 weights, 100 draws at loads 1, 1.5 and 2, enumerated",
    _bounds,
    (
        Check("critical load", 1.44796644, 5e-9, "reference value"),
        Check("error at the critical load", 0.254256, 1e-6, "reference value, 1e-6"),
        Check("critical load, as the annealed transition", 1.44796644, 5e-9, "the same equation"),
        printed("critical load, rounded", "1.4480", "reference value"),
        printed("error at the critical load, rounded", ".254", "reference value"),
        *(Check(f"crossing at load {load}", e, 1e-6, "reference value, 1e-6") for load, e in _CROSSINGS.items()),
        *(printed(f"1000 weights, load {load}", digits, "reference value") for load, digits in _FINITE.items()),
        printed("50 weights, load 1.6", ".244", "reference value"),
        Check("share of loads where the truth exceeds the bound", 0.0, 1e-9, "never"),
        Check("share of loads where the truth exceeds it, spherical", 0.0, 1e-9, "never"),
        Check("spherical: exponent of the load", -1.0, 1e-3, "of a smooth class"),
        within("share of draws of 13 weights that exceed the bound", 0, 0.05, "at most 5 %"),
    ),
    seconds=0.4,
)


def _worst_case(_: Generator) -> dict[str, float]:
    model = Perceptron("ising")
    loads = np.array([1.0, 1.3, 2.0])
    typical = model.solve(loads).error
    return {
        "VC bound up to load 2, least": float(np.min(vc_bound(np.linspace(0.1, 2.0, 20)).consistent)),
        "Occam bound at load 1.3": float(occam_bound(1.3).additive),
        "typical error at load 1.3": float(typical[1]),
        "typical error at load 1": float(typical[0]),
        "Occam bound times load, many examples": 1e4 * float(occam_bound(1e4).consistent),
    }


_A8_WORST = Claim(
    "A8-worst-case",
    "Worst case against typical case",
    "Blumer et al. 1987, 1989; Vapnik 1998; Haussler, Kearns, Seung and Tishby 1996",
    "The bounds from the VC dimension and from the number of Ising students at loads where the typical error has "
    "jumped to 0: they are of order 1.",
    "formulas alone, nothing is drawn",
    _worst_case,
    (
        Check("VC bound up to load 2, least", 1.0, 1e-12, "vacuous"),
        printed("Occam bound at load 1.3", "0.5", "ln 2 / a, of order 1"),
        Check("typical error at load 1.3", 0.0, 1e-12, "perfect from load 1.2447 on"),
        printed("typical error at load 1", "0.310526", "reference value"),
        Check("Occam bound times load, many examples", 0.6931472, 1e-4, "ln 2"),
    ),
    seconds=0.1,
)

CLAIMS = (_A8, _A8_WORST)
"""The claims of this group, in the order of the reference."""
