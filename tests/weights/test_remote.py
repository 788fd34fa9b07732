import gc
import io
import json
import multiprocessing
import pickle
import random
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from importlib import import_module

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save
from weights import servers
from weights.servers import FileServer, Hub, cut_after, put, refused, s3_server, silent, slow

import heavytail
from heavytail.errors import SourceError
from heavytail.weights.places import fetch, hub, remote
from heavytail.weights.places.files import LocalFile, LocalFolder
from heavytail.weights.places.remote import RemoteFile, RemoteFolder, open_url
from heavytail.weights.source import open_source

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
pytest.importorskip("aiohttp", reason="reading http:// needs aiohttp")

DATA = random.Random(0).randbytes(3_000_000)
RANGE = "bytes 0-1048575"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetch, "PAUSES", (0.01,) * 4)
    remote._block.cache_clear()
    hub._files.cache_clear()


@pytest.fixture
def server():
    with FileServer({"/model.bin": DATA}).running() as running:
        yield running


def read(file, start=0, count=1 << 20):
    with file.open() as stream:
        stream.seek(start)
        return stream.read(count)


def weights(seed=0, count=3):
    rng = np.random.default_rng(seed)
    return {f"layer{i}.weight": rng.standard_normal((300, 700)).astype(np.float32) for i in range(count)}


