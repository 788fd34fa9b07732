"""Resampling: an interval that has the choice of the start in it, and a p-value that is uniform under its law."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from heavytail.rmt.ensembles import pareto
from heavytail.tails.bootstrap import Bootstrap, bootstrap
from heavytail.tails.power_law import fit_power_law

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
