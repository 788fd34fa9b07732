from itertools import pairwise
from math import log, log1p, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.linalg import eigvalsh_tridiagonal

from heavytail.rmt.ensembles import uniform, wishart_bidiagonal
from heavytail.rmt.linear_statistics import (
    chebyshev_coefficients,
    fluctuation,
    log_excess,
    log_excess_of_noise,
)
from heavytail.rmt.marchenko_pastur import MarchenkoPastur
from heavytail.tails.power_law import hill


def wishart_evals(N, M, rng):
    diagonal, below = wishart_bidiagonal(N, M, seed=rng)
    squares = diagonal**2
    squares[1:] += below**2
    return eigvalsh_tridiagonal(squares, diagonal[:-1] * below)


@pytest.mark.parametrize("Q", [1.0, 1.7, 4.0, 32.0])
@pytest.mark.parametrize("k", [1.0, -1.2, 27.0, 0.0])
def test_the_trace_has_its_exact_mean_and_variance_for_entries_of_any_kurtosis(Q, k):
    # sum x = sum of w^2 over N: the mean is M exactly, the variance N M (2 + kurtosis) / N^2.
    shift, variance = fluctuation(chebyshev_coefficients(lambda x: x, Q, 4), kurtosis=k)
    assert shift == pytest.approx(0, abs=1e-12)
    assert variance == pytest.approx((2 + k) / Q, rel=1e-12)


@pytest.mark.parametrize("Q", [1.0, 1.7, 4.0, 32.0])
@pytest.mark.parametrize("k", [1.0, -1.2, 27.0, 0.0])
def test_the_second_moment_has_its_exact_mean(Q, k):
    # E tr X^2 = M (1 + c) + c (1 + kurtosis), by counting pairs of entries.
    shift, _ = fluctuation(chebyshev_coefficients(lambda x: x * x, Q, 4), kurtosis=k)
    assert shift == pytest.approx((1 + k) / Q, rel=1e-12)


@pytest.mark.parametrize("c", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("k", [0.0, 3.0])
def test_the_log_determinant_follows_its_published_limit(c, k):
    # Bai and Silverstein (2004), section 1: mean ln(1 - c) / 2, variance -2 ln(1 - c); the kurtosis: Zheng (2012).
    shift, variance = fluctuation(chebyshev_coefficients(np.log, 1 / c, 600), kurtosis=k)
    assert shift == pytest.approx(log1p(-c) / 2 - k * c / 2, rel=1e-10)
    assert variance == pytest.approx(-2 * log1p(-c) + k * c, rel=1e-10)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=8), st.floats(1, 50))
def test_the_coefficients_rebuild_the_function(polynomial, Q):
    a = chebyshev_coefficients(lambda x: np.polyval(polynomial, x), Q, 10)
    theta = np.linspace(0, np.pi, 7)
    x = 1 + 1 / Q + 2 / sqrt(Q) * np.cos(theta)
    rebuilt = a[0] / 2 + np.cos(np.outer(theta, np.arange(1, 11))) @ a[1:]
    np.testing.assert_allclose(rebuilt, np.polyval(polynomial, x), atol=1e-9)


def test_the_log_excess_is_the_inverse_of_hills_exponent_less_one():
    for n in (20, 29, 51, 400):
        x = np.sort(np.random.default_rng(n).pareto(1.5, n) + 1)
        assert log_excess(x) == pytest.approx(1 / (hill(x, fraction=0.1) - 1), rel=1e-12)


@pytest.mark.parametrize("c", [1e-200, 1e-3, 1e200])
def test_the_log_excess_has_no_scale(c):
    x = np.geomspace(1, 1e60, 50)
    assert log_excess(c * x) == pytest.approx(log_excess(x), rel=1e-12)


@pytest.mark.parametrize("Q", [1, 1.5, 3, 8, 32, 1000])
def test_the_mean_of_large_noise_is_the_integral_over_the_marchenko_pastur_law(Q):
    law, M = MarchenkoPastur(float(Q)), 2_000_000
    t = float(law.isf(0.1))
    integral, _ = quad(lambda x: np.log(x / t) * law.pdf(x), t, law.edges[1], epsabs=0, epsrel=1e-10)
    assert log_excess_of_noise(int(Q * M), M).mean() == pytest.approx(10 * integral, rel=1e-5)


@pytest.mark.parametrize("Q", [1.0, 1.5, 4.0, 32.0])
@pytest.mark.parametrize("p", [0.5, 0.1, 0.03])
def test_the_first_coefficient_of_a_statistic_without_scale_vanishes_and_the_second_is_the_slope(Q, p):
    law, c = MarchenkoPastur(Q), 1 / Q
    t = float(law.isf(p))
    end = float(np.arccos((t - 1 - c) / (2 * sqrt(c))))
    step = 1 / (t * float(law.pdf(t)))

    def coefficient(k):
        logs, _ = quad(lambda a: np.log((1 + c + 2 * sqrt(c) * np.cos(a)) / t) * np.cos(k * a), 0, end, epsabs=1e-13)
        return 2 / np.pi * (logs / p - step * np.sin(k * end) / k)

    assert coefficient(1) == pytest.approx(0, abs=1e-8)
    if p == 0.1:
        M = 200_000
        assert log_excess_of_noise(int(Q * M), M).slope == pytest.approx(coefficient(2) / (2 * M), rel=1e-3)


