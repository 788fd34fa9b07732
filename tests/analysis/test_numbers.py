from functools import partial

import numpy as np
import pytest
from cases import gaussian

from heavytail.analysis.numbers import Numbers
from heavytail.weights.layout import plan
from heavytail.weights.tensor import Tensor


def cut_by(W, most, rows):
    step = min(most, rows)
    for i in range(0, len(W), step):
        yield W[i : i + step]


@pytest.mark.parametrize("most", [1, 7, 20, 40, 50, 119, 500])
def test_the_parts_of_a_tensor_are_the_same_however_its_blocks_are_cut(most):
    W = gaussian(120, 40)
    (found,) = plan([Tensor("attn.qkv.weight", W.shape, "float64", partial(cut_by, W, most))])
    assert len(found.parts) == 3
    numbers = Numbers(found, W.nbytes)
    for i, part in enumerate(found.parts):
        np.testing.assert_array_equal(part.stack(numbers.block(part.block))[0], W[40 * i : 40 * i + 40])


def test_what_is_left_over_is_the_last_block():
    W = gaussian(50, 40)
    (found,) = plan([Tensor("w", (50, 40), "float64", partial(cut_by, W, 9))])
    numbers = Numbers(found, W.nbytes)
    numbers.rows = 20
    assert [len(numbers.block(i)) for i in range(3)] == [20, 20, 10]
