import json
import re
import tracemalloc
from decimal import Decimal
from math import inf
from pathlib import Path

import numpy as np
import pytest
from analysis.runs import written as written_model
from cases import gaussian, tensor
from hypothesis import given
from hypothesis import strategies as st

import heavytail as ht
from heavytail.analysis import estimate, memory
from heavytail.analysis.cost import cost
from heavytail.analysis.memory import available, budget, resident, size_of, written
from heavytail.cli import main
from heavytail.diagnosis.row import COLUMNS
from heavytail.errors import RequestError
from heavytail.spectra.entries import turned
from heavytail.weights.layout import plan

SPARE = 64 << 20
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
NUMBERS = (
    "N",
    "M",
    "norm",
    "lambda_max",
    "matrix_rank",
    "entropy",
    "stable_rank",
    "alpha",
    "D",
    "sigma_mp",
    "bulk_edge",
)


# --------------------------------------------------------------------------------------------------------------- sizes


@given(
    st.decimals(min_value=1, max_value=10**6, places=3),
    st.sampled_from(sorted(UNITS)),
    st.sampled_from(["", "b", "B"]),
    st.booleans(),
    st.sampled_from(["", " "]),
)
def test_a_size_is_its_number_times_its_unit(number, unit, byte, upper, space):
    text = f"{space}{number}{space}{unit.upper() if upper else unit}{byte}{space}"
    assert abs(size_of(text) - number * UNITS[unit]) <= Decimal("0.5") + number * UNITS[unit] / 2**52


NO_SIZES = [
    "",
    "GB",
    "0",
    "0GB",
    "-1GB",
    "1e9",
    "inf",
    "nan",
    "3 gigabytes",
    "3iB",
    "3i",
    "1,5GB",
    "1.GB",
    "3GBB",
    "٣GB",
]


@pytest.mark.parametrize("value", [*NO_SIZES, "9" * 400 + "GB", "0." + "0" * 400 + "1", 0, -5, True, 3e9, None, b"3GB"])
def test_anything_else_is_no_size(value):
    with pytest.raises(RequestError, match="must be a size such as '3GB'"):
        size_of(value)


@given(st.integers(0, 10**17))
def test_a_size_is_written_in_three_digits(size):
    text = written(size)
    number, name = text.split()
    assert re.fullmatch(r"\d{1,3}(\.\d{1,2})?", number) or size >= 10**15
    unit = {"bytes": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}[name]
    assert float(number) * unit == pytest.approx(size, rel=6e-3, abs=500)
    assert name == "bytes" or float(number) >= 1


# -------------------------------------------------------------------------------------------------------------- limits


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc here")
def test_what_the_process_holds_is_what_the_system_says():
    said = int(re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
    assert resident() == pytest.approx(said, rel=0.1)
    held = np.ones(50_000_000, np.uint8)
    assert resident() > said + 0.8 * held.nbytes
    total = int(re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())[1]) * 1024
    assert 0 < available() < total


def test_without_proc_there_still_is_an_answer(monkeypatch):
    def missing(self):
        raise FileNotFoundError(self)

    monkeypatch.setattr(Path, "read_text", missing)
    assert 50e6 < resident() < 1e9
    assert available() == inf


def test_the_work_may_take_what_the_process_leaves_of_the_limit(monkeypatch):
    assert budget(None) == inf
    monkeypatch.setattr(memory, "resident", lambda: 200_000_000)
    assert budget("3GB") == 3_000_000_000 - 200_000_000 - SPARE
    assert budget(10**9) == 10**9 - 200_000_000 - SPARE
    with pytest.raises(RequestError, match=r"memory limit is 200MB; the process itself takes 267 MB"):
        budget("200MB")


def limit(room):
    """A limit of this process that leaves so many bytes to the work."""
    return resident() + SPARE + room


