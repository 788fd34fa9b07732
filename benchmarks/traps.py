"""How many planted correlation traps heavytail and WeightWatcher 0.7.7 find, and how many where there are none.

    python benchmarks/traps.py               about ten minutes
    python benchmarks/traps.py -n 20 -p 2    fewer matrices

Matrices are 600 x 300, their noise of variance 1, some with a signal of three spikes at 2, 3 and 5 times their
threshold, which is no trap. The size of an entry is in units of (N M)^(1/4), from which on it makes an eigenvalue of
its own; a row or a column is noise like the rest, multiplied.

named        what carries the trap is named: the entry, row or column that was planted
found        and it is counted
beside it    anything else is named, or more than one eigenvalue counted
false        where nothing is planted: a trap is counted, or anything is named

WeightWatcher names no carrier: for it, any trap at all is a trap found. Every matrix has a seed of its own. Exits with
1 if a target is missed.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from common import markdown
from matrices import diagnosed, met, processes, share, weightwatcher_rows

from heavytail.rmt import ensembles

N, M = 600, 300
NULLS = 20
SIGNAL = np.array([2.0, 3.0, 5.0]) * (M / N) ** 0.25
LEAST_FOUND, MOST_FALSE = 0.95, 0.05
LAWS: dict[str, Callable[[int, int, np.random.Generator], np.ndarray]] = {
    "Gaussian": ensembles.gaussian,
    "Laplace": ensembles.laplace,
    "t(10)": lambda N, M, seed: ensembles.student_t(N, M, 10, seed),
}
Carrier = tuple[str, int | None, int | None]


@dataclass(frozen=True)
class Case:
    """What is planted in which noise: an entry, a row or a column of some size, or nothing."""

    kind: str
    size: float = 0.0
    law: str = "Gaussian"
    signal: bool = False

    def __str__(self) -> str:
        size = {"nothing": "", "entry": f" {self.size:g}"}.get(self.kind, f" x{self.size:g}")
        return f"{self.kind}{size}; {self.law}{' and signal' if self.signal else ''}"

    def draw(self, seed: int) -> tuple[np.ndarray, Carrier]:
        """Give a matrix, and what carries its trap: kind, row and column."""
        rng = np.random.default_rng([20, CASES.index(self), seed])
        W = LAWS[self.law](N, M, rng)
        row, column = int(rng.integers(N)), int(rng.integers(M))
        if self.kind == "row":
            W[row] *= self.size
        elif self.kind == "column":
            W[:, column] *= self.size
        if self.signal:
            W += np.sqrt(N) * ensembles.low_rank(N, M, SIGNAL, rng)
        if self.kind == "entry":
            W[row, column] = rng.choice([-1, 1]) * self.size * (N * M) ** 0.25
        return W, (self.kind, None if self.kind == "column" else row, None if self.kind == "row" else column)


CASES = (
    *(Case("entry", size, signal=signal) for signal in (False, True) for size in (1.2, 1.5, 2.0, 4.0)),
    *(Case("entry", 1.5, law) for law in ("Laplace", "t(10)")),
    *(Case("row", size) for size in (2.0, 4.0, 30.0)),
    *(Case("row", size, signal=True) for size in (2.0, 4.0)),
    *(Case("row", 2.0, law) for law in ("Laplace", "t(10)")),
    *(Case("column", size) for size in (2.0, 4.0)),
    *(Case("nothing", law=law) for law in LAWS),
    Case("nothing", signal=True),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=200, help="matrices of each kind (default 200)")
    parser.add_argument("-p", type=int, default=20, help="of them for WeightWatcher (default 20)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    options = parser.parse_args()
    with processes(options.jobs) as executor:
        outcomes = [list(executor.map(partial(outcome, case), range(options.n), chunksize=4)) for case in CASES]
        peer = np.array(list(executor.map(weightwatcher_traps, CASES, [options.p] * len(CASES))))
    head = (
        "planted",
        "named",
        "found",
        "target",
        "met",
        "beside it",
        "false",
        "target",
        "met",
        "WeightWatcher: any trap",
    )
    lines = [line(*one) for one in zip(CASES, np.array(outcomes), peer, strict=True)]
    print(f"{options.n} matrices of each kind, {NULLS} shuffled copies; WeightWatcher {options.p}, its one copy\n")
    print(markdown(head, lines))
    sys.exit(any("no" in one for one in lines))


def outcome(case: Case, seed: int) -> tuple[bool, bool, bool]:
    """Say whether the planted trap was named, whether it was found, and whether anything else was."""
    W, planted = case.draw(seed)
    layer = diagnosed(W, NULLS, seed)
    named = {(trap.kind, trap.row, trap.column) for trap in layer.noise.shuffles.traps}
    count = layer.row.num_traps
    beside = bool(named - {planted}) or count > (case.kind != "nothing")
    return planted in named, planted in named and count >= 1, beside


def weightwatcher_traps(case: Case, count: int) -> list[bool]:
    rows = weightwatcher_rows((case.draw(seed)[0] for seed in range(count)), "randomize")
    return [row["num_traps"] > 0 for row in rows]


def line(case: Case, outcomes: np.ndarray, peer: np.ndarray) -> tuple[str, ...]:
    (named, found, beside), n = outcomes.sum(axis=0), len(outcomes)
    if case.kind == "nothing":
        own = ("", "", "", "", "", share(beside, n), f"< {MOST_FALSE:.0%}", met(beside < MOST_FALSE * n))
    else:
        reached = met(found >= LEAST_FOUND * n)
        own = (f"{named / n:.1%}", share(found, n), f">= {LEAST_FOUND:.0%}", reached, f"{beside / n:.1%}", "", "", "")
    return str(case), *own, f"{peer.sum()} of {peer.size}"


if __name__ == "__main__":
    main()
