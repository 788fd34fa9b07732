"""How many spikes heavytail and WeightWatcher 0.7.7 find where it is known how many there are.

    python benchmarks/spikes.py                       everything, about eight minutes
    python benchmarks/spikes.py --only noise -n 200   one section, fewer matrices

noise    matrices of pure noise, M from 50 to 2000, Q from 1 to 16, four laws of entries: how many show any spike
power    1000 x 500 Gaussian noise and spikes at 1.2 times their threshold: how many are found, also by an oracle that
         knows the noise and holds each eigenvalue against the 99 % point of the Tracy-Widom law
many     500 x 499 Gaussian noise and 20 spikes of strength 1.8, in units in which the noise has variance 1 / N
giant    1000 x 500 Gaussian noise of variance 1 / N and one spike of strength 100: where the edge of the noise is found

Every matrix has a seed of its own. Exits with 1 if a target is missed.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from functools import partial
from statistics import median

import numpy as np
from common import markdown
from matrices import diagnosed, met, processes, share, weightwatcher_rows

from heavytail.rmt import ensembles
from heavytail.rmt.edges import bulk_edge, largest_eigenvalue

# Classes of M and their shares of the matrices; within one M is even in its logarithm, Q in its own up to the limits.
CLASSES = (
    (50, 100, 0.32),
    (100, 200, 0.25),
    (200, 400, 0.2),
    (400, 800, 0.15),
    (800, 1400, 0.06),
    (1400, 2000, 0.02),
)
MAX_Q, MAX_ENTRIES = 16.0, 2.5e7
LAWS: dict[str, Callable[[int, int, np.random.Generator], np.ndarray]] = {
    "Gaussian": ensembles.gaussian,
    "uniform": ensembles.uniform,
    "Laplace": ensembles.laplace,
    "t(10)": lambda N, M, seed: ensembles.student_t(N, M, 10, seed),
}
TARGETS = {"Gaussian": (0.005, 0.015), "uniform": (0.005, 0.015), "Laplace": (0.0, 0.02), "t(10)": (0.0, 0.02)}
N, M = 1000, 500  # of `power` and `giant`
WEAK = 1.2 * (M / N) ** 0.25
NARROW, STRONG, COUNT = (500, 499), 1.8, 20
GIANT = 100.0
HEAD = ("what", "matrices", "heavytail", "oracle", "WeightWatcher", "target", "met")
Lines = Iterator[tuple[str, ...]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=2000, help="matrices of noise for each law (default 2000)")
    parser.add_argument("-d", type=int, default=400, help="matrices for each line of the rest (default 400)")
    parser.add_argument("-p", type=int, default=20, help="of them for WeightWatcher, of noise thrice (default 20)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="may be repeated")
    options = parser.parse_args()
    with processes(options.jobs) as executor:
        lines = [line for name in options.only or SECTIONS for line in SECTIONS[name](options, executor)]
    print(markdown(HEAD, lines))
    sys.exit(any(line[-1] == "no" for line in lines))


def noise(options: argparse.Namespace, executor: Executor) -> Lines:
    """Count the matrices of noise that show a spike, by law and by size."""
    shapes = noise_shapes(options.n)
    sizes = np.array([m for _, m in shapes])
    for law in LAWS:
        spiked = np.array(list(executor.map(partial(shows_spike, law), range(len(shapes)), shapes, chunksize=4)))
        low, high = TARGETS[law]
        target = f"{low:.1%} to {high:.1%}" if low else f"<= {high:.0%}"
        reached = met(low <= spiked.mean() <= high)
        peer = weightwatcher_noise(shapes, 3 * options.p) if law == "Gaussian" else ""
        yield (
            *(f"noise, {law}: any spike", str(spiked.size), share(spiked.sum(), spiked.size)),
            *("", peer, target, reached),
        )
        for smallest, largest, _ in CLASSES:
            part = spiked[(sizes >= smallest) & (sizes < largest)]
            if part.size:
                what = f"  M from {smallest} to {largest}"
                yield what, str(part.size), share(part.sum(), part.size), "", "", "", ""


def noise_shapes(count: int) -> list[tuple[int, int]]:
    """Draw the shapes of the matrices of noise."""
    rng = np.random.default_rng(0)
    shapes = []
    for smallest, largest, part in CLASSES:
        for size in np.exp(rng.uniform(np.log(smallest), np.log(largest), round(part * count))):
            m = int(size)
            most = min(MAX_Q, MAX_ENTRIES / m**2)
            shapes.append((max(int(m * most ** rng.uniform()), m), m))
    return shapes


def shows_spike(law: str, index: int, shape: tuple[int, int]) -> bool:
    return diagnosed(noise_matrix(law, index, shape)).row.num_spikes > 0


def noise_matrix(law: str, index: int, shape: tuple[int, int]) -> np.ndarray:
    return LAWS[law](*shape, np.random.default_rng([list(LAWS).index(law), index]))


def weightwatcher_noise(shapes: list[tuple[int, int]], count: int) -> str:
    """Count the small ones among the same Gaussian matrices in which WeightWatcher sees a spike."""
    small = [(i, (n, m)) for i, (n, m) in enumerate(shapes) if n * m <= 100_000][:count]
    rows = weightwatcher_rows(noise_matrix("Gaussian", i, shape) for i, shape in small)
    return f"{share(sum(row['num_spikes'] > 0 for row in rows), len(rows))} of {len(rows)}"


def power(options: argparse.Namespace, executor: Executor) -> Lines:
    """Count what is found of spikes at 1.2 times their threshold."""
    for k in (1, 10):
        counts = list(executor.map(partial(count_weak, k), range(options.d), chunksize=4))
        found, oracle = np.array(counts).T
        theirs = [row["num_spikes"] for row in weightwatcher_rows(weak_spikes(k, seed) for seed in range(options.p))]
        ours, best = found.mean() / k, oracle.mean() / k
        yield (
            *(f"{k} at 1.2 times the threshold: share found", str(options.d), f"{ours:.1%}", f"{best:.1%}"),
            f"{np.mean(theirs) / k:.1%} of {len(theirs)}",
            *("within 5 points of the oracle", met(abs(ours - best) <= 0.05)),
        )
        beyond = (f"{np.mean(np.asarray(side) > k):.1%}" for side in (found, oracle, theirs))
        yield "  matrices with more than were planted", str(options.d), *beyond, "", ""


def count_weak(k: int, seed: int) -> tuple[float, int]:
    """Count what heavytail finds, and what the oracle finds."""
    W = weak_spikes(k, seed)
    oracle = np.linalg.eigvalsh(W.T @ W) > largest_eigenvalue(N, M).quantile(0.99)
    return diagnosed(W).row.num_spikes, int(oracle.sum())


def weak_spikes(k: int, seed: int) -> np.ndarray:
    return np.sqrt(N) * ensembles.spiked(N, M, [WEAK] * k, np.random.default_rng([10, k, seed]))


def many(options: argparse.Namespace, executor: Executor) -> Lines:
    """Count 20 spikes of a matrix that is all but square."""
    found = np.array(list(executor.map(count_strong, range(options.d), chunksize=4)))
    theirs = np.array([row["num_spikes"] for row in weightwatcher_rows(map(strong_spikes, range(options.p)))])
    ours, peer = (f"{side.mean():.2f} ({side.min():.0f} to {side.max():.0f})" for side in (found, theirs))
    reached = met(bool((abs(found - COUNT) <= 1).all()))
    what = f"{COUNT} of strength {STRONG}, {NARROW[0]} x {NARROW[1]}: mean number (least to greatest)"
    yield what, str(found.size), ours, "", f"{peer} of {theirs.size}", f"{COUNT} +- 1 in each", reached


def count_strong(seed: int) -> float:
    return diagnosed(strong_spikes(seed)).row.num_spikes


def strong_spikes(seed: int) -> np.ndarray:
    return ensembles.spiked(*NARROW, [STRONG] * COUNT, np.random.default_rng([11, seed]))


def giant(options: argparse.Namespace, executor: Executor) -> Lines:
    """Find the edge of the noise beside a spike that is thousands of times as large."""
    found = np.array(list(executor.map(edge_beside_giant, range(options.d), chunksize=4)))
    theirs = np.array([row["bulk_max"] for row in weightwatcher_rows(map(giant_spike, range(options.p)))])
    ours, peer = (f"{median(side):.3f} ({side.min():.3f} to {side.max():.3f})" for side in (found, theirs))
    edge = bulk_edge(N, M) / N
    reached = met(bool((abs(found / edge - 1) <= 0.01).all()))
    what = f"one of strength {GIANT:.0f}: edge of the noise, median (least to greatest)"
    yield what, str(found.size), ours, f"{edge:.3f}", f"{peer} of {theirs.size}", "within 1 % in each", reached


def edge_beside_giant(seed: int) -> float:
    return diagnosed(giant_spike(seed)).row.bulk_edge


def giant_spike(seed: int) -> np.ndarray:
    return ensembles.spiked(N, M, [GIANT], np.random.default_rng([12, seed]))


SECTIONS = {"noise": noise, "power": power, "many": many, "giant": giant}

if __name__ == "__main__":
    main()
