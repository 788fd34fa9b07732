from itertools import pairwise
from math import inf, isnan, log, nan, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import gammaincc

from heavytail.tails.laws import (
    LAWS,
    Exponential,
    Law,
    Lognormal,
    PowerLaw,
    StretchedExponential,
    TruncatedPowerLaw,
)
from heavytail.tails.likelihood import fit

ZOO = [
    PowerLaw(2.5, 2.0),
    PowerLaw(1.1, 2.0),
    PowerLaw(0.5, 2.0, 10.0),
    PowerLaw(1.0, 2.0, 10.0),
    PowerLaw(-30.0, 2.0, 10.0),
    TruncatedPowerLaw(1.5, 0.1, 2.0),
    TruncatedPowerLaw(2.5, 0.0, 2.0),
    TruncatedPowerLaw(-3.0, 5.0, 2.0),
    TruncatedPowerLaw(-50.0, 5.0, 2.0),  # a bump far above xmin
    TruncatedPowerLaw(1.0, 1e-4, 2.0),
    TruncatedPowerLaw(1.0, 1e-30, 2.0),
    TruncatedPowerLaw(0.999, 1e-12, 2.0),
    TruncatedPowerLaw(1.5, 0.1, 2.0, 7.0),
    TruncatedPowerLaw(-20.0, 0.1, 2.0, 7.0),
    Exponential(0.3, 2.0),
    Exponential(0.0, 2.0, 3.0),
    Exponential(0.3, 2.0, 3.0),
    StretchedExponential(2.0, 0.4, 2.0),
    StretchedExponential(2.0, 0.0, 2.0),
    StretchedExponential(2.0, 3.0, 2.0),
    StretchedExponential(0.0, 0.5, 2.0, 5.0),
    StretchedExponential(2.0, 0.4, 2.0, 5.0),
    Lognormal(0.0, 1.0, 2.0),
    Lognormal(5.0, 1.0, 2.0),
    Lognormal(5.0, 0.05, 2.0),
    Lognormal(-5.0, 2.0, 2.0, 30.0),
    Lognormal(-200.0, 10.0, 2.0),
    Lognormal(4.0, 1.0, 2.0, 5.0),
]

DRAWS = [
    PowerLaw(2.5, 3.0),
    TruncatedPowerLaw(1.5, 0.02, 3.0),
    TruncatedPowerLaw(0.5, 0.5, 3.0, 12.0),
    Exponential(0.2, 3.0),
    StretchedExponential(1.0, 0.7, 3.0),
    Lognormal(1.5, 0.8, 3.0),
    PowerLaw(1.3, 3.0, 50.0),
]


def integral(law, a, b):
    """Mass between two points, by adaptive quadrature over u = ln x, cut at the median and where the density ends."""
    inner = [float(v) for v in law.ppf([1e-9, 0.01, 0.5, 0.99, 1 - 1e-9]) if a < v < b]
    end = min(b, float(law.ppf(1 - 1e-15)))
    cuts = np.log([a, *inner, max(end, a)])
    return sum(
        quad(lambda u: float(law.pdf(np.exp(u))) * np.exp(u), *pair, epsabs=1e-14, epsrel=1e-12, limit=400)[0]
        for pair in pairwise(cuts)
    )


@pytest.mark.parametrize("law", ZOO, ids=str)
def test_the_density_integrates_to_one_and_to_its_distribution_function(law):
    assert integral(law, law.xmin, law.xmax) == pytest.approx(1, abs=1e-10)
    for p in (0.02, 0.4, 0.9):
        x = float(law.ppf(p))
        assert integral(law, law.xmin, x) == pytest.approx(p, abs=1e-10)
        assert law.cdf(x) == pytest.approx(p, abs=1e-11)
        assert law.sf(x) == pytest.approx(1 - p, abs=1e-11)


@pytest.mark.parametrize("law", ZOO, ids=str)
def test_outside_its_range_a_law_has_no_mass_and_nan_stays_nan(law):
    beyond = 2 * law.xmax if law.xmax < inf else inf
    x = [-1.0, 0.0, law.xmin / 2, law.xmin, beyond, nan]
    np.testing.assert_array_equal(law.cdf(x), [0, 0, 0, 0, 1, nan])
    np.testing.assert_array_equal(law.sf(x), [1, 1, 1, 1, 0, nan])
    density = law.pdf(x)
    np.testing.assert_array_equal(density[[0, 1, 2, 4, 5]], [0, 0, 0, 0, nan])
    assert density[3] == pytest.approx(float(law.pdf(law.xmin * (1 + 1e-12))), rel=1e-8)
    np.testing.assert_array_equal(law.ppf([0.0, 1.0, -0.1, 1.1, nan]), [law.xmin, law.xmax, nan, nan, nan])
    assert isinstance(law.pdf(3.0), float)


