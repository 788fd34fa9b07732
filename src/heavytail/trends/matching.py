"""Which line of a table of qualities is a model's: the names of files and of tables seldom agree to the letter."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from heavytail.errors import RequestError
from heavytail.trends.choices import listed
from heavytail.trends.metrics import METRICS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ALSO", "join", "match"]

ALSO = "also called"
"""Column with another name of a model; empty where it has none."""

_SHOWN = 5
_SEPARATOR = re.compile(r"[-_. ]")


def match(name: str, known: Sequence[str]) -> str | None:
    """Find the one of some names that a model goes by, None if there is none.

    The exact name comes first, then the same in other letters, then a name that the model's begins with up to a
    separator (-, _, ., or a space), the longest of them: "resnet20" for "resnet20-12fca82f".

    Args:
        name: of the model.
        known: the names there are.

    Raises:
        RequestError: if two names that differ in their letters alone fit equally well.

    Example:
        >>> match("ResNet20-12fca82f", ["resnet2", "resnet20", "resnet20x"])
        'resnet20'
    """
    ends = [len(name), *sorted((found.start() for found in _SEPARATOR.finditer(name)), reverse=True)]
    for beginning in (name[:end] for end in ends):
        if beginning in known:
            return beginning
        found = sorted({one for one in known if one.lower() == beginning.lower()})
        if len(found) > 1:
            raise RequestError(f"the model {name!r} could be {' or '.join(map(repr, found))}")
        if found:
            return found[0]
    return None


def join(frame: pd.DataFrame, figures: pd.DataFrame, column: str, where: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Give each model the line of figures that is its own.

    Args:
        frame: a row a model, its name in `model`, another one it may go by in `ALSO`.
        figures: the lines, each with the name of a model in `model`.
        column: of the quality, in which the lines of one model must agree.
        where: what to call `figures` in notes and errors.

    Returns:
        The models that have a line, with its columns; and notes on those that have none or go by another name.

    Raises:
        RequestError: if no model has a line, or it is not clear whose a line is.
    """
    import pandas as pd

    names, known = list(frame["model"]), list(dict.fromkeys(figures["model"]))
    also = frame[ALSO].fillna("") if ALSO in frame else [""] * len(frame)
    found = [match(name, known) or match(other, known) for name, other in zip(names, also, strict=True)]
    taken = _shared_out(names, found, where)
    if not any(taken):
        near = get_close_matches(names[0], known, _SHOWN, 0)
        raise RequestError(
            f"{where} has none of the models {listed(names)}; the nearest to the first are {listed(near)}"
        )
    ours = [str(name) for name in figures.columns if name in METRICS and name in frame]  # what was measured stays
    figures = figures.drop(columns=ours)
    lines = {name: _line(figures[figures["model"] == name], name, column, where) for name in taken if name}
    other = pd.DataFrame([lines[name] if name else {} for name in taken], index=frame.index).drop(columns="model")
    replaced = [name for name in frame.columns if name in other.columns]
    renamed = [f"{a} is {b}" for a, b in zip(names, taken, strict=True) if b and a != b]
    nowhere = [a for a, b in zip(names, taken, strict=True) if b is None]
    notes = (
        f"taken from {where}: {listed(replaced)}" if replaced else "",
        f"not taken from {where}: {listed(ours)}" if ours else "",
        f"found in {where} under another name: {listed(renamed, 20)}" if renamed else "",
        f"left out, not in {where}: {listed(nowhere)}" if nowhere else "",
    )
    joined = pd.concat([frame.drop(columns=[*replaced, ALSO], errors="ignore"), other], axis=1)
    return joined[[name is not None for name in taken]], tuple(filter(None, notes))


def _shared_out(names: Sequence[str], found: Sequence[str | None], where: str) -> list[str | None]:
    """Let a line have one model: the one that has its whole name, else the only one whose name begins with it."""
    whole = {line for name, line in zip(names, found, strict=True) if line and name.lower() == line.lower()}
    taken = [
        line if line is None or line not in whole or name.lower() == line.lower() else None
        for name, line in zip(names, found, strict=True)
    ]
    for line in dict.fromkeys(filter(None, taken)):
        who = sorted({name for name, one in zip(names, taken, strict=True) if one == line})
        if len(who) > 1:
            raise RequestError(f"{line!r} of {where} could be {' or '.join(map(repr, who))}: write the names in full")
    return taken


def _line(lines: pd.DataFrame, name: str, column: str, where: str) -> Mapping[str, Any]:
    """Give the one line of a model."""
    given = lines[lines[column].notna()]
    if given[column].nunique() > 1:
        others = [c for c in lines.columns if c != column and given[c].nunique(dropna=False) > 1]
        raise RequestError(
            f"{where} has {len(given)} lines for {name!r}, with {column} {listed(given[column].unique())}; "
            f"--where can choose by {listed(others) or 'nothing: they differ in nothing else'}"
        )
    return dict((given if len(given) else lines).iloc[0])
