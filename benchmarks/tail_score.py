"""How often noise is called trained, how far trained layers are from it, and what FARMS gives on noise.

    python benchmarks/tail_score.py                    the tables; about fifteen minutes
    python benchmarks/tail_score.py --only models      a part: noise, spread, models, farms, speed
    python benchmarks/tail_score.py --refit            the constants of the next order in rmt/linear_statistics.py

Shares come with their 95 % interval. In a row of noise the shapes of all Q are pooled, and the share of each is beside
them; "mean, sd" are those of the score, which ought to be 0 and 1.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from unittest.mock import patch

import numpy as np
from common import MODELS, model
from matrices import share
from scipy.linalg import eigvalsh_tridiagonal

import heavytail as ht
from heavytail.analysis import jobs
from heavytail.diagnosis.farms import farms
from heavytail.diagnosis.layer import Layer, Wanted, diagnose_layer
from heavytail.diagnosis.tail_score import TailScore, entry_kurtosis, tail_score
from heavytail.rmt import linear_statistics
from heavytail.rmt.ensembles import wishart_bidiagonal
from heavytail.rmt.linear_statistics import _LOWER, _TAIL, _WIDER, log_excess, log_excess_of_noise
from heavytail.spectra.entries import Blocks
from heavytail.spectra.exact import spectrum_of_stack
from heavytail.spectra.spectrum import Spectrum
from heavytail.tails.power_law import hill

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]

ASPECTS = (1, 2, 4, 8, 16, 32)
SIZES = {64: 2000, 128: 1000, 256: 250, 512: 60, 1024: 12}  # M: matrices of each law and Q, fewer where they are tall
LEVEL = 0.05
ENTRIES = 100_000_000  # at most so many for each law, M and Q


def student(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw from Student's t(5)."""
    chi = rng.standard_gamma(np.float32(2.5), shape, dtype=np.float32) * np.float32(0.4)
    return rng.standard_normal(shape, dtype=np.float32) / np.sqrt(chi)


def sparse(rng: np.random.Generator, shape: tuple[int, ...], kept: float) -> np.ndarray:
    """Draw Gaussian entries of which a share is kept."""
    return rng.standard_normal(shape, dtype=np.float32) * (rng.random(shape, dtype=np.float32) < kept)


LAWS: dict[str, Draw] = {
    "Gaussian": lambda rng, shape: rng.standard_normal(shape, dtype=np.float32),
    "uniform": lambda rng, shape: rng.random(shape, dtype=np.float32) - np.float32(0.5),
    "t(5)": student,
    "half of it zero": partial(sparse, kept=0.5),
    "nine tenths zero": partial(sparse, kept=0.1),
}


def scored(W: np.ndarray) -> TailScore:
    """Score a matrix as a layer would be."""
    spectrum = spectrum_of_stack(W[None], "float32")
    return tail_score(spectrum, entry_kurtosis(spectrum, [lambda r: (W[i : i + r] for i in range(0, len(W), r))]))


def noise_scores(law: str, N: int, M: int, count: int) -> Iterator[TailScore]:
    for seed in range(count):
        yield scored(LAWS[law](np.random.default_rng([seed, N, M, *law.encode()]), (N, M)))