def spans(data):
    """Where the tensors of a safetensors file stand, by its own header."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return {
        name: tuple(8 + length + offset for offset in entry["data_offsets"])
        for name, entry in header.items()
        if name != "__metadata__"
    }


def sharded(count=3):
    """Give the files of a sharded model and its tensors."""
    files, everything, places = {}, {}, {}
    for i in range(1, count + 1):
        name = f"model-{i:05}-of-{count:05}.safetensors"
        tensors = {f"{i}.{key}": value for key, value in weights(i).items()}
        files[name] = save(tensors)
        everything.update(tensors)
        places.update(dict.fromkeys(tensors, name))
    files["model.safetensors.index.json"] = json.dumps({"weight_map": places}).encode()
    return files, everything


def check(source, expected):
    assert sorted(t.name for t in source.tensors) == sorted(expected)
    for tensor in source.tensors:
        np.testing.assert_array_equal(tensor.read(), expected[tensor.name], strict=True)


# The same model in several containers.


def as_safetensors(tensors, path):
    path.write_bytes(save(tensors))


def as_torch_zip(tensors, path):
    torch.save({name: torch.from_numpy(value) for name, value in tensors.items()}, path)


def as_torch_legacy(tensors, path):
    state = {name: torch.from_numpy(value) for name, value in tensors.items()}
    torch.save(state, path, _use_new_zipfile_serialization=False)


def as_npz(tensors, path):
    with path.open("wb") as stream:
        np.savez(stream, **tensors)


def as_packed_npz(tensors, path):
    with path.open("wb") as stream:
        np.savez_compressed(stream, **tensors)


def as_gguf(tensors, path):
    gguf = pytest.importorskip("gguf", reason="writing a GGUF file needs the gguf package")
    writer = gguf.GGUFWriter(path, "llama")
    for name, value in tensors.items():
        writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize(
    "write", [as_safetensors, as_torch_zip, as_torch_legacy, as_npz, as_packed_npz, as_gguf], ids=lambda w: w.__name__
)
def test_a_container_gives_the_same_tensors_behind_a_url_as_on_a_disk(write, server, tmp_path):
    tensors = weights()
    write(tensors, tmp_path / "model")
    server.files["/some/model.data"] = (tmp_path / "model").read_bytes()
    here, there = open_source(tmp_path / "model"), open_source(f"{server.base}/some/model.data")
    assert there.format == here.format
    assert there.files == (there.name,) == (f"{server.base}/some/model.data",)
    described = [(t.name, t.shape, t.dtype, t.stored, t.hint, t.problem) for t in here.tensors]
    assert [(t.name, t.shape, t.dtype, t.stored, t.hint, t.problem) for t in there.tensors] == described
    check(there, tensors)


def test_any_seeks_and_reads_give_what_a_file_in_memory_gives(server, monkeypatch):
    monkeypatch.setattr(remote, "_BLOCK", 64)
    monkeypatch.setattr(remote, "_PIECE", 256)
    data = server.files["/model.bin"] = DATA[:1000]
    file = open_url(f"{server.base}/model.bin")

    @settings(max_examples=15, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 2), st.integers(-300, 1200), st.integers(-1, 900)), max_size=8))
    def check_steps(steps):
        remote._block.cache_clear()
        theirs = io.BytesIO(data)
        with file.open() as ours:
            for whence, offset, count in steps:
                target = (0, theirs.tell(), len(data))[whence] + offset
                if target >= 0:
                    assert ours.seek(offset, whence) == theirs.seek(target)
                assert ours.read(count) == theirs.read(count)

    check_steps()


# What is asked for.


def test_a_sharded_model_is_described_in_two_requests_a_file(server):
    files, expected = sharded()
    server.files = {f"/m/{name}": data for name, data in files.items()}
    source = open_source(f"{server.base}/m/model.safetensors.index.json")
    for path, data in server.files.items():
        assert server.ranges(path) == [(0, 1), (0, min(len(data), 1 << 19))]
    assert len(server.log) == 2 * len(files)
    assert {r.method for r in server.log} == {"GET"}
    check(source, expected)


def test_one_tensor_costs_its_bytes_and_no_others(server):
    tensors = {name: np.full((rows, 2000), rows, np.float32) for name, rows in (("a", 100), ("b", 2300), ("c", 300))}
    data = server.files["/m.safetensors"] = save(tensors)
    source = open_source(f"{server.base}/m.safetensors")
    server.log.clear()
    tensor = next(t for t in source.tensors if t.name == "b")
    np.testing.assert_array_equal(tensor.read(), tensors["b"])
    start, stop = spans(data)["b"]
    middle = start + (1 << 24)  # larger ranges are asked for in pieces
    assert server.ranges("/m.safetensors") == [(start, middle), (middle, stop)]
    assert server.sent == stop - start == tensors["b"].nbytes


def test_an_analysis_of_one_layer_reads_the_header_and_that_layer(server):
    rng = np.random.default_rng(0)
    names = [f"model.layers.{i}.mlp.up_proj.weight" for i in range(4)]
    data = save({name: rng.standard_normal((400, 900)).astype(np.float32) for name in names})
    server.files["/m.safetensors"] = data
    url = f"{server.base}/m.safetensors"
    table = heavytail.analyze(url, layers="model.layers.2.*").table
    assert len(table) == 1
    assert server.ranges("/m.safetensors")[:2] == [(0, 1), (0, 1 << 19)]
    start, stop = spans(data)["model.layers.2.mlp.up_proj.weight"]
    for first, last in server.ranges("/m.safetensors")[2:]:
        assert start <= first < last <= stop


def test_small_tensors_that_stand_together_share_requests(server):
    data = server.files["/m.safetensors"] = save({f"norm{i:03}": np.full(64, i, np.float32) for i in range(200)})
    source = open_source(f"{server.base}/m.safetensors")
    check(source, load(data))
    assert len(server.log) == 2


@pytest.mark.parametrize("window", [1 << 12, 1 << 16])
def test_a_file_without_marks_that_is_read_in_order_is_sent_once(window, server):
    server.stamped = False
    file = open_url(f"{server.base}/model.bin")
    with file.open() as stream:
        assert b"".join(iter(lambda: stream.read(window), b"")) == DATA
    assert server.sent <= len(DATA) + 1


def test_nothing_kept_is_given_for_a_file_without_marks(server):
    server.stamped = False
    file = open_url(f"{server.base}/model.bin")
    assert read(file, 0, 100) == DATA[:100]
    server.files["/model.bin"] = DATA[::-1]
    assert read(file, 0, 100) == DATA[::-1][:100]


# What goes wrong on the way.


def test_a_cut_connection_is_continued_where_it_was_cut(server):
    file = open_url(f"{server.base}/model.bin")
    server.log.clear()
    server.order("/model.bin", cut_after(100_000), cut_after(0), cut_after(300_000))
    assert read(file) == DATA[: 1 << 20]
    asked = server.ranges("/model.bin")
    assert [stop for _, stop in asked] == [1 << 20] * 4
    starts = [start for start, _ in asked]
    assert starts == sorted(starts)
    assert starts[0] == 0
    assert starts[2] == starts[1] <= 100_000
    assert starts[3] <= 400_000
    assert starts[3] > 0  # what had come was kept


def test_a_connection_that_is_always_cut_is_an_error_with_the_url_and_the_range(server):
    file = open_url(f"{server.base}/model.bin")
    server.log.clear()
    server.always("/model.bin", cut_after(10))
    with pytest.raises(SourceError, match=r"model.bin: bytes 0-1048575 could not be read in 5 tries: the conn.* cut$"):
        read(file)
    assert len(server.log) == 5


def test_busy_servers_are_asked_again(server):
    server.order("/model.bin", refused(500), refused(503), refused(429), servers.fine, refused(502))
    file = open_url(f"{server.base}/model.bin")
    assert read(file) == DATA[: 1 << 20]


def test_a_server_that_stays_broken_is_named_with_its_answer(server):
    server.always("/model.bin", refused(503))
    with pytest.raises(SourceError, match=r"in 5 tries: the server answers HTTP 503 Service Unavailable$"):
        open_url(f"{server.base}/model.bin")


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (servers.fewer, f"{RANGE} could not be read in 5 tries: the server stopped 1 bytes early"),
        (servers.more, f"its server sent more than {RANGE}"),
        (servers.shifted, f"was asked for {RANGE}, its server answers with bytes 1-1048576/3000000"),
        (servers.of_unknown_total, rf"was asked for {RANGE}, its server answers with {RANGE}/\*"),
        (servers.packed, "its server sends it compressed"),
        (servers.whole, "its server does not send parts of a file, only the whole; download it first"),
        (refused(404), r"no such file \(HTTP 404 Not Found\)"),
        (refused(410), r"no such file \(HTTP 410 Gone\)"),
        (refused(401), r"access is refused \(HTTP 401 Unauthorized\)"),
        (refused(403), r"access is refused \(HTTP 403 Forbidden\)"),
        (refused(416), "changed while it was being read"),
        (refused(400), "the server answers HTTP 400 Bad Request"),
        (servers.page, "is a web page, not a file"),
    ],
)
def test_a_wrong_answer_is_never_taken_for_the_bytes(fault, problem, server):
    file = open_url(f"{server.base}/model.bin")
    server.always("/model.bin", fault)
    with pytest.raises(SourceError, match=f"^{server.base}/model.bin: {problem}"):
        read(file)


def test_a_range_that_came_short_once_is_completed(server):
    file = open_url(f"{server.base}/model.bin")
    server.order("/model.bin", servers.fewer)
    assert read(file) == DATA[: 1 << 20]
    assert server.ranges("/model.bin")[-1] == ((1 << 20) - 1, 1 << 20)


@pytest.mark.parametrize("fault", [servers.whole, servers.whole_of_unknown_length])
def test_a_server_without_ranges_is_refused_before_it_has_sent_the_file(fault, server):
    server.files["/model.bin"] = bytes(1 << 28)
    server.always("/model.bin", fault)
    with pytest.raises(SourceError, match="only the whole; download it first"):
        open_url(f"{server.base}/model.bin")
    deadline = time.monotonic() + 5
    while not server.log[-1].ended and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.sent < 1 << 24  # what fits into the buffers of the connection


def test_an_empty_file_has_no_bytes(server):
    server.files["/empty.bin"] = b""
    file = open_url(f"{server.base}/empty.bin")
    assert (file.size, read(file)) == (0, b"")


def test_a_silent_server_is_not_waited_for_for_ever(server, monkeypatch):
    file = open_url(f"{server.base}/model.bin")
    monkeypatch.setattr(fetch, "SILENCE", 0.1)
    server.always("/model.bin", silent(0.5))
    began = time.monotonic()
    with pytest.raises(SourceError, match=f"{RANGE} could not be read in 5 tries: no answer in time"):
        read(file)
    assert time.monotonic() - began < 3


def test_a_port_where_nobody_listens_is_an_error_of_one_line():
    with FileServer().running() as server:
        gone = server.base
    with pytest.raises(SourceError, match=r"^http.*: the first byte .* 127.0.0.1 cannot be reached \(Connection refus"):
        open_url(f"{gone}/model.bin")


def test_a_redirect_is_followed(server):
    server.always("/here.bin", servers.moved(f"{server.base}/model.bin"))
    file = open_url(f"{server.base}/here.bin")
    assert file.name == "here.bin"
    assert read(file) == DATA[: 1 << 20]
    server.always("/round.bin", servers.moved("/round.bin"))
    with pytest.raises(SourceError, match="is redirected in circles"):
        open_url(f"{server.base}/round.bin")


def test_any_nonsense_of_a_server_is_an_error_or_the_bytes(server, monkeypatch):
    monkeypatch.setattr(fetch, "PAUSES", ())
    rng = random.Random(1)
    stated = ["bytes 0-0/" + "9" * 5000, "bytes 0-0/\xb2", "bytes */3000000", "bytes 0-/3", "bytes 0-0/0", "0-0/3"]
    stated += ["bytes 5-1/3", "bytes\t0-0/3000000", "", "bytes 0-1048575/3000000", *["bytes 0-0/3000000"] * 8]
    opened = 0
    for _ in range(100):
        status = rng.choice([*[206] * 8, 200, 204, 300, 304, 307, 416, 418, 599, 999])
        headers = {"Content-Range": rng.choice(stated), "ETag": rng.choice(['"a"', "W/x", "", "\xff", "é" * 99])}
        headers |= rng.choice([{}, {"Location": rng.choice(["", "::", "http://", "/model.bin#", "//"])}])
        body, length = DATA[: rng.choice([0, 1, 1, 1, 2, 1 << 20])], rng.choice([None, None, None, -1, 0, 1, 1 << 40])
        server.always("/model.bin", servers.nonsense(status, headers, body, length))
        try:
            file = open_url(f"{server.base}/model.bin")
            assert file.size in (0, len(DATA))
            opened += 1
            assert read(file) == DATA[: min(file.size, 1 << 20)]
        except SourceError as error:
            assert str(error).isprintable()  # noqa: PT017
    assert 3 < opened < 50


# A file that changes.


def test_a_file_replaced_between_requests_is_noticed_by_the_server(server):
    file = open_url(f"{server.base}/model.bin")
    server.files["/model.bin"] = DATA[::-1]
    with pytest.raises(SourceError, match=r"model.bin: changed while it was being read \(HTTP 412"):
        read(file)
    assert server.log[-1].headers["if-match"] == file.mark


def test_a_new_mark_or_a_new_size_is_noticed_where_the_server_checks_no_condition(server):
    server.stamped = False

    def dated(day):
        def answer(handler, data):
            start, stop = handler.request_seen.range
            handler.part(data, start, min(stop, len(data)), **{"Last-Modified": f"Fri, {day} Jan 2026 00:00:00 GMT"})

        return answer

    server.order("/model.bin", dated("02"), dated("09"))
    with pytest.raises(SourceError, match="changed while it was being read"):
        read(open_url(f"{server.base}/model.bin"))
    file = open_url(f"{server.base}/model.bin")
    server.files["/model.bin"] = DATA + b"x"
    with pytest.raises(SourceError, match="changed while it was being read: 3000000 bytes became 3000001"):
        read(file)


def test_a_file_replaced_in_the_middle_of_a_range_is_not_joined_with_the_old_one(server):
    file = open_url(f"{server.base}/model.bin")
    server.order("/model.bin", cut_after(1000), servers.replaced(DATA[::-1]))
    with pytest.raises(SourceError, match="changed while it was being read"):
        read(file)


def test_a_weak_mark_is_no_condition_but_is_compared(server):
    server.stamped = False

    def weak(mark):
        def answer(handler, data):
            start, stop = handler.request_seen.range
            handler.part(data, start, min(stop, len(data)), ETag=mark)

        return answer

    server.order("/model.bin", weak('W/"a"'), weak('W/"a"'), weak('W/"b"'))
    file = open_url(f"{server.base}/model.bin")
    assert read(file) == DATA[: 1 << 20]
    assert "if-match" not in server.log[-1].headers
    with pytest.raises(SourceError, match="changed"):
        read(file, 1 << 20)


def test_the_stamp_tells_contents_apart_and_is_empty_where_nothing_is_known(server):
    first = open_url(f"{server.base}/model.bin")
    assert open_url(f"{server.base}/model.bin") == first
    assert first.stamp.endswith(":3000000")
    server.files["/model.bin"] = DATA[::-1]
    assert open_url(f"{server.base}/model.bin").stamp not in ("", first.stamp)
    server.stamped = False
    assert open_url(f"{server.base}/model.bin").stamp == ""


# Secrets.


def test_a_password_and_a_signature_reach_the_server_and_no_text(server):
    files, _ = sharded(1)
    server.files = {f"/m/{name}": data for name, data in files.items()}
    host = server.base.removeprefix("http://")
    url = f"http://user:pass%40word@{host}/m/model.safetensors.index.json?sig=hush&x=1#part"
    source = open_source(url)
    assert source.name == f"http://{host}/m/model.safetensors.index.json?..."
    assert source.files == (f"http://{host}/m/model-00001-of-00001.safetensors?...",)
    assert all(r.query == "sig=hush&x=1" and r.headers["authorization"].startswith("Basic ") for r in server.log)
    texts = [source.name, *source.files, *(f"{t.origin} {t.storage} {t!r}" for t in source.tensors)]
    for fault in (refused(403), refused(404), refused(503), servers.whole, servers.shifted, servers.moved("http://[")):
        server.always("/m/model-00001-of-00001.safetensors", fault)
        for act in (lambda: open_source(url), lambda: source.tensors[0].read()):
            with pytest.raises(SourceError) as caught:
                act()
            texts.append(str(caught.value))
            assert caught.value.__cause__ is None
    texts += [repr(open_url(url)), str(open_url(url)), open_url(url).name]
    for text in texts:
        assert not any(secret in text for secret in ("hush", "pass", "user", "word@"))


def test_a_password_is_not_sent_on_to_another_server(server):
    with FileServer({"/model.bin": DATA}).running() as other:
        server.always("/model.bin", servers.moved(f"{other.base}/model.bin"))
        host = server.base.removeprefix("http://")
        assert read(open_url(f"http://user:secret@{host}/model.bin")) == DATA[: 1 << 20]
        assert all("authorization" in r.headers for r in server.log)
        assert not any("authorization" in r.headers for r in other.log)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/a.bin", "https://h/a.bin"),
        ("https://u:p@h:8/a.bin?X-Amz-Signature=1", "https://h:8/a.bin?..."),
        ("HTTPS://u:p@x@h/a#b", "HTTPS://h/a#..."),
        ("https://u:p q@h/a b?s=1 2\n3", "https://h/a b?..."),
        ("hf://org/model@refs/pr/1/a.bin", "hf://org/model@refs/pr/1/a.bin"),
        ("s3://bucket/a?b.bin", "s3://bucket/a?b.bin"),
        ("sftp://u:p@h/a@b.bin", "sftp://h/a@b.bin"),
        ("simplecache::https://u:p@h/a?s=1", "simplecache::https://h/a?..."),
        ("zip://a.bin::https://u:p@h/a?s=1::x", "zip://a.bin::https://h/a?...::x"),
    ],
)
def test_a_url_is_shown_without_what_may_be_secret(url, shown):
    assert fetch.redacted(url) == shown


# Threads and processes.


def test_threads_read_one_file_at_the_same_time(server):
    data = server.files["/m.safetensors"] = save(weights(count=4))
    source = open_source(f"{server.base}/m.safetensors")
    server.log.clear()
    server.always("/m.safetensors", slow(0.25))
    with ThreadPoolExecutor(4) as pool:
        values = dict(zip([t.name for t in source.tensors], pool.map(lambda t: t.read(), source.tensors), strict=True))
    for name, value in load(data).items():
        np.testing.assert_array_equal(values[name], value)
    moments = [r.began for r in server.log]
    assert any(sum(r.began <= moment < r.ended for r in server.log) >= 2 for moment in moments)


def test_a_tensor_can_be_read_in_a_process_started_from_nothing(server):
    server.files["/m.safetensors"] = save(weights())
    tensors = open_source(f"{server.base}/m.safetensors?sig=1").tensors
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        for tensor, value in [(tensor, pool.submit(tensor.read)) for tensor in tensors]:
            np.testing.assert_array_equal(value.result(), weights()[tensor.name])
    assert pickle.loads(pickle.dumps(tensors[0].blocks)).args == tensors[0].blocks.args


def _read_and_leave(file):
    assert read(file, 0, 10) == DATA[:10]
    gc.collect()  # what the fork dropped would be closed now


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_leaves_the_connections_of_its_parent_alone(server):
    file = open_url(f"{server.base}/model.bin")
    assert read(file, 0, 10) == DATA[:10]
    remote._block.cache_clear()
    child = multiprocessing.get_context("fork").Process(target=_read_and_leave, args=(file,))
    child.start()
    child.join(20)
    assert child.exitcode == 0
    began = time.monotonic()
    assert read(file) == DATA[: 1 << 20]
    assert time.monotonic() - began < fetch.SILENCE / 2


def test_nothing_is_printed_and_nothing_is_left_open_at_exit(server):
    server.files["/m.safetensors"] = save(weights())
    script = f"""
