"""time_noise.py FILE NULLS: the seconds of the first analyze() of a process and of its search for noise, as JSON.

Imports are left out; nothing else has run before, so whatever is made once and kept is counted.
"""

import json
import sys
import time

from heavytail.analysis import analyze
from heavytail.diagnosis import layer

path, nulls = sys.argv[1], int(sys.argv[2])
searching, spent = layer.find_noise, []


def timed(*args):
    start = time.perf_counter()
    found = searching(*args)
    spent.append(time.perf_counter() - start)
    return found


layer.find_noise = timed
analyze(path, jobs=1)  # tables that are made once are not of the layers
spent.clear()
start = time.perf_counter()
analyze(path, nulls=nulls, jobs=1)
whole = time.perf_counter() - start
json.dump({"whole": whole, "noise": sum(spent)}, sys.stdout)
