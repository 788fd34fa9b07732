"""Minima that small and large batches find: how sharp they are, and how they generalise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf, log10, nan
from typing import TYPE_CHECKING

from heavytail.lab.experiments.experiment import Experiment, Measured, Published, Size
from heavytail.lab.experiments.tables import difference, each_seed, each_tau, last, of_layer, of_network
from heavytail.lab.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EXPERIMENTS"]

_FULL = Recipe(
    network="mlp3",
    data="fashion-mnist",
    optimiser="adam",
    rate=1e-3,
    epochs=60,
    loss="cross-entropy",
    looks=5,
    layers="fc2",
    probes="sharpness hessian",
)
_QUICK = replace(_FULL, data="digits", epochs=12, train=1_000, test=597, looks=2)
_BASES = {
    "quick": (_QUICK, replace(_QUICK, network="lenet5", layers="fc1")),
    "full": (_FULL, replace(_FULL, network="lenet5", layers="fc1", halved=True)),
}
_BATCHES = {"quick": (10, 100), "full": (50, 256, 1_000)}  # the largest is a tenth of the examples
_SEEDS = {"quick": 2, "full": 3}
_LAYER = {"mlp3": "fc2", "lenet5": "fc1"}


def _trials(size: Size) -> dict[str, Recipe]:
    return {
        f"{base.network}-b{batch}-s{seed}": replace(base, batch=batch, seed=seed)
        for seed in range(_SEEDS[size])
        for base in _BASES[size]
        for batch in _BATCHES[size]
    }


def _measure(table: pd.DataFrame) -> Mapping[str, Measured]:
    """Compare the smallest and the largest batch, in each network by itself."""
    ends = last(table)
    return {
        f"{name}, {network}": measured
        for network, layer in _LAYER.items()
        for name, measured in _compare(ends[ends["network"] == network], layer).items()
    }


def _compare(ends: pd.DataFrame, layer: str) -> dict[str, Measured]:
    network, matrix = of_network(ends), of_layer(ends, layer)
    if ends["batch"].nunique() < 2:
        return {}
    small, large = ends["batch"].min(), ends["batch"].max()

    def log_ratio(column: str) -> Measured:
        return each_seed(network, lambda rows: _log_ratio(rows, column, large, small))

    def less(rows: pd.DataFrame, column: str) -> Measured:
        """Give a column at the small batch less that at the large one."""
        return each_seed(rows, lambda seed: difference(seed, column, "batch", small, large))

    return {
        "least training accuracy": each_seed(network, lambda rows: float(rows["train_accuracy"].min())),
        "log10 ratio of sharpness": log_ratio("sharpness"),
        "log10 ratio of sharpness in a subspace": log_ratio("sharpness_100"),
        "log10 ratio of Hessian": log_ratio("hessian_max"),
        "tau of batch and sharpness": each_tau(network, "batch", "sharpness"),
        "gain in test accuracy": less(network, "test_accuracy"),
        "change of soft rank": less(matrix, "mp_softrank"),
        "change of alpha": less(matrix, "alpha"),
    }


def _log_ratio(rows: pd.DataFrame, column: str, of: int, to: int) -> float:
    """Give log10 of the ratio of a positive column at two batches, NaN where one lacks or is not positive."""
    if column not in rows:
        return nan
    values = rows.set_index("batch")[column]
    pair = [float(values.get(batch, nan)) for batch in (of, to)]
    return log10(pair[0] / pair[1]) if min(pair) > 0 else nan


def _statements(network: str, sharpness: str, gain: str) -> tuple[Published, ...]:
    says: tuple[tuple[str, float, float, str, str], ...] = (
        ("least training accuracy", 0.99, inf, "both batches fit the training data", "99 % and more"),
        ("log10 ratio of sharpness", 1e-9, inf, "large batches find sharper minima", sharpness),
        ("log10 ratio of sharpness in a subspace", 1e-9, inf, "so they are in a random subspace of 100 dimensions", ""),
        (
            "log10 ratio of Hessian",
            1e-9,
            6,
            "the largest eigenvalue of the Hessian grows with the batch (Yao et al.)",
            "",
        ),
        ("gain in test accuracy", 1e-9, inf, "small batches generalise better", gain),
        ("change of soft rank", -inf, -1e-9, "small batches leave a smaller soft rank (Martin and Mahoney)", ""),
        ("change of alpha", -inf, -1e-9, "small batches leave heavier tails (Martin and Mahoney)", ""),
    )
    return tuple(
        Published(f"{measure}, {network}", low, high, f"{text} ({network})", figures)
        for measure, low, high, text, figures in says
    )


EXPERIMENTS = (
    Experiment(
        "T7",
        "Sharpness of small- and large-batch minima",
        "Keskar et al. 2017, arXiv 1609.04836, tables 2 to 4; Yao et al. 2018, arXiv 1802.08241",
        "An MLP and LeNet5 are trained by Adam with small batches and with a tenth of the data in a batch, until both "
        "fit the training data; then the loss is maximised in a small box around the weights.",
        _trials,
        _measure,
        (
            *_statements("mlp3", "F1: 1.23 at 256 against 205", "F1: .9803 against .9781"),
            *_statements("lenet5", "C1: 28.6 at 256 against 707", "C1: .8004 against .7726"),
        ),
        "batch",
        minutes=0,
        differs="Fashion-MNIST, 10,000 images, for LeNet5 averaged to 14 x 14, instead of MNIST and CIFAR-10; the "
        "small batch is 50, the half per cent of the examples that 256 was, and 256 lies between; F1 had six layers "
        "with batch normalisation, C1 was an AlexNet; 60 epochs, not until the loss stands still; the sharpness is "
        "that of 2,000 training examples.",
    ),
)