import threading
from heavytail.weights.source import open_source
source = open_source({server.base + "/m.safetensors"!r})
threads = [threading.Thread(target=t.read) for t in source.tensors]
[t.start() for t in threads]
[t.join() for t in threads]
blocks = source.tensors[0].blocks(10)
next(blocks)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# Folders on the web.


@pytest.mark.parametrize("end", ["/m/", "/m"])
def test_a_folder_on_the_web_is_asked_for_the_names_of_models(end, server):
    files, expected = sharded(2)
    server.files = {f"/m/{name}": data for name, data in files.items()}
    source = open_source(server.base + end)
    assert source.name == server.base + end
    check(source, expected)
    server.files = {"/m/pytorch_model.bin": b"", "/m/model.safetensors": save(weights())}
    assert open_source(server.base + end).files == (f"{server.base}/m/model.safetensors",)


def test_a_folder_without_such_names_says_what_to_give(server):
    with pytest.raises(SourceError, match=r"a folder on the web cannot be listed, and this one holds none of model\."):
        open_url(f"{server.base}/nothing/")
    with pytest.raises(SourceError, match=r"/nothing: no such file"):
        open_url(f"{server.base}/nothing")
    with pytest.raises(SourceError, match="no such file"):
        open_url(f"{server.base}/nothing.bin")


