"""WeightWatcher's noise columns for matrices in memory."""

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from common import WORKERS, run, weightwatcher_python


def weightwatcher_rows(matrices: Iterable[np.ndarray], what: str = "mp_fit", seed: int = 0) -> list[dict[str, float]]:
    """Give what WeightWatcher's analyze(mp_fit=True), or analyze(randomize=True), says of each matrix."""
    with tempfile.TemporaryDirectory() as folder:
        stored, table = Path(folder) / "matrices.npz", Path(folder) / "table.json"
        np.savez(stored, **{f"m{i:05d}": W.astype(np.float32) for i, W in enumerate(matrices)})
        command = (weightwatcher_python(), WORKERS / "weightwatcher_mp.py", stored, table, what, str(seed))
        run(command, 1)
        rows: list[dict[str, float]] = json.loads(table.read_text())
        return rows
