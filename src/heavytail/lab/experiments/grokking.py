"""Grokking: a network fits its examples, and learns the rule behind them long after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from math import inf, nan
from typing import TYPE_CHECKING

from heavytail.lab.experiments.experiment import Experiment, Measured, Published, Size
from heavytail.lab.experiments.tables import PHASE_ORDER, each_seed, of_network
from heavytail.lab.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EXPERIMENTS"]

_FULL = Recipe(
    network="transformer",
    data="modular-addition-97",
    batch=512,
    rate=1e-3,
    epochs=300,
    loss="cross-entropy",
    optimiser="adamw",
    weight_decay=1.0,
    train=97 * 97 // 2,
    test=97 * 97 - 97 * 97 // 2,
    looks=40,
    layers="blocks*",
)
_QUICK = replace(
    _FULL,
    network="mlp-tokens",
    data="modular-addition-31",
    batch=672,
    rate=3e-3,
    epochs=2_000,
    train=672,
    test=289,
    looks=30,
    layers="fc1",
)
_BASE = {"quick": (_QUICK, 1), "full": (_FULL, 3)}

_FITTED = 0.99  # of the training examples: they are memorised
_LEARNT = 0.9  # of the test examples: the rule is found


def _trials(size: Size) -> dict[str, Recipe]:
    base, seeds = _BASE[size]
    return {f"s{seed}": replace(base, seed=seed) for seed in range(seeds)}


def _measure(table: pd.DataFrame) -> Mapping[str, Measured]:
    """Measure when the examples are fitted and the rule is learnt, and the spectra at either time."""
    network = of_network(table)
    measured = {
        "epochs to fit": each_seed(network, _fitted),
        "epochs to learn": each_seed(network, _learnt),
        "delay": each_seed(network, lambda rows: _learnt(rows) / _fitted(rows)),
        "test accuracy when fitted": each_seed(network, lambda rows: _at(rows, _fitted(rows), "test_accuracy")),
        "best test accuracy": each_seed(network, lambda rows: float(rows["test_accuracy"].max())),
    }
    return measured | {name: each_seed(table, partial(_of_spectra, number)) for name, number in _SPECTRAL.items()}


def _fitted(rows: pd.DataFrame) -> float:
    """Give the first look at which the training examples are fitted, NaN where none is."""
    return float(rows.loc[rows["train_accuracy"] >= _FITTED, "epoch"].min())


def _learnt(rows: pd.DataFrame) -> float:
    """Give the first look at which the test examples are answered."""
    return float(rows.loc[rows["test_accuracy"] >= _LEARNT, "epoch"].min())


def _at(rows: pd.DataFrame, epoch: float, column: str) -> float:
    found = rows.loc[rows["epoch"] == epoch, column]
    return float(found.iloc[0]) if len(found) else nan


def _of_spectra(number: Callable[[pd.DataFrame, pd.DataFrame], float], rows: pd.DataFrame) -> float:
    """Compare the layers when the examples were first fitted with those at the last look where the rule was known.

    NaN where the rule was never learnt, or as soon as the examples were fitted: there is then no before.
    """
    network, layers = of_network(rows), rows[rows["layer"] != ""]
    before, after = _fitted(network), float(network.loc[network["test_accuracy"] >= _LEARNT, "epoch"].max())
    if not before < _learnt(network):
        return nan
    return number(layers[layers["epoch"] == before], layers[layers["epoch"] == after])


def _mean(layers: pd.DataFrame, column: str) -> float:
    return float(layers[column].mean())


def _off_two(layers: pd.DataFrame) -> float:
    return float((layers["alpha"] - 2).abs().mean())


def _order(layers: pd.DataFrame) -> float:
    return float(layers["phase"].map(PHASE_ORDER).mean())


_SPECTRAL: Mapping[str, Callable[[pd.DataFrame, pd.DataFrame], float]] = {
    "ratio of stable ranks": lambda before, after: _mean(after, "stable_rank") / _mean(before, "stable_rank"),
    "change of entropy": lambda before, after: _mean(after, "entropy") - _mean(before, "entropy"),
    "change of soft rank": lambda before, after: _mean(after, "mp_softrank") - _mean(before, "mp_softrank"),
    "change of |alpha - 2|": lambda before, after: _off_two(after) - _off_two(before),
    "alpha, after": lambda before, after: _mean(after, "alpha"),
    "change of phase": lambda before, after: _order(after) - _order(before),
}


EXPERIMENTS = (
    Experiment(
        "grokking",
        "Grokking: the spectra before and after a rule is learnt",
        "Power et al. 2022, arXiv 2201.02177, figure 1; Nanda et al. 2023, arXiv 2301.05217; "
        "Prakash and Martin 2025, arXiv 2506.04434",
        "A network is trained by AdamW on a part of all sums modulo a prime, far beyond the epoch at which it fits "
        "them: a transformer on half of those modulo 97, or in the quick run one hidden layer on 70 % of those modulo "
        "31.",
        _trials,
        _measure,
        (
            Published("delay", 5, inf, "the rule is learnt long after the examples are fitted", "10 to 1000 times"),
            Published("test accuracy when fitted", -inf, 0.6, "when the examples are fitted other sums are not known"),
            Published("best test accuracy", 0.99, inf, "in the end all sums are known", "1.0"),
            Published("ratio of stable ranks", 0, 0.999, "the stable rank is lower after the rule is learnt"),
            Published("change of entropy", -1, -1e-3, "the entropy of the matrices is lower"),
            Published("change of soft rank", -1, -1e-3, "eigenvalues have left the bulk behind"),
            Published("change of |alpha - 2|", -20, -1e-3, "alpha of the matrices comes closer to 2"),
            Published("alpha, after", 1.5, 2.5, "alpha is close to 2 when the network generalises best", "2"),
            Published("change of phase", 0.1, 5, "the matrices pass to heavier-tailed phases"),
        ),
        "seed",
        minutes=0,
        differs="Two blocks with the norm in front, batches of 512; a + b and b + a are different "
        "examples, so that half of the test sums are seen in the other order. The statements on alpha were published "
        "of an MLP on MNIST, those on stable rank and entropy follow from the rule being of low rank (Nanda et al.).",
    ),
)