def circle(handler, data):
    handler.send(302, {"Location": handler.path}, b"")


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (refused(403), r"/m: access is refused \(HTTP 403"),
        (refused(503), r"/m: the first byte could not be read in \d tries: the server answers HTTP 503"),
        (circle, "/m: is redirected in circles"),
        (cut_after(0), r"/m: the first byte could not be read in \d tries: "),
    ],
)
def test_what_is_refused_is_not_taken_for_a_folder(fault, problem, server):
    server.files = {"/m": b"x", "/m/model.safetensors": save(weights())}
    server.always("/m", fault)
    with pytest.raises(SourceError, match=problem):
        open_url(f"{server.base}/m")
    assert {request.path for request in server.log} == {"/m"}


def test_a_page_for_people_may_stand_for_a_folder(server):
    server.files = {"/m": b"", "/m/model.safetensors": save(weights())}
    server.always("/m", servers.page)
    assert open_url(f"{server.base}/m").names() == ["model.safetensors"]
    del server.files["/m/model.safetensors"]
    with pytest.raises(SourceError, match="/m: is a web page, not a file"):
        open_url(f"{server.base}/m")


def test_a_missing_shard_is_named(server):
    files, _ = sharded(2)
    server.files = {f"/{name}": data for name, data in files.items() if "00002-of" not in name}
    with pytest.raises(SourceError, match=r"names the shard 'model-00002-of-00002\.safetensors', which is missing"):
        open_source(f"{server.base}/model.safetensors.index.json")


