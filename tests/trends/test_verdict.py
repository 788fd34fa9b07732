"""Verdicts: chance is not called a trend, what is there is found, opposite trends are flagged."""

from itertools import permutations, product

import numpy as np
import pytest
from scipy import stats

from heavytail.trends import ModelTable, trends
from heavytail.trends.verdict import find_family, verdict

METRICS = ("log_norm", "alpha", "alpha_weighted", "log_spectral_norm", "stable_rank", "mp_softrank", "log_alpha_norm")


def table(sizes: tuple[int, ...], metrics: np.ndarray, quality: np.ndarray, higher: bool = True) -> ModelTable:
    groups = tuple(f"series {k}" for k, size in enumerate(sizes) for _ in range(size))
    values = dict(zip(METRICS, metrics, strict=False))
    return ModelTable(tuple(map(str, range(len(groups)))), groups, values, quality, "top1_accuracy", higher)


def unrelated(sizes: tuple[int, ...], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw 7 correlated metrics, and quality that has nothing to do with them within groups."""
    strata = np.repeat(np.arange(len(sizes)), sizes)
    values = rng.standard_normal((7, 2)) @ rng.standard_normal((2, len(strata))) + rng.standard_normal((7, len(strata)))
    shifts = rng.normal(0, 5, (8, len(sizes)))[:, strata]
    return values + shifts[:7], rng.standard_normal(len(strata)) + shifts[7]


def test_words_follow_level_sign_and_number_of_models() -> None:
    assert verdict(-0.9, -1, 0.05, 0.05, 8) == "supported"
    assert verdict(0.9, -1, 0.05, 0.05, 8) == "reversed"
    assert verdict(0.9, 0, 0.05, 0.05, 8) == verdict(-0.9, 0, 0.05, 0.05, 8) == "supported"
    assert verdict(-0.9, -1, 0.0501, 0.05, 8) == "open"
    assert verdict(float("nan"), -1, 0.01, 0.01, 8) == "open"
    assert verdict(-1.0, -1, 0.01, 0.0501, 8) == "too few"
    assert verdict(float("nan"), -1, 1.0, 1.0, 4) == "too few"
    assert verdict(float("nan"), -1, 1.0, 1.0, 5) == "open"  # a constant: more of it would tell no more


def test_adjusted_p_values_of_one_group_are_shares_of_all_orders() -> None:
    rng = np.random.default_rng(0)
    metrics, quality = rng.standard_normal((3, 5)), rng.standard_normal(5)
    metrics[0] = quality + 0.1 * rng.standard_normal(5)
    taus = np.array([[abs(stats.kendalltau(x, y).statistic) for x in metrics] for y in permutations(quality)])
    p_values = np.array([[np.mean(column >= value - 1e-12) for value in column] for column in taus.T]).T
    expected = [np.mean(p_values.min(axis=1) <= p + 1e-12) for p in p_values[0]]
    found = find_family([(metrics, quality)], seed=0)
    assert found.p_values[0] == pytest.approx(p_values[0])
    assert found.adjusted[0] == pytest.approx(expected)
    assert found.within == pytest.approx(p_values[0])
    assert found.within_adjusted == pytest.approx(expected)


def test_adjusted_p_values_of_two_groups_are_shares_of_all_pairs_of_orders() -> None:
    rng = np.random.default_rng(1)
    groups = [(rng.standard_normal((2, 4)), rng.standard_normal(4)), (rng.standard_normal((2, 5)), np.arange(5.0))]
    groups[1][0][0] = np.arange(5.0)[::-1]

    def scores(metrics: np.ndarray, quality: np.ndarray) -> np.ndarray:
        i, j = np.triu_indices(len(quality), 1)
        orders = np.array(list(permutations(quality)))
        return np.sign(orders[:, j] - orders[:, i]) @ np.sign(metrics[:, j] - metrics[:, i]).T

    def p_values(statistics: np.ndarray) -> np.ndarray:
        size = np.abs(statistics)
        return np.array([[np.mean(column >= value) for value in column] for column in size.T]).T

    def uniform(smallest: np.ndarray) -> np.ndarray:
        return np.searchsorted(np.sort(smallest), smallest + 1e-12) / len(smallest)

    first, second = (scores(*group) for group in groups)
    rows = np.array(list(product(range(24), range(120))))
    cells = np.concatenate((p_values(first)[rows[:, 0]], p_values(second)[rows[:, 1]]), axis=1)
    total = first[rows[:, 0]] + second[rows[:, 1]]
    within = np.array([np.mean(np.abs(total[:, m]) >= abs(total[0, m])) for m in range(2)])
    levels = np.array([np.unique(np.abs(total[:, m]), return_inverse=True)[1] for m in range(2)])
    shared = [np.cumsum(np.bincount(level)[::-1])[::-1][level] / len(total) for level in levels]
    families = uniform(cells.min(axis=1)), uniform(np.min(shared, axis=0))
    either = np.minimum(*families)

    found = find_family(groups, seed=2)
    assert found.p_values.ravel() == pytest.approx(cells[0])
    assert found.within == pytest.approx(within)
    for own, family, adjusted in (
        (cells[0], cells.min(axis=1), found.adjusted.ravel()),
        (within, np.min(shared, axis=0), found.within_adjusted),
    ):
        expected = [np.mean(either <= np.mean(family <= p + 1e-12) + 1e-12) for p in own]
        assert adjusted == pytest.approx(expected)


def test_drawn_p_values_within_groups_agree_with_the_law_of_the_sum_of_kendalls_s() -> None:
    """The law of S over all orders is a convolution of uniform laws."""
    rng, sizes = np.random.default_rng(3), (5, 6, 7)
    metrics, quality = rng.standard_normal((1, 18)), rng.standard_normal(18)
    metrics -= 0.5 * quality
    strata = np.repeat(np.arange(3), sizes)
    groups = [(metrics[:, strata == k], quality[strata == k]) for k in range(3)]
    law = np.ones(1)  # of the number of discordant pairs
    for size in sizes:
        for k in range(2, size + 1):
            law = np.convolve(law, np.ones(k) / k)
    pairs = len(law) - 1
    s = sum(round(stats.kendalltau(x[0], y).statistic * len(y) * (len(y) - 1) / 2) for x, y in groups)
    exact = law[np.abs(pairs - 2 * np.arange(pairs + 1)) >= abs(s)].sum()
    assert 0.001 < exact < 0.5
    assert find_family(groups, seed=5).within[0] == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 9999))


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_least_p_value_within_groups_is_the_groups_own_where_ties_make_chance_lopsided(sign: int) -> None:
    """Of 30 models one has another metric and one another quality: S is far from 0 where the two are one model."""
    x, y = np.zeros(30), np.full(30, 2.0)
    x[-1], y[-1] = sign, 1
    found = trends(table((30,), x[None], y), resamples=39).trends[0]
    own = found.groups["series 0"]
    family = find_family([(x[None], y)], seed=0)
    assert own.p_least == own.p_kendall
    assert family.within_least == family.within
    for share in (own.p_least, family.within_least[0]):
        assert share == pytest.approx(1 / 30, abs=4 * np.sqrt(1 / 30 / 9999))
    assert found.verdict != "too few"
    assert found.verdict == found.verdicts["series 0"]


def test_the_least_p_value_within_groups_is_that_of_all_pairs_of_orders() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        groups = [(rng.integers(0, 3, (2, n)).astype(float), rng.integers(0, 3, n).astype(float)) for n in (4, 5)]
        scores = []
        for metrics, quality in groups:
            i, j = np.triu_indices(len(quality), 1)
            every = np.array(list(permutations(quality)))
            scores.append(np.sign(every[:, j] - every[:, i]) @ np.sign(metrics[:, j] - metrics[:, i]).T)
        total = np.abs(scores[0][:, None] + scores[1][None]).reshape(-1, 2)
        expected = np.mean(total == total.max(axis=0), axis=0)
        assert find_family(groups, seed=0).within_least == pytest.approx(expected)


def test_adjusted_p_values_are_never_below_their_own() -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        report = trends(table((3, 5, 9), *unrelated((3, 5, 9), rng)), seed=seed, resamples=39)
        for trend in report.trends:
            assert trend.within.adjusted >= trend.within.p_value
            assert all(trend.adjusted[group] >= found.p_kendall for group, found in trend.groups.items())


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(4, 5, 6, 7, 9, 12), (4, 4, 5, 5, 6, 6, 7, 7, 12, 12), (6,)])
def test_chance_is_called_a_trend_in_at_most_one_of_twenty_tables(sizes: tuple[int, ...]) -> None:
    """1,000 tables without any trend: their share has the deviation 0.7 %, and stays below 5 % in expectation."""
    found = []
    strata = np.repeat(np.arange(len(sizes)), sizes)
    for seed in range(1000):
        rng = np.random.default_rng([seed, len(sizes)])
        metrics, quality = unrelated(sizes, rng)
        family = find_family([(metrics[:, strata == k], quality[strata == k]) for k in range(len(sizes))], rng)
        smallest = min(family.adjusted.min(), family.within_adjusted.min())
        found.append(smallest <= 0.05)
    assert np.mean(found) <= 0.05 + 2 * 0.0069


@pytest.mark.slow
def test_supported_and_reversed_are_each_said_of_chance_in_at_most_one_of_twenty_tables() -> None:
    sizes, said = (4, 5, 6, 7, 9, 12), []
    for seed in range(1000):
        report = trends(table(sizes, *unrelated(sizes, np.random.default_rng([seed, 1]))), seed=seed, resamples=39)
        words = {trend.verdict for trend in report.trends}
        words |= {word for trend in report.trends for word in trend.verdicts.values()}
        said.append(("supported" in words, "reversed" in words))
    assert np.mean(said, axis=0).max() <= 0.05


@pytest.mark.parametrize("seed", range(10))
def test_perfect_order_of_eight_models_by_one_of_seven_metrics_is_supported(seed: int) -> None:
    rng = np.random.default_rng(seed)
    metrics, quality = unrelated((8, 3, 5), rng)
    metrics[2, :8] = -np.argsort(np.argsort(quality[:8]))
    found = trends(table((8, 3, 5), metrics, quality), seed=rng, resamples=39).trends[2]
    assert found.verdicts["series 0"] == "supported"
    worse = trends(table((8, 3, 5), metrics, quality, higher=False), seed=rng, resamples=39).trends[2]
    assert worse.verdicts["series 0"] == "reversed"
    assert worse.groups["series 0"].sign_error == 1


def test_four_models_are_too_few_and_many_groups_of_three_are_not() -> None:
    order = np.array([3.0, 2.0, 1.0])
    few = trends(table((4,), np.array([[4.0, *order]]), np.arange(4.0))).trends[0]
    assert few.verdicts == {"series 0": "too few"}
    assert few.verdict == "too few"
    many = trends(table((3,) * 6, np.tile(order, 6)[None] + np.repeat(np.arange(6.0), 3), np.tile(-order, 6))).trends[0]
    assert set(many.verdicts.values()) == {"too few"}
    assert many.within.p_value == pytest.approx(2 / 6**6)
    assert many.verdict == "supported"


def test_a_metric_with_the_same_value_everywhere_says_nothing() -> None:
    found = trends(table((6, 6), np.ones((1, 12)), np.random.default_rng(0).standard_normal(12))).trends[0]
    assert set(found.verdicts.values()) <= {"too few", "open"}
    assert found.within.adjusted == 1
    assert not found.opposed
    tenths = np.repeat([0.1, 0.7], [3, 7])[None]  # whose means are off by rounding
    own = trends(table((3, 7), tenths, np.random.default_rng(1).standard_normal(10))).trends[0]
    assert np.isnan([own.within.slope, own.within.slope_lo, own.within.r2, own.within.kendall_tau]).all()
    assert not own.opposed


def opposite(sizes: tuple[int, ...], sign: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw groups whose slopes have one sign, with means so far apart that the pooled one has the other."""
    inside = np.concatenate([np.linspace(-1, 1, size) if size > 1 else np.zeros(1) for size in sizes])
    inside += rng.uniform(-0.05, 0.05, len(inside))
    centre = 10 * np.repeat(rng.permutation(len(sizes)), sizes)
    return centre + inside, sign * (rng.uniform(0.5, 1.5, len(inside)) * inside - centre)


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(5, 5), (2, 2), (3, 8, 1), (4,) * 12, (1, 1, 9, 2), (1, 5, 1, 4, 1)])
def test_opposite_slopes_within_groups_and_over_all_are_flagged_every_time(sizes: tuple[int, ...]) -> None:
    """Which slopes a draw has is computed by plain least squares, within groups with a column for each of them."""
    rng, strata = np.random.default_rng([4, *sizes]), np.repeat(np.arange(len(sizes)), sizes)
    for draw in range(1000 // 6 + 1):
        x, y = opposite(sizes, 1 - 2 * (draw % 2), rng)
        inner = np.linalg.lstsq(np.column_stack((np.eye(len(sizes))[strata], x)), y, rcond=None)[0][-1]
        outer = stats.linregress(x, y).slope
        assert inner * outer < 0
        report = trends(table(sizes, x[None], y), resamples=39)
        found = report.trends[0]
        assert found.opposed
        assert found.within.slope == pytest.approx(inner, rel=1e-9)
        assert found.pooled.slope == pytest.approx(outer, rel=1e-9)
        assert any("compare models of one series only" in warning for warning in report.warnings)


def test_slopes_of_one_sign_one_group_or_single_models_are_not_flagged() -> None:
    x, y = opposite((5, 5), 1, np.random.default_rng(0))
    for sizes, quality in (((5, 5), x), ((10,), y), ((1,) * 10, y), ((9, 1), y)):
        found = trends(table(sizes, x[None], quality), resamples=39).trends[0]
        assert not found.opposed, sizes


def test_worst_group_is_told_beside_the_mean() -> None:
    """Dziugaite et al. (2020): a metric that fails in one environment fails, however well it does in the others."""
    good, bad = np.arange(5.0), np.array([4.0, 2.0, 3.0, 0.0, 1.0])
    metrics = np.concatenate((-good, -good, bad, [0.0], [1.0, 2.0]))[None]
    quality = np.concatenate((good, good, good[::-1], [9.0], [3.0, 3.0]))  # the last two cannot be told apart
    found = trends(table((5, 5, 5, 1, 2), metrics, quality)).trends[0]
    pairs = [(i, j) for j in range(5) for i in range(j)]
    worst = np.mean([(bad[i] - bad[j]) * (good[::-1][i] - good[::-1][j]) > 0 for i, j in pairs])
    assert found.robust_sign_error == pytest.approx(worst)
    assert found.sign_error == pytest.approx(worst / 3)
