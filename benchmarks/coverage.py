"""How often the 95 % interval of a power law's exponent holds the exponent, and whether p-values are uniform.

    python benchmarks/coverage.py                    everything, about fifteen minutes of one processor
    python benchmarks/coverage.py --quick            a twentieth of the samples
    python benchmarks/coverage.py --only p_values    one section

independent    points drawn one by one from a power law, alone or above a body: uniform, log-half-normal (e^-|z| with z
               normal), or exponential with a smooth joint; n is the number of points in the power law, above a body
               the number expected there, and a cell is left out where that takes more than 20,000 points
eigenvalues    spectra of matrices of which the exponent is known
peers          WeightWatcher 0.7.7 and the package `powerlaw`, run in an environment of their own on some samples;
               a fit differs from fit_power_law(x, two_sided=False, min_tail=2) if alpha or sigma is off by 1e-10 of it
p_values       the test of fit where the law is true, and the construction of Clauset, Shalizi and Newman (2009)

A cell holds the share of intervals with the true exponent in them, and their median width, ln((hi - 1) / (lo - 1)).

naive            alpha +- 1.96 sigma of heavytail's fit
WeightWatcher    the same of WeightWatcher's fit, which is fit_power_law(x, two_sided=False, min_tail=2): see `peers`
heavytail        heavytail.tails.interval
bootstrap        heavytail.tails.bootstrap, 200 replicates, on some cells only

Every sample has a seed of its own. Exits with 1 if a target is missed; --quick holds no share against a target.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from math import ceil, exp, inf, log
from pathlib import Path

import numpy as np
from common import WORKERS, markdown, run, weightwatcher_python
from matrices import met, processes
from scipy.stats import kstest

from heavytail.rmt import ensembles
from heavytail.tails.bootstrap import bootstrap
from heavytail.tails.interval import interval, profile
from heavytail.tails.power_law import PowerLawFit, fit_power_law

Generator = np.random.Generator
Interval = tuple[float, float]
Lines = Iterator[tuple[str, ...]]
ALPHAS, SIZES, MOST = (1.5, 2.0, 2.5, 3.0, 4.0), (100, 400, 1000, 5000), 20_000
SMALLEST = 1e-26  # of the largest eigenvalue: smaller ones are rounding errors
REPLICATES, TESTS = 200, 99
WAYS = ("naive", "WeightWatcher", "heavytail", "bootstrap")
FIT_AS_WEIGHTWATCHER = partial(fit_power_law, two_sided=False, min_tail=2)


def power_law(n: int, alpha: float, rng: Generator) -> np.ndarray:
    return (1 - rng.random(n)) ** (-1 / (alpha - 1))


def uniform(n: int, alpha: float, rng: Generator) -> np.ndarray:
    return rng.random(n)


def half_normal(n: int, alpha: float, rng: Generator) -> np.ndarray:
    return np.exp(-abs(rng.standard_normal(n)))


def exponential(n: int, alpha: float, rng: Generator) -> np.ndarray:
    """Body of Clauset, Shalizi and Newman (2009), eq. 3.10: the density and its slope are continuous at 1."""
    return 1 - np.log(exp(alpha) - rng.random(n) * (exp(alpha) - 1)) / alpha


def exponential_share(alpha: float) -> float:
    """Share of the points above 1, the law's start."""
    return 1 / (1 + (alpha - 1) * (exp(alpha) - 1) / alpha)


BODIES: dict[str, Callable[[int, float, Generator], np.ndarray]] = {
    "uniform": uniform,
    "log-half-normal": half_normal,
    "exponential": exponential,
}


