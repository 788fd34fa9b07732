"""The 1,797 handwritten digits that come with scikit-learn."""

from __future__ import annotations

from hashlib import sha256
from importlib import import_module

import numpy as np

from heavytail.errors import RequestError
from heavytail.lab.data.examples import Examples
from heavytail.lab.data.raw import Raw

__all__ = ["read_digits"]


def read_digits() -> Raw:
    """Read 8 x 8 images of 17 grey levels (Alpaydin and Kaynak 1998); they have no test set of their own.

    Raises:
        RequestError: scikit-learn is not installed.
    """
    try:
        datasets = import_module("sklearn.datasets")
    except ImportError:
        raise RequestError("the data 'digits' come with scikit-learn; pip install 'heavytail[lab]'") from None
    pixels, labels = datasets.load_digits(return_X_y=True)
    images = pixels.astype(np.uint8).reshape(-1, 1, 8, 8)
    checksum = sha256(images.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()
    return Raw(Examples(images, labels.astype(np.int64)), None, 10, checksum, white=16, test=597)
