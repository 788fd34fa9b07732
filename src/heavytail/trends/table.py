"""Models with their metrics and their quality: what every trend is computed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ModelTable"]


@dataclass(frozen=True, slots=True)
class ModelTable:
    """Models with their metrics and their quality.

    Attributes:
        models: the name of each model, n of them.
        groups: of each model, the series it belongs to; several grouping columns are joined by " · ".
        metrics: by name, (n,) numbers of the models; NaN where a model has none. Infinite ones are left out.
        quality: (n,) figures of quality, as given.
        quality_name: what they are, such as "top1_accuracy".
        higher_is_better: whether the larger figure is the better one.
        notes: what was left out or chosen for the reader, and why.
    """

    models: tuple[str, ...]
    groups: tuple[str, ...]
    metrics: Mapping[str, NDArray[np.float64]]
    quality: NDArray[np.float64]
    quality_name: str
    higher_is_better: bool
    notes: tuple[str, ...] = ()
