"""A perceptron that learns from a noisy teacher at finite temperature."""

from __future__ import annotations

from math import log, log2
from typing import Literal

import numpy as np

from heavytail.learning.annealed import Annealed, HighTemperature
from heavytail.learning.perceptron import Perceptron
from heavytail.learning.phases import transitions
from heavytail.learning.sampling import enumerate_students, expected_students
from heavytail.reproduce.claim import Check, Claim, printed, within

__all__ = ["CLAIMS"]

Generator = np.random.Generator
Weights = Literal["spherical", "ising"]


_LINES = {
    0.05: (1.2447, 1.4926, 1.2447),
    0.2: (1.2634, 1.5161, 1.3552),
    0.3: (1.3335, 1.6054, 1.5915),
    0.5: (1.5708, 1.9026, None),
    1.0: (2.3328, 2.8456, None),
    5.0: (9.0447, 11.0959, None),
}  # temperature: transition, spinodal, load where the entropy of the poor students vanishes


def _lines(_: Generator) -> dict[str, float]:
    found = transitions(Perceptron("ising"), list(_LINES))
    values: dict[str, float] = {}
    for k, T in enumerate(_LINES):
        values[f"transition at T = {T}"] = float(found.transition[k])
        values[f"spinodal at T = {T}"] = float(found.spinodal[k])
        values[f"glass at T = {T}"] = float(found.glass[k])
        values[f"glass at T = {T}: whether there is any"] = float(np.isfinite(found.glass[k]))
    return values


def _line_checks() -> tuple[Check, ...]:
    checks = []
    for T, (transition, spinodal, glass) in _LINES.items():
        checks.append(Check(f"transition at T = {T}", transition, 2e-3, "reference value, 2e-3"))
        checks.append(Check(f"spinodal at T = {T}", spinodal, 2e-3, "reference value, 2e-3"))
        if glass:
            checks.append(Check(f"glass at T = {T}", glass, 2e-3, "reference value, 2e-3"))
        else:
            checks.append(Check(f"glass at T = {T}: whether there is any", 0.0, 0.1, "none"))
    return tuple(checks)


_A5 = Claim(
    "A5",
    "Transition, spinodal and glass of Ising students at finite temperature",
    "Seung, Sompolinsky and Tishby 1992",
    "Loads where the perfect student has the lower free energy, where the poor ones end, and where their entropy "
    "vanishes, without label noise: replica symmetric.",
    "formulas alone, nothing is drawn",
    _lines,
    _line_checks(),
    seconds=0.5,
)


def _limits(_: Generator) -> dict[str, float]:
    found = {}
    for name, theory, T in (("high temperature", HighTemperature("ising"), 1.0), ("annealed", Annealed("ising"), 0.0)):
        for kind, load in (("transition", float(theory.transition(T))), ("spinodal", float(theory.spinodal(T)))):
            state = theory.solve(load, T, branch="poor")
            found[f"{name}: {kind}"] = load
            found[f"{name}: overlap at the {kind}"] = float(state.overlap)
            found[f"{name}: error at the {kind}"] = float(state.error)
    hot = np.array([100.0, 200.0])
    lines = transitions(Perceptron("ising"), hot)
    for name, line in (("transition", lines.transition), ("spinodal", lines.spinodal)):
        scaled = line / hot
        found[f"replica-symmetric {name} over T, extrapolated to infinite T"] = float(2 * scaled[1] - scaled[0])
    return found


_A5_LIMITS = Claim(
    "A5-limits",
    "Ising students at high temperature and in the annealed theory",
    "Seung, Sompolinsky and Tishby 1992; Haussler, Kearns, Seung and Tishby 1996",
    "Transition and spinodal in the limit of high temperature, as multiples of it, in closed theory and as the limit "
    "of the replica-symmetric theory at temperatures 100 and 200; and in the annealed theory at zero temperature.",
    "formulas alone, nothing is drawn",
    _limits,
    (
        printed("high temperature: transition", "1.6959326", "reference value"),
        printed("high temperature: overlap at the transition", "0.580237", "reference value"),
        printed("high temperature: spinodal", "2.0820699", "reference value"),
        printed("high temperature: overlap at the spinodal", "0.833557", "reference value"),
        printed("annealed: transition", "1.4479664", "reference value"),
        printed("annealed: error at the transition", "0.254256", "reference value"),
        printed("annealed: spinodal", "1.7301118", "reference value"),
        printed("annealed: error at the spinodal", "0.153293", "reference value"),
        Check("replica-symmetric transition over T, extrapolated to infinite T", 1.6959326, 1e-4, "of order 1/T^2"),
        Check("replica-symmetric spinodal over T, extrapolated to infinite T", 2.0820699, 1e-4, "of order 1/T^2"),
    ),
    seconds=0.3,
)


