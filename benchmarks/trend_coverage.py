"""How often the 95 % intervals of trends hold the truth, and how often chance alone is called a trend.

    python benchmarks/trend_coverage.py                    everything, about a quarter of an hour of one processor
    python benchmarks/trend_coverage.py --quick            a twentieth of the draws
    python benchmarks/trend_coverage.py --only verdicts    one section

intervals   models drawn from a bivariate normal population, or a bivariate Student t with 3 degrees of freedom, whose
            correlation is known; a cell holds the share of intervals with the population's value in them, and their
            median width
within      groups of models with a common slope and different means; the errors are normal, Student t with 3 degrees
            of freedom, or grow with the distance from the group's mean
verdicts    tables without any trend, 7 correlated metrics: the share of tables where any metric of any group, or within
            groups, is called "supported", and "reversed", at the 5 % that `trends` promises for both together; and
            tables with one group in perfect order by one of the metrics, where that should be found

Every draw has a seed of its own. Exits with 1 if a target is missed; --quick holds no share against a target.
"""

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import Executor
from functools import partial
from math import asin, ceil, pi

import numpy as np
from common import markdown
from matrices import met, processes, share

from heavytail.trends import ModelTable, trends
from heavytail.trends.intervals import kendall_interval, r2_interval, resampling, slope_interval, spearman_interval

Lines = Iterator[tuple[str, ...]]
SIZES, RHOS, LAWS = (5, 8, 12, 20, 50), (0.0, 0.5, 0.9), ("normal", "t3")
GROUPS = ((20,), (5, 8), (3, 3, 4), (2,) * 10, (4, 5, 6, 8, 10, 12), (22, 2, 2, 3))
ERRORS = ("normal", "t3", "uneven")
TARGET = (0.90, 0.995)
DRAWS, TABLES, RESAMPLES = 2000, 1000, 500
METRICS = ("log_norm", "alpha", "alpha_weighted", "log_spectral_norm", "stable_rank", "mp_softrank", "log_alpha_norm")
SHAPES = ((8,), (5, 8), (4, 5, 6, 8, 10, 12), (4,) * 12)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a twentieth of the draws")
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


def few(draws: int, options: argparse.Namespace) -> int:
    return ceil(draws / 20) if options.quick else draws


def judged(reached: bool, options: argparse.Namespace) -> str:
    return "" if options.quick else met(reached)


def drawn(law: str, n: int, rho: float, rng: np.random.Generator) -> np.ndarray:
    """Draw n models, metric and quality, from a population of that correlation and unit scale."""
    x, e = rng.standard_normal((2, n))
    both = np.array([x, rho * x + (1 - rho**2) ** 0.5 * e])
    return both / np.sqrt(rng.chisquare(3, n) / 3) if law == "t3" else both


def one_sample(law: str, n: int, rho: float, seed: int) -> list[tuple[float, float]]:
    rng = np.random.default_rng([7, LAWS.index(law), n, int(100 * rho), seed])
    x, y = drawn(law, n, rho, rng)
    weights = resampling(n, RESAMPLES, rng)
    return [
        kendall_interval(x, y, weights),
        spearman_interval(x, y, weights),
        slope_interval(x, y, np.zeros(n, dtype=np.intp)),
        r2_interval(x, y),
    ]


def intervals(options: argparse.Namespace, executor: Executor) -> Lines:
    """Count the intervals that hold the population's tau, rho, slope and R2."""
    for law in LAWS:
        for n in SIZES:
            for rho in RHOS:
                found = executor.map(partial(one_sample, law, n, rho), range(few(DRAWS, options)), chunksize=50)
                ends = np.array(list(found))
                truths = [2 / pi * asin(rho), spearman(law, rho), rho, rho**2]
                cells = [cell(ends[:, k], truth) for k, truth in enumerate(truths)]
                reached = all(TARGET[0] <= held <= TARGET[1] for held, _ in cells)
                yield law, str(n), f"{rho:g}", *(text for _, text in cells), judged(reached, options)


def spearman(law: str, rho: float) -> float:
    """Give the population's Spearman correlation: 6/pi asin(rho/2) of the normal law, by simulation of Student's."""
    if law == "normal" or rho == 0:
        return 6 / pi * asin(rho / 2)
    x, y = drawn(law, 4_000_000, rho, np.random.default_rng(0))
    return float(np.corrcoef(x.argsort().argsort(), y.argsort().argsort())[0, 1])


