"""What perceptrons and memories can hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from heavytail.learning._gauss import Array
from heavytail.learning.results import Simulation
from heavytail.plots.learning import draw_point, mark_loads
from heavytail.plots.style import COLOURS, QUIET, SMALL, End, label_ends, new_figure, remark, shades

__all__ = ["capacity_curves", "memory_curves"]


def capacity_curves(found: Mapping[str, Any], *, title: str = "") -> Figure:
    """Draw what there is of: capacity along the margin, load of noisy examples that can be fitted, Cover's probability.

    Args:
        found: arrays `margin`, `spherical` and `ising` of one shape; `label_noise` and `separable_load` of another;
            `cover`, with `n` and the arrays `patterns` and `probability`.
        title: above the figure.
    """
    panels = [name for name in _PANELS if name in found]
    figure, axes = new_figure(
        "", *(_PANELS[name][1] for name in panels), title=title, size=(2 + 4.2 * len(panels), 4.6)
    )
    for name, panel in zip(panels, axes, strict=True):
        label, _, draw = _PANELS[name]
        panel.set_xlabel(label, fontsize=panel.yaxis.label.get_fontsize())
        draw(panel, found)
    return figure


def _draw_capacity(axes: Axes, found: Mapping[str, Any]) -> None:
    margin = np.asarray(found["margin"])
    axes.set_xlim(float(margin.min()), float(margin.max()))
    axes.set_ylim(0, 1.05 * float(np.max(found["spherical"])))
    ends = []
    for name, colour in (("spherical", COLOURS[0]), ("ising", COLOURS[1])):
        values = np.asarray(found[name])
        axes.plot(margin, values, color=colour, lw=1.8, gid=name)
        ends.append(End("Ising" if name == "ising" else name, colour, float(values[-1])))
    label_ends(axes, ends)


def _draw_separable(axes: Axes, found: Mapping[str, Any]) -> None:
    noise, load = np.asarray(found["label_noise"]), np.asarray(found["separable_load"])
    axes.plot(noise, load, color=COLOURS[2], lw=1.8, gid="separable load")
    axes.axhline(2, color=QUIET, lw=1, ls=(0, (4, 3)), zorder=0)
    axes.annotate(
        "random labels: 2", (0.02, 2), xycoords=("axes fraction", "data"), xytext=(0, -11), textcoords="offset points",
        fontsize=SMALL, color=QUIET,
    )  # fmt: skip
    axes.set_xlim(0, 0.5)
    finite = load[np.isfinite(load)]
    axes.set_ylim(0, min(8.0, 1.05 * float(finite.max())) if len(finite) else 8.0)


def _draw_cover(axes: Axes, found: Mapping[str, Any]) -> None:
    cover = found["cover"]
    patterns, probability = np.asarray(cover["patterns"]), np.asarray(cover["probability"])
    axes.plot(patterns, probability, color=COLOURS[3], lw=1.8, gid="cover")
    axes.axvline(2 * cover["n"], color=QUIET, lw=1, ls=(0, (4, 3)), zorder=0)
    axes.set_xlim(float(patterns.min()), float(patterns.max()))
    axes.set_ylim(0, 1.03)
    remark(axes, f"n = {cover['n']} inputs", (0.99, 0.965), right=True)


_PANELS: Mapping[str, tuple[str, str, Callable[[Axes, Mapping[str, Any]], None]]] = {
    "margin": ("margin", "capacity (patterns per weight)", _draw_capacity),
    "label_noise": (
        "label noise (probability of a flip)", "separable load (examples per weight)", _draw_separable,
    ),
    "cover": ("patterns", "probability of being separable", _draw_cover),
}  # fmt: skip
"""For each kind of answer: the label along, the label up, and what draws it."""


def memory_curves(
    overlaps: Mapping[float, tuple[Array, Array]],
    simulations: Mapping[float, Sequence[Simulation]] | None = None,
    *,
    title: str = "",
    marks: Array | None = None,
) -> Figure:
    """Draw the overlap with the retrieved pattern along the load, by temperature, with simulations as points.

    Args:
        overlaps: by temperature, loads (patterns per spin) and overlaps, both of shape (n,); NaN where there is no
            retrieval.
        simulations: by temperature, with samples of `overlap`.
        title: above the figure.
        marks: loads to be marked on the lines, if they are few.
    """
    figure, (axes,) = new_figure("load (patterns per spin)", "overlap with the retrieved pattern", title=title)
    axes.set_xlim(0, max(float(loads.max()) for loads, _ in overlaps.values()))
    axes.set_ylim(0, 1.02)
    colours = [COLOURS[0]] if len(overlaps) == 1 else shades(len(overlaps))[::-1]
    empty = []
    for (heat, (loads, overlap)), colour in zip(overlaps.items(), colours, strict=True):
        axes.plot(loads, overlap, color=colour, lw=1.8, gid=f"temperature {heat:g}")
        mark_loads(axes, loads, overlap, marks, colour)
        for point in (simulations or {}).get(heat, ()):
            draw_point(axes, point, colour, "overlap")
        known = np.flatnonzero(np.isfinite(overlap))
        if not len(known):
            empty.append(f"T = {heat:g}")
            continue
        end = known[-1]
        if end < len(loads) - 1:
            axes.plot([loads[end]] * 2, [0, overlap[end]], color=colour, lw=1, ls=":", gid="end")
        axes.annotate(
            f"T = {heat:g}", (float(loads[end]), float(overlap[end])), xytext=(5, 0), textcoords="offset points",
            fontsize=SMALL, color=colour, va="center", annotation_clip=False,
        )  # fmt: skip
    if empty:
        remark(axes, f"no retrieval at these loads: {', '.join(empty)}", (0.02, 0.1))
    if simulations:
        n = next(iter(simulations.values()))[0].n
        remark(axes, f"circles: simulation, n = {n}, with standard errors", (0.02, 0.04))
    return figure
