"""The spectrum of a product from its factors is that of the product."""

import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from cases import gaussian, hadamard

from heavytail.errors import MatrixError
from heavytail.spectra.exact import spectrum_of_stack
from heavytail.spectra.factors import product_rows, spectrum_of_factors

SHAPES = [
    (50, 40, 1),
    (40, 50, 3),
    (50, 40, 16),
    (50, 40, 39),
    (40, 50, 40),
    (50, 40, 45),
    (50, 40, 200),
    (1, 30, 1),
    (30, 1, 4),
    (1, 1, 1),
    (7, 7, 7),
    (600, 500, 32),
]


def singular_values(product):
    """Those of a formed product, ascending."""
    return np.linalg.svd(product, compute_uv=False)[::-1]


def of(left, right, scale=1.0):
    return spectrum_of_factors(left, right, scale, "float64")


@pytest.mark.parametrize(("rows", "columns", "rank"), SHAPES)
def test_all_singular_values_are_those_of_the_formed_product(rows, columns, rank):
    left, right = gaussian(rows, rank, seed=1), gaussian(rank, columns, seed=2)
    found, truth = of(left, right, -0.75), singular_values(-0.75 * left @ right)
    assert (found.N, found.M, found.method) == (max(rows, columns), min(rows, columns), "factors")
    assert np.abs(np.sqrt(found.evals) - truth).max() <= 1e-12 * truth[-1]
    assert np.count_nonzero(found.evals) == found.rank == min(rows, columns, rank)
    np.testing.assert_array_equal(found.by_matrix, found.evals[None])


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16, np.float32])
def test_factors_of_a_narrow_type_are_multiplied_without_rounding(dtype):
    left, right = gaussian(300, 8, seed=1).astype(dtype), gaussian(8, 200, seed=2).astype(dtype)
    truth = singular_values(2 * left.astype(np.float64) @ right.astype(np.float64))
    found = of(left, right, 2.0)
    assert np.abs(np.sqrt(found.evals) - truth).max() <= 1e-12 * truth[-1]
    assert found.rank == 8


def test_an_adapter_that_was_not_trained_is_exactly_zero():
    found = of(np.zeros((50, 8)), gaussian(8, 40))
    assert not found.evals.any()
    assert (found.rank, found.floor, found.error) == (0, 0.0, 0.0)


def test_a_factor_of_lower_rank_lowers_the_rank_of_the_product():
    left = gaussian(60, 6, seed=1)
    left[:, 3] = left[:, 0] - left[:, 1]
    left[:, 5] = 0
    right = gaussian(6, 40, seed=2)
    found, truth = of(left, right), singular_values(left @ right)
    assert found.rank == 4
    assert np.abs(np.sqrt(found.evals) - truth).max() <= 1e-12 * truth[-1]


@pytest.mark.parametrize("power", [20, 150, 200, 300])
def test_scales_of_the_factors_that_cancel_do_no_harm(power):
    left, right = gaussian(60, 5, seed=1), gaussian(5, 40, seed=2)
    truth = singular_values(left @ right)
    for a, b in ((power, -power), (-power, power)):
        found = of(left * 10.0**a, right * 10.0**b)
        assert np.abs(np.sqrt(found.evals) - truth).max() <= 1e-12 * truth[-1]
        assert found.rank == 5


def test_scales_of_single_columns_that_cancel_do_no_harm():
    left, right = gaussian(60, 5, seed=1), gaussian(5, 40, seed=2)
    powers = np.array([1e-120, 1e-20, 1.0, 1e20, 1e120])
    truth = singular_values(left @ right)
    found = of(left * powers, right / powers[:, None])
    assert np.abs(np.sqrt(found.evals) - truth).max() <= 1e-12 * truth[-1]
    assert found.rank == 5


def test_the_error_bound_holds_where_the_spectrum_is_known():
    # Columns of Hadamard matrices times powers of two: each eigenvalue is exact.
    for n, m, r in ((64, 32, 5), (256, 256, 16), (512, 128, 40)):
        scales = 2.0 ** np.arange(r)[::-1]
        found = of(hadamard(n)[:, :r] * scales, hadamard(m)[:r], 0.5)
        truth = np.concatenate([np.zeros(m - r), np.sort(n * m * scales**2 / 4)])
        assert np.abs(found.evals - truth).max() <= found.error
        assert found.error <= 1e-10 * truth[-1]


def test_terms_that_cancel_are_within_the_bound_and_not_counted():
    column, row = gaussian(60, 1, seed=1), gaussian(1, 40, seed=2)
    other, another = gaussian(60, 1, seed=3), gaussian(1, 40, seed=4)
    left = np.hstack([1e8 * column, -1e8 * column, other])
    right = np.vstack([row, row, another])
    found, truth = of(left, right), singular_values(other @ another)
    assert np.abs(found.evals - truth**2).max() <= found.error
    assert found.rank == 1


def test_the_rank_is_that_of_the_same_product_as_a_matrix():
    left, right = gaussian(80, 12, seed=1), gaussian(12, 60, seed=2)
    left[:, :6] *= 1e-6
    assert of(left, right).rank == spectrum_of_stack((left @ right)[None], "float64").rank == 12


def test_nothing_of_the_size_of_the_product_is_held():
    left, right = gaussian(20_000, 4, seed=1), gaussian(4, 20_000, seed=2)
    tracemalloc.start()
    found = of(left, right)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.evals.size == 20_000
    assert peak < 16e6  # the product has 3.2e9 bytes


@pytest.mark.parametrize(
    ("left", "right", "says"),
    [
        ([[np.nan, 1.0]], [[1.0], [2.0]], "1 NaN among 4 entries of its factors"),
        ([[np.inf, 1.0]], [[np.nan], [2.0]], "1 NaN and 1 infinite among 4 entries of its factors"),
        ([[1e200]], [[1e200]], "overflows"),
        ([[1e100]], [[1e100]], "up to 1e\\+200, have no squares"),
        ([[1e-100]], [[1e-100]], "up to 1e-200, have no squares"),
    ],
)
def test_what_has_no_spectrum_in_float64_is_refused(left, right, says):
    with pytest.raises(MatrixError, match=says):
        of(np.array(left), np.array(right))


@pytest.mark.parametrize(("rows", "columns"), [(50, 30), (30, 50), (40, 40)])
def test_a_product_is_read_in_blocks_with_its_larger_dimension_first(rows, columns):
    left, right = gaussian(rows, 3, seed=1), gaussian(3, columns, seed=2)
    whole = 2 * left @ right
    blocks = list(product_rows(left, right, 2.0)(7))
    assert all(len(block) <= 7 for block in blocks)
    np.testing.assert_allclose(np.concatenate(blocks), whole if rows >= columns else whole.T, rtol=1e-13, atol=1e-14)