def false_calls(sizes: dict[int, int]) -> None:
    aspects = " | ".join(f"Q = {Q}" for Q in ASPECTS)
    print(f"| noise | M | matrices | called trained | {aspects} | mean, sd | no score |\n" + "|---" * 12 + "|")
    for M, most in sizes.items():
        for law in LAWS:
            found, shares = [], []
            for Q in ASPECTS:
                here = list(noise_scores(law, Q * M, M, max(4, min(most, ENTRIES // (Q * M * M)))))
                called = [s.p_value < LEVEL for s in here if not s.reason]
                shares.append(f"{np.mean(called):.1%}" if called else "")
                found += here
            z = np.array([s.score for s in found if not s.reason])
            line = share(sum(s.p_value < LEVEL for s in found), z.size)
            moments = f"{z.mean():+.2f}, {z.std():.2f}"
            columns = (law, M, len(found), line, *shares, moments, len(found) - z.size)
            print("| " + " | ".join(map(str, columns)) + " |", flush=True)


def spread() -> None:
    """Print the scores of noise of one size over Q."""
    print("| noise, M = 384 | " + " | ".join(f"Q = {Q}" for Q in ASPECTS) + " |\n|---" + "|---" * len(ASPECTS) + "|")
    found = {Q: list(noise_scores("Gaussian", Q * 384, 384, 40)) for Q in ASPECTS}
    for name in ("hill", "excess", "score"):
        means = [np.mean([getattr(s, name) for s in found[Q]]) for Q in ASPECTS]
        print(f"| {name} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")


def models(listed: bool) -> None:
    for name in MODELS:
        scores: dict[str, TailScore] = {}

        def diagnose(spectrum: Spectrum, matrices: Sequence[Blocks], wanted: Wanted, **named: str) -> Layer:
            if matrices and spectrum.evals[-1] > 0:
                scores[named["name"]] = tail_score(spectrum, entry_kurtosis(spectrum, matrices))  # noqa: B023
            return diagnose_layer(spectrum, matrices, wanted, **named)

        with patch.object(jobs, "diagnose_layer", diagnose):
            report = ht.analyze(model(name), jobs=1)
        good = {row.name: (row, scores[row.name]) for row in report.rows if row.name in scores}
        why = Counter(s.reason.split(":")[1][:24] for _, s in good.values() if s.reason)
        good = {key: pair for key, pair in good.items() if not pair[1].reason}
        print(f"\n{name}: {len(good)} matrices have a score; the others: {dict(why)}\n")
        for what in ("excess", "score"):
            values = np.quantile([getattr(s, what) for _, s in good.values()], [0.05, 0.25, 0.5, 0.75, 0.95])
            print(f"  {what}, quantiles 5, 25, 50, 75, 95 %: " + ", ".join(f"{v:.2f}" for v in values))
        print("\n| layer | N x M | spikes | hill | excess | score |\n|---|---|---|---|---|---|")
        for row, s in good.values():
            if listed or s.p_value > 0.05:
                spikes = "-" if np.isnan(row.num_spikes) else f"{row.num_spikes:.0f}"
                interval = f"{s.excess:.3f} ({s.excess_lo:.3f} to {s.excess_hi:.3f})"
                print(f"| {row.name} | {row.N} x {row.M} | {spikes} | {s.hill:.2f} | {interval} | {s.score:+.1f} |")


def farms_of_noise() -> None:
    print("| Gaussian noise, M = 256 | Q = " + " | ".join(map(str, ASPECTS)) + " |\n|---" + "|---" * len(ASPECTS) + "|")
    lines: dict[str, list[float]] = {"Hill": [], "FARMS, tall": [], "FARMS, wide": [], "excess": []}
    for Q in ASPECTS:
        W = np.random.default_rng(Q).standard_normal((256 * Q, 256))
        evals = np.linalg.eigvalsh(W.T @ W)
        lines["Hill"].append(hill(evals))
        lines["FARMS, tall"].append(farms(W).alpha)
        lines["FARMS, wide"].append(farms(W.T).alpha)
        lines["excess"].append(log_excess(evals) / log_excess_of_noise(256 * Q, 256).mean())
    for name, values in lines.items():
        print(f"| {name} | " + " | ".join(f"{v:.3f}" for v in values) + " |")


def speed() -> None:
    evals = np.linalg.eigvalsh(np.diag(np.random.default_rng(0).random(4096)))
    spectrum = spectrum_of_stack(np.sqrt(evals)[None, None, :1], "float64")
    spectrum = type(spectrum)(8192, 4096, evals, evals[None], evals, 0.0, 0.0, "gram")

    def least(call: Callable[[], object], repeats: int = 20) -> float:
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        return 1e3 * min(times)

    def new_shape() -> None:
        log_excess_of_noise.cache_clear()
        log_excess_of_noise(8192, 4096)

    W = np.random.default_rng(0).standard_normal((1000, 1000))
    print(f"new shape {least(new_shape):.2f} ms; 4,096 eigenvalues {least(lambda: tail_score(spectrum, [0.0])):.2f} ms")
    print(f"FARMS of 1000 x 1000: {least(lambda: farms(W), 3):.0f} ms")


def refit() -> None:
    """Print what the constants of the next order in rmt/linear_statistics.py are fitted to."""
    print("Gaussian noise: what is missing of the mean, in deviations, and of the deviation, by parts; both times k")
    for M, count in ((20, 20_000), (40, 20_000), (64, 20_000), (128, 5000)):
        for Q in (1, 2, 8, 32):
            rng, law, k = np.random.default_rng([M, Q]), log_excess_of_noise(Q * M, M), M // _TAIL
            found = np.array([log_excess(wishart_evals(Q * M, M, rng)) for _ in range(count)])
            std = law.gaussian_std / (1 + _WIDER / k)
            low, wide = _LOWER + (law.mean() - found.mean()) / std * k, (found.std() / std - 1) * k
            error = k / np.sqrt(count)
            print(f"  M = {M}, Q = {Q}: {low:.3f} +- {error:.3f}, {wide:.3f} +- {error * 0.75:.3f}", flush=True)
    print("entries of two laws: the saturation that puts the mean right, and what the kurtosis adds to the deviation")
    for name, M, count in (
        ("nine tenths zero", 64, 2000),
        ("nine tenths zero", 128, 600),
        ("t(5)", 64, 2000),
        ("t(5)", 128, 600),
    ):
        for Q in (1, 1.5, 2, 4, 8, 16, 32):
            N = int(Q * M)
            law, drawn = log_excess_of_noise(N, M), []
            for seed in range(min(count, ENTRIES // (4 * N * M))):
                W = LAWS[name](np.random.default_rng([seed, N, M]), (N, M))
                x = log_excess(np.linalg.eigvalsh(W.T @ W))
                squares = np.square(W, dtype=np.float64) / np.mean(np.square(W, dtype=np.float64))
                drawn.append([x] + [without(r, lambda: law.kurtosis([squares])) for r in (0.0, 1.0)])  # noqa: B023
            found, total, less = np.array(drawn).T
            seen = (found.mean() - law.gaussian_mean) / law.slope
            body = np.log(total / less)
            r = float(np.log(total.mean() / seen) / body.mean())
            error = found.std() / law.slope / np.sqrt(found.size) / seen / body.mean()
            left = found - law.slope * total * np.exp(-r * body)
            s = np.log(left.std() / law.gaussian_std) * M / seen
            print(
                f"  {name}, M = {M}, Q = {Q}: r = {r:.2f} +- {error:.2f}, "
                f"s = {s:.2f} +- {M / seen / np.sqrt(2 * found.size):.2f} (effective kurtosis {seen:.1f})",
                flush=True,
            )


def without(saturation: float, call: Callable[[], float]) -> float:
    """Call with another saturation."""
    with patch.object(linear_statistics, "_SATURATION", (saturation,)):
        return call()


def wishart_evals(N: int, M: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the eigenvalues of W^T W for Gaussian W."""
    diagonal, below = wishart_bidiagonal(N, M, seed=rng)
    squares = diagonal**2
    squares[1:] += below**2
    return eigvalsh_tridiagonal(squares, diagonal[:-1] * below)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("noise", "spread", "models", "farms", "speed"))
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="M of the noise")
    parser.add_argument("--listed", action="store_true", help="list all layers, not only those that look like noise")
    parser.add_argument("--refit", action="store_true")
    args = parser.parse_args()
    if args.refit:
        refit()
        return
    parts = {
        "noise": lambda: false_calls({M: SIZES[M] for M in args.sizes}),
        "spread": spread,
        "models": lambda: models(args.listed),
        "farms": farms_of_noise,
        "speed": speed,
    }
    for name, part in parts.items():
        if args.only in (None, name):
            print(f"\n{name}\n")
            part()


if __name__ == "__main__":
    main()
