"""Batch size and learning rate: noise of the steps drives the spectrum through the phases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from heavytail.lab.experiments.experiment import Experiment, Measured, Published, Size
from heavytail.lab.experiments.tables import (
    PHASE_ORDER,
    difference,
    each_seed,
    each_tau,
    gain_of_best,
    last,
    of_layer,
    of_network,
    rises,
)
from heavytail.lab.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EXPERIMENTS"]

_QUICK = Recipe(network="minialexnet", data="digits", rate=0.05, epochs=20, train=1_000, test=597, looks=6)
_FULL = Recipe(network="minialexnet", data="fashion-mnist", rate=0.05, epochs=20, looks=8)

_BATCHES = {"quick": (2, 4, 8, 32, 500), "full": (2, 4, 8, 16, 32, 64, 128, 256, 1000)}
_RATES = {"quick": (0.01, 0.05, 0.2, 0.8), "full": (0.00625, 0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8)}
_SEEDS = 3


def _by_batch(size: Size, full: Recipe, seeds: int) -> dict[str, Recipe]:
    base, seeds = (_QUICK, _SEEDS) if size == "quick" else (full, seeds)
    return {
        f"b{batch}-s{seed}": replace(base, batch=batch, seed=seed) for seed in range(seeds) for batch in _BATCHES[size]
    }


def _by_rate(size: Size) -> dict[str, Recipe]:
    base = {"quick": replace(_QUICK, batch=16), "full": replace(_FULL, batch=64, halved=True)}[size]
    return {
        f"r{rate:g}-s{seed}": replace(base, rate=rate, seed=seed) for seed in range(_SEEDS) for rate in _RATES[size]
    }


def _measure(table: pd.DataFrame, axis: str, noisy: int) -> Mapping[str, Measured]:
    """Measure along an axis; `noisy` is the sign of a change towards more noise."""
    ends = last(table)
    fc1, network = of_layer(ends, "fc1"), of_network(ends)
    values = sorted(ends[axis].unique(), key=lambda value: noisy * value)
    calm, loud = values[0], values[-1]
    better = {"batch": 8.0, "rate": 0.1}[axis]
    order = fc1.assign(order=fc1["phase"].map(PHASE_ORDER))
    return {
        "tau of noise and soft rank": each_tau(fc1, axis, "mp_softrank", -noisy),
        "rises of the soft rank": rises(fc1, "mp_softrank", axis, values),
        "tau of noise and phase": each_tau(order, axis, "order", noisy),
        "soft rank, least noise": each_seed(fc1[fc1[axis] == calm], lambda rows: float(rows["mp_softrank"].iloc[0])),
        "soft rank, most noise": each_seed(fc1[fc1[axis] == loud], lambda rows: float(rows["mp_softrank"].iloc[0])),
        "phases passed": each_seed(fc1, lambda rows: float(rows["phase"].nunique())),
        "gain of the best setting": gain_of_best(network, "test_accuracy", axis, calm),
        "gain in test accuracy": each_seed(network, lambda rows: difference(rows, "test_accuracy", axis, better, calm)),
    }


def _statements(what: str, gain: str, soft: str) -> tuple[Published, ...]:
    return (
        Published("tau of noise and soft rank", 0.8, inf, f"the MP soft rank of FC1 falls with {what}", soft),
        Published("rises of the soft rank", 0, 0.5, "at no step does it rise beyond its interval", "none"),
        Published("soft rank, least noise", 0.9, 1.1, "with the least noise FC1 looks random", "1.0"),
        Published(
            "soft rank, most noise", 0, 0.3, "with the most noise the bulk ends far below the largest", "0 to .29"
        ),
        Published("tau of noise and phase", 0.7, inf, f"the phases follow each other with {what}"),
        Published("phases passed", 4, 5, "from random-like over bleeding-out and bulk+spikes to bulk-decay", "5"),
        Published("gain in test accuracy", 1e-9, inf, f"{what} generalise better", gain),
        Published("gain of the best setting", 1e-9, inf, "the best setting is not the one of least noise"),
    )


_GAP = Experiment(
    "E21",
    "Phases by batch size: the generalisation gap",
    "Martin and Mahoney 2018, arXiv 1810.01075, section 6; notebook AlexNet-Generalization-Gap",
    "MiniAlexNet is trained for the same number of epochs with batches from 2 to 1000.",
    partial(_by_batch, full=replace(_FULL, halved=True), seeds=_SEEDS),
    partial(_measure, axis="batch", noisy=-1),
    _statements("smaller batches", "CIFAR-10: .769 at b = 8 against .657 at 1000", "1.0 at 1000 to .29 at 4"),
    "batch",
    minutes=0,
    differs="Fashion-MNIST averaged to 14 x 14 (FC1 is 1024 x 384), 10,000 images, 20 epochs at a constant rate of "
    "0.05, so that the sum of rate x images seen is that of CIFAR-10's 100 epochs at 0.01 x 0.95^epoch; seeds are not "
    "pooled.",
)

EXPERIMENTS = (
    _GAP,
    replace(
        _GAP,
        id="E21-28",
        title="Phases by batch size, with images of 28 x 28",
        trials=partial(_by_batch, full=_FULL, seeds=1),
        differs=_GAP.differs.replace(
            " averaged to 14 x 14 (FC1 is 1024 x 384)", ", FC1 of 4096 x 384 as published"
        ).replace("seeds are not pooled", "one seed"),
    ),
    Experiment(
        "T9",
        "Phases by learning rate at a batch of 64",
        "an independent replication of Martin and Mahoney 2018, section 6, by learning rate",
        "MiniAlexNet is trained with a batch of 64 and learning rates from 0.00625 to 0.8.",
        _by_rate,
        partial(_measure, axis="rate", noisy=1),
        _statements("larger rates", "CIFAR-10: .78 at .16 against .71 at .00128", "all five phases"),
        "rate",
        minutes=0,
        differs="Fashion-MNIST averaged to 14 x 14, 10,000 images, 20 epochs.",
    ),
)
