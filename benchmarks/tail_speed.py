"""Time of the power-law fit, of its bootstrap, and of the inference for a model; one thread.

    python benchmarks/tail_speed.py         5 pairs, about a minute
    python benchmarks/tail_speed.py -n 2    fewer

fit          A is WeightWatcher 0.7.7's own loop, WW_powerlaw.pl_fit, which analyze() calls; B is fit_power_law, with
             WeightWatcher's candidates and distance (two_sided=False, min_tail=2), where it must find the same alpha,
             and by default; processes in turn, A B A B ..., after one unmeasured turn, the least of 5 fits in each
bootstrap    bootstrap() of 4,096 points with 1,000 replicates: as many refits of the sample drawn with replacement, for
             the interval, and as many of samples of the fitted law, for the p-value
model        fit, interval and bootstrap with 1,000 replicates of every layer of MiniLM, without its eigenvalues

Samples are independent points of a power law of exponent 2.5, the eigenvalues of an 8192 x 4096 matrix of noise, and
those of a layer of MiniLM. Exits with 1 if a target is missed.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
from common import WORKERS, markdown, model, run, weightwatcher_python
from matrices import met
from scipy.linalg import eigvalsh_tridiagonal

from heavytail.rmt.ensembles import wishart_bidiagonal
from heavytail.spectra.exact import spectrum_of_stack
from heavytail.weights.source import open_source

REPEATS, REPLICATES = 5, 1000
LAYER = "encoder.layer.0.attention.self.query.weight"
LEAST, MOST_OFF, MOST_BOOTSTRAP, MOST_MODEL = 10, 1e-10, 5, 60
TIME = WORKERS / "time_power_law.py"
Lines = Iterator[tuple[str, ...]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=5, help="pairs of processes (default 5)")
    options = parser.parse_args()
    drawn = samples()
    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder) / "samples.npz"
        np.savez(stored, **{f"x{i}": x for i, x in enumerate(drawn.values())})
        fits = list(fit(options.n, list(drawn), stored, Path(folder) / "table.json"))
        rest = [*resampling(list(drawn), stored), inference()]
    heads = (
        ("fit", "A: WeightWatcher", "B: heavytail", "ratio: median (least to greatest)", "target", "met"),
        ("what", "wall", "processor", "target", "met"),
    )
    for head, lines in zip(heads, (fits, rest), strict=True):
        print(markdown(head, lines), end="\n\n")
    sys.exit(any(line[-1] == "no" for line in (*fits, *rest)))


def samples() -> dict[str, np.ndarray]:
    """Draw the samples, and read the layer."""
    rng = np.random.default_rng(0)
    diagonal, below = wishart_bidiagonal(8192, 4096, seed=rng)
    squares = diagonal**2
    squares[1:] += below**2
    (layer,) = (tensor for tensor in open_source(model("MiniLM")).tensors if tensor.name.endswith(LAYER))
    W = np.array(layer.read())
    return {
        "4,096 points of a power law": np.sort((1 - rng.random(4096)) ** (-1 / 1.5)),
        "4,096 eigenvalues of noise": eigvalsh_tridiagonal(squares, diagonal[:-1] * below),
        f"{min(W.shape)} eigenvalues of a layer": spectrum_of_stack(W[None], "float64").positive,
    }


def fit(pairs: int, names: list[str], stored: Path, table: Path) -> Lines:
    """Time fits in pairs."""
    turns = [turn(stored, table) for _ in range(pairs + 1)][1:]
    for i, name in enumerate(names):
        rows = [(theirs[i], own[i]) for theirs, own in turns]
        for what, key in (("same options", "seconds"), ("by default", "default")):
            ratios = [theirs["seconds"] / own[key] for theirs, own in rows]
            a, b = median(theirs["seconds"] for theirs, _ in rows), median(own[key] for _, own in rows)
            judged = (f">= {LEAST}", met(median(ratios) >= LEAST)) if "4,096" in name else ("", "")
            text = f"{median(ratios):.3g} ({min(ratios):.3g} to {max(ratios):.3g})"
            yield f"{name}, {what}", f"{1e3 * a:.3g} ms", f"{1e3 * b:.3g} ms", text, *judged
        theirs, own = rows[0]
        off = max(abs(own[key] / theirs[key] - 1) for key in ("alpha", "sigma"))
        difference = f"relative difference {off:.0e}"
        alphas = (f"{theirs['alpha']:.12g}", f"{own['alpha']:.12g}")
        yield "  alpha, same options", *alphas, difference, f"<= {MOST_OFF:.0e}", met(off <= MOST_OFF)


def turn(stored: Path, table: Path) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Run WeightWatcher, then heavytail."""
    peer = (weightwatcher_python(), WORKERS / "peer_power_law.py", "weightwatcher", stored, table, str(REPEATS))
    run(peer, 1)
    own = run((sys.executable, TIME, "fits", stored, str(REPEATS)), 1)
    return json.loads(table.read_text()), json.loads(own.output)


def resampling(names: list[str], stored: Path) -> Lines:
    """Time bootstrap()."""
    found = json.loads(run((sys.executable, TIME, "bootstrap", stored, str(REPLICATES)), 1).output)
    for name, (wall, cpu) in zip(names, found, strict=True):
        judged = (f"< {MOST_BOOTSTRAP} s", met(wall < MOST_BOOTSTRAP)) if "4,096" in name else ("", "")
        yield f"bootstrap, {2 * REPLICATES:,} refits: {name}", f"{wall:.2f} s", f"{cpu:.2f} s", *judged


def inference() -> tuple[str, ...]:
    """Time the inference for a model."""
    wall, cpu, layers = json.loads(run((sys.executable, TIME, "model", model("MiniLM"), str(REPLICATES)), 1).output)
    what = f"interval and p-value, {REPLICATES:,} replicates: {layers} layers of MiniLM"
    return what, f"{wall:.1f} s", f"{cpu:.1f} s", f"< {MOST_MODEL} s", met(wall < MOST_MODEL)


if __name__ == "__main__":
    main()