def conditional(frozen, xmin, xmax):
    """Survival and log-density of a law of scipy.stats, given that x is in [xmin, xmax]."""
    mass = frozen.sf(xmin) - frozen.sf(xmax)
    return lambda x: (frozen.sf(x) - frozen.sf(xmax)) / mass, lambda x: frozen.logpdf(x) - log(mass)


@pytest.mark.parametrize(
    ("law", "frozen"),
    [
        (PowerLaw(2.5, 2.0), stats.pareto(1.5)),
        (PowerLaw(2.5, 2.0, 9.0), stats.pareto(1.5)),
        (TruncatedPowerLaw(-1.5, 0.7, 2.0), stats.gamma(2.5, scale=1 / 0.7)),
        (TruncatedPowerLaw(0.5, 0.7, 2.0, 9.0), stats.gamma(0.5, scale=1 / 0.7)),
        (Exponential(0.7, 2.0), stats.expon(scale=1 / 0.7)),
        (Exponential(0.7, 2.0, 9.0), stats.expon(scale=1 / 0.7)),
        (StretchedExponential.from_rate(0.7, 0.6, 2.0), stats.weibull_min(0.6, scale=1 / 0.7)),
        (StretchedExponential.from_rate(0.7, 1.6, 2.0, 9.0), stats.weibull_min(1.6, scale=1 / 0.7)),
        (Lognormal(0.3, 0.9, 2.0), stats.lognorm(0.9, scale=np.exp(0.3))),
        (Lognormal(0.3, 0.9, 2.0, 9.0), stats.lognorm(0.9, scale=np.exp(0.3))),
    ],
    ids=lambda value: str(value) if isinstance(value, Law) else "scipy",
)
def test_laws_agree_with_scipy_cut_to_their_range(law, frozen):
    x = np.linspace(2.0, 8.9, 50)
    sf, logpdf = conditional(frozen, law.xmin, law.xmax)
    np.testing.assert_allclose(law.sf(x), sf(x), rtol=1e-10)
    np.testing.assert_allclose(law.logpdf(x), logpdf(x), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(law.cdf(x), 1 - sf(x), atol=1e-12)


def test_the_far_tail_keeps_its_digits():
    law = TruncatedPowerLaw(0.2, 1.0, 1.0)
    assert law.sf(600.0) == pytest.approx(gammaincc(0.8, 600.0) / gammaincc(0.8, 1.0), rel=1e-11)  # about 1e-260
    assert Lognormal(0.0, 0.1).sf(20.0) == pytest.approx(2 * stats.norm.sf(log(20) / 0.1), rel=1e-10)


def test_laws_that_contain_each_other_are_the_same_function():
    x = np.geomspace(2.0, 200.0, 40)
    for one, other in [
        (TruncatedPowerLaw(2.5, 0.0, 2.0), PowerLaw(2.5, 2.0)),
        (TruncatedPowerLaw(0.5, 0.0, 2.0, 300.0), PowerLaw(0.5, 2.0, 300.0)),
        (TruncatedPowerLaw(0.0, 0.1, 2.0), Exponential(0.1, 2.0)),
        (StretchedExponential.from_rate(0.1, 1.0, 2.0), Exponential(0.1, 2.0)),
        (StretchedExponential(1.5, 0.0, 2.0), PowerLaw(2.5, 2.0)),
        (StretchedExponential(1.5, 1e-13, 2.0), PowerLaw(2.5, 2.0)),
        (StretchedExponential(1.5, 5e-324, 2.0), PowerLaw(2.5, 2.0)),
        (Lognormal(-1.5e13, sqrt(1e13), 2.0), PowerLaw(2.5, 2.0)),  # slope (ln xmin - mu) / sigma^2
        (Exponential(0.0, 2.0, 300.0), PowerLaw(0.0, 2.0, 300.0)),
    ]:
        np.testing.assert_allclose(one.logpdf(x), other.logpdf(x), atol=1e-10)
        np.testing.assert_allclose(one.sf(x), other.sf(x), atol=1e-10)


def test_the_field_writes_the_stretched_exponential_by_its_rate():
    law = StretchedExponential.from_rate(0.3, 0.5, 2.0)
    assert law.rate == pytest.approx(0.3)
    assert law.sf(10.0) == pytest.approx(np.exp(-(3**0.5) + 0.6**0.5))
    assert isnan(StretchedExponential(1.0, 0.0).rate)
    assert StretchedExponential(1.0, 1e-4).rate == inf  # 10,000 to the power of 10,000


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ZOO), st.floats(1e-6, 1 - 1e-6))
def test_quantiles_invert_the_distribution_function(law, p):
    assert law.cdf(law.ppf(p)) == pytest.approx(p, rel=1e-8, abs=1e-11)


