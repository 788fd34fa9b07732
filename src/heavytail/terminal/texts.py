"""Texts for people: sizes, durations, and names from files as they can be printed."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len
from rich.markup import escape

from heavytail.errors import visible

__all__ = ["escaped", "human_bytes", "human_time", "shortened", "width_of"]


def human_time(seconds: float) -> str:
    """Write a duration for people.

    Example:
        >>> human_time(3.21), human_time(200), human_time(8000)
        ('3.2 s', '3 min', '2.2 h')
    """
    if seconds < 100:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.2g} h"


def human_bytes(count: float) -> str:
    """Write a number of bytes for people.

    Example:
        >>> human_bytes(134_217_728)
        '134 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def escaped(text: str) -> str:
    """Give a text from a file as it can be printed: neither the terminal nor the markup obeys it."""
    return escape(visible(text))


def width_of(texts: Iterable[str]) -> int:
    """Give the cells that the widest of some texts takes."""
    return max(map(cell_len, texts))


def shortened(name: str, width: int) -> str:
    """Shorten a name to its end, which tells it from the others."""
    return name if cell_len(name) <= width else "…" + name[len(name) - width + 1 :]
