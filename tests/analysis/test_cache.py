import errno
import json
import logging
import os
import time
from io import DEFAULT_BUFFER_SIZE, BufferedReader, FileIO
from pathlib import Path

import numpy as np
import pytest
import torch
from analysis.runs import finish, layers, records, start, written
from cases import gaussian, student, tensor
from safetensors.numpy import save_file

import heavytail as ht
from heavytail.analysis import jobs
from heavytail.analysis.cache import Cache, digest_of
from heavytail.analysis.cost import cost
from heavytail.analysis.memory import resident
from heavytail.cli import main
from heavytail.diagnosis.layer import Wanted
from heavytail.errors import RequestError
from heavytail.weights.layout import plan
from heavytail.weights.places.files import LocalFile
from heavytail.weights.ranges import Plain
from heavytail.weights.source import open_source

OPTIONS = {
    "none": {},
    "bootstrap": {"bootstrap": 40},
    "seed of the bootstrap": {"bootstrap": 40, "seed": 1},
    "nulls": {"nulls": 2},
    "seed of the nulls": {"nulls": 2, "seed": 1},
    "more nulls": {"nulls": 3},
    "vectors": {"vectors": True},
    "all": {"bootstrap": 40, "nulls": 2, "vectors": True, "seed": 2},
    "unfold": {"conv": "unfold"},
    "operator": {"conv": "operator"},
    "weightwatcher": {"convention": "weightwatcher"},
    "some": {"layers": ["embed", "conv"]},
}


@pytest.fixture
def model(tmp_path):
    return written(tmp_path / "m.safetensors")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def sealed(monkeypatch):
    """Seal the numbers of files: gives a function after which any reading of them fails."""

    def explode(self):
        raise AssertionError("weights were read")

    return lambda: monkeypatch.setattr(Plain, "open", explode)


class Counted(FileIO):
    """A file that counts what is read of it."""

    total = 0

    def readinto(self, buffer):
        n = super().readinto(buffer)
        Counted.total += n
        return n

    def readall(self):
        data = super().readall()
        Counted.total += len(data)
        return data


@pytest.fixture
def read(monkeypatch):
    """Gives a function that tells how many bytes of files were read since it was last asked."""

    def told():
        total, Counted.total = Counted.total, 0
        return total

    monkeypatch.setattr(LocalFile, "open", lambda self: BufferedReader(Counted(self.path)))
    told()
    return told


def table(source, **options):
    return ht.analyze(source, **options).to_json()


def warnings(caplog):
    return [r.getMessage() for r in caplog.records if r.name == "heavytail.analysis.cache"]


# ------------------------------------------------------------------------------------------- the same, cold or warm


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_report_is_the_same_without_a_cache_with_a_cold_and_with_a_warm_one(model, cache, options):
    without = table(model, **options)
    assert table(model, cache=cache, **options) == without
    kept = [(path, path.read_bytes()) for path in records(cache)]
    assert kept
    assert table(model, cache=cache, **options) == without
    assert [(path, path.read_bytes()) for path in records(cache)] == kept


def test_results_of_other_options_are_not_mistaken_for_each_other(model, cache):
    expected = {name: table(model, **options) for name, options in OPTIONS.items()}
    for name, options in (*OPTIONS.items(), *reversed(OPTIONS.items())):
        assert table(model, cache=cache, **options) == expected[name], name


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_number_of_threads_does_not_matter_to_a_cache(model, cache, jobs):
    without = table(model, jobs=1)
    assert table(model, cache=cache, jobs=jobs) == without
    assert table(model, cache=cache, jobs=3 - jobs) == without


@pytest.mark.parametrize("name", ["none", "nulls", "vectors", "unfold", "operator", "weightwatcher"])
def test_a_warm_cache_reads_no_weights(model, cache, sealed, name):
    expected = table(model, cache=cache, **OPTIONS[name])
    sealed()
    assert table(model, cache=cache, **OPTIONS[name]) == expected
    assert '"failed": 0' in expected.replace('"failed":0', '"failed": 0')


@pytest.mark.parametrize(
    "options",
    [{"bootstrap": 40}, {"bootstrap": 40, "seed": 9}, {"seed": 3}, {"layers": "lstm*"}, {"layers": "phase=*"}],
)
def test_a_new_fit_reads_no_weights(model, cache, sealed, options):
    expected = table(model, **options)
    table(model, cache=cache)
    sealed()
    assert table(model, cache=cache, **options) == expected


def test_a_warm_cache_reads_of_the_file_no_more_than_its_header(tmp_path, cache, read):
    model = written(tmp_path / "large.safetensors", {"a.weight": gaussian(500, 300), "b.weight": gaussian(400, 200)})
    table(model, cache=cache)
    assert read() > model.stat().st_size
    table(model, cache=cache)
    assert read() < 5 * DEFAULT_BUFFER_SIZE < model.stat().st_size / 20


