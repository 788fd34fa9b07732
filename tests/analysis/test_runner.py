import multiprocessing
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import pytest
import torch
from analysis import workers
from analysis.runs import layers, records, written
from cases import gaussian
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

import heavytail as ht
from heavytail.analysis import estimate, jobs
from heavytail.analysis.admission import admitted
from heavytail.analysis.jobs import Job, OutdatedWorkerError, UnreachableFileError, run_elsewhere
from heavytail.errors import RequestError


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return written(tmp_path_factory.mktemp("model") / "m.safetensors")


@pytest.fixture(scope="module")
def expected(model):
    return ht.analyze(model, jobs=1).to_json()


def pool(count, initializer=None, *arguments):
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer, arguments)


class Here(Executor):
    """Runs what it is given at once, unless `fault` makes an error of it."""

    def __init__(self, fault=lambda task, attempt: None):
        self.fault, self.attempts = fault, Counter()

    def submit(self, function, /, *arguments):
        version, pickled = arguments
        name = pickle.loads(pickled)[0].plan.tensor.name
        self.attempts[name] += 1
        future = Future()
        error = self.fault(name, self.attempts[name])
        try:
            if error is not None:
                raise error
            future.set_result(pickle.loads(pickle.dumps(function(version, pickled))))
        except Exception as failure:
            future.set_exception(failure)
        return future


@pytest.fixture
def counted(monkeypatch):
    """Count how often each row is measured in this process."""
    seen, lock, real = Counter(), threading.Lock(), jobs._measured

    def counting(job, part, *rest):
        with lock:
            seen[part.name] += 1
        return real(job, part, *rest)

    monkeypatch.setattr(jobs, "_measured", counting)
    return seen


# ----------------------------------------------------------------------------------------------------------- executors


def test_a_pool_of_processes_gives_the_same_report_byte_for_byte(model, expected, tmp_path):
    steps = []
    with pool(2) as executor:
        assert ht.analyze(model, executor=executor, progress=lambda *step: steps.append(step)).to_json() == expected
        # What workers did is kept here, and what is kept is not done again.
        assert ht.analyze(model, executor=executor, cache=tmp_path).to_json() == expected
        kept = {path: path.stat().st_mtime_ns for path in records(tmp_path)}
        assert ht.analyze(model, executor=executor, cache=tmp_path).to_json() == expected
        assert ht.analyze(model, cache=tmp_path).to_json() == expected
        assert ht.analyze(model, executor=executor, bootstrap=40).to_json() == ht.analyze(model, bootstrap=40).to_json()
        assert ht.analyze(layers(), executor=executor).to_json() == ht.analyze(layers()).to_json()
        assert executor.submit(os.getpid).result() != os.getpid()  # it still is of use
    assert {path: path.stat().st_mtime_ns for path in records(tmp_path)} == kept
    names, done, total = zip(*steps, strict=True)
    assert sorted(names) == sorted(layers())
    assert done[-1] == pytest.approx(total[0])
    assert list(done) == sorted(done)


def test_a_pool_of_threads_gives_the_same_report_and_computes_nothing_twice(model, expected, counted):
    rows = [row.name for row in ht.analyze(model).rows if row.status == "ok"]
    counted.clear()
    with ThreadPoolExecutor(3) as executor:
        assert ht.analyze(model, executor=executor).to_json() == expected
        assert executor.submit(int).result() == 0
    assert counted == dict.fromkeys(rows, 1)


@pytest.mark.parametrize("convention", ["default", "weightwatcher"])
@pytest.mark.parametrize("conv", ["slices", "unfold", "operator"])
def test_all_that_goes_to_a_worker_and_comes_back_can_be_pickled(model, conv, convention):
    if convention == "weightwatcher" and conv != "slices":
        pytest.skip("read as slices alone")
    options = {"conv": conv, "convention": convention}
    assert ht.analyze(model, executor=Here(), **options).to_json() == ht.analyze(model, **options).to_json()


def test_jobs_of_files_carry_no_numbers(tmp_path):
    sizes = []

    class Weighed(Here):
        def submit(self, function, /, *arguments):
            sizes.append(len(pickle.dumps(arguments)))
            return super().submit(function, *arguments)

    ht.analyze(written(tmp_path / "a.safetensors", {"a.weight": gaussian(1000, 900)}), executor=Weighed())
    assert max(sizes) < 5000


