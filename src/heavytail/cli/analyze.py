"""The verb analyze: every weight matrix of a model."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

from heavytail.cli.shared import DONE, FORMATS, IN_PART, check_targets, open_console, show_progress, write_report
from heavytail.errors import RequestError

__all__ = ["add"]


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
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
    for name in FORMATS:
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


def _analyze(options: argparse.Namespace) -> int:
    from heavytail.analysis import analyze, estimate, measure_rate, threads_of

    names = ("layers", "conv", "convention", "nulls", "vectors", "bootstrap", "memory_limit")
    what = {name: getattr(options, name) for name in names}
    targets = {name: path for name in FORMATS if (path := getattr(options, name)) is not None}
    if options.dry_run:
        if targets:
            raise RequestError(f"--dry-run makes no report that --{next(iter(targets))} could write")
        from heavytail.terminal.analysis import print_estimate

        print_estimate(estimate(options.source, **what), measure_rate(), threads_of(options.jobs), open_console())
        return DONE
    check_targets(targets, options.source)
    how = {name: getattr(options, name) for name in ("seed", "jobs", "cache", "device", "approximate")}
    with show_progress(options.quiet) as progress, _workers(options.scheduler) as executor:
        report = analyze(options.source, executor=executor, progress=progress, **how, **what)
    write_report(report, targets)
    if not options.quiet and targets.get("json") != "-":
        from heavytail.terminal.analysis import print_report

        print_report(report, open_console())
    return DONE if report.complete else IN_PART


@contextmanager
def _workers(scheduler: str | None) -> Iterator[Executor | None]:
    """Give the workers of a scheduler; None where there is none."""
    if scheduler is None:
        yield None
        return
    from heavytail.analysis.cluster import cluster

    with cluster(scheduler) as executor:
        yield executor