def test_a_warm_cache_does_read_where_there_is_no_result(model, cache, sealed):
    # That the seal of the tests above holds.
    table(model, cache=cache)
    sealed()
    report = ht.analyze(model, cache=cache, nulls=2)
    assert "weights were read" in {row.name: row for row in report.rows}["embed"].reason
    assert not report.complete


# ------------------------------------------------------------------------------------------------ what it is kept under


def test_a_file_of_other_content_is_noticed_though_its_size_and_time_are_the_same(model, cache):
    table(model, cache=cache)
    before = model.stat()
    data = bytearray(model.read_bytes())
    begin = 8 + int.from_bytes(data[:8], "little")
    end = begin + json.loads(data[8:begin])["zero.weight"]["data_offsets"][1]
    data[end - 4 : end] = np.float32(0.5).tobytes()
    time.sleep(0.02)  # the clock of a file system is coarser than ours
    model.write_bytes(data)
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = model.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    assert table(model, cache=cache) == table(model)
    assert {row.name: row for row in ht.analyze(model, cache=cache).rows}["zero"].norm == 0.25


def test_one_changed_tensor_alone_is_done_again(model, cache):
    table(model, cache=cache)
    before = records(cache)
    written(model, layers() | {"embed.weight": gaussian(120, 60, seed=9).astype(np.float32)})
    assert table(model, cache=cache) == table(model)
    more = set(records(cache)) - set(before)
    assert len(more) == 2 + sum(array.ndim > 1 for array in layers().values())  # two results, and each tensor's digest


def test_the_same_numbers_are_found_under_another_path(model, cache, tmp_path):
    table(model, cache=cache)
    before = results(cache)
    other = tmp_path / "other" / "renamed.safetensors"
    other.parent.mkdir()
    other.write_bytes(model.read_bytes())
    assert table(other, cache=cache) == table(other)
    assert results(cache) == before


def test_the_same_numbers_are_found_in_another_container(model, cache, tmp_path):
    table(model, cache=cache)
    before = results(cache)
    np.savez(tmp_path / "m.npz", **layers())
    np.savez_compressed(tmp_path / "z.npz", **layers())
    torch.save({name: torch.tensor(array) for name, array in layers().items()}, tmp_path / "m.pt")
    for source in (tmp_path / "m.npz", tmp_path / "z.npz", tmp_path / "m.pt", layers()):
        assert table(source, cache=cache) == table(source)
    assert results(cache) == before


def test_the_same_numbers_under_another_name_or_shape_have_their_own_rows(cache):
    W = gaussian(60, 60, seed=1)
    models = [{"a": W}, {"b": W}, {"a": W.T}, {"a": W.reshape(90, 40)}, {"a": W.astype(np.float32)}, {"qkv.weight": W}]
    models += [{"a": W.reshape(3, 20, 60)}, {"qkv.weight": W.reshape(120, 30)[:90]}, {"a": W.reshape(120, 30)[:90]}]
    models += [{"conv.weight": W.reshape(20, 20, 3, 3)}, {"conv.kernel": W.reshape(3, 3, 20, 20)}]
    for options in ({}, {"nulls": 2}, {"conv": "unfold"}, {"conv": "operator"}, {"convention": "weightwatcher"}):
        for model in models:
            assert table(model, cache=cache, **options) == table(model, **options)


def test_a_name_of_any_characters_is_a_key(cache):
    model = {"a\ud800": gaussian(40, 30), "\x00/../b": gaussian(40, 30, seed=1), "": gaussian(40, 30, seed=2)}
    for nulls in (0, 2):
        assert ht.analyze(model, cache=cache, nulls=nulls).rows == ht.analyze(model, cache=cache, nulls=nulls).rows
    assert all(path.is_relative_to(cache) for path in records(cache))


def results(cache):
    """The records that are no digests."""
    return {path for path in records(cache) if path.stat().st_size > 200}


