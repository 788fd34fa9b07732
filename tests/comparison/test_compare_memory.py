"""What a comparison takes is what it may: measured from outside, in a process of its own."""

import json
import re
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from cases import Reads, gaussian, tensor
from safetensors.numpy import save_file

from heavytail.analysis.admission import refusal
from heavytail.analysis.cost import cost
from heavytail.analysis.jobs import Job
from heavytail.analysis.memory import size_of
from heavytail.comparison.difference import memory as size_memory
from heavytail.comparison.difference import size_of_change
from heavytail.comparison.pair import PairJob, compare_pair
from heavytail.comparison.room import fitted
from heavytail.diagnosis.layer import Wanted
from heavytail.spectra import subspaces
from heavytail.weights.layout import plan

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

CASES = {
    "square": ("w.weight", (1300, 1300), np.float32),
    "embedding": ("embed_tokens.weight", (40_000, 256), np.float16),
    "experts": ("mlp.experts.gate_up_proj", (2, 1030, 1200), np.float16),
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
    return code, limit, peak, rows, small


def cases():
    for which, slow in ((CASES, ()), (LARGE, pytest.mark.slow)):
        yield from (pytest.param(*case, id=name, marks=slow) for name, case in which.items())


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells the peak")
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


def traced(work):
    """Give the most bytes that numpy holds at a time meanwhile; what LAPACK asks for is not among them."""
    tracemalloc.start()
    work()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("shape", [(3_000_000,), (3000, 1000), (3, 1000, 1000), (2, 3_000_000), (7,), (0, 4)])
@pytest.mark.parametrize("dtype", ["float16", "float64", "complex64"])
def test_the_size_of_a_change_is_measured_in_pieces(shape, dtype):
    W = gaussian(*shape).astype(dtype)
    (first, second) = (tensor("w", one) for one in (W, W + 1))  # which are read as views
    size_of_change(first, second)
    assert traced(lambda: size_of_change(first, second)) <= size_memory(first, second) + 20_000
    assert size_memory(first, second) <= 52 * min(1 << 18, W.size) + 2 * W.nbytes


@pytest.mark.parametrize(
    ("N", "M", "k", "dtype"),
    [
        (1000, 1000, 10, "float16"),
        (6000, 800, 10, "float64"),
        (300, 300, 40, "float32"),
        (900, 800, 150, "float32"),
        (50_000, 40, 5, "float16"),
        pytest.param(8000, 2000, 10, "float16", marks=pytest.mark.slow),
        pytest.param(3000, 1500, 60, "float32", marks=pytest.mark.slow),
    ],
)
def test_directions_take_no_more_than_they_say(N, M, k, dtype):
    W, other = (gaussian(N, M, seed=seed).astype(dtype) for seed in (0, 1))

    def rows(matrix):
        return lambda r: (matrix[i : i + r].copy() for i in range(0, N, r))

    peak = traced(lambda: subspaces.compare_subspaces(rows(W), rows(other), N, M, k))
    said = subspaces.memory(N, M, k, W.itemsize)
    assert said / 5 < peak <= said


def pair(name, shape, dtype):
    """A pair of tensors that take no memory themselves."""
    plans = (plan([tensor(name, np.broadcast_to(dtype(value), shape))])[0] for value in (1, 2))
    base, tuned = (Job(one, cost(one, Wanted()), Wanted()) for one in plans)
    return PairJob(base, tuned)


@pytest.mark.parametrize("case", [*CASES.values(), *LARGE.values(), ("w.weight", (2000, 60_000), np.float32)])
def test_a_pair_does_with_the_room_it_is_given_or_is_not_run(case):
    job = pair(*case)
    last = None
    for room in np.geomspace(1e5, 1e11, 100):
        found = fitted(job, room)
        done = not found.base.refused, found.directions > 0, found.base.cost.svd, found.base.cost.held
        if found.base.refused:
            assert (
                found.base.refused == found.tuned.refused == refusal(size_of(NEEDS.match(found.base.refused)[1]), room)
            )
        else:
            assert found.memory <= room
            assert found.memory >= found.base.cost.memory
            assert bool(found.lacks) == (found.directions == 0)
        assert last is None or done[:2] >= last[:2]  # with more room never less
        last = done
    assert last[:3] == (True, True, True)
    assert found.base.cost.held >= cost(job.base.plan, Wanted()).held


def test_nothing_is_read_of_a_pair_for_which_there_is_no_room():
    reads = Reads()
    for name, shape in (("w.weight", (300, 200)), ("buffer", (300,)), ("experts", (3, 60, 50))):
        one = plan([tensor(name, gaussian(*shape), reads=reads)])[0]
        job = Job(one, cost(one, Wanted()), Wanted(), keep=True)
        rows = [layer.row for layer in compare_pair(fitted(PairJob(job, job), 1000))]
        assert rows
        assert {(row.status, row.reason[:17]) for row in rows} == {("failed", "exact work needs ")}
    assert reads.log == []


def test_what_is_not_compared_needs_no_room():
    base, tuned = (pair("w.weight", shape, np.float32) for shape in ((300, 200), (300, 201)))
    unlike = fitted(replace(base, tuned=tuned.tuned), 1000)
    assert [layer.row.status for layer in compare_pair(unlike)] == ["unmatched"]
    alone = fitted(replace(base, tuned=None), 1000)
    assert [layer.row.status for layer in compare_pair(alone)] == ["unmatched"]
    assert unlike.memory == alone.memory == 0
