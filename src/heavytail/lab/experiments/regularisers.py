"""Regularisers: what weight decay and dropout do to the spectrum, up to the collapse of its rank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import exp, inf, nan
from typing import TYPE_CHECKING

import numpy as np

from heavytail.lab.experiments.experiment import Experiment, Measured, Published, Size
from heavytail.lab.experiments.tables import difference, each_seed, each_tau, last, of_layer, of_network
from heavytail.lab.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EXPERIMENTS", "bulk_scale", "decayed"]

_QUICK = Recipe(
    network="minialexnet", data="digits", rate=0.05, epochs=10, train=1_000, test=597, looks=3, layers="fc1 fc2"
)
_FULL = Recipe(
    network="minialexnet", data="fashion-mnist", rate=0.05, epochs=20, halved=True, looks=6, layers="fc1 fc2"
)
_BASE = {"quick": _QUICK, "full": _FULL}
_SEEDS = {"quick": 2, "full": 3}

_PUBLISHED = {"quick": 4e-3, "full": 2e-4}  # strengths that decay weights by the same factor in all the steps
_DECAYS = {"quick": (0.0, 4e-3, 1.2e-2), "full": (0.0, 2e-4, 6e-4)}
_COLLAPSING = {"quick": (0.0, 5e-3, 1.5e-2), "full": (0.0, 1e-3, 4e-3, 7e-3, 1e-2)}
_CHANCE = 0.2  # training accuracy up to which a network is dead: without a gradient it decays and keeps its rank


def _by_decay(size: Size) -> dict[str, Recipe]:
    return {
        f"w{decay:g}-s{seed}": replace(_BASE[size], weight_decay=decay, seed=seed)
        for seed in range(_SEEDS[size])
        for decay in _DECAYS[size]
    }


def _by_dropout(size: Size) -> dict[str, Recipe]:
    base = _BASE[size]
    kinds = {
        "baseline": base,
        "l2": replace(base, weight_decay=_PUBLISHED[size]),
        "dropout": replace(base, dropout=0.5),
    }
    return {
        f"{kind}-s{seed}": replace(recipe, seed=seed) for seed in range(_SEEDS[size]) for kind, recipe in kinds.items()
    }


def _collapsing(size: Size) -> dict[str, Recipe]:
    base = replace(_BASE[size], epochs={"quick": 44, "full": 12}[size])
    return {
        f"w{decay:g}-s{seed}": replace(base, weight_decay=decay, seed=seed)
        for seed in range({"quick": 1, "full": 3}[size])
        for decay in _COLLAPSING[size]
    }


def bulk_scale(rows: pd.DataFrame) -> pd.Series:
    """Give the sigma of the Marchenko-Pastur bulk of W^T W, in units of the weights, as the paper's notebooks have it.

    It is that of matrices (N, M) of N M independent entries of variance sigma^2 / N.
    """
    return rows["sigma_mp"] * np.sqrt(rows["norm"] / rows["M"])


def decayed(rows: pd.DataFrame) -> pd.Series:
    """Give the factor by which weights that no gradient reaches have shrunk: exp(-w sum of rates / (1 - momentum)).

    Each step takes rate x w of a weight, and momentum repeats it 1 / (1 - momentum) times. For constant rates.
    """
    exponent = -rows["weight_decay"] * rows["rate"] * rows["step"] / (1 - rows["momentum"])
    return exponent.map(exp)


def _with_kind(table: pd.DataFrame) -> pd.DataFrame:
    """Add how the network is regularised and the scale of its bulk, of the last look."""
    kinds = np.select([table["dropout"] > 0, table["weight_decay"] > 0], ["dropout", "l2"], "baseline")
    return last(table.assign(kind=kinds, bulk=bulk_scale(table), decayed=decayed(table)))


def _change(rows: pd.DataFrame, column: str, of: str, minus: str = "baseline") -> Measured:
    return each_seed(rows, lambda own: difference(own, column, "kind", of, minus))


def _ratio(rows: pd.DataFrame, column: str, of: str, over: str = "baseline") -> Measured:
    def ratio(own: pd.DataFrame) -> float:
        values = own.set_index("kind")[column]
        return float(values[of] / values[over]) if {of, over} <= set(values.index) else nan

    return each_seed(rows, ratio)


def _measure_l2(table: pd.DataFrame) -> Mapping[str, Measured]:
    """Measure what the weakest decay does, and what grows with its strength."""
    weakest = table.loc[table["weight_decay"] > 0, "weight_decay"].min()
    ends = _with_kind(table)
    own = ends[ends["weight_decay"] <= weakest]
    measured = {"gain in test accuracy": _change(of_network(own), "test_accuracy", "l2")}
    for layer in ("fc1", "fc2"):
        rows, every = of_layer(own, layer), of_layer(ends, layer)
        name = layer.upper()
        free = rows.assign(beyond=rows["bulk"] / rows["decayed"])
        measured |= {
            f"change of entropy, {name}": _change(rows, "entropy", "l2"),
            f"ratio of stable ranks, {name}": _ratio(rows, "stable_rank", "l2"),
            f"ratio of bulks, {name}": _ratio(rows, "bulk", "l2"),
            f"ratio of bulks over decay alone, {name}": _ratio(free, "beyond", "l2"),
            f"change of soft rank, {name}": _change(rows, "mp_softrank", "l2"),
            f"tau of decay and entropy, {name}": each_tau(every, "weight_decay", "entropy"),
        }
    return measured


def _measure_dropout(table: pd.DataFrame) -> Mapping[str, Measured]:
    ends = _with_kind(table)
    network = of_network(ends)
    network = network.assign(gap=network["train_accuracy"] - network["test_accuracy"])
    measured = {
        "change of training accuracy": _change(network, "train_accuracy", "dropout"),
        "change of the gap to the test": _change(network, "gap", "dropout"),
        "gain in test accuracy": _change(network, "test_accuracy", "dropout"),
    }
    for layer in ("fc1", "fc2"):
        rows, name = of_layer(ends, layer), layer.upper()
        dropped = rows[rows["kind"] == "dropout"]
        measured |= {
            f"entropy below the baseline's, {name}": _change(rows, "entropy", "baseline", "dropout"),
            f"entropy above that of L2, {name}": _change(rows, "entropy", "dropout", "l2"),
            f"ratio of stable ranks to the baseline's, {name}": _ratio(rows, "stable_rank", "dropout"),
            f"ratio of stable ranks to that of L2, {name}": _ratio(rows, "stable_rank", "dropout", "l2"),
            f"sigma over that of shuffled weights, {name}": each_seed(
                dropped, lambda own: float(own["sigma_mp"].iloc[0])
            ),
        }
    return measured


def _measure_collapse(table: pd.DataFrame) -> Mapping[str, Measured]:
    ends = last(table)
    network = of_network(ends)
    alive = network.loc[network["train_accuracy"] > _CHANCE, "trial"]
    fc1 = of_layer(ends, "fc1")
    fc1 = fc1[fc1["trial"].isin(alive)]
    fc1 = fc1.assign(lost=fc1["rank_loss"] / fc1["M"], collapsed=(fc1["phase"] == "rank-collapse").astype(float))
    strongest = fc1[fc1["weight_decay"] == fc1["weight_decay"].max()]
    without = fc1[fc1["weight_decay"] == 0]
    return {
        "rank lost without decay": each_seed(without, lambda rows: float(rows["lost"].iloc[0])),
        "rank lost, strongest decay": each_seed(strongest, lambda rows: float(rows["lost"].iloc[0])),
        "rank-collapse, strongest decay": each_seed(strongest, lambda rows: float(rows["collapsed"].iloc[0])),
        "tau of decay and rank": each_tau(fc1, "weight_decay", "matrix_rank"),
        "tau of decay and stable rank": each_tau(fc1, "weight_decay", "stable_rank"),
        "tau of decay and entropy": each_tau(fc1, "weight_decay", "entropy"),
    }


_PAPER = "Martin and Mahoney 2018, arXiv 1810.01075"
_SAME = (
    "Fashion-MNIST averaged to 14 x 14, 10,000 images, FC1 1024 x 384; 20 epochs at a constant rate of 0.05, so that "
    "the sum of the rates of all steps is the published one"
)


def _l2_statements() -> tuple[Published, ...]:
    published = {
        "FC1": ((-0.1, -0.005, ".966 - .9895"), (0.15, 0.7, "55 / 149"), ".3814 / 1.2576"),
        "FC2": ((-0.3, -0.02, ".844 - .9455"), (0.1, 0.6, "16 / 51"), ".2903 / 1.0010"),
    }
    statements = [
        Published("gain in test accuracy", 1e-9, inf, "weight decay generalises a little better", ".774 - .763")
    ]
    for layer, (entropy, rank, bulk) in published.items():
        statements += [
            Published(
                f"change of entropy, {layer}", entropy[0], entropy[1], f"the entropy of {layer} falls", entropy[2]
            ),
            Published(
                f"ratio of stable ranks, {layer}", rank[0], rank[1], f"the stable rank of {layer} falls", rank[2]
            ),
            Published(f"ratio of bulks, {layer}", 0.2, 0.4, f"the bulk of {layer} shrinks to a third", bulk),
            Published(
                f"ratio of bulks over decay alone, {layer}",
                0.8,
                1.25,
                "by as much as weights do that no gradient reaches",
                {"FC1": ".303 / .289", "FC2": ".290 / .289"}[layer],
            ),
            Published(f"change of soft rank, {layer}", -inf, -0.1, "and the spikes stand farther from it"),
        ]
    return tuple(statements)


def _dropout_statements() -> tuple[Published, ...]:
    published = {
        "FC1": (".9895 - .977", ".977 - .966", "65 / 149", "65 / 55", "1.2464 / 1.2538"),
        "FC2": (".9455 - .9295", ".9295 - .844", "36 / 51", "36 / 16", ".9081 / 1.0345"),
    }
    statements = [
        Published(
            "change of training accuracy", -inf, -1e-9, "with dropout fewer training examples are fitted", ".80 - .995"
        ),
        Published("change of the gap to the test", -inf, -1e-9, "there is less overtraining", ".01 against .23"),
        Published("gain in test accuracy", 1e-9, inf, "dropout generalises better", ".79 - .763"),
    ]
    for layer, (below, above, base, l2, sigma) in published.items():
        statements += [
            Published(
                f"entropy below the baseline's, {layer}", 1e-9, inf, f"dropout lowers the entropy of {layer}", below
            ),
            Published(f"entropy above that of L2, {layer}", 1e-9, inf, "but less than L2 does", above),
            Published(
                f"ratio of stable ranks to the baseline's, {layer}", 0.2, 0.95, "it lowers the stable rank", base
            ),
            Published(f"ratio of stable ranks to that of L2, {layer}", 1, 5, "but less than L2 does", l2),
            Published(
                f"sigma over that of shuffled weights, {layer}",
                0.7,
                1 - 1e-6,
                "the bulk is less than all weights",
                sigma,
            ),
        ]
    return tuple(statements)


EXPERIMENTS = (
    Experiment(
        "E18",
        "Weight decay",
        f"{_PAPER}, section 5; notebook AlexNet-Regularized",
        "MiniAlexNet is trained without weight decay and with it. The published bulks say how strong it was: Keras's "
        "l2(1e-4), twice that as a weight decay.",
        _by_decay,
        _measure_l2,
        _l2_statements(),
        "weight_decay",
        minutes=0,
        differs=f"{_SAME}.",
    ),
    Experiment(
        "E19",
        "Dropout",
        f"{_PAPER}, section 5; notebook AlexNet-Regularized-wDropout",
        "MiniAlexNet is trained without a regulariser, with weight decay, and with dropout of a half of the units.",
        _by_dropout,
        _measure_dropout,
        _dropout_statements(),
        "dropout",
        minutes=0,
        differs=f"{_SAME}. Training accuracies are those of the whole network; published are those with "
        "units left out.",
    ),
    Experiment(
        "E20",
        "Collapse of the rank by strong weight decay",
        f"{_PAPER}, section 5; notebook AlexNet-RankCollapse",
        "MiniAlexNet is trained with weight decays that shrink what no gradient reaches below the rounding of weights.",
        _collapsing,
        _measure_collapse,
        (
            Published("rank lost without decay", 0, 0.001, "without decay FC1 has full rank"),
            Published(
                "rank lost, strongest decay", 0.1, inf, "strong decay loses a part of the rank", "a spike at zero"
            ),
            Published("rank-collapse, strongest decay", 0.99, inf, "the phase is rank-collapse"),
            Published("tau of decay and rank", -inf, -0.5, "the rank falls with the decay"),
            Published("tau of decay and stable rank", -inf, -0.8, "so does the stable rank"),
            Published("tau of decay and entropy", -inf, -0.8, "and the entropy"),
        ),
        "weight_decay",
        minutes=0,
        differs="Fashion-MNIST averaged to 14 x 14, 10,000 images, 12 epochs; the published strength is not "
        "known. Networks that only guess are left out.",
    ),
)