@pytest.mark.parametrize("kind", ["mapping", "module"])
def test_models_in_memory_have_a_cache_too(cache, kind, monkeypatch):
    if kind == "mapping":
        model = layers()
    else:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Conv2d(8, 32, 3), torch.nn.Linear(60, 70), torch.nn.LSTM(30, 40))
    expected = table(model)
    assert table(model, cache=cache) == expected
    before = records(cache)
    monkeypatch.setattr("heavytail.analysis.jobs._measured", lambda *_: 1 / 0)
    assert table(model, cache=cache) == expected
    assert records(cache) == before


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_the_digest_is_of_the_numbers_however_they_stand(rows):
    W = student(50, 40)
    whole = digest_of(tensor("a", W))
    assert digest_of(tensor("b", W[::-1][::-1])) == whole
    assert digest_of(tensor("c", np.asfortranarray(W))) == whole
    assert digest_of(tensor("d", W), W) == digest_of(tensor("d", W), np.asfortranarray(W)) == whole
    cut = tensor("e", W)
    assert digest_of(type(cut)("e", cut.shape, cut.dtype, lambda _: cut.blocks(rows))) == whole
    assert (
        len({whole, digest_of(tensor("f", W.T)), digest_of(tensor("g", -W)), digest_of(tensor("h", W[:, ::-1]))}) == 4
    )
    assert digest_of(tensor("i", W.reshape(40, 50))) != whole


# -------------------------------------------------------------------------------------------------------- what can fail


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def empty(path):
    path.write_bytes(b"")


def directory(path):
    path.unlink()
    path.mkdir()


def exchange(path):
    path.write_bytes(b"\x00" * 1000)


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("damage", [flip, truncate, empty, directory, exchange])
def test_damaged_records_are_noticed_and_made_anew(model, cache, damage, jobs, caplog):
    expected = table(model, cache=cache, jobs=jobs)
    good = {path: path.read_bytes() for path in records(cache)}
    assert not warnings(caplog)
    for path in good:
        damage(path)
    assert table(model, cache=cache, jobs=jobs) == expected
    said = warnings(caplog)
    assert any("cannot be used and is made anew" in text for text in said)
    if damage is directory:
        assert any("is not kept" in text for text in said)
        return
    assert {path: path.read_bytes() for path in records(cache)} == good
    caplog.clear()
    assert table(model, cache=cache, jobs=jobs) == expected
    assert not warnings(caplog)


def test_each_damaged_record_alone_is_noticed(model, cache, caplog):
    expected = table(model, cache=cache)
    for path in records(cache):
        good = path.read_bytes()
        flip(path)
        assert table(model, cache=cache) == expected
        # A spectrum is looked at only where what was measured with it is not there.
        assert path.read_bytes() == good or not warnings(caplog)
        path.write_bytes(good)
        caplog.clear()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read anything")
def test_records_that_may_not_be_read_are_made_anew(model, cache, caplog):
    expected = table(model, cache=cache)
    for path in records(cache):
        path.chmod(0)
    assert table(model, cache=cache) == expected
    assert any("Permission denied" in text for text in warnings(caplog))
    assert all(path.stat().st_mode & 0o400 for path in results(cache))


def test_records_that_cannot_be_read_are_made_anew(model, cache, caplog, monkeypatch):
    expected = table(model, cache=cache)

    def refused(self):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refused)
    assert table(model, cache=cache) == expected
    assert any("Permission denied" in text for text in warnings(caplog))