@pytest.mark.parametrize(("N", "M"), [(64, 64), (130, 65), (512, 32), (48, 24), (3200, 100)])
def test_gaussian_noise_has_the_mean_and_the_deviation_that_are_computed(N, M):
    rng, draws = np.random.default_rng([N, M]), 1200
    found = np.array([log_excess(wishart_evals(N, M, rng)) for _ in range(draws)])
    law = log_excess_of_noise(N, M)
    assert abs(found.mean() - law.mean()) < 4 * law.std() / sqrt(draws) + 0.02 * law.std()
    assert abs(found.std() / law.std() - 1) < 4 / sqrt(2 * draws)


@pytest.mark.slow
@pytest.mark.parametrize(("N", "M"), [(20, 20), (23, 21), (60, 20), (2000, 20), (200, 200), (1000, 250)])
def test_the_deviation_holds_from_the_least_matrices_on(N, M):
    rng, draws = np.random.default_rng([N, M, 1]), 6000 if M < 100 else 1500
    found = np.array([log_excess(wishart_evals(N, M, rng)) for _ in range(draws)])
    law = log_excess_of_noise(N, M)
    assert abs(found.mean() - law.mean()) < 4 * law.std() / sqrt(draws) + 0.1 * law.std()
    assert abs(found.std() / law.std() - 1) < 4 / sqrt(2 * draws) + 0.05


@pytest.mark.parametrize(
    ("draw", "kurtosis"),
    [(uniform, -1.2), (lambda N, M, rng: rng.laplace(size=(N, M)), 3.0)],
    ids=["uniform", "Laplace"],
)
def test_the_kurtosis_of_the_entries_moves_the_mean_and_hardly_the_deviation(draw, kurtosis):
    N, M, draws = 192, 96, 900
    rng, law = np.random.default_rng(7), log_excess_of_noise(192, 96)
    found = []
    for _ in range(draws):
        W = draw(N, M, rng)
        found.append(log_excess(np.linalg.eigvalsh(W.T @ W)))
    error = np.std(found) / sqrt(draws)
    assert abs(np.mean(found) - law.mean(kurtosis)) < 4 * error
    assert abs(np.mean(found) - law.mean()) > 4 * error  # so that the test could fail
    assert abs(np.std(found) / law.std() - 1) < 4 / sqrt(2 * draws) + 0.02


@pytest.mark.parametrize("tau", [1.0, 2.0, 6.0])
@pytest.mark.parametrize(("N", "M"), [(200, 200), (450, 150)])
def test_one_large_entry_adds_what_its_strength_says(N, M, tau):
    rng, law, draws = np.random.default_rng([N, int(tau)]), log_excess_of_noise(N, M), 120
    added = []
    for _ in range(draws):
        W = rng.standard_normal((N, M))
        before = log_excess(np.linalg.eigvalsh(W.T @ W))
        W[5, 7] = sqrt(tau * sqrt(N * M))
        added.append(log_excess(np.linalg.eigvalsh(W.T @ W)) - before)
    expected = law.slope * float(np.interp(tau, law.strengths, law.lifts))
    assert abs(np.mean(added) - expected) < 4 * np.std(added) / sqrt(draws) + 0.04 * expected


@pytest.mark.parametrize(("N", "M"), [(64, 64), (2048, 64), (1000, 500)])
def test_a_weak_entry_counts_by_its_fourth_power_and_a_giant_by_its_logarithm(N, M):
    law = log_excess_of_noise(N, M)
    weak = law.strengths[1:4]
    np.testing.assert_allclose(law.lifts[1:4], weak**2, rtol=0.05)
    growth = (law.lifts[-1] - law.lifts[-2]) * law.slope  # the eigenvalue doubles as the entry's square does
    assert law.strengths[-1] == 2 * law.strengths[-2]
    assert growth == pytest.approx(log(2) / (M // 10 + 0.5), rel=0.04)  # and is one of those in the tail
    assert (np.diff(law.lifts) > 0).all()


def test_the_kurtosis_is_that_of_light_entries_and_does_not_depend_on_how_they_come():
    rng, law = np.random.default_rng(0), log_excess_of_noise(3000, 1500)
    for W, kurtosis in ((rng.random((3000, 1500)) - 0.5, -1.2), (rng.laplace(size=(3000, 1500)), 3.0)):
        squares = W**2 / np.mean(W**2)
        found = law.kurtosis([squares])
        assert found == pytest.approx(np.mean(squares**2) - 3, abs=0.06)
        assert found == pytest.approx(kurtosis, abs=0.1)
        assert law.kurtosis(np.array_split(squares, 7)) == pytest.approx(found, rel=1e-9)


def test_the_deviation_falls_as_one_over_size_and_a_root_of_its_logarithm():
    # Var = (A + B ln M) / M^2, B = step^2 / pi^2 from the count of eigenvalues below the threshold.
    law = MarchenkoPastur(3.0)
    t = float(law.isf(0.1))
    B = 1 / (t * float(law.pdf(t)) * np.pi) ** 2
    sizes = (20_000, 200_000, 2_000_000)
    squares = [(log_excess_of_noise(3 * M, M).std() * M) ** 2 for M in sizes]
    for smaller, larger in pairwise(squares):
        assert larger - smaller == pytest.approx(B * log(10), rel=2e-3)


@pytest.mark.parametrize(("N", "M"), [(9, 9), (10, 11), (0, 0), (10, 1)])
def test_a_shape_without_a_tail_is_refused_by_name(N, M):
    with pytest.raises(ValueError, match=rf"N >= M >= 10; got N = {N}, M = {M}"):
        log_excess_of_noise(N, M)
