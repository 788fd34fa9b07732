import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
from analysis.runs import finish, start, written
from cases import gaussian, student

import heavytail as ht
from heavytail.analysis.cluster import cluster
from heavytail.errors import RequestError

distributed = pytest.importorskip("distributed")

PATIENCE = 60  # seconds for a process to be ready


def waits(ready, *processes):
    """Wait until something is there; the processes must live."""
    end = time.monotonic() + PATIENCE
    while not (found := ready()):
        assert time.monotonic() < end
        assert all(process.poll() is None for process in processes)
        time.sleep(0.02)
    return found


@contextmanager
def running(folder, count):
    """A Dask scheduler and workers of one thread, whose BLAS has all processors unless we say otherwise.

    Gives the address, and the processes, the scheduler first.
    """
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    processes = []

    def begin(what, *arguments):
        with (folder / f"{what}-{len(processes)}.log").open("w") as log:
            command = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--host", "127.0.0.1", "--no-dashboard"]
            process = subprocess.Popen([*command, *arguments], env=environment, cwd=folder, stdout=log, stderr=log)
        processes.append(process)
        return process

    def address():
        try:
            return json.loads((folder / "scheduler.json").read_text())["address"]
        except (OSError, ValueError):
            return ""

    try:
        scheduler = begin("scheduler", "--port", "0", "--scheduler-file", folder / "scheduler.json")
        where = waits(address, scheduler)
        for _ in range(count):
            begin("worker", where, "--nthreads", "1", "--no-nanny")
        if count:
            with distributed.Client(where, set_as_default=False, timeout=PATIENCE) as client:
                client.wait_for_workers(count, timeout=PATIENCE)
        yield where, processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    with running(tmp_path_factory.mktemp("cluster"), 2) as found:
        yield found


def model(folder, count, rows, columns):
    arrays = {f"l{i:02}.weight": student(rows, columns, df=3, seed=i).astype(np.float32) for i in range(count)}
    arrays |= {"conv.weight": gaussian(64, 32, 3, 3).astype(np.float32), "bias": np.ones(3, np.float32)}
    return written(folder / "m.safetensors", arrays)


def held(address):
    """The results that the workers of a cluster still hold."""
    with distributed.Client(address, set_as_default=False, timeout=PATIENCE) as client:
        waits(lambda: not client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)))
        return len(client.scheduler_info()["workers"])


def test_a_small_model_on_a_cluster(two_workers, tmp_path):
    address, _ = two_workers
    source = model(tmp_path, 6, 120, 80)
    with cluster(address) as executor:
        report = ht.analyze(source, executor=executor)
    assert report.to_json() == ht.analyze(source, jobs=1).to_json()
    assert held(address) == 2


@pytest.mark.slow
def test_a_cluster_gives_the_same_report_byte_for_byte_and_is_left_as_it_was(two_workers, tmp_path):
    address, _ = two_workers
    source = model(tmp_path, 10, 400, 300)
    expected = ht.analyze(source, jobs=1).to_json()
    cache = tmp_path / "cache"
    for more in ((), ("--cache", cache), ("--cache", cache)):
        client = start(source, "--scheduler", address, "--json", "-", *more, OPENBLAS_NUM_THREADS="2")
        assert finish(client) == (0, expected)
    assert finish(start(source, "--cache", cache, "--json", "-")) == (0, expected)
    assert held(address) == 2


@pytest.mark.slow
def test_a_file_that_only_the_client_sees_gives_rows_that_say_so(two_workers, tmp_path):
    address, _ = two_workers
    source = model(tmp_path, 3, 400, 300)
    # The workers' namespace has no such file: for them it goes away once the header has been read.
    code = """
import sys
from heavytail.analysis import pipeline
from heavytail.cli import main
sizes = pipeline._sizes
pipeline._sizes = lambda source: tuple((name + ".not-there", size) for name, size in sizes(source))
sys.exit(main(sys.argv[1:]))
"""
    arguments = ["analyze", source, "--quiet", "--json", "-", "--scheduler", address]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (3, "")
    rows = json.loads(done.stdout)["layers"]
    assert [row["name"] for row in rows] == [row.name for row in ht.analyze(source).rows]
    assert {row["status"] for row in rows} == {"failed", "skipped"}
    assert all(f"cannot read {source}.not-there" in row["reason"] for row in rows if row["status"] == "failed")
    assert all(row["reason"].startswith("worker ") for row in rows if row["status"] == "failed")


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(tmp_path):
    source = model(tmp_path, 40, 1200, 900)
    cache = tmp_path / "cache"
    with running(tmp_path, 2) as (address, (_, worker, _)):
        process = start(source, "--scheduler", address, "--json", "-", "--cache", cache)
        waits(lambda: len(list(cache.rglob("*"))) > 12, process)
        worker.kill()
        assert process.poll() is None
        code, out = finish(process)
        assert held(address) == 1
    assert code == 0
    assert out == ht.analyze(source, jobs=1).to_json()


@pytest.mark.slow
def test_a_scheduler_that_is_gone_loses_nothing(tmp_path):
    source = model(tmp_path, 30, 1200, 900)
    cache = tmp_path / "cache"
    with running(tmp_path, 1) as (address, (scheduler, _)):
        process = start(source, "--scheduler", address, "--json", "-", "--cache", cache)
        waits(lambda: len(list(cache.rglob("*"))) > 12, process)
        scheduler.kill()
        assert process.poll() is None
        out, _ = process.communicate(timeout=PATIENCE)  # Dask has something to say of it
    assert process.returncode == 0
    assert out == ht.analyze(source, jobs=1).to_json()


@pytest.mark.slow
def test_a_cluster_without_workers_is_one_line(tmp_path):
    source = model(tmp_path, 1, 40, 30)
    with running(tmp_path, 0) as (address, _):
        begun = time.monotonic()
        expected = (2, f"heavytail: scheduler {address}: it has no workers\n")
        assert finish(start(source, "--scheduler", address)) == expected
        assert time.monotonic() - begun < 20


@pytest.mark.slow
def test_an_address_where_nothing_answers_is_one_line(tmp_path):
    source = model(tmp_path, 1, 40, 30)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    begun = time.monotonic()
    address = f"tcp://127.0.0.1:{port}"
    expected = (2, f"heavytail: scheduler {address}: no Dask scheduler answers there\n")
    assert finish(start(source, "--scheduler", address)) == expected
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize(
    "address", ["", "nonsense", "127.0.0.1:8786", "tcp://127.0.0.1", "tcp://[", "foo://h:1", "\x1b[2J"]
)
def test_what_is_no_address_is_one_line(address):
    with pytest.raises(RequestError, match="is no address such as tcp://") as caught, cluster(address):
        pass
    assert str(caught.value).isprintable()
