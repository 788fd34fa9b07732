import numpy as np
import pytest
from scipy import integrate, stats

from heavytail.rmt.ensembles import (
    correlated,
    gaussian,
    goe,
    haar,
    inverse_wishart,
    largest_eigenvalues,
    low_rank,
    matrices,
    rank_deficient,
    spiked,
    wishart_bidiagonal,
)

SAMPLERS = {
    "haar": lambda seed: haar(20, 10, seed),
    "low_rank": lambda seed: low_rank(20, 10, [3, 2], seed),
    "spiked": lambda seed: spiked(20, 10, [3, 2], seed),
    "correlated": lambda seed: correlated(20, np.arange(10.0), seed),
    "inverse_wishart": lambda seed: inverse_wishart(20, 10, seed),
    "rank_deficient": lambda seed: rank_deficient(20, 10, 3, seed),
    "goe": lambda seed: goe(20, seed),
    "wishart_bidiagonal": lambda seed: np.concatenate(wishart_bidiagonal(20, 10, seed=seed)),
    "largest_eigenvalues": lambda seed: largest_eigenvalues(20, 10, 30, seed=seed),
}


def eigenvalues(W):
    return np.linalg.eigvalsh(W.T @ W / len(W))


def test_every_sampler_is_tested_here():
    assert set(SAMPLERS) == set(matrices.__all__)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_seed_alone_decides_the_draw(name):
    draw = SAMPLERS[name]
    first = draw(5)
    assert first.dtype == np.float64
    assert first.tobytes() == draw(5).tobytes() == draw(np.random.default_rng(5)).tobytes()
    assert not np.isclose(first, draw(6)).mean() > 0.5  # low-rank draws have no shared structure either
    rng = np.random.default_rng(5)
    assert draw(rng).tobytes() != draw(rng).tobytes()  # a generator goes on


def test_haar_columns_are_orthonormal_and_uniform():
    U = haar(50, 20, 0)
    np.testing.assert_allclose(U.T @ U, np.eye(20), atol=1e-13)
    rng = np.random.default_rng(1)
    corner = np.array([haar(3, 3, rng)[0, 0] for _ in range(2000)])
    assert stats.kstest(corner, stats.uniform(-1, 2).cdf).pvalue > 0.01  # Archimedes: a coordinate on the 2-sphere


def test_a_spiked_matrix_is_its_planted_part_plus_noise_of_variance_one_over_n():
    strengths = [5.0, 3.0, 2.0]
    planted = low_rank(300, 100, strengths, 7)
    np.testing.assert_allclose(np.linalg.svd(planted, compute_uv=False)[:4], [*strengths, 0], atol=1e-12)
    noise = spiked(300, 100, strengths, 7) - planted  # the planted part is drawn first
    assert stats.kstest(noise.ravel() * np.sqrt(300), stats.norm.cdf).pvalue > 0.01


def test_spikes_stand_where_the_transition_of_baik_ben_arous_and_peche_puts_them():
    theta, c = np.array([3.0, 2.0, 0.7]), 0.5  # the last is below c^(1/4) = 0.841
    top = np.linalg.svd(spiked(2000, 1000, theta, 8), compute_uv=False)[:3]
    expected = np.sqrt((1 + theta**2) * (c + theta**2)) / theta
    expected[2] = 1 + np.sqrt(c)
    np.testing.assert_allclose(top, expected, rtol=0.02)


def test_correlated_rows_have_the_covariance_of_the_population():
    population = np.array([0.0, 1.0, 4.0, 9.0])
    W = correlated(40000, population, 9)
    np.testing.assert_allclose(W.T @ W / 40000, np.diag(population), atol=9 * 4 * np.sqrt(2 / 40000))


def test_inverse_wishart_eigenvalues_are_the_inverses_of_wishart_eigenvalues():
    y = eigenvalues(inverse_wishart(400, 200, 10))
    np.testing.assert_allclose(np.sort(1 / y), eigenvalues(gaussian(400, 200, 10)), rtol=1e-9)


