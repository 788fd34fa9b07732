"""Associations agree with independent computations, and intervals say what few models can say."""

from math import isnan, nan

import numpy as np
import pandas as pd
import pytest
from models import ROOT
from scipy import stats

from heavytail.trends import associate
from heavytail.trends.intervals import (
    FEWEST_RESAMPLED,
    kendall_interval,
    r2_interval,
    resampling,
    slope_interval,
    spearman_interval,
)

PUBLISHED = ROOT.parent / "shared" / "published"
ENDS = ("slope_lo", "slope_hi", "r2_lo", "r2_hi", "kendall_lo", "kendall_hi", "spearman_lo", "spearman_hi")


def published(name: str) -> pd.DataFrame:
    """Give a published table that stands beside the checkout, or skip the test."""
    if not PUBLISHED.is_dir():
        pytest.skip("there are no published tables beside this checkout")
    return pd.read_csv(PUBLISHED / name)


def sample(n: int, seed: int, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.random.default_rng(seed).standard_normal((2, n))
    return (np.round(x), np.round(x + y)) if ties else (x, x + y)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [3, 5, 8, 30, 175])
def test_line_and_rank_correlations_are_those_of_scipy(n: int, ties: bool) -> None:
    x, y = sample(n, n, ties)
    found, line = associate(x, y, 0, resamples=39), stats.linregress(x, y)
    assert found.n == n
    assert found.slope == pytest.approx(line.slope, rel=1e-12)
    assert found.intercept == pytest.approx(line.intercept, rel=1e-10, abs=1e-12)
    assert found.r2 == pytest.approx(line.rvalue**2, rel=1e-10, abs=1e-14)
    assert found.rmse == pytest.approx(np.sqrt(np.mean((y - line.intercept - line.slope * x) ** 2)), abs=1e-13)
    assert found.kendall_tau == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-14)
    assert found.spearman_rho == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-14)


@pytest.mark.parametrize("n", [4, 7, 20])
def test_prediction_error_is_that_of_leaving_out_each_model_in_turn(n: int) -> None:
    x, y = sample(n, n + 1, ties=False)
    errors, means = [], []
    for k in range(n):
        others = np.arange(n) != k
        line = np.polyfit(x[others], y[others], 1)
        errors.append(y[k] - np.polyval(line, x[k]))
        means.append(y[k] - y[others].mean())
    found = associate(x, y, 0, resamples=39)
    assert found.loo_rmse == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-9)
    assert found.loo_r2 == pytest.approx(1 - np.sum(np.square(errors)) / np.sum(np.square(means)), rel=1e-9)


def test_prediction_error_is_missing_where_one_model_alone_makes_the_slope() -> None:
    found = associate([1, 1, 1, 2], [1, 2, 3, 9], 0)
    assert found.slope == pytest.approx(7.0)
    assert isnan(found.loo_rmse)
    assert isnan(found.slope_lo)


@pytest.mark.parametrize("seed", range(5))
def test_sign_error_counts_the_pairs_against_the_theory_and_ties_as_half(seed: int) -> None:
    x, y = sample(9, seed, ties=True)
    wrong = [
        0.5 if x[i] == x[j] else float((x[i] > x[j]) == (y[i] > y[j]))
        for i in range(9)
        for j in range(i)
        if y[i] != y[j]
    ]
    assert associate(x, y, -1).sign_error == pytest.approx(np.mean(wrong))
    assert associate(x, y, 1).sign_error == pytest.approx(1 - np.mean(wrong))
    assert isnan(associate(x, y, 0).sign_error)


def test_models_without_metric_or_quality_are_left_out() -> None:
    x, y = sample(8, 3, ties=False)
    gaps = np.array([nan, *x, 5.0]), np.array([1.0, *y, nan])
    assert associate(*gaps, -1) == associate(x, y, -1)


def test_what_a_constant_does_not_determine_is_missing() -> None:
    flat, quality = associate(np.ones(6), np.arange(6.0), -1), associate(np.arange(6.0), np.ones(6), -1)
    assert all(isnan(value) for value in (flat.slope, flat.r2, flat.kendall_tau, flat.spearman_rho, flat.r2_lo))
    assert quality.slope == 0
    assert all(isnan(value) for value in (quality.r2, quality.loo_r2, quality.kendall_tau, quality.sign_error))
    assert flat.p_kendall == quality.p_kendall == flat.p_least == 1


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_fewer_than_four_models_have_no_interval(n: int) -> None:
    found = associate(np.arange(n), np.arange(n) ** 2, -1)
    assert found.n == n
    assert all(isnan(getattr(found, end)) for end in ENDS)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("n", [4, 5, 8, 19, 20, 22, 50])