@dataclass(frozen=True)
class Points:
    """Independent points from a power law that starts at 1, above a body or alone."""

    alpha: float
    n: int
    body: str = ""
    target = (0.93, 0.97)

    def __str__(self) -> str:
        return f"power law above {self.body}" if self.body else "power law"

    @property
    def size(self) -> str:
        return f"{self.n}" if not self.body else f"{self.n} of {self.total}"

    @property
    def share(self) -> float:
        return {"": 1.0, "exponential": exponential_share(self.alpha)}.get(self.body, 0.5)

    @property
    def total(self) -> int:
        return round(self.n / self.share)

    @property
    def samples(self) -> int:
        return 2000

    def draw(self, rng: Generator) -> np.ndarray:
        x = power_law(self.total, self.alpha, rng)
        if self.body:
            below = rng.random(self.total) > self.share
            x[below] = BODIES[self.body](int(below.sum()), self.alpha, rng)
        return np.sort(x)


@dataclass(frozen=True)
class Eigenvalues:
    """Eigenvalues of a random matrix whose spectral density falls as a power law."""

    alpha: float
    N: int
    M: int
    ensemble: str

    def __str__(self) -> str:
        return f"{self.ensemble}, mu = {self.mu:g}" if self.ensemble == "Levy-Wishart" else self.ensemble

    @property
    def mu(self) -> float:
        return 2 * (self.alpha - 1)

    @property
    def target(self) -> Interval | None:
        return None if self.ensemble == "Levy-Wishart" and self.mu > 1 else (0.9, 0.995)

    @property
    def size(self) -> str:
        return f"{self.N} x {self.M}"

    @property
    def samples(self) -> int:
        return 1000 if self.N * self.M <= 400_000 and self.M <= 300 else 300

    def draw(self, rng: Generator) -> np.ndarray:
        if self.ensemble == "Levy-Wishart":
            W = ensembles.pareto(self.N, self.M, self.mu, rng)
        elif self.ensemble == "inverse Wishart":
            W = ensembles.inverse_wishart(self.N, self.M, rng)
        else:
            W = ensembles.correlated(self.N, power_law(self.M, self.alpha, rng), rng)
        x = np.linalg.svd(W, compute_uv=False)[::-1] ** 2
        return x[x > x[-1] * SMALLEST]


