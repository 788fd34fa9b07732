import logging
import os
import random
import subprocess
import sys
import tracemalloc
import warnings
from math import isnan, prod

import numpy as np
import pytest
import scipy.linalg.blas  # noqa: F401  # so that its pool of threads is known from the start
from cases import Reads, gaussian, hadamard, low_rank, source, student, tensor, zoo
from threadpoolctl import threadpool_info, threadpool_limits

import heavytail as ht
from heavytail.analysis import estimate
from heavytail.diagnosis.row import COLUMNS

NUMBERS = [c for c in COLUMNS if c not in ("name", "kind", "dtype", "status", "reason", "tail", "warning", "phase")]


def model():
    """A small model with most kinds of layers."""
    return {
        "embed.weight": gaussian(120, 30, seed=1).astype(np.float32),
        "conv.weight": gaussian(32, 16, 3, 3, seed=2).astype(np.float32),
        "conv.bias": np.ones(32, np.float32),
        "attn.in_proj_weight": student(90, 30, df=3, seed=3),
        "lstm.weight_ih_l0": gaussian(80, 30, seed=4),
        "lstm.weight_hh_l0": gaussian(80, 20, seed=5),
        "experts": gaussian(3, 60, 50, seed=6),
        "mask": np.ones((30, 30), bool),
        "head.weight": gaussian(40, 30, seed=7),
        "steps": np.array(3),
    }


def reading(monkeypatch, arrays):
    """Let any source be these arrays, and note what is read of them."""
    reads = Reads()
    opened = source(arrays, reads)
    monkeypatch.setattr("heavytail.analysis.pipeline.open_source", lambda _: opened)
    return reads


# ------------------------------------------------------------------------------------------------------- the rows


def test_rows_stand_in_the_order_of_the_source():
    report = ht.analyze(model())
    assert [row.name for row in report.rows] == [
        "embed",
        "conv",
        "conv.bias",
        *(f"attn.in_proj_weight:{part}" for part in "qkv"),
        *(f"lstm.weight_ih_l0:{gate}" for gate in "ifgo"),
        *(f"lstm.weight_hh_l0:{gate}" for gate in "ifgo"),
        *(f"experts:{e}" for e in range(3)),
        "mask",
        "head",
        "steps",
    ]
    assert report.table["name"].tolist() == [row.name for row in report.rows]
    assert list(report.table.columns) == list(COLUMNS)


def test_every_tensor_has_a_row_with_a_status_and_a_reason_if_it_is_left_out():
    report = ht.analyze(model())
    for row in report.rows:
        assert row.status in ("ok", "skipped", "unsupported", "failed")
        assert row.status == "ok" or row.reason
        assert row.status != "ok" or np.isfinite(row.norm)
    assert report.complete
    assert report.summary["ok"] == 17
    assert report.summary["skipped"] == 3


def test_each_part_of_a_fused_tensor_has_the_numbers_of_the_matrix_alone():
    arrays = model()
    report = {row.name: row for row in ht.analyze(arrays).rows}
    alone = {}
    for name, splits in (("attn.in_proj_weight", "qkv"), ("lstm.weight_ih_l0", "ifgo"), ("lstm.weight_hh_l0", "ifgo")):
        alone |= {f"{name}:{s}": W for s, W in zip(splits, np.split(arrays[name], len(splits)), strict=True)}
    alone |= {f"experts:{e}": W for e, W in enumerate(arrays["experts"])}
    for name, W in alone.items():
        s = np.linalg.svd(W, compute_uv=False)
        assert report[name].norm == pytest.approx(np.square(W).sum())
        assert report[name].lambda_max == pytest.approx(s[0] ** 2)
        (single,) = ht.analyze({"x": W}).rows
        assert report[name].alpha == pytest.approx(single.alpha, nan_ok=True)


def test_a_layer_of_nan_fails_its_row_alone_and_the_report_is_not_complete():
    # peers.md 2.5: one such layer ends the whole run there.
    arrays = model()
    arrays["head.weight"][3, 4] = np.nan
    arrays["experts"][1, 2, 2] = np.inf
    report = ht.analyze(arrays)
    failed = {row.name: row.reason for row in report.rows if row.status == "failed"}
    assert failed == {"head": "1 NaN among 1200 entries", "experts:1": "1 infinite among 3000 entries"}
    assert not report.complete
    assert report.summary["failed"] == 2
    rows = {row.name: row for row in report.rows}
    assert (rows["head"].N, rows["head"].M) == (40, 30)
    clean = {row.name: row for row in ht.analyze(model()).rows}
    for name in set(rows) - set(failed):
        assert rows[name] == clean[name] or isnan(rows[name].alpha_lo)
        assert rows[name].norm == clean[name].norm or isnan(rows[name].norm)


