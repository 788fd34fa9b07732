"""What the page is told of the tails, held against the samples they were found in."""

import json
from dataclasses import replace
from math import exp, nan, sqrt

import numpy as np
import pytest
from report import sample
from scipy import stats
from scipy.integrate import quad
from scipy.optimize import minimize_scalar

from heavytail.diagnosis.tail import Tail
from heavytail.diagnosis.tail_score import TailScore
from heavytail.report import tail_payload as module
from heavytail.report.payload import payload
from heavytail.report.tail_payload import tail_payload
from heavytail.tails.power_law import fit_power_law

NAMES = ("straight", "bent", "knotted", "short")


@pytest.fixture(scope="module")
def report():
    return sample.tailed()


@pytest.fixture(scope="module")
def told(report):
    data = payload(report, report.rows, ())
    return {row.name: data["tails"][i] for i, row in enumerate(report.rows)}


def sf(law, x, xmin):
    """Survival function of a law by its parameters, beyond xmin."""
    name, parameters = law[0], {name: value for name, value, _ in law[1]}
    if name == "exponential":
        return np.exp(-parameters["rate"] * (x - xmin))
    if name == "lognormal":
        normal = stats.norm(parameters["mu"], parameters["sigma"])
        return normal.sf(np.log(x)) / normal.sf(np.log(xmin))
    if name == "stretched exponential":
        k = parameters["stretch"]
        return np.exp(-parameters["slope"] * ((x / xmin) ** k - 1) / k)
    alpha, rate = parameters["alpha"], parameters["rate"]
    mass = np.array([quad(lambda y: y**-alpha * exp(-rate * y), low, np.inf)[0] for low in (xmin, *x)])
    return mass[1:] / mass[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_is_the_power_law_of_tails_of_those_sizes(report, told, name):
    x, profile = report.spectra[name].evals, told[name]["profile"]
    assert len(profile["n"]) <= 32
    assert (profile["n"][0], profile["n"][-1]) == (x.size, 10)
    expected = [1 + n / np.log(x[-n:] / x[-n]).sum() for n in profile["n"]]
    np.testing.assert_allclose(profile["alpha"], expected, rtol=5.1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_the_distances_of_a_profile_compare_with_that_of_the_fit(report, told, name):
    x, profile = report.spectra[name].evals, told[name]["profile"]
    for n, alpha, found in zip(profile["n"], profile["alpha"], profile["D"], strict=True):
        if n <= 128:  # longer tails are compared with their law at 128 points
            distance = stats.kstest(x[-n:] / x[-n], stats.pareto(alpha - 1).cdf).statistic
            assert found == pytest.approx(distance, rel=0.05, abs=0.002)


@pytest.mark.parametrize("name", ["straight", "bent", "short"])
def test_the_good_starts_make_the_interval(monkeypatch, name):
    monkeypatch.setattr(module, "_STARTS", 1000)
    tail = sample.tailed(0).tails[name]
    found = tail_payload(tail)["profile"]
    pairs = [(n, alpha) for n, alpha, good in zip(found["n"], found["alpha"], found["good"], strict=True) if good]
    pairs.append((tail.fit.n_tail, tail.fit.alpha))
    ends = [[1 + (alpha - 1) * exp(sign * 1.2 / sqrt(n)) for n, alpha in pairs] for sign in (-1, 1)]
    assert min(ends[0]) == pytest.approx(tail.alpha_lo, rel=5e-3)
    assert max(ends[1]) == pytest.approx(tail.alpha_hi, rel=5e-3)


@pytest.mark.parametrize("name", NAMES)
def test_the_curve_of_a_law_is_its_survival_function_down_to_one_in_a_million_million(report, told, name):
    fit = report.tails[name].fit
    drawn = [law for law in told[name]["laws"] if law[4]]
    assert drawn
    for law in drawn:
        x = np.geomspace(fit.xmin, fit.xmax, len(law[4]))
        np.testing.assert_allclose(law[4], np.log10(sf(law, x, fit.xmin)).clip(-12), rtol=0.03, atol=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_a_law_that_is_the_power_law_has_no_curve(report, told, name):
    fits = report.tails[name].evidence.verdict.fits
    assert [law[0] for law in told[name]["laws"]] == list(fits)
    for law, _, gain, p_value, curve in told[name]["laws"]:
        assert (curve is None) == (fits[law].at_border or law == "power law")
        if fits[law].at_border and law != "power law":
            assert (p_value, abs(gain) < 1e-6) == (1, True)


@pytest.mark.parametrize("name", NAMES)
def test_the_gain_is_the_log_likelihood_beyond_that_of_the_power_law(report, told, name):
    x, xmin = report.spectra[name].evals, report.tails[name].fit.xmin
    tail = x[x >= xmin]
    straight = stats.pareto.logpdf(tail, 1 / np.log(tail / xmin).mean(), scale=xmin).sum()
    light = stats.expon.logpdf(tail, xmin, tail.mean() - xmin).sum()

    def lognormal(sigma):
        def misfit(mu):
            return -(
                stats.norm.logpdf(np.log(tail), mu, sigma) - np.log(tail) - stats.norm.logsf(np.log(xmin), mu, sigma)
            ).sum()

        return minimize_scalar(misfit, (np.log(xmin) - 1, np.log(tail).mean())).fun

    gains = {law[0]: law[2] for law in told[name]["laws"]}
    assert gains["power law"] == 0
    assert gains["exponential"] == pytest.approx(light - straight, rel=6e-3, abs=1e-6)
    best = -minimize_scalar(lognormal, bounds=(0.05, 5), method="bounded").fun
    assert gains["lognormal"] >= best - straight - 0.01 * abs(best - straight) - 0.01


def test_p_is_of_the_test_against_the_power_law(report, told):
    laws = {law[0]: law for law in told["bent"]["laws"]}
    ratio = 2 * laws["stretched exponential"][2]
    n = report.tails["bent"].fit.n_tail
    weight = min(1, 1.2 / sqrt(n))  # of two degrees of freedom, as `heavytail.tails.alternatives.nested` has it
    expected = (1 - weight) * stats.chi2.sf(ratio, 1) / 2 + weight * stats.chi2.sf(ratio, 2)
    assert laws["stretched exponential"][3] == pytest.approx(expected, rel=0.05)
    assert laws["power law"][3] is None


@pytest.mark.parametrize("name", NAMES)
def test_the_exponent_is_told_without_each_of_the_largest(report, told, name):
    x, found = report.spectra[name].evals, told[name]["fingers"]["alphas"]
    fits = [fit_power_law(x[: x.size - k]) for k in range(len(found))]
    np.testing.assert_allclose(found, [fit.alpha for fit in fits], rtol=1e-3)
    assert told[name]["fingers"]["count"] == (1 if name == "knotted" else 0)


@pytest.mark.parametrize("p_value", [0.05, 0.051])
@pytest.mark.parametrize("rejected", [False, True])
def test_its_own_test_and_the_verdict_on_the_power_law_are_told_apart(report, p_value, rejected):
    tail = report.tails["bent"]
    bootstrap = replace(tail.evidence.bootstrap, p_value=p_value)
    evidence = replace(tail.evidence, bootstrap=bootstrap, verdict=replace(tail.evidence.verdict, rejected=rejected))
    found = tail_payload(replace(tail, evidence=evidence))
    assert (found["fits"], found["rejected"]) == (p_value > 0.05, rejected)


def test_other_starts_are_told_with_their_fits(report, told):
    x = report.spectra["straight"].evals
    starts = {name: numbers for name, *numbers in told["straight"]["starts"]}
    assert set(starts) == {"density peak", "median", "log determinant"}
    xmin, n, alpha, sigma, _ = starts["median"]
    assert xmin == pytest.approx(np.median(x), rel=0.01)
    assert n == (x >= np.median(x)).sum()
    assert sigma == pytest.approx((alpha - 1) / sqrt(n), rel=1e-3)


def test_the_score_comes_with_its_interval_and_p_or_a_reason():
    report = sample.noisy(nulls=0, vectors=False)
    score = report.tails["pure"].score
    expected = [score.excess_lo, score.excess_hi, score.p_value]
    assert tail_payload(report.tails["pure"])["score"] == pytest.approx(expected, rel=6e-3)
    unscored = replace(report.tails["pure"], score=TailScore(reason="no tail score: it needs more"))
    assert tail_payload(unscored)["score"] == "no tail score: it needs more"


def test_without_replicates_there_is_the_profile_alone():
    report = sample.tailed(0)
    assert {name: list(tail_payload(tail)) for name, tail in report.tails.items() if name in NAMES} == {
        name: ["score", "profile"] for name in NAMES
    }


def test_without_a_fit_or_an_interval_there_is_nothing(told):
    assert told["paired"] is None
    assert told["tiny"] is None
    assert tail_payload(None) is None
    assert tail_payload(Tail(None, "no tail", hill=nan)) is None


def test_what_is_told_is_json_without_nan(told):
    assert json.loads(json.dumps(told, allow_nan=False)) == told
