from math import inf, log, nan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.linalg import svds
from scipy.stats import kstest

from heavytail.rmt.extremes import (
    critical_tail_index,
    esd_exponent,
    expected_scaling,
    largest_eigenvalue_law,
    largest_eigenvalue_quantile,
    num_outliers,
    poisson_edge,
    spike_law,
)

N, M = 200, 100


def entries(shape, tail_mu, rng):
    """Pareto entries of either sign, P(|w| > t) = t^-tail_mu from 1 on."""
    return rng.random(shape) ** (-1 / tail_mu) * rng.choice([-1.0, 1.0], shape)


def largest(tail_mu, draws=600):
    """Largest eigenvalues of W^T W for 200 x 100 matrices, in batches."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(draws // 50):
        W = entries((50, N, M), tail_mu, rng)
        found.append(np.linalg.eigvalsh(W.transpose(0, 2, 1) @ W)[:, -1])
    return np.concatenate(found)


@pytest.mark.parametrize(
    ("tail_mu", "median", "digits"), [(1, 2.08, 2), (1.5, 1.630, 3), (2.5, 1.341, 3), (3, 1.277, 3), (3.5, 1.233, 3)]
)
def test_the_frechet_law_has_its_reference_medians(tail_mu, median, digits):
    scaled = largest_eigenvalue_law(N, M, tail_mu).median() / (N * M) ** (2 / tail_mu)
    assert round(float(scaled), digits) == median


@pytest.mark.parametrize(("tail_mu", "median"), [(2.5, 1.933), (3, 2.755), (3.5, 4.746)])
def test_the_finite_size_law_has_its_reference_medians(tail_mu, median):
    # 2.755 is given with an error of .003: largest entries were drawn for it, here their quantile is exact.
    scaled = largest_eigenvalue_quantile(0.5, N, M, tail_mu) / (N * M) ** (2 / tail_mu)
    assert scaled == pytest.approx(median, abs=4e-3)


def test_the_largest_eigenvalue_below_two_is_the_square_of_the_largest_entry():
    found = largest(1.0)
    assert kstest(found, largest_eigenvalue_law(N, M, 1.0).cdf).pvalue > 0.05


def test_its_eigenvector_sits_on_one_entry_below_two():
    rng = np.random.default_rng(0)
    participation = []
    for _ in range(20):
        W = entries((N, M), 1.0, rng)
        participation.append((np.linalg.eigh(W.T @ W)[1][:, -1] ** 4).sum())
    assert np.median(participation) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize(("tail_mu", "published", "error"), [(2.5, 1.84, 0.09), (3, 2.735, 0.061), (3.5, 4.734, 0.028)])
def test_between_two_and_four_medians_are_those_of_the_finite_size_law(tail_mu, published, error):
    scale = (N * M) ** (2 / tail_mu)
    median = np.median(largest(tail_mu)) / scale
    law = largest_eigenvalue_quantile(0.5, N, M, tail_mu) / scale
    assert median == pytest.approx(published, abs=3 * sqrt(2) * error)
    assert median == pytest.approx(law, abs=3 * error)
    assert median > largest_eigenvalue_law(N, M, tail_mu).median() / scale + 3 * error  # the limit is not reached


@pytest.mark.parametrize("A", [60.0, 100.0])
def test_one_large_entry_makes_the_eigenvalue_of_the_spike_law(A):
    W = np.random.default_rng(1).standard_normal((1000, 500))
    W[3, 5] = A
    assert np.linalg.eigvalsh(W.T @ W)[-1] == pytest.approx(spike_law(A, 1000, 500, 1.0), rel=0.02)


@given(n=st.integers(1, 5000), m=st.integers(1, 5000), sigma=st.floats(1e-3, 1e3), ratio=st.floats(0, 100))
def test_the_spike_law_leaves_the_edge_smoothly_and_rises(n, m, sigma, ratio):
    edge, threshold = sigma**2 * (sqrt(n) + sqrt(m)) ** 2, (n * m) ** 0.25 * sigma
    assert spike_law(min(ratio, 1) * threshold, n, m, sigma) == pytest.approx(edge, rel=1e-12)
    one, more = spike_law([max(ratio, 1) * threshold, max(ratio, 1) * threshold * 1.01], n, m, sigma)
    assert edge * (1 - 1e-12) <= one < more
    A2 = (max(ratio, 1) * threshold) ** 2
    assert one == pytest.approx((A2 + n * sigma**2) * (A2 + m * sigma**2) / A2, rel=1e-12)


def test_the_spike_law_serves_its_limits():
    np.testing.assert_equal(spike_law([nan, inf, -7.0], 10, 5, 0.0), [nan, inf, 49])
    assert spike_law(0.0, 10, 5, 0.0) == 0
    assert np.isscalar(spike_law(1.0, 10, 5, 1.0))


@pytest.mark.parametrize("density", [1.0, 0.1])
def test_quantiles_invert_the_law_of_the_largest_entry(density):
    tail_mu, q = 2.5, np.array([0.01, 0.3, 0.5, 0.99, 1 - 1e-12])
    x = largest_eigenvalue_quantile(q, N, M, tail_mu, density)
    sigma2 = density * tail_mu / (tail_mu - 2)
    # A^2 from x: A^4 + (N s2 + M s2 - x) A^2 + N M s2^2 = 0, the larger root.
    b = x - (N + M) * sigma2
    A = np.sqrt((b + np.sqrt(b * b - 4 * N * M * sigma2**2)) / 2)
    log_q = N * M * np.log1p(-density * A**-tail_mu)
    np.testing.assert_allclose(log_q, np.log(q), rtol=1e-6, atol=1e-15)


def test_quantiles_serve_the_ends_and_nan():
    edge = 3.0 * (sqrt(N) + sqrt(M)) ** 2
    np.testing.assert_allclose(
        largest_eigenvalue_quantile([0.0, 1.0, nan, -0.1, 1.1], N, M, 3.0), [edge, inf, nan, nan, nan]
    )
    assert largest_eigenvalue_quantile(0.99, 2000, 1000, 30.0) == pytest.approx(
        30 / 28 * (sqrt(2000) + sqrt(1000)) ** 2
    )


@pytest.mark.parametrize("tail_mu", [0.5, 1.0, 2.5, 3.5])
def test_the_scaling_is_that_of_the_largest_entry_squared(tail_mu):
    ours = expected_scaling(N, M, tail_mu)
    assert ours == pytest.approx((N * M) ** (2 / tail_mu) / N, rel=1e-12)
    median = largest_eigenvalue_law(N, M, tail_mu).median() / N
    assert median / ours == pytest.approx(log(2) ** (-2 / tail_mu), rel=1e-12)


@pytest.mark.parametrize("tail_mu", [2.5, 3.0])
def test_outliers_are_the_entries_beyond_the_threshold(tail_mu):
    n = 1600
    W = np.abs(entries((n, n), tail_mu, np.random.default_rng(0)))
    mean = num_outliers(n, n, tail_mu)
    count = (W > sqrt(n) * sqrt(tail_mu / (tail_mu - 2))).sum()
    assert count == pytest.approx(mean, abs=3 * sqrt(mean))  # a Poisson variable
    assert num_outliers(4 * n, 4 * n, tail_mu) / mean == pytest.approx(4 ** (2 - tail_mu / 2), rel=1e-12)


def test_the_critical_tail_index_is_that_of_auffinger_and_tang():
    assert [critical_tail_index(nu) for nu in (1, 0.5)] == [4, 6]
    pairs = [(3, 1), (3, 0.5), (5, 0.5), (5, 1), (8, 0.5)]
    assert [poisson_edge(*pair) for pair in pairs] == [True, True, True, False, False]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tail_mu", "nu", "ratio", "participation"),
    [(3, 1, 0.998, 0.63), (3, 0.5, 0.999, 0.87), (5, 0.5, 1.033, None), (5, 1, 0.988, 0.002), (8, 0.5, 1.019, None)],
)
def test_sparse_matrices_follow_their_largest_entry_or_the_edge(tail_mu, nu, ratio, participation):
    n = 1500
    density, found, shares = n ** (nu - 1.0), [], []
    sigma = sqrt(density * tail_mu / (tail_mu - 2))
    for seed in range(3):
        rng = np.random.default_rng(seed)
        W = entries((n, n), tail_mu, rng) * (rng.random((n, n)) < density)
        _, s, v = svds(csr_array(W), k=1, rng=rng)
        reference = np.abs(W).max() if poisson_edge(tail_mu, nu) else 0.0
        found.append(s[0] ** 2 / spike_law(reference, n, n, sigma))
        shares.append((v[0] ** 4).sum())
    assert np.median(found) == pytest.approx(ratio, abs=0.02)
    if participation is not None:  # it moves with the one largest entry: only its order is told
        assert (np.median(shares) > 0.3) == (participation > 0.3)


def test_the_exponent_is_told_only_where_it_is_a_theorem():
    assert [esd_exponent(mu) for mu in (0.5, 1.0, 1.5)] == [1.25, 1.5, 1.75]
    for mu in (2.0, 3.0, 0.0, nan):
        with pytest.raises(ValueError, match="from 2 on the variance is finite"):
            esd_exponent(mu)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: largest_eigenvalue_law(N, M, 4.0),
            "tail_mu is 4: from 4 on the largest eigenvalue follows no Frechet",
        ),
        (lambda: largest_eigenvalue_law(0, M, 1.0), "expected sizes >= 1"),
        (lambda: largest_eigenvalue_law(N, M, nan), "tail_mu > 0"),
        (lambda: largest_eigenvalue_law(N, M, 1.0, density=0), "density in"),
        (lambda: largest_eigenvalue_quantile(0.5, N, M, 2.0), "up to 2 the entries have no variance"),
        (lambda: num_outliers(N, M, 1.5), "up to 2 the entries have no variance"),
        (lambda: expected_scaling(N, M, 5.0), "expected below 4"),
        (lambda: spike_law(1.0, N, M, -1.0), "a finite sigma >= 0"),
        (lambda: spike_law(1.0, N, 0, 1.0), "M = 0"),
        (lambda: critical_tail_index(0), r"nu is 0, expected in \(0, 1\]"),
        (lambda: poisson_edge(-1.0), "tail_mu is -1, expected above 0"),
    ],
)
def test_what_has_no_answer_is_refused_with_the_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()