@pytest.mark.parametrize("error", [OSError("the disk is gone"), ValueError("odd"), MemoryError()])
def test_a_tensor_that_fails_while_it_is_read_fails_its_rows_alone(monkeypatch, error):
    def broken(rows):
        raise error
        yield

    good = tensor("good", gaussian(30, 20))
    bad = type(good)("bad.qkv.weight", (60, 20), "float64", broken)
    reading(monkeypatch, {"a": good, "b": bad})
    report = ht.analyze("any")
    assert [row.status for row in report.rows] == ["ok", "failed", "failed", "failed"]
    expected = "not enough memory" if isinstance(error, MemoryError) else str(error)
    assert expected in report.rows[1].reason
    assert all(row.reason for row in report.rows[1:])


def test_the_spectra_are_those_of_the_ok_rows():
    arrays = model()
    arrays["head.weight"][0] = np.nan
    report = ht.analyze(arrays)
    assert list(report.spectra) == [row.name for row in report.rows if row.status == "ok"]
    for row in report.rows:
        if row.status == "ok":
            assert row.num_evals == report.spectra[row.name].evals.size
            assert row.norm == report.spectra[row.name].evals.sum()


@pytest.mark.parametrize("conv", ["slices", "unfold", "operator"])
def test_the_norm_of_a_convolution_is_the_same_however_it_is_read(conv):
    # peers.md, case 19: one normalisation everywhere. The operator has the kernel at each of 16 x 16 frequencies.
    kernel = model()["conv.weight"]
    (row,) = ht.analyze({"c": kernel}, conv=conv).rows
    times = 256 if conv == "operator" else 1
    assert row.norm == pytest.approx(times * np.square(kernel.astype(float)).sum(), rel=1e-12)
    assert (row.N, row.M) == ((144, 32) if conv == "unfold" else (32, 16))
    assert row.num_evals == {"slices": 9 * 16, "unfold": 32, "operator": 256 * 16}[conv]


def test_a_zoo_of_matrices_has_a_row_each():
    report = ht.analyze(zoo())
    assert [row.status for row in report.rows] == ["ok"] * len(zoo())
    for row in report.rows:
        assert (isnan(row.alpha) or isnan(row.sigma_mp) or not row.phase) == (row.reason != "")
        assert isnan(row.alpha) or 1 < row.alpha < 1000


# -------------------------------------------------------------------------------------------------- jobs and threads


@pytest.mark.parametrize("convention", ["default", "weightwatcher"])
def test_the_number_of_jobs_does_not_change_the_table(convention):
    arrays = {f"w{i:02}.weight": student(60 + 10 * i, 50 + 9 * i, seed=i) for i in range(8)}
    arrays["low.weight"] = low_rank(150, 120, 9)
    arrays["conv.weight"] = gaussian(32, 24, 3, 3)
    one, two, all_ = (ht.analyze(arrays, convention=convention, jobs=jobs) for jobs in (1, 2, None))
    for other in (two, all_):
        assert [r.name for r in other.rows] == [r.name for r in one.rows]
        for a, b in zip(one.rows, other.rows, strict=True):
            for column in NUMBERS:
                assert getattr(b, column) == pytest.approx(getattr(a, column), rel=1e-12, nan_ok=True), column
            assert (a.status, a.reason, a.warning, a.kind) == (b.status, b.reason, b.warning, b.kind)


@pytest.mark.parametrize("jobs", [1, 2])
def test_large_matrices_have_their_rows_among_the_small_ones(jobs):
    n = 1024
    H = (hadamard(n) * 2.0 ** (np.arange(n) % 3)).astype(np.float32)
    report = ht.analyze({"a": gaussian(30, 20), "big": H, "b": gaussian(30, 20)}, jobs=jobs)
    assert [row.name for row in report.rows] == ["a", "big", "b"]
    assert [row.status for row in report.rows] == ["ok"] * 3
    assert (report.rows[1].matrix_rank, report.rows[1].lambda_max) == (n, pytest.approx(16 * n))
    assert report.rows[1].norm == pytest.approx(np.square(H.astype(float)).sum())


def test_progress_ends_at_the_whole_and_names_every_tensor():
    seen = []
    arrays = model()
    ht.analyze(arrays, jobs=2, progress=lambda *step: seen.append(step))
    names, done, total = zip(*seen, strict=True)
    assert sorted(names) == sorted(arrays)
    assert list(done) == sorted(done)
    assert done[-1] == pytest.approx(total[0])
    assert len(set(total)) == 1


