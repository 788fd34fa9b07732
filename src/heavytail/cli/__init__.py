"""The command line. It holds no logic: it reads the request, calls the library and writes what was asked for."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import heavytail
from heavytail.cli import analyze, compare, demo, lab, learning, rank, reproduce, trends
from heavytail.cli.shared import DONE, NOT_UNDERSTOOD
from heavytail.errors import HeavytailError, RequestError, visible

__all__ = ["main"]

_OUR_FAULT, _INTERRUPTED = 70, 130


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise RequestError(f"{message} (see {self.prog} --help)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code.

    0: done; 1: a check that was asked for failed; 2: the request or the source cannot be understood; 3: done in part,
    some rows failed.
    """
    _prepare_streams()
    try:
        options = _parser().parse_args(arguments)
        code = int(options.run(options))
        sys.stdout.flush()
        return code
    except HeavytailError as error:
        return _say(str(error), NOT_UNDERSTOOD)
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        return _say(f"{error.filename or 'output'}: {error.strerror or error}", NOT_UNDERSTOOD)
    except KeyboardInterrupt as interruption:
        return _say(str(interruption) or "interrupted", _INTERRUPTED)
    except Exception as error:
        if os.environ.get("HEAVYTAIL_TRACEBACK"):
            raise
        text = f"a fault of heavytail itself, {type(error).__name__}: {error}; HEAVYTAIL_TRACEBACK=1 shows where"
        return _say(text, _OUR_FAULT)


def _prepare_streams() -> None:
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever called: what is written goes nowhere
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a sign shows a question mark
            stream.reconfigure(errors="replace")


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"heavytail: {visible(' '.join(text.split()))}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="heavytail", description=heavytail.__doc__)
    parser.add_argument("--version", action="version", version=f"heavytail {heavytail.__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb in (analyze, compare, trends, rank, learning, lab, reproduce, demo):
        verb.add(verbs)
    return parser
