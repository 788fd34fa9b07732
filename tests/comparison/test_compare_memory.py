"""What a comparison takes is what it may: measured from outside, in a process of its own."""

import json
import re
import subprocess
import sys
from math import prod

import numpy as np
import pytest
from cases import gaussian
from safetensors.numpy import save_file

from heavytail.analysis.memory import size_of
from heavytail.comparison import compare
from heavytail.comparison.difference import memory, size_of_change
from heavytail.spectra import subspaces
from heavytail.weights.formats.mapping import read_mapping

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux tells the peak")

NEEDS = re.compile(r"(?:exact work needs|no directions: they need) (\S+ \S+) at once, and there is room for (\S+ \S+)")

# Compares two files under one limit after the other, each as many bytes more than the process takes as the line says.
CHILD = r"""
import json, re, sys
from pathlib import Path
import scipy.linalg.lapack, threadpoolctl
from heavytail.analysis.memory import resident
from heavytail.cli import main
import heavytail.comparison

base, tuned, table = sys.argv[1:4]
for line in sys.stdin:
    limit = resident() + (64 << 20) + int(line)
    common = ["--json", table, "--quiet", "--jobs", "1", "--bootstrap", "0", "--memory-limit", str(limit)]
    code = main(["compare", base, tuned, *common])
    peak = 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])
    print(json.dumps([code, limit, peak, json.load(open(table))["layers"]]), flush=True)
"""

# Each a tensor, and the least bytes that one has to name who keeps it in float64, or in the type that it is stored in.
CASES = {
    "square": ("w.weight", (1300, 1300), np.float32),
    "embedding": ("embed_tokens.weight", (40_000, 256), np.float16),
    "experts": ("mlp.experts.gate_up_proj", (3, 1100, 1300), np.float16),
    "vector": ("buffer", (20_000_000,), np.float32),
}
LARGE = {
    "square": ("w.weight", (2048, 2048), np.float32),
    "embedding": ("embed_tokens.weight", (150_000, 512), np.float16),
    "experts": ("mlp.experts.gate_up_proj", (2, 2048, 4096), np.float16),
}


def saved(folder, name, shape, dtype):
    paths = []
    W = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    for i in range(2):
        paths.append(folder / f"{i}.safetensors")
        save_file({name: W.astype(dtype), "fc.weight": (1 + i) * gaussian(40, 30)}, paths[-1])
        W += 0.05 * np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    return paths


def child(folder, paths):
    command = [sys.executable, "-c", CHILD, *map(str, paths), str(folder / "table.json")]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def asked(process, room):
    process.stdin.write(f"{round(room)}\n")
    process.stdin.flush()
    code, limit, peak, rows = json.loads(process.stdout.readline())
    (small,) = [row for row in rows if row["name"] == "fc"]
    rows = [row for row in rows if row is not small]
    print(code,limit/1e6, peak/1e6, rows[0]['reason'], rows[0]['status'])
    return code, limit, peak, rows, small


def cases():
    for which, slow in ((CASES, ()), (LARGE, pytest.mark.slow)):
        yield from (pytest.param(*case, id=name, marks=slow) for name, case in which.items())


@pytest.mark.parametrize(("name", "shape", "dtype"), list(cases()))
def test_what_a_pair_says_it_needs_is_enough_and_with_less_it_is_not_run(tmp_path, name, shape, dtype):
    is_matrix = len(shape) > 1
    with child(tmp_path, saved(tmp_path, name, shape, dtype)) as process:
        code, limit, peak, rows, small = asked(process, 20e6 if is_matrix else 4e6)
        assert peak < limit
        assert code == 3
        assert {row["status"] for row in rows} == {"failed"}
        assert small["status"] == ("ok" if is_matrix else "failed")  # where there is room for it
        needed, room = (size_of(text) for text in NEEDS.fullmatch(rows[0]["reason"]).groups())
        assert room <= 20e6 < needed if is_matrix else room <= 4e6 < needed

        code, limit, peak, rows, small = asked(process, 1.02 * max(needed, 20e6))
        assert peak < limit
        assert code == 0
        assert {row["status"] for row in rows} == {"ok" if is_matrix else "skipped"}
        assert all(0.04 < row["relative_change"] < 0.06 for row in rows)

        if found := NEEDS.search(rows[0]["reason"]):
            assert all(row["overlap"] is None for row in rows)
            code, limit, peak, rows, small = asked(process, 1.02 * size_of(found[1]))
            assert peak < limit
            assert code == 0
        if is_matrix:
            assert all(row["overlap"] > 0 for row in rows)
            assert not NEEDS.search(rows[0]["reason"])
        process.stdin.close()
