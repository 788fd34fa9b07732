"""From two models to their comparison: open, align, run, sum up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from os import PathLike
from typing import Any, Literal, get_args

from heavytail.analysis.admission import admitted
from heavytail.analysis.cache import Cache
from heavytail.analysis.cost import cost
from heavytail.analysis.jobs import Job
from heavytail.analysis.memory import available
from heavytail.analysis.pipeline import Estimate, estimate, threads_of
from heavytail.analysis.selection import selection
from heavytail.comparison.align import Pair, align
from heavytail.comparison.contents import is_turned, match_contents
from heavytail.comparison.pair import LayerChange, PairJob, compare_pair
from heavytail.comparison.report import Comparison, summarise
from heavytail.comparison.room import fitted
from heavytail.diagnosis.layer import Wanted
from heavytail.errors import RequestError
from heavytail.tails.bootstrap import MIN_COUNT
from heavytail.threads import blas_threads
from heavytail.weights.adapters import base_name, merged
from heavytail.weights.layout import Plan
from heavytail.weights.products import transposed
from heavytail.weights.tensor import Source, Tensor

__all__ = ["compare"]

Conv = Literal["slices", "unfold"]
_TURNED = "laid out as the transpose in the second model"
Progress = Callable[[str, float, float], None]


def compare(
    base: Any,
    tuned: Any,
    layers: str | Iterable[str] | None = None,
    conv: Conv = "slices",
    bootstrap: int = 200,
    directions: int = 10,
    seed: int = 0,
    jobs: int | None = None,
    cache: str | PathLike[str] | None = None,
    memory_limit: int | str | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Say what fine-tuning, merging, quantisation or an adapter changed in every weight matrix of a model.

    Tensors are matched by name, whatever prefix one of the models puts before them; matrices whose names an exporter
    threw away by their numbers. What has no partner, or another shape, has a row that says so. Both models are read
    together, tensor by tensor.

    Args:
        base: the model before: a path, a URL, a mapping of names to arrays or a torch.nn.Module.
        tuned: the model after; or a LoRA adapter of the base, whose change is then analysed from its factors.
        layers: glob patterns; a row is made if its name in the base, or its tensor's, matches one of them.
        conv: how a convolution becomes matrices: "slices" or "unfold" (see `weights.layout.plan`).
        bootstrap: number of pairs of resampled spectra for the intervals of changes of alpha and what depends on it; 0
            to add the intervals of both models, which is too wide.
        directions: leading singular directions that are held against each other.
        seed: of the resampling.
        jobs: number of threads; all processors of the process by default.
        cache: folder where what is found of either model is kept, so that a base that is compared with several others
            is analysed once; the same as that of `analyze`. It is made if it is not there.
        memory_limit: bytes that this process may take in all, as a number or a text such as "2GB". Matrices are read in
            parts where that saves memory; where there is none for the directions, the row says so; and a pair that
            still does not fit is a failed row that says what it needs.
        progress: called as progress(tensor name, work done, work in all) when a tensor is finished.

    Returns:
        The comparison, with a row for each matrix of either model, and for each tensor that is none.

    Raises:
        SourceError: if a model cannot be read.
        RequestError: if an argument is not one of those above, no layer matches, or the models have nothing in common.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> W = rng.standard_normal((300, 200))
        >>> tuned = W + 0.01 * rng.standard_normal((300, 200))
        >>> comparison = compare({"fc.weight": W, "head.weight": W.T}, {"fc.weight": tuned, "head.weight": W.T})
        >>> [(row.name, row.change, round(row.relative_change, 3)) for row in comparison.rows]
        [('fc', 'noise', 0.01), ('head', 'none', 0.0)]
    """
    from heavytail import __version__

    _check(conv, bootstrap, directions, seed)
    kept = None if cache is None else Cache.at(cache)
    threads = threads_of(jobs)
    layers = list(layers) if isinstance(layers, Iterable) and not isinstance(layers, str) else layers
    before, after = (estimate(source, None, conv, memory_limit=memory_limit) for source in (base, tuned))
    adapter = _is_adapter(before, after)
    pairs, notes = _aligned(before.plans, _unwrapped(after.plans) if adapter else after.plans)
    if not any(pair.base and pair.tuned for pair in pairs):
        raise RequestError(f"{before.source.name} and {after.source.name} have no tensor in common: {_examples(pairs)}")
    if layers is not None:
        pairs = _selected(pairs, before.source, layers)
    common = PairJob(None, None, replicates=bootstrap, directions=directions, seed=seed)
    room = min(before.room, after.room, available())
    todo = [fitted(_job(pair, common, adapter, kept is not None), room) for pair in pairs]
    if adapter and not any(job.added for job in todo):
        raise RequestError(
            f"{after.source.name} is an adapter of another model: none of its layers fits {_unfit(todo)}"
        )
    if turned := sum(job.lacks.startswith(_TURNED) for job in todo):
        notes += (f"{turned} {'matrix is' if turned == 1 else 'matrices are'} {_TURNED}",)
    found = _run(todo, threads, room, kept, progress)
    return Comparison(
        base=_described(before.source),
        tuned=_described(after.source),
        settings={
            "layers": [layers] if isinstance(layers, str) else layers,
            "conv": conv,
            "bootstrap": bootstrap,
            "directions": directions,
            "seed": seed,
        },
        notes=notes,
        summary=summarise((layer.row for layer in found), adapter=adapter),
        layers=tuple(found),
        version=__version__,
    )