def test_workers_have_one_blas_thread(monkeypatch):
    seen, real = [], jobs._measured

    def looking(*arguments):
        seen.extend(p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas")
        return real(*arguments)

    monkeypatch.setattr(jobs, "_measured", looking)
    with ThreadPoolExecutor(2) as executor:
        ht.analyze(layers(), executor=executor)
    assert set(seen) == {1}


def test_what_is_found_after_the_jobs_does_not_depend_on_the_threads_of_blas():
    # A report's p-values are found when it is written: in the client, whose BLAS is the user's, not in a worker.
    code = """
import numpy as np
from heavytail.rmt.tracy_widom import TracyWidom
print(TracyWidom(1).sf(np.linspace(-8, 4, 500)).tobytes().hex())
"""
    environments = [{**os.environ, "OPENBLAS_NUM_THREADS": number} for number in ("1", "2")]
    outputs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, env=e, check=True) for e in environments
    ]
    assert outputs[0].stdout == outputs[1].stdout


# -------------------------------------------------------------------------------------------------- executors that fail


def test_a_worker_that_is_killed_loses_nothing(model, expected, tmp_path):
    mark, steps = tmp_path / "mark", []
    with pool(2, workers.die_at, "embed.weight", mark) as executor:
        cache = tmp_path / "cache"
        report = ht.analyze(model, executor=executor, cache=cache, progress=lambda *step: steps.append(step))
    assert mark.exists()
    assert report.to_json() == expected
    assert sorted(name for name, *_ in steps) == sorted(layers())
    assert ht.analyze(model, cache=cache).to_json() == expected


@pytest.mark.parametrize("kind", [ProcessPoolExecutor, ThreadPoolExecutor])
def test_an_executor_that_was_shut_down_loses_nothing(model, expected, kind, counted):
    executor = pool(1) if kind is ProcessPoolExecutor else ThreadPoolExecutor(1)
    executor.shutdown()
    assert ht.analyze(model, executor=executor).to_json() == expected
    assert set(counted.values()) == {1}


def test_an_executor_that_breaks_halfway_loses_nothing_and_nothing_is_done_twice(model, expected, counted):
    done = []

    def breaks(*_):
        done.append(1)
        return BrokenExecutor("gone") if len(done) > 2 else None

    big = {f"a{i}.weight": gaussian(400 + i, 300) for i in range(6)}
    report = ht.analyze(big, executor=Here(breaks))
    assert counted == {f"a{i}": 1 for i in range(6)}
    assert report.to_json() == ht.analyze(big, jobs=1).to_json()


def test_what_is_left_of_an_executor_runs_in_as_many_threads_as_were_asked_for(monkeypatch):
    names, real = set(), jobs._measured

    def looking(*arguments):
        names.add(threading.current_thread().name)
        time.sleep(0.02)
        return real(*arguments)

    monkeypatch.setattr(jobs, "_measured", looking)
    big = {f"a{i}.weight": gaussian(400 + i, 300) for i in range(6)}
    ht.analyze(big, jobs=2, executor=Here(lambda *_: BrokenExecutor("gone")))
    assert len(names) == 2


def test_a_failure_that_passes_is_tried_again(model, expected, counted):
    executor = Here(lambda name, attempt: OSError("the network is away") if attempt < 3 else None)
    steps = []
    assert ht.analyze(model, executor=executor, progress=lambda *step: steps.append(step)).to_json() == expected
    assert set(executor.attempts.values()) == {3}
    assert set(counted.values()) == {1}
    assert steps[-1][1] == pytest.approx(steps[-1][2])
    assert len(steps) == len(layers())


def test_a_failure_that_stays_is_a_row_and_the_rest_is_done():
    big = {f"a{i}.weight": gaussian(400 + i, 300) for i in range(4)}
    executor = Here(lambda name, _: OSError("the network is away") if name == "a2.weight" else None)
    report = ht.analyze(big, executor=executor)
    assert {row.name: row.reason for row in report.rows if row.status == "failed"} == {
        "a2": "OSError: the network is away"
    }
    assert executor.attempts["a2.weight"] == 3
    alone = {row.name: row for row in ht.analyze(big).rows}
    assert all(repr(row) == repr(alone[row.name]) for row in report.rows if row.name != "a2")


def test_what_cannot_be_pickled_runs_here(counted):
    class Local(torch.nn.Module):  # of a function, so that no other process knows it
        def forward(self, x):
            return 2 * x

    torch.manual_seed(0)
    layer = torch.nn.Linear(60, 70)
    torch.nn.utils.parametrize.register_parametrization(layer, "weight", Local())
    model = torch.nn.Sequential(layer, torch.nn.Linear(70, 60))
    report = ht.analyze(model, executor=Here())
    assert report.complete
    assert report.to_json() == ht.analyze(model).to_json()


def test_a_worker_of_another_version_is_one_line(model):
    with (
        pool(1, workers.have_another_version) as executor,
        pytest.raises(RequestError, match=r"^worker \S+:\d+ runs heavytail 0\.0\.1, this is ") as caught,
    ):
        ht.analyze(model, executor=executor)
    assert "\n" not in str(caught.value)


