"""From a source to its report: open, plan, select, run, sum up."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from math import inf
from os import PathLike
from typing import Any, Literal, get_args

from heavytail.analysis.admission import refusal
from heavytail.analysis.cache import Cache
from heavytail.analysis.cost import Cost, cost, held_bytes, is_single
from heavytail.analysis.jobs import Job
from heavytail.analysis.memory import available, budget
from heavytail.analysis.runner import run_all
from heavytail.analysis.selection import selection
from heavytail.diagnosis.layer import Wanted
from heavytail.errors import RequestError
from heavytail.report.model_report import ModelReport, summarise
from heavytail.spectra.certified import memory as enclosed_memory
from heavytail.spectra.certified import operations
from heavytail.spectra.device import check_device
from heavytail.tails.bootstrap import MIN_COUNT
from heavytail.weights.layout import Conv, Plan, plan
from heavytail.weights.order import natural
from heavytail.weights.places.files import LocalFile
from heavytail.weights.source import open_source
from heavytail.weights.tensor import Source
from heavytail.weights.weightwatcher import plan_weightwatcher

__all__ = ["Convention", "Estimate", "analyze", "estimate", "threads_of"]

Convention = Literal["default", "weightwatcher"]
Progress = Callable[[str, float, float], None]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an analysis would take.

    Attributes:
        source: the source, opened but with no tensor read.
        plans: what would be done with each tensor.
        costs: what each plan takes.
        room: bytes that the work may take under the memory limit; infinite without one.
    """

    source: Source
    plans: tuple[Plan, ...]
    costs: tuple[Cost, ...]
    room: float = inf


