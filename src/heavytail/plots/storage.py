"""What perceptrons and memories can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from heavytail.learning._gauss import Array
from heavytail.learning.results import Simulation
from heavytail.plots.learning import draw_point
from heavytail.plots.style import COLOURS, QUIET, SMALL, End, label_ends, new_figure, remark, shades

__all__ = ["capacity_curves", "memory_curves"]


def capacity_curves(found: Mapping[str, object], *, title: str = "") -> Figure:
    """Draw the capacity along the margin, and beside it the load of noisy examples that can be fitted.

    Args:
        found: arrays `margin`, `spherical` and `ising` of one shape, `label_noise` and `separable_load` of another.
        title: above the figure.
    """
    figure, (left, right) = new_figure(
        "", "capacity (patterns per weight)", "separable load (examples per weight)", title=title, size=(10.0, 4.6)
    )
    left.set_xlabel("margin", fontsize=left.yaxis.label.get_fontsize())
    right.set_xlabel("label noise (probability of a flip)", fontsize=left.yaxis.label.get_fontsize())
    margin = np.asarray(found["margin"])
    left.set_xlim(float(margin.min()), max(float(margin.max()), float(margin.min()) + 1e-9))
    left.set_ylim(0, 1.05 * float(np.max(np.asarray(found["spherical"]))))
    ends = []
    for name, colour in (("spherical", COLOURS[0]), ("ising", COLOURS[1])):
        values = np.asarray(found[name])
        left.plot(margin, values, color=colour, lw=1.8, marker="o" if len(margin) < 3 else "", gid=name)
        ends.append(End("Ising" if name == "ising" else name, colour, float(values[-1])))
    label_ends(left, ends)
    noise, load = np.asarray(found["label_noise"]), np.asarray(found["separable_load"])
    right.plot(noise, load, color=COLOURS[2], lw=1.8, marker="o" if len(noise) < 3 else "", gid="separable load")
    right.axhline(2, color=QUIET, lw=1, ls=(0, (4, 3)), zorder=0)
    right.annotate(
        "random labels: 2", (0.02, 2), xycoords=("axes fraction", "data"), xytext=(0, -11), textcoords="offset points",
        fontsize=SMALL, color=QUIET,
    )  # fmt: skip
    right.set_xlim(0, 0.5)
    finite = load[np.isfinite(load)]
    right.set_ylim(0, min(8.0, 1.05 * float(finite.max())) if len(finite) else 8.0)
    return figure


def memory_curves(
    loads: Array,
    overlaps: Mapping[float, Array],
    simulations: Mapping[float, Sequence[Simulation]] | None = None,
    *,
    title: str = "",
) -> Figure:
    """Draw the overlap with the retrieved pattern along the load, by temperature, with simulations as points.

    Args:
        loads: patterns per spin, shape (n,).
        overlaps: by temperature, shape (n,); NaN where there is no retrieval.
        simulations: by temperature, with samples of `overlap`.
        title: above the figure.
    """
    figure, (axes,) = new_figure("load (patterns per spin)", "overlap with the retrieved pattern", title=title)
    axes.set_xlim(0, float(loads.max()))
    axes.set_ylim(0, 1.02)
    colours = [COLOURS[0]] if len(overlaps) == 1 else shades(len(overlaps))[::-1]
    for (heat, overlap), colour in zip(overlaps.items(), colours, strict=True):
        axes.plot(loads, overlap, color=colour, lw=1.8, gid=f"temperature {heat:g}")
        known = np.flatnonzero(np.isfinite(overlap))
        for point in (simulations or {}).get(heat, ()):
            draw_point(axes, point, colour, "overlap")
        if len(known):
            end = known[-1]
            if end < len(loads) - 1:
                axes.plot([loads[end]] * 2, [0, overlap[end]], color=colour, lw=1, ls=":")
            axes.annotate(
                f"T = {heat:g}", (float(loads[end]), float(overlap[end])), xytext=(5, 0), textcoords="offset points",
                fontsize=SMALL, color=colour, va="center", annotation_clip=False,
            )  # fmt: skip
    if simulations:
        n = next(iter(simulations.values()))[0].n
        remark(axes, f"circles: simulation, n = {n}, with standard errors", (0.02, 0.04))
    return figure