def test_a_worker_that_lacks_the_library_is_one_line(model):
    missing = ModuleNotFoundError("No module named 'heavytail'")
    with pytest.raises(RequestError, match=r"^a worker cannot run heavytail: No module named 'heavytail'$"):
        ht.analyze(model, executor=Here(lambda *_: missing))


def test_a_worker_without_access_to_the_file_gives_rows_that_name_both(model, tmp_path):
    with pool(1, workers.be_blind_to, model.name) as executor:
        report = ht.analyze(model, executor=executor, cache=tmp_path)
    rows = ht.analyze(model).rows
    assert [row.name for row in report.rows] == [row.name for row in rows]
    assert [row.status for row in report.rows] == ["skipped" if r.status == "skipped" else "failed" for r in rows]
    reasons = {row.reason for row in report.rows if row.status == "failed"}
    assert all(reason.startswith(f"worker {socket.gethostname()}:") for reason in reasons)
    assert all(f"cannot read {model} (No such file or directory)" in reason for reason in reasons)
    assert ht.analyze(model, cache=tmp_path).to_json() == ht.analyze(model).to_json()


def test_a_path_from_here_is_the_same_file_to_a_worker(model, expected, monkeypatch, tmp_path):
    monkeypatch.chdir(model.parent)

    class Elsewhere(Here):
        def submit(self, function, /, *arguments):
            sent = pickle.dumps(arguments)
            with monkeypatch.context() as context:
                context.chdir(tmp_path)
                return super().submit(function, *pickle.loads(sent))

    assert ht.analyze(model.name, executor=Elsewhere()).complete


def job(path, **changes):
    planned = estimate(path)
    known = {"plan": planned.plans[0], "cost": planned.costs[0], "wanted": None}
    return Job(**known | {"sizes": ((str(path), path.stat().st_size),)} | changes)


def test_a_worker_checks_versions_and_files_before_it_reads(model):
    def sent(*jobs):
        return run_elsewhere(ht.__version__, pickle.dumps(list(jobs)))

    (done,) = sent(job(model))
    assert done.layers
    with pytest.raises(OutdatedWorkerError, match="use one version"):
        run_elsewhere("0.0.0", b"what only that version knows")
    with pytest.raises(UnreachableFileError, match=rf"another file {model}: \d+ bytes, 3 expected"):
        sent(job(model, sizes=((str(model), 3),)))
    with pytest.raises(UnreachableFileError, match="No such file"):
        sent(job(model, sizes=(("/nowhere/m.safetensors", 3),)))


def test_an_interruption_cancels_what_waits(model):
    class Slow(Executor):
        def __init__(self):
            self.futures = []

        def submit(self, function, /, *arguments):
            future = Future()
            if not self.futures:
                future.set_result(function(*arguments))
            self.futures.append(future)
            return future

    def stop(*_):
        raise KeyboardInterrupt

    executor = Slow()
    big = {f"a{i}.weight": gaussian(400 + i, 300) for i in range(4)}
    with pytest.raises(KeyboardInterrupt):
        ht.analyze(big, executor=executor, progress=stop)
    assert [future.cancelled() for future in executor.futures] == [False, True, True, True]


# ------------------------------------------------------------------------------------------------------------ admission


@settings(max_examples=25)
@given(st.lists(st.integers(1, 100), min_size=1, max_size=12), st.integers(1, 4), st.integers(1, 150))
def test_jobs_that_run_together_keep_within_the_memory(sizes, threads, memory):
    running, most, lock = {}, [], threading.Lock()

    def work(task):
        (i,) = task
        with lock:
            running[i] = sizes[i]
            most.append((sum(running.values()), len(running)))
        time.sleep(0.001)
        with lock:
            del running[i]
        return [(i, sizes[i])]

    tasks = [[i] for i in range(len(sizes))]
    results = [result for (result,) in admitted(work, tasks, threads, lambda task: sizes[task[0]], memory)]
    assert sorted(results) == list(enumerate(sizes))
    # One that needs more than there is runs all the same, alone.
    assert all(total <= memory or count == 1 for total, count in most)
    assert all(count <= threads for _, count in most)


def test_jobs_run_together_where_there_is_memory_for_them():
    both = threading.Barrier(2)

    def work(task):
        both.wait(20)
        return [(task[0], None)]

    assert len(list(admitted(work, [[0], [1], [2], [3]], 2, lambda _: 5, 10))) == 4


def test_a_failure_ends_the_rest():
    started = []

    def work(task):
        started.append(task)
        if task == [1]:
            raise ZeroDivisionError
        return [(task[0], None)]

    with pytest.raises(ZeroDivisionError):
        list(admitted(work, [[i] for i in range(50)], 2, lambda _: 1, 10))
    assert len(started) < 10
    assert threading.active_count() < 10