def analyze(
    source: Any,
    layers: str | Iterable[str] | None = None,
    conv: Conv = "slices",
    convention: Convention = "default",
    nulls: int = 0,
    vectors: bool = False,
    bootstrap: int = 0,
    seed: int = 0,
    jobs: int | None = None,
    executor: Executor | None = None,
    cache: str | PathLike[str] | None = None,
    memory_limit: int | str | None = None,
    device: str | None = None,
    approximate: bool = False,
    progress: Progress | None = None,
) -> ModelReport:
    """Analyse every weight matrix of a model.

    Args:
        source: a file or directory, a mapping of names to arrays, or a torch.nn.Module, which is not altered.
        layers: glob patterns; a matrix is analysed if its name, or its tensor's, matches one of them. Patterns that
            begin with "phase=" are of phases instead: of what was analysed, only rows of such a phase are kept.
        conv: how a convolution becomes matrices: "slices", "unfold" or "operator" (see `weights.layout.plan`).
        convention: "default", or "weightwatcher" for the numbers of WeightWatcher 0.7.7 with its flaws, for comparison.
        nulls: number of shuffled copies of each matrix to compare with, for the columns num_traps and rand_distance.
        vectors: whether to measure how localised the singular vectors are.
        bootstrap: number of resampled spectra of each matrix, for the columns p_value and tail and for an interval of
            alpha in which each of them chooses its own xmin. 200 give the interval, 1,000 a p-value to 1 %.
        seed: of the shuffles and the resampling.
        jobs: number of threads; all processors of the process by default. The numbers do not depend on it, but for
            the rounding of a matrix that takes longer than all others shared out: that one has all threads.
        executor: where jobs run instead of threads: anything that follows concurrent.futures.Executor, such as a pool
            of processes or the executor of a Dask client. Its workers need this library, and the files under the same
            paths.
        cache: folder where each finished result is kept, so that an interrupted analysis goes on where it was, and a
            new fit of the same weights reads none of them. It is made if it is not there.
        memory_limit: bytes that this process may take in all, as a number or a text such as "3GB"; matrices are read
            in parts where that saves memory, and one that still does not fit is a failed row that says what it needs.
        device: torch's name of where large matrices are computed, such as "cuda"; the numbers agree to rounding.
        approximate: whether a matrix for which there is not the memory is enclosed rather than left out: its row then
            holds what random probes can certify, every number with bounds that hold with probability 0.999, and NaN
            where they are wide (see `report.bounds`).
        progress: called as progress(tensor name, work done, work in all) when a tensor is finished.

    Returns:
        The report; a matrix that could not be analysed has a row that says why.

    Raises:
        SourceError: if the source cannot be read.
        RequestError: if an argument is not one of those above, or no layer matches.

    Example:
        >>> import numpy as np
        >>> import heavytail as ht
        >>> W = np.random.default_rng(0).standard_normal((300, 200))
        >>> report = ht.analyze({"fc.weight": W, "fc.bias": W[0]})
        >>> [(row.name, row.status) for row in report.rows]
        [('fc', 'ok'), ('fc.bias', 'skipped')]
        >>> report.summary["ok"], report.rows[0].M
        (1, 200)
    """
    from heavytail import __version__

    nulls, bootstrap, seed = _whole("nulls", nulls, 0), _whole("bootstrap", bootstrap, 0), _whole("seed", seed, 0)
    layers = list(layers) if isinstance(layers, Iterable) and not isinstance(layers, str) else layers
    if approximate and convention == "weightwatcher":
        raise RequestError("convention 'weightwatcher' has no approximation")
    kept = None if cache is None else Cache.at(cache)
    planned = estimate(source, layers, conv, convention, nulls, vectors, bootstrap, memory_limit)
    threads = threads_of(jobs)
    if device is not None:
        check_device(device)
    wanted = None if convention == "weightwatcher" else Wanted(nulls, vectors, bootstrap, seed, kept is not None)
    left = planned.room
    common = Job(planned.plans[0], planned.costs[0], wanted, _sizes(planned.source), kept is not None)
    common, most = replace(common, device=device), min(left, available())
    todo = [
        _fitted(replace(common, plan=p, cost=c), most if approximate else left, approximate)
        for p, c in zip(planned.plans, planned.costs, strict=True)
    ]
    total = sum(c.work for c in planned.costs)
    done = 0.0

    def advance(job: Job) -> None:
        nonlocal done
        done += job.cost.work
        if progress:
            progress(job.plan.tensor.name, done, total)

    finished = run_all(todo, threads, most, kept, _stamps(planned), executor, advance)
    found = selection(layers).of_layers([layer for job in finished for layer in job.layers], planned.source)
    rows = tuple(layer.row for layer in found)
    tails = {layer.row.name: layer.tail for layer in found if layer.tail is not None}
    phases = {layer.row.name: layer.phase for layer in found if layer.phase is not None}
    noise = {layer.row.name: layer.noise for layer in found if layer.noise is not None}
    opened = planned.source
    return ModelReport(
        source={
            "name": opened.name,
            "format": opened.format,
            "files": list(opened.files),
            "notes": list(opened.notes),
        },
        settings={
            "layers": [layers] if isinstance(layers, str) else layers,
            "conv": conv,
            "convention": convention,
            "nulls": nulls,
            "vectors": vectors,
            "bootstrap": bootstrap,
            "seed": seed,
            "approximate": approximate,
        },
        summary=summarise(rows, noise),
        rows=rows,
        spectra={layer.row.name: layer.spectrum for layer in found if layer.spectrum is not None},
        tails=tails,
        phases=phases,
        noise=noise,
        vectors={layer.row.name: layer.vectors for layer in found if layer.vectors},
        bounds={layer.row.name: layer.certified for layer in found if layer.certified},
        version=__version__,
    )