def blas_threads():
    return {pool["filepath"]: pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_the_thread_counts_are_as_before_afterwards(jobs):
    arrays = {"small": gaussian(40, 30), "other": gaussian(40, 30)}

    def stop(*_):
        raise KeyboardInterrupt

    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        ht.analyze(arrays, jobs=jobs)
        assert blas_threads() == before
        with pytest.raises(KeyboardInterrupt):
            ht.analyze(arrays, jobs=jobs, progress=stop)
        assert blas_threads() == before
        with pytest.raises(ZeroDivisionError):
            ht.analyze(arrays, jobs=jobs, progress=lambda *_: 1 / 0)
        assert blas_threads() == before


def test_a_large_matrix_uses_no_more_threads_than_asked_for():
    code = """
import numpy as np, heavytail as ht
from threadpoolctl import threadpool_info
W = np.eye(1024)
seen = []
ht.analyze({"a": W}, jobs=1, progress=lambda *_: seen.extend(p["num_threads"] for p in threadpool_info()))
print(max(seen))
"""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "1\n"


def test_the_host_is_left_as_it_was():
    np.random.seed(7)  # noqa: NPY002
    random.seed(7)
    state = np.random.get_state()  # noqa: NPY002
    py_state = random.getstate()
    filters = list(warnings.filters)
    root = logging.getLogger()
    handlers, level, disabled = list(root.handlers), root.level, root.manager.disable
    errors = np.geterr()
    printing = np.get_printoptions()
    ht.analyze(model(), jobs=2)
    ht.analyze({"a.weight": student(50, 40)}, convention="weightwatcher")
    after = np.random.get_state()  # noqa: NPY002
    assert after[0] == state[0]
    np.testing.assert_array_equal(after[1], state[1])
    assert after[2:] == state[2:]
    assert random.getstate() == py_state
    assert warnings.filters == filters
    assert (list(root.handlers), root.level, root.manager.disable) == (handlers, level, disabled)
    assert np.geterr() == errors
    assert np.get_printoptions() == printing


def test_the_arrays_of_the_user_are_not_changed():
    arrays = model()
    copies = {name: np.array(a) for name, a in arrays.items()}
    for conv in ("slices", "unfold", "operator"):
        ht.analyze(arrays, conv=conv)
    ht.analyze(arrays, convention="weightwatcher")
    for name, a in arrays.items():
        np.testing.assert_array_equal(a, copies[name])
        assert a.flags.writeable


def test_an_analysis_prints_nothing(capfd):
    ht.analyze(model())
    assert capfd.readouterr() == ("", "")


# ----------------------------------------------------------------------------------------------------- selection


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        ("embed", ["embed"]),
        ("embed.weight", ["embed"]),  # the tensor's name
        ("*proj*", ["attn.in_proj_weight:q", "attn.in_proj_weight:k", "attn.in_proj_weight:v"]),
        ("*:k", ["attn.in_proj_weight:k"]),
        ("attn.in_proj_weight", ["attn.in_proj_weight:q", "attn.in_proj_weight:k", "attn.in_proj_weight:v"]),
        (["head", "experts:[02]"], ["experts:0", "experts:2", "head"]),
        (("conv", "conv.bias"), ["conv", "conv.bias"]),
        ("lstm*hh*:?", [f"lstm.weight_hh_l0:{gate}" for gate in "ifgo"]),
        ("mask", ["mask"]),
    ],
)
def test_only_the_layers_that_match_are_rows(layers, names):
    report = ht.analyze(model(), layers=layers)
    assert [row.name for row in report.rows] == names
    whole = {row.name: row for row in ht.analyze(model()).rows}
    for row in report.rows:
        for column in ("N", "M", "norm", "alpha", "matrix_rank"):
            assert getattr(row, column) == pytest.approx(getattr(whole[row.name], column), rel=1e-12, nan_ok=True)


@pytest.mark.parametrize(
    ("name", "part", "shape", "parts"),
    [("attn.qkv.weight", "attn.qkv:k", (2550, 850), 3), ("lstm.weight_ih_l0", "lstm.weight_ih_l0:f", (280_000, 8), 4)],
)
def test_a_part_selected_from_a_large_tensor_is_that_part(name, part, shape, parts):
    W = np.random.default_rng(0).standard_normal(shape)
    assert W.nbytes > 16 << 20  # a tall matrix of that size is read in blocks of rows
    n = shape[0] // parts
    arrays = {name: W, "lstm.weight_hh_l0": np.broadcast_to(np.float32(1), (4 * n, n))}
    (row,) = ht.analyze(arrays, layers=part).rows
    assert (row.N, row.M) == (n, shape[1])
    assert row.norm == pytest.approx(np.square(W[n : 2 * n]).sum())


