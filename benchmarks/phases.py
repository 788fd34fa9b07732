"""Are the phases found, and are their probabilities true?

    python benchmarks/phases.py                      the tables, on fresh draws; about twenty minutes with two processes
    python benchmarks/phases.py --only draws         a part: draws, untrained, paths, published, evidence, models, speed
    python benchmarks/phases.py --refit              the coefficients of diagnosis/phases.py; about fifteen minutes
    python benchmarks/phases.py --count 500          draws of each phase

Draws are of `heavytail.rmt.ensembles.draw_phase`, M and Q uniform in their logarithms from 30 to 2000 and from 1 to 16,
with at most 4 million entries. Refitting and tables have different seeds.
"""

import argparse
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, log

import ml_dtypes  # noqa: F401 - names bfloat16
import numpy as np
from common import MODELS, markdown, model
from matrices import processes, share
from scipy.linalg import eigvalsh_tridiagonal
from scipy.optimize import minimize

import heavytail as ht
from heavytail.diagnosis import phases
from heavytail.diagnosis.phase_evidence import PhaseEvidence, gather
from heavytail.diagnosis.phases import COEFFICIENTS, find_phase, probabilities
from heavytail.rmt import AdditiveSpike
from heavytail.rmt.ensembles import PHASES, draw_phase, gaussian, haar, spiked, uniform, wishart_bidiagonal
from heavytail.spectra.exact import spectrum_of_stack
from heavytail.weights.source import open_source
from heavytail.weights.tensor import Tensor

REFIT, FRESH = 1, 2  # seeds
ENTRIES = 4_000_000
SIZES = ((30, 50), (50, 100), (100, 200), (200, 500), (500, 2001))
BINS = 10
LEAST = 30  # draws in a cell of a table below which no share is told


@dataclass(frozen=True)
class Drawn:
    """A draw and what was seen of it."""

    phase: int
    inside: bool
    M: int
    seen: PhaseEvidence


def draw_some(seed: tuple[int, ...], count: int) -> list[Drawn]:
    """Draw each phase so many times."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        for phase, name in enumerate(PHASES):
            M = int(exp(rng.uniform(log(30), log(2001))))
            N = max(M, min(int(M * exp(rng.uniform(0, log(16)))), ENTRIES // M))
            draw = draw_phase(name, N, M, rng)
            spectrum = spectrum_of_stack(draw.matrix[None], "float64")
            found.append(Drawn(phase, draw.inside, M, gather(spectrum.evals, spectrum.N, spectrum.floor)))
    return found


def draw_all(seed: int, count: int) -> list[Drawn]:
    """Draw in as many processes as there are processors; the result does not depend on their number."""
    parts = [(seed, part) for part in range(-(-count // 25))]
    with processes(os.cpu_count() or 1) as pool:
        return [drawn for some in pool.map(draw_some, parts, [25] * len(parts)) for drawn in some]


# The coefficients.


def refit(count: int) -> None:
    """Print the coefficients of most likelihood, question by question."""
    draws = draw_all(REFIT, count)
    asked: dict[str, list[tuple[bool, float, tuple[float, ...]]]] = {question: [] for question in COEFFICIENTS}
    for drawn in draws:
        values = {"collapsed": (drawn.seen.lost,), **phases.features(drawn.seen)}
        for question, answer in answers(PHASES[drawn.phase]).items():
            if question in values:
                weight = 1.0 if question == "collapsed" else phases.weight(drawn.seen.rank)
                asked[question].append((answer, weight, values[question]))
    for question, cases in asked.items():
        truth, weight, x = (np.array(column) for column in zip(*cases, strict=True))
        numbers = ", ".join(f"{value:.4g}" for value in logistic(x, weight, truth))
        print(f'    "{question}": ({numbers}),  # {len(cases)} draws')


def answers(phase: str) -> dict[str, bool]:
    """Give the true answers to the questions that concern a phase."""
    if phase == "rank-collapse":
        return {"collapsed": True}
    if phase in ("bulk-decay", "heavy-tailed"):
        return {"collapsed": False, "noise": False, "heavy": phase == "heavy-tailed"}
    if phase == "random-like":
        return {"collapsed": False, "noise": True, "beyond": False}
    return {"collapsed": False, "noise": True, "beyond": True, "clear": phase == "bulk+spikes"}


def logistic(x: np.ndarray, weight: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Fit constant and coefficients of log odds over weights by likelihood, with a penalty that keeps them finite."""
    middle, width = x.mean(axis=0), x.std(axis=0)
    z = np.column_stack([np.ones(len(x)), (x - middle) / width]) * weight[:, None]
    sign = np.where(truth, 1.0, -1.0)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (z @ w)
        slope = -sign / (1 + np.exp(np.minimum(margin, 500)))
        penalty = np.r_[0, 1e-3 * w[1:]]
        return float(np.logaddexp(0, -margin).sum() + penalty @ w / 2), z.T @ slope + penalty

    w = minimize(loss, np.zeros(z.shape[1]), jac=True, method="BFGS").x
    slopes = w[1:] / width
    return np.r_[w[0] - slopes @ middle, slopes]


