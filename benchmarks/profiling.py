"""Where the time of analyze() goes: python benchmarks/profiling.py

cProfile of MiniLM and of 1,000 matrices of 64 x 64, one thread, the 15 functions with the most time of their own.
It charges every call of a Python function, so that many small calls look dearer than they are.
"""

import cProfile
import pstats

import numpy as np
from common import model

from heavytail.analysis import analyze


def profile(name: str, source: object) -> None:
    analyze(source, jobs=1)  # imports
    with cProfile.Profile() as watch:
        analyze(source, jobs=1)
    print(f"== {name}")
    pstats.Stats(watch).strip_dirs().sort_stats("tottime").print_stats(15)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    profile("MiniLM", model("MiniLM"))
    profile("1,000 of 64 x 64", {f"{i}.weight": rng.standard_normal((64, 64), np.float32) for i in range(1000)})