# The Nishimori temperature.

_BAYES = {(2.0, 0.1): ".243000", (2.0, 0.2): ".302168", (1.0, 0.1): ".308058"}  # (load, label noise): error
_NOISY: tuple[tuple[Weights, float], ...] = (("spherical", 3.0), ("ising", 1.5))


def _nishimori(_: Generator) -> dict[str, float]:
    found = {"temperature of label noise 0.1": Perceptron(label_noise=0.1).nishimori_temperature}
    for load, noise in _BAYES:
        model = Perceptron(label_noise=noise)
        found[f"Bayes' error at load {load:g}, label noise {noise}"] = float(
            model.solve(load, model.nishimori_temperature).vote_error
        )
    for weights, load in _NOISY:
        model = Perceptron(weights, 0.1)
        T = model.nishimori_temperature
        state = model.solve(load, T)
        found[f"{weights}: error"] = float(state.error)
        found[f"{weights}: training error"] = float(state.training_error)
        found[f"{weights}: self-overlap less overlap"] = float(state.self_overlap - state.overlap)
        found[f"{weights}: training error less label noise"] = float(state.training_error) - 0.1
        step = 0.01 * T
        near = model.solve(load, T + step * np.array([-2, -1, 0, 1, 2])).vote_error
        slope, bend = near @ np.array([1, -8, 0, 8, -1]) / (12 * step), near @ np.array([-1, 16, -30, 16, -1])
        found[f"{weights}: temperature of the least vote error, over Nishimori's"] = 1 - slope / (
            bend / (12 * step**2) * T
        )
        shares = np.linspace(0.2, 1.0, 9)
        least = int(np.argmin(model.solve(load, shares * T).error))
        found[f"{weights}: temperature of the least error, over Nishimori's"] = float(shares[least])
    return found


_A5_NISHIMORI = Claim(
    "A5-Nishimori",
    "Students as noisy as the labels",
    "Nishimori 1980; Györgyi and Tishby 1990; Opper and Haussler 1991",
    "At the temperature 1 / ln((1 - lam) / lam) the overlap of two students is that of one with the teacher, the "
    "training error is the label noise lam, and the vote is Bayes' and best; a single student is best at a lower one.",
    "formulas alone, nothing is drawn; spherical at load 3, Ising at load 1.5, label noise 0.1",
    _nishimori,
    (
        printed("temperature of label noise 0.1", "0.45512", "closed form"),
        printed("spherical: error", "0.27374", "reference value"),
        printed("ising: error", "0.34167", "reference value"),
        printed("spherical: training error", "0.10000", "exact"),
        *(Check(f"{weights}: self-overlap less overlap", 0.0, 1e-12, "exact") for weights, _ in _NOISY),
        *(Check(f"{weights}: training error less label noise", 0.0, 1e-8, "exact") for weights, _ in _NOISY),
        *(
            printed(f"Bayes' error at load {load:g}, label noise {noise}", digits, "reference value")
            for (load, noise), digits in _BAYES.items()
        ),
        *(
            Check(f"{weights}: temperature of the least vote error, over Nishimori's", 1.0, 1e-6, "exact")
            for weights, _ in _NOISY
        ),
        *(
            within(f"{weights}: temperature of the least error, over Nishimori's", 0, 0.5, "at most half, it is said")
            for weights, _ in _NOISY
        ),
    ),
    seconds=0.9,
)


# Identities.

