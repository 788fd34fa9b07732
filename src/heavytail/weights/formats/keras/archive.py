"""The .keras archive: the model's configuration and an HDF5 file of its weights, read without keras."""

from __future__ import annotations

import json
from collections.abc import Mapping

from heavytail.errors import SourceError
from heavytail.weights.faults import reading
from heavytail.weights.formats.archive import content
from heavytail.weights.formats.keras.hdf5 import read_weights
from heavytail.weights.formats.keras.slices import Inflated, Slice
from heavytail.weights.places.files import File
from heavytail.weights.ranges import Plain, Region
from heavytail.weights.tensor import Tensor

__all__ = ["read_keras"]

_WEIGHTS = "model.weights.h5"
_CONFIG = "config.json"
_MOST_CONFIG = 1 << 26
_MOST_INFLATED = 1 << 30  # Keras stores the weights as they are; a compressed member is held in memory


def read_keras(file: File, regions: Mapping[str, Region]) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    """Describe the tensors of a .keras archive (Keras 2.12 and later), in the order of the model's layers.

    Args:
        file: the archive.
        regions: its members.

    Returns:
        The tensors, kernels in torch's order, and notes on what was left out.

    Raises:
        SourceError: a member is damaged, or h5py is not installed.
    """
    region, config = regions[_WEIGHTS], None
    if _CONFIG in regions:
        with reading(file, f"its {_CONFIG}"):
            config = json.loads(content(file, regions, _CONFIG, _MOST_CONFIG))
    inner: File
    if isinstance(region, Plain):
        inner = Slice(file, region.start, region.size, _WEIGHTS)
    elif region.size > _MOST_INFLATED:
        raise SourceError(file, f"its {_WEIGHTS} is compressed and has {region.size} bytes; store it uncompressed")
    else:
        inner = Inflated(file, region, _WEIGHTS)
    return read_weights(inner, config)