Case = Points | Eigenvalues
INDEPENDENT = (
    *(Points(alpha, n) for alpha in ALPHAS for n in SIZES),
    *(Points(alpha, n, body) for body in BODIES for alpha in ALPHAS for n in SIZES[:-1]),
)
SPECTRA = (
    *(
        Eigenvalues(1 + mu / 2, N, M, "Levy-Wishart")
        for mu in (0.5, 0.8, 1.0, 1.5)
        for N, M in ((200, 100), (300, 300), (600, 300), (1200, 600))
    ),
    *(Eigenvalues(1.5, M, M, "inverse Wishart") for M in (100, 200, 300, 600)),
    *(Eigenvalues(2.5, Q * M, M, "correlated Gaussian") for M in (100, 300) for Q in (1, 2, 4, 16)),
)
CASES: tuple[Case, ...] = (*INDEPENDENT, *SPECTRA)
RESAMPLED = frozenset(
    (
        *(Points(2.5, n, body) for n in SIZES[:-1] for body in ("", "uniform")),
        Points(1.5, 400, "log-half-normal"),
        Points(1.5, 1000, "exponential"),
        Points(2.5, 100, "exponential"),
        *(Eigenvalues(1 + mu / 2, 200, 100, "Levy-Wishart") for mu in (0.5, 1.0, 1.5)),
        Eigenvalues(1.4, 600, 300, "Levy-Wishart"),
        *(Eigenvalues(1.5, M, M, "inverse Wishart") for M in (100, 300)),
        *(Eigenvalues(2.5, Q * 100, 100, "correlated Gaussian") for Q in (1, 4)),
    )
)
COMPARED: tuple[Case, ...] = (
    Points(2.5, 400),
    Points(4.0, 400),  # `powerlaw` 2.0 looks for no exponent above 3 unless told to
    Points(2.5, 400, "uniform"),
    Points(2.5, 100, "exponential"),
    Eigenvalues(1.5, 200, 100, "Levy-Wishart"),
    Eigenvalues(1.5, 100, 100, "inverse Wishart"),
)
TESTED = (Points(2.5, 1000), Points(2.5, 1000, "uniform"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a twentieth of the samples")
    parser.add_argument("-b", type=int, default=300, help="samples of a cell for the bootstrap (default 300)")
    parser.add_argument("-p", type=int, default=300, help="samples of a cell for the peers (default 300)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="may be repeated")
    options = parser.parse_args()
    tables = []
    with processes(options.jobs) as executor:
        for name in options.only or SECTIONS:
            head, section = SECTIONS[name]
            tables.append(list(section(options, executor)))
            print(f"{name}\n\n{markdown(head, tables[-1])}\n", flush=True)
    sys.exit(any("no" in line for table in tables for line in table))


def independent(options: argparse.Namespace, executor: Executor) -> Lines:
    """Count, on independent points, the intervals that hold the exponent."""
    for case in INDEPENDENT:
        if case.total <= MOST:
            yield coverage(case, options, executor)


def eigenvalues(options: argparse.Namespace, executor: Executor) -> Lines:
    """Count the same on spectra."""
    for case in SPECTRA:
        yield coverage(case, options, executor)


def coverage(case: Case, options: argparse.Namespace, executor: Executor) -> tuple[str, ...]:
    """Make a line of the table."""
    samples, resampled = few(case.samples, options), few(min(options.b, case.samples), options) * (case in RESAMPLED)
    found = np.array(list(executor.map(partial(intervals, case, resampled), range(samples), chunksize=25)))
    cells = [cell(found[:count, way], case.alpha) for way, count in enumerate((samples, samples, samples, resampled))]
    texts = [text for _, text in cells]
    target = reached = ""
    if case.target and not options.quick:
        low, high = case.target
        target, reached = f"{100 * low:g}% to {100 * high:g}%", met(low <= cells[2][0] <= high)
    return str(case), f"{case.alpha:g}", case.size, str(samples), *texts[:3], target, reached, texts[3]


def few(samples: int, options: argparse.Namespace) -> int:
    return ceil(samples / 20) if options.quick else samples


def cell(found: np.ndarray, alpha: float) -> tuple[float, str]:
    """Give the share of intervals that hold alpha, and a text with it and the median width."""
    if not len(found):
        return 0.0, ""
    share = float(np.mean((found[:, 0] <= alpha) & (alpha <= found[:, 1])))
    return share, f"{share:.1%}, {np.median([width(low, high) for low, high in found]):.2f}"


def width(low: float, high: float) -> float:
    return log((high - 1) / (low - 1)) if low > 1 else inf


def sample(case: Case, seed: int) -> tuple[np.ndarray, Generator]:
    rng = np.random.default_rng([30, CASES.index(case), seed])
    return case.draw(rng), rng


def intervals(case: Case, resampled: int, seed: int) -> list[Interval]:
    """Give the intervals of all ways for one sample."""
    x, rng = sample(case, seed)
    fit, theirs = fit_power_law(x), FIT_AS_WEIGHTWATCHER(x)
    spectrum = isinstance(case, Eigenvalues)
    ours = interval(fit, profile(x), eigenvalues=spectrum)
    found = [naive(fit.alpha, fit.sigma), naive(theirs.alpha, theirs.sigma), ours, (inf, -inf)]
    if seed < resampled:
        result = bootstrap(x, fit, REPLICATES, rng, eigenvalues=spectrum)
        found[-1] = result.alpha_lo, result.alpha_hi
    return found


def naive(alpha: float, sigma: float) -> Interval:
    return alpha - 1.96 * sigma, alpha + 1.96 * sigma


def peers(options: argparse.Namespace, executor: Executor) -> Lines:
    """Run the peers themselves, and compare with what stands for WeightWatcher in the other tables."""
    count = few(options.p, options)
    drawn = [sample(case, seed)[0] for case in COMPARED for seed in range(count)]
    fits = [FIT_AS_WEIGHTWATCHER(x) for x in drawn]
    own = np.array([[fit.alpha, fit.sigma] for fit in fits])
    theirs = [peer_fits(name, drawn) for name in ("weightwatcher", "powerlaw")]
    for i, case in enumerate(COMPARED):
        part = slice(i * count, (i + 1) * count)
        texts = [cell(np.array([naive(*one) for one in found[part]]), case.alpha)[1] for found in (own, *theirs)]
        others = [int((abs(own / found - 1) > 1e-10).any(axis=1)[part].sum()) for found in theirs]
        yield (
            *(str(case), f"{case.alpha:g}", case.size, str(count), *texts[:2], str(others[0]), "0", met(not others[0])),
            *(texts[2], str(others[1])),
        )


def peer_fits(name: str, drawn: list[np.ndarray]) -> np.ndarray:
    """Give the exponents and standard errors that a peer finds."""
    with tempfile.TemporaryDirectory() as folder:
        stored, table = Path(folder) / "samples.npz", Path(folder) / "table.json"
        np.savez(stored, **{f"x{i:05d}": x for i, x in enumerate(drawn)})
        run((weightwatcher_python(), WORKERS / "peer_power_law.py", name, stored, table), 1)
        return np.array([[row["alpha"], row["sigma"]] for row in json.loads(table.read_text())])


def p_values(options: argparse.Namespace, executor: Executor) -> Lines:
    """Test whether p-values of true power laws are uniform."""
    for case in TESTED:
        samples = few(2000, options)
        found = np.array(list(executor.map(partial(both_p_values, case), range(samples), chunksize=25)))
        for name, p in zip(("heavytail", "Clauset, Shalizi and Newman"), found.T, strict=True):
            spread = p - np.random.default_rng([31, 0]).random(samples) / (1 + TESTS)  # uniform, not on a grid
            agrees = kstest(spread, "uniform").pvalue
            judged = name == "heavytail" and not options.quick
            yield (
                *(str(case), case.size, str(samples), name, f"{p.mean():.3f}"),
                *(f"{np.mean(p <= level):.1%}" for level in (0.05, 0.1)),
                *(f"{agrees:.2g}", "> 0.05" if judged else "", met(agrees > 0.05) if judged else ""),
            )


def both_p_values(case: Case, seed: int) -> tuple[float, float]:
    x, rng = sample(case, seed)
    fit = fit_power_law(x)
    return bootstrap(x, fit, TESTS, rng).p_value, published_p_value(x, fit, rng)


def published_p_value(x: np.ndarray, fit: PowerLawFit, rng: Generator) -> float:
    """Find the p-value of Clauset, Shalizi and Newman (2009), section 4.1, whose law starts at xmin."""
    farther = 0
    for _ in range(TESTS):
        below = rng.binomial(x.size, 1 - fit.n_tail / x.size)
        body = rng.choice(x[: -fit.n_tail], below) if below else x[:0]
        tail = fit.xmin * power_law(x.size - below, fit.alpha, rng)
        farther += fit_power_law(np.sort(np.concatenate((body, tail)))).D >= fit.D
    return (1 + farther) / (1 + TESTS)


HEAD = ("sample", "alpha", "n", "samples", *WAYS[:3], "target", "met", WAYS[3])
SECTIONS = {
    "independent": (HEAD, independent),
    "eigenvalues": (HEAD, eigenvalues),
    "peers": (
        (
            *("sample", "alpha", "n", "samples", "two_sided=False, min_tail=2", "WeightWatcher", "fits that differ"),
            *("target", "met", "powerlaw", "fits that differ"),
        ),
        peers,
    ),
    "p_values": (
        ("sample", "n", "samples", "construction", "mean", "<= 0.05", "<= 0.1", "KS p", "target", "met"),
        p_values,
    ),
}

if __name__ == "__main__":
    main()
