"""The very simple deep learning model: label noise as a lower load, the plane of load and temperature."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2
from typing import Literal

import numpy as np
from scipy.optimize import minimize_scalar

from heavytail.learning._gauss import Array
from heavytail.learning.annealed import Annealed, HighTemperature
from heavytail.learning.perceptron import Perceptron
from heavytail.learning.phases import transitions
from heavytail.learning.results import Simulation
from heavytail.learning.rules import Hebb
from heavytail.learning.sampling import sample_perceptron
from heavytail.learning.vsdl import VSDL
from heavytail.reproduce.claim import Check, Claim, Verdict, printed, within

__all__ = ["CLAIMS"]

Generator = np.random.Generator


# A6: label noise as a lower load.

_SHARES = (0.1, 0.2, 0.4)
_RATIOS = {
    20.0: ("1.0018", "1.0041", "1.0110"),
    5.0: ("1.0075", "1.0171", "1.0467"),
    1.0: ("1.046", "1.108", "1.333"),
    0.5: ("1.114", "1.286", "2.03"),
    0.3: ("1.25", "1.65", "3.33"),
}
_FROZEN = {(0.5, 0.4): "1.87182", (0.3, 0.1): "1.23849", (0.3, 0.2): "1.50805", (0.3, 0.4): "2.20499"}
"""Ratios at (T, p) below the Nishimori temperature."""
_AT_ONE = {0.0: "2.3328", 0.1: "2.7105", 0.2: "3.2303", 0.4: "5.1827"}


def _ratio(T: float, p: float) -> str:
    return f"T = {T:g}, p = {p}"


def _loads(_: Generator) -> dict[str, float]:
    temperatures = list(_RATIOS)
    clean = transitions(Perceptron("ising"), temperatures)
    found = {"transition at T = 1, p = 0.0": float(clean.transition[temperatures.index(1.0)])}
    for p in _SHARES:
        noisy = transitions(Perceptron("ising", p / 2), temperatures)
        found[f"transition at T = 1, p = {p}"] = float(noisy.transition[temperatures.index(1.0)])
        for k, T in enumerate(temperatures):
            found[_ratio(T, p)] = float((1 - p) * noisy.replica_transition[k] / clean.transition[k])
            found[f"{_ratio(T, p)}, frozen"] = float((1 - p) * noisy.transition[k] / clean.transition[k])
    for p in _AT_ONE:
        loads = np.array([0.5, 2.0, 10.0])
        noisy_hebb, clean_hebb = Hebb(p / 2).solve(loads), Hebb().solve(loads * (1 - p) ** 2)
        found[f"Hebb at p = {p}"] = float(np.max(np.abs(noisy_hebb.overlap - clean_hebb.overlap)))
        hot, cold = HighTemperature("ising", p / 2), HighTemperature("ising")
        found[f"high temperature at p = {p}"] = float(hot.transition(1.0) * (1 - p) / cold.transition(1.0))
    return found


def _ratio_checks() -> tuple[Check, ...]:
    checks = []
    for T, row in _RATIOS.items():
        for p, digits in zip(_SHARES, row, strict=True):
            note = "reference value: replica symmetry, which fails there" if (T, p) in _FROZEN else "reference value"
            checks.append(printed(_ratio(T, p), digits, note))
    note = "the load at the Nishimori temperature, from q = R alone, by adaptive quadrature"
    checks += [printed(f"{_ratio(T, p)}, frozen", digits, note) for (T, p), digits in _FROZEN.items()]
    return tuple(checks)


_A6 = Claim(
    "A6",
    "How label noise lowers the load",
    "Martin and Mahoney 2017; Seung, Sompolinsky and Tishby 1992; Vallet 1989",
    "Load of the transition of Ising students with a fraction p of random labels, times 1 - p, over that without: 1 "
    "where the model's effective load is exact. Below the Nishimori temperature replica symmetry fails before its "
    "transition; the poor students are frozen there, and the transition stays at the load that it has at that "
    "temperature: these ratios stand beside those of replica symmetry. Differences of Hebb's overlaps at loads that "
    "(1 - p)^2 makes equal.",
    "formulas alone, nothing is drawn",
    _loads,
    (
        *_ratio_checks(),
        *(printed(f"transition at T = 1, p = {p}", digits, "reference value") for p, digits in _AT_ONE.items()),
        *(Check(f"Hebb at p = {p}", 0.0, 1e-14, "exact") for p in _AT_ONE),
        *(Check(f"high temperature at p = {p}", 1.0, 1e-12, "exact") for p in _AT_ONE),
    ),
    seconds=1.2,
)


# A6: the plane of load and temperature.

_STOPS = ("A", "B", "C")
_EXPECTED = {"A": "perfect", "B": "spin glass", "C": "poor"}


def _plane(_: Generator) -> dict[str, float]:
    path = VSDL().path(load=2.0, randomised=0.5, cold=0.2, warm=0.8)
    ising, spherical = VSDL("ising"), VSDL("spherical")
    top = minimize_scalar(lambda x: -float(ising.small_error_load(x)), bounds=(0.1, 0.9), method="bounded")
    temperatures = np.array([0.30, 0.32, 0.34, 0.36])
    glassy = np.isfinite(transitions(Perceptron("ising"), temperatures).glass)
    lines = transitions(Perceptron("ising"), 0.0)
    few, many = spherical.solve([1e4, 2e4]).error
    errors = np.array([0.01, 0.1])
    found = {
        f"{stop.name} is {_EXPECTED[stop.name]}": float(stop.exact.phase == _EXPECTED[stop.name]) for stop in path.stops
    }
    return found | {
        "transition at T = 0": float(lines.transition[0]),
        "spinodal at T = 0": float(lines.spinodal[0]),
        "annealed jump at T = 0": float(Annealed("ising").transition(0.0)),
        "spin glass up to T": float(temperatures[glassy][-1]),
        "error that the students jump to on lowering the load": float(ising.solve(1.24468).error),
        "smooth class: load times error by the small-error formula": float(
            np.mean(errors * spherical.small_error_load(errors))
        ),
        "smooth class: exponent of the load": log2(many / few),
        "largest load of the small-error formula": -float(top.fun),
    }


_A6_PLANE = Claim(
    "A6-plane",
    "Two knobs: load and temperature",
    "Martin and Mahoney 2017, section 3",
    "The path from clean labels (A) over random ones (B) to early stopping (C) of Ising students at load 2: half of "
    "the labels random at B and C, temperature 0.2 at A and B and 0.8 at C; where the lines of the plane end; the "
    "model's formulas for small errors.",
    "formulas alone, nothing is drawn",
    _plane,
    (
        *(Check(f"{name} is {_EXPECTED[name]}", 1.0, 0.1, "the path; 1 if so") for name in _STOPS),
        printed("transition at T = 0", "1.2447", "reference value"),
        printed("spinodal at T = 0", "1.4926", "reference value"),
        printed("annealed jump at T = 0", "1.448", "reference value"),
        printed("spin glass up to T", "0.3", "about 0.3"),
        printed("error that the students jump to on lowering the load", "0.256", "reference value"),
        Check("smooth class: load times error by the small-error formula", 1.0, 1e-12, "equation 8"),
        Check("smooth class: exponent of the load", -1.0, 1e-5, "equation 8"),
        printed("largest load of the small-error formula", "3.6308", "pi^2 / e, of equation 13; no transition"),
    ),
    seconds=1.1,
)


# A6: simulated students at finite temperature.

_COLD_START = {1.0: (0.411, ".413"), 2.0: (0.321, ".322"), 2.2: (0.288, ".301"), 2.5: (0.258, ".265")}
_NOISE_CUT = {0.3: (0.267, ".268"), 0.4: (0.328, ".316"), 0.6: (0.375, ".387")}
_DEVIATION = {0.3: 0.031, 0.4: 0.019, 0.6: 0.017}  # of a run, at these shares of random labels
_HEAT_CUT = {0.3: (0.360, ".353"), 0.4: (0.367, ".364"), 0.6: (0.386, ".386"), 0.8: (0.405, ".404")}
_HEAT_CUT |= {1.2: (0.431, ".429"), 2.0: (0.454, ".454")}
_GLASSY = {0.1: 0.435, 0.2: 0.411, 0.3: 0.360}
_CUTS = (
    *((f"load {load}, T = 1", load, 1.0, 0.0, *values) for load, values in _COLD_START.items()),
    *((f"load 4, T = 1, p = {p}", 4.0, 1.0, p, *values) for p, values in _NOISE_CUT.items()),
    *((f"load 1.2, T = {T}, p = 0.2", 1.2, T, 0.2, *values) for T, values in _HEAT_CUT.items()),
)  # name, load, temperature, randomised share, simulated error, replica-symmetric error


def _poor(p: float, loads: Sequence[float], temperatures: Sequence[float]) -> tuple[Array, Array]:
    """Error and training error of the poor students, at pairs of loads and temperatures."""
    state = Perceptron("ising", p / 2).solve(loads, temperatures, branch="poor")
    return state.error, state.training_error


def _cuts(_: Generator) -> dict[str, float]:
    found: dict[str, float] = {}
    for share in sorted({p for *_, p, _, _ in _CUTS}):
        cut = [(name, load, T) for name, load, T, p, *_ in _CUTS if p == share]
        errors, _training = _poor(share, [load for _, load, _ in cut], [T for _, _, T in cut])
        found |= {name: float(error) for (name, *_), error in zip(cut, errors, strict=True)}
    _error, training = _poor(0.2, [1.2], [0.2])
    return found | {"load 1.2, T = 0.2, p = 0.2: training error": float(training[0])}


_A6_CUTS = Claim(
    "A6-cuts",
    "Errors of Ising students along load, label noise and temperature",
    "Seung, Sompolinsky and Tishby 1992; Martin and Mahoney 2017",
    "Generalisation error of the poor students, also where they are metastable: replica symmetric.",
    "formulas alone, nothing is drawn",
    _cuts,
    (
        *(printed(name, digits, "reference value") for name, _, _, _, _, digits in _CUTS),
        printed("load 1.2, T = 0.2, p = 0.2: training error", ".02", "reference value, where replica symmetry fails"),
    ),
    seconds=0.5,
)


def _walk(
    load: float, T: float, p: float, rng: Generator, start: Literal["random", "teacher"] = "random", runs: int = 16
) -> Simulation:
    return sample_perceptron("ising", 201, load, T, p / 2, start=start, sweeps=3000, runs=runs, seed=rng)


def _jumped(drawn: Simulation) -> float:
    """Share of the runs that are, or become, perfect: the poor state has errors from 0.2 on in all places here."""
    return float(np.mean(drawn.samples["error"] < 0.15))


def _metropolis(rng: Generator) -> dict[str, float]:
    found: dict[str, float] = {}
    drawn = {
        (load, T, p): _walk(load, T, p, rng, runs=48 if p in _NOISE_CUT or load == 2.5 else 16)
        for _, load, T, p, *_ in _CUTS
    }
    for name, load, T, p, *_ in _CUTS:
        error = float(np.median(drawn[load, T, p].samples["error"]))
        found[name] = found[f"{name}, against the theory"] = error
    _, theory = _poor(0.0, list(_COLD_START), [1.0] * len(_COLD_START))
    for load, expected in zip(_COLD_START, theory, strict=True):
        training = float(np.median(drawn[load, 1.0, 0.0].samples["training_error"]))
        found[f"load {load}, T = 1: training error less theory"] = training - float(expected)
    glassy = {T: _walk(1.2, T, 0.2, rng) for T in _GLASSY}
    found |= {f"glassy at T = {T}": walk.mean("error") for T, walk in glassy.items()}
    found["glassy at T = 0.2: training error"] = glassy[0.2].mean("training_error")
    cut = {T: drawn[1.2, T, 0.2].mean("error") for T in _HEAT_CUT}
    found["temperature of the least error"] = min(cut, key=cut.__getitem__)
    found |= {f"load {load}, T = 1: share that jumps": _jumped(_walk(load, 1.0, 0.0, rng)) for load in (2.8, 3.2)}
    for load in (2.2, 2.5):
        found[f"load {load}, T = 1: share that stays"] = _jumped(_walk(load, 1.0, 0.0, rng, "teacher"))
    for p in (0.0, 0.1):
        found[f"load 4, T = 1, p = {p}: share that jumps"] = _jumped(_walk(4.0, 1.0, p, rng))
    return found | {"load 4, T = 1, p = 0.2: share that jumps": _jumped(_walk(4.0, 1.0, 0.2, rng, runs=48))}


_A6_METROPOLIS = Claim(
    "A6-Metropolis",
    "Simulated Ising students along load, label noise and temperature",
    "Seung, Sompolinsky and Tishby 1992; Martin and Mahoney 2017; reference simulations for the numbers",
    "Generalisation error of Metropolis chains from a random start, median of the runs, since near the "
    "spinodal some leave the metastable state; chains that find the teacher, and chains that start from it.",
    "201 weights, 3000 sweeps, 16 runs of two chains, 48 along label noise and at load 2.5 (published: a few)",
    _metropolis,
    (
        *(
            Check(name, value, 0.015, "reference simulation, tolerance 0.015")
            for name, _, T, p, value, _ in _CUTS
            if T >= 0.4 and p not in _NOISE_CUT
        ),
        *(
            Check(name, value, 1.3 * _DEVIATION[p], "reference simulation; 3 standard errors of 6 and 48 runs")
            for name, _, _, p, value, _ in _CUTS
            if p in _NOISE_CUT
        ),
        *(
            Check(f"{name}, against the theory", float(digits), 0.015, "replica symmetry, tolerance 0.015")
            for name, _, T, _, _, digits in _CUTS
            if T >= 0.4
        ),
        *(Check(f"load {a}, T = 1: training error less theory", 0.0, 0.01, "tolerance 0.01") for a in _COLD_START),
        *(
            Check(
                f"glassy at T = {T}", value, 0.066, "reference simulation, frozen; 3 standard errors of one run, 0.022"
            )
            for T, value in _GLASSY.items()
        ),
        Check(
            "glassy at T = 0.2: training error", 0.21, 0.1, ".19 to .23 in the reference; 3 standard errors of one run"
        ),
        printed("temperature of the least error", "0.3", "about 0.3", Verdict.DOES_NOT_CARRY_OVER),
        *(within(f"load {load}, T = 1: share that jumps", 0.75, 1, "perfect from load 2.8 on") for load in (2.8, 3.2)),
        *(within(f"load {load}, T = 1: share that stays", 0.75, 1, "perfect from the teacher") for load in (2.2, 2.5)),
        *(within(f"load 4, T = 1, p = {p}: share that jumps", 0.75, 1, "perfect up to p = 0.1") for p in (0.0, 0.1)),
        within("load 4, T = 1, p = 0.2: share that jumps", 0.5, 1, "most do"),
    ),
    seconds=42,
    slow=True,
    reason="Below temperature 0.4 the chains are frozen after 3000 sweeps, more so than the reference's: their least "
    "error is at 0.4; after 20000 sweeps that at 0.3 is as low.",
)

CLAIMS = (_A6, _A6_PLANE, _A6_CUTS, _A6_METROPOLIS)
"""The claims of this group, in the order of the reference."""
