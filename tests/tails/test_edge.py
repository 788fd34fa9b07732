from math import isnan, log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from heavytail.rmt.marchenko_pastur import MarchenkoPastur
from heavytail.tails.edge import edge_shape


def upper_quantiles(isf, n):
    """An ascending sample whose i-th largest point is exceeded with probability i / n, exactly."""
    return isf(np.arange(n, 0, -1) / n)


@pytest.mark.parametrize("s", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("n", [40, 1000])
def test_an_edge_like_a_power_of_the_distance_has_minus_one_over_the_power_and_one(s, n):
    # Density (s + 1) (1 - x)^s on [0, 1]: the survival function is (1 - x)^(s + 1).
    x = upper_quantiles(lambda u: 1 - u ** (1 / (s + 1)), n)
    assert edge_shape(x).index == pytest.approx(-1 / (s + 1), abs=1e-9)


def test_the_uniform_law_has_index_minus_one():
    assert edge_shape(np.arange(100.0)).index == pytest.approx(-1, abs=1e-12)


@pytest.mark.parametrize("n", [8, 40, 1000])
def test_exponential_decay_has_index_zero_and_the_error_of_its_limit(n):
    found, k = edge_shape(upper_quantiles(lambda u: -np.log(u), n)), max(2, n // 20)
    assert found.index == pytest.approx(0, abs=1e-12)
    assert found.error == pytest.approx(sqrt(3) / (2 * log(2) ** 2 * sqrt(k)), rel=1e-9)  # the limit of the formula


@pytest.mark.parametrize("alpha", [1.5, 2.0, 3.0, 6.0])
@pytest.mark.parametrize("n", [40, 1000])
def test_a_power_law_has_the_inverse_of_alpha_less_one(alpha, n):
    x = upper_quantiles(lambda u: u ** (-1 / (alpha - 1)), n)
    assert edge_shape(x).index == pytest.approx(1 / (alpha - 1), abs=1e-9)


@pytest.mark.parametrize("Q", [1.0, 2.0, 16.0])
def test_the_edge_of_noise_tends_to_minus_two_thirds(Q):
    law = MarchenkoPastur(Q)

    def off(share):
        """The index of the law's points beyond all but a share of its mass."""
        return abs(edge_shape(upper_quantiles(lambda u: law.isf(u * share), 400)).index + 2 / 3)

    assert off(1e-2) > off(1e-4) > off(1e-6)
    assert off(1e-6) < 1e-3


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(8, 300),
    exponent=st.integers(-200, 200),
    shift=st.floats(-100, 100),
)
def test_neither_scale_nor_origin_matters(seed, n, exponent, shift):
    x = np.sort(np.random.default_rng(seed).standard_exponential(n))
    one, scaled, moved = edge_shape(x), edge_shape(x * 2.0**exponent), edge_shape(x + shift)
    assert scaled == one  # a power of two rounds nothing
    gap = min(x[-k] - x[-2 * k] for k in (max(2, n // 20), 2 * max(2, n // 20)))
    tolerance = 100 * 1e-13 / gap  # what rounding at 100 does to the smaller difference
    assert moved.index == pytest.approx(one.index, abs=tolerance)
    assert moved.error == pytest.approx(one.error, rel=10 * tolerance)


@pytest.mark.parametrize(
    ("law", "index"),
    [(stats.uniform(), -1.0), (stats.beta(1, 1.5), -2 / 3), (stats.expon(), 0.0), (stats.pareto(2), 0.5)],
    ids=["uniform", "square root", "exponential", "Pareto"],
)
def test_independent_points_scatter_as_is_stated(law, index):
    n, draws = 4000, 600
    x = np.sort(law.rvs((draws, n), random_state=np.random.default_rng(1)), axis=1)
    found = [edge_shape(row) for row in x]
    indices, stated = np.array([one.index for one in found]), np.mean([one.error for one in found])
    assert indices.std() == pytest.approx(stated, rel=4 / sqrt(2 * draws))
    assert abs(indices.mean() - index) < 4 * indices.std() / sqrt(draws) + 0.5 * stated**2  # of the logarithm: bias
    assert np.mean(np.abs(indices - index) < 1.959964 * np.array([one.error for one in found])) > 0.92


@pytest.mark.parametrize(
    "x",  # 40 points, so that the 2nd, 4th and 8th from above are asked
    [np.ones(40), np.r_[np.arange(36.0), np.full(4, 50.0)], np.r_[np.arange(32.0), np.full(6, 50.0), 60, 70]],
    ids=["all", "the first two", "the last two"],
)
def test_points_that_coincide_have_no_shape(x):
    found = edge_shape(x)
    assert isnan(found.index)
    assert isnan(found.error)


NEEDS = "^the shape of an edge needs a vector of 8 finite points or more; got shape "


@pytest.mark.parametrize("n", [0, 4, 7])
def test_fewer_than_eight_points_have_no_shape(n):
    with pytest.raises(ValueError, match=NEEDS + rf"\({n},\)$"):
        edge_shape(np.arange(float(n)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 20, -1])
def test_points_that_are_not_finite_are_refused(value, place):
    x = np.arange(40.0)
    x[place] = value
    with pytest.raises(ValueError, match=NEEDS):
        edge_shape(x)


@pytest.mark.parametrize("x", [np.float64(3), np.ones((40, 1)), np.ones((2, 40))], ids=np.ndim)
def test_what_is_no_vector_is_refused(x):
    with pytest.raises(ValueError, match=NEEDS):
        edge_shape(x)


def test_any_sequence_of_numbers_will_do():
    x = [i * i for i in range(40)]
    assert edge_shape(x) == edge_shape(np.array(x, float))
