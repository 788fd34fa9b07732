"""The dense grids of figures, which are exact where something jumps, whatever loads were asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from heavytail.errors import RequestError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["check_figure", "dense", "traced"]

_MOST_LINES = 9
_PIECES = 50  # of a step across which something jumps, twice
_MOST_JUMPS = 8
_CUSP = (-0.03, -0.01, -0.003, -0.001, 0.0, 0.001, 0.003, 0.01, 0.03)
"""Loads about 1, where errors peak that have no penalty, less 1."""


def check_figure(plot: str | None, lines: int, /, **ranges: Sequence[float] | np.ndarray) -> None:
    """Refuse what no figure can show, before the work.

    Args:
        plot: the file of the figure, if there is to be one.
        lines: that it has.
        ranges: what was asked for along its axes, by name.

    Raises:
        RequestError: if there are too many lines, or one value where a range is needed.
    """
    if plot is None:
        return
    if lines > _MOST_LINES:
        raise RequestError(f"--plot draws at most {_MOST_LINES} lines that can be told apart; this asks for {lines}")
    for name, values in ranges.items():
        if min(values) == max(values):
            raise RequestError(f"--plot needs a range of {name.replace('_', ' ')}; {values[0]:g} is one value")


def dense(asked: Sequence[float] | np.ndarray, count: int = 200) -> np.ndarray:
    """Give those asked for and many between them, evenly spaced as they are, or as their logarithms are.

    Args:
        asked: at least two different ones, shape (n,).
        count: of the even ones.
    """
    import numpy as np

    given = np.unique(np.asarray(asked, dtype=float))
    low, high = given[0], given[-1]
    spaced = np.geomspace if _is_logarithmic(given) else np.linspace
    more = np.append(spaced(low, high, count) if len(given) < count else [], 1 + np.array(_CUSP))
    after = np.clip(np.searchsorted(given, more), 1, len(given) - 1)
    apart = np.minimum(abs(more - given[after]), abs(more - given[after - 1])) > 1e-9 * (high - low)
    inside = (low < more) & (more < high)
    return np.unique(np.concatenate([given, more[apart & inside]]))


def _is_logarithmic(asked: np.ndarray) -> bool:
    """Tell whether ascending values are spaced as logarithms: evenly, or about so over a wide range."""
    import numpy as np

    low, high = asked[0], asked[-1]
    if low <= 0 or high < 3 * low:
        return False
    even = len(asked) > 4 and np.ptp(np.diff(np.log(asked))) < 1e-6
    return bool(even or (high > 30 * low and np.median(asked) < 0.25 * (low + high)))


def traced(
    solve: Callable[[np.ndarray], Mapping[str, np.ndarray]],
    values: np.ndarray,
    kind: Callable[[Mapping[str, np.ndarray]], np.ndarray],
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Solve for ascending values, and between those across which the kind of the answer changes, for many more.

    Args:
        solve: gives arrays of the shape of what it is given.
        values: shape (n,).
        kind: of each answer, from those arrays.

    Returns:
        All values, ascending, and the arrays for them.
    """
    import numpy as np

    found = dict(solve(values))
    for _ in range(2):
        kinds = kind(found)
        jumps = np.flatnonzero(kinds[1:] != kinds[:-1])
        if not 0 < len(jumps) <= _MOST_JUMPS:
            break
        between = np.concatenate([np.linspace(values[k], values[k + 1], _PIECES + 1)[1:-1] for k in jumps])
        more = solve(between)
        values = np.concatenate([values, between])
        order = np.argsort(values, kind="stable")
        values = values[order]
        found = {name: np.concatenate([found[name], more[name]])[order] for name in found}
    return values, found