_PLACES: tuple[tuple[Weights, float, float, float], ...] = (
    ("spherical", 0.0, 2.0, 0.7),
    ("spherical", 0.1, 3.0, 0.6),
    ("ising", 0.0, 1.5, 1.0),
    ("ising", 0.1, 1.5, 0.6),
)
_EXPONENTS = ((0.0, 0.0), (0.0, 2.0), (0.1, 0.5), (0.2, 2.0))  # (label noise, temperature)


def _identities(rng: Generator) -> dict[str, float]:
    found = {}
    for weights, noise, load, T in _PLACES:
        model, step = Perceptron(weights, noise), 1e-3
        state, near = model.solve(load, T), model.solve(load, T + step * np.array([-2, -1, 1, 2]))
        slope = float(near.free_energy @ np.array([1, -8, 8, -1])) / (12 * step)
        place = f"{weights}, label noise {noise}, load {load}, T = {T}"
        found[f"{place}: entropy"] = float(state.entropy) + slope
        found[f"{place}: energy"] = float(state.free_energy + T * state.entropy - load * state.training_error)
    temperatures = np.array([0.0, 0.3, 1.0, 10.0])
    for weights, loads in (("spherical", [0.5, 1.0, 5.0, 50.0]), ("ising", [0.2, 0.6, 1.0, 1.2])):
        states = Perceptron(weights).solve(np.array(loads)[:, None], temperatures)
        found[f"{weights}: largest residual"] = float(np.max(states.residual))
    for noise, T in _EXPONENTS:
        error = Perceptron("spherical", noise).solve([1e4, 2e4], T).error
        found[f"label noise {noise}, T = {T}: exponent of the load"] = log2(error[1] / error[0])
    hot = HighTemperature().solve(1e5, 1.0)
    found["high temperature: error times load over T"] = float(hot.error) * 1e5
    return found | _small_systems(rng)


def _small_systems(rng: Generator) -> dict[str, float]:
    """Compare exact finite systems with their enumeration, and with the annealed theory of infinite ones."""
    weight = np.exp(-np.arange(21) / 0.8)
    exact = (expected_students(13, 20, label_noise=0.1) @ weight).sum()
    drawn = (enumerate_students(13, 20, label_noise=0.1, runs=500, seed=rng).counts @ weight).sum(axis=1)
    rates = [
        log((expected_students(n, 2 * n, label_noise=0.1) @ np.exp(-np.arange(2 * n + 1) / 1.5)).sum()) / n
        for n in (500, 1000)
    ]
    annealed = Annealed("ising", 0.1).solve(2.0, 1.5)
    return {
        "13 weights: mean partition function, deviation": float(
            (drawn.mean() - exact) / drawn.std(ddof=1) * len(drawn) ** 0.5
        ),
        "annealed free entropy less that of finite systems": float(annealed.free_entropy) - (2 * rates[1] - rates[0]),
    }


_A5_IDENTITIES = Claim(
    "A5-identities",
    "Perceptrons at finite temperature: identities",
    "Seung, Sompolinsky and Tishby 1992",
    "Entropy plus the derivative of the free energy in the temperature, free energy less energy and entropy, "
    "residuals, exponents of the error at large loads, and exact finite systems.",
    "500 draws of 13 weights and 20 examples; else formulas alone, of 500 and 1000 weights extrapolated in 1/n",
    _identities,
    (
        *(
            Check(f"{weights}, label noise {noise}, load {load}, T = {T}: {name}", 0.0, 1e-8, "thermodynamics")
            for weights, noise, load, T in _PLACES
            for name in ("entropy", "energy")
        ),
        *(Check(f"{weights}: largest residual", 0.0, 1e-9, "the equations") for weights in ("spherical", "ising")),
        *(Check(f"label noise {noise}, T = {T}: exponent of the load", -1.0, 1e-5, "limit") for noise, T in _EXPONENTS),
        Check("high temperature: error times load over T", 1.0, 1e-5, "limit"),
        within("13 weights: mean partition function, deviation", -4, 4, "exact at any size; in standard errors"),
        Check("annealed free entropy less that of finite systems", 0.0, 1e-5, "of order 1/n^2"),
    ),
    seconds=1.3,
)

CLAIMS = (_A5, _A5_LIMITS, _A5_NISHIMORI, _A5_IDENTITIES)
"""The claims of this group, in the order of the reference."""
