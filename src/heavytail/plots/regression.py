"""Regression with a linear teacher: double descent, and stopping early."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from heavytail.learning._gauss import Array
from heavytail.learning.early_stopping import FlowState
from heavytail.learning.results import Simulation
from heavytail.learning.ridge import RidgeState
from heavytail.plots.learning import draw_point, mark_loads, name_points, set_load_limits
from heavytail.plots.style import COLOURS, FAINT, INK, QUIET, SMALL, End, label_ends, new_figure, remark, shades

__all__ = ["double_descent", "early_stopping"]

_CEILING = 3.0  # times the error of knowing nothing, which is 1


def double_descent(
    states: Mapping[str, RidgeState],
    simulations: Mapping[str, Sequence[Simulation]] | None = None,
    *,
    title: str = "",
    marks: Array | None = None,
) -> Figure:
    """Draw the mean squared error of ridge regression along the load, for penalties by name.

    Errors above three times that of knowing nothing are off the figure; without a penalty it is infinite at load 1.

    Args:
        states: by name, each along loads of shape (n,).
        simulations: of some of the names, with samples of `error`.
        title: above the figure.
        marks: loads to be marked on the lines, if they are few.
    """
    figure, (axes,) = new_figure("load (samples per parameter)", "mean squared error of a parameter", title=title)
    set_load_limits(axes, np.concatenate([np.atleast_1d(state.load) for state in states.values()]))
    axes.set_ylim(0, _CEILING)
    axes.axhline(1, color=FAINT, lw=1, zorder=0)
    remark(axes, "knowing nothing", (0.99, 1 / _CEILING + 0.02), right=True)
    ends = []
    for (name, state), colour in zip(states.items(), _colours(len(states)), strict=True):
        axes.plot(state.load, state.error, color=colour, lw=1.8, gid=name)
        low = np.where(np.asarray(state.error) <= _CEILING, state.error, np.nan)
        mark_loads(axes, np.atleast_1d(state.load), np.atleast_1d(low), marks, colour)
        for point in (simulations or {}).get(name, ()):
            draw_point(axes, point, colour)
        ends.append(End(name, colour, min(float(np.atleast_1d(state.error)[-1]), _CEILING)))
    label_ends(axes, ends)
    name_points(axes, simulations or {})
    return figure


def _colours(count: int) -> list[str]:
    return list(COLOURS[:count]) if count <= len(COLOURS) else shades(count)


def early_stopping(
    flow: FlowState, temperature: Array, best: FlowState, ridge_error: float, *, title: str = ""
) -> Figure:
    """Draw the errors of a linear model along the time of its gradient flow, and beside them the temperature.

    Args:
        flow: at one load, along ascending times above 0, shape (n,).
        temperature: that stopping there amounts to, shape (n,); NaN where it amounts to none.
        best: the flow stopped at the best time.
        ridge_error: of the best ridge regression.
        title: above the figure.
    """
    label = "time of stopping"
    figure, (left, right) = new_figure(label, "mean squared error", "temperature", title=title, size=(10.0, 4.6))
    time, learned, memorised = np.asarray(flow.time), np.asarray(flow.error), np.asarray(flow.training_error)
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xlim(float(time[0]), float(time[-1]))
        axes.axvline(float(best.time), color=QUIET, lw=1, ls=(0, (4, 3)), zorder=0)
    left.set_ylim(0, 1.05 * float(max(learned.max(), memorised.max())))
    left.plot(time, learned, color=COLOURS[0], lw=1.9, gid="error")
    left.plot(time, memorised, color=COLOURS[1], lw=1.9, gid="training error")
    left.axhline(ridge_error, color=FAINT, lw=1.2, zorder=0)
    left.plot(best.time, best.error, "o", ms=6, color=COLOURS[0], markerfacecolor="white", markeredgewidth=1.5)
    left.annotate(
        f"stop at {float(best.time):.2f}", (float(best.time), 0.94), xycoords=("data", "axes fraction"), xytext=(5, 0),
        textcoords="offset points", fontsize=SMALL, color=QUIET,
    )  # fmt: skip
    ends = [
        End("error", COLOURS[0], float(learned[-1])),
        End("training\nerror", COLOURS[1], float(memorised[-1])),
        End("best ridge", QUIET, ridge_error),
    ]
    label_ends(left, ends)
    right.plot(time, temperature, color=INK, lw=1.9, gid="temperature")
    known = temperature[np.isfinite(temperature)]
    right.set_ylim(0, 1.05 * float(known.max()) if len(known) else 1)
    return figure
