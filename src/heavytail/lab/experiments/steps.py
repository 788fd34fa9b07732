"""Steps to a target error against batch size, each with the best of many learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import exp, log, nan
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heavytail.errors import RequestError
from heavytail.lab.experiments.experiment import Experiment, Measured, Published, Size
from heavytail.lab.experiments.tables import each_seed, last, of_network
from heavytail.lab.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EXPERIMENTS", "Regimes", "best_rates", "fit_regimes"]

_FULL = Recipe(
    network="mlp3",
    data="fashion-mnist",
    loss="cross-entropy",
    train=16_384,
    test=2_000,
    target=0.16,
    looks=2,
    layers="fc2",
)
_BASE = {"quick": replace(_FULL, data="digits", train=1_024, test=597, target=0.06), "full": _FULL}

# For each batch: epochs to reach the target in, and the exponents k of its rates 2^k
_Grid = Mapping[int, tuple[int, range]]
_GRIDS: Mapping[Size, _Grid] = {
    "quick": {
        4: (4, range(-11, -4, 2)),
        16: (6, range(-9, -2, 2)),
        64: (10, range(-8, -1, 2)),
        256: (20, range(-7, 0, 2)),
        1_024: (50, range(-6, 1, 2)),
    },
    "full": {
        8: (4, range(-12, -7)),
        16: (4, range(-11, -5)),
        32: (4, range(-9, -3)),
        64: (5, range(-8, -3)),
        128: (6, range(-8, -2)),
        256: (7, range(-7, -2)),
        512: (8, range(-7, -1)),
        1_024: (10, range(-5, 0)),
        2_048: (14, range(-5, 0)),
        4_096: (20, range(-5, 0)),
    },
}
_SEEDS = {"quick": 1, "full": 3}
_ENDS = 3  # batches at either end of the grid that a slope is taken of


@dataclass(frozen=True, slots=True)
class Regimes:
    """The law steps = least + examples / batch: perfect scaling at small batches, a plateau at large ones.

    Attributes:
        least: steps that are needed with the largest batches.
        examples: that are needed with the smallest batches.
    """

    least: float
    examples: float

    @property
    def critical(self) -> float:
        """The critical batch, examples / least, where twice as many are needed of either as at best."""
        return self.examples / self.least

    def steps(self, batch: float) -> float:
        """Give the steps that a batch needs."""
        return self.least + self.examples / batch


def fit_regimes(batches: ArrayLike, steps: ArrayLike) -> Regimes:
    """Fit steps = least + examples / batch by least squares in the logarithm of the steps.

    Args:
        batches: sizes, of shape (n,), n >= 3, all different.
        steps: of shape (n,), > 0.

    Returns:
        The law. Where the steps show no plateau at all the critical batch is far beyond the largest, and where they
        show nothing else it is far below the smallest.

    Raises:
        RequestError: if there are fewer than three batches, or a number is not positive.

    References:
        McCandlish et al. 2018, arXiv 1812.06162, equation 2.11; the regimes: Shallue et al. 2018, arXiv 1811.03600.

    Example:
        >>> round(fit_regimes([1, 10, 100, 1000], [1050, 150, 60, 51]).critical, 6)
        20.0
    """
    from scipy.optimize import least_squares

    b, s = np.asarray(batches, dtype=float), np.asarray(steps, dtype=float)
    if b.shape != s.shape or b.ndim != 1 or len(set(b.tolist())) < 3 or not (np.all(b > 0) and np.all(s > 0)):
        raise RequestError(f"a law of steps needs three batches and their steps, all positive; got {b} and {s}")

    def residuals(logs: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.logaddexp(logs[0], logs[1] - np.log(b)) - np.log(s))

    start = (log(s.min()), log((s * b).min()))
    logs = least_squares(residuals, start, xtol=1e-12, ftol=1e-12, gtol=1e-12).x
    return Regimes(exp(logs[0]), exp(logs[1]))


def best_rates(table: pd.DataFrame) -> pd.DataFrame:
    """Choose, for each seed and batch, the rate of the fewest steps to the target.

    Returns:
        A row for each seed and batch, with `rate` and `steps_to_target`, NaN where no rate reached the target, and
        `tuned`: whether larger and smaller rates were tried and took longer.
    """
    import pandas as pd

    rows = []
    for (seed, batch), tried in of_network(last(table)).groupby(["seed", "batch"]):
        reached = tried.dropna(subset=["steps_to_target"]).sort_values(["steps_to_target", "rate"])
        rate, steps = (float(reached[name].iloc[0]) if len(reached) else nan for name in ("rate", "steps_to_target"))
        tuned = bool(tried["rate"].min() < rate < tried["rate"].max())
        rows.append({"seed": seed, "batch": batch, "rate": rate, "steps_to_target": steps, "tuned": tuned})
    return pd.DataFrame(rows)


def _trials(size: Size) -> dict[str, Recipe]:
    return {
        f"b{batch}-k{k}-s{seed}": replace(_BASE[size], batch=batch, epochs=epochs, rate=2.0**k, seed=seed)
        for seed in range(_SEEDS[size])
        for batch, (epochs, exponents) in _GRIDS[size].items()
        for k in exponents
    }


def _measure(table: pd.DataFrame) -> Mapping[str, Measured]:
    """Measure along the batches whose rate is tuned; the others are counted."""
    best = best_rates(table)
    tuned = best[best["tuned"]].sort_values("batch")
    return {
        "batches that are not tuned": each_seed(best, lambda rows: float((~rows["tuned"]).sum())),
        "slope at small batches": each_seed(tuned, lambda rows: _slope(rows.head(_ENDS), "steps_to_target")),
        "slope at the largest batches": each_seed(tuned, lambda rows: _slope(rows.tail(2), "steps_to_target")),
        "critical batch": each_seed(tuned, _critical),
        "exponent of the best rate": _exponent(tuned),
        "exponent of the best rate, small batches": _exponent(_below(tuned)),
    }


def _critical(rows: pd.DataFrame) -> float:
    return fit_regimes(rows["batch"], rows["steps_to_target"]).critical if len(rows) >= _ENDS else nan


def _below(tuned: pd.DataFrame) -> pd.DataFrame:
    """Give the rows of the batches up to the critical one of their seed."""
    groups = [rows[rows["batch"] <= _critical(rows)] for _, rows in tuned.groupby("seed")]
    return tuned.loc[[index for rows in groups for index in rows.index]]


def _slope(rows: pd.DataFrame, column: str) -> float:
    """Give the slope of a column with the batch, both in logarithms; NaN of fewer than two batches."""
    if len(rows) < 2:
        return nan
    return float(np.polyfit(np.log(rows["batch"].astype(float)), np.log(rows[column].astype(float)), 1)[0])


def _exponent(rows: pd.DataFrame) -> Measured:
    """Fit rate ~ batch^exponent to all seeds, with the 95 % interval of least squares."""
    from scipy.stats import linregress, t

    runs = rows["seed"].nunique()
    if rows["batch"].nunique() < _ENDS:
        return Measured(nan, runs=runs)
    fit = linregress(np.log(rows["batch"].astype(float)), np.log(rows["rate"]))
    half = float(t.ppf(0.975, len(rows) - 2) * fit.stderr)
    return Measured(float(fit.slope), float(fit.slope) - half, float(fit.slope) + half, runs)


EXPERIMENTS = (
    Experiment(
        "T8",
        "Steps to a target error by batch size",
        "Shallue et al. 2019, arXiv 1811.03600, figure 1; Golmant et al. 2018, arXiv 1811.12941",
        "An MLP is trained by SGD with momentum until a test error is reached, with each batch at many learning rates; "
        "of each batch the rate of the fewest steps counts. It counts as tuned only where larger and smaller rates "
        "were tried and took longer.",
        _trials,
        _measure,
        (
            Published("batches that are not tuned", 0, 0.5, "the best rate of each batch lies inside its grid"),
            Published("slope at small batches", -1.1, -0.8, "at small batches twice the batch halves the steps", "-1"),
            Published("slope at the largest batches", -0.5, 0.1, "at large batches there is nothing more to gain", "0"),
            Published("critical batch", 8, 4096, "perfect scaling ends at a batch inside the grid"),
            Published(
                "exponent of the best rate", -0.5, 0.9, "no universal rule: over all batches the rate is not linear"
            ),
            Published(
                "exponent of the best rate, small batches", 0.7, 1.3, "where scaling is perfect the rate is linear", "1"
            ),
        ),
        "batch",
        minutes=0,
        differs="Fashion-MNIST, 16,384 images, an MLP of three hidden layers; the momentum is 0.9 and not tuned, the "
        "rate constant, and tuned to a factor of two for each batch by itself; the error is measured ten times an "
        "epoch, so that small batches are resolved no better.",
    ),
)