def test_a_file_cut_short_fails_as_it_does_on_a_disk(server, tmp_path):
    data = save(weights())
    for size in (0, 1, 8, 100, len(data) - 1):
        (tmp_path / "m.bin").write_bytes(data[:size])
        server.files["/m.bin"] = data[:size]
        with pytest.raises(SourceError) as here:
            open_source(tmp_path / "m.bin")
        with pytest.raises(SourceError) as there:
            open_source(f"{server.base}/m.bin")
        assert str(there.value) == str(here.value).replace(str(tmp_path), server.base)


# Other places.


def test_a_file_url_is_a_local_file(tmp_path):
    (tmp_path / "m.bin").write_bytes(b"1")
    assert open_url(f"file://{tmp_path}/m.bin") == LocalFile(tmp_path / "m.bin")
    assert open_url(f"file://{tmp_path}") == LocalFolder(tmp_path)
    with pytest.raises(SourceError, match="no such file or folder"):
        open_url(f"file://{tmp_path}/absent")


@pytest.fixture
def memory():
    fs = fsspec.filesystem("memory")
    yield fs
    fs.store.clear()


def test_any_filesystem_of_fsspec_is_read(memory):
    files, expected = sharded(2)
    memory.pipe({f"/m/{name}": data for name, data in files.items()})
    memory.pipe("/m/inside/notes.txt", b"")
    folder = open_url("memory://m")
    assert isinstance(folder, RemoteFolder)
    assert sorted(folder.names()) == sorted(files)
    check(open_source("memory://m"), expected)
    with pytest.raises(SourceError, match="memory://absent: no such file or folder"):
        open_url("memory://absent")


