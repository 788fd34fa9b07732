"""The verb lab: the training experiments that the theory rests on."""

from __future__ import annotations

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from heavytail.cli.shared import CHECK_FAILED, DONE, check_targets, open_console, show_progress, write_report
from heavytail.errors import RequestError, SourceError

if TYPE_CHECKING:
    from heavytail.analysis.pipeline import Progress
    from heavytail.lab.experiments import Size
    from heavytail.lab.run import Run

__all__ = ["add"]

_FORMATS = {"html": "its page", "json": "what it came to as json, - for standard output", "csv": "its table as csv"}
_NEEDED = {"torch": "torch", "sklearn": "scikit-learn", "pyarrow": "pyarrow", "safetensors": "safetensors"}
_EXIT_CODES = (
    "A statement that does not hold is a result, not a failure. Exit codes: 0 done; 1 with --check, a statement does "
    "not hold; 2 the request, the folder or the data cannot be understood; 130 interrupted."
)


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    lab = verbs.add_parser(
        "lab",
        help="repeat the training experiments that the theory rests on",
        description="Train the networks of published experiments, follow their spectra, and see whether what was "
        "published holds.",
        epilog="Exit codes: see each command.",
    )
    commands = lab.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_list(commands)
    _add_run(commands)
    _add_show(commands)


def _add_list(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("list", help="list the experiments", description="List the experiments.")
    command.add_argument(
        "--json", metavar="FILE", nargs="?", const="-", help="write the list as json, to standard output without FILE"
    )
    command.set_defaults(run=_list)


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "run",
        help="run an experiment, or go on with one",
        description="Run an experiment into a folder, or go on with it there: the same command goes on where it was "
        "interrupted. Then say what it came to.",
        epilog=_EXIT_CODES,
    )
    command.add_argument("id", metavar="ID", help="the experiment (see heavytail lab list)")
    command.add_argument("--out", metavar="DIR", required=True, help="folder of the results; made if it is not there")
    command.add_argument("--quick", action="store_true", help="on scikit-learn's digits, in two minutes at most")
    command.add_argument("--seeds", metavar="N", type=int, help="only the first N seeds")
    command.add_argument("--data", metavar="DIR", help="folder of the data, where the system does not have them")
    command.add_argument("--jobs", metavar="N", type=int, help="trainings at a time (default: all processors)")
    _add_outputs(command)
    command.add_argument("--quiet", action="store_true", help="no table and no progress")
    command.set_defaults(run=_run)


def _add_show(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "show",
        help="show what a run came to",
        description="Show what a run came to, whether it is finished or not.",
        epilog=_EXIT_CODES,
    )
    command.add_argument("folder", metavar="DIR", help="folder of the run")
    _add_outputs(command)
    command.set_defaults(run=_show, quiet=False)


def _add_outputs(command: argparse.ArgumentParser) -> None:
    for name, what in _FORMATS.items():
        command.add_argument(f"--{name}", metavar="FILE", help=f"write {what}")
    command.add_argument("--check", action="store_true", help="exit with 1 if a statement does not hold")


def _list(options: argparse.Namespace) -> int:
    from heavytail.lab.experiments import experiments

    if options.json is None:
        from heavytail.terminal.lab import print_experiments

        print_experiments(experiments(), open_console())
        return DONE
    check_targets({"json": options.json})
    listed = [
        {
            **{name: getattr(one, name) for name in ("id", "title", "source", "about", "differs", "axis")},
            "trainings": {"quick": len(one.trials("quick")), "full": len(one.trials("full"))},
            "minutes": one.minutes or None,
            "statements": [statement.says for statement in one.statements],
        }
        for one in experiments()
    ]
    text = json.dumps(listed, indent=2, allow_nan=False) + "\n"
    if options.json == "-":
        sys.stdout.write(text)
    else:
        Path(options.json).write_text(text, encoding="utf-8")
    return DONE


def _run(options: argparse.Namespace) -> int:
    from heavytail.lab.experiments import experiment_of

    experiment = experiment_of(options.id)
    if options.seeds is not None and options.seeds < 1:
        raise RequestError(f"--seeds is {options.seeds}; it must be at least 1")
    _check_installed(*_NEEDED)
    Path(options.out).mkdir(parents=True, exist_ok=True)  # results may go there too
    check_targets(_targets(options))
    from heavytail.lab.runner import run_experiment

    size: Size = "quick" if options.quick else "full"
    named = {name: getattr(options, name) for name in ("seeds", "data", "jobs")}
    with show_progress(options.quiet) as progress:
        try:
            run = run_experiment(experiment.id, options.out, size, **named, progress=_of_what_is_left(progress))
        except KeyboardInterrupt:
            raise KeyboardInterrupt("interrupted; the same command goes on where it was") from None
    return _tell(run, options)


def _of_what_is_left(progress: Progress | None) -> Progress | None:
    """Count from where a run goes on, so that the time that is left can be told."""
    if progress is None:
        return None
    begun: list[float] = []

    def tell(trial: str, done: float, total: float) -> None:
        begun.append(done - 1)  # the first news is of an epoch that is done
        progress(trial, done - begun[0], total - begun[0])

    return tell


def _show(options: argparse.Namespace) -> int:
    from heavytail.lab.run import Run

    _check_installed("pyarrow")
    check_targets(_targets(options), str(Path(options.folder) / "run.json"))
    try:
        run = Run.open(Path(options.folder))
    except (AttributeError, KeyError, TypeError) as error:  # it is JSON, and not what a run wrote
        raise SourceError(Path(options.folder) / "run.json", f"is damaged: {error}") from None
    return _tell(run, options)


def _targets(options: argparse.Namespace) -> dict[str, str]:
    return {name: path for name in _FORMATS if (path := getattr(options, name)) is not None}


def _check_installed(*modules: str) -> None:
    missing = [_NEEDED[module] for module in modules if find_spec(module) is None]
    if missing:
        raise RequestError(f"lab needs {', '.join(missing)}: pip install 'heavytail[lab]'")


def _tell(run: Run, options: argparse.Namespace) -> int:
    """Write and print what a run came to."""
    from heavytail.lab.experiments import Judgement
    from heavytail.lab.summary import Summary

    summary = Summary(run)
    write_report(summary, _targets(options))
    if not options.quiet and options.json != "-":
        from heavytail.terminal.lab import print_summary

        print_summary(summary, open_console())
    failed = any(finding.judgement is Judgement.FAILS for finding in summary.findings)
    return CHECK_FAILED if options.check and failed else DONE
