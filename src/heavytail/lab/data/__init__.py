"""Data of the experiments: images and modular addition, their preprocessing, and what is randomised in them.

Example:
    >>> from heavytail.lab.data import load_data, randomise_labels
    >>> data = load_data("modular-addition-7", train=40)
    >>> data.classes, data.shape, len(data.train), len(data.test)
    (7, (3,), 40, 9)
    >>> noisy = randomise_labels(data.train, 0.5, data.classes, seed=1)
    >>> len(noisy)
    40
"""

from heavytail.lab.data.catalogue import load_data
from heavytail.lab.data.examples import DataSet, Examples
from heavytail.lab.data.noise import PIXELS, randomise_labels, randomise_pixels

__all__ = ["PIXELS", "DataSet", "Examples", "load_data", "randomise_labels", "randomise_pixels"]
