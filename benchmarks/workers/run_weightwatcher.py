"""Run in WeightWatcher's environment: run_weightwatcher.py load|analyze FILE [OUT]

`load` does everything but the analysis; `analyze` writes WeightWatcher's table as JSON, floats to the last digit.
"""

import json
import logging
import sys

import safetensors.torch
import torch
import weightwatcher

what, path = sys.argv[1:3]
state = safetensors.torch.load_file(path) if path.endswith(".safetensors") else torch.load(path, weights_only=True)
if what == "analyze":
    table = weightwatcher.WeightWatcher(model=state, log_level=logging.ERROR).analyze()
    with open(sys.argv[3], "w", encoding="utf-8") as out:  # noqa: PTH123
        json.dump(table.to_dict("records"), out, default=lambda number: number.item())
