"""Matrices without names: found by their numbers, or not at all."""

import numpy as np
import pytest
from cases import gaussian

from heavytail.comparison.align import align
from heavytail.comparison.contents import is_turned, match_contents
from heavytail.weights.formats.mapping import read_mapping
from heavytail.weights.layout import plan
from heavytail.weights.tensor import Tensor

SHAPES = [(96, 64), (96, 64), (64, 96), (128, 128), (128, 128), (20, 300), (300, 20), (16, 16)]


def matrices(seed=0):
    return [gaussian(*shape, seed=seed + i) for i, shape in enumerate(SHAPES)]


def matched(base, tuned):
    """Match two lists of matrices: for each of the first the index of its partner."""
    base, tuned = (
        plan(read_mapping({f"{side}{i}": W for i, W in enumerate(matrices)})[0])
        for side, matrices in (("base", base), ("tuned", tuned))
    )
    pairs, notes = match_contents(align(base, tuned)[0])
    assert len(pairs) == len(base) + len(tuned) - sum(bool(p.base and p.tuned) for p in pairs)
    found = {
        int(pair.base.tensor.name[4:]): int(pair.tuned.tensor.name[5:]) for pair in pairs if pair.base and pair.tuned
    }
    return found, notes


def quantised(W):
    scale = np.abs(W).max() / 127
    return np.round(W / scale) * scale


def noisy(W):
    noise = gaussian(*W.shape, seed=99)
    return W + 0.1 * np.linalg.norm(W) / np.linalg.norm(noise) * noise


@pytest.mark.parametrize(
    "change", [np.copy, np.transpose, quantised, noisy, lambda W: noisy(quantised(W)).T.astype(np.float32)]
)
def test_matrices_in_another_order_are_found_whatever_an_exporter_did(change):
    W = matrices()
    order = np.random.default_rng(3).permutation(len(W))
    found, notes = matched(W, [change(W[i]) for i in order])
    assert found == {int(i): at for at, i in enumerate(order)}
    assert notes == (f"{len(W)} matrices were matched by the numbers, for the names differ",)


@pytest.mark.parametrize("seed", range(5))
def test_unrelated_matrices_are_never_matched(seed):
    assert matched(matrices(100 * seed), matrices(100 * seed + 50)) == ({}, ())


def test_unrelated_matrices_that_are_all_positive_are_not_matched_by_their_mean():
    """As lengths of embeddings or tables of distances are: the cosine of their corners is near 1."""
    positive = [np.abs(W) + 1 for W in matrices()]
    others = [np.abs(W) + 1 for W in matrices(50)]
    assert matched(positive, others) == ({}, ())


def test_equal_matrices_are_matched_once_each():
    W = gaussian(80, 60)
    found, _ = matched([W, W.copy(), gaussian(80, 60, seed=1)], [W.copy(), W.copy()])
    assert set(found) == {0, 1}
    assert set(found.values()) == {0, 1}


def test_of_two_that_are_alike_the_nearest_is_taken():
    W = gaussian(80, 60)
    far, near = W + 0.3 * gaussian(80, 60, seed=1), W + 0.01 * gaussian(80, 60, seed=2)
    assert matched([W], [far, near])[0] == {0: 1}
    assert matched([far, near], [W])[0] == {1: 0}


def test_what_is_too_small_or_no_matrix_is_left_alone():
    for tensor in (gaussian(15, 40), gaussian(40), gaussian(32, 32, 3, 3)):
        assert matched([tensor], [tensor.copy()]) == ({}, ())


def test_a_corner_that_is_not_finite_or_cannot_be_read_has_no_partner():
    W = gaussian(40, 40)
    W[0, 0] = np.nan
    assert matched([W], [W.copy()]) == ({}, ())
    assert matched([np.zeros((40, 40))], [np.zeros((40, 40))]) == ({}, ())


def one(W):
    return read_mapping({"w": W})[0][0]


def test_a_square_matrix_is_turned_where_its_transpose_is_the_likeness():
    W = gaussian(128, 128)
    assert is_turned(one(W), one(noisy(W).T))
    assert not is_turned(one(W), one(noisy(W)))
    assert not is_turned(one(W), one(gaussian(128, 128, seed=1).T))
    assert not is_turned(one(W + W.T), one(W + W.T))


def test_a_reversed_shape_alone_is_no_transpose():
    W = gaussian(60, 40)
    assert is_turned(one(W), one(W.T))
    assert is_turned(one(W), one(W.T + 0.5 * gaussian(40, 60, seed=1)))
    assert not is_turned(one(W), one(gaussian(40, 60, seed=2)))
    assert not is_turned(one(W), one(W))
    # Of matrices too small to tell, the shapes do.
    assert is_turned(one(gaussian(12, 5)), one(gaussian(5, 12, seed=1)))


def test_one_column_that_all_have_in_common_makes_no_match():
    first, second = (0.02 * gaussian(200, 80, seed=i) for i in range(2))
    for W in (first, second):
        W[:, 5] = 0.2
    assert matched([first], [second])[0] == {}


def test_a_thousand_matrices_find_their_partners():
    bases = [gaussian(64, 64, seed=i) for i in range(1000)]
    order = np.random.default_rng(0).permutation(1000)
    found, _ = matched(bases, [bases[i] + 0.1 for i in order])
    assert all(order[j] == i for i, j in found.items())
    assert len(found) == 1000


def test_a_kernel_in_reverse_order_is_no_transposed_matrix():
    """(out, in, height, width) read backwards is (width, height, in, out), which no framework writes."""
    assert not is_turned(one(gaussian(8, 6, 3, 3)), one(gaussian(3, 3, 6, 8)))


def test_what_cannot_be_read_is_not_turned():
    def broken(rows):
        raise OSError("gone")
        yield

    tensor = Tensor("w", (32, 32), "float64", broken)
    assert not is_turned(tensor, one(gaussian(32, 32)))
    assert not is_turned(one(gaussian(32, 32)), tensor)
    base, tuned = plan([tensor]), plan(read_mapping({"x": gaussian(32, 32)})[0])
    pairs = align(base, tuned)[0]
    assert match_contents(pairs) == (pairs, ())
