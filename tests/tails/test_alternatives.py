import json
from collections import Counter
from itertools import combinations
from math import isnan, sqrt

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from heavytail.tails.alternatives import LEVEL, UNDECIDED, compare_laws, nested, vuong
from heavytail.tails.laws import (
    LAWS,
    Exponential,
    Lognormal,
    PowerLaw,
    StretchedExponential,
    TruncatedPowerLaw,
)
from heavytail.tails.likelihood import fit

NAMES = {"power law", "truncated power law", "exponential", "stretched exponential", "lognormal"}
RICH = (TruncatedPowerLaw, StretchedExponential, Lognormal)


def test_vuong_is_the_mean_difference_of_log_density_over_its_error():
    x = Lognormal(0.0, 1.0).sample(300, seed=1)
    one, other = fit(x, Lognormal), fit(x, Exponential)
    d = one.law.logpdf(x) - other.law.logpdf(x)
    test = vuong(one, other, x)
    z = d.sum() / sqrt(300 * np.var(d))
    assert test.statistic == pytest.approx(z)
    assert test.p_value == pytest.approx(2 * stats.norm.sf(abs(z)))
    assert test.log_ratio == pytest.approx(one.log_likelihood - other.log_likelihood)
    assert test.winner == ("lognormal" if test.p_value <= LEVEL else None)
    back = vuong(other, one, x)
    assert (back.statistic, back.p_value) == pytest.approx((-z, test.p_value))


def test_two_laws_that_are_one_function_are_not_told_apart():
    x = np.exp(np.concatenate((np.full(30, 0.1), [8.0, 9.0])))
    test = vuong(fit(x, Lognormal, xmin=1.0), fit(x, StretchedExponential, xmin=1.0), x)
    assert test.p_value == 1
    assert isnan(test.statistic)
    assert test.winner is None
    border = nested(fit(x, Lognormal, xmin=1.0), fit(x, PowerLaw, xmin=1.0))
    assert (border.p_value, border.winner) == (1, None)


def test_the_border_test_halves_the_chi_square_of_large_samples():
    x = PowerLaw(2.5).sample(100_000, seed=3)
    test = nested(fit(x, Lognormal), fit(x, PowerLaw))
    assert 0 < test.statistic
    assert test.p_value == pytest.approx(stats.chi2.sf(test.statistic, 1) / 2, abs=0.003)


def test_a_law_that_is_not_a_member_cannot_be_nested():
    x = PowerLaw(2.5).sample(50, seed=0)
    for one, other in ((Lognormal, Exponential), (PowerLaw, TruncatedPowerLaw), (Exponential, PowerLaw)):
        with pytest.raises(ValueError, match="must be a member"):
            nested(fit(x, one), fit(x, other))


def test_every_pair_of_laws_is_tested_once():
    verdict = compare_laws(Lognormal(0.0, 1.0).sample(200, seed=0))
    assert set(verdict.fits) == NAMES
    assert sorted(sorted((c.first, c.second)) for c in verdict.comparisons) == sorted(
        sorted(pair) for pair in combinations(NAMES, 2)
    )
    kinds = {(c.first, c.second): c.test for c in verdict.comparisons if c.test != "vuong"}
    assert kinds == {
        **{(law.name, "power law"): "border" for law in RICH},
        ("truncated power law", "exponential"): "interior",
        ("stretched exponential", "exponential"): "interior",
    }


def test_a_verdict_is_plain_json_and_gives_its_reason():
    for law in (PowerLaw(2.5), Exponential(0.1), Lognormal(0.0, 1.0)):
        verdict = compare_laws(law.sample(1000, seed=0))
        plain = json.loads(json.dumps(verdict.as_dict()))
        assert plain["law"] in NAMES | {UNDECIDED}
        assert len(plain["reason"]) > 20
        assert len(plain["comparisons"]) == 10
        assert set(plain["fits"]) == NAMES


def test_a_power_law_that_fails_its_own_test_of_fit_is_not_named():
    x = PowerLaw(2.5).sample(1000, seed=0)
    assert compare_laws(x).law == compare_laws(x, p_value=0.3).law == "power law"
    refused = compare_laws(x, p_value=0.01)
    assert refused.law == UNDECIDED
    assert "p = 0.01" in refused.reason


def test_points_that_do_not_differ_leave_it_undecided():
    verdict = compare_laws(np.full(20, 3.0))
    assert verdict.law == UNDECIDED
    assert verdict.fits == {}
    assert compare_laws([2.0, 3.0]).law == UNDECIDED


@pytest.mark.parametrize("c", [2.0**-300, 2.0**300])
def test_the_verdict_knows_no_units(c):
    for law in (PowerLaw(2.5), Exponential(0.1), Lognormal(0.0, 1.0)):
        x = law.sample(500, seed=5)
        one, other = compare_laws(x), compare_laws(c * x)
        assert other.law == one.law
        for a, b in zip(one.comparisons, other.comparisons, strict=True):
            assert b.p_value == pytest.approx(a.p_value, rel=1e-5, abs=1e-6)