def cell(ends: np.ndarray, truth: float) -> tuple[float, str]:
    held = float(np.mean((ends[:, 0] <= truth + 1e-9) & (truth - 1e-9 <= ends[:, 1])))
    return held, f"{held:.1%}, {np.median(ends[:, 1] - ends[:, 0]):.2f}"


def one_slope(sizes: tuple[int, ...], errors: str, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng([8, len(sizes), sum(sizes), ERRORS.index(errors), seed])
    strata = np.repeat(np.arange(len(sizes)), sizes)
    x, e = rng.standard_normal(len(strata)), rng.standard_normal(len(strata))
    if errors == "t3":
        e = rng.standard_t(3, len(strata))
    elif errors == "uneven":
        e *= abs(x)
    shift = rng.normal(0, 5, (2, len(sizes)))[:, strata]
    return slope_interval(x + shift[0], x + e + shift[1], strata)


def within(options: argparse.Namespace, executor: Executor) -> Lines:
    """Count the intervals that hold the slope common to some groups."""
    for sizes in GROUPS:
        for errors in ERRORS:
            ends = np.array(list(executor.map(partial(one_slope, sizes, errors), range(few(DRAWS, options)))))
            held, text = cell(ends, 1.0)
            yield shape(sizes), errors, text, judged(TARGET[0] <= held <= TARGET[1], options)


def shape(sizes: tuple[int, ...]) -> str:
    return f"{len(sizes)} of {sizes[0]}" if len(set(sizes)) == 1 else ", ".join(map(str, sizes))


def words(sizes: tuple[int, ...], planted: bool, seed: int) -> tuple[bool, bool, bool]:
    """Say whether a table has anything "supported", "reversed", and what was planted in its largest group."""
    rng = np.random.default_rng([9, len(sizes), sum(sizes), planted, seed])
    groups = np.repeat(np.arange(len(sizes)), sizes)
    mixing = rng.standard_normal((len(METRICS), 3))
    values = mixing @ rng.standard_normal((3, len(groups))) + rng.standard_normal((len(METRICS), len(groups)))
    values += rng.normal(0, 5, (len(METRICS), len(sizes)))[:, groups]
    quality = rng.standard_normal(len(groups)) + rng.normal(0, 5, len(sizes))[groups]
    if planted:
        largest = groups == np.argmax(sizes)
        values[0, largest] = -np.sort(values[0, largest])
        quality[largest] = np.sort(quality[largest])
    names, labels = tuple(map(str, range(len(groups)))), tuple(f"series {group}" for group in groups)
    table = ModelTable(names, labels, dict(zip(METRICS, values, strict=True)), quality, "accuracy", True)
    found = trends(table, seed=rng, resamples=39).trends
    said = {trend.verdict for trend in found} | {word for trend in found for word in trend.verdicts.values()}
    best = found[0].verdicts[f"series {np.argmax(sizes)}"]
    return "supported" in said, "reversed" in said, best == "supported"


def verdicts(options: argparse.Namespace, executor: Executor) -> Lines:
    """Count the tables where chance is called a trend, and those where a perfect order is found."""
    for sizes in SHAPES:
        count = few(TABLES, options)
        chance = np.array(list(executor.map(partial(words, sizes, False), range(count), chunksize=10)))
        order = np.array(list(executor.map(partial(words, sizes, True), range(ceil(count / 10)), chunksize=10)))
        either = int((chance[:, 0] | chance[:, 1]).sum())
        yield (
            *(shape(sizes), str(count), share(chance[:, 0].sum(), count), share(chance[:, 1].sum(), count)),
            *(share(either, count), judged(either <= 0.05 * count + 2 * (0.0475 * count) ** 0.5, options)),
            f"{order[:, 2].mean():.0%}",
        )


SECTIONS = {
    "intervals": (("law", "models", "correlation", "tau", "rho", "slope", "R2", "90% to 99.5%"), intervals),
    "within": (("models of the groups", "errors", "slope", "90% to 99.5%"), within),
    "verdicts": (
        ("models of the groups", "tables", "supported", "reversed", "either", "5%", "perfect order found"),
        verdicts,
    ),
}

if __name__ == "__main__":
    main()