def test_perfect_order_is_not_certainty(n: int, sign: int) -> None:
    x = np.linspace(0, 1, n) ** 2
    found = associate(x, sign * np.exp(x), 0, resamples=200)
    kendall, spearman = (found.kendall_lo, found.kendall_hi), (found.spearman_lo, found.spearman_hi)
    for (low, high), exchange in ((kendall, 4 / (n * (n - 1))), (spearman, 12 / (n * (n * n - 1)))):
        far, near = (low, high) if sign > 0 else (-high, -low)
        assert near == 1
        assert -1 < far < 1 - exchange  # two neighbours exchanged are in it
        assert (far > 0) == (n > 4)  # 4 models in perfect order happen by chance: p = 1/12


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("n", [4, 12, 400, 600, 1000])
def test_the_interval_of_tau_holds_the_estimate_however_many_models(n: int, sign: int) -> None:
    x = np.arange(n, dtype=float)
    y = sign * x
    y[[0, 1]] = y[[1, 0]]  # two neighbours exchanged
    low, high = kendall_interval(x, y, resampling(n, 39, np.random.default_rng(0))[:0])
    tau = sign * (1 - 4 / (n * (n - 1)))
    assert low < tau < high
    assert -1 <= low
    assert high <= 1


@pytest.mark.parametrize("seed", range(8))
def test_the_ends_of_the_interval_of_tau_are_where_it_begins_to_surprise(seed: int) -> None:
    """Beside a grid of populations, of which those are held that are at most 1.96 deviations and half a step away."""
    n = int(np.random.default_rng(seed).integers(4, 60))
    x, y = sample(n, seed, ties=bool(seed % 2))
    tau, grid = stats.kendalltau(x, y).statistic, np.linspace(-1, 1, 200_001)
    third = 2 / np.pi * np.arcsin(np.sin(np.pi / 2 * grid) / 2)
    variance = (1 - grid**2 + 2 * (n - 2) * (1 / 9 - third**2)) * 2 / (n * (n - 1))
    held = grid[np.abs(tau - grid) <= 1.959964 * np.sqrt(np.maximum(variance, 0)) + 2 / (n * (n - 1))]
    assert np.ptp(np.diff(held)) < 1e-9  # one interval
    ends = kendall_interval(x, y, np.empty((0, n)))
    assert ends == pytest.approx((held[0], held[-1]), abs=2e-5)


@pytest.mark.parametrize("n", [6, 9, 25])
def test_intervals_turn_with_the_sign_of_the_metric_and_keep_with_its_monotone_functions(n: int) -> None:
    x, y = sample(n, 1, ties=False)
    one, turned, bent = associate(x, y, 0), associate(-x, y, 0), associate(np.exp(x), y, 0)
    for name in ("slope", "kendall", "spearman"):
        ends = getattr(turned, f"{name}_lo"), getattr(turned, f"{name}_hi")
        assert ends == pytest.approx((-getattr(one, f"{name}_hi"), -getattr(one, f"{name}_lo")), abs=1e-9)
    assert (turned.r2_lo, turned.r2_hi) == pytest.approx((one.r2_lo, one.r2_hi))
    for end in ENDS[4:]:
        assert getattr(bent, end) == pytest.approx(getattr(one, end), abs=1e-12)


def test_variance_of_kendalls_tau_under_a_normal_copula_is_that_of_simulations() -> None:
    """At the lower end of the interval the tau observed lies 1.96 deviations and half a step above the mean."""
    n, rng = 8, np.random.default_rng(0)
    x, y = np.arange(8.0), np.array([0.0, 1, 2, 4, 3, 6, 5, 7])
    tau, (low, _) = stats.kendalltau(x, y).statistic, kendall_interval(x, y, resampling(n, 39, rng))
    rho = np.sin(np.pi / 2 * low)
    a, b = rng.standard_normal((2, 20_000, n))
    b = rho * a + np.sqrt(1 - rho**2) * b
    i, j = np.triu_indices(n, 1)
    taus = np.mean(np.sign(a[:, i] - a[:, j]) * np.sign(b[:, i] - b[:, j]), axis=1)
    assert taus.mean() == pytest.approx(low, abs=0.01)
    assert tau - 1 / 28 - low == pytest.approx(1.96 * taus.std(), rel=0.02)


def test_slope_interval_is_that_of_hc3() -> None:
    x, y = sample(10, 2, ties=False)
    design = np.column_stack((np.ones(10), x))
    bread = np.linalg.inv(design.T @ design)
    leverage = np.einsum("ij,jk,ik->i", design, bread, design)
    residual = y - design @ bread @ design.T @ y
    covariance = bread @ (design.T * (residual / (1 - leverage)) ** 2) @ design @ bread
    slope, reach = (bread @ design.T @ y)[1], stats.t.ppf(0.975, 8) * np.sqrt(covariance[1, 1])
    assert slope_interval(x, y, np.zeros(10, dtype=np.intp)) == pytest.approx((slope - reach, slope + reach))


