"""The verb compare: what fine-tuning, merging, quantisation or an adapter changed."""

from __future__ import annotations

import argparse

from heavytail.cli.shared import DONE, FORMATS, IN_PART, check_targets, open_console, show_progress, write_report

__all__ = ["add"]


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    compare = verbs.add_parser(
        "compare",
        help="say what fine-tuning, quantisation or an adapter changed",
        description="Compare a model with what was made of it: the spectrum of the change, its noise, spikes and rank; "
        "the leading directions; every metric before and after. The second model may be a LoRA adapter of the first.",
        epilog="Exit codes: 0 done; 2 the request or a model cannot be understood; 3 done in part.",
    )
    compare.add_argument("base", metavar="BASE", help="the model before: a file, a folder or a URL")
    compare.add_argument("tuned", metavar="TUNED", help="the model after, in any container, or a LoRA adapter of BASE")
    for name in FORMATS:
        dash = ", - for standard output" if name == "json" else ""
        compare.add_argument(f"--{name}", metavar="FILE", help=f"write the comparison as {name}{dash}")
    compare.add_argument("--layers", metavar="GLOB", action="append", help="only layers of a matching name")
    compare.add_argument(
        "--conv",
        metavar="HOW",
        default="slices",
        help="a convolution as slices (a matrix for each kernel position; default) or unfold (one matrix)",
    )
    compare.add_argument(
        "--bootstrap",
        metavar="N",
        type=int,
        default=200,
        help="resample each pair of spectra N times for the intervals of changes (default: 200; 0 for none)",
    )
    compare.add_argument(
        "--directions",
        metavar="K",
        type=int,
        default=10,
        help="leading singular directions held against each other (default: 10)",
    )
    compare.add_argument("--seed", metavar="S", type=int, default=0, help="seed of the resampling (default: 0)")
    compare.add_argument("--jobs", metavar="N", type=int, help="threads (default: all processors)")
    compare.add_argument(
        "--cache", metavar="DIR", help="keep there what is found of either model, as analyze does: compare a base once"
    )
    compare.add_argument(
        "--memory-limit", metavar="SIZE", help="of this process, such as 2GB; matrices are read in parts to keep to it"
    )
    compare.add_argument("--quiet", action="store_true", help="no table and no progress")
    compare.set_defaults(run=_compare)


def _compare(options: argparse.Namespace) -> int:
    from heavytail.comparison import compare

    targets = {name: path for name in FORMATS if (path := getattr(options, name)) is not None}
    check_targets(targets, options.base, options.tuned)
    names = ("layers", "conv", "bootstrap", "directions", "seed", "jobs", "cache", "memory_limit")
    with show_progress(options.quiet) as progress:
        comparison = compare(
            options.base, options.tuned, progress=progress, **{name: getattr(options, name) for name in names}
        )
    write_report(comparison, targets)
    if not options.quiet and targets.get("json") != "-":
        from heavytail.terminal.compare import print_comparison

        print_comparison(comparison, open_console())
    return DONE if comparison.complete else IN_PART
