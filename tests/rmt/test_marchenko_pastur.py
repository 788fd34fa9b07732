from fractions import Fraction
from itertools import pairwise
from math import comb, inf, log, pi, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from heavytail.rmt.marchenko_pastur import MarchenkoPastur

RATIOS = (0.001, 0.3, 0.5, 1 - 1e-9, 1.0, 1 + 1e-9, 1.0001, 1.01, 1.5, 2.0, 4.0, 30.0, 1e6)

ratios = st.floats(-3, 6).map(lambda e: 10.0**e)


def by_quadrature(law, x):
    """Mass of the continuous part up to x, by the density in the angle of x = v (1 + c + 2 sqrt(c) cos t)."""
    c, v = 1 / law.Q, law.sigma**2
    a = v * ((1 - c) / (1 + sqrt(c))) ** 2
    depth = (x - a) / (4 * v * sqrt(c)) if c > 0.2 else ((x - v) / v + 2 * sqrt(c) - c) / (4 * sqrt(c))

    def density(t):  # t is the angle from the lower edge
        return 2 / pi * np.sin(t) ** 2 / (a / v + 4 * sqrt(c) * np.sin(t / 2) ** 2)

    end = 2 * np.arcsin(sqrt(min(max(depth, 0.0), 1.0)))
    knots = [0.0, *(k for k in (1e-10, 1e-9, 1e-8, 1e-5, 1e-3, 0.1) if k < end), end]
    return sum(quad(density, p, q, epsabs=1e-16, epsrel=1e-13, limit=200)[0] for p, q in pairwise(knots))


@pytest.mark.parametrize("Q", RATIOS)
def test_the_distribution_is_the_integral_of_the_density(Q):
    law = MarchenkoPastur(Q, sigma=1.3)
    a, b = law.edges
    share = np.concatenate([np.geomspace(1e-12, 0.5, 12), 1 - np.geomspace(1e-9, 0.4, 8), [1.0]])
    x = a + (b - a) * share
    expected = np.array([by_quadrature(law, v) for v in x])
    assert law.cdf(x) == pytest.approx(law.atom + expected, abs=1e-13)
    assert law.sf(x) == pytest.approx(min(Q, 1) - expected, abs=1e-13)


@pytest.mark.parametrize("Q", [0.5, 1.0, 2.0, 50.0])
def test_survival_keeps_its_digits_at_the_upper_edge(Q):
    law = MarchenkoPastur(Q, sigma=0.7)
    a, b = law.edges
    for gap in 2.0 ** -np.arange(10, 40, 6):
        x = b - b * gap
        gap = b - x  # as it is in float64
        # rho = sqrt(gap - u) ...: int_0^gap sqrt(u (b - a - u)) / (2 pi c v (b - u)) du, u = gap t^2
        value = quad(
            lambda t, g=gap: 2 * g**1.5 * t * t * sqrt(b - a - g * t * t) / (b - g * t * t), 0, 1, epsrel=1e-13
        )[0]
        assert law.sf(x) == pytest.approx(value * law.Q / (2 * pi * law.sigma**2), rel=1e-9)


def test_the_distribution_of_square_matrices_is_that_of_the_quarter_circle():
    x = np.linspace(0, 4, 101)
    s = np.sqrt(x) / 2
    quarter = 2 / pi * (np.arcsin(s) + s * np.sqrt(1 - s * s))
    assert MarchenkoPastur(1.0).cdf(x) == pytest.approx(quarter, abs=1e-15)


def test_density_and_edges_are_the_formula():
    law = MarchenkoPastur(2.0)
    a, b = law.edges
    assert (a, b) == pytest.approx((1.5 - sqrt(2), 1.5 + sqrt(2)), rel=1e-14)
    x = np.linspace(a, b, 52)[1:-1]
    assert law.pdf(x) == pytest.approx(np.sqrt((b - x) * (x - a)) / (pi * x), rel=1e-9)
    assert list(law.pdf([a, b, a - 1e-3, b + 1e-3, 0.0, -1.0])) == [0] * 6
    assert MarchenkoPastur(1.0).pdf(0.0) == inf
    assert MarchenkoPastur(1.0).pdf(-1e-9) == 0
    assert MarchenkoPastur(0.5).pdf(0.0) == 0


