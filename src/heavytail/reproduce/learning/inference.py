"""High-dimensional inference: the best loss, ridge regression and the L1 threshold."""

from __future__ import annotations

import numpy as np

from heavytail.learning.compressed_sensing import l1_threshold
from heavytail.learning.estimators import BayesEstimator, MEstimator
from heavytail.learning.ridge import RidgeRegression
from heavytail.reproduce.claim import Check, Claim, printed, within

__all__ = ["CLAIMS"]

Generator = np.random.Generator


_LOSSES = ("squares", "absolute", "optimal")
_LAPLACE = {1.5: (4.0, 5.0484, 3.8571), 2.5: (1.3333, 1.4535, 1.1619), 5.0: (0.5, 0.4519, 0.3813)}
_SPARSE = {0.05: ".2039", 0.1: ".3288", 0.2: ".5111", 0.3: ".6456"}


def _inference(_: Generator) -> dict[str, float]:
    found = {}
    for load in _LAPLACE:
        for loss in _LOSSES:
            found[f"{loss}, load {load}"] = float(MEstimator(loss, "laplace").solve(load).error)
        found[f"Gaussian noise, load {load}: squares times load less 1"] = float(
            MEstimator("squares", scale=0.5).solve(load).error * (load - 1) / 0.25
        )
        found[f"Gaussian noise, load {load}: optimal over squares"] = float(
            MEstimator("optimal").solve(load).error / MEstimator("squares").solve(load).error
        )
    found |= {f"L1 threshold at sparsity {f}": float(l1_threshold(f)) for f in _SPARSE}
    ridge, bayes = RidgeRegression(0.2, 0.2).solve(2.0), BayesEstimator("gaussian", scale=0.2**0.5).solve(2.0)
    shared = float(ridge.error)
    return found | {
        "ridge": shared,
        "ridge, posterior mean": float(bayes.error),
        "ridge, equation of the best penalty": (0.2 + shared) / (0.2 + shared + 2.0),
        "ridge, penalty 1e-4 at load 1": float(RidgeRegression(0.2, 1e-4).solve(1.0).error),
        "ridge, without penalty at load 1: 1 / error": 1 / float(RidgeRegression(0.2, 0.0).solve(1.0).error),
    }


_A7 = Claim(
    "A7",
    "High-dimensional inference",
    "Advani and Ganguli 2016; El Karoui et al. 2013; Donoho and Tanner 2005; reference values for the numbers",
    "Mean square errors of M-estimators under Laplace noise of scale 1, of ridge regression with noise and penalty 0.2 "
    "at load 2, and measurements a component that L1 needs.",
    "formulas alone, nothing is drawn",
    _inference,
    (
        *(
            Check(
                f"{loss}, load {load}",
                value,
                *((5e-5, "adaptive quadrature") if loss == "absolute" else (1e-3, "reference value, 1e-3")),
            )
            for load, row in _LAPLACE.items()
            for loss, value in zip(_LOSSES, row, strict=True)
        ),
        *(
            Check(f"Gaussian noise, load {load}: squares times load less 1", 1.0, 1e-12, "s^2 / (a - 1)")
            for load in _LAPLACE
        ),
        *(
            Check(f"Gaussian noise, load {load}: optimal over squares", 1.0, 1e-9, "squares are optimal there")
            for load in _LAPLACE
        ),
        *(printed(f"L1 threshold at sparsity {f}", digits, "reference value") for f, digits in _SPARSE.items()),
        Check("ridge", 0.14833148, 5e-9, "reference value, 8 digits"),
        Check("ridge, posterior mean", 0.14833148, 5e-9, "the same by the other way"),
        Check("ridge, equation of the best penalty", 0.14833148, 5e-9, "q = (s^2 + q) / (s^2 + q + a)"),
        printed("ridge, penalty 1e-4 at load 1", "9.905", "reference value"),
        Check("ridge, without penalty at load 1: 1 / error", 0.0, 1e-12, "it diverges"),
    ),
    seconds=0.1,
)


def _simulated(rng: Generator) -> dict[str, float]:
    found = {}
    for load, penalty in ((0.5, 0.2), (1.0, 0.2), (2.0, 0.2), (2.0, 1.0)):
        ridge = RidgeRegression(0.2, penalty)
        drawn = ridge.simulate(600, load, seed=rng, runs=16)
        found[f"ridge at load {load}, penalty {penalty}"] = drawn.mean("error") / float(ridge.solve(load).error)
    model = MEstimator("absolute", "laplace")
    drawn = model.simulate(100, 2.5, seed=rng, runs=24)
    found["least absolute residuals at load 2.5"] = drawn.mean("error")
    off = drawn.mean("error") - float(model.solve(2.5).error)
    return found | {"least absolute residuals at load 2.5, deviation": off / drawn.standard_error("error")}


_A7_SIMULATED = Claim(
    "A7-simulated",
    "Simulated inference",
    "Advani and Ganguli 2016; reference simulations",
    "Error of ridge regression on random samples over its theory; error of least absolute residuals by linear "
    "programming under Laplace noise.",
    "ridge: 600 parameters, 16 draws (published: 4); least absolute residuals: 100 parameters, 24 draws (12)",
    _simulated,
    (
        *(
            Check(f"ridge at load {load}, penalty {penalty}", 1.0, 0.05, "within 5 %")
            for load, penalty in ((0.5, 0.2), (1.0, 0.2), (2.0, 0.2), (2.0, 1.0))
        ),
        Check(
            "least absolute residuals at load 2.5",
            1.470,
            0.29,
            "reference simulation, +- .085; 3 standard errors of the difference",
        ),
        within("least absolute residuals at load 2.5, deviation", -3, 3, "from the theory, in standard errors"),
    ),
    seconds=1.3,
)

CLAIMS = (_A7, _A7_SIMULATED)
"""The claims of this group, in the order of the reference."""
