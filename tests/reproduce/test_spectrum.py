import numpy as np
import pytest
from scipy import stats

from heavytail.reproduce.spectrum import edge_draws, eigenvalues, ks_distance, largest_eigenvalue, random_sign
from heavytail.rmt.ensembles import lomax


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (25, 25)])
def test_eigenvalues_are_the_squared_singular_values(shape):
    W = np.random.default_rng(0).standard_normal(shape)
    np.testing.assert_allclose(eigenvalues(W), np.sort(np.linalg.svd(W, compute_uv=False) ** 2), rtol=1e-9)


def test_eigenvalues_of_a_wide_range_are_not_lost():
    evals = eigenvalues(np.diag(10.0 ** np.arange(-6, 6)))  # the least is 1e-22 of the largest
    np.testing.assert_allclose(evals, 100.0 ** np.arange(-6, 6), rtol=1e-9)


@pytest.mark.parametrize("tail_mu", [0.8, 2.5])
def test_the_largest_eigenvalue_is_that_of_the_spectrum(tail_mu):
    W = lomax(200, 150, tail_mu, 0)
    assert largest_eigenvalue(W) == pytest.approx(eigenvalues(W)[-1], rel=1e-6)
    assert largest_eigenvalue(W) == largest_eigenvalue(W)


def test_the_distance_is_that_of_scipy():
    x = np.random.default_rng(0).standard_normal(100)
    assert ks_distance(x, stats.norm.cdf) == pytest.approx(stats.kstest(x, stats.norm.cdf).statistic, abs=1e-14)


def test_a_random_sign_centres_the_entries_and_keeps_their_size():
    W = random_sign(200, 100, 1.5, np.random.default_rng(0)).ravel()
    assert stats.kstest(np.abs(W), stats.lomax(1.5).cdf).pvalue > 0.01
    assert stats.binomtest(int((W > 0).sum()), W.size).pvalue > 0.01


def top(W):
    return np.linalg.eigvalsh(np.swapaxes(W, -1, -2) @ W)[:, -1]


def test_the_edge_of_noise_with_a_spike_in_one_entry_is_that_of_the_matrix():
    N, M, S, draws = 12, 6, 1.5, 8000
    rng = np.random.default_rng(1)
    W = rng.standard_normal((draws, N, M)) / N**0.5
    W[:, 0, 0] += S
    column = (rng.standard_normal(draws) + S * N**0.5) ** 2 + rng.chisquare(N - 1, draws)
    assert stats.ks_2samp(edge_draws(N, M, column, rng), top(W)).pvalue > 0.01


def test_the_edge_of_a_spiked_covariance_is_that_of_the_matrix():
    N, M, draws = 12, 6, 8000
    rng = np.random.default_rng(2)
    W = rng.standard_normal((draws, N, M)) / N**0.5
    W[:, :, 0] *= 3**0.5
    assert stats.ks_2samp(edge_draws(N, M, 3 * rng.chisquare(N, draws), rng), top(W)).pvalue > 0.01