def test_a_file_of_any_filesystem_that_changed_is_noticed(memory):
    memory.pipe("/m.bin", DATA)
    file = open_url("memory://m.bin")
    assert read(file) == DATA[: 1 << 20]
    memory.pipe("/m.bin", DATA[::-1])
    with pytest.raises(SourceError, match=r"memory://m.bin: changed since it was described"):
        read(file)


@pytest.mark.parametrize("wrong", [-1, 1])
def test_a_filesystem_that_gives_another_length_is_not_believed(wrong, memory, monkeypatch):
    memory.pipe("/m.bin", DATA)
    file = open_url("memory://m.bin")
    monkeypatch.setattr(type(memory), "cat_file", lambda fs, path, start, end: bytes(end - start + wrong))
    with pytest.raises(SourceError, match=f"{RANGE} could not be read in 5 tries: {(1 << 20) + wrong} bytes came"):
        read(file)


@pytest.mark.parametrize(
    "url", ["http://[a]/m.bin", "https://u:p@[/m.bin", "s3://b/\x1b[2J", "http://h/a\nb", "http:////["]
)
def test_an_address_that_is_none_is_an_error_of_one_line(url):
    with pytest.raises(SourceError, match=r"is no valid address$") as caught:
        open_url(url)
    assert str(caught.value).isprintable()
    assert "u:p" not in str(caught.value)


