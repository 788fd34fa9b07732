from math import inf, log, pi, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad, solve_bvp
from scipy.special import airy

from heavytail.rmt.tracy_widom import TracyWidom, fredholm_cdf

LAWS = [TracyWidom(1), TracyWidom(2), TracyWidom(4), TracyWidom(4, "unscaled")]
UNSCALED = {1: LAWS[0], 2: LAWS[1], 4: LAWS[3]}

# Bornemann (2010), table of moments: mean, variance, skewness, excess kurtosis, cut at the last digit; then the median,
# the 95 % and the 99 % point
TABLE = {
    1: (-1.206533574582, 1.607781034581, 0.293464524086, 0.1652429384, -1.268574617, 0.979316053, 2.023449281),
    2: (-1.771086807411, 0.813194792832, 0.224084203610, 0.0934480876, -1.804912409, -0.232474470, 0.477636047),
    4: (-2.306884893241, 0.517723720773, 0.16550949435, 0.0491951565, -2.326817697, -1.090401013, -0.544694426),
}
DIGITS = (2e-12, 2e-12, 1e-11, 1e-10, 6e-10, 6e-10, 6e-10)


@pytest.mark.parametrize("beta", [1, 2, 4])
def test_moments_and_quantiles_are_those_of_the_tables(beta):
    law = TracyWidom(beta)
    found = (*law.stats("mvsk"), law.median(), law.ppf(0.95), law.isf(0.01))
    for value, expected, digits in zip(found, TABLE[beta], DIGITS, strict=True):
        assert value == pytest.approx(expected, abs=digits)


def test_without_the_tables_scale_beta_four_is_wider_by_the_root_of_two():
    law = TracyWidom(4, "unscaled")
    assert law.mean() == pytest.approx(-3.262427902855, abs=2e-12)
    assert law.var() == pytest.approx(1.035447441546, abs=2e-12)
    assert law.stats("sk") == pytest.approx(TABLE[4][2:4], abs=1e-10)
    x = np.linspace(-6, 4, 50)
    assert TracyWidom(4).cdf(x) == pytest.approx(law.cdf(sqrt(2) * x), abs=1e-15)
    assert TracyWidom(4).pdf(x) == pytest.approx(sqrt(2) * law.pdf(sqrt(2) * x), abs=1e-15)


@pytest.mark.parametrize(
    ("position", "expected"), [(0, 0.274320197909), (1, 0.413224142505), (2, 0.673508671559), (3, 0.890338584635)]
)
def test_values_at_minus_two_are_the_published_ones(position, expected):
    assert LAWS[position].cdf(-2.0) == pytest.approx(expected, abs=1e-12)


def airy_kernel_cdf(s, nodes=80):
    """F2 by Bornemann's own route: the determinant of the Airy kernel in its difference form."""
    y, w = np.polynomial.legendre.leggauss(nodes)
    length = max(16.0, s + 8) - s
    x, w = s + length * (y + 1) / 2, w * length / 2
    a, da = airy(x)[:2]
    gap = x[:, None] - x + np.eye(nodes)
    kernel = (np.outer(a, da) - np.outer(da, a)) / gap
    np.fill_diagonal(kernel, da**2 - x * a**2)
    return np.linalg.det(np.eye(nodes) - np.sqrt(np.outer(w, w)) * kernel)


def half_airy_determinant(s, sign, nodes=80):
    """det(I + sign V), V(x, y) = Ai((x + y)/2)/2 on (s, infinity)."""
    y, w = np.polynomial.legendre.leggauss(nodes)
    length = max(20.0, s + 8) - s
    x, w = s + length * (y + 1) / 2, w * length / 2
    return np.linalg.det(np.eye(nodes) + sign * np.sqrt(np.outer(w, w)) * airy((x[:, None] + x) / 2)[0] / 2)


@pytest.mark.parametrize("s", [-7.0, -5.0, -3.3, -2.0, -1.0, 0.0, 1.5, 4.0])
def test_the_determinants_are_those_of_the_airy_kernels(s):
    minus, plus = half_airy_determinant(s, -1), half_airy_determinant(s, 1)
    assert fredholm_cdf(s, 1) == pytest.approx(minus, abs=1e-12)
    assert fredholm_cdf(s, 2) == pytest.approx(airy_kernel_cdf(s), abs=1e-12)
    assert fredholm_cdf(s, 4) == pytest.approx((minus + plus) / 2, abs=1e-12)


