"""Phase diagrams: regions, named where they lie, and the lines between them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from scipy.ndimage import distance_transform_edt, gaussian_filter, zoom

from heavytail.errors import RequestError
from heavytail.learning._gauss import Array
from heavytail.learning.hopfield import MemoryPhases
from heavytail.learning.phases import PhaseDiagram
from heavytail.learning.vsdl import VSDLPath
from heavytail.plots.style import COLOURS, INK, QUIET, SMALL, TEXT, new_figure

__all__ = ["hopfield_phases", "phase_diagram", "vsdl_planes"]

_REGIONS = {
    "smooth": ("#eef4f8", "smooth\nlearning"),
    "poor": ("#dbe9f1", "poor\ngeneralisation"),
    "metastable": ("#e9f0d6", "meta-\nstable"),
    "perfect": ("#c9e2c0", "perfect\ngeneralisation"),
    "metastable glass": ("#f3e6d3", "glass,\nmetastable"),
    "spin glass": ("#ecc9b0", "spin\nglass"),
    "none": ("#ffffff", "no\nsolution"),
}
"""Colour of each phase, and its name in the figure."""

_ROWS = 120  # of the plane in which the phases of a memory find room for their names
_FINER = 6  # steps drawn for each of the grid
_LEAST = 0.004  # share of the plane from which on a region has its name
_BESIDE: dict[str, Any] = {
    "xytext": (75, 0), "textcoords": "offset points", "arrowprops": {"arrowstyle": "-", "color": QUIET, "lw": 0.7},
}  # fmt: skip
"""Where the name of a region stands that has no room for it: at its right, with a line to it."""

_NAME = (24.0, 58.0)  # height and width of a name, in points
_SHARE = 0.9  # of the figure that its axes are, about
_MOSTLY = 0.7  # share of a name that must lie in its region
_TEMPERATURE = "temperature (training errors)"


def phase_diagram(diagram: PhaseDiagram, path: VSDLPath | None = None, *, title: str = "") -> Figure:
    """Draw the phases in the plane of load and temperature, with transition, spinodal and spin-glass line.

    Args:
        diagram: phases on a grid of loads and temperatures, both ascending, at least two of each.
        path: of the VSDL model from A over B to C, for a diagram of clean labels; its loads are the effective ones.
        title: above the figure.

    Raises:
        RequestError: if the loads or the temperatures are not as said.
    """
    effective = "effective load (true examples per weight)" if path else "load (examples per weight)"
    figure, (axes,) = new_figure(effective, _TEMPERATURE, title=title)
    _draw_regions(axes, diagram, path)
    _draw_lines(axes, diagram)
    if path:
        _draw_path(axes, path)
    return figure


def vsdl_planes(path: VSDLPath, model: PhaseDiagram, exact: PhaseDiagram, *, title: str = "") -> Figure:
    """Draw the path from A over B to C twice, in the plane of effective load and temperature.

    Args:
        path: of the VSDL model.
        model: clean labels at the effective load, as the model has it.
        exact: noisy labels at the whole load of the path, on effective loads; of its lines the transition is drawn,
            where its phases in equilibrium have it.
        title: above the figure.
    """
    label = "effective load (true examples per weight)"
    figure, (left, right) = new_figure(label, _TEMPERATURE, "", title=title, size=(11.0, 5.0))
    planes = ((left, model, "the model: only true examples count"), (right, exact, "exact: random labels do harm"))
    for axes, diagram, name in planes:
        _draw_regions(axes, diagram, path)
        _draw_path(axes, path)
        axes.set_title(name, fontsize=TEXT, color=INK, loc="left")
    _draw_lines(left, model)
    perfect = gaussian_filter((exact.phase == "perfect").astype(float), 2, mode="nearest")
    right.contour(exact.loads, exact.temperatures, perfect, [0.5], colors=[INK], linewidths=1.6)
    return figure


def _draw_regions(axes: Axes, diagram: PhaseDiagram, path: VSDLPath | None = None) -> None:
    """Colour the plane, and write the names of the phases where there is room, away from a path."""
    for name, values in (("loads", diagram.loads), ("temperatures", diagram.temperatures)):
        if len(values) < 2 or np.any(np.diff(values) <= 0):
            raise RequestError(f"the {name} of a figure must ascend, and be two at least")
    colours = [colour for colour, _ in _REGIONS.values()]
    loads, temperatures, codes = finer(diagram)
    axes.pcolormesh(
        loads, temperatures, codes, cmap=ListedColormap(colours), vmin=-0.5, vmax=len(colours) - 0.5, shading="nearest",
        rasterized=True, zorder=0,
    )  # fmt: skip
    axes.set_xlim(float(loads[0]), float(loads[-1]))
    axes.set_ylim(float(temperatures[0]), float(temperatures[-1]))
    rows, columns = diagram.region.shape
    free = np.zeros((rows, columns), dtype=bool)
    free[rows // 16 : rows - rows // 16, columns // 16 : columns - columns // 16] = True
    if path:
        free &= _away_from(path, diagram)
    for kind, (_, name) in _REGIONS.items():
        inside = diagram.region == kind
        if inside.mean() >= _LEAST:
            away = inside & free
            row, column = deepest(away if away.any() else inside)
            place = float(diagram.loads[column]), float(diagram.temperatures[row])
            beside = {} if _has_room(axes, inside, row, column) else _BESIDE
            axes.annotate(
                name, place, ha="center", va="center", fontsize=SMALL, color=INK, gid=f"region: {kind}", **beside
            )


def _has_room(axes: Axes, inside: np.ndarray, row: int, column: int) -> bool:
    """Tell whether most of a name of two lines about a cell is inside a region."""
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Figure)
    width, height = figure.get_size_inches() * 72 * _SHARE
    whole = height, width / len(figure.axes)  # of the axes, about
    high, wide = (
        max(round(0.5 * name / points * size), 1) for name, points, size in zip(_NAME, whole, inside.shape, strict=True)
    )
    rows, columns = np.ogrid[-high : high + 1, -wide : wide + 1]
    rows, columns = rows + row, columns + column
    within = (rows >= 0) & (rows < inside.shape[0]) & (columns >= 0) & (columns < inside.shape[1])
    covered = inside[np.clip(rows, 0, inside.shape[0] - 1), np.clip(columns, 0, inside.shape[1] - 1)]
    return bool(np.mean(within & covered) >= _MOSTLY)


def finer(diagram: PhaseDiagram) -> tuple[Array, Array, Array]:
    """Give loads, temperatures and numbers of phases on a finer grid: between points, the phase of the larger share.

    Each phase is 1 or 0 on the grid and linear between, so that slanted borders have no steps.
    """
    rows, columns = ((len(axis) - 1) * _FINER + 1 for axis in (diagram.temperatures, diagram.loads))
    shape = np.array([rows, columns]) / diagram.region.shape
    shares = [zoom((diagram.region == kind).astype(float), shape, order=1) for kind in _REGIONS]
    loads, temperatures = (
        np.interp(np.arange(count) / _FINER, np.arange(len(axis)), axis)
        for count, axis in ((columns, diagram.loads), (rows, diagram.temperatures))
    )
    return loads, temperatures, np.argmax(shares, axis=0)


def _away_from(path: VSDLPath, diagram: PhaseDiagram) -> np.ndarray:
    """Give the cells that are not on a path's arrows, with some room around them."""
    places = [(stop.effective_load, stop.temperature) for stop in path.stops]
    x, y = np.meshgrid(diagram.loads, diagram.temperatures)
    margins = 0.02 * np.array([np.ptp(diagram.loads), np.ptp(diagram.temperatures)])
    free = np.ones(x.shape, dtype=bool)
    for corners in pairwise(places):
        low, high = np.min(corners, axis=0) - margins, np.max(corners, axis=0) + margins
        free &= (x < low[0]) | (x > high[0]) | (y < low[1]) | (y > high[1])
    return free


