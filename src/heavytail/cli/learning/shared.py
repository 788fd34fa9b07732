"""What the questions about learning share: lists of numbers, equations without a solution, and where answers go."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.util import find_spec
from math import isfinite, isinf
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from heavytail.cli.shared import DONE, check_targets, open_console
from heavytail.errors import ConvergenceError, RequestError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from heavytail.terminal.learning import Table

__all__ = [
    "GRID",
    "Answer",
    "add_outputs",
    "answer",
    "arrays_of",
    "kind_of",
    "number_list",
    "place_of",
    "solve_where_possible",
    "whole",
]

SCHEMA_VERSION = 1
SUFFIXES = (".png", ".svg", ".pdf")
GRID = "START:STOP:COUNT, the same with :log, or numbers with commas"
_MOST = 100_000  # numbers in a list

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a question came to.

    Attributes:
        settings: what was asked, with the defaults filled in.
        results: what goes to the file, arrays and all.
        tables: what goes to the terminal.
        notes: sentences below the tables.
        draw: makes the figure.
    """

    settings: Mapping[str, object]
    results: Mapping[str, object]
    tables: Sequence[Table]
    notes: Sequence[str]
    draw: Callable[[], Figure]


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where the answer goes."""
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="write all numbers as json, - for standard output; null where there is none, or an infinite one, of which "
        "the field infinite has the paths",
    )
    parser.add_argument("--plot", metavar="FILE", help="draw a figure: png, svg or pdf, by the end of its name")


def number_list(text: str) -> tuple[float, ...]:
    """Read START:STOP:COUNT, START:STOP:COUNT:log or numbers with commas.

    Example:
        >>> number_list("0:1:3"), number_list("1:100:3:log"), number_list("0.5,2")
        ((0.0, 0.5, 1.0), (1.0, 10.0, 100.0), (0.5, 2.0))
    """
    start, *rest = text.split(":")
    try:
        numbers = _spaced(float(start), *rest) if rest else tuple(float(part) for part in start.split(","))
    except (ValueError, TypeError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is not {GRID}") from None
    if not all(map(isfinite, numbers)):
        raise argparse.ArgumentTypeError(f"{text!r} has a number that is not finite")
    return numbers


def _spaced(start: float, stop_text: str, count_text: str, spacing: str = "") -> tuple[float, ...]:
    stop, count = float(stop_text), int(count_text)
    if spacing not in ("", "log"):
        raise ValueError
    if not 2 <= count <= _MOST:
        raise argparse.ArgumentTypeError(f"COUNT is {count}; it must be from 2 to {_MOST}")
    if spacing and min(start, stop) <= 0:
        raise argparse.ArgumentTypeError(f"START and STOP are {start:g} and {stop:g}; with :log both must be above 0")
    shares = [k / (count - 1) for k in range(count)]
    if spacing:
        return tuple(start * (stop / start) ** share for share in shares)
    return tuple(start * (1 - share) + stop * share for share in shares)


def whole(text: str) -> int:
    """Read a whole number, from 0."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def answer(solve: Callable[[argparse.Namespace], Answer], options: argparse.Namespace) -> int:
    """Answer a question: see that the answer can be written, find it, and write it where it was asked for."""
    targets = {name: path for name in ("json", "plot") if (path := getattr(options, name)) is not None}
    for name, path in targets.items():
        if not path:
            raise RequestError(f"--{name} is empty; it must be the name of a file")
    check_targets(targets)
    if options.plot:
        if Path(options.plot).suffix.lower() not in SUFFIXES:
            raise RequestError(f"--plot {options.plot}: the name of a figure ends in {', '.join(SUFFIXES)}")
        if find_spec("matplotlib") is None:
            raise RequestError("--plot needs matplotlib: pip install 'heavytail[plot]'")
    found = solve(options)
    if options.plot:
        _draw(found, options.plot)
    if options.json:
        _write_json(found, options.what, options.json)
    if options.json != "-":
        from heavytail.terminal.learning import print_tables

        print_tables(found.tables, found.notes, open_console())
    return DONE


def _draw(found: Answer, path: str) -> None:
    from heavytail.plots import save

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="matplotlib")  # of layouts, which the user cannot mend
        save(found.draw(), path)


def _write_json(found: Answer, what: str, path: str) -> None:
    import heavytail

    infinite: list[str] = []
    document = {
        "schema_version": SCHEMA_VERSION,
        "heavytail": heavytail.__version__,
        "question": what,
        "settings": _plain(found.settings, "settings", infinite),
        "results": _plain(found.results, "results", infinite),
        "infinite": infinite,
        "notes": found.notes,
    }
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    if path == "-":
        sys.stdout.write(text)
    else:
        Path(path).write_text(text, encoding="utf-8")


def _plain(value: Any, path: str, infinite: list[str]) -> Any:
    """Give what json can have: null for numbers that are not finite; the paths of infinite ones go to a list."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{path}.{key}", infinite) for key, item in value.items()}
    if hasattr(value, "tolist"):  # arrays and their scalars
        return _plain(value.tolist(), path, infinite)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item, f"{path}[{k}]", infinite) for k, item in enumerate(value)]
    if isinstance(value, float) and not isfinite(value):
        if isinf(value):
            infinite.append(path)
        return None
    return value


def arrays_of(result: Any) -> dict[str, Any]:
    """Give the fields of a result by their names."""
    return {item.name: getattr(result, item.name) for item in fields(result)}


def solve_where_possible(
    solve: Callable[[np.ndarray], Any], values: np.ndarray, result: type
) -> tuple[dict[str, np.ndarray], str]:
    """Solve for an array of values, those without a solution left empty: its fields as arrays, and the first reason.

    Args:
        solve: gives a result whose fields are arrays of the shape of what it is given, or single values.
        values: shape (n,).
        result: the dataclass that it gives; its texts are called name or phase.
    """
    import numpy as np

    parts = list(_parts(solve, values))
    joined = {}
    for item in fields(result):
        missing = "none" if item.name in ("name", "phase") else np.nan
        pieces = [np.broadcast_to((part or {}).get(item.name, missing), piece.shape) for piece, part, _ in parts]
        joined[item.name] = np.concatenate(pieces)
    return joined, next((reason for _, _, reason in parts if reason), "")


def place_of(name: str, values: np.ndarray) -> str:
    """Name a value, or the range of several."""
    return f"{name} {values[0]:.4g}" if len(values) == 1 else f"{name}s {values.min():.4g} to {values.max():.4g}"


def _parts(
    solve: Callable[[np.ndarray], Any], values: np.ndarray
) -> Iterator[tuple[np.ndarray, dict[str, Any] | None, str]]:
    """Halve what cannot be solved at once, until the values without a solution stand alone."""
    try:
        yield values, arrays_of(solve(values)), ""
    except ConvergenceError as error:
        if len(values) == 1:
            yield values, None, str(error)
            return
        half = len(values) // 2
        yield from _parts(solve, values[:half])
        yield from _parts(solve, values[half:])


def kind_of(weights: str) -> str:
    """Give the name of a kind of weights as it is written: Ising is a person."""
    return {"ising": "Ising"}.get(weights, weights)