def estimate(
    source: Any,
    layers: str | Iterable[str] | None = None,
    conv: Conv = "slices",
    convention: Convention = "default",
    nulls: int = 0,
    vectors: bool = False,
    bootstrap: int = 0,
    memory_limit: int | str | None = None,
) -> Estimate:
    """Say what `analyze` would do with the same arguments, from the headers alone.

    Example:
        >>> import numpy as np
        >>> plan = estimate({"fc.weight": np.zeros((300, 200), np.float32)})
        >>> plan.costs[0].bytes
        240000
    """
    for what, value, known in (("conv", conv, get_args(Conv)), ("convention", convention, get_args(Convention))):
        if value not in known:
            raise RequestError(f"{what} is {value!r}; it can be {', '.join(known)}")
    nulls, bootstrap = _whole("nulls", nulls, 0), _whole("bootstrap", bootstrap, 0)
    if 0 < bootstrap < MIN_COUNT:
        raise RequestError(f"bootstrap is {bootstrap}; it must be 0, or at least {MIN_COUNT} for a 95 % interval")
    if not isinstance(vectors, bool):
        raise RequestError(f"vectors is {vectors!r}; it must be True or False")
    if convention == "weightwatcher" and conv != "slices":
        raise RequestError(f"convention 'weightwatcher' reads convolutions as slices; conv is {conv!r}")
    if convention == "weightwatcher" and (nulls or vectors or bootstrap):
        raise RequestError("convention 'weightwatcher' has neither nulls nor vectors nor a bootstrap")
    chosen = selection(layers)
    if convention == "weightwatcher" and chosen.phases:
        raise RequestError("convention 'weightwatcher' has no phases to choose layers by")
    opened = open_source(source)
    weightwatcher = convention == "weightwatcher"
    tensors = opened.tensors
    if opened.format == "safetensors" and not weightwatcher:
        # These files are sorted by name, layer 10 before layer 2; a person's order is nearer to that of depth.
        tensors = tuple(sorted(tensors, key=lambda tensor: natural(tensor.name)))
    plans = plan_weightwatcher(tensors) if weightwatcher else plan(tensors, conv)
    plans = chosen.of_plans(plans, opened)
    wanted = None if weightwatcher else Wanted(nulls, vectors, bootstrap)
    left = budget(memory_limit)
    return Estimate(opened, plans, tuple(cost(p, wanted, left) for p in plans), left)


def _sizes(source: Source) -> tuple[tuple[str, int], ...]:
    """Give the sizes of a source's files, by which a worker knows that it sees the same ones."""
    return tuple((str(file.path.absolute()), file.size) for file in source.opened if isinstance(file, LocalFile))


def _stamps(planned: Estimate) -> list[str]:
    """Tell for each tensor, without reading it, what changes when its file does; nothing for a model in memory."""
    stamps = [file.stamp for file in planned.source.opened]
    if not stamps or not all(stamps):
        return [""] * len(planned.plans)
    return [repr((stamps, p.tensor.name, p.tensor.dtype, p.tensor.shape)) for p in planned.plans]


def _fitted(job: Job, most: float, approximate: bool) -> Job:
    """Say of a job that needs more memory than it may take that it is not done, or only in bounds."""
    if job.cost.memory <= most:
        return job
    job = replace(job, refused=refusal(job.cost.memory, most))
    part = job.plan.parts[0]
    if not approximate or job.wanted is None or not is_single(job.plan):
        return job
    held = held_bytes(job.plan, most - enclosed_memory(part.N, part.M))
    memory = enclosed_memory(part.N, part.M) + held
    if memory > most:
        return job
    work = operations(part.N, part.M) / 2  # of a product of thin matrices, which takes half as long as one of W^T W
    return replace(job, approximate=True, cost=replace(job.cost, memory=memory, held=held, work=work))


def threads_of(jobs: int | None) -> int:
    """Give the number of threads that is meant: all processors of the process where none is asked for."""
    if jobs is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return _whole("jobs", jobs, 1)


def _whole(what: str, value: Any, least: int) -> int:
    """Give a whole number of any type as an int; True and False are none."""
    try:
        number = least - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise RequestError(f"{what} is {value!r}; it must be a whole number of at least {least}")
    return number
