"""How many planted correlation traps heavytail and WeightWatcher 0.7.7 find, and how many where there are none.

    python benchmarks/traps.py                about twenty minutes on two processors
    python benchmarks/traps.py -n 20 -p 4     fewer matrices

Matrices are 600 x 300, their noise of variance 1, some with a signal of three spikes at 2, 3 and 5 times their
threshold, which is no trap. The size of an entry is in units of (N M)^(1/4), from which on it makes an eigenvalue of
its own; a row or a column is noise like the rest, multiplied.

found       a trap is reported, and what carries it is named: the entry, row or column that was planted
also other  besides it anything else is named, or more than one eigenvalue
false       where nothing is planted: a trap is reported, or anything is named

WeightWatcher names no carrier: for it, any trap at all counts as found. Every matrix has a seed of its own. Exits with
1 if a target is missed.
"""

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from common import markdown
from peer import weightwatcher_rows
from scipy.stats import binomtest

from heavytail.diagnosis.layer import Wanted, diagnose_layer
from heavytail.rmt import ensembles
from heavytail.spectra.exact import spectrum_of_stack

N, M = 600, 300
NULLS = 20
SIGNAL = np.array([2.0, 3.0, 5.0]) * (M / N) ** 0.25
FOUND, FALSE = 0.95, 0.05


@dataclass(frozen=True)
class Case:
    """What is planted: `kind` is entry, row, column or nothing; `size` as the module says."""

    kind: str
    size: float = 0.0
    signal: bool = False
    law: str = "Gaussian"

    def __str__(self) -> str:
        what = {"entry": f"entry of size {self.size:g}", "": "nothing"}.get(self.kind, f"{self.kind} times {self.size:g}")
        return f"{what}, {self.law}{' and signal' if self.signal else ''}"

    def draw(self, seed: int) -> tuple[np.ndarray, tuple[str, int | None, int | None]]:
        """Give a matrix, and the kind, row and column of its trap."""
        rng = np.random.default_rng([20, CASES.index(self), seed])
        match self.law:
            case "Gaussian":
                W = ensembles.gaussian(N, M, rng)
            case "Laplace":
                W = ensembles.laplace(N, M, rng)
            case _:
                W = ensembles.student_t(N, M, 10, rng)
        row, column = int(rng.integers(N)), int(rng.integers(M))
        if self.kind == "row":
            W[row] *= self.size
        elif self.kind == "column":
            W[:, column] *= self.size
        if self.signal:
            W += np.sqrt(N) * ensembles.low_rank(N, M, SIGNAL, rng)
        if self.kind == "entry":
            W[row, column] = self.size * (N * M) ** 0.25 * rng.choice([-1, 1])
        return W, (self.kind, None if self.kind == "column" else row, None if self.kind == "row" else column)


CASES = (
    *(Case("entry", size, signal) for signal in (False, True) for size in (1.2, 1.5, 2.0, 4.0)),
    *(Case("entry", 1.5, law=law) for law in ("Laplace", "t(10)")),
    *(Case("row", size) for size in (2.0, 4.0, 30.0)),
    *(Case("row", size, signal=True) for size in (2.0, 4.0)),
    *(Case("row", 2.0, law=law) for law in ("Laplace", "t(10)")),
    *(Case("column", size) for size in (2.0, 4.0)),
    *(Case("", law=law) for law in ("Gaussian", "Laplace", "t(10)")),
    Case("", signal=True),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=200, help="matrices of each kind (default 200)")
    parser.add_argument("-p", type=int, default=20, help="matrices of each kind for WeightWatcher (default 20)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    options = parser.parse_args()
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    head = ("planted", "matrices", "found", "target", "met", "also other", "false", "target", "met", "WeightWatcher")
    with ProcessPoolExecutor(options.jobs) as executor:
        lines = [line(case, options, executor) for case in CASES]
    print(markdown(head, lines))
    sys.exit(any("no" in one for one in lines))


def line(case: Case, options: argparse.Namespace, executor: ProcessPoolExecutor) -> tuple[str, ...]:
    outcomes = np.array(list(executor.map(partial(outcome, case), range(options.n), chunksize=4)))
    first, second = outcomes.mean(axis=0)
    theirs = weightwatcher_rows((case.draw(seed)[0] for seed in range(options.p)), "randomize")
    peer = f"{np.mean([row['num_traps'] > 0 for row in theirs]):.0%} of {len(theirs)}"
    shares = [interval(count, options.n) for count in outcomes.sum(axis=0)]
    if case.kind:
        found = (shares[0], f">= {FOUND:.0%}", met(first >= FOUND), f"{second:.1%}", "", "", "")
    else:
        found = ("", "", "", "", shares[1], f"< {FALSE:.0%}", met(second < FALSE))
    return str(case), str(options.n), *found, peer


def outcome(case: Case, seed: int) -> tuple[bool, bool]:
    """Say whether the planted trap was found, and whether anything else was."""
    W, planted = case.draw(seed)
    spectrum = spectrum_of_stack(W[None], "float64")
    layer = diagnose_layer(
        spectrum,
        [lambda r: (W[i : i + r] for i in range(0, len(W), r))],
        Wanted(nulls=NULLS, seed=seed),
        name="W",
        kind="linear",
        dtype="float64",
    )
    named = {(trap.kind, trap.row, trap.column) for trap in layer.noise.shuffles.traps}
    found = layer.row.num_traps >= 1 and planted in named
    return found, bool(named - {planted}) or layer.row.num_traps > bool(case.kind)


def interval(count: int, of: int) -> str:
    low, high = binomtest(int(count), of).proportion_ci()
    return f"{count / of:.1%} ({low:.1%} to {high:.1%})"


def met(reached: bool) -> str:
    return "yes" if reached else "no"


if __name__ == "__main__":
    main()
