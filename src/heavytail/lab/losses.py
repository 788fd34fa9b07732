"""The losses that networks are trained with, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from heavytail.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LOSSES", "loss_of"]


def _mean_square(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over examples and classes of (softmax - one-hot)^2, as the papers' Keras networks have it."""
    from torch.nn import functional

    wanted = functional.one_hot(labels, logits.shape[1]).to(logits.dtype)
    return functional.mse_loss(logits.softmax(1), wanted)


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.cross_entropy(logits, labels)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": _mean_square, "cross-entropy": _cross_entropy}
"""From logits (n, classes) and labels (n,) to a number."""


def loss_of(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Give the loss of a name: "mse", of the probabilities against one-hot labels, or "cross-entropy", both means.

    Raises:
        RequestError: if there is no such loss.

    Example:
        >>> import torch
        >>> round(float(loss_of("mse")(torch.zeros(1, 2), torch.tensor([0]))), 6)
        0.25
    """
    if name not in LOSSES:
        raise RequestError(f"no loss {name!r}; there are {', '.join(LOSSES)}")
    return LOSSES[name]
