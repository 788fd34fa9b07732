from math import isnan, log

import numpy as np
import pytest

from heavytail.diagnosis.farms import farms, farms_of_blocks
from heavytail.tails.power_law import hill


def published(W, num_row_samples=100, ratio=2.0, per_dim=10):
    """The definition by a plain loop: every window, its singular values, the pool, the exponent."""
    W = np.asarray(W, dtype=float)
    rows, cols = W.shape
    r = min(num_row_samples, rows, cols)
    k = int(r * ratio)
    row_step = max(1, (rows - r) // (per_dim - 1))
    col_step = max(1, (cols - k) // (per_dim - 1))
    across = min(per_dim, max(1, (rows - r) // row_step + 1))
    along = min(per_dim, max(1, (cols - k) // col_step + 1))
    pool = []
    for i in range(across):
        for j in range(along):
            top, left = min(i * row_step, rows - r), min(j * col_step, cols - k)
            window = W[top : top + r, left : left + k]  # a negative left counts from the end
            pool.extend(np.linalg.svd(window, compute_uv=False) ** 2)
    pool = sorted(pool)
    start = int(len(pool) / 2)
    n = len(pool) - start
    total = sum(log(v) for v in pool[start:]) - n * log(pool[start])
    return np.array(pool), 1 + n / total


SHAPES = [(300, 400), (400, 300), (100, 200), (101, 201), (109, 209), (110, 950), (1000, 205), (40, 100), (30, 500)]
NARROW = [(300, 150), (300, 100), (120, 120), (64, 64), (64, 100), (500, 40), (200, 199), (7, 3)]


@pytest.mark.parametrize("shape", SHAPES + NARROW)
@pytest.mark.parametrize("kind", ["noise", "heavy", "low rank"])
def test_the_exponent_is_that_of_the_published_definition(shape, kind):
    rng = np.random.default_rng([*shape, len(kind)])
    W = rng.standard_normal(shape)
    if kind == "heavy":
        W = W * rng.pareto(1.0, shape[1])
    elif kind == "low rank":  # values above the median lie ten orders below the largest
        W = 1e-7 * W + rng.standard_normal((shape[0], 2)) @ rng.standard_normal((2, shape[1]))
    pool, alpha = published(W)
    found = farms(W)
    assert found.alpha == pytest.approx(alpha, rel=1e-7)
    assert found.evals.shape == pool.shape
    np.testing.assert_allclose(found.evals[pool.size // 2 :], pool[pool.size // 2 :], rtol=1e-7)


def test_windows_are_at_most_ten_a_side_and_of_the_aspect_ratio_two():
    found = farms(np.random.default_rng(0).standard_normal((150, 420)))
    assert (found.windows, found.shape, found.whole_window) == (100, (100, 200), True)
    assert found.evals.size == 100 * 100
    assert farms(np.random.default_rng(0).standard_normal((102, 203))).windows == 3 * 4


def test_a_matrix_that_holds_no_whole_window_is_told_apart():
    W = np.random.default_rng(0).standard_normal((300, 150))
    found = farms(W)
    assert not found.whole_window
    assert found.shape == (100, 50)
    W[:, :100] = 0  # only the last 2 r - cols = 50 columns are seen
    assert farms(W).alpha == found.alpha
    assert farms(W[:, :100] + 1).shape == (100, 100)


def test_noise_of_every_aspect_ratio_has_the_exponent_of_noise_at_two():
    # Pooled windows of noise follow the law of Q = 2, whose exponent is 2.71; Hill's goes from 2.1 to 7.8.
    for Q in (1, 4, 16):
        W = np.random.default_rng(Q).standard_normal((256 * Q, 256))
        assert farms(W).alpha == pytest.approx(2.70, abs=0.05)
    assert hill(np.linalg.eigvalsh(W.T @ W)) > 5


@pytest.mark.parametrize("shape", [(3000, 120), (260, 130), (230, 200), (150, 120)])
def test_a_matrix_read_in_blocks_gives_the_same(shape):
    N, M = shape
    W = np.random.default_rng(4).standard_normal(shape)
    found, whole = farms_of_blocks(lambda r: (W[i : i + r] for i in range(0, N, r)), N, M), farms(W.T)
    assert (found.windows, found.shape, found.whole_window) == (whole.windows, whole.shape, whole.whole_window)
    np.testing.assert_allclose(found.evals, whole.evals, rtol=1e-10)


def test_the_scale_of_the_weights_does_not_matter():
    W = np.random.default_rng(1).standard_normal((128, 256))
    assert farms(1e-12 * W).alpha == pytest.approx(farms(W).alpha, rel=1e-9)
    assert farms(W.astype(np.float32)).alpha == pytest.approx(farms(W).alpha, rel=1e-5)


def test_what_has_no_exponent_is_missing():
    assert isnan(farms(np.zeros((50, 120))).alpha)
    assert isnan(farms(np.pad([[1.0, 2.0]], ((0, 49), (0, 118)))).alpha)
    assert isnan(farms(np.eye(50, 100)).alpha)


@pytest.mark.parametrize("bad", [np.zeros(3), np.zeros((0, 4)), np.zeros((2, 2, 2)), np.full((3, 3), np.nan)])
def test_what_is_no_matrix_is_refused(bad):
    with pytest.raises(ValueError, match="must be finite, with two dimensions"):
        farms(bad)


def test_the_matrix_is_not_changed():
    W = np.random.default_rng(3).standard_normal((120, 260))
    before = W.copy()
    W.flags.writeable = False
    farms(W)
    np.testing.assert_array_equal(W, before)
