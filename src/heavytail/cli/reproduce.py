"""The verb reproduce: published claims, recomputed."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from heavytail.cli.shared import CHECK_FAILED, DONE, check_targets, open_console
from heavytail.errors import RequestError

__all__ = ["add"]


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    reproduce = verbs.add_parser(
        "reproduce",
        help="recompute published claims",
        description="List the published claims that can be recomputed, or recompute some.",
        epilog="Exit codes: 0 done; 1 a verdict is not the expected one; 2 there is no such claim, or a table it needs "
        "cannot be read.",
    )
    reproduce.add_argument("claims", metavar="ID", nargs="*", help="claims to recompute; all for all but the slow ones")
    reproduce.add_argument("--slow", action="store_true", help="with all: the slow ones too")
    reproduce.add_argument("--seed", metavar="S", type=int, default=0, help="seed of what is drawn (default: 0)")
    reproduce.add_argument(
        "--data",
        metavar="DIR",
        default=os.environ.get("HEAVYTAIL_PUBLISHED") or None,
        help="folder of the published tables, which some claims need (default: the environment's HEAVYTAIL_PUBLISHED)",
    )
    reproduce.add_argument("--runs", metavar="DIR", help="folder of the laboratory's full runs, which some claims need")
    reproduce.add_argument("--json", metavar="FILE", help="write the outcomes as json, - for standard output")
    reproduce.set_defaults(run=_reproduce)


def _reproduce(options: argparse.Namespace) -> int:
    from heavytail.reproduce import claims, reproduce
    from heavytail.terminal.claims import print_claims, print_outcome

    if not options.claims:
        if options.json or options.slow:
            raise RequestError("reproduce --json and --slow need claims to recompute; all takes all of them")
        print_claims(claims(), open_console())
        return DONE
    if options.seed < 0:
        raise RequestError(f"--seed is {options.seed}; it must be at least 0")
    check_targets({"json": options.json} if options.json else {})
    outcomes = []
    for outcome in reproduce(options.claims, options.seed, slow=options.slow, data=options.data, runs=options.runs):
        outcomes.append(outcome)
        if options.json != "-":
            print_outcome(outcome, open_console())
    if options.json:
        text = json.dumps([outcome.as_dict() for outcome in outcomes], indent=2, allow_nan=False) + "\n"
        if options.json == "-":
            sys.stdout.write(text)
        else:
            Path(options.json).write_text(text, encoding="utf-8")
    return CHECK_FAILED if any(outcome.surprising for outcome in outcomes) else DONE
