"""Where the jobs run: in threads of this process, admitted by their memory, or in an executor that the user hands over.

A job has one BLAS thread, so that its numbers do not depend on where it runs, nor on how many run beside it. The
exception is a matrix that alone would take longer than all the rest shared out: it comes first, with all threads.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    wait,
)
from dataclasses import replace
from math import inf
from pickle import PicklingError

from heavytail.analysis.admission import admitted
from heavytail.analysis.cache import Cache
from heavytail.analysis.jobs import Done, Job, OutdatedWorkerError, failed, keep, recall, run, run_elsewhere
from heavytail.errors import RequestError
from heavytail.spectra.exact import LARGE
from heavytail.threads import blas_threads

__all__ = ["run_all"]

_TINY = 5e8  # jobs of less work go one after another: handing them to threads or workers costs more than it gains
_BATCH = 2e10  # work of a batch of them
_ATTEMPTS = 3  # that a worker, or another one after it, is given for a job
_HERE = (BrokenExecutor, PicklingError, AttributeError, TypeError)  # it is gone, or the task cannot be handed over
_UNFIT = (OutdatedWorkerError, ImportError)  # a worker that lacks the library, or has another one

Task = list[int]
Finished = Callable[[int, Done], None]


def run_all(
    jobs: Sequence[Job],
    threads: int,
    memory: float = inf,
    cache: Cache | None = None,
    stamps: Sequence[str] = (),
    executor: Executor | None = None,
    progress: Callable[[Job], None] = lambda _: None,
) -> list[Done]:
    """Run all jobs and give their results in their order.

    Args:
        jobs: the jobs.
        threads: number of threads of this process.
        memory: bytes that the jobs may take together in this process; one that needs more runs alone.
        cache: where results are looked up and kept.
        stamps: for each job what tells, without reading it, that its tensor is unchanged; empty where nothing does.
        executor: where jobs run instead; those that it does not do, as it broke or they cannot be pickled, run here.
        progress: called with each finished job.

    Raises:
        RequestError: if a worker of the executor runs another version of the library.
    """
    results: list[Done | None] = [None] * len(jobs)
    jobs = (
        [_with_memory_of(cache, job, stamp) for job, stamp in zip(jobs, stamps, strict=True)] if cache else list(jobs)
    )

    def finished(i: int, done: Done) -> None:
        results[i] = done
        if cache and stamps[i] and done.digest and done.digest != jobs[i].digest:
            cache.put(done.digest, "digest", stamps[i])
        progress(jobs[i])

    tasks = _tasks(jobs)
    if executor is None:
        tasks = _run_giants(jobs, tasks, threads, cache, finished)
    else:
        tasks = _run_there(jobs, tasks, executor, cache, finished)
    _run_here(jobs, tasks, threads, memory, cache, finished)
    return [done for done in results if done is not None]


def _with_memory_of(cache: Cache, job: Job, stamp: str) -> Job:
    """Give a job what is known of its tensor and its parts already."""
    digest = cache.get("digest", stamp) if stamp else None
    if not isinstance(digest, str):
        return job
    known = tuple(recall(cache, digest, part, job) for part in job.plan.parts)
    return replace(job, digest=digest, known=known)


def _tasks(jobs: Sequence[Job]) -> list[Task]:
    """Give the largest first, so that none comes late, and tiny ones in batches."""
    order = sorted(range(len(jobs)), key=lambda i: -jobs[i].cost.work)
    tasks: list[Task] = []
    filled = inf
    for i in order:
        work = jobs[i].cost.work
        if work >= _TINY or filled >= _BATCH:
            tasks.append([])
            filled = 0.0 if work < _TINY else inf
        tasks[-1].append(i)
        filled += work
    return tasks


def _run_giants(
    jobs: Sequence[Job], tasks: list[Task], threads: int, cache: Cache | None, finished: Finished
) -> list[Task]:
    """Run the jobs that have all threads, and give the tasks that are left."""
    share = sum(job.cost.work for job in jobs) / threads
    giants = [task for task in tasks if threads > 1 and _is_giant(jobs[task[0]], share)]
    for (i,) in giants:
        with blas_threads(threads):
            done = run(jobs[i], cache)
        finished(i, done)
    return [task for task in tasks if task not in giants]


def _is_giant(job: Job, share: float) -> bool:
    return job.cost.work > share and any(part.M >= LARGE for part in job.plan.parts)


def _run_here(
    jobs: Sequence[Job], tasks: list[Task], threads: int, memory: float, cache: Cache | None, finished: Finished
) -> None:
    """Run tasks in threads of this process, as many at once as there is memory for."""

    def work(task: Task) -> list[tuple[int, Done]]:
        return [(i, run(jobs[i], cache)) for i in task]

    def needs(task: Task) -> int:
        return max(jobs[i].cost.memory for i in task)

    with blas_threads(1):
        together = admitted(work, tasks, threads, needs, memory) if threads > 1 else map(work, tasks)
        for results in together:
            for i, done in results:
                finished(i, done)


def _run_there(
    jobs: Sequence[Job], tasks: list[Task], executor: Executor, cache: Cache | None, finished: Finished
) -> list[Task]:
    """Run tasks in an executor, and give those that it did not do."""
    left = []
    for task, outcome in _outcomes(jobs, tasks, executor):
        if isinstance(outcome, _UNFIT):
            text = outcome if isinstance(outcome, OutdatedWorkerError) else f"a worker cannot run heavytail: {outcome}"
            raise RequestError(str(text)) from outcome
        if isinstance(outcome, _HERE):
            left.append(task)
        elif isinstance(outcome, BaseException):
            for i in task:
                finished(i, _undone(jobs[i], outcome))
        else:
            for i, done in zip(task, outcome, strict=True):
                _keep_all(cache, jobs[i], done)
                finished(i, done)
    return left


def _undone(job: Job, error: BaseException) -> Done:
    """Give the rows of a job that no worker could do; one of a tensor that is left out anyway has its own."""
    if not job.plan.parts:
        return run(job)
    return Done([failed(part, job.plan.tensor, error) for part in job.plan.parts])


def _outcomes(
    jobs: Sequence[Job], tasks: list[Task], executor: Executor
) -> Iterator[tuple[Task, list[Done] | BaseException]]:
    """Give the results of each task as they come, or what kept it from having any after several attempts."""
    from heavytail import __version__

    attempts: Counter[int] = Counter()
    running: dict[Future[list[Done]], Task] = {}
    waiting = list(tasks)
    try:
        while waiting or running:
            for task in waiting:
                attempts[task[0]] += 1
                try:
                    pickled = pickle.dumps([jobs[i] for i in task])
                    running[executor.submit(run_elsewhere, __version__, pickled)] = task
                except Exception as failure:  # it was shut down, its workers died, or the task cannot be pickled
                    yield task, BrokenExecutor(str(failure))
            waiting = []
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task = running.pop(future)
                error = _error(future)
                if error is None:
                    yield task, future.result()
                elif attempts[task[0]] < _ATTEMPTS and not isinstance(error, _HERE + _UNFIT):
                    waiting.append(task)
                else:
                    yield task, error
    finally:
        for future in running:
            future.cancel()


def _error(future: Future[list[Done]]) -> BaseException | None:
    try:
        return future.exception()
    except CancelledError:  # its executor lost whoever ran it
        return BrokenExecutor("cancelled")


def _keep_all(cache: Cache | None, job: Job, done: Done) -> None:
    """Keep what a worker measured; it may not see the folder itself."""
    if cache is None or not done.digest:
        return
    known = job.known or (None,) * len(done.measured)
    for part, measured, before in zip(job.plan.parts, done.measured, known, strict=True):
        if measured is not None and before is None:
            keep(cache, done.digest, part, job, measured)