@given(ratios, st.floats(0.01, 100))
def test_total_mass_is_one(Q, sigma):
    law = MarchenkoPastur(Q, sigma)
    a, b = law.edges
    assert law.cdf(b) == 1
    assert law.sf(b) == 0
    assert law.cdf(a) == pytest.approx(law.atom, abs=1e-15)
    assert law.sf(a) == pytest.approx(min(Q, 1), rel=1e-15)


def test_the_atom_lies_at_zero_and_the_distribution_is_right_continuous():
    law = MarchenkoPastur(0.25)
    assert law.atom == 0.75
    assert law.support() == (0.0, law.edges[1])
    assert law.edges == (1.0, 9.0)
    assert law.cdf([-1e-300, 0.0, 0.5, 1.0]).tolist() == [0, 0.75, 0.75, 0.75]
    assert law.sf([-1e-300, 0.0, 0.5, 1.0]).tolist() == [1, 0.25, 0.25, 0.25]
    assert law.ppf([0.0, 0.3, 0.75]).tolist() == [0, 0, 0]
    assert law.ppf(np.nextafter(0.75, 1)) == pytest.approx(1, abs=1e-9)
    assert law.median() == 0
    x = law.rvs(4000, seed=1)
    assert (x == 0).mean() == pytest.approx(0.75, abs=0.03)
    assert x[x > 0].min() >= 1


@pytest.mark.parametrize("Q", RATIOS)
def test_quantiles_and_probabilities_invert_each_other(Q):
    law = MarchenkoPastur(Q, sigma=0.3)
    a, b = law.edges
    p = np.concatenate([np.linspace(0, 1, 4097), np.geomspace(1e-15, 1e-3, 50)])
    p = p[p > law.atom]
    assert law.cdf(law.ppf(p)) == pytest.approx(p, abs=1e-13 * max(1, sqrt(Q)))
    q = np.geomspace(1e-9, min(Q, 1) * 0.999, 200)
    assert law.sf(law.isf(q)) == pytest.approx(q, abs=1e-13 * max(1, sqrt(Q)))
    x = np.linspace(a, b, 999)[law.atom > 0 :]  # with an atom F is flat up to a
    assert law.ppf(law.cdf(x)) == pytest.approx(x, abs=1e-10)
    assert law.isf(law.sf(x)) == pytest.approx(x, abs=1e-10)


@given(ratios, st.floats(0, 1))
def test_quantiles_lie_in_the_support_and_hit_its_ends(Q, p):
    law = MarchenkoPastur(Q)
    low, high = law.support()
    assert low <= law.ppf(p) <= high
    assert law.ppf(0.0) == law.isf(1.0) == low
    assert law.ppf(1.0) == law.isf(0.0) == high
    assert np.isnan(law.ppf([-0.1, 1.1, np.nan])).all()
    assert law.isf(1 - p) == pytest.approx(law.ppf(1 - (1 - p)), abs=1e-12)


def test_quantiles_ascend():
    for Q in RATIOS:
        assert (np.diff(MarchenkoPastur(Q).ppf(np.linspace(0, 1, 4097))) >= 0).all()


@pytest.mark.parametrize(
    ("c", "moments"),
    [
        (0.25, (1, 1.25, 1.8125, 2.890625, 4.91015625)),
        (0.5, (1, 1.5, 2.75, 5.625, 12.3125)),
        (1.0, (1, 2, 5, 14, 42)),
    ],
)
def test_moments_are_narayana_polynomials(c, moments):
    law = MarchenkoPastur(1 / c)
    assert [law.moment(k) for k in range(1, 6)] == list(moments)
    assert law.moment(0) == 1
    assert MarchenkoPastur(1 / c, sigma=2.0).moment(3) == pytest.approx(64 * moments[2])


