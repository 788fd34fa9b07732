"""Run in WeightWatcher's environment: weightwatcher_mp.py FILE OUT mp_fit|randomize SEED

Writes WeightWatcher's noise columns of the matrices of an .npz file as JSON, a row a matrix in their order. Its
shuffles come from numpy's global generator, which SEED sets.
"""

import json
import logging
import sys

import numpy as np
import torch
import weightwatcher

path, out, what, seed = sys.argv[1:]
with np.load(path) as matrices:
    state = {f"{name}.weight": torch.from_numpy(matrices[name]) for name in matrices.files}
np.random.seed(int(seed))  # noqa: NPY002
watcher = weightwatcher.WeightWatcher(model=state, log_level=logging.ERROR)
table = watcher.analyze(mp_fit=what == "mp_fit", randomize=what == "randomize").sort_values("layer_id")
if len(table) != len(state):
    sys.exit(f"{len(table)} rows for {len(state)} matrices")
columns = [name for name in ("num_spikes", "bulk_max", "num_traps", "rand_num_spikes") if name in table]
with open(out, "w", encoding="utf-8") as file:  # noqa: PTH123
    json.dump(table[columns].to_dict("records"), file, default=lambda number: number.item())
