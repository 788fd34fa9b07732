"""Along training: how spectra leave the noise, and which measures of capacity follow the test error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import inf, nan, pi
from typing import TYPE_CHECKING

import numpy as np

from heavytail.lab.experiments.experiment import Experiment, Measured, Published, Size, over_seeds
from heavytail.lab.experiments.tables import each_seed, each_tau, last, of_layer, of_network
from heavytail.lab.experiments.tables import rank_correlation as tau
from heavytail.lab.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CAPACITIES", "EXPERIMENTS", "quarter_circle_distance"]

_DIGITS = Recipe(network="mlp3", data="digits", train=1_000, test=597, looks=8)
_FASHION = Recipe(network="mlp3", data="fashion-mnist", looks=12)
_DATA = {"quick": _DIGITS, "full": _FASHION}

_MLP3 = {
    "quick": replace(_DIGITS, layers="fc2 fc3", epochs=60),
    "full": replace(_FASHION, layers="fc2 fc3", epochs=90, looks=24),
}
_ALEXNET = {
    size: replace(base, network="minialexnet", layers="fc1 fc2", rate=0.05, epochs=20, looks=10)
    for size, base in _DATA.items()
}
_ADADELTA = {
    size: replace(base, network="lenet5", layers="fc1", optimiser="adadelta", loss="cross-entropy", rate=1.0)
    for size, base in _DATA.items()
}
_LENET5 = {
    "quick": replace(_ADADELTA["quick"], batch=32, epochs=20),
    "full": replace(_ADADELTA["full"], batch=128, epochs=10, train=60_000, test=10_000),
}
_TO_FIT = {
    "quick": replace(_DIGITS, loss="cross-entropy", rate=0.02, batch=32, epochs=50),
    "full": replace(_FASHION, loss="cross-entropy", rate=0.02, decay=0.97, batch=64, epochs=80),
}
_SEEDS = {"quick": 2, "full": 3}
_FRACTIONS = {"quick": (0.0, 0.3, 0.6, 1.0), "full": (0.0, 0.25, 0.5, 0.75, 1.0)}
_BATCHES = {"quick": (8, 128), "full": (16, 256, 1000)}  # beside that of the noisy ones


def _seeds(bases: Mapping[str, Recipe], size: Size) -> dict[str, Recipe]:
    return {f"s{seed}": replace(bases[size], seed=seed) for seed in range(_SEEDS[size])}


def _by_noise_and_batch(size: Size) -> dict[str, Recipe]:
    base = _TO_FIT[size]
    kinds = {f"p{fraction:g}": replace(base, randomised=fraction) for fraction in _FRACTIONS[size]}
    kinds |= {f"b{batch}": replace(base, batch=batch) for batch in _BATCHES[size]}
    return {
        f"{kind}-s{seed}": replace(recipe, seed=seed) for seed in range(_SEEDS[size]) for kind, recipe in kinds.items()
    }


def quarter_circle_distance(evals: Sequence[float]) -> float:
    """Measure how far the singular values of a square matrix are from the quarter circle of their mean square.

    Args:
        evals: eigenvalues of W^T W, not negative.

    Returns:
        The Kolmogorov-Smirnov distance from the law of density sqrt(R^2 - s^2) 4 / (pi R^2), R^2 / 4 the mean of the
        eigenvalues; NaN of none.

    Example:
        >>> W = np.random.default_rng(0).standard_normal((400, 400))
        >>> quarter_circle_distance(np.linalg.eigvalsh(W.T @ W).clip(0)) < 0.01
        True
    """
    values = np.sqrt(np.sort(np.asarray(evals, dtype=float)))
    if not len(values) or not values[-1] > 0:
        return nan
    x = np.minimum(values / (2 * np.sqrt(np.mean(values**2))), 1)
    law = (np.arcsin(x) + x * np.sqrt(1 - x * x)) * 2 / pi
    steps = np.arange(len(x) + 1) / len(x)
    return float(max(np.max(steps[1:] - law), np.max(law - steps[:-1])))


def _start(rows: pd.DataFrame) -> pd.DataFrame:
    """Give the rows of the initial networks."""
    return rows[rows["epoch"] == 0]


def _first(rows: pd.DataFrame, column: str) -> float:
    return float(rows[column].iloc[0]) if len(rows) else nan


def _spectrum(table: pd.DataFrame, layer: str) -> dict[str, Measured]:
    """Measure how the spectrum of a layer begins, goes on and ends."""
    rows, name = of_layer(table, layer), layer.upper()
    start, end = _start(rows), last(rows)

    def change(own: pd.DataFrame) -> float:
        return _first(last(own), "entropy") - _first(_start(own), "entropy")

    def ratio(own: pd.DataFrame) -> float:
        return _first(last(own), "stable_rank") / _first(_start(own), "stable_rank")

    return {
        f"initial soft rank, {name}": each_seed(start, partial(_first, column="mp_softrank")),
        f"initial entropy, {name}": each_seed(start, partial(_first, column="entropy")),
        f"initial stable rank, {name}": each_seed(start, partial(_first, column="stable_rank")),
        f"tau of time and entropy, {name}": each_tau(rows, "epoch", "entropy"),
        f"tau of time and stable rank, {name}": each_tau(rows, "epoch", "stable_rank"),
        f"change of entropy, {name}": each_seed(rows, change),
        f"ratio of stable ranks, {name}": each_seed(rows, ratio),
        f"final soft rank, {name}": each_seed(end, partial(_first, column="mp_softrank")),
        f"final spikes, {name}": each_seed(end, partial(_first, column="num_spikes")),
        f"final largest eigenvalue, {name}": each_seed(end, partial(_first, column="lambda_max")),
    }


def _curves(table: pd.DataFrame) -> dict[str, Measured]:
    """Measure how the accuracies end, and how they change from the middle of the time on."""
    network = of_network(table)
    end = last(network)
    late = network[network["epoch"] >= network["epoch"].max() / 2]

    def change(own: pd.DataFrame, column: str) -> float:
        return _first(last(own), column) - float(own.sort_values("epoch")[column].iloc[0]) if len(own) > 1 else nan

    return {
        "training accuracy": each_seed(end, partial(_first, column="train_accuracy")),
        "test accuracy": each_seed(end, partial(_first, column="test_accuracy")),
        "late change of training accuracy": each_seed(late, partial(change, column="train_accuracy")),
        "late change of test accuracy": each_seed(late, partial(change, column="test_accuracy")),
    }


def _measure_mlp3(table: pd.DataFrame) -> Mapping[str, Measured]:
    start = of_layer(_start(table), "fc2")
    circle = each_seed(start, lambda rows: quarter_circle_distance(rows["evals"].iloc[0]))
    return {
        **_curves(table),
        **_spectrum(table, "fc2"),
        **_spectrum(table, "fc3"),
        "distance from the quarter circle, FC2": circle,
        "initial largest singular value, FC2": each_seed(start, lambda rows: _first(rows, "lambda_max") ** 0.5),
    }


def _measure_alexnet(table: pd.DataFrame) -> Mapping[str, Measured]:
    return {**_curves(table), **_spectrum(table, "fc1"), **_spectrum(table, "fc2")}


def _measure_lenet5(table: pd.DataFrame) -> Mapping[str, Measured]:
    end = of_layer(last(table), "fc1")
    spiked = end.assign(spiked=end["phase"].isin(["bulk+spikes", "bleeding-out"]).astype(float))
    share = each_seed(end.assign(share=end["num_spikes"] / end["M"]), partial(_first, column="share"))
    return {
        **_curves(table),
        **_spectrum(table, "fc1"),
        "share of spikes, FC1": share,
        "bulk+spikes or bleeding-out, FC1": each_seed(spiked, partial(_first, column="spiked")),
    }


CAPACITIES = {
    "normalised_loss": "the normalised loss",
    "log_frobenius_product": "the Frobenius product",
    "log_spectral_product": "the spectral product",
    "log_path_norm": "the path norm",
    "frobenius_margin_mean": "the Frobenius margin",
    "spectral_margin_mean": "the spectral margin",
    "alpha": "alpha",
    "alpha_weighted": "alpha-hat",
}
"""Columns that may tell the test error, and what they are."""


def _followed(table: pd.DataFrame) -> pd.DataFrame:
    """Give the rows of whole networks with the test error, and the means over layers of alpha and alpha-hat."""
    network = of_network(table).drop(columns=["alpha", "alpha_weighted"], errors="ignore")
    layers = table[table["layer"] != ""].groupby(["trial", "epoch"], as_index=False)[["alpha", "alpha_weighted"]].mean()
    return network.assign(test_error=1 - network["test_accuracy"]).merge(layers, "left", ["trial", "epoch"])


def _measure_capacity(table: pd.DataFrame) -> Mapping[str, Measured]:
    followed = _followed(table)
    ends = last(followed)
    batch = followed.loc[followed["randomised"] > 0, "batch"].unique()
    noisy = ends[ends["batch"].isin(batch)]
    clean = ends[ends["randomised"] == 0]
    trained = followed[(followed["epoch"] > 0) & followed["batch"].isin(batch)]
    across: dict[str, Measured] = {}
    for column, name in CAPACITIES.items():

        def along(rows: pd.DataFrame, column: str = column) -> float:
            return float(np.nanmean(taus)) if (taus := _taus(rows, column)) else nan

        across |= {
            f"tau of {name} across noise": each_tau(noisy, column, "test_error"),
            f"tau of {name} across batches": each_tau(clean, column, "test_error"),
            f"tau of {name} along training": over_seeds([along(rows) for _, rows in trained.groupby("seed")], -1, 1),
        }
    return across


def _taus(rows: pd.DataFrame, column: str) -> list[float]:
    """Give Kendall's tau with the test error along each training that has one."""
    found = [tau(own[column], own["test_error"]) for _, own in rows.groupby("trial")]
    return [value for value in found if value == value]


