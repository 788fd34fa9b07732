from itertools import product

import numpy as np
import pytest
from cases import gaussian, numpy_type

from heavytail.errors import MatrixError
from heavytail.spectra.operator import GRID, operator_spectrum


def dense(kernel, sizes):
    """The matrix of the circular convolution, entry by entry: y[o, p] = sum of kernel[o, i, k] x[i, p + k]."""
    out, inputs, *widths = kernel.shape
    grid = list(product(*map(range, sizes)))
    at = {point: n for n, point in enumerate(grid)}
    A = np.zeros((out * len(grid), inputs * len(grid)))
    for o, i, point in product(range(out), range(inputs), grid):
        for offset in product(*map(range, widths)):
            shifted = tuple((p + k) % n for p, k, n in zip(point, offset, sizes, strict=True))
            A[o * len(grid) + at[point], i * len(grid) + at[shifted]] += kernel[(o, i, *offset)]
    return A


CASES = [
    ((2, 3, 3), 6),
    ((3, 2, 4), 7),
    ((1, 1, 2), 5),
    ((4, 1, 3), 4),
    ((2, 3, 3, 3), 4),
    ((3, 2, 3, 2), 5),
    ((2, 2, 1, 3), 4),
    ((3, 3, 1, 1), 3),
    ((2, 1, 2, 2, 2), 3),
    ((2, 3, 5), 3),  # wider than the grid
    ((2, 2, 5, 2), 3),
]


@pytest.mark.parametrize(("shape", "grid"), CASES, ids=str)
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_the_spectrum_is_that_of_the_dense_circulant_matrix(shape, grid, dtype):
    kernel = gaussian(*shape, seed=1).astype(numpy_type(dtype))
    sizes = [max(grid, k) for k in shape[2:]]
    A = dense(kernel.astype(float), sizes)
    expected = np.sort(np.linalg.svd(A, compute_uv=False) ** 2)
    spectrum = operator_spectrum(kernel, dtype, grid=grid)
    # Of a matrix with fewer outputs than inputs only min(out, in) singular values a frequency are listed, as of A.
    np.testing.assert_allclose(spectrum.evals, expected, atol=1e-12 * expected[-1])
    assert spectrum.num_matrices == np.prod(sizes)
    assert {spectrum.N, spectrum.M} == set(shape[:2])


@pytest.mark.parametrize("shape", [(8, 5, 3, 3), (5, 8, 3), (4, 4, 2, 2, 2), (6, 3, 20)])
def test_the_eigenvalues_sum_to_the_points_of_the_grid_times_the_squared_norm(shape):
    kernel = gaussian(*shape).astype(np.float32)
    spectrum = operator_spectrum(kernel, "float32")
    points = np.prod([max(GRID, k) for k in shape[2:]])
    assert spectrum.evals.sum() == pytest.approx(points * np.square(kernel.astype(float)).sum(), rel=1e-12)
    assert spectrum.num_matrices == points
    assert spectrum.evals.size == points * min(shape[:2])


def test_the_identity_convolution_is_the_identity():
    kernel = np.zeros((12, 12, 3, 3))
    kernel[range(12), range(12), 1, 1] = 1
    spectrum = operator_spectrum(kernel, "float64")
    np.testing.assert_allclose(spectrum.evals, 1, rtol=1e-13)
    assert spectrum.rank == 12 * GRID**2


def test_transforming_in_chunks_changes_nothing(monkeypatch):
    kernel = gaussian(6, 4, 3, 3)
    whole = operator_spectrum(kernel, "float64")
    monkeypatch.setattr("heavytail.spectra.operator.HELD", 16 * 24 * 7)
    np.testing.assert_allclose(operator_spectrum(kernel, "float64").evals, whole.evals, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_filter_that_removes_the_mean_loses_the_rank_of_one_frequency(dtype):
    kernel = gaussian(3, 3, 3)
    kernel -= kernel.mean(axis=2, keepdims=True)  # frequency 0 is a zero matrix
    spectrum = operator_spectrum(kernel.astype(dtype), dtype, grid=8)
    assert spectrum.rank == 3 * 7


@pytest.mark.parametrize(("value", "text"), [(np.nan, "1 NaN among 54"), (np.inf, "1 infinite among 54")])
def test_what_is_not_finite_is_counted_in_the_kernel(value, text):
    kernel = gaussian(3, 2, 3, 3)
    kernel[1, 1, 1, 1] = value
    with pytest.raises(MatrixError, match=text):
        operator_spectrum(kernel, "float64")


def test_the_kernel_is_not_modified():
    kernel = gaussian(3, 2, 3, 3)
    before = kernel.copy()
    kernel.flags.writeable = False
    operator_spectrum(kernel, "float64")
    np.testing.assert_array_equal(kernel, before)
