"""How often the bounds of an approximate spectrum hold, how wide they are, and what they cost beside the exact one.

    OPENBLAS_NUM_THREADS=1 python benchmarks/certified.py        everything, some minutes of one processor
    python benchmarks/certified.py --only coverage -n 50         one section, fewer matrices

coverage   matrices of nine kinds, M from 50 to 800, Q from 1 to 4, 2 to 16 probes and 8 to 64 passes: of how many
           every bound holds, on each eigenvalue, the norm, the stable rank, the numerical rank, the entropy and the
           number of eigenvalues above a point; delta is 0.001
           width: upper bound over lower bound, less 1, of the largest eigenvalue and of the tenth; of the number of
           eigenvalues above the median, the two bounds' distance over M; of the entropy, their distance; all medians
cost       W with entries of Student's t(3) and Q = 1.5: seconds and memory of both; widths as above

Every matrix has a seed of its own. Exits with 1 if a target is missed.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from math import exp, log
from statistics import median

import numpy as np
from common import markdown
from matrices import met

from heavytail.spectra.certified import CertifiedSpectrum, approximate_spectrum, memory
from heavytail.spectra.exact import spectrum_of_rows

Generator = np.random.Generator
Lines = Iterator[tuple[str, ...]]
TARGET = 0.99
SLACK = 1e-10  # of the largest eigenvalue: the error of the exact ones and more


def with_eigenvalues(evals: np.ndarray, N: int, rng: Generator) -> np.ndarray:
    M = len(evals)
    left, right = (np.linalg.qr(rng.standard_normal((n, M)))[0] for n in (N, M))
    return left * np.sqrt(evals) @ right.T


def spiked(N: int, M: int, rng: Generator) -> np.ndarray:
    k = int(rng.integers(1, 6))
    return rng.standard_normal((N, M)) + rng.standard_normal((N, k)) @ rng.standard_normal((k, M))


def pareto(N: int, M: int, rng: Generator) -> np.ndarray:
    return with_eigenvalues((1 - rng.random(M)) ** (-1 / rng.uniform(0.5, 4)), N, rng)


def low_rank(N: int, M: int, rng: Generator) -> np.ndarray:
    k = int(rng.integers(1, M))
    return rng.standard_normal((N, k)) @ rng.standard_normal((k, M))


def clusters(N: int, M: int, rng: Generator) -> np.ndarray:
    return with_eigenvalues(rng.choice([0, 1, 1 + 1e-9, 3, 50], M), N, rng)


def decay(N: int, M: int, rng: Generator) -> np.ndarray:
    return with_eigenvalues(np.geomspace(1, 10 ** -rng.uniform(2, 12), M), N, rng)


def sparse(N: int, M: int, rng: Generator) -> np.ndarray:
    return rng.standard_normal((N, M)) * (rng.random((N, M)) < rng.uniform(0.01, 0.2))


KINDS: dict[str, Callable[[int, int, Generator], np.ndarray]] = {
    "Gaussian": lambda N, M, rng: rng.standard_normal((N, M)),
    "Student's t": lambda N, M, rng: rng.standard_t(rng.uniform(1, 4), (N, M)),
    "signs": lambda N, M, rng: rng.choice([-1.0, 1.0], (N, M)),
    "spiked": spiked,
    "Pareto spectrum": pareto,
    "low rank": low_rank,
    "clusters": clusters,
    "decay": decay,
    "sparse": sparse,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=500, help="matrices for the coverage (default 500)")
    parser.add_argument("--only", choices=("coverage", "cost"))
    options = parser.parse_args()
    reached = True
    if options.only != "cost":
        head = ("kind", "matrices", "all bounds hold", "largest", "tenth", "number", "entropy")
        lines = list(coverage(options.n))
        print(markdown(head, lines), "\n")
        held = int(lines[-1][2])
        reached = held >= TARGET * options.n
        print(f"coverage {held / options.n:.4f}, target {TARGET}, met: {met(reached)}\n")
    if options.only != "coverage":
        head = ("M", "exact", "GB", "probes", "passes", "approximate", "GB", "largest", "tenth", "number", "entropy")
        print(markdown(head, cost()))
    sys.exit(not reached)


def coverage(n: int) -> Lines:
    found: dict[str, list[tuple[bool, tuple[float, ...]]]] = {kind: [] for kind in KINDS}
    for seed in range(n):
        kind = list(KINDS)[seed % len(KINDS)]
        rng = np.random.default_rng((7, seed))
        M = round(exp(rng.uniform(log(50), log(800))))
        W = KINDS[kind](round(M * rng.uniform(1, 4)), M, rng)
        spectrum = approximate(W, int(rng.integers(2, 17)), int(rng.integers(8, 65)), seed)
        evals = np.linalg.eigvalsh(W.T @ W)
        found[kind].append((holds(spectrum, evals), widths(spectrum, evals)))
    for kind, results in found.items():
        yield line(kind, results)
    yield line("all", [result for results in found.values() for result in results])


def line(kind: str, results: list[tuple[bool, tuple[float, ...]]]) -> tuple[str, ...]:
    middle = (f"{median(width):.1e}" for width in zip(*(widths for _, widths in results), strict=True))
    return kind, str(len(results)), str(sum(held for held, _ in results)), *middle


def approximate(W: np.ndarray, probes: int, steps: int, seed: int) -> CertifiedSpectrum:
    rows = partial(blocks, W)
    return approximate_spectrum(rows, *W.shape, probes=probes, steps=steps, seed=seed)


def blocks(W: np.ndarray, rows: int) -> Iterator[np.ndarray]:
    return (W[i : i + rows] for i in range(0, len(W), rows))


def holds(spectrum: CertifiedSpectrum, evals: np.ndarray) -> bool:
    """Every bound at once; those that follow from the eigenvalues' are held against the eigenvalues themselves."""
    evals = np.maximum(evals, 0)
    slack, norm = SLACK * evals[-1], evals.sum()
    held = (spectrum.lower <= evals + slack).all() and (spectrum.upper >= evals - slack).all()
    held &= spectrum.norm.lo <= norm * (1 + SLACK) and norm * (1 - SLACK) <= spectrum.norm.hi
    stable = norm / evals[-1]
    held &= spectrum.stable_rank.lo <= stable * (1 + SLACK) and stable * (1 - SLACK) <= spectrum.stable_rank.hi
    dtype = "bfloat16"  # whose noise is above the error of the eigenvalues
    noise = 2.0**-8 + 2.0**-20
    floor = norm * (noise * (spectrum.N**-0.5 + spectrum.M**-0.5)) ** 2
    positive = evals[evals > floor]
    least, most = spectrum.rank(dtype)
    near = int((abs(evals - floor) <= slack + 1e-9 * floor).sum())
    held &= least - near <= positive.size <= most + near
    p = positive / positive.sum()
    entropy = float(-(p @ np.log(p))) / log(p.size) if p.size > 1 else 0.0
    bounds = spectrum.entropy(dtype)
    held &= near > 0 or bounds.lo - 1e-9 <= entropy <= bounds.hi + 1e-9
    for x in (norm / evals.size, 1.001 * evals[evals.size // 2], 0.9 * evals[-1]):
        least, most = spectrum.above(x)
        held &= least <= (evals > x - slack).sum() and (evals > x + slack).sum() <= most
    return bool(held)


def widths(spectrum: CertifiedSpectrum, evals: np.ndarray) -> tuple[float, float, float, float]:
    relative = spectrum.upper / np.maximum(spectrum.lower, 1e-300) - 1
    least, most = spectrum.above(float(np.median(evals)))
    entropy = spectrum.entropy("bfloat16")
    return float(relative[-1]), float(relative[-10]), (most - least) / evals.size, entropy.hi - entropy.lo


def cost() -> Lines:
    for M in (2000, 4000):
        N = 3 * M // 2
        W = np.random.default_rng(M).standard_t(3, (N, M)).astype(np.float32)
        start = time.perf_counter()
        evals = spectrum_of_rows(partial(blocks, W), N, M, "float32").evals
        exact = time.perf_counter() - start
        for probes, steps in ((8, 32), (8, 64), (16, 64)):
            start = time.perf_counter()
            spectrum = approximate(W, probes, steps, M)
            seconds = time.perf_counter() - start
            ours, theirs = (f"{size / 1e9:.2f}" for size in (memory(N, M, probes, steps), 8 * M * M))
            numbers = [f"{width:.1e}" for width in widths(spectrum, evals)]
            took = f"{seconds:.1f} s"
            yield str(M), f"{exact:.1f} s", theirs, str(probes), str(spectrum.passes), took, ours, *numbers


if __name__ == "__main__":
    main()