# How good they are.


def report(count: int) -> None:
    """Print accuracy, calibration and confusion on fresh draws."""
    draws = draw_all(FRESH, count)
    P = np.array([list(probabilities([drawn.seen]).values()) or [0] * len(PHASES) for drawn in draws])
    truth, inside = np.array([d.phase for d in draws]), np.array([d.inside for d in draws])
    M, found, confidence = np.array([d.M for d in draws]), np.where(P.any(axis=1), P.argmax(axis=1), -1), P.max(axis=1)
    right = found == truth
    wrong = ~right & (confidence > 0.9)
    bands = [("all", M > 0), *((f"{lo} to {hi - 1}", (lo <= M) & (hi > M)) for lo, hi in SIZES)]
    summary = []
    for name, band in bands:
        near = band & ~inside
        shares = (f"{right[band].mean():.1%}", share_of(right, band & inside), share_of(wrong, near))
        error, undecided = calibration_error(confidence[band], right[band]), (confidence[band] <= 0.5).mean()
        summary.append((name, band.sum(), *shares, f"{error:.3f}", f"{undecided:.1%}"))
    titles = ("M", "draws", "right", "right, well inside", "wrong and over 0.9, near borders")
    print(table((*titles, "calibration error", "undecided"), summary))
    for title, events, where in (
        ("right, well inside", right, inside),
        ("wrong and over 0.9, near borders", wrong, ~inside),
    ):
        rows = [
            (phase, *(share_of(events, band & where & (truth == k)) for _, band in bands))
            for k, phase in enumerate(PHASES)
        ]
        print(f"\n{title}\n\n" + table(("phase", *(name for name, _ in bands)), rows))
    rows = []
    for lo in np.arange(BINS) / BINS:
        chosen = (confidence > lo) & (confidence <= lo + 1 / BINS)
        if chosen.any():
            rows.append((f"{lo:.1f} to {lo + 1 / BINS:.1f}", chosen.sum(), f"{confidence[chosen].mean():.3f}"))
            rows[-1] += (f"{right[chosen].mean():.3f}",)
    print("\ncalibration\n\n" + table(("probability", "draws", "mean", "right"), rows))
    for name, band in bands[1:]:
        rows = [
            (phase, *(int((band & (truth == k) & (found == j)).sum()) for j in range(len(PHASES))))
            for k, phase in enumerate(PHASES)
        ]
        print(f"\nconfusion, M from {name}: rows are true\n\n" + table(("", *PHASES), rows))


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format a table of anything."""
    return markdown(head, [[str(cell) for cell in row] for row in rows])


def share_of(events: np.ndarray, among: np.ndarray) -> str:
    """Give a share in per cent with the number it is of."""
    n = int(among.sum())
    return f"{events[among].mean():.1%} of {n}" if n >= LEAST else f"({n})"


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Give the expected calibration error of the likeliest phase's probability, over ten bins (Naeini et al. 2015)."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return sum(abs(right[bins == b].sum() - confidence[bins == b].sum()) for b in range(BINS)) / len(right)


# Layers that nobody trained.


def untrained(count: int) -> None:
    """Print how often matrices as they are initialised are called random-like."""
    rows = []
    for N, M in ((64, 64), (384, 384), (1536, 384), (1024, 1024), (1280, 320), (1000, 50)):
        for law, dtype in ((gaussian, "float32"), (gaussian, "bfloat16"), (uniform, "float16"), (truncated, "float32")):
            rng = np.random.default_rng([3, N, M])
            draws = (law(N, M, rng).astype(dtype) for _ in range(max(10, count * 64 // M)))
            verdicts = [find_phase(spectrum_of_stack(W[None], dtype)).name for W in draws]
            called = sum(name == PHASES[0] for name in verdicts)
            others = {name: verdicts.count(name) for name in verdicts if name != PHASES[0]}
            rows.append((f"{N} x {M}", law.__name__, dtype, len(verdicts), share(called, len(verdicts)), others or ""))
    print(table(("shape", "entries", "stored as", "matrices", "random-like", "others"), rows))


def truncated(N: int, M: int, rng: np.random.Generator) -> np.ndarray:
    """Draw normal entries within two deviations, as some libraries initialise."""
    from scipy.stats import truncnorm

    return truncnorm(-2, 2).rvs((N, M), random_state=rng)


# Paths from phase to phase.


def paths() -> None:
    """Print the phases along three paths, one matrix changed little by little."""
    N, M, rng = 1000, 500, np.random.default_rng(4)
    noise, signal = rng.standard_normal((N, M)), np.linalg.qr(rng.standard_normal((M, 5)))[0]
    left = np.linalg.qr(rng.standard_normal((N, 5)))[0]
    threshold = (M / N) ** 0.25 * N**0.5
    print(f"noise + t signals of rank 5, {N} x {M}, t in thresholds\n")
    walk("t", ((t, noise + t * threshold * left @ signal.T) for t in np.arange(0, 3.01, 0.1)))
    sizes, signs = rng.standard_exponential((N, M)), rng.choice([-1.0, 1.0], (N, M))
    print("\nPareto entries\n")
    walk("tail_mu", ((mu, signs * np.exp(sizes / mu)) for mu in np.arange(8, 0.99, -0.25)))
    print("\nrank of noise\n")
    walk("rank", ((rank, np.pad(noise[:, :rank], ((0, 0), (0, M - rank)))) for rank in range(M, 0, -20)))


def walk(parameter: str, steps: Iterable[tuple[float, np.ndarray]]) -> None:
    """Print the phase at each step, one line for as long as it stays."""
    rows: list[list[str]] = []
    for value, W in steps:
        phase = find_phase(spectrum_of_stack(W[None], "float64"))
        sure = max(phase.probabilities.values(), default=0)
        if not rows or rows[-1][0] != phase.name:
            rows.append([phase.name, f"{value:g}", "", f"{sure:.2f}"])
        rows[-1][2] = f"{value:g}"
    print(table(("phase", f"{parameter} from", "to", "probability at first"), rows))


# What was published, by its numbers.


def published() -> None:
    """Print the phases of matrices built from the published numbers of layers whose weights were not published."""
    rows = []
    for name, N, M, beyond, soft_rank, phase in PUBLISHED:
        rng = np.random.default_rng(5)
        draws = (built(N, M, beyond, soft_rank, rng) for _ in range(20))
        verdicts = [find_phase(spectrum_of_stack(W[None], "float64")) for W in draws]
        mean = np.mean([list(verdict.probabilities.values()) or [0] * 6 for verdict in verdicts], axis=0)
        ours = ", ".join(f"{PHASES[k]} {mean[k]:.2f}" for k in np.argsort(-mean) if mean[k] >= 0.05)
        rows.append((name, f"{N} x {M}", f"{beyond:.1%}", soft_rank, phase, ours))
    print(table(("layer", "shape", "beyond", "soft rank", "published", "ours, mean probabilities"), rows))


def built(N: int, M: int, beyond: float, soft_rank: float, rng: np.random.Generator) -> np.ndarray:
    """Draw noise and signals whose eigenvalues lie at even steps of their logarithm from the edge to the largest."""
    spike, count = AdditiveSpike(M / N), round(beyond * M)
    reach = soft_rank ** -np.linspace(1, 0, count, endpoint=False)
    return spiked(N, M, spike.strength(np.sqrt(reach) * spike.edge), rng) if count else gaussian(N, M, rng)


# Small AlexNet's first dense layer by batch size, and others: Martin and Mahoney (2018), spikes removed by hand and
# soft rank.
PUBLISHED = (
    ("LeNet5 FC1", 2450, 500, 0.0526, 0.15, "bulk+spikes"),
    ("small AlexNet FC1, batch 500", 4096, 384, 0.0, 1.0, "random-like"),
    ("batch 150", 4096, 384, 50 / 3840, 0.92, "bleeding-out"),
    ("batch 50", 4096, 384, 90 / 3840, 0.80, "bulk+spikes"),
    ("batch 32", 4096, 384, 90 / 3840, 0.74, "bulk+spikes"),
    ("batch 16", 4096, 384, 175 / 3840, 0.60, "bulk-decay"),
    ("batch 8", 4096, 384, 325 / 3840, 0.44, "bulk-decay"),
    ("batch 4", 4096, 384, 450 / 3840, 0.29, "bulk-decay"),
)


# What is seen of noise, and of real layers.


def evidence(count: int) -> None:
    """Print how often the observations call noise unlike noise: shares below 5 and 1 %, and of narrow bodies."""
    rows = []
    for N, M in ((50, 50), (200, 50), (800, 50), (200, 200), (800, 200), (3200, 200), (1000, 1000), (4000, 1000)):
        rng, seen = np.random.default_rng([6, N, M]), []
        for _ in range(max(50, count * 50 // M)):
            diagonal, below = wishart_bidiagonal(N, M, seed=rng)
            squares = diagonal**2
            squares[1:] += below**2
            evals = np.maximum(eigvalsh_tridiagonal(squares, diagonal[:-1] * below), 0)
            seen.append(gather(evals, N))
        told = [one.as_dict() for one in seen]
        names = ("misfit", "outlier", "breadth", "edge")
        p_values = {name: np.array([one[f"{name}_p_value"] for one in told]) for name in names}
        shares = [f"{np.mean(p < 0.05):.1%}, {np.mean(p < 0.01):.1%}" for p in p_values.values()]
        rows.append((f"{N} x {M}", len(seen), *shares, sum(one.narrow for one in seen)))
    print(table(("shape", "matrices", "misfit", "largest eigenvalue", "breadth", "edge", "narrow"), rows))


def models() -> None:
    """Print the phases of two real models, and how many change with what must not matter."""
    for name in MODELS:
        counts = ht.analyze(model(name)).summary["phases"]
        print(f"{name}: " + ", ".join(f"{count} {phase}" for phase, count in counts.items() if count))
    layers = [
        W for name in MODELS for tensor in open_source(model(name)).tensors if (W := matrix_of(tensor)) is not None
    ]
    rng = np.random.default_rng(7)
    changed: dict[str, list[float]] = {}
    for W in layers:
        before = find_phase(spectrum_of_stack(W[None], "float32"))
        for what, (other, dtype) in variants(W, rng).items():
            after = find_phase(spectrum_of_stack(np.ascontiguousarray(other)[None], dtype))
            moves = [abs(after.probabilities.get(phase, 9) - p) for phase, p in before.probabilities.items()]
            changed.setdefault(what, []).append(np.inf if after.name != before.name else max(moves, default=0.0))
    rows = [
        (what, len(moves), sum(np.isinf(moves)), f"{max(m for m in moves if np.isfinite(m)):.4f}")
        for what, moves in changed.items()
    ]
    print("\n" + table(("change", "layers", "other phase", "largest move of a probability, of the same"), rows))


def matrix_of(tensor: Tensor) -> np.ndarray | None:
    """Give a tensor as a tall matrix of float32, if it is one of 30 to 4999."""
    shape = [n for n in tensor.shape if n > 1]
    if len(shape) != 2 or not (min(shape) >= 30 and max(shape) < 5000):
        return None
    W = tensor.read().reshape(shape).astype(np.float32)
    return W if shape[0] >= shape[1] else W.T


def variants(W: np.ndarray, rng: np.random.Generator) -> dict[str, tuple[np.ndarray, str]]:
    """Change a matrix in ways that must not matter; the type is what it is stored in."""
    N, M = W.shape
    left, right = haar(N, N, rng) if N < 2000 else np.eye(N), haar(M, M, rng)
    return {
        "scaled by 1e-6": (W * np.float32(1e-6), "float32"),
        "scaled by 1e6": (W * np.float32(1e6), "float32"),
        "rows and columns permuted": (W[rng.permutation(N)][:, rng.permutation(M)], "float32"),
        "rotated (from the right alone above 2000 rows)": (left @ W.astype(np.float64) @ right, "float64"),
        "stored as float16": (W.astype(np.float16), "float16"),
        "stored as bfloat16": (W.astype("bfloat16"), "bfloat16"),
    }


def speed() -> None:
    """Print what a phase costs beside the spectrum it is read from, in milliseconds."""
    rows = []
    for M in (64, 256, 1024, 4096):
        W = draw_phase("heavy-tailed", M, M, 0).matrix
        start = time.perf_counter()
        spectrum = spectrum_of_stack(W[None], "float64")
        middle = time.perf_counter()
        find_phase(spectrum)
        first = time.perf_counter() - middle
        laps = []
        for _ in range(9):
            start_lap = time.perf_counter()
            find_phase(spectrum)
            laps.append(time.perf_counter() - start_lap)
        rows.append((M, f"{1e3 * (middle - start):.0f}", f"{1e3 * first:.1f}", f"{1e3 * np.median(laps):.2f}"))
    print(table(("M", "spectrum", "phase, first of its shape", "phase, again"), rows))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--refit", action="store_true")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--only", choices=("draws", "untrained", "paths", "published", "evidence", "models", "speed"))
    asked = parser.parse_args(arguments)
    if asked.refit:
        refit(asked.count)
        return
    parts = {
        "draws": lambda: report(asked.count),
        "untrained": lambda: untrained(min(asked.count, 1000)),
        "paths": paths,
        "published": published,
        "evidence": lambda: evidence(min(asked.count, 1000)),
        "models": models,
        "speed": speed,
    }
    for name, part in parts.items():
        if asked.only in (None, name):
            print(f"\n## {name}\n")
            part()


if __name__ == "__main__":
    main()
