"""The verb learning: the statistical mechanics of learning, in numbers and figures."""

from __future__ import annotations

import argparse

from heavytail.cli.learning.bound import add as add_bound
from heavytail.cli.learning.capacity import add as add_capacity
from heavytail.cli.learning.curve import add as add_curve
from heavytail.cli.learning.memory import add as add_memory
from heavytail.cli.learning.phases import add as add_phases

__all__ = ["add"]


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    learning = verbs.add_parser(
        "learning",
        help="learning curves, phases, capacities, memories and bounds from theory",
        description="Solve the models of the statistical mechanics of learning. Numbers are of infinitely many weights "
        "unless a number of them is given; the load is the number of examples (or patterns) per weight.",
        epilog="Exit codes: 0 done; 2 the request cannot be understood.",
    )
    commands = learning.add_subparsers(title="what to solve", metavar="WHAT", required=True)
    for add_command in (add_curve, add_phases, add_capacity, add_memory, add_bound):
        add_command(commands)
