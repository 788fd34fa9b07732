"""What the verbs share: exit codes, where results go, the console and progress."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heavytail.errors import RequestError, visible

if TYPE_CHECKING:
    from rich.console import Console

    from heavytail.analysis.pipeline import Progress

__all__ = [
    "CHECK_FAILED",
    "DONE",
    "FORMATS",
    "IN_PART",
    "NOT_UNDERSTOOD",
    "check_targets",
    "open_console",
    "show_progress",
    "write_report",
]

DONE, CHECK_FAILED, NOT_UNDERSTOOD, IN_PART = 0, 1, 2, 3
FORMATS = ("json", "csv", "parquet", "html")


def check_targets(targets: dict[str, str], *inputs: str) -> None:
    """Fail before the work rather than after it if a result cannot be written, or would take the place of an input.

    Args:
        targets: for each format the path of its file, or -.
        inputs: paths that are read.
    """
    taken = {os.path.realpath(path): f"what is read, {path}" for path in inputs}
    for name, path in targets.items():
        if path != "-" and (other := taken.get(real := os.path.realpath(path))):
            raise RequestError(f"--{name} {path}: would write over {other}")
        if path != "-":
            taken[real] = f"--{name}"
        if path == "-":
            if name == "json":
                continue
            raise RequestError(f"--{name} -: only --json can go to standard output")
        folder = Path(path).parent
        if not folder.is_dir():
            raise RequestError(f"--{name} {path}: there is no folder {folder}")
        if Path(path).is_dir() or not os.access(path if Path(path).exists() else folder, os.W_OK):
            raise RequestError(f"--{name} {path}: cannot be written")
    if "parquet" in targets and find_spec("pyarrow") is None:
        raise RequestError("--parquet needs pyarrow: pip install 'heavytail[parquet]'")


def write_report(report: Any, targets: dict[str, str]) -> None:
    """Write a report in each of the formats asked for, to its file."""
    for name, path in targets.items():
        if path == "-":
            sys.stdout.write(report.to_json())
            continue
        try:
            getattr(report, f"to_{name}")(path)
        except OSError as error:
            raise RequestError(f"{path}: {error.strerror or error}") from error


def open_console() -> Console:
    """Give the console of standard output, wide where it is no terminal."""
    from rich.console import Console

    class Piped(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return Piped(width=None if sys.stdout.isatty() else 200)


@contextmanager
def show_progress(quiet: bool) -> Iterator[Progress | None]:
    """Show progress on standard error: a bar on a terminal, else a plain line every few seconds."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("reading", total=None)

            def advance(name: str, done: float, total: float) -> None:
                bar.update(task, description=escape(visible(name)), completed=done, total=total)

            yield advance
    else:
        from heavytail.terminal.texts import human_time

        start = last = time.monotonic()

        def say(name: str, done: float, total: float) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last > 5 and done:
                last = now
                left = human_time((now - start) * (total - done) / done)
                sys.stderr.write(f"{done / total:.0%} of the work done, about {left} left, last {visible(name)}\n")

        yield say
