"""Placeholder."""

from __future__ import annotations

from collections.abc import Mapping

from heavytail.errors import SourceError
from heavytail.weights.formats.files import File
from heavytail.weights.formats.ranges import Region
from heavytail.weights.tensor import Tensor

__all__ = ["read_keras"]


def read_keras(file: File, regions: Mapping[str, Region]) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    """Read."""
    raise SourceError(file, "is keras, which this version does not read; it reads safetensors, PyTorch and .npz")
