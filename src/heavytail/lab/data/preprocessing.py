"""What is done to images before a network sees them."""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

__all__ = ["halve", "standardise"]

_BLOCK = 1024  # images at a time, so that float64 is never needed for all


def halve(images: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Give four times the mean of each 2 x 2 pixels, which is a whole number.

    Args:
        images: shape (n, channels, height, width), height and width even.

    Returns:
        Shape (n, channels, height/2, width/2); white is four times what it was.
    """
    n, channels, height, width = images.shape
    squares = images.reshape(n, channels, height // 2, 2, width // 2, 2)
    return np.asarray(squares.sum(axis=(3, 5), dtype=np.uint16))


def standardise(images: NDArray[np.uint8] | NDArray[np.uint16], white: int) -> NDArray[np.float32]:
    r"""Give each image mean 0 and variance 1 over all its pixels and channels.

    Of an image x with n numbers, divided by `white` first, it is (x - mean) / max(sd, 1/\sqrt n), in which the lower
    bound is for images of one colour (TensorFlow's `per_image_standardization`; Zhang et al. 2017).

    Args:
        images: whole numbers from 0 to `white`, shape (n, channels, height, width).
        white: the value that is 1.

    Returns:
        float32 of the same shape. Mean and variance come of sums of whole numbers, and are the same on every machine.

    Example:
        >>> standardise(np.array([[[[0, 255], [255, 0]]]], dtype=np.uint8), 255).ravel()
        array([-1.,  1.,  1., -1.], dtype=float32)
    """
    result = np.empty(images.shape, dtype=np.float32)
    count = images[0].size if len(images) else 1
    for start in range(0, len(images), _BLOCK):
        block = images[start : start + _BLOCK].astype(np.int64)
        first, second = (np.sum(power, axis=(1, 2, 3), keepdims=True) for power in (block, block * block))
        sd = np.sqrt(count * second - first * first) / count
        result[start : start + _BLOCK] = (block - first / count) / np.maximum(sd, white / sqrt(count))
    return result
