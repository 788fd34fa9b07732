"""time_power_law.py fits|bootstrap|model FILE [COUNT]: what heavytail's power-law inference takes, as JSON.

fits         samples of an .npz file: seconds of fit_power_law, the least of COUNT, with WeightWatcher's candidates and
             distance and by default
bootstrap    the same samples: wall and processor seconds of bootstrap() with COUNT replicates
model        a model: wall and processor seconds of fit, profile, interval and bootstrap of all layers that can be
             fitted, and their number
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from heavytail.analysis import analyze
from heavytail.tails.bootstrap import bootstrap
from heavytail.tails.interval import interval, profile
from heavytail.tails.power_law import PowerLawFit, fit_power_law

what, path = sys.argv[1:3]
count = int(sys.argv[3]) if len(sys.argv) > 3 else 1
WAYS: tuple[Callable[[np.ndarray], PowerLawFit | None], ...] = (
    partial(fit_power_law, two_sided=False, min_tail=2),
    fit_power_law,
)


def spent(work: Callable[[], object]) -> tuple[float, float]:
    """Give wall and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def fits() -> list[dict[str, float]]:
    rows = []
    for x in samples():
        seconds = [min(spent(partial(way, x))[0] for _ in range(count)) for way in WAYS]
        same = WAYS[0](x)
        rows.append({"alpha": same.alpha, "sigma": same.sigma, "seconds": seconds[0], "default": seconds[1]})
    return rows


def resampled() -> list[tuple[float, float]]:
    return [spent(partial(bootstrap, x, fit_power_law(x), count, 0)) for x in samples()]


def model() -> tuple[float, float, int]:
    spectra = [spectrum.positive for spectrum in analyze(path, jobs=1).spectra.values()]
    layers = [x for x in spectra if fit_power_law(x)]

    def infer() -> None:
        for x in layers:
            fit = fit_power_law(x)
            interval(fit, profile(x))
            bootstrap(x, fit, count, 0)

    return *spent(infer), len(layers)


def samples() -> list[np.ndarray]:
    with np.load(path) as stored:
        return [stored[name] for name in sorted(stored.files)]


json.dump({"fits": fits, "bootstrap": resampled, "model": model}[what](), sys.stdout)