@pytest.mark.parametrize("Q", [1.25, 2.0])
def test_inverse_wishart_eigenvalues_have_the_stated_density(Q):
    low, high = (1 + Q**-0.5) ** -2, (1 - Q**-0.5) ** -2

    def density(y):
        return (Q - 1) / (2 * np.pi * y * y) * np.sqrt(np.maximum((y - low) * (high - y), 0))

    assert integrate.quad(density, low, high)[0] == pytest.approx(1, abs=1e-6)
    y = eigenvalues(inverse_wishart(int(800 * Q), 800, 11))
    cdf = [integrate.quad(density, low, min(max(v, low), high), limit=200)[0] for v in y[::20]]
    np.testing.assert_allclose(cdf, np.arange(0.5, 800)[::20] / 800, atol=0.01)


def test_square_inverse_wishart_spectra_are_a_power_law_of_exponent_three_halves():
    y = eigenvalues(inverse_wishart(1000, 1000, 12))
    for t in (10.0, 100.0, 1000.0):
        assert (y > t).mean() == pytest.approx(2 / np.pi * t**-0.5, abs=0.005)  # the integral of y^(-3/2) / pi


@pytest.mark.parametrize(("N", "M", "rank"), [(30, 20, 7), (20, 30, 1), (20, 20, 20)])
def test_a_rank_deficient_matrix_has_its_rank_and_unit_variance(N, M, rank):
    rng = np.random.default_rng(13)
    assert np.linalg.matrix_rank(rank_deficient(N, M, rank, rng)) == rank
    second = np.mean([(rank_deficient(N, M, rank, rng) ** 2).mean() for _ in range(400)])
    assert second == pytest.approx(1, abs=0.15)


def test_the_gaussian_orthogonal_ensemble_fills_the_semicircle():
    H = goe(1000, 14)
    assert (H == H.T).all()
    assert np.diag(H).var() * 1000 == pytest.approx(2, abs=0.4)
    x = np.linalg.eigvalsh(H)
    assert np.abs(stats.semicircular(scale=2).cdf(x) - np.arange(0.5, 1000) / 1000).max() < 0.005


def wishart_eigenvalues(W):
    return np.linalg.eigvalsh(np.swapaxes(W, -1, -2).conj() @ W)


@pytest.mark.parametrize("beta", [1, 2])
@pytest.mark.parametrize(("N", "M"), [(5, 3), (4, 4), (3, 1)])
def test_the_bidiagonal_model_has_the_eigenvalues_of_a_wishart_matrix(beta, N, M):
    rng, draws = np.random.default_rng(15), 10_000
    B = np.zeros((draws, M, M))
    for matrix in B:
        diagonal, below = wishart_bidiagonal(N, M, beta, seed=rng)
        matrix[:] = np.diag(diagonal) + np.diag(below, -1)
    W = rng.standard_normal((draws, N, M)) + (beta == 2) * 1j * rng.standard_normal((draws, N, M))
    ours, theirs = wishart_eigenvalues(B), wishart_eigenvalues(W) / beta
    pvalues = [stats.ks_2samp(ours[:, k], theirs[:, k]).pvalue for k in range(M)]
    pvalues.append(stats.ks_2samp(largest_eigenvalues(N, M, draws, beta, seed=rng), theirs[:, -1]).pvalue)
    assert min(pvalues) > 1e-3  # 22 comparisons in all


def test_the_mean_trace_of_the_bidiagonal_model_is_n_m_for_every_beta():
    rng = np.random.default_rng(16)
    for beta in (0.5, 1, 4, 30):
        traces = [sum((part**2).sum() for part in wishart_bidiagonal(8, 5, beta, seed=rng)) for _ in range(2000)]
        assert np.mean(traces) == pytest.approx(40, abs=4 * np.sqrt(2 * 40 / beta / 2000))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: haar(3, 4, 0), "n = 3, k = 4"),
        (lambda: low_rank(3, 4, [1, 2, 3, 4], 0), r"min\(N, M\) = 3 values; got shape \(4,\)"),
        (lambda: spiked(3, 4, [], 0), r"got shape \(0,\)"),
        (lambda: correlated(3, [1.0, -1.0], 0), "eigenvalues >= 0"),
        (lambda: inverse_wishart(3, 4, 0), "needs N >= M; got N = 3, M = 4"),
        (lambda: rank_deficient(3, 4, 4, 0), r"from 1 to min\(N, M\) = 3; got 4"),
        (lambda: wishart_bidiagonal(3, 4, seed=0), "needs N >= M; got N = 3, M = 4"),
        (lambda: largest_eigenvalues(4, 3, 1, 0, seed=0), "beta must be positive; got 0"),
    ],
)
def test_a_bad_parameter_is_named_with_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()