@pytest.mark.parametrize("law", ZOO, ids=str)
def test_samples_follow_their_law_and_their_seed(law):
    x = law.sample(2000, seed=3)
    assert stats.kstest(x, law.cdf).pvalue > 1e-3
    np.testing.assert_array_equal(x, law.sample(2000, seed=np.random.default_rng(3)))
    assert law.sample((2, 3), seed=0).shape == (2, 3)


def test_a_law_without_a_norm_is_refused():
    for make in (
        lambda: PowerLaw(1.0),
        lambda: TruncatedPowerLaw(1.0, 0.0),
        lambda: TruncatedPowerLaw(2.0, -0.1),
        lambda: Exponential(0.0),
        lambda: StretchedExponential(0.0, 0.5),
        lambda: StretchedExponential(1.0, -0.5),
        lambda: Lognormal(0.0, 0.0),
        lambda: Lognormal(nan, 1.0),
    ):
        with pytest.raises(ValueError, match="law needs"):
            make()
    for xmin, xmax in ((0.0, 1.0), (2.0, 1.0), (nan, 1.0), (inf, inf)):
        with pytest.raises(ValueError, match="0 < xmin < xmax"):
            PowerLaw(2.0, xmin, xmax)


# --- fits


def log_integral(s, b, bend, U):
    """ln of the integral of exp(-s u - b w) over [0, U] by a dense trapezium rule in a range that holds the mass."""
    top = min(U, 60 / max(s, 1e-3) if s > 0 else inf, 400.0)
    grid = np.linspace(0, top, 200_001)
    phi = s * grid + b * bend(grid)
    low = phi.min()
    keep = grid[phi < low + 60]
    grid = np.linspace(keep[0], keep[-1], 20_001)
    phi = s * grid + b * bend(grid)
    return -low + log(np.trapezoid(np.exp(low - phi), grid))


def naive_log_likelihood(kind, theta, x, xmin, xmax):
    """Log-likelihood from the formulas of the textbooks and scipy's special functions, for the brute-force search."""
    n = x.size
    if kind is PowerLaw:
        a = theta[0] - 1
        if xmax == inf:
            return -inf if a <= 0 else n * log(a / xmin) - (a + 1) * np.log(x / xmin).sum()
        r = xmax / xmin
        norm = log(abs(a / (1 - r**-a))) if a else -log(log(r))
        return n * (norm - log(xmin)) - (a + 1) * np.log(x / xmin).sum()
    if kind is Exponential:
        lam = theta[0]
        cut = 0.0 if xmax == inf else np.log(-np.expm1(-lam * (xmax - xmin)))
        return -inf if lam <= 0 else n * (log(lam) - cut) - lam * (x - xmin).sum()
    if kind is Lognormal:
        mu, sigma = theta[0], np.exp(theta[1])
        z = (np.log(x) - mu) / sigma
        a = (log(xmin) - mu) / sigma
        norm = stats.norm.logsf(a)
        if xmax < inf:
            norm += np.log1p(-np.exp(stats.norm.logsf((log(xmax) - mu) / sigma) - norm))
        return float((-z * z / 2 - np.log(x)).sum() - n * (log(sigma) + log(2 * np.pi) / 2 + norm))
    if kind is StretchedExponential:
        slope, k = np.exp(np.maximum(theta, -50))  # a denormal k has no digits
        u = np.log(x / xmin)
        v, V = np.expm1(k * np.log(x / xmin)) / k, np.expm1(k * log(xmax / xmin)) / k if xmax < inf else inf
        return float(
            (log(slope) + k * np.log(x / xmin) - slope * v - np.log(x)).sum() - n * np.log(-np.expm1(-slope * V))
        )
    alpha, rate = theta[0], np.exp(theta[1])
    U = log(xmax / xmin) if xmax < inf else inf
    s = alpha - 1
    norm = log_integral(s, rate * xmin, np.expm1, U)
    u = np.log(x / xmin)
    return float((-s * u - rate * xmin * np.expm1(u) - np.log(x)).sum() - n * norm)


