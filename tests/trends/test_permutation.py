"""Permutation p-values are exact where all orders can be looked at, and valid where not."""

from itertools import permutations
from math import factorial

import numpy as np
import pytest
from scipy import stats

from heavytail.trends import associate
from heavytail.trends.permutation import DRAWS, orders, pair_signs, permuted_kendall, share, shares

CASES = {
    "distinct 5": ([3.0, 1.0, 4.0, 1.5, 9.0], [2.0, 7.0, 1.0, 8.0, 2.8]),
    "metric tied 5": ([1.0, 1.0, 2.0, 3.0, 3.0], [5.0, 4.0, 3.0, 2.0, 1.0]),
    "both tied 5": ([1.0, 1.0, 2.0, 3.0, 3.0], [2.0, 2.0, 2.0, 1.0, 1.0]),
    "distinct 6": ([0.3, 0.1, 0.4, 0.15, 0.9, 0.26], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
    "quality tied 6": ([0.3, 0.1, 0.4, 0.15, 0.9, 0.26], [1.0, 1.0, 3.0, 3.0, 3.0, 6.0]),
    "both tied 6": ([1.0, 1.0, 1.0, 2.0, 2.0, 3.0], [1.0, 1.0, 2.0, 2.0, 2.0, 3.0]),
}


@pytest.mark.parametrize("case", CASES)
def test_p_values_are_the_shares_of_all_orders(case: str) -> None:
    x, y = CASES[case]
    found = associate(x, y, 0)
    measures = {
        "p_kendall": lambda z: stats.kendalltau(x, z).statistic,
        "p_spearman": lambda z: stats.spearmanr(x, z).statistic,
        "p_slope": lambda z: stats.linregress(x, z).slope,
    }
    for name, measure in measures.items():
        values = np.abs([measure(order) for order in permutations(y)])
        assert getattr(found, name) == pytest.approx(np.mean(values >= abs(measure(y)) - 1e-12), abs=1e-15), name
        if name == "p_kendall":
            assert found.p_least == pytest.approx(np.mean(values >= values.max() - 1e-12), abs=1e-15)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 8])
def test_perfect_order_of_few_models_is_one_of_two_among_all_orders(n: int) -> None:
    found = associate(np.arange(n), -np.exp(np.arange(n)), 0)
    assert found.p_kendall == found.p_least == pytest.approx(2 / factorial(n))


def test_exact_p_values_agree_with_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, y = rng.standard_normal((2, 8))
        assert associate(x, y, 0).p_kendall == pytest.approx(stats.kendalltau(x, y, method="exact").pvalue)


def test_drawn_p_values_agree_with_exact_ones_and_are_never_zero() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((2, 15))
    y += 0.4 * x
    exact = stats.kendalltau(x, y, method="exact").pvalue
    assert 0.01 < exact < 0.99
    assert associate(x, y, 0).p_kendall == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / DRAWS))
    assert associate(np.arange(30), np.arange(30), 0).p_kendall == pytest.approx(1 / (DRAWS + 1))


@pytest.mark.parametrize(("n", "count"), [(1, 1), (4, 24), (8, 40320), (9, DRAWS + 1), (40, DRAWS + 1)])
def test_orders_are_all_or_drawn_evenly_and_begin_with_the_one_observed(n: int, count: int) -> None:
    found = orders(n, np.random.default_rng(0))
    assert found.shape == (count, n)
    assert np.array_equal(found[0], np.arange(n))
    assert np.array_equal(np.sort(found, axis=1), np.tile(np.arange(n), (count, 1)))
    if n <= 8:
        assert len(np.unique(found, axis=0)) == count
    else:
        assert found[1:].mean(axis=0) == pytest.approx((n - 1) / 2, abs=5 * n / np.sqrt(12 * DRAWS))


def test_kendalls_s_of_all_metrics_at_once_is_that_of_each_alone_and_of_pairs_that_are_there() -> None:
    rng = np.random.default_rng(2)
    metrics, quality = rng.integers(0, 4, (3, 7)).astype(float), rng.integers(0, 5, 7).astype(float)
    metrics[1, 2] = np.nan
    shuffled = orders(7, rng)[rng.integers(5040, size=40)]
    found = permuted_kendall(metrics, quality, shuffled)
    for k, order in enumerate(shuffled):
        y = quality[order]
        for m, x in enumerate(metrics):
            pairs = [(i, j) for j in range(7) for i in range(j) if np.isfinite(x[i] + x[j])]
            assert found[k, m] == sum(np.sign(x[j] - x[i]) * np.sign(y[j] - y[i]) for i, j in pairs)


def test_sums_of_many_pairs_do_not_depend_on_how_they_are_cut() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((2, 300))
    shuffled = np.stack([rng.permutation(300) for _ in range(200)])
    found = permuted_kendall(x[None], y, shuffled)[:, 0]
    for k in (0, 92, 93, 94, 199):
        assert found[k] == np.sum(pair_signs(x).astype(int) * pair_signs(y[shuffled[k]]))


def test_shares_count_what_is_as_far_from_zero() -> None:
    statistics = np.array([[3.0, 0.0], [-3.0, 0.0], [1.0, 0.0], [5.0, 0.0]])
    assert shares(statistics).tolist() == [[0.75, 1.0], [0.75, 1.0], [1.0, 1.0], [0.25, 1.0]]
    assert [share(statistics[:, 0], value) for value in statistics[:, 0]] == [0.75, 0.75, 1.0, 0.25]
    assert share(np.array([0.3, 0.1 + 0.2, -0.3]), 0.1 + 0.2) == 1
