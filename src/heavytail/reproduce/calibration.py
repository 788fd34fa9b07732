"""Calibration of the power-law estimator on independent numbers, and why the published one is biased.

The notebooks of Martin and Mahoney (2018) draw their samples by `np.random.pareto`, which is the Lomax law: a power
law moved to start at zero, density proportional to (1 + x)^-alpha. On logarithmic axes its slope at x is not alpha
but alpha x / (1 + x), and a fit that starts at xmin sees `apparent_exponent`, which is less than alpha at any start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import hyp2f1

from heavytail.reproduce.claim import Check, Claim, Verdict, within
from heavytail.reproduce.estimator import fit_published
from heavytail.tails.interval import interval, profile
from heavytail.tails.power_law import PowerLawFit, fit_power_law

__all__ = ["CLAIMS", "apparent_exponent"]

Vector = NDArray[np.float64]
Generator = np.random.Generator

_CALIBRATION = "Martin and Mahoney 2018, arXiv:1810.01075, notebooks CalibratePowerLawFits and CalibrateLargeNPL"
_NOT = Verdict.DOES_NOT_CARRY_OVER


def apparent_exponent(alpha: float, xmin: float) -> float:
    r"""Give the exponent that the likelihood finds in a Lomax law of exponent alpha > 1 above xmin > 0.

    It is 1 + 1 / E[ln(x / xmin)], the limit of Hill's estimator for many points. With s = alpha - 1,

    .. math:: E \ln(x / x_{min}) = \int_{x_{min}}^\infty \left( \frac{1 + t}{1 + x_{min}} \right)^{-s} \frac{dt}{t}
        = \frac1s \, {}_2F_1 \left( 1, s; s + 1; \frac{1}{1 + x_{min}} \right).

    Example:
        >>> [round(apparent_exponent(4.0, xmin), 2) for xmin in (0.1, 1.0, 10.0, 1e6)]
        [1.7, 2.83, 3.79, 4.0]
    """
    return 1 + (alpha - 1) / float(hyp2f1(1, alpha - 1, alpha, 1 / (1 + xmin)))


_BINS: Mapping[int, tuple[tuple[float, float, float], ...]] = {  # truth, published fit, deviation of one fit
    1000: (
        (1.75, 1.73, 0.08),
        (2.21, 2.04, 0.13),
        (2.72, 2.35, 0.19),
        (3.25, 2.67, 0.26),
        (3.74, 2.87, 0.34),
        (4.24, 2.82, 0.45),
    ),
    5000: (
        (1.73, 1.71, 0.033),
        (2.27, 2.13, 0.09),
        (2.76, 2.50, 0.17),
        (3.22, 2.77, 0.21),
        (3.72, 3.04, 0.30),
        (4.19, 3.18, 0.30),
    ),
}
_FITS = 40


def _likelihood(x: Vector) -> PowerLawFit:
    fit = fit_power_law(np.sort(x), min_tail=2, two_sided=False)
    assert fit is not None  # more than two different values
    return fit


_ESTIMATORS: Mapping[int, Callable[[Vector], PowerLawFit]] = {1000: _likelihood, 5000: fit_published}


def _calibration(rng: Generator) -> dict[str, float]:
    found = {}
    for n, rows in _BINS.items():
        for truth, *_ in rows:
            for law, shift in (("Lomax", 0.0), ("Pareto", 1.0)):
                alphas = [_ESTIMATORS[n](shift + rng.pareto(truth - 1, n)).alpha for _ in range(_FITS)]
                found[f"n = {n}, truth {truth}, {law}"] = float(np.mean(alphas))
    return found


_BIASED = 2.5  # truth above which the published bias exceeds its scatter


def _calibration_checks() -> Iterable[Check]:
    se = (1 / 17 + 1 / _FITS) ** 0.5
    for n, rows in _BINS.items():
        for truth, fit, sd in rows:
            tolerance = round(3 * sd * se, 3)
            note = f"notebook, mean of about 17 fits; 3 standard errors, one fit having deviation {sd}"
            yield Check(f"n = {n}, truth {truth}, Lomax", fit, tolerance, note)
        for truth, fit, _ in rows:
            name = f"n = {n}, truth {truth}, Pareto"
            if truth > _BIASED:
                yield Check(name, fit, 0.1, "the published fit, as if of a pure power law", expected=_NOT)


_E5 = Claim(
    "E5",
    "Calibration of the power-law estimator",
    _CALIBRATION,
    "Mean alpha fitted to independent numbers of known exponent: as published (Lomax), and of a pure power law. n = "
    "1000 by likelihood, n = 5000 with xmax.",
    f"{_FITS} fits a value, at the published bin means (published: 100 values of mu in all)",
    _calibration,
    tuple(_calibration_checks()),
    seconds=3.3,
    reason="The bias above 2.5 is not of the estimator but of the sample: np.random.pareto draws the Lomax law, which "
    "is no power law near its start (E5-bias says by how much). On a pure power law the fits agree with the truth "
    "(E5-pure).",
)

_PURE = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0)


def _pure(rng: Generator) -> dict[str, float]:
    return {
        f"truth {truth}": float(np.mean([_likelihood(1 + rng.pareto(truth - 1, 1000)).alpha for _ in range(_FITS)]))
        for truth in _PURE
    }


_E5_PURE = Claim(
    "E5-pure",
    "The power-law estimator is right on a power law",
    "Clauset, Shalizi and Newman 2009, section 3",
    "Mean alpha fitted to independent numbers of pure power law, against the true exponent.",
    f"n = 1000, {_FITS} fits a value",
    _pure,
    tuple(Check(f"truth {truth}", truth, 0.03 * (truth - 1), "exact; 3 % of alpha - 1") for truth in _PURE),
    seconds=0.2,
)


# E5-bias: what the published bias is made of.

_REPEATS = {1000: 100, 5000: 40}  # n: fits


def _bias(rng: Generator) -> dict[str, float]:
    found = {}
    for n, repeats in _REPEATS.items():
        same, fresh = [], []
        for truth, *_ in (row for row in _BINS[n] if row[0] > _BIASED):
            apparent, shifted = [], []
            for _ in range(repeats):
                x = rng.pareto(truth - 1, n)
                fit = _ESTIMATORS[n](x)
                law = apparent_exponent(truth, fit.xmin)
                tail = (1 + fit.xmin) * (1 + rng.pareto(truth - 1, fit.n_tail)) - 1  # of the same law above xmin
                other = fit_power_law(np.sort(tail), xmin=fit.xmin, min_tail=2)
                assert other is not None
                apparent.append(law)
                shifted.append(_ESTIMATORS[n](1 + x).alpha)
                same.append((fit.alpha - law) / fit.sigma)
                fresh.append((other.alpha - law) / other.sigma)
            found[f"n = {n}, truth {truth}, law above xmin"] = float(np.mean(apparent))
            found[f"n = {n}, truth {truth}, shifted by 1"] = float(np.mean(shifted))
        found[f"n = {n}, fit less law above xmin, in sigma"] = float(np.mean(same))
        found[f"n = {n}, fresh points less law above xmin, in sigma"] = float(np.mean(fresh))
    return found


def _bias_checks() -> Iterable[Check]:
    for n, repeats in _REPEATS.items():
        rows = [row for row in _BINS[n] if row[0] > _BIASED]
        for truth, fit, sd in rows:
            note = "the biased fit of the notebook, mean of about 17; 3 standard errors"
            yield Check(f"n = {n}, truth {truth}, law above xmin", fit, round(3 * sd / 17**0.5, 3), note)
        yield Check(f"n = {n}, fit less law above xmin, in sigma", 0.0, 1.0, "agreement within the error of one fit")
        error = 3 / (repeats * len(rows)) ** 0.5
        name = f"n = {n}, fresh points less law above xmin, in sigma"
        yield Check(name, 0.0, round(error, 3), "exact; 3 standard errors of the mean")
        for truth, *_ in rows:
            share = 0.03 * (40 / repeats * 1000 / n) ** 0.5
            note = f"exact; {100 * share:.1f} % of alpha - 1, as in E5-pure for so many fits"
            yield Check(f"n = {n}, truth {truth}, shifted by 1", truth, round(share * (truth - 1), 3), note)


_E5_BIAS = Claim(
    "E5-bias",
    "The published bias is the local slope of the Lomax law",
    _CALIBRATION,
    "For Lomax samples the mean of 1 + 1 / E[ln(x / xmin)], the exponent that the law has above the start chosen in "
    "each fit, against the published fits and against ours, in standard errors of one; the exponent of as many fresh "
    "points above the same start; and the fit to the same samples shifted by 1, which are a pure power law.",
    "100 fits a value for n = 1000, 40 for n = 5000 (published: 100 values of mu in all)",
    _bias,
    tuple(_bias_checks()),
    seconds=2.7,
    reason="The start is where the misfit sinks below the scatter, at xmin of 1 to 3; the law is flatter there, by up "
    "to 1.3, and a larger sample starts further out. The choice adds 0.6 sigma towards the truth: of the starts that "
    "pass it takes one where the points at hand fall more steeply near xmin, and so straighter, than their law.",
)


# E5-coverage: the interval on a power law, and on a law that is none.

_TRUTHS = tuple(truth for truth, *_ in _BINS[1000][1:])
_SAMPLES = 1000
_NOMINAL = 0.95
_ERROR = round(3 * (_NOMINAL * (1 - _NOMINAL) / _SAMPLES) ** 0.5, 3)


def _covers(x: Vector, *exponents: Callable[[PowerLawFit], float]) -> list[bool]:
    """Tell which of the exponents, which may depend on the start, the interval of a sample covers."""
    x = np.sort(x)
    fit = fit_power_law(x)
    assert fit is not None
    low, high = interval(fit, profile(x))
    return [low <= exponent(fit) <= high for exponent in exponents]


def _coverage(rng: Generator) -> dict[str, float]:
    found = {}
    for truth in _TRUTHS:

        def nominal(_: PowerLawFit, truth: float = truth) -> float:
            return truth

        def apparent(fit: PowerLawFit, truth: float = truth) -> float:
            return apparent_exponent(truth, fit.xmin)

        samples = [rng.pareto(truth - 1, 1000) for _ in range(_SAMPLES)]
        pure = np.mean([_covers(1 + x, nominal) for x in samples])
        lomax = np.mean([_covers(x, nominal, apparent) for x in samples], axis=0)
        found[f"pure power law {truth}"] = float(pure)
        found[f"Lomax {truth}"], found[f"Lomax {truth}, law above xmin"] = map(float, lomax)
    return found


def _coverage_checks() -> Iterable[Check]:
    binomial = f"nominal; 3 binomial errors of {_SAMPLES} samples"
    for truth in _TRUTHS:
        yield Check(f"pure power law {truth}", _NOMINAL, _ERROR, binomial)
    for truth in _TRUTHS:
        yield Check(f"Lomax {truth}", _NOMINAL, _ERROR, binomial, expected=_NOT)
    for truth in _TRUTHS:
        note = "what is asked of the interval where the sample is no pure power law"
        yield within(f"Lomax {truth}, law above xmin", 0.90, 0.995, note)


_E5_COVERAGE = Claim(
    "E5-coverage",
    "The 95 % interval of alpha covers the exponent of a power law",
    "Clauset, Shalizi and Newman 2009, section 3: a confidence interval; samples of Martin and Mahoney 2018",
    "Share of samples whose interval (that of heavytail.tails.interval) covers the exponent: of the pure power law, of "
    "the Lomax law as its name says, and of the Lomax law above the chosen start.",
    f"n = 1000, {_SAMPLES} samples a value",
    _coverage,
    tuple(_coverage_checks()),
    seconds=3.6,
    reason="An interval is of the model's exponent. The Lomax law is no power law at any start within reach of 1000 "
    "points; the interval covers the exponent that the law has above the chosen start, which is not the nominal one.",
)

CLAIMS = (_E5, _E5_PURE, _E5_BIAS, _E5_COVERAGE)
"""The claims of this group, in the order of the reference."""
