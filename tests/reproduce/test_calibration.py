import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate

from heavytail.reproduce.calibration import CLAIMS, apparent_exponent
from heavytail.tails.power_law import fit_power_law

EXPONENTS = st.floats(1.2, 8.0)
STARTS = st.floats(0.05, 50.0)


@given(EXPONENTS, STARTS)
def test_the_apparent_exponent_is_that_of_the_mean_logarithm(alpha, xmin):
    """E[ln(x / xmin)] over the tail, by quadrature in u = ln(x / xmin)."""
    mean, _ = integrate.quad(
        lambda u: np.exp((alpha - 1) * (np.log1p(xmin) - np.logaddexp(0, np.log(xmin) + u))), 0, np.inf
    )
    assert apparent_exponent(alpha, xmin) == pytest.approx(1 + 1 / mean, rel=1e-6)


@given(EXPONENTS, STARTS)
def test_the_apparent_exponent_lies_between_the_local_slope_at_the_start_and_the_exponent(alpha, xmin):
    assert alpha * xmin / (1 + xmin) < apparent_exponent(alpha, xmin) < alpha
    assert apparent_exponent(alpha, xmin) < apparent_exponent(alpha, 2 * xmin)


def test_far_out_the_bias_is_one_part_in_the_start():
    """With s = alpha - 1, by expansion in 1/x under the integral: alpha - s^2 / ((s + 1) xmin)."""
    alpha, xmin = 3.5, 1e4
    assert alpha - apparent_exponent(alpha, xmin) == pytest.approx(2.5**2 / 3.5 / xmin, rel=1e-3)


@pytest.mark.parametrize(("alpha", "xmin"), [(1.75, 0.5), (3.0, 1.0), (4.24, 0.9)])
def test_it_is_the_limit_of_the_fit_at_a_given_start(alpha, xmin):
    x = np.sort(np.random.default_rng(0).pareto(alpha - 1, 200_000))
    fit = fit_power_law(x, xmin=xmin)
    assert abs(fit.alpha - apparent_exponent(alpha, xmin)) < 4 * fit.sigma
    assert abs(fit.alpha - alpha) > 20 * fit.sigma


def test_a_part_of_the_interval_that_covers_too_seldom_would_be_found():
    [coverage] = [claim for claim in CLAIMS if claim.id == "E5-coverage"]
    pure = [check for check in coverage.checks if check.name.startswith("pure")]
    assert all(check.against(0.90).surprising and not check.against(0.955).surprising for check in pure)
    nominal = [check for check in coverage.checks if check.name in {"Lomax 2.72", "Lomax 3.25", "Lomax 3.74"}]
    assert len(nominal) == 3
    assert all(check.against(0.95).surprising and not check.against(0.60).surprising for check in nominal)