@pytest.mark.parametrize("Q", [0.2, 0.9, 1.0, 2.0, 10.0])
def test_moments_mean_and_shape_are_integrals(Q):
    law = MarchenkoPastur(Q, sigma=1.2)

    def mean(f):  # over the continuous part; the atom adds f(0)
        return quad(lambda t: f(law.ppf(law.atom + t * (1 - law.atom))), 0, 1, epsabs=1e-9, limit=200)[0] * (
            1 - law.atom
        ) + law.atom * f(0.0)

    m = law.mean()
    assert mean(lambda x: x) == pytest.approx(m, rel=1e-8)
    assert mean(lambda x: (x - m) ** 2) == pytest.approx(law.var(), rel=1e-8)
    assert mean(lambda x: x**4) == pytest.approx(law.moment(4), rel=1e-8)
    skewness, kurtosis = law.stats("sk")
    assert mean(lambda x: (x - m) ** 3) / law.std() ** 3 == pytest.approx(skewness, abs=1e-7)
    assert mean(lambda x: (x - m) ** 4) / law.var() ** 2 - 3 == pytest.approx(kurtosis, abs=1e-7)


def test_the_mean_logarithm_and_the_mean_inverse_are_the_closed_forms():
    assert MarchenkoPastur(2.0).log_mean() == pytest.approx(-0.3068528, abs=5e-8)
    assert MarchenkoPastur(1.0).log_mean() == -1
    assert MarchenkoPastur(1 + 1e-12).log_mean() == pytest.approx(-1, abs=1e-10)
    assert MarchenkoPastur(1e9, sigma=3.0).log_mean() == pytest.approx(2 * log(3), abs=1e-8)
    assert MarchenkoPastur(0.9).log_mean() == -inf
    assert MarchenkoPastur(2.0).inverse_mean() == 2
    assert MarchenkoPastur(4.0, sigma=2.0).inverse_mean() == pytest.approx(1 / 3)
    assert MarchenkoPastur(1.0).inverse_mean() == MarchenkoPastur(0.5).inverse_mean() == inf
    for Q in (1.3, 2.0, 20.0):
        law = MarchenkoPastur(Q, sigma=0.8)
        t = (np.arange(4000) + 0.5) * pi / 4000  # x = mid + r cos t makes the integrand smooth and periodic
        a, b = law.edges
        x = (a + b) / 2 + (b - a) / 2 * np.cos(t)
        w = law.pdf(x) * (b - a) / 2 * np.sin(t) * pi / 4000
        assert w @ np.log(x) == pytest.approx(law.log_mean(), abs=1e-10)
        assert w @ (1 / x) == pytest.approx(law.inverse_mean(), rel=1e-10)


@pytest.mark.parametrize("Q", [0.3, 1.0, 2.0, 100.0])
def test_the_transforms_fit_together(Q):
    law = MarchenkoPastur(Q, sigma=1.1)
    a, b = law.edges
    z = np.array([b + 1, 2 * b + 1j, -1 + 2j, (a + b) / 2 + 0.1j, 1 - 3j, -2.0, 1e8])
    G = law.stieltjes(z)
    assert law.r_transform(G) + 1 / G == pytest.approx(z, rel=1e-7)
    small = np.array([0.01, -0.02, 0.01j])  # G(R(w) + 1/w) = w
    assert law.stieltjes(law.r_transform(small) + 1 / small) == pytest.approx(small, rel=1e-12)
    # S(w) = (1 + w)/w psi^-1(w), psi(y) = sum m_k y^k = G(1/y)/y - 1
    y = np.array([0.05, -0.05, 0.02j]) / b
    psi = law.stieltjes(1 / y) / y - 1
    assert law.s_transform(psi) == pytest.approx((1 + psi) / psi * y, rel=1e-9)
    assert psi == pytest.approx(sum(law.moment(k) * y**k for k in range(1, 16)), rel=1e-11)


@pytest.mark.parametrize("Q", [0.3, 1.0, 2.0, 100.0])
def test_the_stieltjes_transform_takes_the_right_branch(Q):
    law = MarchenkoPastur(Q)
    a, b = law.edges
    x = np.linspace(a, b, 12)[1:-1]
    assert law.stieltjes(x + 1e-13j).imag == pytest.approx(-pi * law.pdf(x), rel=1e-6)
    assert law.stieltjes(x) == pytest.approx(law.stieltjes(x + 1e-13j), rel=1e-6)
    rng = np.random.default_rng(0)
    z = rng.normal(0, 3, 500) + 1j * rng.normal(0, 3, 500)
    assert (law.stieltjes(z).imag * z.imag < 0).all()
    assert law.stieltjes(z.conj()) == pytest.approx(law.stieltjes(z).conj())
    assert law.stieltjes(1e12) * 1e12 == pytest.approx(1, abs=1e-10)
    if Q > 1:
        assert law.stieltjes(0.0).real == pytest.approx(-law.inverse_mean())
    if Q < 1:  # the atom is the residue at zero
        assert 1e-9j * law.stieltjes(1e-9j) == pytest.approx(law.atom, abs=1e-6)


