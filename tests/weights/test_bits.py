"""Unpacked values are the digits of one long binary number."""

import numpy as np
import pytest

from heavytail.weights.bits import period, unpack


def digits(words, bits):
    """The values by Python's own integers: the words, the first one lowest, are one number to the base 2^bits."""
    number = int.from_bytes(words.astype(words.dtype.newbyteorder("<")).tobytes(), "little")
    return [number >> i & ((1 << bits) - 1) for i in range(0, 8 * words.nbytes, bits)]


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int32", "uint32"])
def test_values_come_back_across_the_ends_of_words(bits, dtype):
    info = np.iinfo(dtype)
    span, count = period(bits, info.bits)
    assert span * info.bits == count * bits
    rng = np.random.default_rng(bits)
    words = rng.integers(info.min, info.max, 6 * span, dtype, endpoint=True)
    expected = digits(words, bits)
    found = unpack(words, bits)
    assert (found.dtype, found.tolist()) == (np.uint8, expected)
    signed = unpack(words, bits, signed=True)
    half = 1 << (bits - 1)
    assert (signed.dtype, signed.tolist()) == (np.int8, [(value ^ half) - half for value in expected])


def test_the_other_axes_stay():
    words = np.random.default_rng(0).integers(0, 1 << 32, (6, 2, 3), np.uint32)
    found = unpack(words, 3)
    assert found.shape == (64, 2, 3)
    for at in np.ndindex(2, 3):
        assert found[:, *at].tolist() == digits(words[:, *at], 3)


def test_nothing_is_unpacked_from_nothing():
    assert unpack(np.empty(0, np.uint8), 4, signed=True).shape == (0,)