_PAPER = "Martin and Mahoney 2018, arXiv 1810.01075"
_LIAO = "Liao et al. 2018, arXiv 1807.09659"


def _spectrum_statements(layer: str, entropy: str, rank: str, low: float, high: float) -> tuple[Published, ...]:
    return (
        Published(f"initial soft rank, {layer}", 0.95, 1.05, f"{layer} begins as noise", "1.0"),
        Published(f"tau of time and entropy, {layer}", -inf, -0.6, f"the entropy of {layer} falls along training"),
        Published(f"tau of time and stable rank, {layer}", -inf, -0.6, "so does its stable rank"),
        Published(f"change of entropy, {layer}", -0.05, -0.0005, "the entropy by little", entropy),
        Published(f"ratio of stable ranks, {layer}", low, high, "the stable rank by much", rank),
    )


EXPERIMENTS = (
    Experiment(
        "E1",
        "MLP3 along training",
        f"{_PAPER}, section 3; notebook MLP3-Basline",
        "Three layers of 512 units are trained with a small rate; the two 512 x 512 matrices, which the paper calls "
        "FC1 and FC2, are FC2 and FC3 here.",
        partial(_seeds, _MLP3),
        _measure_mlp3,
        (
            Published(
                "distance from the quarter circle, FC2", 0, 0.02, "the singular values begin as a quarter circle"
            ),
            Published(
                "initial largest singular value, FC2",
                1.7,
                1.82,
                "up to twice 0.88, the sd of the clipped normal",
                "1.76",
            ),
            *_spectrum_statements("FC2", ".9163 - .9196", "98 / 129", 0.5, 0.95),
            *_spectrum_statements("FC3", ".9074 - .9196", "62 / 129", 0.25, 0.75),
            Published(
                "late change of training accuracy", 1e-9, inf, "the training accuracy still rises in the second half"
            ),
            Published("late change of test accuracy", -0.02, 0.02, "when that of the test is flat", "from .53 to .52"),
        ),
        "seed",
        minutes=0,
        differs="Fashion-MNIST, 10,000 images, 90 epochs at a constant rate of 0.01, so that the sum of the rates of "
        "all steps is that of CIFAR-10's 45 epochs at 0.01 x 0.95^epoch.",
    ),
    Experiment(
        "E16",
        "MiniAlexNet along training",
        f"{_PAPER}, section 5; notebook AlexNet-Baseline",
        "MiniAlexNet is trained without a regulariser with batches of 16.",
        partial(_seeds, _ALEXNET),
        _measure_alexnet,
        (
            Published("initial entropy, FC1", 0.991, 0.993, "the entropy that noise of this shape has", ".992"),
            Published("initial stable rank, FC1", 211, 233, "and its stable rank", "222"),
            *_spectrum_statements("FC1", ".9895 - .992", "149 / 222", 0.5, 0.85),
            *_spectrum_statements("FC2", ".9455 - .9525", "51 / 67", 0.55, 0.95),
            Published("final spikes, FC1", 7, 11, "it ends with one spike fewer than classes", "9"),
            Published("final spikes, FC2", 7, 11, "in both layers", "9"),
            Published("training accuracy", 0.985, inf, "all but few training examples are fitted", ".995"),
        ),
        "seed",
        minutes=0,
        differs="Fashion-MNIST, 10,000 images, 20 epochs at a constant rate of 0.05, so that the sum of the rates of "
        "all steps is that of CIFAR-10's 100 epochs at 0.01 x 0.95^epoch.",
    ),
    Experiment(
        "E6",
        "LeNet5",
        f"{_PAPER}, section 4; notebook LeNet5",
        "LeNet5 is trained with Adadelta, batches of 128 and ten epochs; FC1 is 2450 x 500.",
        partial(_seeds, _LENET5),
        _measure_lenet5,
        (
            Published("initial soft rank, FC1", 0.95, 1.05, "FC1 begins as noise", "1.0"),
            Published("final soft rank, FC1", 0.08, 0.25, "the largest eigenvalue ends far beyond the bulk", ".15"),
            Published("share of spikes, FC1", 0.02, 0.1, "a twentieth of the eigenvalues are beyond it", ".0526"),
            Published(
                "bulk+spikes or bleeding-out, FC1", 0.99, inf, "the phase is bulk+spikes, with slight bleeding-out"
            ),
            Published("test accuracy", 0.88, inf, "as such networks do on these images", "MNIST: .9924"),
        ),
        "seed",
        minutes=0,
        differs="Fashion-MNIST with all 60,000 images, which are harder to tell than MNIST's digits.",
    ),
    Experiment(
        "T15",
        "Which measure of capacity follows the test error?",
        f"{_LIAO}; Bartlett, Foster and Telgarsky 2017, arXiv 1706.08498; Neyshabur et al. 2017, arXiv 1706.08947",
        "MLP3 is trained to fit labels of which 0 to 100 % are random, and true ones with several batches. Norms, "
        "margins and alpha are compared with the test error along training and across the trained networks.",
        _by_noise_and_batch,
        _measure_capacity,
        (
            Published(
                "tau of the normalised loss across noise", 0.8, inf, "the normalised training loss orders test errors"
            ),
            Published("tau of the Frobenius margin across noise", -inf, -0.8, "larger normalised margins err less"),
            Published("tau of the spectral margin across noise", -inf, -0.8, "over the spectral product too"),
            Published("tau of the Frobenius product across noise", 0.8, inf, "more noise takes larger norms to fit"),
            Published("tau of the spectral product across noise", 0.8, inf, "larger spectral norms too"),
            Published("tau of the path norm across noise", 0.8, inf, "and longer paths"),
            Published("tau of the normalised loss across batches", 0.6, inf, "the loss orders networks of true labels"),
            Published("tau of the normalised loss along training", 0.6, inf, "and the epochs of a training"),
            Published("tau of alpha across batches", 0.6, inf, "a smaller alpha errs less"),
            Published("tau of alpha-hat across batches", 0.6, inf, "and a smaller alpha-hat"),
        ),
        "randomised",
        minutes=0,
        differs="Fashion-MNIST, 10,000 images; networks have biases. Along training the initial networks are left out.",
    ),
)
