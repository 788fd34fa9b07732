"""A mapping from names to arrays: what a user has in memory."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Number
from typing import Any

import numpy as np

from heavytail.weights.faults import quoted
from heavytail.weights.formats.memory import array_tensor, is_torch_tensor, torch_tensor
from heavytail.weights.formats.wrappers import find_weights
from heavytail.weights.tensor import Tensor

__all__ = ["read_mapping"]

_ORIGIN = "mapping"


def read_mapping(values: Mapping[Any, Any]) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    """Describe the arrays in a mapping: numpy arrays, torch tensors, lists of numbers, and mappings of these.

    Returns:
        The tensors, and notes on what was left out.
    """
    tensors, odd = [], []
    found = find_weights(_with_lists(values), _is_array)
    for name, value in found.items:
        if is_torch_tensor(value):
            tensors.append(torch_tensor(name, value, _ORIGIN))
            continue
        try:
            tensors.append(array_tensor(name, np.asarray(value), _ORIGIN))
        except (TypeError, ValueError):  # a list whose rows differ in length
            odd.append(name)
    notes = [f"left out: {quoted(name)}, which is no array of numbers" for name in odd]
    return tuple(tensors), (*found.notes, *notes)


class _Written(list[Any]):
    """A list that is an array written out."""


def _with_lists(values: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Mark the lists that are arrays. Where mappings stand beside them it is a checkpoint, whose lists are records."""
    if any(isinstance(value, Mapping) for value in values.values()):
        return values
    return {
        key: _Written(value) if isinstance(value, list | tuple) and _holds_numbers(value) else value
        for key, value in values.items()
    }


def _is_array(value: object) -> bool:
    if isinstance(value, np.ndarray | np.generic) or is_torch_tensor(value):
        return True
    return isinstance(value, _Written) or all(hasattr(value, name) for name in ("__array__", "shape", "dtype"))


def _holds_numbers(value: list[Any] | tuple[Any, ...]) -> bool:
    """Say whether a list is an array written out: its first innermost item is a number."""
    item: Any = value
    for _ in range(8):
        if not isinstance(item, list | tuple) or not item:
            break
        item = item[0]
    return isinstance(item, Number) and not isinstance(item, np.generic)
