"""The interval of alpha covers what it says, on independent points and on eigenvalues."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray

from heavytail.rmt.ensembles import correlated, inverse_wishart, pareto
from heavytail.tails.interval import interval, profile, scatter
from heavytail.tails.power_law import fit_power_law

Vector = NDArray[np.float64]
Generator = np.random.Generator


def pure(n: int, alpha: float, rng: Generator) -> Vector:
    return np.asarray((1 - rng.random(n)) ** (-1 / (alpha - 1)))


def above_uniform(n: int, alpha: float, rng: Generator) -> Vector:
    """Half of the points below the tail, where the density is constant."""
    return np.where(rng.random(n) < 0.5, pure(n, alpha, rng), rng.random(n))


def above_exponential(n: int, alpha: float, rng: Generator) -> Vector:
    """Clauset, Shalizi and Newman (2009), eq. 3.10: exponential below 1, density and slope continuous there."""
    below, above = (exp(alpha) - 1) / alpha, 1 / (alpha - 1)
    body = 1 - np.log(exp(alpha) - rng.random(n) * (exp(alpha) - 1)) / alpha
    return np.where(rng.random(n) < above / (below + above), pure(n, alpha, rng), body)


def eigenvalues(W: NDArray[np.float64]) -> Vector:
    return np.asarray(np.linalg.svd(W, compute_uv=False)[::-1] ** 2)


def covered(draw: Callable[[], Vector], alpha: float, count: int, *, spectra: bool = False) -> float:
    """Share of intervals that contain alpha."""
    hits = 0
    for _ in range(count):
        x = np.sort(draw())
        x = x[x > x[-1] * 1e-26]
        fit = fit_power_law(x)
        assert fit is not None
        low, high = interval(fit, profile(x), eigenvalues=spectra)
        hits += low <= alpha <= high
    return hits / count


def by_loops(x: Vector, slack: float, width: float) -> tuple[float, float]:
    """The interval of the module's docstring, point by point."""
    fit = fit_power_law(x)
    assert fit is not None
    d = fit.D - 0.5 / fit.n_tail
    rho = sqrt(fit.n_tail) * d / 0.48 if sqrt(fit.n_tail) * d < 0.2 else 1.0
    lows, highs = [], []
    for i in range(x.size - 9):
        tail = x[i:]
        n = tail.size
        slope = n / sum(np.log(t / tail[0]) for t in tail)
        points = [int(n * (p + 0.5) / 128) for p in range(128)]
        distance = max(abs((tail[j] / tail[0]) ** -slope + (j + 0.5) / n - 1) for j in points)
        if distance <= d + slack * rho / sqrt(fit.n_tail) and distance * sqrt(n) <= 1.1:
            lows.append(slope * exp(-width * rho / sqrt(n)))
            highs.append(slope * exp(width * rho / sqrt(n)))
    lows.append((fit.alpha - 1) * exp(-width * rho / sqrt(fit.n_tail)))
    highs.append((fit.alpha - 1) * exp(width * rho / sqrt(fit.n_tail)))
    return 1 + min(lows), 1 + max(highs)


@pytest.mark.parametrize("seed", range(5))
def test_the_interval_is_the_union_over_the_acceptable_starts(seed: int) -> None:
    x = np.sort(above_uniform(90, 2.5, np.random.default_rng(seed)))
    fit = fit_power_law(x)
    assert fit is not None
    assert interval(fit, profile(x)) == pytest.approx(by_loops(x, 0.55, 1.1), rel=1e-12)
    assert interval(fit, profile(x), eigenvalues=True) == pytest.approx(by_loops(x, 0.65, 1.2), rel=1e-12)


def test_the_interval_contains_alpha_and_follows_scale_and_power() -> None:
    x = np.sort(pure(300, 2.5, np.random.default_rng(1)))
    fit, scaled, squared = fit_power_law(x), fit_power_law(x * 1e6), fit_power_law(x**2)
    assert fit is not None
    assert scaled is not None
    assert squared is not None
    low, high = interval(fit, profile(x))
    assert low < fit.alpha < high
    assert interval(scaled, profile(x * 1e6)) == pytest.approx((low, high), rel=1e-9)
    assert interval(squared, profile(x**2)) == pytest.approx((1 + (low - 1) / 2, 1 + (high - 1) / 2), rel=1e-9)


