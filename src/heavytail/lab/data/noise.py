"""Labels and images made random, on which a network can only memorise (Zhang et al. 2017)."""

from __future__ import annotations

from zlib import crc32

import numpy as np

from heavytail.errors import RequestError
from heavytail.lab.data._draws import generator, whole
from heavytail.lab.data.examples import Examples

__all__ = ["PIXELS", "randomise_labels", "randomise_pixels"]

PIXELS = ("true", "shuffled", "random", "gaussian")
"""What images can be, from their own pixels to noise."""


def randomise_labels(examples: Examples, fraction: float, classes: int, seed: int) -> Examples:
    """Draw a fraction of the labels anew, each evenly from all classes.

    A new label may be the old one: a label is wrong with probability fraction (1 - 1/classes), and at fraction 1 a
    share 1/classes is still right. With one seed the labels drawn at a fraction are drawn, to the same values, at every
    larger one, so that a sweep compares like with like.

    Args:
        examples: which are not altered.
        fraction: from 0 to 1; round(fraction n) labels are drawn.
        classes: number of classes, which are 0 to classes - 1.
        seed: of which labels are drawn and of their values.

    Raises:
        RequestError: an argument is out of range.

    Example:
        >>> clean = Examples(np.zeros((6, 3), dtype=np.int64), np.full(6, 9))
        >>> int(np.sum(randomise_labels(clean, 0.5, 5, seed=0).labels != 9))
        3
    """
    if not 0 <= fraction <= 1:
        raise RequestError(f"fraction is {fraction}; it must be from 0 to 1")
    draws = generator(seed, "labels")
    # both in full length, so that the values do not depend on the fraction
    order = draws.permutation(len(examples))
    values = draws.integers(whole("classes", classes, 1), size=len(examples))
    drawn = order[: round(fraction * len(examples))]
    labels = examples.labels.copy()
    labels[drawn] = values[drawn]
    return Examples(examples.inputs, labels)


def randomise_pixels(examples: Examples, how: str, seed: int) -> Examples:
    """Replace images with what has less and less of them.

    The channels of a pixel stay together. With one seed the permutation of "shuffled" is that of all examples of the
    same size, for training and test; what is drawn image by image also depends on the images, so that test images are
    never those of the training.

    Args:
        examples: images, which are not altered.
        how: one of `PIXELS`: "true" for the images themselves; "shuffled" for one permutation of the pixels of all
            images; "random" for another permutation in each; "gaussian" for normal noise of the mean and variance of
            all inputs together.
        seed: of what is drawn.

    Raises:
        RequestError: `how` is not known, or the examples are no images.
    """
    if how not in PIXELS:
        raise RequestError(f"pixels are {how!r}; they must be one of {', '.join(PIXELS)}")
    if examples.inputs.ndim != 4:
        raise RequestError(f"the inputs have shape {examples.inputs.shape}; only images have pixels")
    if how == "true" or not len(examples):
        return examples
    n, channels, height, width = examples.inputs.shape
    flat = examples.inputs.reshape(n, channels, height * width)
    if how == "shuffled":
        mixed = flat[:, :, generator(seed, "pixels").permutation(height * width)]
    else:
        draws = generator(seed, f"pixels of {crc32(np.ascontiguousarray(flat).data)}")
        if how == "random":
            orders = draws.permuted(np.broadcast_to(np.arange(height * width), (n, height * width)), axis=1)
            mixed = np.take_along_axis(flat, orders[:, None], axis=2)
        else:
            mean, sd = flat.mean(dtype=np.float64), flat.std(dtype=np.float64)
            mixed = draws.standard_normal(flat.shape, dtype=np.float32) * np.float32(sd) + np.float32(mean)
    return Examples(mixed.reshape(examples.inputs.shape), examples.labels)