def rejections(alpha, n, draws, seed):
    """How often each border test, and the verdict, leaves a true power law, and the names given."""
    rng = np.random.default_rng(seed)
    tests = np.zeros(3)
    names = Counter()
    rejected = 0
    for _ in range(draws):
        verdict = compare_laws(PowerLaw(alpha).sample(n, rng), xmin=1.0)
        p = np.array([c.p_value for c in verdict.comparisons if c.test == "border"])
        tests += p <= LEVEL
        rejected += verdict.reason.startswith("the power law is rejected")
        names[verdict.law] += 1
    return tests / draws, rejected / draws, names


@pytest.mark.slow
@pytest.mark.parametrize("n", [100, 1000])
@pytest.mark.parametrize("alpha", [1.5, 2.5, 4.0])
def test_a_true_power_law_keeps_its_name(alpha, n):
    draws = 1000
    single, all_looks, names = rejections(alpha, n, draws, seed=20)
    assert (single >= 0.03).all()  # each test errs in 5 % of the samples: 0.05 +- 3 errors of 0.007
    assert (single <= 0.071).all()
    assert all_looks <= 0.05 + 0.021
    assert names["power law"] + names[UNDECIDED] >= 0.95 * draws
    if n == 1000:
        assert names["power law"] >= 0.9 * draws


def nearest(law, kind):
    """Mean and variance of the difference of log-density between a law and the member of a family nearest to it.

    Both by the midpoint rule over 20,000 quantiles: the most likely law of that grid is the nearest one.
    """
    grid = law.ppf((np.arange(20_000) + 0.5) / 20_000)
    gap = law.logpdf(grid) - fit(grid, kind, xmin=1.0).law.logpdf(grid)
    return gap.mean(), gap.var()


def test_the_divergence_of_the_nearest_power_law_is_that_of_quadrature():
    for law in (Lognormal(0.0, 1.0), Exponential(0.5)):
        rival = PowerLaw(1 + 1 / quad(lambda u, law=law: law.pdf(np.exp(u)) * np.exp(u) * u, 0, 40, limit=200)[0])

        def density(u, law=law, rival=rival):
            x = np.exp(u)
            return law.pdf(x) * x * (law.logpdf(x) - rival.logpdf(x)) if law.pdf(x) > 0 else 0.0

        assert nearest(law, PowerLaw)[0] == pytest.approx(quad(density, 0, 40, limit=200)[0], rel=2e-3)


def power_of_border_test(law, n):
    """Chance that a one-sided test at the 5 % level rejects the power law, from the divergence to the nearest one."""
    divergence, _ = nearest(law, PowerLaw)
    return stats.norm.sf(stats.norm.isf(0.05) - sqrt(2 * n * divergence))


def power_of_verdict(law, n):
    """Chance that the law is told from the rival that is hardest to tell from it, other than by simplicity."""
    chances = [power_of_border_test(law, n)]
    for kind in LAWS:
        inside = isinstance(law, Exponential) and kind in (TruncatedPowerLaw, StretchedExponential)
        if kind not in (PowerLaw, type(law)) and not inside:
            mean, variance = nearest(law, kind)
            chances.append(stats.norm.sf(stats.norm.isf(0.025) - sqrt(n / variance) * mean))
    return min(chances)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("law", "n"),
    [
        *[(Lognormal(0.0, sigma), 1000) for sigma in (0.5, 1.0, 1.5, 2.0, 3.0)],
        *[(Exponential(rate), 1000) for rate in (0.1, 0.5, 1.0, 2.0)],
        (Lognormal(-4.0, 2.0), 1000),
        (Lognormal(-8.0, 2.0), 1000),
        (Lognormal(-16.0, 2.0), 1000),
        (Exponential(2.0), 100),
    ],
    ids=str,
)
def test_a_law_is_recognised_where_theory_allows_and_left_undecided_elsewhere(law, n):
    draws = 200
    rng = np.random.default_rng(6)
    names = Counter()
    rejected = 0
    for _ in range(draws):
        verdict = compare_laws(law.sample(n, rng), xmin=1.0)
        names[verdict.law] += 1
        border = [c for c in verdict.comparisons if c.test == "border"]
        rejected += min(c.p_value for c in border) <= LEVEL / 2
    allowed = power_of_border_test(law, n)
    best = power_of_verdict(law, n)
    right = names[law.name] / draws
    print(  # noqa: T201
        f"{law}, n = {n}: rejected {rejected / draws} of {allowed:.3f}, named {right} of {best:.3f}, {dict(names)}"
    )
    if allowed >= 0.9:  # two looks cost a little of the power near the limit
        assert rejected >= 0.8 * draws
    if best >= 0.9:
        assert right >= 0.8
    wrong = {name: count for name, count in names.items() if name not in (law.name, UNDECIDED)}
    if allowed < 0.99:  # a test with less power must leave the power law standing now and then
        wrong.pop("power law", None)
    assert sum(wrong.values()) <= 0.05 * draws