@pytest.mark.parametrize(("n", "starts"), [(10, 1), (50, 41), (105, 96)])
def test_a_small_sample_is_fitted_at_every_start(n: int, starts: int) -> None:
    found = profile(np.sort(pure(n, 2.0, np.random.default_rng(2))))
    assert found.n_tail.tolist() == list(range(n, 9, -1))
    assert found.n_tail.size == found.alpha.size == found.D.size == starts


def test_equal_points_have_no_tail_and_are_left_out() -> None:
    x = np.concatenate((np.linspace(0.1, 0.9, 40), np.full(30, 1.0)))
    found = profile(x)
    assert found.n_tail.min() > 30
    assert np.isfinite(found.alpha).all()


def test_points_at_the_quantiles_of_their_law_have_a_narrow_interval() -> None:
    n = 500
    x = (1 - (np.arange(n) + 0.5) / n) ** (-1 / 1.5)
    fit = fit_power_law(x)
    assert fit is not None
    low, high = interval(fit, profile(x))
    assert scatter(fit) < 0.2
    assert low < 2.5 < high
    assert high - low < 1.5 * 1.96 * 2 * 0.2 / sqrt(n)


def test_scatter_is_one_for_independent_points_and_small_for_a_rigid_spectrum() -> None:
    rng = np.random.default_rng(3)
    independent = [fit_power_law(np.sort(pure(200, 2.0, rng))) for _ in range(100)]
    rigid = [fit_power_law(eigenvalues(inverse_wishart(200, 200, rng))) for _ in range(20)]
    assert sum(scatter(fit) < 1 for fit in independent if fit) <= 1
    assert np.median([scatter(fit) for fit in rigid if fit]) < 0.5


@pytest.mark.parametrize("draw", [pure, above_uniform, above_exponential])
def test_the_interval_of_independent_points_covers_95_percent(draw: Callable[[int, float, Generator], Vector]) -> None:
    rng = np.random.default_rng(4)
    assert 0.92 <= covered(lambda: draw(400, 2.0, rng), 2.0, 600) <= 0.98  # 3 standard errors of 600


def test_the_interval_of_eigenvalues_covers_90_to_99_percent() -> None:
    rng = np.random.default_rng(5)
    levy = covered(lambda: eigenvalues(pareto(200, 100, 1.0, rng)), 1.5, 200, spectra=True)
    rigid = covered(lambda: eigenvalues(inverse_wishart(100, 100, rng)), 1.5, 200, spectra=True)
    assert 0.9 <= levy <= 0.995
    assert 0.9 <= rigid <= 0.995


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [1.5, 2.0, 2.5, 3.0, 4.0])
@pytest.mark.parametrize("n", [100, 400, 1000, 5000])
def test_coverage_is_95_percent_within_2_on_power_laws(n: int, alpha: float) -> None:
    rng = np.random.default_rng([n, int(10 * alpha)])
    sampling = 2.6 * sqrt(0.95 * 0.05 / 2000)
    assert abs(covered(lambda: pure(n, alpha, rng), alpha, 2000) - 0.95) <= 0.02 + sampling


@pytest.mark.slow
@pytest.mark.parametrize(
    ("draw", "alpha"),
    [
        (lambda rng: eigenvalues(pareto(300, 300, 0.5, rng)), 1.25),
        (lambda rng: eigenvalues(pareto(300, 300, 0.8, rng)), 1.4),
        (lambda rng: eigenvalues(pareto(600, 300, 1.0, rng)), 1.5),
        (lambda rng: eigenvalues(inverse_wishart(300, 300, rng)), 1.5),
        (lambda rng: eigenvalues(correlated(800, pure(200, 2.5, rng), rng)), 2.5),
    ],
)
def test_coverage_is_90_to_995_per_mille_on_eigenvalues(draw: Callable[[Generator], Vector], alpha: float) -> None:
    rng = np.random.default_rng(6)
    found, sampling = covered(lambda: draw(rng), alpha, 600, spectra=True), 2.6 * sqrt(0.09 / 600)
    assert 0.9 - sampling <= found <= 0.995