def test_an_unknown_protocol_is_an_error_of_one_line():
    with pytest.raises(SourceError, match=r"^nonsense://a/b: cannot be opened: Protocol not known: nonsense$"):
        open_url("nonsense://a/b")


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [
        ("https://h/m.bin", "aiohttp", "http"),
        ("s3://bucket/m.bin", "s3fs", "s3"),
        ("gs://bucket/m.bin", "gcsfs", "gs"),
        ("hf://org/model", "huggingface_hub", "hub"),
    ],
)
def test_a_missing_package_is_named_by_the_extra_that_installs_it(url, module, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(import_module("fsspec.registry")._registry, url.partition(":")[0], raising=False)
    fetch._filesystem.cache_clear()
    remedy = rf"needs the {module} package: pip install 'heavytail\[{extra}\]'"
    with pytest.raises(SourceError, match=rf"^{url}: reading .*:// {remedy}$"):
        open_url(url)


# S3.


@pytest.fixture(scope="module")
def store():
    pytest.importorskip("s3fs", reason="reading s3:// needs s3fs")
    pytest.importorskip("moto", reason="the S3 server of the tests is moto's")
    with s3_server() as base:
        put(base, "/models")
        yield base


@pytest.fixture
def s3(store, monkeypatch):
    import s3fs

    def forget():
        fetch._filesystem.cache_clear()
        s3fs.S3FileSystem.clear_instance_cache()

    forget()
    monkeypatch.setenv("AWS_ENDPOINT_URL", store)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    yield store
    forget()


def test_a_sharded_model_on_s3_is_found_by_its_folder_and_by_its_index(s3):
    files, expected = sharded()
    for name, data in files.items():
        put(s3, f"/models/llm/{name}", data)
    put(s3, "/models/llm/original/other.bin", b"1")
    folder = open_url("s3://models/llm")
    assert sorted(folder.names()) == sorted(files)
    one = folder.file("model.safetensors.index.json")
    assert one == open_url("s3://models/llm/model.safetensors.index.json")
    assert one.stamp
    assert one.beside("nothing.bin") is None
    check(open_source("s3://models/llm"), expected)
    check(open_source("s3://models/llm/model.safetensors.index.json"), expected)


def test_an_object_replaced_on_s3_is_noticed(s3):
    put(s3, "/models/changing.bin", DATA)
    file = open_url("s3://models/changing.bin")
    assert read(file) == DATA[: 1 << 20]
    put(s3, "/models/changing.bin", DATA[::-1])
    with pytest.raises(SourceError, match=r"^s3://models/changing.bin: changed while it was being read$"):
        read(file, 1 << 20)
    assert open_url("s3://models/changing.bin").stamp != file.stamp


@pytest.mark.parametrize("url", ["s3://no-such-bucket/m.bin", "s3://no-such-bucket", "s3://models/no-such-key"])
def test_what_is_not_on_s3_is_an_error_of_one_line(url, s3):
    with pytest.raises(SourceError, match=f"^{url}: no such file or folder$"):
        open_url(url)


def test_s3_without_credentials_says_what_to_set(s3, monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(SourceError, match=r"s3://models/m.bin: no credentials were found: set AWS_PROFILE or"):
        open_url("s3://models/m.bin")


# A hub.


@pytest.fixture
def repository(monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants", reason="reading hf:// needs huggingface_hub")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", "/nonexistent/token")
    with FileServer().running() as store, FileServer().running() as front:
        monkeypatch.setattr(constants, "ENDPOINT", front.base)
        yield Hub(store, front)


@pytest.mark.parametrize("place", ["hf://org/model", "hf://org/model@main", "hf://models/org/model/"])
def test_a_repository_on_a_hub_is_read_from_where_the_hub_sends_its_files(place, repository):
    files, expected = sharded(2)
    repository.publish({**files, "config.json": b"{}"})
    source = open_source(place)
    assert source.name == place
    check(source, expected)
    asked = [r for r in repository.front.log if r.path.startswith("/api/")]
    assert len(asked) == 2  # the commit, and its files
    assert not any("Signature" in text for text in (source.name, *source.files))


def test_one_file_of_a_hub_is_read_at_the_commit_that_it_was_opened_at(repository):
    repository.publish({"model.safetensors": save(weights())})
    source = open_source("hf://org/model/model.safetensors")
    check(source, weights())
    repository.commit = "d" * 40
    repository.publish({"model.safetensors": save(weights(1))})
    check(source, weights())
    check(open_source("hf://org/model/model.safetensors"), weights(1))


def test_the_token_goes_to_the_hub_and_not_to_the_store(repository, monkeypatch):
    repository.publish({"model.safetensors": save(weights())})
    repository.token = "hf_secret"
    with pytest.raises(SourceError, match=r"^hf://org/model: no such repository, or a private one: set HF_TOKEN"):
        open_source("hf://org/model")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    check(open_source("hf://org/model"), weights())
    assert repository.front.log[-1].headers["authorization"] == "Bearer hf_secret"
    assert repository.store.log
    assert not any("authorization" in r.headers for r in repository.store.log)


def test_a_gated_model_says_what_it_needs(repository):
    repository.publish({"model.safetensors": save(weights())})
    repository.token, repository.gated = "hf_secret", True
    with pytest.raises(SourceError, match=r"access is refused \(HTTP 403 .*gated model needs HF_TOKEN"):
        open_source("hf://org/model")


def test_what_a_hub_has_not_is_an_error_of_one_line(repository):
    repository.publish({"model.safetensors": save(weights())})
    missing = refused(401, **{"X-Error-Code": "RepoNotFound"})
    repository.front.always("/api/models/org/other/revision/main", missing)
    repository.front.always("/api/models/org/model/revision/v2", refused(404, **{"X-Error-Code": "RevisionNotFound"}))
    for url, problem in (
        ("hf://org/other", "no such repository"),
        ("hf://org/model@v2", "there is no revision 'v2'"),
        ("hf://org/model/absent.bin", "no such file in the repository at commit ccc"),
        ("hf://gpt2", "is not of the form hf://"),
    ):
        with pytest.raises(SourceError, match=f"^{url}: {problem}"):
            open_url(url)


def test_the_hub_is_understood_as_its_own_library_understands_it(repository, monkeypatch, tmp_path):
    import huggingface_hub

    monkeypatch.setattr(import_module("huggingface_hub.constants"), "AGENT_HARNESSES_PATH", str(tmp_path / "none"))
    repository.publish({"model.safetensors": save(weights()), "sub/a b.bin": DATA})
    info = huggingface_hub.HfApi(repository.front.base).model_info("org/model", revision="main", files_metadata=True)
    assert {(s.rfilename, s.size, s.blob_id) for s in info.siblings} == {
        (name, *hub.entry(f"hf://org/model/{name}", info.sha)) for name in ("model.safetensors", "sub/a b.bin")
    }
    for name in ("model.safetensors", "sub/a b.bin"):
        address, _ = hub.address(f"hf://org/model/{name}", info.sha)
        theirs = huggingface_hub.hf_hub_url("org/model", name, revision=info.sha, endpoint="https://huggingface.co")
        assert address.removeprefix(repository.front.base) == theirs.removeprefix("https://huggingface.co")
    assert open_url("hf://org/model").names() == ["model.safetensors"]
    assert open_url("hf://org/model/sub").names() == ["a b.bin"]


@pytest.mark.parametrize(
    "answer",
    [
        *("", "[]", "{}", "[" * 100_000, '{"sha": "../../x"}', '{"sha": 1}', '{"sha": "%s"}'),
        *('{"sha": "%s", "siblings": [{}]}', '{"sha": "%s", "siblings": [{"rfilename": "a", "size": "x"}]}'),
    ],
)
def test_a_nonsensical_hub_is_an_error_of_one_line(answer, repository):
    body = answer.replace("%s", "c" * 40).encode()
    for revision in ("main", "c" * 40):
        repository.front.always(f"/api/models/org/model/revision/{revision}", servers.nonsense(200, {}, body, None))
    with pytest.raises(SourceError, match=r"^hf://org/model.*: (damaged|holds no|no such file)"):
        open_source("hf://org/model")


def test_a_hub_that_is_busy_is_asked_again(repository):
    repository.publish({"model.safetensors": save(weights())})
    path = "/api/models/org/model/revision/main"
    usual = repository.front.faults[path]
    repository.front.order(path, refused(503), refused(429), next(usual))
    check(open_source("hf://org/model"), weights())


def test_a_remote_file_follows_the_protocol_of_files(server):
    file = open_url(f"{server.base}/model.bin")
    assert isinstance(file, RemoteFile)
    assert (file.name, file.size, str(file)) == ("model.bin", len(DATA), f"{server.base}/model.bin")
    assert pickle.loads(pickle.dumps(file)) == file
    assert hash(file) == hash(pickle.loads(pickle.dumps(file)))
    server.files["/b c%25.bin"] = b"1"
    assert file.beside("b c%25.bin").name == "b c%25.bin"
    assert file.beside("absent.bin") is None
