import numpy as np
import pytest

from heavytail.report.curves import ccdf, linear_histogram, log_counts, log_histogram, significant, thinned


@pytest.fixture
def evals():
    rng = np.random.default_rng(3)
    return np.sort(np.concatenate([np.zeros(40), rng.pareto(1.5, 960) + 1e-3]))


def integral(histogram):
    return float((histogram.density * np.diff(histogram.edges)).sum())


def test_the_log_density_integrates_to_the_share_of_positive_eigenvalues(evals):
    assert integral(log_histogram(evals)) == pytest.approx(0.96)


def test_the_log_density_counts_what_is_above_the_floor(evals):
    assert integral(log_histogram(evals, floor=0.5)) == pytest.approx((evals > 0.5).mean())


def test_the_bins_are_equal_in_the_logarithm_and_reach_the_extremes(evals):
    edges = log_histogram(evals, bins=10).edges
    np.testing.assert_allclose(np.diff(np.log10(edges)), np.log10(edges[1] / edges[0]))
    np.testing.assert_allclose(edges[[0, -1]], [evals[evals > 0].min(), evals.max()])


def test_equal_eigenvalues_make_a_density_around_them():
    histogram = log_histogram(np.full(5, 2.0))
    assert integral(histogram) == pytest.approx(1.0)
    assert histogram.edges[0] < 2 < histogram.edges[-1]


@pytest.mark.parametrize("nothing", [np.empty(0), np.zeros(3)])
def test_no_positive_eigenvalue_makes_no_curves(nothing):
    assert log_histogram(nothing).density.size == 0
    assert ccdf(nothing).x.size == 0
    assert linear_histogram(nothing).counts.size == 0


def test_linear_counts_sum_to_all_values(evals):
    top, counts = linear_histogram(evals)
    assert counts.sum() == evals.size
    assert top == evals.max()


def test_linear_counts_end_at_a_limit(evals):
    top, counts = linear_histogram(evals, limit=0.5)
    assert top == 0.5
    assert counts.sum() == (evals <= 0.5).sum()
    assert linear_histogram(evals, limit=1e9).top == evals.max()


def test_logarithmic_counts_hold_every_eigenvalue_above_the_floor(evals):
    assert log_counts(evals, floor=0.01).counts.sum() == (evals > 0.01).sum()


def test_thinned_values_keep_their_ends_and_their_order():
    values = np.sort(np.random.default_rng(1).random(1000))
    few = thinned(values, 60)
    assert few.size == 60
    assert (few[[0, -1]] == values[[0, -1]]).all()
    assert np.isin(few, values).all()
    assert (np.diff(few) > 0).all()
    np.testing.assert_array_equal(thinned(values[:60], 60), values[:60])


def test_the_ccdf_is_one_over_n_at_the_largest_eigenvalue(evals):
    points = ccdf(evals)
    assert points.x[0] == evals[-1]
    assert points.rank[0] / evals.size == 1 / evals.size


def test_the_ccdf_keeps_the_fifty_largest_and_at_most_150_points(evals):
    points = ccdf(evals)
    np.testing.assert_array_equal(points.x[:50], evals[::-1][:50])
    assert points.x.size <= 150
    assert points.x[-1] == evals[evals > 0].min()


@pytest.mark.parametrize("n", [1, 2, 50, 149, 150, 151, 152, 4096])
def test_every_point_of_the_ccdf_is_exact(n):
    evals = np.sort(np.random.default_rng(n).integers(1, 400, n).astype(float))
    points = ccdf(evals)
    assert points.x.size <= 150
    np.testing.assert_array_equal(points.rank, [(evals >= x).sum() for x in points.x])


def test_a_power_law_sample_lies_on_its_ccdf():
    alpha, n = 3.0, 20_000
    evals = np.sort(np.random.default_rng(0).pareto(alpha - 1, n) + 1)
    points = ccdf(evals)
    body = points.rank > 200
    np.testing.assert_allclose(points.rank[body] / n, points.x[body] ** (1 - alpha), rtol=0.15)


def test_numbers_are_rounded_to_significant_digits_and_nothing_is_nan():
    assert significant(np.array([1.23456e-7, 98765.0, 3.0, np.inf, np.nan])) == [1.235e-7, 98760, 3, None, None]
