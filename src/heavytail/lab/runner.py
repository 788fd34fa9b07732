"""Running an experiment: its trainings side by side, each with one thread, each where it was left."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from heavytail.analysis.pipeline import threads_of
from heavytail.lab.experiments import experiment_of
from heavytail.lab.experiments.experiment import Size
from heavytail.lab.recipe import Recipe
from heavytail.lab.run import Run
from heavytail.threads import blas_threads

__all__ = ["run_experiment"]

Progress = Callable[[str, float, float], None]
_news: Any = None  # of a worker process: where it tells how far it is


def run_experiment(
    name: str,
    folder: str | PathLike[str],
    size: Size = "full",
    *,
    seeds: int | None = None,
    data: str | PathLike[str] | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Run:
    """Run an experiment into a folder, or go on with it there.

    Each training takes one processor. The numbers depend on the recipes and the machine, not on `jobs`, nor on where
    the run was interrupted.

    Args:
        name: the experiment's (see `heavytail lab list`).
        folder: where results go; made if it is not there.
        size: "full", or "quick" on scikit-learn's digits, which takes two minutes at most.
        seeds: run only the first so many seeds.
        data: folder of the data, where the system does not have them.
        jobs: number of trainings at a time; all processors of this process by default.
        progress: called as progress(trial, epochs done, epochs in all) while it goes on.

    Returns:
        The finished run.

    Raises:
        RequestError: if there is no such experiment, or the folder holds something else.
        SourceError: if the data are missing.
    """
    experiment = experiment_of(name)
    trials = experiment.trials(size)
    if seeds is not None:
        trials = {key: recipe for key, recipe in trials.items() if recipe.seed < seeds}
    _check_data(trials.values(), data)
    run = Run.create(Path(folder), experiment, size, trials)
    run = replace(run, trials={key: run.trials[key] for key in trials})
    left = [key for key in trials if key not in run.done]
    told = _Told(run.trials, run.done, progress)
    count = min(threads_of(jobs), len(left))
    if count == 1:
        with _one_thread():
            for key in left:
                _one(run, key, data, told.hear)
                run.gather()
    elif left:
        _side_by_side(run, left, count, data, told)
    return Run.open(run.folder)


def _check_data(recipes: Iterable[Recipe], folder: Any) -> None:
    """Fail before the work rather than in the midst of it."""
    from heavytail.lab.training import examples_of

    for recipe in {recipe.data: recipe for recipe in recipes}.values():
        examples_of(recipe, folder)


class _Told:
    """How far each training is."""

    def __init__(self, trials: Mapping[str, Recipe], done: Iterable[str], progress: Progress | None) -> None:
        self.all = {key: recipe.epochs for key, recipe in trials.items()}
        self.epochs = {key: self.all[key] for key in done}
        self.progress = progress

    def hear(self, trial: str, epoch: int) -> None:
        """Note that a trial has done so many epochs."""
        self.epochs[trial] = epoch
        if self.progress:
            self.progress(trial, float(sum(self.epochs.values())), float(sum(self.all.values())))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Give torch one thread, as each of several trainings has, so that their numbers are the same; then all again."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _side_by_side(run: Run, left: list[str], count: int, data: Any, told: _Told) -> None:
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with context.Manager() as manager:
        news: SimpleQueue[tuple[str, int]] = manager.Queue()  # type: ignore[assignment]
        with ProcessPoolExecutor(count, context, _begin, (news,)) as pool:
            running: set[Future[None]] = {pool.submit(_elsewhere, run, key, data) for key in left}
            try:
                while running:
                    finished, running = wait(running, 0.5, FIRST_COMPLETED)
                    _pass_on(news, told)
                    for future in finished:
                        future.result()
                    if finished:
                        run.gather()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in multiprocessing.active_children():
                    process.terminate()
                raise


def _pass_on(news: Any, told: _Told) -> None:
    while True:
        try:
            told.hear(*news.get_nowait())
        except Empty:
            return


def _begin(news: Any) -> None:
    """Prepare a worker: one thread, whatever the library."""
    import torch

    global _news
    _news = news
    torch.set_num_threads(1)


def _elsewhere(run: Run, key: str, data: Any) -> None:
    with blas_threads(1):
        _one(run, key, data, lambda trial, epoch: _news.put((trial, epoch)))


def _one(run: Run, key: str, data: Any, hear: Callable[[str, int], None]) -> None:
    """Do one training of a run, and keep its weights and its rows."""
    import pandas as pd
    from safetensors.torch import save_file

    from heavytail.lab.probes import probe
    from heavytail.lab.training import examples_of, parts_of, train

    recipe = run.trials[key]
    examples = examples_of(recipe, data)
    network, rows = train(recipe, examples, run.state_of(key), lambda epoch, _: hear(key, epoch))
    final = max(k for k, row in enumerate(rows) if row["layer"] == "")
    rows[final] |= probe(network, parts_of(examples), recipe)
    constant = {"experiment": run.experiment.id, "trial": key, **recipe.as_dict(), "checksum": examples.checksum}
    table = pd.DataFrame([{**constant, **row} for row in rows])
    save_file({name: t.detach().contiguous() for name, t in network.state_dict().items()}, run.model_of(key))
    part = run.rows_of(key).with_suffix(".part")
    table.to_parquet(part, index=False)
    part.replace(run.rows_of(key))
    run.state_of(key).unlink(missing_ok=True)
