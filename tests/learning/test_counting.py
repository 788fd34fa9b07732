from math import comb, log

import numpy as np
import pytest
from scipy.special import expit

from heavytail.learning._counting import binary_entropy, log_binomial_sum, log_binomials, log_volume, spin_entropy


@pytest.mark.parametrize("n", [0, 1, 7, 60])
def test_binomials_are_those_in_whole_numbers(n):
    assert np.exp(log_binomials(n)) == pytest.approx([comb(n, k) for k in range(n + 1)], rel=1e-12)
    assert np.array_equal(log_binomials(n, n // 2), log_binomials(n)[: n // 2 + 1])


def test_sums_of_binomials_are_those_in_whole_numbers():
    for n, most in ((1, 0), (10, 3), (300, 100), (300, 299), (10, 10), (10, 50)):
        exact = sum(comb(n, k) for k in range(min(n, most) + 1))
        assert log_binomial_sum(n, most) == pytest.approx(log(exact), rel=1e-13)


def test_a_coins_entropy_has_all_its_digits_on_both_sides():
    p = np.array([0.0, 1e-300, 1e-20, 1e-6, 0.3, 0.5])
    # (1 - p) ln(1 - p) = -p + p^2/2 + ...
    near = [0, 1e-300 * (300 * log(10) + 1), 1e-20 * (20 * log(10) + 1), 1e-6 * (6 * log(10) + 1 - 5e-7)]
    expected = [*near, -0.3 * log(0.3) - 0.7 * log(0.7), log(2)]
    assert binary_entropy(p, 1 - p) == pytest.approx(expected, rel=1e-12)
    assert np.array_equal(binary_entropy(1 - p, p), binary_entropy(p, 1 - p))


def test_a_spins_entropy_is_that_of_its_two_directions_in_a_field_of_any_size():
    y = np.array([0.0, 1e-8, 0.3, 2.0, 30.0, 300.0])
    assert spin_entropy(y) == pytest.approx(binary_entropy(expit(2 * y), expit(-2 * y)), rel=1e-13)
    assert np.array_equal(spin_entropy(-y), spin_entropy(y))
    assert spin_entropy(np.array(1e4)) == 0


def test_the_logarithm_of_a_volume_keeps_its_digits_at_both_ends():
    q = np.array([0.0, 1e-150, 1e-9, 1e-4, 0.0499, 0.0501, 0.5])
    by_terms = [sum((1 - 1 / k) * x**k for k in range(2, 80)) for x in q]
    assert log_volume(q, 1 - q) == pytest.approx(by_terms, rel=3e-14, abs=0)
    rest = np.array([1e-10, 1e-100])
    assert log_volume(1 - rest, rest) == pytest.approx((1 - rest) / rest + np.log(rest), rel=1e-15)
