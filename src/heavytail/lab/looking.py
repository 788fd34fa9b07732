"""What is recorded of a network while it is trained: its errors, its spectra and its capacity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from heavytail.analysis import analyze
from heavytail.errors import RequestError
from heavytail.lab.complexity import capacity

__all__ = ["Tensors", "look_epochs", "look_errors", "look_network", "look_spectra"]

Tensors = tuple[Tensor, Tensor]
"""Inputs (n, ...) and labels (n,)."""

_CHUNK = 250  # examples: what a convolution makes of them stays in a processor's cache
_CAPACITY_EXAMPLES = 2_000


def look_epochs(epochs: int, looks: int) -> tuple[int, ...]:
    """Choose the epochs at which to look: the first ones, then evenly in the log of time, and the last.

    Args:
        epochs: the last epoch, >= 0; 0 is the initial state.
        looks: how many at most, >= 2.

    Example:
        >>> look_epochs(100, 8)
        (0, 1, 2, 5, 10, 22, 46, 100)
    """
    if epochs < looks:
        return tuple(range(epochs + 1))
    chosen = {0, epochs}
    for count in range(2, 3 * looks):
        spaced = {0, *np.round(np.geomspace(1, epochs, count)).astype(int).tolist()}
        if len(chosen) < len(spaced) <= looks:
            chosen = spaced
    return tuple(sorted(chosen))


@torch.no_grad()
def look_errors(module: nn.Module, examples: Tensors, loss: Any) -> tuple[float, float]:
    """Measure the mean loss and the accuracy of a network in evaluation mode, NaN of no examples.

    Example:
        >>> look_errors(nn.Identity(), (torch.eye(2), torch.tensor([0, 0])), nn.functional.cross_entropy)[1]
        0.5
    """
    inputs, labels = examples
    if not len(labels):
        return math.nan, math.nan
    was_training = module.training
    module.eval()
    total = right = 0.0
    for x, y in zip(torch.split(inputs, _CHUNK), torch.split(labels, _CHUNK), strict=True):
        logits = module(x)
        total += float(loss(logits, y)) * len(y)
        right += int((logits.argmax(1) == y).sum())
    module.train(was_training)
    return total / len(labels), right / len(labels)


def look_network(module: nn.Module, parts: Mapping[str, Tensors], loss: Any) -> dict[str, float]:
    """Measure what a table has of a whole network: loss and accuracy of each part of the data, and its capacity."""
    row: dict[str, float] = {}
    for name, examples in parts.items():
        row[f"{name}_loss"], row[f"{name}_accuracy"] = look_errors(module, examples, loss)
    if not math.isfinite(row["train_loss"]):
        return row  # what has diverged has no capacity
    inputs, labels = parts["train"]
    measured = capacity(module, inputs[:_CAPACITY_EXAMPLES], labels[:_CAPACITY_EXAMPLES])
    return row | measured.as_dict()


def look_spectra(module: nn.Module, layers: str) -> list[dict[str, Any]]:
    """Analyse the matrices whose names match one of the globs: their rows of the table, and their eigenvalues.

    Raises:
        RequestError: if none matches.
    """
    globs = layers.split()
    matrices: dict[str, NDArray[np.float32]] = {
        name.removesuffix(".weight"): parameter.detach().cpu().numpy()
        for name, parameter in module.named_parameters()
        if parameter.ndim > 1 and any(fnmatchcase(name.removesuffix(".weight"), glob) for glob in globs)
    }
    if not matrices:
        names = [name for name, parameter in module.named_parameters() if parameter.ndim > 1]
        raise RequestError(f"layers is {layers!r}, which matches none of {', '.join(names)}")
    report = analyze(matrices, jobs=1)
    return [_row(row.as_dict(), report.spectra) for row in report.rows]


def _row(row: Mapping[str, Any], spectra: Mapping[str, Any]) -> dict[str, Any]:
    spectrum = spectra.get(row["name"])
    evals: Sequence[float] = [] if spectrum is None else spectrum.evals.tolist()
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in row.items()}
    return {"layer": plain.pop("name"), **plain, "evals": evals}
