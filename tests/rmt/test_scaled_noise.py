from math import sqrt

import numpy as np
import pytest
from scipy.optimize import brentq

from heavytail.rmt.edges import bulk_edge, largest_eigenvalue
from heavytail.rmt.noise_bulk import expected_count
from heavytail.rmt.scaled_noise import ScaledNoise, fit_scaled_bulk
from heavytail.rmt.semicircle import Semicircle


def scales(n, spread, seed):
    x = np.exp(spread * np.random.default_rng(seed).standard_normal(n))
    return x / x.mean()


def sample(rows, columns, rng):
    W = rng.standard_normal((rows.size, columns.size)) * np.sqrt(rows)[:, None] * np.sqrt(columns)
    return np.linalg.eigvalsh(W.T @ W)


@pytest.mark.parametrize(("N", "M"), [(600, 300), (300, 300), (1000, 20)])
def test_equal_scales_are_marchenko_pastur_and_tracy_widom(N, M):
    noise = ScaledNoise.of(np.ones(N), np.ones(M))
    edge, exact = noise.edge(), largest_eigenvalue(N + 0.5, M + 0.5)  # without the half of the centring
    assert edge.location == pytest.approx(bulk_edge(N, M), rel=1e-9)
    assert edge.scale == pytest.approx(exact.scale, rel=1e-3)
    x, n = noise.counts(edge.location)
    inside = (x > 0.1 * edge.location) & (x < 0.97 * edge.location)
    np.testing.assert_allclose(n[inside], expected_count(x[inside], N, M), atol=0.6 + 0.002 * M)


def test_one_scale_with_few_samples_is_a_shifted_semicircle():
    # W^T W of very many rows is N (1 + small symmetric noise), a semicircle of radius 2 sqrt(M / N) around 1.
    noise = ScaledNoise.of(np.ones(1_000_000), np.ones(100))
    radius = (noise.edge().location / 1e6 - 1) / 2
    assert radius == pytest.approx(Semicircle(sigma=0.01).support()[1] / 2, rel=0.01)


@pytest.mark.parametrize(("N", "M", "a", "b"), [(400, 200, 0.0, 0.3), (400, 200, 0.3, 0.0), (200, 200, 0.3, 0.3)])
def test_sampled_noise_of_unequal_scales_keeps_to_its_law(N, M, a, b):
    rows, columns = scales(N, a, 1), scales(M, b, 2)
    noise = ScaledNoise.of(rows, columns)
    edge = noise.edge()
    x, n = noise.counts(edge.location)
    rng = np.random.default_rng(3)
    draws = [sample(rows, columns, rng) for _ in range(60)]
    places = np.mean([(evals[-1] - edge.location) / edge.scale for evals in draws])
    assert places == pytest.approx(-1.2065, abs=0.6)  # three standard errors 0.49, and a correction of the next order
    counted = np.mean([np.searchsorted(evals, x) for evals in draws], axis=0)
    inside = x > 0.02 * edge.location
    assert np.abs(counted - n)[inside].max() < 1.5


def test_rows_of_zeros_are_no_rows():
    dead = np.append(np.ones(300), np.zeros(300))
    assert ScaledNoise.of(dead, np.ones(100)).edge().location == pytest.approx(bulk_edge(300, 100), rel=1e-6)


def test_columns_of_zeros_are_eigenvalues_of_zero():
    noise = ScaledNoise.of(np.ones(300), np.append(np.ones(80), np.zeros(20)))
    _, n = noise.counts(noise.edge().location)
    assert n[0] == pytest.approx(20, abs=0.5)
    assert n[-1] == pytest.approx(100, abs=0.5)


def test_rows_and_columns_may_change_places():
    rows, columns = scales(300, 0.4, 1), scales(200, 0.2, 2)
    one, other = ScaledNoise.of(rows, columns).edge(), ScaledNoise.of(columns, rows).edge()
    assert one.location == pytest.approx(other.location, rel=1e-8)
    assert one.scale == pytest.approx(other.scale, rel=1e-3)


def test_the_scale_of_the_noise_is_found():
    rows, columns = scales(400, 0.3, 1), scales(200, 0.3, 2)
    rng = np.random.default_rng(0)
    fits = [fit_scaled_bulk(9 * sample(rows, columns, rng), 400, 200, rows, columns, 0, 0.0, 0.01) for _ in range(30)]
    assert np.mean([fit.sigma for fit in fits]) == pytest.approx(3, rel=0.005)
    assert sum(fit.num_spikes > 0 for fit in fits) <= 2
    assert all(fit.problem == "" for fit in fits)
    assert fits[0].row_spread == pytest.approx(rows.std())
    assert fits[0].law is None


@pytest.mark.parametrize("rows", [[], [-1.0, 2.0], [0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]])
def test_scales_that_are_none_are_refused(rows):
    with pytest.raises(ValueError, match="variances must be finite"):
        ScaledNoise.of(rows, np.ones(5))


def test_the_edge_of_a_single_heavy_row_is_its_outlier():
    # Far above: s^2 M (1 + N / (M (s^2 - 1))), the spiked covariance of Baik and Silverstein (2006).
    N, M, s2 = 400, 300, 30.0
    edge = ScaledNoise.of(np.append(np.ones(N - 1), s2), np.ones(M)).edge().location
    assert sqrt(edge) == pytest.approx(sqrt(s2 * M * (1 + N / (M * (s2 - 1)))), rel=0.07)


@pytest.mark.parametrize(("N", "M"), [(400, 100), (60, 60), (100, 400)])
@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0])
def test_the_edge_and_its_curvature_are_those_of_the_least_point_of_z(N, M, spread):
    """z(a) by bisection of its equation, its minimum by the sign of a difference quotient."""
    r, c = scales(N, spread, 1), scales(M, spread, 2)

    def z(a):
        top = (c / (1 + c * a)).sum()
        low = (r * top).max()  # where a row's term is infinite; from `high` on all are below 2 r
        high = 2 * low - 2 * r.sum() / a
        return brentq(lambda z: a * z + (r / (1 - r * top / z)).sum(), low * (1 + 1e-12), high, xtol=1e-300)

    def slope(a, h=1e-6):
        return z(a * (1 + h)) - z(a * (1 - h))

    a = brentq(slope, -1e-6 / c.max(), -(1 - 1e-5) / c.max(), rtol=1e-12)
    h = 3e-4 * abs(1 / c.max() + a)
    curvature = (z(a + h) - 2 * z(a) + z(a - h)) / h**2
    k = (c / (1 + c * a) ** 2).sum() / z(a) * sqrt(2 / curvature)
    edge = ScaledNoise.of(r, c).edge()
    assert edge.location == pytest.approx(z(a), rel=1e-10)
    assert edge.scale == pytest.approx(k ** (-2 / 3), rel=1e-4)


def test_the_edge_is_found_where_one_scale_is_far_above_all_others_and_where_most_are_zero():
    one = np.append(np.ones(299), 1e6)  # one row of its own: the edge of a single sample of 100 columns' mean square
    assert 1e6 * 100 < ScaledNoise.of(one, np.ones(100)).edge().location < 2e6 * 100
    few = np.r_[np.zeros(290), np.ones(10)]
    assert ScaledNoise.of(few, np.ones(100)).edge().location == pytest.approx(bulk_edge(100, 10), rel=1e-12)
