"""Reference values that are off: numbers of the reference's own computation, none of them printed in a paper.

The claims of the same section have the right numbers, found by other means.
"""

from __future__ import annotations

import numpy as np

from heavytail.learning.estimators import MEstimator
from heavytail.learning.landscapes import SphericalSpinGlass
from heavytail.learning.little import LittleNetwork
from heavytail.learning.perceptron import Perceptron
from heavytail.learning.sampling import sample_version_space
from heavytail.reproduce.claim import Check, Claim, Verdict, printed, within

__all__ = ["CLAIMS", "NOT_PRINTED"]

Generator = np.random.Generator

NOT_PRINTED = "a reference computation, not printed in the paper"
"""Note of a check whose number is nobody's but the reference's, and its verdict no judgement of the paper."""
_WRONG = Verdict.PUBLISHED_WRONG


def _gaps(_: Generator) -> dict[str, float]:
    network = LittleNetwork()
    return {
        "gap at T = 1.0, n = 100": network.spectral_gap(100, 1.0),
        "gap at T = 0.8, n = 400": network.spectral_gap(400, 0.8),
    }


_A1 = Claim(
    "A1-reference",
    "Reference values: gaps of Little's network that are off",
    f"Reference values: {NOT_PRINTED} (Little 1974)",
    "Gap between the two largest eigenvalues of the transition matrix with one stored pattern.",
    "formulas alone, nothing is drawn",
    _gaps,
    (
        printed("gap at T = 1.0, n = 100", "0.0519", NOT_PRINTED, _WRONG),
        Check("gap at T = 0.8, n = 400", 2.7e-14, 5e-16, f"{NOT_PRINTED}; two digits", _WRONG),
    ),
    seconds=0.1,
    reason=f"These are of {NOT_PRINTED}. 0.0519 is 0.051846 rounded twice. 2.7e-14 is the difference of two "
    "eigenvalues near 1 in double precision, which is known to 2e-16 times the size of the matrix at best; without a "
    "difference the gap is 2.58e-14, and so it is with 40 digits.",
)


def _votes(rng: Generator) -> dict[str, float]:
    found = {}
    for load in (1.0, 2.0, 4.0):
        walked = sample_version_space(50, load, runs=60, seed=rng).mean("vote_error")
        found[f"vote at load {load}, over Bayes"] = walked / float(Perceptron().solve(load).vote_error) - 1
    return found


_A4 = Claim(
    "A4-reference",
    "Reference values: votes of simulated version spaces that are off",
    f"Reference values: {NOT_PRINTED} (Engel and Van den Broeck 2001)",
    "Error of the centre of mass of students that walk through the version space by hit and run from the teacher, over "
    "Bayes' error for infinitely many weights, less 1.",
    "50 weights, 60 runs of 400 sweeps (reference: a few)",
    _votes,
    tuple(
        within(f"vote at load {load}, over Bayes", 0.05, 0.09, f"5 to 9 % in {NOT_PRINTED}", _WRONG)
        for load in (1.0, 2.0, 4.0)
    ),
    seconds=4,
    slow=True,
    reason=f"These are of {NOT_PRINTED}. At 50 weights the centre of mass is 0 to 3 % above Bayes' error, with "
    "standard errors of 1.5 %, in walks of 400 and of 1200 sweeps alike.",
)

_ABSOLUTE = {1.5: 5.0537, 2.5: 1.4566, 5.0: 0.4541}


def _absolute(_: Generator) -> dict[str, float]:
    model = MEstimator("absolute", "laplace")
    return {f"absolute, load {load}": float(model.solve(load).error) for load in _ABSOLUTE}


_A7 = Claim(
    "A7-reference",
    "Reference values: least absolute residuals that are off",
    f"Reference values: {NOT_PRINTED} (Advani and Ganguli 2016)",
    "Mean square error of least absolute residuals under Laplace noise of scale 1.",
    "formulas alone, nothing is drawn",
    _absolute,
    tuple(
        Check(f"absolute, load {load}", value, 1e-3, f"{NOT_PRINTED}; 1e-3", _WRONG)
        for load, value in _ABSOLUTE.items()
    ),
    seconds=0.1,
    reason=f"These are of {NOT_PRINTED}, and 0.1 to 0.5 % too large. The errors are 5.0484, 1.4535 and 0.4519: "
    "adaptive quadrature of the two equations gives them too, to 8 digits.",
)


def _ground_state(_: Generator) -> dict[str, float]:
    return {"p = 10: ground state": -SphericalSpinGlass(10).ground_state()}


_A9 = Claim(
    "A9-reference",
    "Reference values: a ground state of a spherical spin glass that is off",
    f"Reference values: {NOT_PRINTED} (Auffinger, Ben Arous and Cerny 2013)",
    "Energy of the ground state of the spherical 10-spin glass, below zero.",
    "formulas alone, nothing is drawn",
    _ground_state,
    (printed("p = 10: ground state", "2.1353639", NOT_PRINTED, _WRONG),),
    seconds=0.1,
    reason=f"This is of {NOT_PRINTED}: with 30 digits the ground state is 2.13536380, and the last digit is wrong.",
)

CLAIMS = (_A1, _A4, _A7, _A9)
"""The claims of this group, in the order of the reference."""