STARTS = {
    PowerLaw: [[1.5], [3.0], [0.3]],
    Exponential: [[0.1], [1.0]],
    Lognormal: [[0.0, 0.0], [-3.0, 1.0], [1.5, -0.5]],
    StretchedExponential: [[0.0, -1.0], [0.5, 0.0], [1.0, -3.0]],
    TruncatedPowerLaw: [[1.5, -3.0], [2.0, -6.0], [0.5, -1.0]],
}


@pytest.mark.parametrize("kind", LAWS, ids=lambda k: k.name)
@pytest.mark.parametrize("law", DRAWS, ids=str)
@pytest.mark.slow
def test_no_search_finds_a_higher_likelihood(kind, law):
    x = law.sample(80, seed=5)
    found = fit(x, kind, xmin=law.xmin, xmax=law.xmax)
    best = -inf
    with np.errstate(all="ignore"):
        for start in STARTS[kind]:
            search = minimize(
                lambda theta: -naive_log_likelihood(kind, theta, x, law.xmin, law.xmax),
                start,
                method="Nelder-Mead",
                options={"xatol": 1e-7, "fatol": 1e-9, "maxiter": 400},
            )
            best = max(best, -search.fun)
    scale = max(1.0, abs(best))
    assert found.log_likelihood >= best - 1e-8 * scale
    assert found.law.log_likelihood(x) == pytest.approx(found.log_likelihood, abs=1e-8 * scale)
    if not found.at_border:  # and it is no higher than the formulas say
        assert found.log_likelihood <= best + 1e-5 * scale


@pytest.mark.parametrize("law", DRAWS, ids=str)
@pytest.mark.parametrize("kind", LAWS, ids=lambda k: k.name)
def test_errors_are_those_of_the_observed_information(law, kind):
    x = law.sample(400, seed=2)
    found = fit(x, kind, xmin=law.xmin, xmax=law.xmax)
    if found.at_border:
        assert all(isnan(e) for e in found.errors.values())
        return
    theta = np.array(list(found.law.parameters.values()))
    step = 0.05 * np.array(list(found.errors.values()))

    def value(offset):
        return kind(*(theta + offset), law.xmin, law.xmax).log_likelihood(x)

    unit = np.diag(step)
    size = theta.size
    information = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            a, b = unit[i], unit[j]
            mixed = value(a + b) - value(a - b) - value(b - a) + value(-a - b)
            information[i, j] = -mixed / (4 * step[i] * step[j])
    errors = np.sqrt(np.diag(np.linalg.inv(information)))
    np.testing.assert_allclose(list(found.errors.values()), errors, rtol=0.02)
    for i in range(size):  # and the slope of the likelihood is zero
        assert abs(value(unit[i]) - value(-unit[i])) < 0.02 * abs(
            value(unit[i]) + value(-unit[i]) - 2 * value(0 * theta)
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    "law",
    [
        PowerLaw(2.5, 3.0),
        PowerLaw(0.7, 3.0, 50.0),
        TruncatedPowerLaw(1.5, 0.1, 3.0),
        Exponential(0.2, 3.0),
        StretchedExponential(1.0, 0.7, 3.0),
        Lognormal(1.5, 0.8, 3.0),
        Lognormal(1.5, 0.8, 3.0, 30.0),
    ],
    ids=str,
)
def test_the_true_parameters_lie_within_two_errors_in_19_of_20_samples(law):
    truth = np.array(list(law.parameters.values()))
    rng = np.random.default_rng(8)
    inside = np.zeros(truth.size)
    for _ in range(300):
        found = fit(law.sample(600, rng), type(law), xmin=law.xmin, xmax=law.xmax)
        off = np.abs(np.array(list(found.law.parameters.values())) - truth) / np.array(list(found.errors.values()))
        inside += off < 1.96
    assert (inside >= 0.90 * 300).all()
    assert (inside <= 0.99 * 300).all()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(LAWS), st.sampled_from(DRAWS), st.floats(-250, 250), st.integers(0, 9))
def test_units_change_no_shape_and_shift_the_likelihood(kind, law, decades, seed):
    c = 10.0**decades
    x = law.sample(60, seed)
    one, other = fit(x, kind), fit(c * x, kind)
    assert other.at_border == one.at_border
    assert other.log_likelihood == pytest.approx(one.log_likelihood - 60 * log(c), rel=1e-11, abs=1e-7)
    a, b = one.law.parameters, other.law.parameters
    if "rate" in a:
        a["rate"] /= c
    if "mu" in a:
        a["mu"] += log(c)
    assert b == pytest.approx(a, rel=1e-5, abs=1e-5 * (c**-1 if kind is Exponential else 1))


