"""Placeholder."""

from __future__ import annotations

from heavytail.errors import SourceError
from heavytail.weights.formats.files import File
from heavytail.weights.tensor import Tensor

__all__ = ["read_tflite"]


def read_tflite(file: File) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    """Read."""
    raise SourceError(file, "is tflite, which this version does not read; it reads safetensors, PyTorch and .npz")