@pytest.mark.parametrize("beta", [1, 2, 4])
def test_the_law_is_the_determinant_everywhere(beta):
    s = np.concatenate([np.linspace(-19, 12, 156), [-2 - 1e-9, -2 + 1e-9]])
    assert UNSCALED[beta].cdf(s) == pytest.approx(fredholm_cdf(s, beta), abs=1e-12)


def test_more_nodes_do_not_change_the_determinant():
    s = np.linspace(-9, 6, 31)
    for beta in (1, 2, 4):
        assert fredholm_cdf(s, beta) == pytest.approx(fredholm_cdf(s, beta, nodes=110), abs=1e-13)


def test_the_three_laws_obey_their_identity():
    s = np.linspace(-9, 9, 200)
    f1, f2, f4 = (UNSCALED[beta].cdf(s) for beta in (1, 2, 4))
    assert f4 == pytest.approx((f1 + f2 / f1) / 2, rel=1e-11)


@pytest.mark.parametrize("law", LAWS)
def test_the_density_is_the_slope_of_the_distribution(law):
    x = np.concatenate([np.linspace(-8, 8, 161), [-2.001, -1.999]])
    h = 1e-3
    slope = (8 * (law.cdf(x + h) - law.cdf(x - h)) - law.cdf(x + 2 * h) + law.cdf(x - 2 * h)) / (12 * h)
    assert law.pdf(x) == pytest.approx(slope, abs=3e-10)


@pytest.mark.parametrize("law", LAWS)
def test_mean_and_variance_are_integrals_of_the_density(law):
    def integral(f):
        return sum(quad(f, a, b, epsabs=1e-12, epsrel=1e-12)[0] for a, b in ((-14, -5), (-5, -2), (-2, 1), (1, 25)))

    assert integral(law.pdf) == pytest.approx(1, abs=1e-10)
    assert integral(lambda x: x * law.pdf(x)) == pytest.approx(law.mean(), abs=1e-10)
    assert integral(lambda x: (x - law.mean()) ** 2 * law.pdf(x)) == pytest.approx(law.var(), abs=1e-10)


def test_moments_come_from_the_distribution_as_well():
    # E x^k = b^k - k int_{-inf}^b x^{k-1} F
    for law in LAWS:
        for k in (1, 2, 3, 5):
            value = 20.0**k - k * sum(
                quad(lambda x, k=k, law=law: x ** (k - 1) * law.cdf(x), a, b, epsabs=1e-9, epsrel=1e-12)[0]
                for a, b in ((-14, -4), (-4, -2), (-2, 3), (3, 20))
            )
            assert law.moment(k) == pytest.approx(value, rel=1e-9)
        assert law.moment(0) == pytest.approx(1, abs=1e-12)


def test_far_right_the_survival_is_the_trace_of_its_kernel():
    # 1 - F1 -> tr A, 1 - F2 -> tr A^2 where squares are negligible: integrals of Ai and Ai^2
    for s in (8.0, 20.0, 60.0):
        trace = quad(lambda u, s=s: airy(s + u)[0] / airy(s)[0], 0, 30 / sqrt(s), epsrel=1e-13)[0] / 2
        a, da, *_ = airy(s)
        assert LAWS[0].sf(s) == pytest.approx(trace * a, rel=2e-11)
        # int_s (x - s) Ai^2 = (2 s^2 Ai^2 - 2 s Ai'^2 - Ai Ai') / 3, which cancels as s^-3
        if s < 10:
            assert LAWS[1].sf(s) == pytest.approx((2 * s * s * a * a - 2 * s * da * da - a * da) / 3, rel=1e-9)


def test_the_far_right_tails_have_their_known_leading_terms():
    s = 4000.0
    zeta = 2 / 3 * s**1.5
    assert LAWS[0].logsf(s) + zeta == pytest.approx(log(1 / (4 * sqrt(pi) * s**0.75)), abs=2e-5)
    assert LAWS[1].logsf(s) + 2 * zeta == pytest.approx(log(1 / (16 * pi * s**1.5)), abs=2e-5)


