"""Capacity: how much a perceptron can store, and how many noisy examples of a teacher it can fit."""

from __future__ import annotations

from math import sqrt

import numpy as np

from heavytail.learning.capacity import (
    IsingCapacity,
    cover_probability,
    gardner_capacity,
    separable_error,
    separable_load,
    simulate_separability,
)
from heavytail.learning.stability import MaximumStability
from heavytail.reproduce.claim import Check, Claim, printed, within

__all__ = ["CLAIMS"]

Generator = np.random.Generator


_GARDNER = {0: 2.0, 0.5: 0.961205, 1: 0.519572, 2: 0.200231}
_SEPARABLE = {0.5: 2.0, 0.4: 2.0333, 0.3: 2.1457, 0.2: 2.3913, 0.1: 2.9923, 0.05: 3.8097, 0.01: 6.7103}
_SEPARABLE_ERROR = {0.2: "0.3636", 0.1: "0.2927"}


def _capacity(_: Generator) -> dict[str, float]:
    model = IsingCapacity()
    ising = model.capacity()
    found = {f"spherical weights, margin {kappa}": float(gardner_capacity(kappa)) for kappa in _GARDNER}
    found |= {"Ising weights": ising, "self-overlap there": float(model.solve(ising).self_overlap)}
    for noise in _SEPARABLE:
        found[f"noisy teacher, {noise}"] = float(separable_load(noise))
        found[f"noisy teacher, {noise}: where maximum stability ends"] = MaximumStability(noise).separable_load
    return found | {f"noisy teacher, {noise}: error": float(separable_error(noise)) for noise in _SEPARABLE_ERROR}


_A3 = Claim(
    "A3",
    "Capacity of the perceptron",
    "Gardner 1988; Krauth and Mezard 1989; Engel and Van den Broeck 2001",
    "Patterns per weight that spherical weights store with a margin and Ising weights store at all; examples per "
    "weight of a teacher with flipped labels that spherical weights can fit, and the error of the student that does.",
    "formulas alone, nothing is drawn",
    _capacity,
    (
        *(Check(f"spherical weights, margin {k}", a, 1e-6, "reference value, 1e-6") for k, a in _GARDNER.items()),
        Check("Ising weights", 0.8330786, 1e-6, "reference value, 1e-6"),
        Check("self-overlap there", 0.563949, 1e-6, "reference value, 1e-6"),
        *(Check(f"noisy teacher, {lam}", a, 1e-3, "reference value, 1e-3") for lam, a in _SEPARABLE.items()),
        *(
            Check(f"noisy teacher, {lam}: where maximum stability ends", a, 1e-3, "reference value, 1e-3")
            for lam, a in _SEPARABLE.items()
        ),
        *(printed(f"noisy teacher, {lam}: error", e, "reference value") for lam, e in _SEPARABLE_ERROR.items()),
    ),
    seconds=0.1,
)


_LINEAR_PROGRAM = {1.5: ("0.98869", 0.995), 2.0: ("0.5", 0.495), 2.5: ("0.04025", 0.04)}  # load: Cover, simulation
_STORED = {0.6: 0.98, 0.7: 0.92, 0.8: 0.82, 0.9: 0.50, 1.0: 0.18}
_CROSSINGS = (0.4, 0.2, 0.1, 0.05)


def _spread(p: float, draws: int, reference_draws: int) -> float:
    """Four standard errors of the difference of two simulated probabilities."""
    return 4 * sqrt(p * (1 - p) * (1 / draws + 1 / reference_draws))


def _storage(rng: Generator) -> dict[str, float]:
    found = {}
    for load in _LINEAR_PROGRAM:
        found[f"separable at load {load}, Cover"] = float(cover_probability(30 * load, 30))
        found[f"separable at load {load}"] = simulate_separability(30, load, runs=1000, seed=rng).mean("separable")
    for noise in _CROSSINGS:
        relative = np.array([0.9, 1.0, 1.1])
        loads = relative * float(separable_load(noise))
        shares = [simulate_separability(80, a, noise, runs=60, seed=rng).mean("separable") for a in loads]
        found[f"half are separable, label noise {noise}"] = float(np.interp(-0.5, -np.array(shares), relative))
    drawn = {load: IsingCapacity().simulate(19, load, runs=60, seed=rng) for load in _STORED}
    found |= {f"stored in 19 Ising weights at load {load}": some.mean("stored") for load, some in drawn.items()}
    shares = [some.mean("stored") for some in drawn.values()]
    found["half are stored in 19 Ising weights"] = float(np.interp(-0.5, -np.array(shares), list(_STORED)))
    few = drawn[0.6]
    exact = 2.0 ** (19 - round(0.6 * 19))
    found["mean number of solutions at load 0.6, deviation"] = (few.mean("solutions") - exact) / few.standard_error(
        "solutions"
    )
    return found


_A3_SIMULATED = Claim(
    "A3-simulated",
    "Capacity of small perceptrons",
    "Cover 1965; Gardner 1988; Krauth and Mezard 1989; reference simulations for the numbers",
    "Share of draws of random patterns, and of noisy examples of a teacher, that a perceptron can fit; for Ising "
    "weights by trying all of them.",
    "30 inputs, 1000 draws (published: 200); 80 inputs, 60 draws a load; 19 Ising weights, 60 draws (published: not "
    "said, taken for 50)",
    _storage,
    (
        *(printed(f"separable at load {a}, Cover", p, "closed form") for a, (p, _) in _LINEAR_PROGRAM.items()),
        *(
            Check(
                f"separable at load {a}",
                p,
                _spread(float(cover), 1000, 200),
                "reference simulation; 4 standard errors of 200 and 1000 draws",
            )
            for a, (cover, p) in _LINEAR_PROGRAM.items()
        ),
        *(
            Check(f"half are separable, label noise {noise}", 1.0, 0.1, "over the limit of many inputs; within 10 %")
            for noise in _CROSSINGS
        ),
        *(
            Check(
                f"stored in 19 Ising weights at load {a}",
                p,
                _spread(p, 60, 50),
                "reference simulation; 4 standard errors of 50 and 60 draws",
            )
            for a, p in _STORED.items()
        ),
        printed("half are stored in 19 Ising weights", "0.9", "near 0.9 at this size; the limit is 0.833"),
        within("mean number of solutions at load 0.6, deviation", -4, 4, "exactly 2^(n - p); in standard errors"),
    ),
    seconds=2.5,
)

CLAIMS = (_A3, _A3_SIMULATED)
"""The claims of this group, in the order of the reference."""
