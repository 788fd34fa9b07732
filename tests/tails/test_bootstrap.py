"""Resampling: an interval that has the choice of the start in it, and a p-value that is uniform under its law."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from heavytail.rmt.ensembles import pareto
from heavytail.tails.bootstrap import Bootstrap, bootstrap, bootstrap_pairs
from heavytail.tails.power_law import PowerLawFit, fit_power_law

Vector = NDArray[np.float64]


def pure(n: int, alpha: float, rng: np.random.Generator) -> Vector:
    return np.sort((1 - rng.random(n)) ** (-1 / (alpha - 1)))


def found(x: Vector, count: int, seed: int | np.random.Generator) -> Bootstrap:
    fit = fit_power_law(x)
    assert fit is not None
    return bootstrap(x, fit, count, seed)


def test_the_same_seed_gives_the_same_numbers() -> None:
    x = pure(200, 2.5, np.random.default_rng(0))
    first, second, other = found(x, 50, 1), found(x, 50, 1), found(x, 50, 2)
    assert np.array_equal(first.alphas, second.alphas)
    assert (first.alpha_lo, first.p_value) == (second.alpha_lo, second.p_value)
    assert not np.array_equal(first.alphas, other.alphas)


def test_the_interval_holds_the_percentiles_of_the_refitted_exponents() -> None:
    result = found(pure(300, 2.5, np.random.default_rng(1)), 400, 0)
    assert result.count == result.alphas.size == 400
    assert (np.diff(result.alphas) >= 0).all()
    assert np.mean((result.alphas > result.alpha_lo) & (result.alphas < result.alpha_hi)) == pytest.approx(
        0.95, abs=0.01
    )


def test_replicates_choose_their_start_anew() -> None:
    """Choosing the start adds to the scatter of alpha: refits that hold it move less."""
    rng = np.random.default_rng(2)
    ratios = []
    for _ in range(10):
        x = pure(300, 2.5, rng)
        fit = fit_power_law(x)
        assert fit is not None
        held = [hill_from(rng.choice(x, x.size), fit.xmin) for _ in range(100)]
        ratios.append(bootstrap(x, fit, 100, rng).alphas.std() / np.std(held))
    assert np.mean(ratios) > 1.15


def hill_from(x: Vector, xmin: float) -> float:
    return float(1 / np.log(x[x >= xmin] / xmin).mean())


def test_the_p_value_counts_the_sample_itself_and_is_never_zero() -> None:
    rng = np.random.default_rng(3)
    x = np.sort(np.concatenate((rng.uniform(0.5, 1, 500), rng.uniform(5, 5.2, 500))))
    assert found(x, 40, 0).p_value == pytest.approx(1 / 41)


def test_a_law_that_waves_about_the_power_law_is_rejected() -> None:
    rng = np.random.default_rng(4)
    steps = [np.sort(np.exp(np.round(rng.exponential(1, 1000), 1)) * 1.001 ** rng.random(1000)) for _ in range(5)]
    assert max(found(x, 60, rng).p_value for x in steps) < 0.05


def test_too_few_replicates_are_refused() -> None:
    x = pure(100, 2.0, np.random.default_rng(5))
    with pytest.raises(ValueError, match="number of replicates must be at least 39; got 38"):
        found(x, 38, 0)


@pytest.mark.parametrize("seed", range(6))
def test_alpha_lies_in_its_own_interval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = (np.geomspace(1, 1e4, 60), np.cumsum(rng.random(60)) + 1, np.sort(5 + rng.exponential(1, 60)))
    for x in samples:
        fit = fit_power_law(x)
        assert fit is not None
        result = bootstrap(x, fit, 39, seed)
        assert result.alpha_lo <= fit.alpha <= result.alpha_hi


def test_a_sample_over_600_decades_does_not_overflow() -> None:
    x = np.sort(10 ** np.random.default_rng(0).uniform(-300, 300, 50))
    assert 0 < found(x, 40, 1).p_value <= 1


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(200, 100), (600, 300)])
def test_the_interval_of_eigenvalues_covers_90_percent_of_heavy_tailed_matrices(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(8)
    hits = 0
    for _ in range(200):
        x = np.linalg.svd(pareto(*shape, 0.8, rng), compute_uv=False)[::-1] ** 2
        fit = fit_power_law(x)
        assert fit is not None
        result = bootstrap(x, fit, 200, rng, eigenvalues=True)
        hits += result.alpha_lo <= 1.4 <= result.alpha_hi
    assert 0.9 - 2 * np.sqrt(0.09 / 200) <= hits / 200 <= 0.995


def test_a_true_power_law_is_rejected_as_often_as_the_level_says() -> None:
    rng = np.random.default_rng(6)
    p = np.array([found(pure(150, 2.5, rng), 39, rng).p_value for _ in range(300)])
    assert abs(p.mean() - 0.51) < 3 * 0.29 / np.sqrt(300)  # uniform on 1/40, 2/40 ... 1 has mean 0.5125
    assert 0.1 - 0.052 < np.mean(p <= 0.1) < 0.1 + 0.052  # 3 standard errors


@pytest.mark.slow
@pytest.mark.parametrize("n", [400, 1000])
def test_p_values_of_a_true_power_law_are_uniform(n: int) -> None:
    from scipy.stats import kstest

    rng = np.random.default_rng(n)
    p = np.array([found(pure(n, 2.5, rng), 99, rng).p_value for _ in range(2000)])
    assert kstest(p - rng.random(2000) / 100, "uniform").pvalue > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("n", [100, 400, 1000])
def test_the_interval_covers_95_percent(n: int) -> None:
    rng = np.random.default_rng([n, 1])
    results = [found(pure(n, 2.5, rng), 200, rng) for _ in range(600)]
    share = np.mean([result.alpha_lo <= 2.5 <= result.alpha_hi for result in results])
    assert 0.93 - 0.018 <= share <= 0.97 + 0.018  # 95 +- 2 %, within 2 standard errors


# Two samples together.


def fitted(x: Vector) -> PowerLawFit:
    fit = fit_power_law(x)
    assert fit is not None
    return fit


def paired(x: Vector, y: Vector, count: int, seed: int | np.random.Generator) -> tuple[Vector, Vector]:
    return bootstrap_pairs(x, y, (fitted(x), fitted(y)), count, seed)


def interval_of_change(x: Vector, y: Vector, count: int, rng: np.random.Generator) -> tuple[float, float]:
    before, after = paired(x, y, count, rng)
    low, high = np.quantile(after - before, (0.025, 0.975))
    return float(low), float(high)


def test_pairs_of_one_sample_with_itself_have_no_scatter() -> None:
    x = pure(200, 2.5, np.random.default_rng(7))
    before, after = paired(x, x.copy(), 50, 0)
    assert before.shape == after.shape == (50,)
    assert np.array_equal(before, after)
    assert before.std() > 0


@pytest.mark.parametrize("power", [0.5, 1.1, 3.0])
def test_pairs_draw_the_same_places_of_both_orders(power: float) -> None:
    """A power of a power law is one, alpha - 1 divided by it; and so in each replicate, if it has the same points."""
    x = pure(200, 2.5, np.random.default_rng(8))
    before, after = paired(x, x**power, 50, 0)
    np.testing.assert_allclose((after - 1) * power, before - 1, rtol=1e-9)


def test_pairs_of_the_same_seed_are_the_same() -> None:
    rng = np.random.default_rng(9)
    x, y = pure(150, 2.5, rng), pure(150, 2.2, rng)
    first, second, other = (paired(x, y, 40, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_each_of_a_pair_scatters_as_it_does_alone() -> None:
    rng = np.random.default_rng(10)
    x, y = pure(300, 2.5, rng), pure(300, 2.0, rng)
    for sample, exponents in zip((x, y), paired(x, y, 400, 0), strict=True):
        alone = found(sample, 400, 1).alphas
        assert exponents.mean() == pytest.approx(alone.mean(), abs=4 * alone.std() / np.sqrt(200))
        assert exponents.std() == pytest.approx(alone.std(), rel=4 / np.sqrt(400))


def test_samples_that_are_not_related_are_drawn_apart() -> None:
    rng = np.random.default_rng(11)
    x = pure(300, 2.5, rng)
    y = np.sort(x * np.exp(0.01 * rng.standard_normal(300)))
    fits = fit_power_law(x), fit_power_law(y)
    apart = bootstrap_pairs(x, y, fits, 300, 0, related=False)
    assert abs(np.corrcoef(apart)[0, 1]) < 4 / np.sqrt(300)
    assert np.corrcoef(paired(x, y, 300, 0))[0, 1] > 0.5


def test_a_few_smallest_points_that_one_sample_lacks_do_not_part_them() -> None:
    # A type of fewer bits has fewer eigenvalues above its rounding, and the others are the same.
    x = pure(384, 2.5, np.random.default_rng(12))
    low, high = interval_of_change(x, x[8:], 100, 0)
    assert high - low < 0.05
    wide = [found(sample, 100, 0) for sample in (x, x[8:])]
    assert high - low < 0.1 * max(one.alpha_hi - one.alpha_lo for one in wide)


def test_a_small_change_is_known_far_better_together_than_apart() -> None:
    rng = np.random.default_rng(12)
    for _ in range(3):
        x = pure(300, 2.5, rng)
        y = np.sort(x**1.02)
        low, high = interval_of_change(x, y, 100, rng)
        widths = [result.alpha_hi - result.alpha_lo for result in (found(x, 100, rng), found(y, 100, rng))]
        assert high - low < np.hypot(*widths) / 20


def test_too_few_pairs_are_refused() -> None:
    x = pure(100, 2.0, np.random.default_rng(5))
    with pytest.raises(ValueError, match="number of replicates must be at least 39; got 38"):
        paired(x, x, 38, 0)


@pytest.mark.slow
@pytest.mark.parametrize("n", [150, 400])
@pytest.mark.parametrize(("power", "noise"), [(1.1, 0.0), (1.0, 0.05), (1.3, 0.3)])
def test_the_interval_of_pairs_holds_the_change_of_the_exponent(n: int, power: float, noise: float) -> None:
    """Factors of a thin tail leave the exponent of a power law as it is, and a power divides alpha - 1."""
    rng = np.random.default_rng([n, 2])
    change = 1.5 / power - 1.5
    hits = []
    for _ in range(100):
        x = pure(n, 2.5, rng)
        low, high = interval_of_change(x, np.sort(x**power * np.exp(noise * rng.standard_normal(n))), 200, rng)
        hits.append(low <= change <= high)
    assert np.mean(hits) >= 0.9
    if noise == 0:  # an interval of the change is one of alpha itself, and covers as that does
        assert np.mean(hits) <= 0.99
