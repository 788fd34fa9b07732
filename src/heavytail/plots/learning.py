"""Errors along the load, the temperature or the time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from math import isfinite
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from heavytail.learning._gauss import Array
from heavytail.learning.phases import Transitions
from heavytail.learning.results import LearningCurve, Simulation
from heavytail.learning.sampling import Hysteresis
from heavytail.plots.style import (
    COLOURS,
    FAINT,
    INK,
    QUIET,
    SMALL,
    TEXT,
    End,
    label_ends,
    new_figure,
    of_students,
    remark,
    shades,
    with_gaps,
)

__all__ = [
    "bounds",
    "draw_point",
    "error_against_load",
    "error_against_temperature",
    "ising_transition",
    "learning_curves",
    "mark_loads",
    "name_points",
    "set_load_limits",
]

_LOAD = "load (examples per weight)"
_ERROR = "generalisation error"
_EMPTY = {"spin glass": "spin glass: replica symmetry fails", "none": "no solution"}
_CHANCE = 0.5
_FEW = 12
_WIDE = 0.36  # of the axes, as a text on why there is no answer


def learning_curves(
    curves: Sequence[LearningCurve],
    simulations: Mapping[str, Sequence[Simulation]] | None = None,
    *,
    title: str = "",
    colours: Sequence[str] | None = None,
    dashed: Collection[str] = (),
    marks: Array | None = None,
) -> Figure:
    """Draw generalisation errors along the load, with simulations of finite systems as points.

    Where a curve has no answer nothing is drawn; a hatched strip of its colour at the bottom shows the range.

    Args:
        curves: theory, each named.
        simulations: of some of the names, each with samples of `error`.
        title: above the figure.
        colours: one a curve.
        dashed: names of curves that are no students', as approximations.
        marks: loads to be marked on the curves, if they are few.
    """
    figure, (axes,) = new_figure(_LOAD, _ERROR, title=title)
    colours = colours or [COLOURS[k % len(COLOURS)] for k in range(len(curves))]
    dashes = ["--" if k >= len(COLOURS) or curve.name in dashed else "-" for k, curve in enumerate(curves)]
    set_load_limits(axes, np.concatenate([curve.loads for curve in curves]))
    axes.set_ylim(-0.006, 0.52)
    for curve, colour, dash in zip(curves, colours, dashes, strict=True):
        _draw_curve(axes, curve, colour, dash)
        mark_loads(axes, curve.loads, curve.error, marks, colour)
        for point in (simulations or {}).get(curve.name, ()):
            draw_point(axes, point, colour)
    _mark_empty(axes, curves, colours)
    name_points(axes, simulations or {})
    ends = []
    for curve, colour in zip(curves, colours, strict=True):
        known = np.flatnonzero(np.isfinite(curve.error))
        if len(known):
            ends.append(End(curve.name, colour, float(curve.error[known[-1]]), float(curve.loads[known[-1]])))
    label_ends(axes, ends)
    return figure


def error_against_load(
    curves: Mapping[float, LearningCurve],
    simulations: Mapping[float, Sequence[Simulation]] | None = None,
    *,
    title: str = "",
) -> Figure:
    """Draw one student's error along the load for several label noises, light to dark.

    Args:
        curves: by label noise.
        simulations: likewise, each with samples of `error`.
        title: above the figure.
    """
    names = {noise: f"label noise {noise:g}" for noise in curves}
    named = [replace(curve, name=names[noise]) for noise, curve in curves.items()]
    points = {names[noise]: drawn for noise, drawn in (simulations or {}).items()}
    return learning_curves(named, points, title=title, colours=shades(len(named)))


def _draw_curve(axes: Axes, curve: LearningCurve, colour: str, dash: str = "-") -> None:
    """Draw a line that is broken where the phase changes, with a dotted drop where it is discontinuous."""
    kind = np.where(np.isfinite(curve.error), curve.phase.astype(str), "")
    x, y = with_gaps(curve.loads, curve.error, kind)
    axes.plot(x, y, color=colour, ls=dash, lw=1.7, marker=marker_of(curve.loads), gid=curve.name)
    for k in np.flatnonzero((kind[1:] != kind[:-1]) & (kind[1:] != "") & (kind[:-1] != "")):
        axes.plot([curve.loads[k + 1]] * 2, curve.error[k : k + 2], color=colour, ls=":", lw=1.1, gid="jump")


def marker_of(loads: Array) -> str:
    """Give the marker of a line: dots where it has few points, for the line between them is no theory."""
    return "." if len(loads) < _FEW else ""


def mark_loads(axes: Axes, loads: Array, values: Array, marks: Array | None, colour: str) -> None:
    """Put dots on a line at the loads that were asked for, if they are few."""
    if marks is not None and len(marks) < _FEW:
        marked = np.isin(loads, marks)
        axes.plot(loads[marked], np.asarray(values)[marked], ".", ms=6, color=colour, gid="marks", clip_on=False)


def draw_point(axes: Axes, point: Simulation, colour: str, quantity: str = "error") -> None:
    """Draw the mean of a simulation with its standard error."""
    mean, spread = point.mean(quantity), point.standard_error(quantity)
    low, high = axes.get_ylim()
    if isfinite(mean):
        axes.errorbar(
            point.load, mean, yerr=spread if isfinite(spread) else None, fmt="o", ms=4.5, color=colour,
            markerfacecolor="white", markeredgewidth=1.3, elinewidth=1.2, zorder=3,
            clip_on=not low <= mean <= high,
        )  # fmt: skip


def name_points(axes: Axes, simulations: Mapping[Any, Sequence[Simulation]]) -> None:
    """Say at the upper right what the circles are."""
    if sizes := sorted({point.n for drawn in simulations.values() for point in drawn}):
        text = f"circles: simulation, n = {', '.join(map(str, sizes))}, with standard errors"
        remark(axes, text, (0.99, 0.965), right=True)


def _last(error: Array) -> float:
    known = error[np.isfinite(error)]
    return float(known[-1]) if len(known) else float("nan")


def set_load_limits(axes: Axes, loads: Array) -> None:
    """Set the limits along the load; loads that are evenly spaced as logarithms ask for a logarithmic axis."""
    low, high = float(np.min(loads)), float(np.max(loads))
    if low > 0 and high > 3 * low and np.median(loads) < np.sqrt(np.sqrt(low * high) * (low + high) / 2):
        axes.set_xscale("log")
        axes.set_xlim(low, high)
    else:
        axes.set_xlim(0 if low < 0.3 * high else low, high if high > low else low + 1)


def _mark_empty(axes: Axes, curves: Sequence[LearningCurve], colours: Sequence[str]) -> None:
    """Show by hatched strips at the bottom where curves have no answer, and say once what that means."""
    row = 0
    for curve, colour in zip(curves, colours, strict=True):
        for phase, meaning in _EMPTY.items():
            where = (curve.phase == phase) & ~np.isfinite(curve.error)
            if not where.any():
                continue
            low, high = float(curve.loads[where].min()), float(curve.loads[where].max())
            bottom = 0.03 + 0.036 * row  # above a curve at 0
            axes.axvspan(
                low, high, bottom, bottom + 0.028, facecolor="white", edgecolor=colour, hatch="//////", lw=0.6,
                gid=f"empty: {curve.name}",
            )  # fmt: skip
            inside, right = _strip_text(axes, low, high)
            axes.annotate(
                meaning, (high if inside or not right else low, bottom + 0.014), xycoords=("data", "axes fraction"),
                xytext=(4 if not (inside or right) else -4, 0), textcoords="offset points", fontsize=SMALL - 1,
                color=colour, ha="right" if inside or right else "left", va="center",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
            )  # fmt: skip
            row += 1


def _strip_text(axes: Axes, low: float, high: float) -> tuple[bool, bool]:
    """Tell whether a text has room in a strip; else it stands beside it, left of it if it is far right."""
    (left, _), (right, _) = (axes.transLimits.transform(axes.transScale.transform((x, 1))) for x in (low, high))
    return right - left > _WIDE, right > 1 - _WIDE


def ising_transition(
    equilibrium: LearningCurve,
    poor: LearningCurve,
    lines: Transitions,
    walk: Hysteresis | None = None,
    *,
    title: str = "",
) -> Figure:
    """Draw the discontinuous learning of Ising weights: the jump, the metastable branch, and students that walk there.

    Args:
        equilibrium: the state of least free energy.
        poor: the branch that grows from no load, up to its end.
        lines: transition and spinodal at this temperature, shape (1,).
        walk: simulation with examples added and taken away.
        title: above the figure.
    """
    figure, (axes,) = new_figure(_LOAD, _ERROR, title=title)
    axes.set_xlim(0, float(equilibrium.loads.max()))
    axes.set_ylim(-0.012, 0.52)
    transition, spinodal = float(lines.transition[0]), float(lines.spinodal[0])
    theory, up, down = COLOURS[0], COLOURS[1], COLOURS[2]
    before = equilibrium.loads < transition
    axes.plot(equilibrium.loads[before], equilibrium.error[before], color=theory, lw=2, gid="poor")
    axes.plot(equilibrium.loads[~before], equilibrium.error[~before], color=theory, lw=2, gid="perfect", clip_on=False)
    metastable = (poor.loads >= transition) & np.isfinite(poor.error)
    axes.plot(poor.loads[metastable], poor.error[metastable], color=theory, lw=1.6, ls=(0, (4, 2)), gid="metastable")
    tops = (_at(poor, transition), _last(poor.error))
    for load, height, name in zip((transition, spinodal), tops, ("transition", "spinodal"), strict=True):
        axes.plot([load, load], [0, height], color=theory, lw=1, ls=":")
        axes.annotate(
            f"{name}\n{load:.3f}", (load, height), xytext=(6, 5), textcoords="offset points", fontsize=SMALL, color=INK
        )
    if walk is not None:
        for errors, colour, marker in ((walk.rising, up, "^"), (walk.falling, down, "v")):
            mean, spread = errors.mean(axis=0), errors.std(axis=0, ddof=1) / np.sqrt(len(errors))
            axes.errorbar(
                walk.loads, mean, yerr=spread, fmt=marker, ms=6, color=colour, markerfacecolor="white",
                markeredgewidth=1.3, elinewidth=1.1, zorder=3, clip_on=False,
            )  # fmt: skip
        _key(axes, 0, f"△ examples added, from random students (n = {walk.n})", up)
        _key(axes, 1, "▽ examples taken away, from the teacher", down)
    _key(axes, 2, "— theory, in equilibrium", theory)
    _key(axes, 3, "- - theory, metastable", theory)
    return figure


def _key(axes: Axes, row: int, text: str, colour: str) -> None:
    """Write a line of the key, at the upper right."""
    axes.annotate(text, (0.98, 0.95 - 0.06 * row), xycoords="axes fraction", ha="right", fontsize=TEXT, color=colour)


def _at(curve: LearningCurve, load: float) -> float:
    known = np.isfinite(curve.error)
    return float(np.interp(load, curve.loads[known], curve.error[known]))


def error_against_temperature(
    found: Sequence[Mapping[str, object]], shown: Sequence[tuple[str, str]] | None = None, *, title: str = ""
) -> Figure:
    """Draw the error of one student and of the vote along the temperature, with the Nishimori temperature.

    Args:
        found: for each label noise a mapping with `label_noise`, `nishimori_temperature` and the arrays
            `temperature`, `phase`, `error` and `vote_error`, NaN where there is no answer.
        shown: names and fields of the errors; both if not given.
        title: above the figure.
    """
    figure, (axes,) = new_figure("temperature (training errors)", _ERROR, title=title)
    shown = shown or (("one student (Gibbs)", "error"), ("vote of all students", "vote_error"))
    curves = [(np.asarray(one["temperature"]), np.asarray(one[field])) for one in found for _, field in shown]
    axes.set_xlim(0, max(float(x.max()) for x, _ in curves))
    known = np.concatenate([y[np.isfinite(y)] for _, y in curves])
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, _CHANCE)
    axes.set_ylim(low - 0.12 * (high - low) - 1e-3, high + 0.04 * (high - low) + 1e-3)
    ends = []
    colours = of_students([name for _ in found for name, _ in shown])
    for number, one in enumerate(found):
        suffix = f", label noise {one['label_noise']:g}" if len(found) > 1 else ""
        for k, (name, field) in enumerate(shown):
            colour = colours[number * len(shown) + k]
            x, y = np.asarray(one["temperature"]), np.asarray(one[field])
            axes.plot(x, y, color=colour, lw=1.8, marker=marker_of(x), gid=name + suffix)
            if np.isfinite(y).any():
                ends.append(End(name + suffix, colour, _last(y)))
                least = int(np.nanargmin(y))
                axes.plot([x[least]], [y[least]], "o", ms=6, color=colour, markerfacecolor="white", markeredgewidth=1.5)
        _mark_nishimori(axes, float(np.asarray(one["nishimori_temperature"])), len(found) == 1)
        _mark_glass(axes, np.asarray(one["temperature"])[np.asarray(one["phase"]) == "spin glass"])
    label_ends(axes, ends)
    return figure


def _mark_glass(axes: Axes, temperatures: Array) -> None:
    """Hatch temperatures at which replica symmetry fails."""
    if len(temperatures):
        low, high = float(temperatures.min()), float(temperatures.max())
        low = 0.0 if temperatures.min() < axes.get_xlim()[1] / 20 else low
        axes.axvspan(low, high, facecolor="white", edgecolor=FAINT, hatch="////", lw=0, zorder=0, gid="spin glass")
        axes.annotate(
            "spin glass", (0.5 * (low + high), 0.5), xycoords=("data", "axes fraction"), rotation=90, ha="center",
            va="center", fontsize=SMALL, color=QUIET, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip


def _mark_nishimori(axes: Axes, temperature: float, named: bool) -> None:
    low, high = axes.get_xlim()
    if not low < temperature < high:
        return
    axes.axvline(temperature, color=QUIET, lw=1, ls=(0, (4, 3)), zorder=0)
    text = f"Nishimori temperature {temperature:.3f}" if named else f"{temperature:.3f}"
    axes.annotate(
        text, (temperature, 0.02), xycoords=("data", "axes fraction"), xytext=(5, 0), textcoords="offset points",
        fontsize=SMALL, color=QUIET,
    )  # fmt: skip


def bounds(
    truth: LearningCurve,
    limit: Mapping[str, Array],
    finite: Mapping[str, Array] | None = None,
    n: int | None = None,
    *,
    title: str = "",
    marks: Array | None = None,
) -> Figure:
    """Draw bounds on the error above the true error.

    Args:
        truth: the error of a random student without training errors.
        limit: bounds for infinitely many weights at the loads of the truth, by name.
        finite: bounds for n weights, with the same names, dashed.
        n: number of those weights.
        title: above the figure.
        marks: loads to be marked on the lines, if they are few.
    """
    figure, (axes,) = new_figure(_LOAD, "generalisation error, and bounds on it", title=title)
    set_load_limits(axes, truth.loads)
    axes.set_ylim(-0.012, 1.03)
    axes.axhline(_CHANCE, color=FAINT, lw=1, zorder=0)
    remark(axes, "guessing", (0.99, (_CHANCE + 0.012) / 1.042 + 0.022), right=True)
    _draw_curve(axes, truth, INK)
    mark_loads(axes, truth.loads, truth.error, marks, INK)
    ends = [End("the true error", INK, _last(truth.error))]
    for k, (name, values) in enumerate(limit.items()):
        colour = COLOURS[k % len(COLOURS)]
        axes.plot(truth.loads, np.asarray(values), color=colour, lw=1.8, gid=name)
        mark_loads(axes, truth.loads, values, marks, colour)
        if finite:
            axes.plot(
                truth.loads, np.asarray(finite[name]), color=colour, lw=1.3, ls=(0, (4, 2)), gid=f"{name}, n = {n}"
            )
        ends.append(End(name, colour, float(np.asarray(values)[-1])))
    if finite:
        remark(axes, f"dashed: n = {n} weights", (0.99, 0.93), right=True)
    label_ends(axes, ends)
    return figure