def _check(conv: str, bootstrap: int, directions: int, seed: int) -> None:
    if conv not in get_args(Conv):
        raise RequestError(f"conv is {conv!r}; it can be {', '.join(get_args(Conv))}")
    for what, value, least in (("bootstrap", bootstrap, 0), ("directions", directions, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise RequestError(f"{what} is {value!r}; it must be a whole number of at least {least}")
    if 0 < bootstrap < MIN_COUNT:
        raise RequestError(f"bootstrap is {bootstrap}; it must be 0, or at least {MIN_COUNT} for a 95 % interval")


def _is_adapter(before: Estimate, after: Estimate) -> bool:
    """Whether the second model is an adapter of the first; two adapters are compared as any two models."""
    first, second = ([_adds(plan.tensor) for plan in one.plans if plan.parts] for one in (before, after))
    if first and all(first) and not any(second):
        raise RequestError(f"{before.source.name} is an adapter and {after.source.name} is none; the base comes first")
    return any(second) and not any(first)


def _aligned(before: tuple[Plan, ...], after: tuple[Plan, ...]) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    pairs, notes = align(before, after)
    pairs, more = match_contents(pairs)
    return pairs, notes + more


def _unwrapped(plans: tuple[Plan, ...]) -> tuple[Plan, ...]:
    """Give tensors that stand beside those of an adapter the names that they have in the base model."""
    taken = {plan.tensor.name for plan in plans}
    found = []
    for plan in plans:
        name = base_name(plan.tensor.name)
        if name not in taken:
            plan = replace(plan, tensor=replace(plan.tensor, name=name))
            taken.add(name)
        found.append(plan)
    return tuple(found)


def _adds(tensor: Tensor) -> bool:
    """Whether a tensor is what an adapter adds to another, and no weight of its own."""
    return tensor.factors is not None


def _selected(pairs: tuple[Pair, ...], source: Source, layers: str | list[str]) -> tuple[Pair, ...]:
    """Keep the rows of matching names; what only the second model has is not asked for."""
    chosen = selection(layers)
    if chosen.phases:
        raise RequestError("compare chooses layers by name; phases are two")
    kept = {p.tensor.name: p for p in chosen.of_plans(tuple(pair.base for pair in pairs if pair.base), source)}
    return tuple(
        Pair(kept[pair.name], _same_parts(pair.tuned, pair.base, kept[pair.name]))
        for pair in pairs
        if pair.base and pair.name in kept
    )


def _same_parts(tuned: Plan | None, base: Plan, kept: Plan) -> Plan | None:
    """Keep those parts of a plan that are kept of another with as many."""
    if tuned is None or len(tuned.parts) != len(base.parts):
        return tuned
    parts = tuple(part for part, one in zip(tuned.parts, base.parts, strict=True) if one in kept.parts)
    return replace(tuned, parts=parts)


def _examples(pairs: tuple[Pair, ...]) -> str:
    first, second = ([pair.name for pair in pairs if getattr(pair, side)][:2] for side in ("base", "tuned"))
    return f"{', '.join(map(repr, first))} against {', '.join(map(repr, second))}"


def _job(pair: Pair, common: PairJob, adapter: bool, keep: bool) -> PairJob:
    """Say what is to be done with a pair."""
    base, tuned = _understood(pair.base, pair.tuned), _understood(pair.tuned, pair.base)
    delta, added, turned = None, False, False
    if base and tuned and base.parts and tuned.parts:
        if adapter and _adds(tuned.tensor):
            whole = merged(base.tensor, tuned.tensor)
            added = whole.problem is None
            delta = tuned if added and _is_all(tuned, base) else None
            tuned = replace(base, tensor=whole) if added else tuned
        elif turned := is_turned(base.tensor, tuned.tensor):
            tuned = _read_as(transposed(tuned.tensor), base, tuned)
    untouched = adapter and tuned is None
    jobs = [None if p is None else Job(p, cost(p, Wanted()), Wanted(), keep=keep) for p in (base, tuned, delta)]
    return replace(
        common,
        base=jobs[0],
        tuned=jobs[1],
        delta=jobs[2],
        added=added,
        untouched=untouched,
        lacks=_TURNED if turned else "",
        work=2 * sum(job.cost.work for job in jobs if job is not None),
    )


def _unfit(todo: Iterable[PairJob]) -> str:
    """Name a layer of a base and its shape beside that of the adapter's."""
    for job in todo:
        if job.base and job.tuned and job.base.plan.tensor.shape != job.tuned.plan.tensor.shape:
            ours, theirs = (" x ".join(map(str, one.plan.tensor.shape)) for one in (job.base, job.tuned))
            return f"the base, where {job.base.plan.tensor.name!r} is {ours} and not {theirs}"
    return "the base"


def _is_all(adapter: Plan, base: Plan) -> bool:
    """Whether what an adapter adds is all that becomes of a tensor, and that is one matrix."""
    factors = adapter.tensor.factors
    one = base.tensor.size == base.parts[0].N * base.parts[0].M
    return one and factors is not None and factors.magnitude is None


def _understood(one: Plan | None, other: Plan | None) -> Plan | None:
    """Plan a tensor as its partner is planned where that knows more of it.

    It may be tied in one model alone. And a live module tells what a checkpoint leaves open.
    """
    if one is None or other is None or not other.parts or one.tensor.shape != other.tensor.shape:
        return one
    told = bool(one.parts) and one.tensor.hint is None and other.tensor.hint is not None
    return _read_as(one.tensor, other, one) if told or one.kind == "tied" else one


def _read_as(tensor: Tensor, like: Plan, named: Plan) -> Plan:
    """Plan a tensor of one model as its partner in the other is planned, under the names of its own."""
    name = named.name or (named.parts[0].name if len(named.parts) == 1 else named.tensor.name)
    single = len(like.parts) == 1
    names = [name if single else f"{name}:{part.name.rpartition(':')[2]}" for part in like.parts]
    parts = (replace(part, name=own) for part, own in zip(like.parts, names, strict=True))
    return Plan(tensor, tuple(parts), like.rows, name)


def _run(
    todo: list[PairJob], threads: int, memory: float, cache: Cache | None, progress: Progress | None
) -> list[LayerChange]:
    """Compare all pairs, the largest first, and give the rows in the order of the pairs."""
    results: list[list[LayerChange]] = [[] for _ in todo]
    total = sum(job.work for job in todo)
    done = 0.0
    order = sorted(range(len(todo)), key=lambda i: -todo[i].work)

    def work(i: int) -> tuple[int, list[LayerChange]]:
        return i, compare_pair(todo[i], cache)

    with blas_threads(1):
        for i, found in admitted(work, order, threads, lambda i: todo[i].memory, memory):
            results[i] = found
            done += todo[i].work
            if progress:
                progress(found[0].row.name, done, total)
    return [layer for found in results for layer in found]


def _described(source: Source) -> dict[str, Any]:
    return {"name": source.name, "format": source.format, "files": list(source.files), "notes": list(source.notes)}
