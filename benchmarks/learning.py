"""Time of the theory of learning: learning curves of 200 loads, a phase diagram of 100 x 100; two threads.

    python benchmarks/learning.py

Each line is one call in this process, after the imports: the least and the median of five. Exits with 1 if a target is
missed.
"""

import sys
import time
from collections.abc import Callable
from statistics import median

import numpy as np
from common import markdown

from heavytail.learning import (
    Annealed,
    Hebb,
    Hopfield,
    MaximumStability,
    MEstimator,
    OptimalOnline,
    Perceptron,
    PseudoInverse,
    RidgeRegression,
    VersionSpaceBound,
    phase_diagram,
)

REPEATS, MOST_CURVE, MOST_DIAGRAM = 5, 1.0, 30.0
LOADS = np.linspace(0.05, 10, 200)


def main() -> None:
    lines = [_line(name, call, MOST_CURVE) for name, call in _curves().items()]
    lines += [_line(name, call, MOST_DIAGRAM) for name, call in _diagrams().items()]
    print(markdown(("what", "least", "median", "target", "met"), lines))
    sys.exit(any(line[-1] == "no" for line in lines))


def _curves() -> dict[str, Callable[[], object]]:
    noisy = Perceptron(label_noise=0.1)
    return {
        "Gibbs, spherical": lambda: Perceptron().learning_curve(LOADS),
        "Gibbs, Ising, T = 0.5": lambda: Perceptron("ising").learning_curve(LOADS / 4, 0.5),
        "Bayes, label noise 0.1": lambda: noisy.learning_curve(LOADS, noisy.nishimori_temperature, vote=True),
        "annealed, Ising": lambda: Annealed("ising").learning_curve(LOADS / 4, 0.0),
        "Hebb": lambda: Hebb().learning_curve(LOADS),
        "pseudo-inverse": lambda: PseudoInverse().learning_curve(LOADS),
        "maximum stability": lambda: MaximumStability().learning_curve(LOADS),
        "optimal online": lambda: OptimalOnline().learning_curve(LOADS),
        "bound of the version space, Ising": lambda: VersionSpaceBound("ising").learning_curve(LOADS / 4),
        "Hopfield, T = 0.2": lambda: Hopfield().solve(LOADS / 100, 0.2),
        "M-estimator, optimal, Laplace noise": lambda: MEstimator("optimal", "laplace").solve(1 + LOADS),
        "ridge regression": lambda: RidgeRegression(0.2).solve(LOADS),
    }


def _diagrams() -> dict[str, Callable[[], object]]:
    loads, temperatures = np.linspace(0.03, 3, 100), np.linspace(0, 1.2, 100)
    return {
        "diagram 100 x 100, Ising": lambda: phase_diagram(Perceptron("ising"), loads, temperatures),
        "diagram 100 x 100, Ising, noise 0.1": lambda: phase_diagram(Perceptron("ising", 0.1), loads, temperatures),
        "diagram 100 x 100, spherical, noise 0.1": lambda: phase_diagram(
            Perceptron("spherical", 0.1), loads, temperatures
        ),
    }


def _line(name: str, call: Callable[[], object], most: float) -> tuple[str, ...]:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    middle = median(times)
    return name, f"{min(times):.3f} s", f"{middle:.3f} s", f"<= {most:g} s", "yes" if middle <= most else "no"


if __name__ == "__main__":
    main()
