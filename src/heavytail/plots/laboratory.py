"""Trained networks: how a sweep changes the spectrum, what it looks like, and what noise in the labels costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from heavytail.errors import RequestError
from heavytail.plots.style import COLOURS, INK, QUIET, SMALL, TEXT, End, label_ends, new_figure
from heavytail.rmt.ensembles.phases import PHASES

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PHASE_COLOURS", "label_noise", "spectra", "sweep"]

PHASE_COLOURS = dict(zip((*PHASES, "undecided"), (
    "#4d97ae", "#3f84b8", "#4763b0", "#5b3d9a", "#5c0f62", "#c07a00", "#8b8f97",
), strict=True))  # fmt: skip
"""As on the pages: the further from random, the darker; amber for the collapse of the rank."""

_NAMES = {
    "batch": "batch size",
    "rate": "learning rate",
    "weight_decay": "weight decay",
    "randomised": "fraction of random labels",
    "mp_softrank": "MP soft rank",
    "stable_rank": "stable rank",
    "test_accuracy": "test accuracy",
    "train_accuracy": "training accuracy",
    "alpha": "α",
    "alpha_weighted": "α-hat",
    "entropy": "entropy",
}
_BINS = 40


def sweep(
    table: pd.DataFrame, axis: str, *, layer: str = "fc1", columns: Sequence[str] = ("mp_softrank", "test_accuracy")
) -> Figure:
    """Draw what becomes of a layer and of the network along a sweep: a dot a training, a line through the means.

    Dots have the colour of the layer's phase.

    Args:
        table: of a run (`lab.Run.table`); the last look of each training counts.
        axis: the column that was varied.
        layer: the layer.
        columns: what is drawn, a panel each: of the layer, or else of the network.

    Raises:
        RequestError: if the table has no such layer.
    """
    ends = table[table["epoch"] == table.groupby("trial")["epoch"].transform("max")]
    of_layer, network = _rows(ends, layer), ends[ends["layer"] == ""].set_index("trial")
    figure, panels = new_figure(_NAMES.get(axis, axis), *(_NAMES.get(c, c) for c in columns), size=(9.6, 4.4))
    seen = [phase for phase in PHASE_COLOURS if phase in set(of_layer["phase"])]
    for panel, column in zip(panels, columns, strict=True):
        own = of_layer[column]
        values = own if own.notna().any() else of_layer["trial"].map(network[column])
        x = of_layer[axis].astype(float)
        means = values.groupby(x).mean()
        panel.plot(means.index, means.to_numpy(), color=QUIET, lw=1, zorder=1)
        for phase in seen:
            chosen = of_layer["phase"] == phase
            panel.scatter(x[chosen], values[chosen], color=PHASE_COLOURS[phase], s=34, zorder=2, label=phase, lw=0)
        if (x > 0).all() and x.max() > 20 * x.min():
            panel.set_xscale("log")
            panel.set_xticks(means.index, [f"{value:g}" for value in means.index], minor=False)
            panel.minorticks_off()
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=len(seen), frameon=False,
        fontsize=TEXT, labelcolor=INK, handletextpad=0.2, columnspacing=1.2,
    )  # fmt: skip
    return figure


def _rows(table: pd.DataFrame, layer: str) -> pd.DataFrame:
    rows = table[table["layer"] == layer]
    if rows.empty:
        known = ", ".join(sorted(set(table["layer"]) - {""}))
        raise RequestError(f"no layer {layer!r} in the table; there are {known}")
    return rows


def spectra(table: pd.DataFrame, axis: str, *, layer: str = "fc1", seed: int = 0, across: int = 5) -> Figure:
    """Draw the final spectrum of a layer at each setting: density of log10 of the eigenvalues of W^T W.

    A line marks the edge of the noise bulk; what is beyond it has the colour of the phase.

    Args:
        table: of a run, with eigenvalues.
        axis: the column that was varied.
        layer: the layer.
        seed: whose trainings are drawn.
        across: panels in a row.

    Raises:
        RequestError: if the table has no such layer or seed.
    """
    rows = _rows(table[table["seed"] == seed], layer)
    rows = rows[rows["epoch"] == rows.groupby("trial")["epoch"].transform("max")].sort_values(axis)
    down = -(-len(rows) // across)
    figure = Figure(figsize=(11, 0.5 + 2.1 * down), layout="constrained", facecolor="white")
    panels = np.ravel(figure.subplots(down, across, sharex=True, sharey=True, squeeze=False))
    values = [np.log10(np.maximum(np.asarray(evals, dtype=float), 1e-12)) for evals in rows["evals"]]
    floor = min(float(np.quantile(v, 0.01)) for v in values)
    edges = np.linspace(floor, max(float(v.max()) for v in values) + 0.05, _BINS + 1)
    for k in range(len(rows), len(panels)):
        panels[k].set_visible(False)
        panels[k - across].tick_params(labelbottom=True)
    for panel, (_, row), logs in zip(panels, rows.iterrows(), values, strict=False):
        _draw_spectrum(panel, logs, edges, float(np.log10(row["bulk_edge"])), PHASE_COLOURS[row["phase"]])
        panel.set_title(
            f"{_NAMES.get(axis, axis)} {row[axis]:g}\n{row['phase']}", fontsize=SMALL, color=INK, loc="left"
        )
    figure.supxlabel("log10 of the eigenvalue of WᵀW", fontsize=TEXT, color=INK)
    return figure


def _draw_spectrum(axes: Axes, logs: np.ndarray, edges: np.ndarray, bulk: float, colour: str) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(QUIET)
    axes.tick_params(colors=QUIET, labelcolor=INK, labelsize=SMALL)
    axes.set_yscale("log")
    axes.set_yticks([])
    axes.minorticks_off()
    width = edges[1] - edges[0]
    if np.isfinite(bulk):  # an edge between two bars
        edges = bulk + width * np.arange(-np.ceil((bulk - edges[0]) / width), np.ceil((edges[-1] - bulk) / width) + 1)
    counts, _ = np.histogram(logs, edges)
    beyond = edges[:-1] > bulk - width / 2  # never where there is no edge
    axes.bar(edges[:-1], counts, width, align="edge", color="#c9ced6", lw=0)
    axes.bar(edges[:-1][beyond], counts[beyond], width, align="edge", color=colour, lw=0)
    axes.set_ylim(0.5, None)
    if np.isfinite(bulk):
        axes.axvline(bulk, color=INK, lw=0.8, ls=(0, (3, 2)))


def label_noise(stopped: pd.DataFrame, predicted: Mapping[float, float] | None = None) -> Figure:
    """Draw test accuracy against the fraction of random labels, at the end and where validation was best, and the gain.

    Args:
        stopped: a row a training, with `randomised`, `test_accuracy`, `stopped_test_accuracy` and `gain`
            (`lab.experiments.labels.early_stopped`).
        predicted: gains of a model, by the fraction.
    """
    figure, (left, right) = new_figure(_NAMES["randomised"], "test accuracy", "gain of stopping early", size=(9.6, 4.4))
    x = stopped["randomised"].astype(float)
    ends = []
    for column, name, colour in (
        ("stopped_test_accuracy", "stopped early", COLOURS[0]),
        ("test_accuracy", "trained to the end", COLOURS[1]),
    ):
        means = stopped[column].groupby(x).mean()
        left.plot(means.index, means.to_numpy(), color=colour, lw=1.6)
        left.scatter(x, stopped[column], color=colour, s=16, lw=0)
        ends.append(End(name, colour, float(means.iloc[-1])))
    left.set_ylim(0, 1)
    left.set_xlim(0, float(x.max()))
    label_ends(left, ends)
    gains = stopped["gain"].groupby(x).mean()
    right.axhline(0, color=QUIET, lw=0.8)
    right.plot(gains.index, gains.to_numpy(), color=COLOURS[0], lw=1.6)
    right.scatter(x, stopped["gain"], color=COLOURS[0], s=16, lw=0)
    right.set_xlim(0, float(x.max()))
    names = [End("networks", COLOURS[0], float(gains.iloc[-1]))]
    if predicted:
        right.plot(list(predicted), list(predicted.values()), color=COLOURS[2], lw=1.6, ls=(0, (5, 3)))
        names.append(End("theory", COLOURS[2], float(list(predicted.values())[-1])))
    label_ends(right, names)
    return figure