@pytest.mark.parametrize("half", [False, True])
def test_a_full_disk_costs_the_cache_alone(model, cache, caplog, monkeypatch, half):
    expected = table(model)
    real, calls = Path.write_bytes, []

    def full(self, data):
        calls.append(self)
        if len(calls) == 1:  # when the folder is opened there still is room
            return real(self, data)
        if half:
            real(self, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    assert table(model, cache=cache) == expected
    assert len(calls) > 1
    said = warnings(caplog)
    assert said
    assert all("is not kept in the cache" in text and "No space left on device" in text for text in said)
    assert records(cache) == []
    assert logging.getLogger("heavytail.analysis.cache").level == logging.NOTSET


def test_two_processes_may_share_a_folder_from_the_same_moment_on(model, cache):
    both = [start(model, "--cache", cache, "--json", "-", "--jobs", jobs) for jobs in (1, 2)]
    ended = [finish(process) for process in both]
    assert ended == [(0, table(model))] * 2
    assert not [path for path in records(cache) if path.name.startswith(".")]
    assert table(model, cache=cache) == ended[0][1]


def test_what_killed_processes_left_half_written_is_swept_away_when_nobody_writes_it_any_more(cache):
    Cache.at(cache).put(1, "a")
    kept = records(cache)
    old, new = cache / ".abandoned", cache / ".pending"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    Cache.at(cache)
    assert records(cache) == [new, *kept]


def test_records_are_as_readable_as_other_files_of_the_user(cache, tmp_path):
    Cache.at(cache).put(1.5, "a")
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert {path.stat().st_mode for path in records(cache)} == {plain.stat().st_mode}


def unusable(folder):
    (folder / "file").write_text("a file")
    return {
        "a file": folder / "file",
        "below a file": folder / "file" / "cache",
        "no such device": Path("/proc/heavytail"),
        "a name too long": folder / ("x" * 300),
        "a name of zeros": folder / "a\0b",
    }


@pytest.mark.parametrize("which", ["a file", "below a file", "no such device", "a name too long", "a name of zeros"])
def test_a_folder_that_cannot_be_made_is_one_line(model, tmp_path, which, capsys):
    folder = unusable(tmp_path)[which]
    with pytest.raises(RequestError, match=r"^cache ") as caught:
        table(model, cache=folder)
    assert "\n" not in str(caught.value)
    assert main(["analyze", str(model), "--cache", str(folder)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("heavytail: cache ")
    assert err.count("\n") == 1


def test_a_layer_that_fails_is_not_kept(cache):
    bad = gaussian(40, 30)
    bad[0, 0] = np.nan
    model = {"good": gaussian(40, 30), "bad": bad}
    assert table(model, cache=cache) == table(model)
    first = records(cache)
    assert table(model, cache=cache) == table(model)
    assert records(cache) == first
    assert len(results(cache)) == 2  # of the good one: its spectrum, and what was measured


def steep(tmp_path):
    """A file of a matrix whose Gram matrix leaves its rank open."""
    rng = np.random.default_rng(5)
    left, right = (np.linalg.qr(rng.standard_normal((n, 400)))[0] for n in (900, 400))
    path = tmp_path / "steep.npz"
    np.savez(path, **{"w.weight": left * np.logspace(0, -13, 400) @ right.T})
    return path


def test_a_rank_that_is_open_for_want_of_memory_says_so_and_does_not_pass_for_settled(tmp_path, monkeypatch):
    path, kept = steep(tmp_path), tmp_path / "cache"
    settled = ht.analyze(path, jobs=1)
    room = cost(plan(open_source(path).tensors)[0], Wanted()).memory + 1_000_000
    with monkeypatch.context() as context:  # the process itself takes more or less from one moment to the next
        context.setattr("heavytail.analysis.pipeline.budget", lambda limit: room)
        few, more = (ht.analyze(path, jobs=jobs, memory_limit="1GB", cache=kept) for jobs in (1, 4))
    assert few.rows[0].matrix_rank < settled.rows[0].matrix_rank
    assert "the rank is a lower bound: there was no memory for singular values" in few.rows[0].reason
    assert repr(few.rows) == repr(more.rows)
    assert ht.analyze(path, jobs=1, cache=kept).to_json() == settled.to_json()


def test_what_the_configuration_says_of_the_quantisation_is_part_of_what_is_known(tmp_path):
    rng = np.random.default_rng(0)
    words = rng.integers(-(2**31), 2**31, (12, 80), dtype=np.int64).astype(np.int32)
    layer = {
        "q.qweight": words,
        "q.qzeros": rng.integers(0, 2**31, (3, 10), dtype=np.int64).astype(np.int32),
        "q.scales": rng.uniform(0.01, 0.02, (3, 80)).astype(np.float16),
        "q.g_idx": np.arange(96, dtype=np.int32) // 32,
    }
    save_file(layer, tmp_path / "model.safetensors")
    norms = []
    for version in ("gptq", "gptq_v2"):
        told = {"quant_method": "gptq", "bits": 4, "group_size": 32, "checkpoint_format": version}
        (tmp_path / "config.json").write_text(json.dumps({"quantization_config": told}))
        cached = ht.analyze(tmp_path / "model.safetensors", cache=tmp_path / "kept").rows[0]
        assert cached.norm == ht.analyze(tmp_path / "model.safetensors").rows[0].norm
        norms.append(cached.norm)
    assert norms[0] != norms[1]


def test_an_enclosed_matrix_is_enclosed_once(tmp_path, monkeypatch):
    calls, real = [], jobs.approximate_spectrum
    monkeypatch.setattr(jobs, "approximate_spectrum", lambda *a, **k: calls.append(1) or real(*a, **k))
    model = {"w.weight": gaussian(2600, 2400)}
    limit = resident() + (64 << 20) + cost(plan(open_source(model).tensors)[0], Wanted()).memory * 3 // 4
    first, again = (ht.analyze(model, memory_limit=limit, approximate=True, cache=tmp_path) for _ in range(2))
    assert first.bounds == again.bounds
    assert len(calls) == 1


def test_a_record_in_the_place_of_another_is_not_believed(model, cache, caplog):
    expected = ht.analyze(model, cache=cache).to_json()
    records = sorted(path for path in cache.rglob("*") if path.is_file())
    contents = [path.read_bytes() for path in records]
    for path, content in zip(records, contents[1:] + contents[:1], strict=True):
        path.write_bytes(content)
    assert ht.analyze(model, cache=cache).to_json() == expected
    assert "another's" in caplog.text
