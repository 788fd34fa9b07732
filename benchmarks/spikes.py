"""How many spikes heavytail and WeightWatcher 0.7.7 find where it is known how many there are.

    python benchmarks/spikes.py                       everything, about half an hour on two processors
    python benchmarks/spikes.py --only noise -n 200   one section, fewer matrices

noise    matrices of pure noise, M from 50 to 2000, Q from 1 to 16, four laws of entries: how many show any spike
power    1000 x 500 Gaussian noise and spikes at 1.2 times their threshold: how many are found, also by an oracle that
         knows the noise and holds each eigenvalue against the 99 % point of the Tracy-Widom law
many     500 x 499 Gaussian noise and 20 spikes of strength 1.8, in units in which the noise has variance 1 / N
giant    1000 x 500 Gaussian noise of variance 1 / N and one spike of strength 100: where the edge of the noise is found

Every matrix has a seed of its own. Exits with 1 if a target is missed.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from statistics import median

import numpy as np
from common import markdown
from peer import weightwatcher_rows
from scipy.stats import binomtest

from heavytail.diagnosis.layer import Wanted, diagnose_layer
from heavytail.diagnosis.row import Row
from heavytail.rmt import ensembles
from heavytail.rmt.edges import largest_eigenvalue
from heavytail.spectra.exact import spectrum_of_stack

# Sizes M in these classes, evenly in log M; Q evenly in log Q as far as N M allows. Shares are of the number of matrices.
CLASSES = ((50, 100, 0.34), (100, 200, 0.26), (200, 400, 0.2), (400, 800, 0.14), (800, 1400, 0.045), (1400, 2000, 0.015))
MAX_Q, MAX_ENTRIES = 16.0, 2.5e7
LAWS: dict[str, tuple[Callable[[int, int, np.random.Generator], np.ndarray], tuple[float, float]]] = {
    "Gaussian": (ensembles.gaussian, (0.005, 0.015)),
    "uniform": (ensembles.uniform, (0.005, 0.015)),
    "Laplace": (ensembles.laplace, (0.0, 0.02)),
    "t(10)": (lambda N, M, seed: ensembles.student_t(N, M, 10, seed), (0.0, 0.02)),
}
N, M = 1000, 500  # of `power` and `giant`
WEAK = 1.2 * (M / N) ** 0.25
STRONG, COUNT, NARROW = 1.8, 20, (500, 499)
GIANT = 100.0
Line = tuple[str, ...]
HEAD = ("what", "matrices", "heavytail", "oracle", "WeightWatcher", "target", "met")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=2000, help="matrices of noise for each law (default 2000)")
    parser.add_argument("-d", type=int, default=200, help="draws of `power` (default 200), `many` and `giant` (a half)")
    parser.add_argument("-p", type=int, default=20, help="draws for WeightWatcher, thrice as many of noise (default 20)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="may be repeated")
    options = parser.parse_args()
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(options.jobs) as executor:
        each = partial(executor.map, chunksize=4)
        lines = [line for name in options.only or SECTIONS for line in SECTIONS[name](options, each)]
    print(markdown(HEAD, lines))
    sys.exit(any(line[-1] == "no" for line in lines))


def noise(options: argparse.Namespace, each: Callable[..., Iterable[bool]]) -> Iterator[Line]:
    """Count the matrices of noise that show a spike, by law and by size."""
    shapes = noise_shapes(options.n)
    print(f"noise: {options.n} matrices of each law, up to {max(n * m for n, m in shapes):,} entries", file=sys.stderr)
    small = [shape for shape in shapes if shape[1] >= 64 and shape[0] * shape[1] < 100_000][: 3 * options.p]
    for law, (draw, (low, high)) in LAWS.items():
        spiked = np.array(list(each(partial(shows_spike, law), range(len(shapes)), shapes)))
        theirs = ""
        if law == "Gaussian":
            found = weightwatcher_rows(draw(n, m, generator(law, i)) for i, (n, m) in enumerate(small))
            theirs = share(sum(row["num_spikes"] > 0 for row in found), len(found))
        target = f"{low:.1%} to {high:.1%}" if low else f"<= {high:.0%}"
        reached = met(low <= spiked.mean() <= high)
        yield f"noise, {law}: any spike", f"{spiked.size:,}", share(spiked.sum(), spiked.size), "", theirs, target, reached
        sizes = np.array([m for _, m in shapes])
        for low_m, high_m, _ in CLASSES:
            part = spiked[(sizes >= low_m) & (sizes < high_m)]
            if part.size:
                yield f"  M from {low_m} to {high_m}", f"{part.size:,}", share(part.sum(), part.size), "", "", "", ""


def noise_shapes(count: int) -> list[tuple[int, int]]:
    """Draw the shapes of the matrices of noise."""
    rng = np.random.default_rng(0)
    shapes = []
    for low, high, part in CLASSES:
        for m in np.exp(rng.uniform(np.log(low), np.log(high), round(part * count))).astype(int):
            most = min(MAX_Q, MAX_ENTRIES / int(m) ** 2)
            shapes.append((max(int(m * np.exp(rng.uniform(0, np.log(most)))), int(m)), int(m)))
    return shapes


def generator(law: str, index: int) -> np.random.Generator:
    return np.random.default_rng([list(LAWS).index(law), index])


def shows_spike(law: str, index: int, shape: tuple[int, int]) -> bool:
    return found_in(LAWS[law][0](*shape, generator(law, index))).num_spikes > 0


def power(options: argparse.Namespace, each: Callable[..., Iterable[tuple[float, int]]]) -> Iterator[Line]:
    """Count what is found of spikes at 1.2 times their threshold."""
    for k in (1, 10):
        found, oracle = np.array(list(each(partial(found_of, k), range(options.d)))).T
        theirs = [row["num_spikes"] for row in weightwatcher_rows(weak_spikes(k, seed) for seed in range(options.p))]
        ours, best, peer = (float(np.mean(counts)) for counts in (found, oracle, theirs))
        target = f">= {best / k - 0.05:.1%} of them (oracle - 5 points)"
        what = f"{k} spike{'s' if k > 1 else ''} at 1.2 times the threshold: mean number found"
        texts = (f"{mean:.2f} = {mean / k:.1%}" for mean in (ours, best))
        yield what, str(options.d), *texts, f"{peer:.2f} ({len(theirs)} matrices)", target, met(ours >= best - 0.05 * k)
        more = int((found > k).sum())
        yield "  more found than planted", str(options.d), share(more, found.size), str(int((oracle > k).sum())), "", "", ""


def found_of(k: int, seed: int) -> tuple[float, int]:
    """Give what heavytail finds, and what the oracle finds."""
    W = weak_spikes(k, seed)
    evals = np.linalg.eigvalsh(W.T @ W)
    return found_in(W).num_spikes, int((evals > largest_eigenvalue(N, M).quantile(0.99)).sum())


def weak_spikes(k: int, seed: int) -> np.ndarray:
    return np.sqrt(N) * ensembles.spiked(N, M, [WEAK] * k, np.random.default_rng([10, k, seed]))


def many(options: argparse.Namespace, each: Callable[..., Iterable[float]]) -> Iterator[Line]:
    """Count 20 spikes of a matrix that is all but square."""
    found = np.array(list(each(num_strong, range(options.d // 2))))
    theirs = [row["num_spikes"] for row in weightwatcher_rows(strong_spikes(seed) for seed in range(options.p))]
    texts = (f"{np.mean(counts):.2f} ({min(counts):.0f} to {max(counts):.0f})" for counts in (found, theirs))
    ours, peer = texts
    reached = met(bool((abs(found - COUNT) <= 1).all()))
    what = f"{COUNT} spikes of strength {STRONG}, {NARROW[0]} x {NARROW[1]}: mean number found (least to greatest)"
    yield what, str(found.size), ours, "", f"{peer} ({len(theirs)} matrices)", "20 +- 1 in each", reached


def num_strong(seed: int) -> float:
    return found_in(strong_spikes(seed)).num_spikes


def strong_spikes(seed: int) -> np.ndarray:
    return ensembles.spiked(*NARROW, [STRONG] * COUNT, np.random.default_rng([11, seed]))


def giant(options: argparse.Namespace, each: Callable[..., Iterable[float]]) -> Iterator[Line]:
    """Find the edge of the noise under a spike that is 1200 times as large."""
    found = np.array(list(each(edge_below_giant, range(options.d // 2))))
    theirs = [row["bulk_max"] for row in weightwatcher_rows(giant_spike(seed) for seed in range(options.p))]
    edge = (1 + np.sqrt(M / N)) ** 2
    texts = (f"{median(edges):.3f} ({min(edges):.3f} to {max(edges):.3f})" for edges in (found, theirs))
    ours, peer = texts
    reached = met(bool((abs(found / edge - 1) <= 0.01).all()))
    what = "one spike of strength 100: edge, median (least to greatest)"
    yield what, str(found.size), ours, f"{edge:.3f}", f"{peer} ({len(theirs)} matrices)", "within 1 % in each", reached


def edge_below_giant(seed: int) -> float:
    return found_in(giant_spike(seed)).bulk_edge


def giant_spike(seed: int) -> np.ndarray:
    return ensembles.spiked(N, M, [GIANT], np.random.default_rng([12, seed]))


def found_in(W: np.ndarray) -> Row:
    """Diagnose a matrix as `analyze` does."""
    spectrum = spectrum_of_stack(W[None], "float64")
    return diagnose_layer(
        spectrum,
        [lambda r: (W[i : i + r] for i in range(0, len(W), r))],
        Wanted(),
        name="W",
        kind="linear",
        dtype="float64",
    ).row


def share(count: int, of: int) -> str:
    low, high = binomtest(int(count), of).proportion_ci()
    return f"{count / of:.2%} ({low:.2%} to {high:.2%})"


def met(reached: bool) -> str:
    return "yes" if reached else "no"


SECTIONS = {"noise": noise, "power": power, "many": many, "giant": giant}

if __name__ == "__main__":
    main()
