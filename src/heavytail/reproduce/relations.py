"""The relation between the exponent and the norms of a matrix (Martin and Mahoney 2019)."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from heavytail.reproduce.claim import Check, Claim, Verdict, within
from heavytail.reproduce.estimator import fit_published
from heavytail.reproduce.spectrum import eigenvalues, largest_eigenvalue
from heavytail.rmt.ensembles import lomax, pareto

__all__ = ["CLAIMS"]

Generator = np.random.Generator

_PAPER = "Martin and Mahoney 2019, arXiv:1901.08278"
_EXPONENTS = np.concatenate([np.arange(0.5, 3.6, 0.25), [4.0, 4.5, 5.0]])  # the 16 values of the notebook


def _norms(W: NDArray[np.float64]) -> tuple[float, float]:
    """log10 of ||W||_F^2, and its ratio to log10 of the largest eigenvalue of W^T W / N."""
    log_norm = float(np.log10(np.vdot(W, W)))
    return log_norm, log_norm / float(np.log10(largest_eigenvalue(W) / len(W)))


def _spectra(rng: Generator) -> dict[str, float]:
    """All exponents at N = 1000."""
    from scipy.stats import spearmanr  # slow to import

    alpha, ratio, log_norm = np.empty((3, _EXPONENTS.size))
    for k, tail_mu in enumerate(_EXPONENTS):
        evals = eigenvalues(lomax(1000, 1000, tail_mu, rng)) / 1000
        alpha[k] = fit_published(evals).alpha
        log_norm[k] = np.log10(1000 * evals.sum())
        ratio[k] = log_norm[k] / np.log10(evals[-1])
    return {
        "mean |ratio - alpha| for mu < 2": float(np.abs(ratio - alpha)[_EXPONENTS < 2].mean()),
        "correlation of alpha and ratio": float(np.corrcoef(alpha, ratio)[0, 1]),
        "rank correlation of mu and log norm": float(spearmanr(_EXPONENTS, log_norm).statistic),
    }


def _large(N: int, rng: Generator) -> dict[str, float]:
    """The norms alone, which need no spectrum, of larger matrices.

    That at mu = 0.5, plotted near 10^36, is no check: it scatters by two decades from draw to draw.
    """
    light = lomax(N, N, 5.0, rng)
    growth = 2 * np.log10(10_000 / N)  # of the number of entries, to the published size
    return {
        "log norm at mu = 5": float(np.log10(np.vdot(light, light)) + growth),
        "ratio at mu = 3": _norms(lomax(N, N, 3.0, rng))[1],
        "ratio at mu = 3, random signs": _norms(pareto(N, N, 3.0, rng))[1],
    }


_F5 = Claim(
    "F5",
    "alpha, norm and largest eigenvalue of random heavy-tailed matrices",
    f"{_PAPER}, notebook PowerLawExample",
    "alpha against the ratio log ||W||_F^2 / log lambda_max, X = W^T W / N, for 16 values of mu in [0.5, 5].",
    "1000 x 1000 (published: 100 to 10000, the largest in F5-large)",
    _spectra,
    (
        Check("mean |ratio - alpha| for mu < 2", 0.0, 0.25, "'near y = x', read off the plot"),
        within("correlation of alpha and ratio", 0.7, 1.0, "'rises with alpha': no number is given"),
        Check("rank correlation of mu and log norm", -1.0, 0.03, "'decreasing'"),
    ),
    seconds=1.6,
)

_F5_LARGE = (
    Check("log norm at mu = 5", 7.3, 0.15, "read off the plot"),
    Check("ratio at mu = 3", 2.3, 0.15, "'saturates at about 2.3', read off the plot"),
    Check(
        "ratio at mu = 3, random signs",
        2.3,
        0.15,
        "the same, as if of centred entries",
        expected=Verdict.DOES_NOT_CARRY_OVER,
    ),
)
_F5_QUICK, _F5_FULL = (
    Claim(
        name,
        "Saturation of the ratio of norms of large matrices",
        f"{_PAPER}, notebook PowerLawExample",
        "Logarithms of the Frobenius norm and its ratio to that of the largest eigenvalue, X = W^T W / N.",
        size,
        partial(_large, N),
        _F5_LARGE,
        seconds,
        reason="The saturation is of the mean of the entries: np.random.pareto is not centred, and its matrices have a "
        "spike of rank one, lambda_max = N / (mu - 1)^2. With random signs the ratio goes on rising.",
        slow=slow,
    )
    for name, N, size, seconds, slow in (
        ("F5-large", 5000, "5000 x 5000, norms scaled to 10000 x 10000, the published size", 2.2, False),
        ("F5-full", 10_000, "10000 x 10000, as published", 22.0, True),
    )
)


def _taylor(_: Generator) -> dict[str, float]:
    """Tangent of 1 / (4/mu - 1) = mu / (4 - mu) at mu = 1.15, and the distance from mu / 2."""
    tail_mu = np.linspace(0.5, 3.5, 301)
    exact = 1 / (4 / tail_mu - 1)
    slope = 4 / (4 - 1.15) ** 2
    near = tail_mu <= 2
    return {
        "slope at mu = 1.15": slope,
        "intercept at mu = 1.15": 1.15 / (4 - 1.15) - slope * 1.15,
        "value at mu = 2": float(np.interp(2.0, tail_mu, exact)),
        "largest distance from mu / 2 for mu <= 2": float(np.abs(exact - tail_mu / 2)[near].max()),
        "value at mu = 3.5": float(exact[-1]),
    }


_F7 = Claim(
    "F7",
    "The Taylor relation 1 / (4/mu - 1) = mu/2",
    f"{_PAPER}, notebook TaylorSeriesRelation",
    "The exact function, its tangent at mu = 1.15, and the published approximation mu/2 of the step from alpha = 1 + "
    "mu/2 to the ratio of norms 1 + 1 / (4/mu - 1).",
    "formulas alone, nothing is drawn",
    _taylor,
    (
        Check("slope at mu = 1.15", 0.5, 0.01, "mu/2 - 1/6 + ..."),
        Check("intercept at mu = 1.15", -1 / 6, 0.005, "mu/2 - 1/6 + ..."),
        Check("value at mu = 2", 1.0, 1e-9, "mu/2"),
        Check(
            "largest distance from mu / 2 for mu <= 2",
            0.0,
            0.01,
            "mu/2, drawn as one line",
            expected=Verdict.PUBLISHED_WRONG,
        ),
        Check("value at mu = 3.5", 1.75, 0.1, "mu/2", expected=Verdict.PUBLISHED_WRONG),
    ),
    seconds=0.01,
    reason="mu/2 drops the constant -1/6 of its own expansion, so that it is right at mu = 2 only; above, 1 / (4/mu - "
    "1) has a pole at mu = 4.",
)

CLAIMS = (_F5, _F5_QUICK, _F5_FULL, _F7)
"""The claims of this group, in the order of the reference."""
