import numpy as np
import pytest
from scipy.stats import kurtosis

from heavytail.spectra.entries import leading_vectors, measure_entries, whole


def blocks(W):
    return lambda r: (W[i : i + r] for i in range(0, len(W), r))


def excess_kurtosis(W, step, largest, V=None):
    return measure_entries(
        blocks(W), step, W.shape[1], 1.0, largest, np.zeros((W.shape[1], 0)) if V is None else V
    ).kurtosis


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_the_kurtosis_is_that_of_all_entries_however_they_are_read(step):
    W = np.random.default_rng(0).laplace(size=(60, 40)).astype(np.float32)
    expected = np.mean(W.astype(float) ** 4) / np.mean(W.astype(float) ** 2) ** 2 - 3
    assert excess_kurtosis(W, step, np.inf) == pytest.approx(expected, rel=1e-12)
    assert expected == pytest.approx(kurtosis(W, axis=None), abs=0.05)  # about the mean, which is near zero


def test_entries_too_large_for_noise_do_not_count():
    W = np.random.default_rng(0).standard_normal((50, 50))
    before = excess_kurtosis(W, 50, 10.0)
    W[3, 4] = 1e6
    assert excess_kurtosis(W, 50, 10.0) == pytest.approx(before, abs=0.02)
    assert excess_kurtosis(W, 50, np.inf) > 1000


def test_spikes_are_taken_out_of_the_kurtosis():
    rng = np.random.default_rng(1)
    W = rng.standard_normal((400, 200))
    signal = 20 * np.outer(rng.standard_normal(400), rng.standard_normal(200)) / np.sqrt(200)
    V = leading_vectors(blocks(W + signal), 64, 200, 1)
    assert excess_kurtosis(W + signal, 64, np.inf) > 1
    # Standard error of a Gaussian kurtosis of 80,000 entries: 0.017.
    assert abs(excess_kurtosis(W + signal, 64, np.inf, V)) < 0.06


def test_zeros_have_no_kurtosis():
    assert excess_kurtosis(np.zeros((5, 5)), 5, 1.0) == 0


def test_leading_vectors_span_what_an_svd_finds():
    rng = np.random.default_rng(2)
    W = rng.standard_normal((300, 80)) + 5 * rng.standard_normal((300, 3)) @ rng.standard_normal((3, 80))
    V = leading_vectors(blocks(W), 50, 80, 3)
    exact = np.linalg.svd(W)[2][:3]
    np.testing.assert_allclose(V.T @ V, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.linalg.svd(exact @ V)[1], 1, atol=1e-6)


def test_leading_vectors_of_a_narrow_matrix_are_all_of_its_space():
    V = leading_vectors(blocks(np.random.default_rng(0).standard_normal((20, 4))), 8, 4, 4)
    np.testing.assert_allclose(V @ V.T, np.eye(4), atol=1e-12)


def test_a_matrix_is_read_whole_in_order():
    W = np.arange(12, dtype=np.float16).reshape(4, 3)
    assert whole(blocks(W)).dtype == np.float64
    np.testing.assert_array_equal(whole(blocks(W)), W)


@pytest.mark.parametrize("scale", [1e-150, 1.0, 1e140])
def test_mean_squares_are_those_of_rows_and_columns_at_any_scale(scale):
    W = np.random.default_rng(0).standard_normal((50, 30))
    seen = measure_entries(blocks(W * scale), 7, 30, scale, np.inf, np.zeros((30, 0)))
    np.testing.assert_allclose(seen.rows, (W**2).mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(seen.columns, (W**2).mean(axis=0), rtol=1e-12)


def test_the_order_in_memory_changes_nothing():
    W = np.random.default_rng(3).standard_normal((90, 40)).astype(np.float32)
    V = np.linalg.qr(np.random.default_rng(4).standard_normal((40, 3)))[0]
    left = W - W.astype(float) @ V @ V.T
    for matrix in (W, np.asfortranarray(W), np.repeat(W, 2, axis=1)[:, ::2]):
        seen = measure_entries(blocks(matrix), 32, 40, 1.0, np.inf, V)
        np.testing.assert_allclose(seen.rows, (left**2).mean(axis=1), rtol=1e-12)
        np.testing.assert_allclose(seen.columns, (left**2).mean(axis=0), rtol=1e-12)
        assert seen.kurtosis == pytest.approx((left**4).mean() / (left**2).mean() ** 2 - 3, rel=1e-12)