def test_no_match_names_some_layers_that_there_are():
    with pytest.raises(ht.HeavytailError) as caught:
        ht.analyze(model(), layers=["nothing", "no*"])
    assert str(caught.value) == (
        "no layer of mapping matches 'nothing', 'no*'; there are for example 'embed', 'conv', 'attn.in_proj_weight:q'"
    )
    with pytest.raises(ht.HeavytailError, match="it has no matrices"):
        ht.analyze({"bias": np.ones(3)}, layers="x")


def test_an_empty_list_of_layers_is_refused_in_a_readable_sentence():
    with pytest.raises(ht.HeavytailError) as caught:
        ht.analyze(model(), layers=[])
    assert "matches ;" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"conv": "fft"}, "conv is 'fft'; it can be slices, unfold, operator"),
        ({"convention": "ww"}, "convention is 'ww'; it can be default, weightwatcher"),
        ({"jobs": 0}, "jobs is 0; it must be a whole number of at least 1"),
        ({"jobs": -3}, "jobs is -3; it must be a whole number of at least 1"),
        ({"jobs": True}, "jobs is True; it must be a whole number of at least 1"),
        ({"nulls": True}, "nulls is True; it must be a whole number of at least 0"),
        ({"nulls": 2.0}, "nulls is 2.0; it must be a whole number of at least 0"),
        ({"nulls": -1}, "nulls is -1; it must be a whole number of at least 0"),
        ({"seed": "1"}, "seed is '1'; it must be a whole number of at least 0"),
        ({"seed": None}, "seed is None; it must be a whole number of at least 0"),
        ({"vectors": "no"}, "vectors is 'no'; it must be True or False"),
        ({"vectors": 1}, "vectors is 1; it must be True or False"),
    ],
)
def test_a_request_that_cannot_be_understood_says_what_could(arguments, message):
    with pytest.raises(ht.HeavytailError) as caught:
        ht.analyze(model(), **arguments)
    assert str(caught.value) == message


def test_whole_numbers_of_numpy_are_whole_numbers():
    W = {"a.weight": gaussian(40, 30)}
    report = ht.analyze(W, nulls=np.int64(2), seed=np.uint8(1), jobs=np.int32(1))
    assert report.to_json() == ht.analyze(W, nulls=2, seed=1).to_json()
    assert estimate(W, nulls=np.int64(2)).costs == estimate(W, nulls=2).costs
    with pytest.raises(ht.HeavytailError, match="nulls is 'two'; it must be a whole number"):
        estimate(W, nulls="two")


@pytest.mark.parametrize(
    "arguments", [{"jobs": "2"}, {"jobs": 1.5}, {"conv": "unfold", "convention": "weightwatcher"}], ids=str
)
def test_a_request_that_cannot_be_met_is_refused(arguments):
    with pytest.raises(ht.HeavytailError):
        ht.analyze({"a.weight": gaussian(20, 10, 3, 3)}, **arguments)


@pytest.mark.parametrize("bad", [3, None, 2.5, [np.ones((3, 3))]])
def test_what_is_no_source_is_refused(bad):
    with pytest.raises(ht.HeavytailError, match="not a path"):
        ht.analyze(bad)


def test_a_missing_file_is_named():
    with pytest.raises(ht.HeavytailError, match="there/is/none"):
        ht.analyze("there/is/none.safetensors")


# ----------------------------------------------------------------------------------------------- reading and memory


@pytest.mark.parametrize("convention", ["default", "weightwatcher"])
def test_every_tensor_is_read_once_and_nothing_that_has_no_matrix(monkeypatch, convention):
    arrays = model()
    reads = reading(monkeypatch, arrays)
    ht.analyze("any", convention=convention, jobs=2)
    assert len(reads.names()) == len(set(reads.names()))
    assert not {"conv.bias", "mask", "steps"} & set(reads.names())
    if convention == "default":
        assert set(reads.names()) == set(arrays) - {"conv.bias", "mask", "steps"}
        assert all(total == arrays[name].nbytes for name, _, total in reads.log)


