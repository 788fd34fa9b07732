"""What can be measured of a trained network beyond its looks, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from heavytail.errors import RequestError
from heavytail.lab.looking import Tensors
from heavytail.lab.recipe import Recipe

__all__ = ["PROBES", "probe"]

Probe = Callable[[nn.Module, Mapping[str, Tensors], Recipe], dict[str, float]]

_EXAMPLES = 2_000


def _sharpness(module: nn.Module, parts: Mapping[str, Tensors], recipe: Recipe) -> dict[str, float]:
    """Keskar's sharpness, in the full space and in a random subspace of 100 dimensions."""
    from heavytail.lab.flatness import sharpness

    inputs, labels = (part[:_EXAMPLES] for part in parts["train"])
    spaces = {"sharpness": None, "sharpness_100": 100}
    return {
        name: sharpness(module, inputs, labels, dimension=dimension, loss=recipe.loss, seed=recipe.seed).value
        for name, dimension in spaces.items()
    }


def _hessian(module: nn.Module, parts: Mapping[str, Tensors], recipe: Recipe) -> dict[str, float]:
    """The largest eigenvalue of the Hessian of the training loss."""
    from heavytail.lab.hessian import top_eigenvalues

    inputs, labels = (part[:_EXAMPLES] for part in parts["train"])
    return {"hessian_max": float(top_eigenvalues(module, inputs, labels, loss=recipe.loss, seed=recipe.seed).values[0])}


PROBES: dict[str, Probe] = {"sharpness": _sharpness, "hessian": _hessian}
"""Each gives numbers by the name of their column."""


def probe(module: nn.Module, parts: Mapping[str, Tensors], recipe: Recipe) -> dict[str, float]:
    """Measure what the recipe's probes say.

    Raises:
        RequestError: if there is no such probe.
    """
    measured: dict[str, float] = {}
    for name in recipe.probes.split():
        if name not in PROBES:
            raise RequestError(f"no probe {name!r}; there are {', '.join(PROBES)}")
        measured |= PROBES[name](module, parts, recipe)
    return measured
