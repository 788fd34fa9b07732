"""Run in WeightWatcher's environment: peer_power_law.py weightwatcher|powerlaw FILE OUT [REPEATS]

The power-law fit of WeightWatcher, or of the `powerlaw` package, to each sample of an .npz file in the order of their
names, its start chosen by the package. Writes exponents, standard errors and seconds (the least of REPEATS) as JSON.
"""

import contextlib
import io
import json
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import powerlaw
from weightwatcher.WW_powerlaw import pl_fit

what, path, out = sys.argv[1:4]
repeats = int(sys.argv[4]) if len(sys.argv) > 4 else 1
Fit = Callable[[np.ndarray], tuple[float, float]]


def weightwatcher(x: np.ndarray) -> tuple[float, float]:
    fit = pl_fit(data=x)
    return fit.alpha, fit.sigma


def package(x: np.ndarray) -> tuple[float, float]:
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = powerlaw.Fit(x, verbose=False).power_law
        return fit.alpha, fit.standard_err


def timed(fit: Fit, x: np.ndarray) -> dict[str, float]:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        alpha, sigma = fit(x)
        seconds.append(time.perf_counter() - start)
    return {"alpha": float(alpha), "sigma": float(sigma), "seconds": min(seconds)}


fit: Fit = {"weightwatcher": weightwatcher, "powerlaw": package}[what]
with np.load(path) as samples:
    rows = [timed(fit, samples[name]) for name in sorted(samples.files)]
with open(out, "w", encoding="utf-8") as file:  # noqa: PTH123
    json.dump(rows, file)
