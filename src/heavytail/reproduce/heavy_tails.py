"""Experiments on matrices with heavy-tailed entries: the exponent of the spectrum against that of the entries.

All follow the notebooks of Martin and Mahoney (2018): entries by `np.random.pareto`, which are Lomax, eigenvalues of
W^T W without 1/N, and the fit of `fit_published`. With symmetric Pareto entries they are in `symmetric`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from heavytail.reproduce.claim import Check, Claim, within
from heavytail.reproduce.estimator import fit_published
from heavytail.reproduce.spectrum import eigenvalues, ks_distance
from heavytail.rmt.ensembles import lomax
from heavytail.rmt.marchenko_pastur import MarchenkoPastur

__all__ = ["CLAIMS", "LOWER_LINE", "SATURATED", "SINGLE", "UNIVERSALITY", "UPPER_LINE", "Entries", "line", "on_line"]

Vector = NDArray[np.float64]
Generator = np.random.Generator
Entries = Callable[[int, int, float, Generator], Vector]

_PAPER = "Martin and Mahoney 2018, arXiv:1810.01075"
UNIVERSALITY = f"{_PAPER}, notebook HeavyTailedUniversalityClasses"


def _alpha(N: int, M: int, tail_mu: float, rng: Generator) -> float:
    """Exponent fitted to the spectrum of one matrix of published entries."""
    return fit_published(eigenvalues(lomax(N, M, tail_mu, rng))).alpha


# E4a: single draws.

SINGLE = {
    0.4: (1.204, 0.032, 0.03),
    1.2: (1.641, 0.044, 0.08),
    2.5: (3.078, 0.035, 0.22),
    3.5: (3.371, 0.064, 0.24),
    5.0: (3.822, 0.089, 0.10),
}
"""tail_mu: alpha and D of the notebook, and the standard deviation of alpha over draws."""

_REPEATS = 20


def _single_draws(rng: Generator) -> dict[str, float]:
    found = {}
    for tail_mu in SINGLE:
        fits = [fit_published(eigenvalues(lomax(1000, 300, tail_mu, rng))) for _ in range(_REPEATS)]
        found[f"alpha at mu = {tail_mu}"] = float(np.mean([fit.alpha for fit in fits]))
        found[f"D at mu = {tail_mu}"] = float(np.mean([fit.D for fit in fits]))
    return found


_E4A = Claim(
    "E4a",
    "Power-law fits of single heavy-tailed matrices",
    UNIVERSALITY,
    "alpha and Kolmogorov-Smirnov distance D of the spectrum, means over draws.",
    f"1000 x 300, {_REPEATS} draws (published: 1 draw)",
    _single_draws,
    tuple(
        Check(f"alpha at mu = {mu}", alpha, 3 * sd, "notebook; 3 standard deviations over draws")
        for mu, (alpha, _, sd) in SINGLE.items()
    )
    + tuple(Check(f"D at mu = {mu}", D, 0.035, "notebook; 3 deviations, 0.012") for mu, (_, D, _) in SINGLE.items()),
    seconds=1.0,
)


# E4b: the shapes of the spectra. That at mu = 3, "drops near 1e4 to 5e4", says too little to be checked.


def _shapes(N: int, rng: Generator) -> dict[str, float]:
    M = N // 3
    alphas = [_alpha(N, M, 1.0, rng) for _ in range(4)]
    noise = eigenvalues(lomax(N, M, 5.0, rng)) / N
    variance = 5 / (4**2 * 3)  # of the Lomax law, mu / ((mu - 1)^2 (mu - 2))
    return {
        "alpha at mu = 1": float(np.mean(alphas)),
        "distance from Marchenko-Pastur at mu = 5": ks_distance(noise, MarchenkoPastur(3.0, variance**0.5).cdf),
    }


_SHAPES = (
    Check("alpha at mu = 1", 1.5, 0.06, "straight of slope 1 + mu/2; 3 standard errors"),
    Check("distance from Marchenko-Pastur at mu = 5", 0.0, 0.1, "'MP-like': no number is given"),
)

_E4B, _E4B_FULL = (
    Claim(
        name,
        "Shapes of heavy-tailed spectra: straight, Marchenko-Pastur",
        f"{UNIVERSALITY}, overlay of three spectra",
        "Mean fit of four draws at mu = 1, and at mu = 5 the distance from the Marchenko-Pastur law of the same "
        "variance.",
        size,
        partial(_shapes, N),
        _SHAPES,
        seconds,
        slow=slow,
    )
    for name, N, size, seconds, slow in (
        ("E4b", 3000, "3000 x 1000 (published: 9000 x 3000)", 0.9, False),
        ("E4b-full", 9000, "9000 x 3000, as published", 35.0, True),
    )
)


# E4c: alpha against mu.


LOWER_LINE, UPPER_LINE = (0.649, 0.862), (1.21, -0.0253)
"""Slope and intercept of the notebook, of the lower and of the upper half of mu."""


def line(law: Entries, tail_mu: Vector, middle: float, rng: Generator) -> tuple[float, float, float]:
    """Slope, value at the middle, and mean distance from 1 + mu/2 below 1.5, of alpha against mu at 2000 x 1000."""
    alpha = np.array([fit_published(eigenvalues(law(2000, 1000, mu, rng))).alpha for mu in tail_mu])
    slope, value = np.polyfit(tail_mu - middle, alpha, 1)
    light = tail_mu < 1.5
    theory = float(np.abs(alpha - 1 - tail_mu / 2)[light].mean()) if light.any() else np.nan
    return float(slope), float(value), theory


def on_line(at: float, line: tuple[float, float]) -> float:
    """Value of a line of given slope and intercept."""
    return line[0] * at + line[1]


def _lines(rng: Generator) -> dict[str, float]:
    tail_mu = np.sort(rng.uniform(0.5, 3.5, 100))
    low = line(lomax, tail_mu[:50], 1.25, rng)
    high = line(lomax, tail_mu[50:], 2.75, rng)
    return {
        "slope, lower half": low[0],
        "line at mu = 1.25, lower half": low[1],
        "mean |alpha - 1 - mu/2| for mu < 1.5": low[2],
        "slope, upper half": high[0],
        "line at mu = 2.75, upper half": high[1],
    }


_MIDDLE = "notebook's slope and intercept, taken where they do not depend on each other; likewise"

_E4C = Claim(
    "E4c",
    "alpha against mu: two straight lines",
    UNIVERSALITY,
    "Least squares of alpha on mu for 100 values of mu in [0.5, 3.5], the lower and the upper fifty.",
    "2000 x 1000, one matrix a value, as published",
    _lines,
    (
        Check(
            "slope, lower half",
            LOWER_LINE[0],
            0.2,
            "notebook; 3 deviations of the difference of two runs, each 0.05",
        ),
        Check("line at mu = 1.25, lower half", on_line(1.25, LOWER_LINE), 0.07, f"{_MIDDLE}, of 0.016"),
        Check("slope, upper half", UPPER_LINE[0], 0.47, "notebook; likewise, of 0.11"),
        Check("line at mu = 2.75, upper half", on_line(2.75, UPPER_LINE), 0.19, f"{_MIDDLE}, of 0.045"),
        Check("mean |alpha - 1 - mu/2| for mu < 1.5", 0.0, 0.08, "limit law; 0.044 was found over six runs"),
    ),
    seconds=11.5,
)


# E4d, E4e, E4f: size, aspect ratio, large mu.


def _mean_alpha(M: int, low: float, high: float, draws: int, rng: Generator) -> dict[str, float]:
    """Mean over matrices of Q = 2 with mu evenly spread."""
    return {"mean alpha": float(np.mean([_alpha(2 * M, M, mu, rng) for mu in np.linspace(low, high, draws)]))}


_E4D, _E4D_FULL = (
    Claim(
        name,
        "alpha grows with the size of the matrix",
        UNIVERSALITY,
        "Mean alpha at mu from 3.1 to 3.3.",
        f"{2 * M} x {M}, {draws} draws" + more,
        partial(_mean_alpha, M, 3.1, 3.3, draws),
        (within("mean alpha", low, high, "range read off the scatter plot"),),
        seconds,
        slow=slow,
    )
    for name, M, draws, low, high, seconds, slow, more in (
        ("E4d", 1000, 10, 3.5, 4.2, 1.1, False, " (published: 1000 and 5000 columns; see E4d-full)"),
        ("E4d-full", 5000, 3, 4.5, 6.0, 90.0, True, ", as published"),
    )
)


def _largest_alpha(rng: Generator) -> dict[str, float]:
    return {"largest alpha, Q = 10": max(_alpha(10_000, 1000, mu, rng) for mu in np.linspace(3.0, 3.5, 12))}


def _tallest(rng: Generator) -> dict[str, float]:
    """Fit at Q = 1000, the product of 8 GB of entries summed over slabs of rows."""
    slabs = (lomax(10_000, 1000, 3.4, rng) for _ in range(100))
    gram = sum((W.T @ W for W in slabs), np.zeros((1000, 1000)))
    return {"alpha at mu = 3.4, Q = 1000": fit_published(np.linalg.eigvalsh(gram)).alpha}


_E4E = Claim(
    "E4e",
    "alpha grows with the aspect ratio: Q = 10",
    UNIVERSALITY,
    "The largest alpha over mu from 3.0 to 3.5.",
    "10000 x 1000, 12 values of mu (published: 100 values in [0.5, 3.5])",
    _largest_alpha,
    (Check("largest alpha, Q = 10", 5.8, 0.6, "'up to about 5.8', read off the plot; 2 deviations of one fit"),),
    seconds=4.1,
)
_E4E_FULL = Claim(
    "E4e-full",
    "alpha grows with the aspect ratio: Q = 1000",
    UNIVERSALITY,
    "alpha at mu = 3.4, near the largest of the plot.",
    "1000000 x 1000, one draw, as published",
    _tallest,
    (Check("alpha at mu = 3.4, Q = 1000", 17.5, 4.0, "'up to about 17.5', read off the plot"),),
    seconds=70.0,
    slow=True,
)
SATURATED = (4.2, 4.8)
"""Range of alpha at large mu in the scatter plot."""

_E4F = Claim(
    "E4f",
    "alpha saturates for mu above 3.5",
    UNIVERSALITY,
    "Mean alpha over mu in [3.5, 5.5].",
    "2000 x 1000, 40 values of mu (published: 200 values in [0.5, 5.5])",
    partial(_mean_alpha, 1000, 3.5, 5.5, 40),
    (within("mean alpha", *SATURATED, "saturates at about 4.4 to 4.7, read off the scatter plot to 0.1-0.2"),),
    seconds=4.0,
)


CLAIMS = (_E4A, _E4B, _E4B_FULL, _E4C, _E4D, _E4D_FULL, _E4E, _E4E_FULL, _E4F)
"""The claims of this group, in the order of the reference."""