@pytest.mark.parametrize(("layers", "names"), [("head", ["head.weight"]), ("*:q", ["attn.in_proj_weight"])])
def test_what_is_filtered_out_is_not_read(monkeypatch, layers, names):
    reads = reading(monkeypatch, model())
    ht.analyze("any", layers=layers)
    assert reads.names() == names


def test_tied_tensors_are_read_once(monkeypatch):
    W = gaussian(40, 30)
    tied = {"a": tensor("a", W, storage=1, reads=(reads := Reads())), "b": tensor("b", W, storage=1, reads=reads)}
    reading(monkeypatch, tied)
    report = ht.analyze("any")
    assert reads.names() == ["a"]
    assert [row.status for row in report.rows] == ["ok", "skipped"]
    assert report.summary["parameters"] == 1200


def test_experts_are_read_one_at_a_time(monkeypatch):
    W = gaussian(6, 60, 50)
    reads = reading(monkeypatch, {"experts": W})
    report = ht.analyze("any")
    assert reads.log == [["experts", W[0].nbytes, W.nbytes]]
    assert report.summary["ok"] == 6


def test_an_estimate_reads_nothing(monkeypatch):
    reads = reading(monkeypatch, model())
    estimate("any")
    estimate("any", convention="weightwatcher", layers="*")
    assert reads.log == []


def test_a_large_embedding_streams_without_a_copy_of_itself():
    # peers.md, case 20: vocabularies above 50,000 vanish there; Llama 3 has 128,256.
    W = np.random.default_rng(0).standard_normal((128_256, 64), dtype=np.float32)
    reads = Reads()
    opened = source({"embed.weight": W}, reads)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("heavytail.analysis.pipeline.open_source", lambda _: opened)
        tracemalloc.start()
        (row,) = ht.analyze("any", jobs=1).rows
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (row.status, row.kind, row.N, row.M) == ("ok", "embedding", 128_256, 64)
    assert len(reads.log) == 3  # for the spectrum, for the kurtosis of the entries, and for that of what is noise
    assert reads.log[0][1] <= W.nbytes / 100
    assert peak < W.nbytes / 4
    assert row.norm == pytest.approx(np.square(W, dtype=np.float64).sum(), rel=1e-9)
    assert row.stable_rank > 60


# ------------------------------------------------------------------------------------------------------------ costs


def test_an_estimate_has_the_bytes_and_the_operations_of_the_formulas():
    arrays = model()
    found = estimate(arrays)
    costs = {plan.tensor.name: cost for plan, cost in zip(found.plans, found.costs, strict=True)}
    for name, array in arrays.items():
        read = name not in ("conv.bias", "mask", "steps")
        assert costs[name].bytes == (array.nbytes if read else 0)

    def gram(n, m):
        return n * m**2 + 4 / 3 * m**3

    expected = {
        "embed.weight": gram(120, 30),
        "conv.weight": 9 * gram(32, 16),
        "attn.in_proj_weight": 3 * gram(30, 30),
        "lstm.weight_ih_l0": 4 * gram(30, 20),
        "experts": 3 * gram(60, 50),
        "mask": 0,
    }
    for name, operations in expected.items():
        assert costs[name].operations == pytest.approx(operations)
    operator = estimate({"c": arrays["conv.weight"]}, conv="operator").costs[0]
    assert operator.operations == pytest.approx(4 * 130 * gram(32, 16))  # complex, at one of two opposite frequencies
    theirs = estimate({"a.weight": arrays["head.weight"]}, convention="weightwatcher").costs[0]
    assert theirs.operations == pytest.approx(2 * 40 * 30**2 + 2 * 30**3)


def test_an_estimate_of_memory_is_no_less_than_a_streamed_run_needs():
    W = np.random.default_rng(0).standard_normal((500_000, 64), dtype=np.float32)
    expected = estimate({"e.weight": W}).costs[0].memory
    ht.analyze({"warm.up": W[:100]})
    tracemalloc.start()
    ht.analyze({"e.weight": W}, jobs=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert W.nbytes > 16 << 20
    assert peak <= expected
    assert expected < W.nbytes / 4


def test_a_shape_alone_is_enough_for_an_estimate(monkeypatch):
    def explode(_):
        raise AssertionError("read")

    good = tensor("x", gaussian(2, 2))
    huge = type(good)("lm_head.weight", (128_256, 8192), "bfloat16", explode)
    reading(monkeypatch, {"h": huge})
    (cost,) = estimate("any").costs
    assert cost.bytes == 2 * prod(huge.shape)
    assert 4 * 8192**2 < cost.memory < 1e9  # LAPACK works in one triangle
