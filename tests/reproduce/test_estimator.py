from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heavytail.reproduce.estimator import fit_published
from heavytail.tails.power_law import fit_power_law


def brute_force(x):
    """Least distance over all tails, by the formulas."""
    x = np.sort(x)
    fits = []
    for i in range(x.size - 1):
        if x[i] == x[-1] or (i and x[i] == x[i - 1]):
            continue
        tail = x[i:]
        k = tail.size
        slope = k / sum(log(v / x[i]) for v in tail)
        model = (1 - (tail / x[i]) ** -slope) / (1 - (tail[-1] / x[i]) ** -slope)
        fits.append((np.abs(model - np.arange(k) / k).max(), 1 + slope, x[i], k))
    return min(fits)


@given(st.lists(st.floats(0.1, 1e6), min_size=2, max_size=60).filter(lambda v: max(v) > 1.001 * min(v)))
def test_no_tail_has_a_smaller_distance(values):
    D, *_ = brute_force(np.array(values))
    assert fit_published(values).D == pytest.approx(D, abs=1e-9)


@pytest.mark.parametrize("size", [50, 300, 1000])
def test_the_fit_is_that_of_the_formulas(size):
    x = np.random.default_rng(size).pareto(1.7, size)
    D, alpha, xmin, k = brute_force(x)
    fit = fit_published(x)
    assert (fit.n_tail, fit.xmin, fit.xmax) == (k, xmin, x.max())
    assert fit.D == pytest.approx(D, abs=1e-12)
    assert fit.alpha == pytest.approx(alpha, rel=1e-12)
    assert fit.sigma == pytest.approx((alpha - 1) / k**0.5, rel=1e-12)


def test_values_of_powerlaw_1_5():
    """powerlaw.Fit(x, xmax=max(x)) of powerlaw 1.5 on the spectra of 1000 x 300 matrices of numpy's pareto(mu)."""
    rng = np.random.default_rng(0)
    for tail_mu, alpha, D, n_tail in (
        (0.4, 1.1929, 0.0475, 98),
        (1.2, 1.5846, 0.0281, 173),
        (2.5, 3.0655, 0.0505, 82),
        (3.5, 3.3317, 0.0776, 100),
        (5.0, 3.8504, 0.0976, 95),
    ):
        evals = np.linalg.svd(rng.pareto(tail_mu, (1000, 300)), compute_uv=False) ** 2
        fit = fit_published(evals)
        assert (round(fit.alpha, 4), round(fit.D, 4), fit.n_tail) == (alpha, D, n_tail)


def test_it_differs_from_the_unbounded_fit_by_the_choice_of_xmin_alone():
    x = np.sort(np.random.default_rng(3).pareto(0.6, 300))
    ours, other = fit_published(x), fit_power_law(x, min_tail=2, two_sided=False)
    tail = x[x >= ours.xmin]
    assert ours.alpha == pytest.approx(1 + tail.size / np.log(tail / tail[0]).sum())  # untruncated likelihood
    assert ours.n_tail != other.n_tail


def test_order_zeros_and_scale_do_not_matter():
    x = np.random.default_rng(0).pareto(1.5, 200)
    fit = fit_published(x)
    other = fit_published(np.concatenate([-x[:3], [0.0, 0.0], 8 * x[::-1]]))
    assert (other.n_tail, other.xmin) == (fit.n_tail, 8 * fit.xmin)
    assert other.alpha == pytest.approx(fit.alpha, rel=1e-12)


@pytest.mark.parametrize("x", [[], [1.0], [2.0, 2.0], [0.0, -1.0, 3.0]])
def test_a_sample_without_two_values_is_refused(x):
    with pytest.raises(ValueError, match="two different positive values"):
        fit_published(x)
