"""What the benchmarks of matrices in memory share: heavytail's and WeightWatcher's diagnosis, processes, shares."""

import json
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from common import WORKERS, run, weightwatcher_python
from scipy.stats import binomtest
from threadpoolctl import threadpool_limits

from heavytail.diagnosis.layer import Layer, Wanted, diagnose_layer, measure
from heavytail.spectra.exact import spectrum_of_stack


def diagnosed(W: np.ndarray, nulls: int = 0, seed: int = 0) -> Layer:
    """Diagnose a matrix as `analyze` does."""
    spectrum = spectrum_of_stack(W[None], "float64")
    rows = [lambda r: (W[i : i + r] for i in range(0, len(W), r))]
    wanted = Wanted(nulls=nulls, seed=seed)
    measured = measure(spectrum, rows, wanted, name="W", dtype="float64")
    return diagnose_layer(measured, wanted, name="W", kind="linear", dtype="float64")


def weightwatcher_rows(matrices: Iterable[np.ndarray], what: str = "mp_fit", seed: int = 0) -> list[dict[str, float]]:
    """Give what WeightWatcher's analyze(mp_fit=True), or analyze(randomize=True), says of each matrix."""
    with tempfile.TemporaryDirectory() as folder:
        stored, table = Path(folder) / "matrices.npz", Path(folder) / "table.json"
        np.savez(stored, **{f"m{i:05d}": W.astype(np.float32) for i, W in enumerate(matrices)})
        run((weightwatcher_python(), WORKERS / "weightwatcher_mp.py", stored, table, what, str(seed)), 1)
        rows: list[dict[str, float]] = json.loads(table.read_text())
        return rows


def processes(jobs: int) -> ProcessPoolExecutor:
    """Give that many processes, each with one BLAS thread."""
    return ProcessPoolExecutor(jobs, initializer=threadpool_limits, initargs=(1,))


def share(count: int, of: int) -> str:
    """Format a share with its 95 % interval (Clopper and Pearson 1934)."""
    low, high = binomtest(int(count), of).proportion_ci()
    return f"{count / of:.2%} ({low:.2%} to {high:.2%})"


def met(reached: bool) -> str:
    return "yes" if reached else "no"
