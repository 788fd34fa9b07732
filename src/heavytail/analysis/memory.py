"""How much memory there is, and how much of it a user allows."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from math import inf
from pathlib import Path

from heavytail.errors import RequestError

__all__ = ["available", "budget", "resident", "size_of", "written"]

_UNITS = ("", "k", "m", "g", "t")
_SIZE = re.compile(r"\s*(\d{1,15}(?:\.\d{1,15})?)\s*(?:([kmgt])(i?))?b?\s*", re.IGNORECASE | re.ASCII)
_GROUP = Path("/sys/fs/cgroup").joinpath
_SPARE = 64 << 20  # what Python itself takes more while it works
_SHARE = 0.8  # of the memory that is free is taken where no limit is given
_USUAL = 250 << 20  # what a process takes with all libraries loaded, where the system does not tell


def size_of(value: int | str) -> int:
    """Read a size in bytes: a number, or a text such as "3GB" (powers of 1000) or "3GiB" (of 1024).

    Raises:
        RequestError: if it is none.

    Example:
        >>> size_of("1.5GB"), size_of("2 GiB"), size_of(1000)
        (1500000000, 2147483648, 1000)
    """
    size = value if isinstance(value, int) and not isinstance(value, bool) else 0
    if isinstance(value, str) and (found := _SIZE.fullmatch(value)):
        number, unit, binary = found.groups("")
        size = round(float(number) * (1024 if binary else 1000) ** _UNITS.index(unit.lower()))
    if size > 0:
        return size
    raise RequestError(f"memory limit is {value!r}; it must be a size such as '3GB'")


def written(size: float) -> str:
    """Write a size for people.

    Example:
        >>> written(3_100_000_000), written(20_000_000)
        ('3.1 GB', '20 MB')
    """
    if size < 1000:
        return f"{size:.0f} bytes"
    for name in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.5:
            return f"{size:.3g} {name}" if name != "kB" else f"{size:.0f} kB"
    return f"{size / 1000:.3g} TB"


def resident() -> int:
    """Give the bytes of memory that this process holds now."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return _USUAL


def budget(limit: int | str | None) -> float:
    """Give the bytes that the work may take under a limit of the whole process; infinite without one.

    Raises:
        RequestError: if the limit is no size, or the process itself is larger.
    """
    if limit is None:
        return inf
    # What is loaded sooner or later counts from the start.
    import scipy.linalg.lapack  # noqa: F401
    import threadpoolctl  # noqa: F401

    left = size_of(limit) - resident() - _SPARE
    if left <= 0:
        least = written(resident() + _SPARE)
        raise RequestError(f"memory limit is {limit}; the process itself takes {least} before it has read anything")
    return left


def available() -> float:
    """Give the bytes that may be taken where no limit is given: most of what the system, or the container, has free."""
    free = inf
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    with suppress(OSError, ValueError):  # "max" where there is no limit
        free = min(free, int(_GROUP("memory.max").read_text()) - int(_GROUP("memory.current").read_text()))
    return max(free, 0) * _SHARE
