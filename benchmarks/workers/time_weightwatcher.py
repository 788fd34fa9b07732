"""Run in WeightWatcher's environment: time_weightwatcher.py FILE OPTION ...

Prints, as JSON, the seconds of analyze() and of analyze(OPTION=True) for each option, imports and loading left out.
One analyze() goes before, unmeasured.
"""

import json
import logging
import sys
import time

import numpy as np
import safetensors.torch
import weightwatcher

path, *options = sys.argv[1:]
state = safetensors.torch.load_file(path)
np.random.seed(0)  # noqa: NPY002
found = {}
for option in ("warm", "plain", *options):
    start = time.perf_counter()
    asked = {option: True} if option in options else {}
    weightwatcher.WeightWatcher(model=state, log_level=logging.ERROR).analyze(**asked)
    found[option] = time.perf_counter() - start
json.dump(found, sys.stdout)
