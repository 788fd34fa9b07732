"""Tables of hundreds of groups and of thousands of models: as exact as they are said to be, and quick."""

from itertools import permutations
from time import perf_counter

import numpy as np
import pytest
from scipy import stats

from heavytail.trends import ModelTable, associate, trends
from heavytail.trends.association import sign_error
from heavytail.trends.intervals import MOST_RESAMPLED, kendall_interval, spearman_interval
from heavytail.trends.pairs import concordances, kendall_score, sign_products, sign_sums, untied
from heavytail.trends.permutation import _remainder, null_kendall, orders, pair_signs, permuted_kendall
from heavytail.trends.verdict import find_family


def draw(n: int, metrics: int, seed: int, values: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Draw correlated metrics and quality; as whole numbers, so that about so many values are left."""
    z = np.random.default_rng(seed).standard_normal((metrics + 1, n))
    z[1:] += z[0]
    return (z[1:], z[0]) if values is None else (np.round(z[1:] * values / 4), np.round(z[0] * values / 4))


def table(metrics: np.ndarray, quality: np.ndarray, groups: int) -> ModelTable:
    n = len(quality)
    names = tuple(f"m{k}" for k in range(n))
    columns = {f"metric {k}": values for k, values in enumerate(metrics)}
    return ModelTable(names, tuple(f"s{k % groups}" for k in range(n)), columns, quality, "accuracy", True)


@pytest.mark.parametrize("groups", [64, 65, 300])
def test_any_number_of_groups_can_be_tested(groups: int) -> None:
    """Beside those of one model, which have one order, the few others are tested as if they were alone."""
    x, y = draw(groups + 5, 2, groups, None)
    found = trends(table(x, y, groups), resamples=39)
    assert len(found.trends[0].groups) == 5
    strata = np.arange(groups + 5) % groups
    pairs = [(x[:, strata == k], y[strata == k]) for k in range(5)]
    alone = find_family(pairs, seed=0)
    assert [trend.within.p_value for trend in found.trends] == pytest.approx(alone.within)


@pytest.mark.parametrize("values", [None, 3])
def test_sums_over_pairs_are_those_of_every_pair(values: int | None) -> None:
    x, y = draw(300, 2, 1, values)
    x[0, :7] = np.nan
    every = np.vstack((x, y))
    signs = np.sign(np.nan_to_num(every[:, :, None] - every[:, None]))
    assert np.array_equal(sign_products(every), np.einsum("aij,bij->ab", signs, signs))
    assert np.array_equal(sign_sums(every), signs.sum(axis=2))
    assert np.array_equal(concordances(x[0], y), np.sum(signs[0] * signs[2], axis=1))
    assert kendall_score(x[0], y) == int(np.sum(pair_signs(x[0]).astype(int) * pair_signs(y)))
    assert [untied(row) for row in every] == [int(np.sum(one != 0)) // 2 for one in signs]
    told = pair_signs(y) != 0
    wrong = (1 + pair_signs(x[1]).astype(int) * pair_signs(y))[told] / 2
    assert sign_error(x[1], y, -1) == pytest.approx(wrong.mean())


@pytest.mark.parametrize("case", ["distinct", "ties", "gaps"])
def test_covariance_of_kendalls_s_is_that_of_all_orders(case: str) -> None:
    """Of 6 models: the projection on the places of single models, and what is left, uncorrelated with it."""
    x, y = draw(6, 3, 2, 4 if case == "ties" else None)
    if case == "gaps":
        x[1, 2] = np.nan
    every = np.array(list(permutations(range(6))))
    s, sums = permuted_kendall(x, y, every), sign_sums(np.vstack((x, y)))
    projection = (sums[-1][every] @ sums[:-1].T) / 6
    left = s - projection
    assert left.T @ projection / 720 == pytest.approx(np.zeros((3, 3)), abs=1e-9)
    assert _remainder(sums, sign_products(np.vstack((x, y)))) == pytest.approx(left.T @ left / 720)


@pytest.mark.parametrize("values", [None, 8, 3, 1.2])
@pytest.mark.parametrize("n", [61, 120])
def test_the_law_of_kendalls_s_of_many_models_is_that_of_counted_pairs(n: int, values: int | None) -> None:
    """Shares of 10,000 orders beyond the quantiles of 10,000 others, and what two metrics do together."""
    x, y = draw(n, 2, n, values)
    x[1, :9] = np.nan
    rng = np.random.default_rng(5)
    drawn, counted = (
        law[1:] for law in (null_kendall(x, y, orders(n, rng), rng), permuted_kendall(x, y, orders(n, rng)))
    )
    for level in (0.001, 0.005, 0.01, 0.05, 0.3):
        for k in (0, 1):
            bound = np.quantile(np.abs(counted[:, k]), 1 - level, method="higher")
            there, here = (np.mean(np.abs(law[:, k]) >= bound) for law in (counted, drawn))
            assert here == pytest.approx(there, abs=4 * np.sqrt(2 * there / 9999))
    assert np.corrcoef(drawn.T)[0, 1] == pytest.approx(np.corrcoef(counted.T)[0, 1], abs=0.03)
    assert null_kendall(x, y, orders(n, rng), rng)[0].tolist() == [kendall_score(one, y) for one in x]


def test_two_values_leave_nothing_to_approximate() -> None:
    x, y = draw(80, 2, 3, None)
    y = (y > 1.5).astype(float)
    assert 0 < y.sum() < 15
    rng = np.random.default_rng(0)
    shuffled = orders(80, rng)
    assert np.array_equal(null_kendall(x, y, shuffled, rng), permuted_kendall(x, y, shuffled))


@pytest.mark.parametrize("values", [None, 5])
def test_p_values_of_many_models_are_those_of_the_normal_law_of_kendalls_tau(values: int | None) -> None:
    rng = np.random.default_rng(6)
    x, y = rng.standard_normal((2, 400))
    y += 0.1 * x
    if values:
        x, y = np.round(x), np.round(y)
    expected = stats.kendalltau(x, y, method="asymptotic")
    assert 0.0005 < expected.pvalue < 0.5
    found = associate(x, y, 0, seed=1)
    error = np.sqrt(expected.pvalue / 9999)
    assert found.kendall_tau == pytest.approx(expected.statistic)
    assert found.p_kendall == pytest.approx(expected.pvalue, abs=4 * error + 0.01 * expected.pvalue)


@pytest.mark.slow
def test_chance_among_many_models_is_called_a_trend_in_at_most_one_of_twenty_tables() -> None:
    """Both families at their level: 400 tables have the deviation 1.1 %."""
    rng, found = np.random.default_rng(7), []
    for _ in range(400):
        y, z = rng.standard_normal(200), rng.standard_normal(200)
        x = z + rng.standard_normal((3, 200))
        family = find_family([(x[:, :120], y[:120]), (x[:, 120:], y[120:])], rng)
        found.append(min(family.adjusted.min(), family.within_adjusted.min()) <= 0.05)
    assert 0.05 - 3 * 0.011 <= np.mean(found) <= 0.05 + 2 * 0.011


@pytest.mark.parametrize("values", [None, 3])
def test_the_jackknife_of_rank_correlations_is_what_resampling_gives(values: int | None) -> None:
    """Heavy tails, so that these ends are the farther ones; beside the spread of 1,000 resamples."""
    rng, n = np.random.default_rng(8), MOST_RESAMPLED + 100
    x, y = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], n).T / np.sqrt(rng.chisquare(1, n))
    if values:
        x, y = np.clip(np.round(x), -values, values), np.clip(np.round(y), -values, values)
    rows = rng.integers(n, size=(1000, n))
    for interval, statistic in ((kendall_interval, stats.kendalltau), (spearman_interval, stats.spearmanr)):
        resampled = [statistic(x[row], y[row]).statistic for row in rows]
        low, high = interval(x, y, np.empty((0, n)))
        assert high - low == pytest.approx(2 * 1.96 * np.std(resampled), rel=0.1)
        assert (low + high) / 2 == pytest.approx(statistic(x, y).statistic, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "groups", "limit"), [(1000, 1, 10), (5000, 1, 60), (5000, 100, 60)])
def test_thousands_of_models_take_seconds(n: int, groups: int, limit: float) -> None:
    x, y = draw(n, 7, 9, None)
    began = perf_counter()
    found = trends(table(x, y, groups))
    assert perf_counter() - began < limit
    assert found.trends[0].verdict == "supported"
