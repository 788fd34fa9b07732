"""The difference of two tensors: exact where they are equal, whatever blocks they are read in."""

import ml_dtypes
import numpy as np
import pytest
from cases import FLOATS, gaussian, numpy_type
from hypothesis import given
from hypothesis import strategies as st

from heavytail.comparison.difference import difference, size_of_change, together
from heavytail.errors import MatrixError
from heavytail.weights.products import transposed
from heavytail.weights.tensor import Tensor


def tensor(W, cuts=None, name="w"):
    """A tensor that is read in blocks of the cuts' lengths, over and over, or as asked for."""

    def blocks(rows):
        at, i = 0, 0
        while at < len(W):
            step = min(rows, cuts[i % len(cuts)]) if cuts else rows
            yield W[at : at + step]
            at, i = at + step, i + 1

    return Tensor(name, W.shape, str(W.dtype), blocks)


@pytest.mark.parametrize("shape", [(7,), (0,), (40, 30), (0, 5), (5, 0), (1, 1), (4, 3, 2, 2), (3000, 2000)])
def test_the_size_of_a_change_is_numpys_norm(shape):
    a, b = gaussian(*shape), gaussian(*shape, seed=1)
    found = size_of_change(tensor(a), tensor(b))
    expected = [np.linalg.norm(x.ravel()) for x in (a, b, b - a)]
    assert (found.base, found.tuned, found.change) == pytest.approx(expected, rel=1e-13)
    if a.size:
        assert found.relative == pytest.approx(expected[2] / expected[0], rel=1e-13)


@pytest.mark.parametrize("dtype", FLOATS)
def test_one_bit_of_one_entry_is_a_change(dtype):
    W = gaussian(50, 40).astype(numpy_type(dtype))
    for entry in ((0, 0), (49, 39), (17, 3)):
        other = W.copy()
        bits = other.view(f"u{other.dtype.itemsize}")
        bits[entry] ^= 1
        assert size_of_change(tensor(W), tensor(W.copy())).change == 0
        assert size_of_change(tensor(W), tensor(other)).change > 0


@pytest.mark.parametrize("size", [1.0, 1e-30, 1e-170, 1e-300, 5e-324])
def test_a_change_whose_square_vanishes_is_a_change(size):
    a, b = np.zeros((3, 4)), np.zeros((3, 4))
    b[1, 2] = size
    found = size_of_change(tensor(a), tensor(b))
    assert found.change > 0
    assert found.relative == np.inf


def test_nan_in_the_same_place_is_the_same_and_elsewhere_is_not():
    a = gaussian(30, 20)
    a[3, 4] = np.nan
    assert size_of_change(tensor(a), tensor(a.copy())).change == 0
    assert size_of_change(tensor(a), tensor(a.copy())).relative == 0
    other = a.copy()
    other[5, 6] += 1
    assert np.isnan(size_of_change(tensor(a), tensor(other)).change)
    moved = np.nan_to_num(a, nan=1.0)
    moved[5, 5] = np.nan
    assert np.isnan(size_of_change(tensor(a), tensor(moved)).change)


def test_a_change_of_imaginary_parts_is_a_change():
    a = gaussian(6, 5) + 1j * gaussian(6, 5, seed=1)
    found = size_of_change(tensor(a), tensor(a + 0.5j))
    assert (found.base, found.change) == pytest.approx((np.linalg.norm(a), 0.5 * 30**0.5), rel=1e-12)
    assert size_of_change(tensor(a), tensor(a.copy())).change == 0


def test_whole_numbers_that_float64_does_not_hold_are_told_apart():
    a = np.array([2**60, 7])
    assert size_of_change(tensor(a), tensor(a + np.array([1, 0]))).change > 0
    assert size_of_change(tensor(a), tensor(a.copy())).change == 0


def test_infinities_of_one_sign_are_the_same():
    a = gaussian(5, 4)
    a[0, 0] = np.inf
    assert size_of_change(tensor(a), tensor(a.copy())).change == 0
    assert size_of_change(tensor(a), tensor(a * np.where(np.isinf(a), -1, 1))).change == np.inf


def test_another_type_is_no_change_where_the_numbers_are_the_same():
    exact = gaussian(40, 30).astype(ml_dtypes.bfloat16)
    assert size_of_change(tensor(exact.astype(np.float32)), tensor(exact)).change == 0
    W = gaussian(40, 30).astype(np.float32)
    rounded = W.astype(ml_dtypes.bfloat16)
    expected = np.linalg.norm(W.astype(np.float64) - rounded.astype(np.float64))
    assert size_of_change(tensor(W), tensor(rounded)).change == pytest.approx(expected, rel=1e-12)


def test_a_change_of_zeros_is_infinite_and_none_is_zero():
    assert size_of_change(tensor(np.zeros((2, 2))), tensor(np.ones((2, 2)))).relative == np.inf
    assert size_of_change(tensor(np.zeros((2, 2))), tensor(np.zeros((2, 2)))).relative == 0


cuts = st.lists(st.integers(1, 9), min_size=1, max_size=5)


@given(st.integers(1, 40), cuts, cuts, st.integers(1, 50))
def test_blocks_may_be_cut_anywhere(length, first, second, rows):
    a, b = gaussian(length, 3), gaussian(length, 3, seed=1)
    blocks = list(together(tensor(a, first).blocks, tensor(b, second).blocks, rows))
    assert all(len(x) == len(y) <= rows for x, y in blocks)
    assert np.array_equal(np.concatenate([x for x, _ in blocks]), a)
    assert np.array_equal(np.concatenate([y for _, y in blocks]), b)
    delta = difference(tensor(a, first).blocks, tensor(b, second).blocks)
    assert np.array_equal(np.concatenate(list(delta(rows))), b - a)
    assert size_of_change(tensor(a, first), tensor(a, second)).change == 0


def test_a_difference_is_taken_in_float64():
    a = np.full((4, 4), 256, dtype=ml_dtypes.bfloat16)
    b = np.full((4, 4), 257, dtype=np.float32)
    (delta,) = difference(tensor(a).blocks, tensor(b).blocks)(10)
    assert delta.dtype == np.float64
    assert np.array_equal(delta, np.ones((4, 4)))


def test_a_difference_can_be_read_again():
    a, b = gaussian(9, 4), gaussian(9, 4, seed=1)
    delta = difference(tensor(a).blocks, tensor(b).blocks)
    for rows in (1, 4, 9):
        assert np.array_equal(np.concatenate(list(delta(rows))), b - a)


def test_a_tensor_that_ends_early_is_an_error():
    short = Tensor("w", (9, 4), "float64", tensor(gaussian(5, 4)).blocks)
    with pytest.raises(MatrixError, match="one of the two ends before the other"):
        list(together(tensor(gaussian(9, 4)).blocks, short.blocks, 4))


@pytest.mark.parametrize("rows", [1, 4, 100])
def test_a_transposed_tensor_reads_as_the_transpose(rows):
    W = gaussian(9, 5)
    turned = transposed(tensor(W, [2, 3]))
    blocks = list(turned.blocks(rows))
    assert turned.shape == (5, 9)
    assert all(len(block) <= rows for block in blocks)
    assert np.array_equal(np.concatenate(blocks), W.T)