@pytest.mark.parametrize("beta", [1, 2, 4])
def test_the_left_tail_meets_its_expansion_and_its_constant(beta):
    # Baik, Buckingham and DiFranco (2008); F1 and F4 differ by the sign of r^(3/2) and a factor of two
    zeta_prime = -0.1654211437004509
    for s in (-10.0, -20.0, -40.0):
        r = -s
        sign = {1: -1, 2: 0, 4: 1}[beta]
        half = -(r**3) / 24 - log(r) / 16 + log(2) / 48 + zeta_prime / 2
        odd = r**1.5 / (3 * sqrt(2)) + log(2) / 4 + r**-1.5 / (24 * sqrt(2))
        expected = 2 * half if beta == 2 else half + sign * odd - log(2) * (beta == 4)
        assert UNSCALED[beta].logcdf(s) == pytest.approx(expected, abs=0.1 * r**-3)


def test_the_left_tail_is_that_of_painleve_two_solved_by_another_program():
    a, b = -11.0, 5.0

    def slope(s, y):
        return np.vstack([y[1], s * y[0] + 2 * y[0] ** 3])

    def ends(left, right):
        r = -a
        q = sqrt(r / 2) * (1 - 1 / (8 * r**3) - 73 / (128 * r**6) - 10657 / (1024 * r**9))
        return np.array([left[0] - q, right[0] - airy(b)[0]])

    s = np.linspace(a, b, 400)
    start = np.vstack([np.sqrt(np.maximum(-s, 0) / 2), 0 * s])
    q = solve_bvp(slope, ends, s, start, tol=1e-9, max_nodes=40000)
    assert q.success
    for left, right in ((-10.0, -4.0), (-8.5, -5.5), (-4.0, -1.0)):
        # ln F2 / F1^2 = int_s q, and (ln F2)'' = -q^2
        area = quad(lambda s: q.sol(s)[0], left, right, epsabs=1e-11, epsrel=1e-11, limit=200)[0]
        logs = [LAWS[1].logcdf(x) - 2 * LAWS[0].logcdf(x) for x in (left, right)]
        assert logs[0] - logs[1] == pytest.approx(area, abs=1e-8)
        q0, dq0 = q.sol(left)
        force = dq0**2 - left * q0**2 - q0**4
        h = 1e-3
        f = LAWS[1].logcdf(left + h * np.array([-2, -1, 1, 2]))
        assert (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h) == pytest.approx(force, rel=1e-8)


@pytest.mark.parametrize("law", LAWS)
def test_everything_is_monotone_over_the_whole_line(law):
    x = np.concatenate([-np.geomspace(1e6, 9.1, 100), np.linspace(-9, 9, 4001), np.geomspace(9.1, 1e6, 100)])
    assert (np.diff(law.logcdf(x)) >= 0).all()
    assert (np.diff(law.logsf(x)) <= 0).all()
    assert (np.diff(law.logcdf(x[:3000])) > 0).all()
    assert (np.diff(law.logsf(x[1500:])) < 0).all()
    assert (law.pdf(x) >= 0).all()
    assert law.cdf(x) + law.sf(x) == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize("law", LAWS)
def test_logarithms_are_logarithms(law):
    x = np.linspace(-6, 8, 141)
    assert np.exp(law.logcdf(x)) == pytest.approx(law.cdf(x), rel=1e-13)
    assert np.exp(law.logsf(x)) == pytest.approx(law.sf(x), rel=1e-13)
    assert np.isfinite(law.logcdf(-40.0))
    assert law.logcdf(-40.0) < law.logcdf(-39.9) < -1000


@pytest.mark.parametrize("law", LAWS)
@given(p=st.floats(1e-300, 1.0, exclude_max=True))
def test_quantiles_invert_probabilities(law, p):
    assert law.cdf(law.ppf(p)) == pytest.approx(p, rel=1e-11)
    assert law.sf(law.isf(p)) == pytest.approx(p, rel=1e-11)


@pytest.mark.parametrize("law", LAWS)
@given(x=st.floats(-7, 12))
def test_probabilities_invert_quantiles(law, x):
    assert law.isf(law.sf(x)) == pytest.approx(x, abs=1e-9) or law.cdf(x) < 1e-6  # there sf has lost x
    assert law.ppf(law.cdf(x)) == pytest.approx(x, abs=1e-9) or law.sf(x) < 1e-6