def test_slope_interval_within_groups_is_that_of_hc3_with_a_column_a_group() -> None:
    x, y = sample(12, 4, ties=False)
    strata = np.array([0, 1, 1, 2, 0, 2, 0, 1, 2, 2, 0, 1])
    design = np.column_stack((np.eye(3)[strata], x))
    bread = np.linalg.inv(design.T @ design)
    leverage = np.einsum("ij,jk,ik->i", design, bread, design)
    residual = y - design @ bread @ design.T @ y
    covariance = bread @ (design.T * (residual / (1 - leverage)) ** 2) @ design @ bread
    slope, reach = (bread @ design.T @ y)[-1], stats.t.ppf(0.975, 8) * np.sqrt(covariance[-1, -1])
    assert slope_interval(x, y, strata) == pytest.approx((slope - reach, slope + reach))


def test_groups_of_one_value_tell_nothing_of_the_slope_within_groups() -> None:
    x, y = sample(5, 6, ties=False)
    flat = np.repeat(np.arange(10.0) / 10, 3)  # whose means are off by rounding
    strata = np.concatenate((np.repeat(np.arange(10), 3), np.full(5, 10))).astype(np.intp)
    noise = np.random.default_rng(7).standard_normal(30)
    among = slope_interval(np.concatenate((flat, x)), np.concatenate((noise, y)), strata)
    assert among == pytest.approx(slope_interval(x, y, np.zeros(5, dtype=np.intp)), rel=1e-12)
    assert all(isnan(end) for end in slope_interval(flat, noise, strata[:30]))


def test_the_slope_of_one_group_beside_constant_ones_is_held_in_as_many_samples_as_is_said() -> None:
    """One group of 4 beside ten of 3 whose metric is constant: the errors of these are no help."""
    rng, draws = np.random.default_rng(8), 3000
    strata = np.concatenate((np.zeros(4), np.repeat(np.arange(1, 11), 3))).astype(np.intp)
    held = 0
    for _ in range(draws):
        x = np.concatenate((rng.standard_normal(4), np.repeat(rng.standard_normal(10), 3)))
        low, high = slope_interval(x, 2 * x + rng.standard_normal(34), strata)
        held += low <= 2 <= high
    assert held / draws > 0.94  # 0.95 less 2.5 deviations


def test_bootstrap_widens_the_intervals_of_many_models_where_the_tails_are_heavy() -> None:
    rng, n = np.random.default_rng(5), 60
    x, y = rng.multivariate_normal([0, 0], [[1, 0.9], [0.9, 1]], n).T / np.sqrt(rng.chisquare(1.5, n))
    weights = resampling(n, 2000, rng)
    assert len(resampling(FEWEST_RESAMPLED - 1, 2000, rng)) == 0
    rows = rng.integers(n, size=(2000, n))
    for interval, statistic in ((kendall_interval, stats.kendalltau), (spearman_interval, stats.spearmanr)):
        alone, widened = interval(x, y, weights[:0]), interval(x, y, weights)
        low, high = np.quantile([statistic(x[row], y[row]).statistic for row in rows], (0.025, 0.975))
        assert widened == pytest.approx((min(alone[0], low), max(alone[1], high)), abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 8, 12, 22])
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_intervals_hold_the_truth_in_nine_of_ten_samples_at_least(n: int, rho: float) -> None:
    rng, held = np.random.default_rng([n, int(10 * rho)]), []
    truths = 2 / np.pi * np.arcsin(rho), 6 / np.pi * np.arcsin(rho / 2), rho, rho**2
    for _ in range(600):
        x, e = rng.standard_normal((2, n))
        y = rho * x + np.sqrt(1 - rho**2) * e
        weights = resampling(n, 300, rng)
        ends = kendall_interval(x, y, weights), spearman_interval(x, y, weights)
        ends += slope_interval(x, y, np.zeros(n, dtype=np.intp)), r2_interval(x, y)
        held.append([low - 1e-9 <= truth <= high + 1e-9 for truth, (low, high) in zip(truths, ends, strict=True)])
    assert np.mean(held, axis=0).min() > 0.915  # 0.95 less 4 deviations of a share of 600


@pytest.mark.parametrize("row", range(14))
def test_published_trends_of_series_are_reproduced(row: int) -> None:
    targets, models = published("targets_series.csv"), published("model_metrics.csv")
    assert len(targets) == 14
    target = targets.iloc[row]
    chosen = models[(models.collection == target.collection) & (models.series == target.series)]
    found = associate(chosen[target.metric], chosen.top1_accuracy, -1)
    assert found.n == target.n
    digits = 2 if target.rmse < 1 else 1  # two significant digits were published
    assert round(found.rmse, digits) == target.rmse
    assert (round(found.r2, 2), round(found.kendall_tau, 2)) == (target.r2, target.kendall_tau_vs_accuracy)
