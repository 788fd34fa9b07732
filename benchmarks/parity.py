"""The numbers of heavytail against those of WeightWatcher 0.7.7, row by row.

    python benchmarks/parity.py

1. convention="weightwatcher" against WeightWatcher's default analyze() of the same state dict: the greatest relative
   difference of each column and whether it is within the target. Exit code 1 on a miss.
2. heavytail's own convention against WeightWatcher: which columns differ, by how much and why. The defects that it
   mends are mended one after another in WeightWatcher's numbers, and a difference is put down to every mend that moves
   the number. What is left at the end would be unexplained.
3. The alphas of MiniLM side by side.
"""

import json
import sys
from collections import Counter
from dataclasses import replace
from math import inf, isnan, log10, nan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common import MODELS, WORKERS, markdown, model, run, weightwatcher_python

import heavytail
from heavytail.diagnosis.metrics import MIN_EVALS
from heavytail.diagnosis.row import Row
from heavytail.diagnosis.weightwatcher import diagnose_weightwatcher
from heavytail.spectra.spectrum import Spectrum
from heavytail.tails.power_law import MIN_TAIL, PowerLawFit, fit_power_law

FIT = ("alpha", "xmin", "D", "sigma", "alpha_weighted", "log_alpha_norm")  # within 1e-6; other floats within 1e-8
COLUMNS = (
    *("N", "M", "Q", "num_evals", "norm", "log_norm", "lambda_max", "log_spectral_norm", "stable_rank"),
    *("matrix_rank", "rank_loss", "entropy", "alpha", "sigma", "xmin", "xmax", "D", "num_pl_spikes"),
    *("alpha_weighted", "log_alpha_norm", "warning"),
)
MENDS = {
    "conv": "a convolution is not multiplied by sqrt(1/2)",
    "groups": "a depthwise convolution is one matrix a group",
    "sides": "N is the larger side, also of a convolution with more inputs than outputs",
    "rank": "the rank counts what rounding of the stored type cannot make",
    "entropy": "entropy of the eigenvalues above rounding, without an added 1e-10",
    "size": f"no fit where M < {MIN_TAIL} or fewer than {MIN_EVALS} eigenvalues are above rounding; missing is not -1",
    "cut": "a fit takes the eigenvalues above rounding, not those above 1e-5",
    "tail": f"a tail has {MIN_TAIL} points at least, not 2",
    "distance": "the Kolmogorov-Smirnov distance is taken on both sides of a step",
    "warning": "a warning needs two standard errors",
    "unexplained": "none of these",
}
Numbers = dict[str, Any]


def main() -> int:
    missed = False
    columns, differences = [], []
    alphas: list[tuple[str, ...]] = []
    notes: list[str] = []
    for name in MODELS:
        path = model(name)
        theirs = weightwatcher_table(path)
        same = heavytail.analyze(path, convention="weightwatcher", jobs=1)
        own = heavytail.analyze(path, jobs=1)
        for line in parity(name, theirs, same.weightwatcher_table().to_dict("records")):
            columns.append(line)
            missed |= line[-1] == "no"
        ladders = {
            row["name"]: ladder(row, same.spectra[row["name"]], own.spectra[row["name"]], mine)
            for row in theirs
            for mine in own.rows
            if mine.name == row["name"] and mine.status == "ok"
        }
        differences += [line for column in COLUMNS if (line := difference(name, column, ladders))]
        notes += left_out(name, theirs, own.rows)
        if name == "MiniLM":
            alphas = [side_by_side(row, steps) for row, steps in ladders.items()]
    print("# convention='weightwatcher' against WeightWatcher 0.7.7\n")
    print(markdown(("model", "column", "rows", "greatest relative difference", "target", "met"), columns))
    print("\n# The default convention against WeightWatcher 0.7.7\n")
    head = ("model", "column", "rows that differ", "the greatest difference (relative)", "rows moved by each mend")
    print(markdown(head, differences), end="\n\n")
    used = {mend for line in differences for mend in MENDS if mend in line[-1].split()}
    print("\n".join(f"* {mend}: {text}" for mend, text in MENDS.items() if mend in used))
    print(f"* no row is moved by: {', '.join(mend for mend in MENDS if mend not in used)}\n\n" + "\n".join(notes))
    print("\n# alpha of MiniLM\n")
    head = ("layer", "N x M", "WeightWatcher: alpha, sigma, tail", "heavytail: alpha, sigma, tail", "moved by")
    print(markdown(head, alphas))
    return int(missed)


