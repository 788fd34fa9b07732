"""The verb rank: models of one family, best first."""

from __future__ import annotations

import argparse

from heavytail.cli.shared import DONE, check_targets, open_console, show_progress, write_report

__all__ = ["add"]


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    rank = verbs.add_parser(
        "rank",
        help="order models of one family by quality, and say how sure that is",
        description="Order models of one family by the metric of their weights that the evidence supports, best "
        "first, and say how sure the order is.",
        epilog="Exit codes: 0 done; 2 the models are not of one family, or a source cannot be understood.",
    )
    rank.add_argument("models", metavar="MODEL", nargs="+", help="checkpoints, or what analyze wrote of them")
    rank.add_argument("--metric", metavar="NAME", help="order by it (default: the one that the evidence supports best)")
    rank.add_argument(
        "--evidence", metavar="FILE", help="what trends --json wrote of your own models (default: published series)"
    )
    rank.add_argument("--across-families", action="store_true", help="order models of different families, too")
    rank.add_argument("--json", metavar="FILE", help="write the ranking as json, - for standard output")
    rank.add_argument("--jobs", metavar="N", type=int, help="threads of an analysis (default: all processors)")
    rank.add_argument("--cache", metavar="DIR", help="keep finished results of analyses there")
    rank.add_argument("--quiet", action="store_true", help="no table and no progress")
    rank.set_defaults(run=_rank)


def _rank(options: argparse.Namespace) -> int:
    from heavytail.trends.rank import rank

    targets = {"json": options.json} if options.json else {}
    check_targets(targets, *options.models, *([options.evidence] if options.evidence else []))
    how = {name: getattr(options, name) for name in ("metric", "evidence", "across_families", "jobs", "cache")}
    with show_progress(options.quiet) as progress:
        ranking = rank(options.models, progress=progress, **how)
    write_report(ranking, targets)
    if not options.quiet and options.json != "-":
        from heavytail.terminal.trends import print_ranking

        print_ranking(ranking, open_console())
    return DONE
