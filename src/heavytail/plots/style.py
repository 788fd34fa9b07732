"""One look for all figures: few lines of ink, names at the lines instead of legends, colours that everyone can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from heavytail.errors import RequestError
from heavytail.learning._gauss import Array

__all__ = [
    "COLOURS",
    "FAINT",
    "INK",
    "QUIET",
    "SMALL",
    "TEXT",
    "End",
    "label_ends",
    "new_figure",
    "of_students",
    "remark",
    "save",
    "shades",
    "spread",
    "with_gaps",
]

INK, QUIET, FAINT = "#222222", "#6b6b6b", "#c9c9c9"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f5539", "#444444", "#117733", "#aa4499")
"""Those of Okabe and Ito (2008) first, without their yellow, which is too light for a line."""

TEXT, SMALL = 10.5, 9.0  # points
_SUFFIXES = ("png", "svg", "pdf")
_LINE_HEIGHT = 1.3  # of a label, in font sizes
_EARLY = 0.85  # of the axes: the name of a line that ends further right stands beside the right edge
_SHARE = 0.85  # of the figure's height that is the axes', about


@dataclass(frozen=True, slots=True)
class End:
    """The name of a line, to stand at its right end.

    Attributes:
        name: as printed.
        colour: of the line.
        height: where the line ends, in data coordinates.
        load: likewise, for a line that ends before the right edge.
    """

    name: str
    colour: str
    height: float
    load: float = float("inf")


def new_figure(
    xlabel: str, *ylabels: str, title: str = "", size: tuple[float, float] = (9.0, 5.4)
) -> tuple[Figure, list[Axes]]:
    """Make a figure with a row of axes of two spines, one for each label of a vertical axis; "" shares the first."""
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    panels = list(np.ravel(figure.subplots(1, len(ylabels), sharey="" in ylabels)))
    for axes, ylabel in zip(panels, ylabels, strict=True):
        axes.set_facecolor("white")
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(QUIET)
        axes.tick_params(which="both", colors=QUIET, labelcolor=INK, labelsize=SMALL)
        axes.set_xlabel(xlabel, fontsize=TEXT, color=INK)
        axes.set_ylabel(ylabel, fontsize=TEXT, color=INK)
    if title:
        figure.suptitle(title, fontsize=12, color=INK, x=0.01, ha="left")
    return figure, panels


def remark(axes: Axes, text: str, place: tuple[float, float], *, colour: str = QUIET, right: bool = False) -> None:
    """Write a small text at a place in fractions of the axes, which is its left end or its right end."""
    side = "right" if right else "left"
    axes.annotate(text, place, xycoords="axes fraction", ha=side, va="center", fontsize=SMALL, color=colour)


def shades(count: int) -> list[str]:
    """Give colours from light to dark blue, for lines that have an order."""
    light, dark = np.array([0x8C, 0xC5, 0xE3]), np.array([0x08, 0x30, 0x6B])
    steps = np.linspace(0, 1, count) if count > 1 else np.ones(1)
    return ["#" + "".join(f"{round(part):02x}" for part in light + step * (dark - light)) for step in steps]


def of_students(students: Sequence[str]) -> list[str]:
    """Give lines colours: one each, or one a student where some have several lines, those from light to dark.

    Args:
        students: whose each line is.
    """
    names = list(dict.fromkeys(students))
    if len(names) == 1:
        return shades(len(students)) if len(students) > 1 else [COLOURS[0]]
    colours = []
    for k, name in enumerate(students):
        number, count = students[:k].count(name), students.count(name)
        base = np.array([int(COLOURS[names.index(name) % len(COLOURS)][i : i + 2], 16) for i in (1, 3, 5)])
        light = 0.6 * (1 - (number + 1) / count)  # share of white
        colours.append("#" + "".join(f"{round(part):02x}" for part in base + light * (255 - base)))
    return colours


def with_gaps(x: Array, y: Array, kind: np.ndarray) -> tuple[Array, Array]:
    """Put a NaN between points of different kinds, so that a line drawn through them is not drawn there."""
    cuts = np.flatnonzero(kind[1:] != kind[:-1]) + 1
    return np.insert(x, cuts, np.nan), np.insert(y, cuts, np.nan)


def label_ends(axes: Axes, ends: Sequence[End]) -> None:
    """Write the names where lines end, within the axes or beside the right edge, moved as little as keeps them apart.

    A thin line leads to those that had to move. The limits of the axes must be final.
    """
    low, high = (axes.transScale.transform((limit, 1))[0] for limit in axes.get_xlim())
    early: list[tuple[float, End]] = []
    late = []
    for end in ends:
        x = (axes.transScale.transform((end.load, 1))[0] - low) / (high - low) if np.isfinite(end.load) else 1.0
        if x < _EARLY:
            early.append((float(x), end))
        else:
            late.append((1.0, end))
    for group in (early, late):
        _write_names(axes, sorted(group, key=lambda pair: pair[1].height))


def _write_names(axes: Axes, ends: Sequence[tuple[float, End]]) -> None:
    """Write names of lines, in the order of their heights, at least a line apart.

    Args:
        axes: of the lines.
        ends: where along the axes, as a fraction, each line ends, and its end.
    """
    bottom, top = (axes.transScale.transform((1, limit))[1] for limit in axes.get_ylim())
    heights = np.maximum([end.height for _, end in ends], axes.get_ylim()[0])
    wanted = np.array([(axes.transScale.transform((1, height))[1] - bottom) / (top - bottom) for height in heights])
    wanted = np.minimum(wanted, 1)
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Figure)
    gap = TEXT * _LINE_HEIGHT / (figure.get_size_inches()[1] * 72 * _SHARE)
    places = np.maximum(spread(wanted, gap), gap * (np.arange(len(ends)) + 0.3))
    moved = bool(np.any(np.abs(places - wanted) > gap / 3))
    for (x, end), place, height in zip(ends, places, wanted, strict=True):
        if moved:
            axes.plot(
                [x + 0.004, x + 0.03], [height, place], transform=axes.transAxes, color=end.colour, lw=0.7, alpha=0.7,
                clip_on=False, gid="leader",
            )  # fmt: skip
        axes.annotate(
            end.name, (x + (0.036 if moved else 0.01), place), xycoords="axes fraction", fontsize=TEXT,
            color=end.colour, va="center", annotation_clip=False,
        )  # fmt: skip


def spread(wanted: Array, gap: float) -> Array:
    """Give heights in the order of those wanted, at least a gap apart and as near to them as can be.

    The least squares solution: of heights less their number of gaps, that do not fall (pool adjacent violators).

    Example:
        >>> spread(np.array([0.0, 0.1, 0.1, 0.9]), 0.2).round(3)
        array([-0.133,  0.067,  0.267,  0.9  ])
    """
    blocks: list[tuple[float, int]] = []
    for value in wanted - gap * np.arange(len(wanted)):
        mean, count = float(value), 1
        while blocks and blocks[-1][0] > mean:
            last, size = blocks.pop()
            mean, count = (mean * count + last * size) / (count + size), count + size
        blocks.append((mean, count))
    means = np.repeat([mean for mean, _ in blocks], [count for _, count in blocks]) if blocks else np.zeros(0)
    return np.asarray(means + gap * np.arange(len(wanted)))


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as png, svg or pdf, by the end of the name; the same figure gives the same bytes.

    Raises:
        RequestError: if the name ends in anything else, or the file cannot be written.
    """
    suffix = Path(path).suffix.lower().lstrip(".")
    if suffix not in _SUFFIXES:
        raise RequestError(f"{path}: the name of a figure ends in .{', .'.join(_SUFFIXES)}")
    dated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[suffix]
    try:
        with rc_context({"svg.hashsalt": "heavytail"}):  # the names within a svg are random else
            figure.savefig(path, format=suffix, dpi=120, metadata=dated)
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror or error}") from error