def deepest(inside: np.ndarray) -> tuple[int, int]:
    """Give the cell of a region that is farthest from its edges; heights count more, for texts are wide."""
    rows, columns = inside.shape
    depth = distance_transform_edt(np.pad(inside, 1), sampling=(2.5 / rows, 1 / columns))[1:-1, 1:-1]
    deep = np.argwhere(depth >= 0.98 * depth.max())
    row, column = deep[np.argmin(np.sum((deep - deep.mean(axis=0)) ** 2, axis=1))]
    return int(row), int(column)


def _draw_lines(axes: Axes, diagram: PhaseDiagram) -> None:
    """Draw the three lines; the first two have their names beside them, the third bounds a region that has its own."""
    lines, low, high = diagram.lines, *axes.get_xlim()
    named = (("transition", lines.transition, INK, "-", -1), ("spinodal", lines.spinodal, COLOURS[0], "--", 1))
    for name, loads, colour, dash, side in (*named, ("spin glass", lines.glass, COLOURS[1], "-.", 0)):
        known = np.isfinite(loads)
        axes.plot(loads[known], lines.temperature[known], color=colour, ls=dash, lw=1.6, gid=name)
        shown = np.flatnonzero(known & (loads > low) & (loads < high))
        if side and len(shown):
            k = shown[round(0.8 * (len(shown) - 1))]
            axes.annotate(
                name, (float(loads[k]), float(lines.temperature[k])), xytext=(9 * side, 0), textcoords="offset points",
                ha="left" if side > 0 else "right", va="center", fontsize=SMALL, color=colour,
            )  # fmt: skip