def test_a_tail_that_does_not_bend_puts_every_rival_at_the_power_law():
    u = np.concatenate((np.full(30, 0.1), [8.0, 9.0]))  # mean of u^2 above twice the squared mean
    x = np.exp(u)
    straight = fit(x, PowerLaw, xmin=1.0)
    for kind in (StretchedExponential, Lognormal):
        found = fit(x, kind, xmin=1.0)
        assert found.at_border
        assert found.name == kind.name
        assert found.log_likelihood == pytest.approx(straight.log_likelihood, rel=1e-14)
        assert all(isnan(e) for e in found.errors.values())
    steep = np.concatenate((np.full(3000, 1.001), [40.0]))  # a steep power law, and one point too large for it
    found = fit(steep, TruncatedPowerLaw, xmin=1.0)
    assert found.at_border
    assert found.law.rate == 0
    assert found.log_likelihood == pytest.approx(fit(steep, PowerLaw, xmin=1.0).log_likelihood, rel=1e-14)


@pytest.mark.parametrize("kind", [TruncatedPowerLaw, StretchedExponential, Lognormal], ids=lambda k: k.name)
def test_a_richer_law_never_fits_worse_than_the_power_law_inside_it(kind):
    rng = np.random.default_rng(4)
    for n in (2, 3, 10, 300):
        for alpha in (1.05, 2.0, 6.0):
            for _ in range(10):
                x = np.exp(rng.exponential(1 / (alpha - 1), n))
                for xmax in (inf, 1.5 * x.max()):
                    gain = fit(x, kind, xmin=1.0, xmax=xmax).log_likelihood
                    assert gain >= fit(x, PowerLaw, xmin=1.0, xmax=xmax).log_likelihood - 1e-8


@pytest.mark.parametrize("kind", LAWS, ids=lambda k: k.name)
def test_extreme_samples_give_finite_fits(kind):
    rng = np.random.default_rng(0)
    for x in (
        np.array([1.0, 2.0]),
        np.array([1e-300, 1e300]),
        np.geomspace(1e-300, 1e300, 50),
        10.0 ** rng.uniform(-300, 300, 400),
        1 + 1e-9 * rng.random(100),
        1e200 * (1 + 1e-6 * rng.random(100)),
        np.exp(rng.exponential(60, 200)),
        np.concatenate((np.ones(99), [1e12])),
        np.concatenate(([1.0], np.full(99, 1e12))),
    ):
        found = fit(x, kind)
        straight = fit(x, PowerLaw)
        assert np.isfinite(found.log_likelihood)
        assert all(np.isfinite(v) for v in found.law.parameters.values())
        assert (
            found.log_likelihood >= straight.log_likelihood - 1e-6 * abs(straight.log_likelihood) or kind is Exponential
        )


def test_a_sample_without_a_maximum_has_no_fit():
    for kind in LAWS:
        assert fit(np.full(5, 3.0), kind) is None
        assert fit([3.0], kind) is None
    same = np.full(5, 3.0)
    assert fit(same, PowerLaw, xmin=1.0).law.alpha == pytest.approx(1 + 1 / log(3))
    assert fit(same, Exponential, xmin=1.0).law.rate == pytest.approx(0.5)
    for kind in (TruncatedPowerLaw, StretchedExponential, Lognormal):
        assert fit(same, kind, xmin=1.0) is None


def test_a_tail_outside_its_range_is_refused():
    for x, xmin, xmax in (([], None, inf), ([[1.0]], None, inf), ([1.0, nan], None, inf), ([1.0, inf], None, inf)):
        with pytest.raises(ValueError, match="a tail must"):
            fit(x, PowerLaw, xmin=xmin, xmax=xmax)
    for xmin, xmax in ((1.5, inf), (None, 1.5), (0.0, inf), (nan, inf)):
        with pytest.raises(ValueError, match="must lie in"):
            fit([1.0, 2.0], PowerLaw, xmin=xmin, xmax=xmax)


def test_the_exponential_that_grows_ends_at_the_uniform_law():
    found = fit([1.0, 9.0, 9.5, 9.9], Exponential, xmax=10.0)
    assert found.at_border
    assert found.law == Exponential(0.0, 1.0, 10.0)
    assert found.log_likelihood == pytest.approx(-4 * log(9))
