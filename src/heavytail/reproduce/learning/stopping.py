"""Early stopping: exactly in the linear model, by simulation in classification."""

from __future__ import annotations

from math import sqrt

import numpy as np

from heavytail.learning.early_stopping import EarlyStoppedPerceptron, GradientFlow
from heavytail.learning.perceptron import Perceptron
from heavytail.learning.ridge import RidgeRegression
from heavytail.learning.rules import Hebb, RidgeClassifier
from heavytail.learning.stability import MaximumStability
from heavytail.reproduce.claim import Check, Claim, printed

__all__ = ["CLAIMS"]

Generator = np.random.Generator


# A6: early stopping of the linear model.

_STOPPED = {
    (1.0, 0.2): (".3675", "3.067", ".3583"),
    (2.0, 0.2): (".1541", "2.394", ".14833"),
    (2.0, 1.0): (".4232", ".619", ".41421"),
}  # (load, noise): best error, at time, best ridge


def _stopping(_: Generator) -> dict[str, float]:
    found: dict[str, float] = {}
    scaled, excess = [], []
    for load in (0.5, 1.0, 2.0):
        for noise in (0.2, 1.0):
            best, ridge = GradientFlow(noise).best(load), RidgeRegression(noise).solve(load)
            scaled.append(float(best.time) * noise)
            excess.append(100 * float(best.error / ridge.error - 1))
            if (load, noise) in _STOPPED:
                place = f"load {load}, noise {noise}"
                found |= {f"{place}: error": float(best.error), f"{place}: time": float(best.time)}
                found[f"{place}: ridge"] = float(ridge.error)
    found |= {f"{name} time times noise": value for name, value in (("least", min(scaled)), ("largest", max(scaled)))}
    found |= {f"{name} excess over ridge in percent": f(excess) for name, f in (("least", min), ("largest", max))}
    cold, warm = (RidgeRegression(0.2, 0.5).solve(2.0, T) for T in (0.0, 0.3))
    g = (sqrt(1.5**2 + 4 * 0.5) - 1.5) / (2 * 0.5)  # of penalty 0.5 at load 2
    found["what a temperature of 0.3 adds, over 0.3 g"] = float((warm.error - cold.error) / (0.3 * g))
    late = [float(GradientFlow(0.2).solve(1.0, t).error) for t in (1e4, 1e6)]
    found["unstopped at load 1: exponent of time"] = float(np.log(late[1] / late[0]) / np.log(100))
    for match in ("training", "error"):
        model = GradientFlow(0.2)
        T = float(model.temperature(2.0, 1.0, match=match))
        ridge = RidgeRegression(0.2, 0.0 if match == "training" else 0.2).solve(2.0, T)
        flow = model.solve(2.0, 1.0)
        name = "training_error" if match == "training" else "error"
        found[f"temperature matched by the {match}: mismatch"] = float(getattr(ridge, name) - getattr(flow, name))
    return found


_A6_STOPPING = Claim(
    "A6-stopping",
    "Early stopping of the linear model",
    "Martin and Mahoney 2017; Advani and Saxe 2017; Ali, Kolter and Tibshirani 2019",
    "Least error of a gradient flow and when it is reached, against the best ridge regression; the temperature of the "
    "Gibbs measure with the same error.",
    "formulas alone, nothing is drawn; loads 0.5, 1 and 2, noise 0.2 and 1",
    _stopping,
    (
        *(
            printed(f"load {load}, noise {noise}: {name}", digits, "reference value")
            for (load, noise), row in _STOPPED.items()
            for name, digits in zip(("error", "time", "ridge"), row, strict=True)
        ),
        printed("least time times noise", "0.48", "reference value"),
        printed("largest time times noise", "0.70", "reference value"),
        printed("least excess over ridge in percent", "0.4", "reference value"),
        printed("largest excess over ridge in percent", "3.9", "reference value"),
        Check("what a temperature of 0.3 adds, over 0.3 g", 1.0, 1e-12, "exact"),
        Check("unstopped at load 1: exponent of time", 0.5, 0.01, "it diverges; as the square root"),
        *(
            Check(f"temperature matched by the {m}: mismatch", 0.0, 1e-12, "by definition")
            for m in ("training", "error")
        ),
    ),
    seconds=0.1,
)


# A6: early stopping in classification.

_ENDS = {0.1: (".2663", ".3067", ".2430", ".2479"), 0.2: (".3106", ".3682", ".3022", ".3047")}
_STUDENTS = ("Hebb", "maximum stability", "Bayes", "best ridge")


