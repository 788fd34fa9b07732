"""Random labels and random pixels: what a network memorises, and what stopping early saves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from math import inf, nan
from typing import TYPE_CHECKING

import numpy as np

from heavytail.lab.data.noise import PIXELS
from heavytail.lab.experiments.experiment import Experiment, Measured, Published, Size
from heavytail.lab.experiments.tables import each_seed, each_tau, last, of_layer, of_network
from heavytail.lab.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EXPERIMENTS", "early_stopped", "predicted_gains"]

_QUICK = Recipe(
    network="mlp3",
    data="digits",
    loss="cross-entropy",
    rate=0.02,
    batch=32,
    epochs=45,
    train=800,
    validation=400,
    test=597,
    looks=16,
    layers="fc2",
)
_FULL = Recipe(
    network="mlp3",
    data="fashion-mnist",
    loss="cross-entropy",
    rate=0.02,
    decay=0.97,
    batch=64,
    epochs=80,
    validation=2_000,
    looks=40,
    layers="fc2",
)
_ALEXNET = {
    "quick": replace(_QUICK, network="minialexnet", batch=16, epochs=60, looks=4, layers="fc1"),
    "full": replace(
        _FULL, network="minialexnet", train=2_000, batch=16, epochs=100, looks=10, layers="fc1", halved=True
    ),
}

_FRACTIONS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_SEEDS = {"quick": 2, "full": 3}
_FITTED = 0.95  # of the training labels: the time to get there is that of fitting them
_LOAD = 2.0  # of the model: the largest at which any labels can be fitted, as the network fits them


def _by_noise(size: Size) -> dict[str, Recipe]:
    base = {"quick": _QUICK, "full": _FULL}[size]
    return {
        f"p{fraction:g}-s{seed}": replace(base, randomised=fraction, seed=seed)
        for seed in range(_SEEDS[size])
        for fraction in _FRACTIONS
    }


def _by_pixels(size: Size) -> dict[str, Recipe]:
    base = {"quick": _QUICK, "full": replace(_FULL, looks=20)}[size]
    return {
        f"{pixels}-s{seed}": replace(base, pixels=pixels, seed=seed)
        for seed in range(_SEEDS[size])
        for pixels in PIXELS
    }


def _alexnets(size: Size) -> dict[str, Recipe]:
    return {
        f"p{fraction:g}-s{seed}": replace(_ALEXNET[size], randomised=fraction, seed=seed)
        for seed in range({"quick": 1, "full": 3}[size])
        for fraction in (0.0, 1.0)
    }


def predicted_gains(fractions: Iterable[float], load: float = _LOAD) -> dict[float, float]:
    """Predict what stopping early saves of the generalisation error of a perceptron, by the fraction of random labels.

    The student that is trained to the end is that of the widest margin, where gradient descent on the logistic loss
    goes (Soudry et al. 2018). The one that is stopped is taken to err as the best ridge regression, from which the
    best time differs little. Of two classes, a fraction p of random labels is a fraction p/2 of wrong ones. The model
    is of one layer and two classes, and its load is not known of a network: signs and order can be compared, sizes
    cannot.

    Args:
        fractions: of the labels that are random, in [0, 1].
        load: examples per weight, in (0, 2]: above, random labels are not fitted.

    Returns:
        The error at the end less the error at the best time, by the fraction.

    Example:
        >>> {p: round(gain, 3) for p, gain in predicted_gains([0, 0.4, 1]).items()}
        {0: 0.002, 0.4: 0.064, 1: 0.0}
    """
    from heavytail.learning import MaximumStability, RidgeClassifier

    def gain(noise: float) -> float:
        return float(MaximumStability(noise).solve(load).error - RidgeClassifier(noise).solve(load).error)

    return {fraction: gain(fraction / 2) for fraction in fractions}


def early_stopped(table: pd.DataFrame) -> pd.DataFrame:
    """Give the last row of each network, beside what it was when it was best on the validation examples.

    Returns:
        A row for each trial, with `stopped_epoch`, `stopped_test_accuracy`, `gain` in test accuracy over the last
        epoch, and `fitted_epoch`, the first look at which 95 % of the training labels are fitted; NaN if none is.
    """
    network = of_network(table)
    ends = of_network(last(table)).set_index("trial")
    known = network.dropna(subset=["validation_accuracy"])
    best = known.loc[known.groupby("trial")["validation_accuracy"].idxmax()].set_index("trial")
    fitted = network[network["train_accuracy"] >= _FITTED].groupby("trial")["epoch"].min()
    return ends.assign(
        stopped_epoch=best["epoch"],
        stopped_test_accuracy=best["test_accuracy"],
        gain=best["test_accuracy"] - ends["test_accuracy"],
        fitted_epoch=fitted,
    )


def _only(rows: pd.DataFrame, column: str) -> float:
    """Give the value of the only row, NaN where there is none."""
    return float(rows[column].iloc[0]) if len(rows) else nan


def _measure_noise(table: pd.DataFrame) -> Mapping[str, Measured]:
    ends = early_stopped(table)
    fc2 = of_layer(last(table), "fc2")
    some, pure = ends[ends["randomised"] < 1], ends[ends["randomised"] == 1]
    model = predicted_gains(ends["randomised"].unique())
    ends = ends.assign(predicted=ends["randomised"].map(model))
    middle = ends[np.isclose(ends["randomised"], 0.4)]
    return {
        "training accuracy, all labels random": each_seed(pure, partial(_only, column="train_accuracy")),
        "test accuracy, all labels random": each_seed(pure, partial(_only, column="test_accuracy")),
        "tau of noise and time to fit": each_tau(ends, "randomised", "fitted_epoch"),
        "tau of noise and test accuracy": each_tau(ends, "randomised", "test_accuracy"),
        "tau of noise and gain": each_tau(some, "randomised", "gain"),
        "gain at 0.4": each_seed(middle, partial(_only, column="gain")),
        "gain, all labels random": each_seed(pure, partial(_only, column="gain")),
        "tau of the model's gain and the gain": each_tau(ends, "predicted", "gain"),
        "tau of noise and soft rank": each_tau(fc2, "randomised", "mp_softrank"),
    }


def _measure_pixels(table: pd.DataFrame) -> Mapping[str, Measured]:
    ends = of_network(last(table))
    kinds = {kind: ends[ends["pixels"] == kind] for kind in PIXELS}
    return {
        f"{part} accuracy, {kind} pixels": each_seed(rows, partial(_only, column=column))
        for part, column in (("training", "train_accuracy"), ("test", "test_accuracy"))
        for kind, rows in kinds.items()
    }


def _measure_alexnet(table: pd.DataFrame) -> Mapping[str, Measured]:
    ends = of_network(last(table))
    kinds = {"true": ends[ends["randomised"] == 0], "random": ends[ends["randomised"] == 1]}
    return {
        f"{part} accuracy, {kind} labels": each_seed(rows, partial(_only, column=column))
        for part, column in (("training", "train_accuracy"), ("test", "test_accuracy"))
        for kind, rows in kinds.items()
    }


_ZHANG = "Zhang et al. 2016, arXiv 1611.03530"
_MARTIN = "Martin and Mahoney 2017, arXiv 1710.09553"

EXPERIMENTS = (
    Experiment(
        "T6",
        "Random labels, memorised or stopped early",
        f"{_ZHANG}, figure 1 and table 1; {_MARTIN}, path A, B, C",
        "MLP3 is trained on labels of which 0 to 100 % are random, until it has fitted all; the validation labels, "
        "which choose the epoch to stop at, are clean.",
        _by_noise,
        _measure_noise,
        (
            Published("training accuracy, all labels random", 0.995, inf, "random labels are fitted", "1.0"),
            Published("test accuracy, all labels random", 0.08, 0.12, "from which nothing is learnt", ".1048"),
            Published("tau of noise and time to fit", 0.8, inf, "the more labels are random, the longer fitting takes"),
            Published("tau of noise and test accuracy", -inf, -0.8, "the test accuracy falls with the noise"),
            Published("gain at 0.4", 1e-9, inf, "with wrong labels stopping early is better (from B to C)"),
            Published("tau of noise and gain", 0.8, inf, "and the more so, the more of them, as long as any are right"),
            Published("gain, all labels random", -0.03, 0.03, "but there is nothing to gain where all are random"),
            Published(
                "tau of the model's gain and the gain",
                0.6,
                1,
                "the gains are ordered as those of a perceptron that fits its labels",
                "it gains most at a fraction of 0.4",
            ),
        ),
        "randomised",
        minutes=0,
        differs="Fashion-MNIST, 10,000 images, cross-entropy, a rate that falls by 3 % an epoch, by 5 % in "
        "the paper. The model is a perceptron of two classes at load 2; of networks it predicts signs and order only.",
    ),
    Experiment(
        "T6-pixels",
        "Random pixels, memorised",
        f"{_ZHANG}, figure 1",
        "MLP3 is trained on true labels of images whose pixels are all permuted alike, each permuted on its own, or "
        "normal noise.",
        _by_pixels,
        _measure_pixels,
        (
            *(
                Published(f"training accuracy, {kind} pixels", 0.995, inf, f"images of {kind} pixels are fitted", "1.0")
                for kind in PIXELS
            ),
            Published("test accuracy, gaussian pixels", 0.08, 0.12, "noise tells nothing of other noise", "chance"),
        ),
        "pixels",
        minutes=0,
        differs="Fashion-MNIST, 10,000 images, MLP3; published were curves of the training loss of Inception.",
    ),
    Experiment(
        "T6-minialexnet",
        "Random labels, memorised by MiniAlexNet",
        f"{_ZHANG}, table 1",
        "MiniAlexNet is trained on true labels and on random ones.",
        _alexnets,
        _measure_alexnet,
        (
            Published("training accuracy, true labels", 0.995, inf, "true labels are fitted", "1.0"),
            Published("training accuracy, random labels", 0.995, inf, "so are random ones", ".9982"),
            Published("test accuracy, random labels", 0.08, 0.12, "from which nothing is learnt", ".0986"),
        ),
        "randomised",
        minutes=0,
        differs="Fashion-MNIST averaged to 14 x 14, 2,000 images, batch normalisation, cross-entropy.",
    ),
)
