"""The verb trends: many models, their metrics against their quality."""

from __future__ import annotations

import argparse

from heavytail.cli.shared import DONE, check_targets, open_console, show_progress, write_report
from heavytail.errors import RequestError

__all__ = ["add"]

_FORMATS = ("json", "csv", "html")


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    trends = verbs.add_parser(
        "trends",
        help="see how the metrics of many models go with their quality",
        description="Measure how the metrics of models go with their quality: in every series, within all series "
        "together, and pooled over all models, where series of different levels can show the opposite.",
        epilog="Exit codes: 0 done; 2 the request or a source cannot be understood.",
    )
    trends.add_argument(
        "sources",
        metavar="SOURCE",
        nargs="+",
        help="a table with a row a model (CSV, Parquet), or models: checkpoints, or what analyze wrote of them",
    )
    trends.add_argument("--quality", metavar="FILE", help="a table of the models' quality, where SOURCE has none")
    trends.add_argument("--target", metavar="COLUMN", help="the quality (default: the first column that is known)")
    better = trends.add_mutually_exclusive_group()
    for which, value in (("lower", False), ("higher", True)):
        better.add_argument(
            f"--{which}-is-better",
            dest="higher_is_better",
            action="store_const",
            const=value,
            help="of the quality (default: what its name says, higher if it says nothing)",
        )
    trends.add_argument(
        "--group",
        metavar="COLUMN,...",
        default="",
        help="columns that make the groups (default: series by data set)",
    )
    trends.add_argument(
        "--metrics", metavar="NAME,...", default="", help="columns, or ln(COLUMN), log10(COLUMN) (default: the usual)"
    )
    trends.add_argument(
        "--where", metavar="COND", action="append", default=[], help="only models with COLUMN=GLOB, or COLUMN!=GLOB"
    )
    for name in _FORMATS:
        dash = ", - for standard output" if name == "json" else ""
        trends.add_argument(f"--{name}", metavar="FILE", help=f"write the report as {name}{dash}")
    trends.add_argument("--seed", metavar="S", type=int, default=0, help="seed of what is drawn (default: 0)")
    trends.add_argument("--jobs", metavar="N", type=int, help="threads of an analysis (default: all processors)")
    trends.add_argument("--cache", metavar="DIR", help="keep finished results of analyses there")
    trends.add_argument("--quiet", action="store_true", help="no table and no progress")
    trends.set_defaults(run=_trends)


def _trends(options: argparse.Namespace) -> int:
    from heavytail.trends import read_table, trends

    if options.seed < 0:
        raise RequestError(f"--seed is {options.seed}; it must be at least 0")
    targets = {name: path for name in _FORMATS if (path := getattr(options, name)) is not None}
    check_targets(targets, *options.sources, *([options.quality] if options.quality else []))
    named = ("quality", "target", "higher_is_better", "where", "jobs", "cache")
    with show_progress(options.quiet) as progress:
        table = read_table(
            options.sources,
            group=_names(options.group),
            metrics=_names(options.metrics),
            progress=progress,
            **{name: getattr(options, name) for name in named},
        )
    report = trends(table, options.seed)
    write_report(report, targets)
    if not options.quiet and targets.get("json") != "-":
        from heavytail.terminal.trends import print_trends

        print_trends(report, open_console())
    return DONE


def _names(text: str) -> list[str]:
    return [name for part in text.split(",") if (name := part.strip())]