def _ends(_: Generator) -> dict[str, float]:
    found: dict[str, float] = {}
    for noise in _ENDS:
        gibbs = Perceptron("spherical", noise)
        values = (
            Hebb(noise).solve(2.0).error,
            MaximumStability(noise).solve(2.0).error,
            gibbs.solve(2.0, gibbs.nishimori_temperature).vote_error,
            RidgeClassifier(noise).solve(2.0).error,
        )
        found |= {f"{name}, label noise {noise}": float(v) for name, v in zip(_STUDENTS, values, strict=True)}
    return found | {"maximum stability, no label noise": float(MaximumStability().solve(2.0).error)}


_A6_ENDS = Claim(
    "A6-ends",
    "Where early stopping in classification begins and ends",
    "Martin and Mahoney 2017; Soudry et al. 2018; Opper, Kinzel, Kleinz and Nehl 1990",
    "Errors at load 2 of Hebb's rule, with which gradient descent begins, of maximum stability, with which it ends, "
    "and of the best students there are, Bayes' and ridge.",
    "formulas alone, nothing is drawn",
    _ends,
    (
        *(
            printed(f"{name}, label noise {noise}", digits, "reference value")
            for noise, row in _ENDS.items()
            for name, digits in zip(_STUDENTS, row, strict=True)
        ),
        printed("maximum stability, no label noise", ".1885", "reference value"),
    ),
    seconds=0.1,
)


def _descent(rng: Generator) -> dict[str, float]:
    found, steps = {}, tuple(range(1, 11))
    for noise in _ENDS:
        path = EarlyStoppedPerceptron(noise).simulate(300, 2.0, steps=steps, runs=80, seed=rng)
        best = int(np.argmin(path.error))
        found[f"least error, label noise {noise}"] = float(path.error[best])
        found[f"error after a step, label noise {noise}"] = float(path.error[0])
        found[f"step of the least error, label noise {noise}"] = float(steps[best])
        found[f"training error after 5 steps, label noise {noise}"] = float(path.training_error[4])
    end = EarlyStoppedPerceptron(0.1).simulate(300, 2.0, steps=(500,), runs=16, seed=rng)
    return found | {
        "error in the end, label noise 0.1": float(end.error[0]),
        "training error in the end, label noise 0.1": float(end.training_error[0]),
    }


_A6_DESCENT = Claim(
    "A6-descent",
    "Early stopping in classification",
    "Martin and Mahoney 2017; reference simulations",
    "Errors along gradient descent on the logistic loss at load 2: the least, at the begin, and after 500 steps of "
    "size 1.",
    "300 weights, 80 runs, 16 for the end (published: 6)",
    _descent,
    (
        Check("least error, label noise 0.1", 0.2484, 0.015, "reference simulation, tolerance 0.015"),
        Check("least error, label noise 0.2", 0.2957, 0.015, "reference simulation of 6 draws, tolerance 0.015"),
        Check("error after a step, label noise 0.2", 0.3012, 0.015, "reference simulation of 6 draws, tolerance 0.015"),
        Check("step of the least error, label noise 0.1", 5, 2, "about step 5"),
        Check("training error after 5 steps, label noise 0.1", 0.066, 0.015, "reference simulation, tolerance 0.015"),
        Check("error in the end, label noise 0.1", 0.29, 0.015, "reference simulation, tolerance 0.015"),
        Check("training error in the end, label noise 0.1", 0.0, 0.002, "none"),
    ),
    seconds=1.1,
)


def _late_descent(rng: Generator) -> dict[str, float]:
    path = EarlyStoppedPerceptron().simulate(300, 2.0, steps=(40_000,), runs=6, seed=rng)
    return {"error after 40000 steps": float(path.error[0])}


_A6_LATE = Claim(
    "A6-late",
    "Gradient descent does not reach maximum stability",
    "Soudry et al. 2018; reference simulations",
    "Error of gradient descent on the logistic loss at load 2, without label noise, after 40000 steps of size 1; of "
    "maximum stability it is 0.1885.",
    "300 weights, 6 runs",
    _late_descent,
    (
        Check(
            "error after 40000 steps", 0.1788, 0.021, "reference simulation; 3 standard errors of the difference, 0.007"
        ),
    ),
    seconds=7,
    slow=True,
)

CLAIMS = (_A6_STOPPING, _A6_ENDS, _A6_DESCENT, _A6_LATE)
"""The claims of this group, in the order of the reference."""