@pytest.fixture
def model(tmp_path):
    """A small matrix, one that needs 100 MB, and a small one."""
    arrays = {"a.weight": gaussian(80, 60), "big.weight": gaussian(2600, 2500), "c.weight": gaussian(70, 50)}
    ht.analyze({"warm.up": gaussian(1100, 1024)})  # what is loaded sooner or later
    return written_model(tmp_path / "m.safetensors", {name: W.astype(np.float32) for name, W in arrays.items()})


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_matrix_beyond_the_limit_is_a_row_that_says_what_it_needs(model, capsys, jobs):
    needed = {p.tensor.name: c.memory for p, c in zip(*plans_and_costs(model), strict=True)}
    assert needed["a.weight"] < 25e6 < 40e6 < needed["big.weight"]
    code = main(["analyze", str(model), "--json", "-", "--jobs", str(jobs), "--memory-limit", str(limit(30_000_000))])
    assert code == 3
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["layers"]}
    assert [row["status"] for row in rows.values()] == ["ok", "failed", "ok"]
    said = re.fullmatch(r"exact work needs (\S+) MB at once, .* (\S+) ([kM])B", rows["big"]["reason"])
    assert said, rows["big"]["reason"]
    assert float(said[1]) > 40
    assert float(said[2]) * {"k": 1e3, "M": 1e6}[said[3]] < 31e6
    assert (rows["big"]["N"], rows["big"]["M"]) == (2600, 2500)
    alone = {row.name: row for row in ht.analyze(model, layers=["a", "c"]).rows}
    assert all(rows[name]["lambda_max"] == alone[name].lambda_max for name in ("a", "c"))


def plans_and_costs(model):
    expected = estimate(model)
    return expected.plans, expected.costs


def test_a_limit_below_the_process_itself_is_one_line(model, capsys):
    assert main(["analyze", str(model), "--memory-limit", "10MB"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"heavytail: memory limit is 10MB; the process itself takes [\d.]+ [MG]B before .*\n", err)


def test_a_wide_matrix_gives_the_same_numbers_under_a_tight_limit(tmp_path, monkeypatch):
    W = gaussian(1100, 9000).astype(np.float32)
    path = written_model(tmp_path / "wide.safetensors", {"w.weight": W})
    free = ht.analyze(path, jobs=1).rows[0]
    panels, real = [], turned

    def counting(tensor, size):
        panels.append(size)
        return real(tensor, size)

    monkeypatch.setattr("heavytail.analysis.numbers.turned", counting)
    (job,) = estimate(path).costs
    room = job.memory - W.nbytes // 2
    (tight,) = ht.analyze(path, jobs=1, memory_limit=limit(room)).rows
    assert panels
    assert max(panels) < W.nbytes * 3 / 4
    assert tight.status == free.status == "ok"
    assert set(NUMBERS) <= set(COLUMNS)
    for column in NUMBERS:
        assert getattr(tight, column) == pytest.approx(getattr(free, column), rel=1e-9), column


def test_of_a_wide_matrix_as_much_is_held_as_there_is_room_for():
    (wide,) = plan([tensor("w.weight", np.broadcast_to(np.float32(1), (1100, 90_000)))])
    free = cost(wide)
    rest = free.memory - free.held
    assert free.held == wide.tensor.nbytes
    for room in (20 << 20, 100 << 20, 300 << 20):
        assert cost(wide, limit=rest + room).memory == rest + room
    assert cost(wide, limit=0).held == 16 << 20


# ------------------------------------------------------------------------------------------------------------- panels


@given(st.integers(1, 30), st.integers(1, 60), st.integers(0, 5000), st.integers(1, 70), st.sampled_from("efd"))
def test_panels_make_the_transpose(rows, columns, size, r, dtype):
    W = np.arange(rows * columns).reshape(rows, columns).astype(dtype)
    blocks = list(turned(tensor("w", W), size)(r))
    assert all(0 < len(block) <= r for block in blocks)
    np.testing.assert_array_equal(np.concatenate(blocks), W.T, strict=True)


def test_no_more_than_one_panel_is_held_at_once():
    W = np.broadcast_to(np.float32(1), (500, 60_000))  # takes no memory itself
    size = 24_000_000
    tracemalloc.start()
    for block in turned(tensor("w", W), size)(100):
        assert block.shape[1] == 500
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < peak < 1.2 * size