def weightwatcher_table(path: str) -> list[Numbers]:
    """Run WeightWatcher with one BLAS thread."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "table.json"
        run((weightwatcher_python(), WORKERS / "run_weightwatcher.py", "analyze", path, out), 1)
        return json.loads(out.read_text())


def gap(a: Any, b: Any) -> float:
    """Give the relative difference of two numbers; 0 or infinity for texts, and where one of two is missing."""
    if a == b or (a != a and b != b):
        return 0.0
    if isinstance(a, str) or isinstance(b, str) or isnan(a) or isnan(b):
        return inf
    return abs(a - b) / max(abs(a), abs(b))


def parity(name: str, theirs: list[Numbers], ours: list[Numbers]) -> list[tuple[str, ...]]:
    """Compare column by column; a row or a column too many or too few is a miss."""
    lines = []
    for what, a, b in (
        ("rows", [row["name"] for row in ours], [row["name"] for row in theirs]),
        ("columns", sorted(ours[0]), sorted(theirs[0])),
    ):
        lines.append((name, f"({what})", str(len(b)), "", "equal", "yes" if a == b else "no"))
    for column in theirs[0]:
        known = [row[column] for row in theirs]
        number = isinstance(known[0], float)
        target = (1e-6 if column in FIT else 1e-8) if number else 0.0
        greatest = max(gap(mine.get(column, nan), row[column]) for mine, row in zip(ours, theirs, strict=False))
        within = "yes" if greatest <= target else "no"
        lines.append((name, column, str(len(known)), f"{greatest:.1e}", f"{target:.0e}" if number else "equal", within))
    return lines


def ladder(theirs: Numbers, old: Spectrum, new: Spectrum, own: Row) -> dict[str, Numbers]:
    """Give a row as WeightWatcher has it, and then with one defect more mended in each step."""
    positive = new.evals[new.evals > new.floor]
    enough = new.M >= MIN_TAIL and positive.size >= MIN_EVALS
    steps = {"": {column: theirs[column] for column in COLUMNS}}

    def step(mend: str, **changed: Any) -> None:
        steps[mend] = list(steps.values())[-1] | changed

    def numbers(spectrum: Spectrum) -> Numbers:
        found = diagnose_weightwatcher(spectrum, name="", kind="", dtype="").as_dict()
        if found["alpha"] != found["alpha"]:
            return {column: found[column] for column in COLUMNS if column not in FIT}
        return {column: found[column] for column in COLUMNS}

    if theirs["layer_type"] == "conv2d":
        step("conv", **numbers(replace(old, evals=2 * old.evals)))
    if own.kind == "depthwise":
        step("groups", **numbers(new))
    step("sides", N=own.N, M=own.M, Q=own.Q)
    step("rank", matrix_rank=own.matrix_rank, rank_loss=own.rank_loss)
    step("entropy", entropy=own.entropy)
    if not enough:
        step("size", **fitted(None, new, own))
    else:
        step("cut", **fitted(fit_power_law(positive, min_tail=2, two_sided=False), new, own))
        step("tail", **fitted(fit_power_law(positive, two_sided=False), new, own))
        step("distance", **fitted(fit_power_law(positive), new, own))
    step("warning", warning=own.warning)
    step("unexplained", **{column: getattr(own, column) for column in COLUMNS})
    return steps


def fitted(fit: PowerLawFit | None, spectrum: Spectrum, own: Row) -> Numbers:
    """Give the columns that follow from a fit."""
    if fit is None:
        columns = (*FIT, "xmax", "num_pl_spikes")
        return dict.fromkeys(columns, nan) | {"warning": ""}
    return {
        "alpha": fit.alpha,
        "sigma": fit.sigma,
        "xmin": fit.xmin,
        "xmax": fit.xmax,
        "D": fit.D,
        "num_pl_spikes": fit.n_tail,
        "alpha_weighted": fit.alpha * own.log_spectral_norm,
        "log_alpha_norm": log10((spectrum.evals**fit.alpha).sum()),
        "warning": "over-trained" if fit.alpha < 2 else "under-trained" if fit.alpha > 6 else "",
    }


def moved(column: str, steps: dict[str, Numbers]) -> list[str]:
    """Name the mends that move a number by more than rounding."""
    values = [row[column] for row in steps.values()]
    changes = zip(list(steps)[1:], values, values[1:], strict=False)
    return [mend for mend, before, after in changes if gap(after, before) > 1e-8]


def difference(name: str, column: str, ladders: dict[str, dict[str, Numbers]]) -> tuple[str, ...] | None:
    """Compare a column of the default convention with WeightWatcher's."""
    ends = [(steps[""][column], steps["unexplained"][column]) for steps in ladders.values()]
    gaps = {i: g for i, end in enumerate(ends) if (g := gap(*end)) > 1e-8}
    if not gaps:
        return None
    words = []
    if finite := {i: g for i, g in gaps.items() if g < inf}:
        old, new = ends[max(finite, key=lambda i: finite[i])]
        words.append(f"{old:.5g} -> {new:.5g} ({max(finite.values()):.1e})")
    if len(finite) < len(gaps):
        changes = Counter(f"{ends[i][0]!r} -> {ends[i][1]!r}" for i in gaps if isinstance(ends[i][0], str))
        missing = len(gaps) - len(finite) - changes.total()
        words += [f"{change} {n}" for change, n in changes.items()] + [f"{missing} now missing"] * bool(missing)
    reasons = Counter(mend for steps in ladders.values() for mend in moved(column, steps))
    why = ", ".join(f"{mend} {reasons[mend]}" for mend in MENDS if reasons[mend])
    return name, column, f"{len(gaps)} of {len(ends)}", "; ".join(words), why


def left_out(name: str, theirs: list[Numbers], own: tuple[Row, ...]) -> list[str]:
    """Name the matrices that only one of the two has."""
    known = {row["name"] for row in theirs}
    mine = {row.name: row for row in own if row.status == "ok"}
    extra = [f"{row.name} ({row.N} x {row.M})" for key, row in mine.items() if key not in known]
    sides = (("WeightWatcher", extra), ("heavytail", sorted(known - set(mine))))
    return [f"{name}: matrices that {who} leaves out: {', '.join(rows) or 'none'}." for who, rows in sides]


def side_by_side(name: str, steps: dict[str, Numbers]) -> tuple[str, ...]:
    old, new = steps[""], steps["unexplained"]
    shown = (f"{row['alpha']:8.3f} {row['sigma']:7.3f} {row['num_pl_spikes']:4d}" for row in (old, new))
    return name, f"{new['N']} x {new['M']}", *shown, ", ".join(moved("alpha", steps))


if __name__ == "__main__":
    sys.exit(main())