def _draw_path(axes: Axes, path: VSDLPath) -> None:
    places = [(stop.effective_load, stop.temperature) for stop in path.stops]
    for start, end in pairwise(places):
        axes.annotate(
            "", end, start, arrowprops={"arrowstyle": "-|>", "color": COLOURS[1], "lw": 1.8, "shrinkA": 9, "shrinkB": 9}
        )
    for stop, place in zip(path.stops, places, strict=True):
        axes.plot(
            *place, "o", ms=17, color="white", markeredgecolor=COLOURS[1], markeredgewidth=1.6, zorder=4, clip_on=False
        )
        axes.annotate(
            stop.name, place, ha="center", va="center", fontsize=TEXT, color=COLOURS[1], weight="bold", zorder=5
        )


def hopfield_phases(phases: MemoryPhases, *, title: str = "") -> Figure:
    """Draw the phases of the Hopfield network in the plane of load and temperature (Amit, Gutfreund, Sompolinsky 1985).

    Args:
        phases: along ascending loads, shape (n,).
        title: above the figure.
    """
    figure, (axes,) = new_figure("load (patterns per spin)", "temperature", title=title)
    load, glass = np.asarray(phases.load), np.asarray(phases.glass)
    axes.set_xlim(float(load[0]), float(load[-1]))
    axes.set_ylim(0, 1.12 * float(glass.max()))
    lines = {
        "glass": (glass, QUIET, "-", "#f0d9c8"),
        "retrieval": (phases.retrieval, COLOURS[0], "-", "#dbe9f1"),
        "equilibrium": (phases.equilibrium, INK, "-", "#c9e2c0"),
        "broken": (phases.broken, COLOURS[1], ":", "none"),
    }
    for name, (line, colour, dash, fill) in lines.items():
        x, y = _to_the_axis(load, np.asarray(line))
        axes.fill_between(x, 0, y, facecolor=fill, lw=0)
        axes.plot(x, y, color=colour, ls=dash, lw=1.6, gid=name)
    _name_memory_phases(axes, load, phases)
    x, y = _to_the_axis(load, np.asarray(phases.broken))
    if len(x) > 1:
        ends = x[-1] < 0.8 * load[-1]
        axes.annotate(
            "below the dotted line\nreplica symmetry is broken", (float(x[-1]), float(np.max(y))),
            xytext=(9 if ends else -4, 2), textcoords="offset points", ha="left" if ends else "right", fontsize=SMALL,
            color=COLOURS[1],
        )  # fmt: skip
    return figure


def _to_the_axis(load: Array, line: Array) -> tuple[Array, Array]:
    """Give the known part of a line, let down to the axis where it ends."""
    known = np.isfinite(line)
    x, y = load[known], line[known]
    return (np.append(x, x[-1]), np.append(y, 0.0)) if len(x) and not known.all() else (x, y)


def _name_memory_phases(axes: Axes, load: Array, phases: MemoryPhases) -> None:
    """Write the names of the phases where there is room for them."""
    heat = np.linspace(*axes.get_ylim(), _ROWS)
    places = np.linspace(*axes.get_xlim(), _ROWS)
    glass, retrieval, equilibrium = (
        heat[:, None] < np.interp(places, load, np.nan_to_num(np.asarray(line)))
        for line in (phases.glass, phases.retrieval, phases.equilibrium)
    )
    named = {
        "paramagnet:\nnothing freezes": ~glass,
        "spin glass:\nfrozen in no pattern": glass & ~retrieval,
        "retrieval,\nmetastable": retrieval & ~equilibrium,
        "retrieval": equilibrium,
    }
    for name, inside in named.items():
        if not inside.any():
            continue
        row, column = deepest(inside)
        if _has_room(axes, inside, row, column):
            place = float(places[column]), float(heat[row])
            axes.annotate(name, place, ha="center", va="center", fontsize=TEXT, color=INK)
