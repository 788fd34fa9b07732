from math import inf, pi, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import semicircular

from heavytail.rmt.semicircle import Semicircle


@pytest.mark.parametrize("sigma", [1.0, 0.3, 12.0])
def test_density_and_distribution_are_those_of_scipy(sigma):
    law, known = Semicircle(sigma), semicircular(scale=2 * sigma)
    x = np.linspace(-2.5, 2.5, 301) * sigma
    assert law.pdf(x) == pytest.approx(known.pdf(x), rel=1e-12)
    assert law.cdf(x) == pytest.approx(known.cdf(x), abs=1e-14)
    assert law.sf(x) == pytest.approx(known.sf(x), abs=1e-14)
    assert law.stats("mvsk") == pytest.approx([float(v) for v in known.stats("mvsk")], abs=1e-12)


def test_tails_keep_their_digits_at_both_edges():
    law = Semicircle()
    for gap in 2.0 ** -np.arange(5, 50, 5):
        # int_0^gap sqrt(u (4 - u)) / 2 pi du with u = gap t^2
        value = quad(lambda t, g=gap: 2 * g**1.5 * t * t * sqrt(4 - g * t * t), 0, 1, epsrel=1e-13)[0] / (2 * pi)
        assert law.sf(2 - gap) == pytest.approx(value, rel=1e-12)
        assert law.cdf(gap - 2) == pytest.approx(value, rel=1e-12)


@given(st.floats(0, 1), st.floats(0.01, 100))
def test_quantiles_and_probabilities_invert_each_other(p, sigma):
    law = Semicircle(sigma)
    assert law.cdf(law.ppf(p)) == pytest.approx(p, abs=1e-15)
    assert law.sf(law.isf(p)) == pytest.approx(p, abs=1e-15)
    x = sigma * (4 * p - 2)
    assert law.ppf(law.cdf(x)) == pytest.approx(x, abs=1e-10 * sigma)


def test_the_ends_and_what_lies_outside():
    law = Semicircle(1.5)
    assert law.support() == law.edges == (-3.0, 3.0)
    assert law.ppf([0, 0.5, 1]) == pytest.approx([-3, 0, 3], abs=1e-15)
    assert list(law.ppf([0, 1])) == [-3, 3]
    assert list(law.isf([0, 1])) == [3, -3]
    assert np.isnan(law.ppf([-0.1, 1.1, np.nan])).all()
    assert list(law.cdf([-9, -3, 3, 9])) == [0, 0, 1, 1]
    assert list(law.pdf([-9, -3, 3, 9])) == [0] * 4
    assert law.median() == pytest.approx(0, abs=1e-15)
    for function in (law.pdf, law.cdf, law.sf, law.ppf, law.isf):
        assert np.isnan(function(np.nan))
        assert isinstance(function(0.3), float)
        assert function(np.zeros((2, 0))).shape == (2, 0)


def test_moments_are_catalan_numbers():
    assert [Semicircle().moment(k) for k in range(11)] == [1, 0, 1, 0, 2, 0, 5, 0, 14, 0, 42]
    assert Semicircle(2.0).moment(6) == 5 * 2**6


def test_the_transforms_fit_together():
    law = Semicircle(1.3)
    z = np.array([3.0, -4.0, 1 + 1j, 0.1j, -2 - 0.5j, 1e9])
    G = law.stieltjes(z)
    assert law.r_transform(G) + 1 / G == pytest.approx(z, rel=1e-9)
    assert law.stieltjes(law.r_transform(0.1) + 10) == pytest.approx(0.1, rel=1e-13)
    assert (np.sign(G.imag) == -np.sign(z.imag))[2:5].all()
    x = np.linspace(-2.5, 2.5, 11)
    assert law.stieltjes(x).imag == pytest.approx(-pi * law.pdf(x), rel=1e-12)
    assert law.stieltjes(5.0) == pytest.approx(sum(law.moment(k) / 5.0 ** (k + 1) for k in range(0, 120, 2)))


def test_the_spectrum_of_one_matrix_follows_the_law():
    X = np.random.default_rng(0).standard_normal((600, 600))
    x = np.linalg.eigvalsh((X + X.T) / sqrt(1200))
    assert np.abs(Semicircle().cdf(x) - (np.arange(600) + 0.5) / 600).max() < 0.005


def test_draws_follow_their_seed():
    law = Semicircle()
    x = law.rvs(5000, seed=2)
    assert (x == law.rvs(5000, seed=2)).all()
    assert np.abs(np.sort(law.cdf(x)) - (np.arange(5000) + 0.5) / 5000).max() < 1.63 / sqrt(5000)


@pytest.mark.parametrize("value", [0, -1.0, inf, np.nan])
def test_arguments_out_of_range_are_refused(value):
    with pytest.raises(ValueError, match="sigma is positive and finite; got"):
        Semicircle(value)
    with pytest.raises(ValueError, match="whole number from 0; got -2"):
        Semicircle().moment(-2)


def test_moments_beyond_the_range_of_floats_are_infinite_and_those_within_are_not():
    assert Semicircle().moment(4000) == inf
    assert Semicircle(0.5).moment(2000) == pytest.approx((2 / pi) ** 0.5 * 2 / 2000**1.5, rel=2e-3)  # Stirling