@pytest.mark.parametrize("law", LAWS)
def test_the_ends_and_what_lies_outside(law):
    assert law.support() == (-inf, inf)
    assert list(law.ppf([0, 1])) == [-inf, inf]
    assert list(law.isf([0, 1])) == [inf, -inf]
    assert np.isnan(law.ppf([-0.1, 1.1, np.nan])).all()
    assert np.isnan(law.isf([-0.1, 1.1, np.nan])).all()
    ends = [-inf, inf, -1e200, 1e200]
    assert list(law.cdf(ends)) == [0, 1, 0, 1]
    assert list(law.sf(ends)) == [1, 0, 1, 0]
    assert list(law.pdf(ends)) == [0, 0, 0, 0]
    assert list(law.logcdf(ends[:2])) == [-inf, 0]
    assert list(law.logsf(ends[:2])) == [0, -inf]
    for function in (law.pdf, law.cdf, law.sf, law.logcdf, law.logsf):
        assert np.isnan(function(np.nan))
    assert np.isfinite(law.isf(5e-324))
    assert np.isfinite(law.ppf(5e-324))


def test_a_scalar_gives_a_float_and_an_array_its_shape():
    law = TracyWidom(2)
    for function in (law.pdf, law.cdf, law.sf, law.logcdf, law.logsf):
        assert isinstance(function(-1.0), float)
        assert function(np.zeros((2, 0, 3))).shape == (2, 0, 3)
        assert function([[0.0, -5.0]]).shape == (1, 2)
    assert isinstance(law.ppf(0.3), float)
    assert law.isf(np.full((2, 3), 0.5)).shape == (2, 3)
    assert isinstance(fredholm_cdf(0.0, 1), float)
    assert fredholm_cdf([[0.0, np.nan, inf, -inf]], 1).tolist()[0][2:] == [1.0, 0.0]


def test_draws_follow_the_law_and_their_seed():
    law = TracyWidom(1)
    x = law.rvs(20000, seed=3)
    assert (x == law.rvs(20000, seed=np.random.default_rng(3))).all()
    assert x.mean() == pytest.approx(law.mean(), abs=4 * law.std() / sqrt(20000))
    assert np.abs(np.sort(law.cdf(x)) - (np.arange(20000) + 0.5) / 20000).max() < 1.63 / sqrt(20000)
    assert law.rvs((2, 3), seed=0).shape == (2, 3)
    assert isinstance(law.rvs(seed=0), float)


def test_the_largest_eigenvalue_of_a_real_symmetric_matrix_follows_the_first_law():
    # Dumitriu and Edelman (2002): GOE of size n is the tridiagonal matrix of N(0, 2) and chi_{n-1}, ..., chi_1
    from scipy.linalg import eigvalsh_tridiagonal

    rng, n, draws = np.random.default_rng(5), 20000, 1500
    k = 270  # the largest eigenvalue lives in the upper corner, of size n^(1/3)
    z = np.empty(draws)
    for i in range(draws):
        d = rng.standard_normal(k) * sqrt(2)
        e = np.sqrt(rng.chisquare(np.arange(n - 1, n - k, -1.0)))
        z[i] = eigvalsh_tridiagonal(d, e, select="i", select_range=(k - 1, k - 1))[0]
    z = n ** (1 / 6) * (z - 2 * sqrt(n))
    for p in (0.1, 0.5, 0.9):
        assert TracyWidom(1).cdf(np.quantile(z, p)) == pytest.approx(p, abs=0.04)


@pytest.mark.parametrize("beta", [0, 3, "1"])
def test_other_betas_are_refused(beta):
    with pytest.raises(ValueError, match="beta is 1"):
        TracyWidom(beta)
    with pytest.raises(ValueError, match="beta is 1"):
        fredholm_cdf(0.0, beta)


def test_other_scales_moments_and_letters_are_refused():
    with pytest.raises(ValueError, match="'tables' or 'unscaled'; got 'other'"):
        TracyWidom(4, "other")
    for k in (-1, 21, 1.5):
        with pytest.raises(ValueError, match="whole number from 0 to 20"):
            TracyWidom(1).moment(k)
    for letters in ("", "mx"):
        with pytest.raises(ValueError, match="letters m, v, s and k"):
            TracyWidom(1).stats(letters)
    assert isinstance(TracyWidom(1).stats("m"), float)
    assert TracyWidom(1).stats() == (TracyWidom(1).mean(), TracyWidom(1).var())
