"""Time of the noise columns of MiniLM, 39 matrices: heavytail against WeightWatcher 0.7.7.

    python benchmarks/mp_speed.py         5 pairs, about six minutes on an idle machine
    python benchmarks/mp_speed.py -n 3    fewer

A is WeightWatcher, B heavytail. Both run in turn, A B A B ..., after one unmeasured turn, with one thread of each kind;
a ratio is taken pair by pair. Times are those of analyze() in a process of its own, imports left out. On
WeightWatcher's side an analyze() goes before unmeasured, and loading is left out; on heavytail's side it is the first,
so that reading the file counts, and whatever is made once and kept.

mp_fit alone        what analyze(mp_fit=True) takes longer than analyze()
find_noise alone    the time within analyze() that is spent in find_noise, from which the columns sigma_mp, bulk_edge,
                    mp_softrank and num_spikes are; it is part of every analyze()
randomize=True      compares with one shuffled copy of each matrix, and fits Marchenko-Pastur to it
nulls=20            compares with 20 of them

Exits with 1 if a target is missed.
"""

import argparse
import json
import sys
from statistics import median

from common import WORKERS, markdown, model, run, weightwatcher_python

NULLS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=5, help="pairs (default 5)")
    options = parser.parse_args()
    turns = [turn(model("MiniLM")) for _ in range(options.n + 1)][1:]
    lines = [
        line("A mp_fit alone, B find_noise alone", [(a["mp_fit"] - a["plain"], b["noise"]) for a, b, _ in turns], 20),
        line("A analyze(mp_fit=True), B analyze()", [(a["mp_fit"], b["whole"]) for a, b, _ in turns]),
        line("A analyze(), B analyze()", [(a["plain"], b["whole"]) for a, b, _ in turns]),
        line("A analyze(randomize=True), B analyze(nulls=20)", [(a["randomize"], c["whole"]) for a, _, c in turns], 1),
    ]
    head = ("what", "A: WeightWatcher", "B: heavytail", "ratio: median (least to greatest)", "target", "met")
    print(markdown(head, lines))
    sys.exit(any(one[-1] == "no" for one in lines))


def turn(path: str) -> list[dict[str, float]]:
    """Run WeightWatcher, heavytail, and heavytail with shuffles, one after the other."""
    commands = (
        (weightwatcher_python(), WORKERS / "time_weightwatcher.py", path, "mp_fit", "randomize"),
        (sys.executable, WORKERS / "time_noise.py", path, "0"),
        (sys.executable, WORKERS / "time_noise.py", path, str(NULLS)),
    )
    return [json.loads(run(command, 1).output) for command in commands]


def line(what: str, seconds: list[tuple[float, float]], least: float | None = None) -> tuple[str, ...]:
    a, b = (f"{median(side):.3g} s" for side in zip(*seconds, strict=True))
    ratios = [A / B for A, B in seconds]
    text = f"{median(ratios):.3g} ({min(ratios):.3g} to {max(ratios):.3g})"
    return what, a, b, text, f"> {least}" if least else "", met(median(ratios) > least) if least else ""


def met(reached: bool) -> str:
    return "yes" if reached else "no"


if __name__ == "__main__":
    main()
