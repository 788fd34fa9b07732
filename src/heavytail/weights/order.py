"""The order in which a person lists names."""

from __future__ import annotations

import re

__all__ = ["natural"]


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """Give the key that sorts names as a person does: part 2 before part 10.

    Example:
        >>> sorted(["part 10", "part 2"], key=natural)
        ['part 2', 'part 10']
    """
    parts = re.split(r"([0-9]+)", name)  # every second part is a number
    return tuple((0, int(part)) if i % 2 else (1, part) for i, part in enumerate(parts))