def test_a_wide_matrix_has_the_law_of_its_transpose_and_an_atom():
    # W^T W / N of 30 x 100 has the 30 eigenvalues of W W^T / 100, times 100/30, and 70 zeros
    wide, tall = MarchenkoPastur(0.3), MarchenkoPastur(1 / 0.3, sigma=sqrt(1 / 0.3))
    x = np.linspace(0.01, 9, 300)
    assert wide.cdf(x) == pytest.approx(0.7 + 0.3 * tall.cdf(x), abs=1e-14)
    assert wide.pdf(x) == pytest.approx(0.3 * tall.pdf(x), abs=1e-13)


def test_the_spectrum_of_one_matrix_lies_within_half_a_percent():
    W = np.random.default_rng(0).standard_normal((2000, 1000))
    x = np.linalg.eigvalsh(W.T @ W / 2000)
    F = MarchenkoPastur(2.0).cdf(x)
    n = np.arange(1000)
    assert max(np.abs(F - n / 1000).max(), np.abs(F - (n + 1) / 1000).max()) < 0.005


def test_draws_follow_the_law_and_their_seed():
    law = MarchenkoPastur(2.0)
    x = law.rvs(5000, seed=7)
    assert (x == law.rvs(5000, seed=np.random.default_rng(7))).all()
    assert np.abs(np.sort(law.cdf(x)) - (np.arange(5000) + 0.5) / 5000).max() < 1.63 / sqrt(5000)


def test_a_scalar_gives_a_float_an_array_its_shape_and_nan_nan():
    law = MarchenkoPastur(0.7)
    for function in (law.pdf, law.cdf, law.sf, law.ppf, law.isf):
        assert isinstance(function(0.4), float)
        assert function([[0.1, 0.9]]).shape == (1, 2)
        assert function(np.zeros((0, 2))).shape == (0, 2)
        assert np.isnan(function(np.nan))
    assert isinstance(law.stieltjes(1j), complex)
    assert law.stieltjes(np.full((2, 2), 1j)).shape == (2, 2)


@pytest.mark.parametrize("value", [0, -1.0, inf, np.nan])
def test_arguments_out_of_range_are_refused(value):
    with pytest.raises(ValueError, match="Q is positive and finite; got"):
        MarchenkoPastur(value)
    with pytest.raises(ValueError, match="sigma is positive and finite; got"):
        MarchenkoPastur(2.0, value)
    with pytest.raises(ValueError, match="whole number from 0; got -1"):
        MarchenkoPastur(2.0).moment(-1)


def test_high_moments_count_plane_trees():
    assert MarchenkoPastur(1.0).moment(20) == comb(40, 20) // 21


@pytest.mark.parametrize("Q", [0.025, 1.0, 2.0, 1e6])
@pytest.mark.parametrize("k", [7, 40, 170])
def test_high_moments_are_those_of_exact_arithmetic(Q, k):
    c = Fraction(1 / Q)
    exact = sum(comb(k, r) * comb(k - 1, r) // (r + 1) * c**r for r in range(k))
    assert MarchenkoPastur(Q).moment(k) == pytest.approx(float(exact), rel=1e-11)


def test_moments_beyond_the_range_of_floats_are_infinite():
    assert MarchenkoPastur(2.0).moment(1000) == inf
    assert 0 < MarchenkoPastur(2.0, sigma=0.6).moment(1000) < inf


def test_the_density_near_zero_does_not_overflow_before_it_must():
    x = np.array([1e-320, 1e-300, 1e-10])
    assert MarchenkoPastur(1.0).pdf(x) * np.sqrt(x) == pytest.approx(1 / pi, rel=1e-3)  # 1e-320 has 4 digits
