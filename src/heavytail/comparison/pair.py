"""One tensor in two models: what is found of it in each, of their difference, and of how their directions lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import nan
from zlib import crc32

import numpy as np

from heavytail.analysis.cache import Cache
from heavytail.analysis.jobs import Job, numbers_of, reason_of, run
from heavytail.analysis.numbers import Numbers, cut
from heavytail.comparison.change import filled, metric_changes
from heavytail.comparison.delta import Delta, find_delta
from heavytail.comparison.difference import Size, size_of_change
from heavytail.comparison.row import ChangeRow
from heavytail.diagnosis.layer import Layer
from heavytail.rmt.noise_bulk import MIN_SIZE
from heavytail.spectra.entries import Blocks
from heavytail.spectra.subspaces import Subspaces, compare_subspaces
from heavytail.weights.layout import Part, Plan

__all__ = ["LayerChange", "PairJob", "compare_pair"]

_RELATED = 0.5  # relative change up to which both matrices are one that was trained further


@dataclass(frozen=True, slots=True)
class PairJob:
    """What is to be done with one tensor of two models.

    Attributes:
        base: what is to be done with it in the base; None where it is not there.
        tuned: what is to be done with it in the other model; None where it is not there.
        delta: what is to be done with the difference, where that is known on its own, as of an adapter.
        replicates: resampled spectra for the intervals of changes; 0 for intervals from those of both models.
        directions: leading singular directions that are compared; 0 for none.
        lacks: what else the row's reason says, such as what is left out and why.
        added: whether the other model's numbers are the base's and what is added to them, not rounded.
        untouched: whether the other model is the base with an adapter that leaves this tensor as it is.
        seed: of the resampling.
        memory: bytes that it takes.
        work: time that it takes, as `analysis.cost.Cost.work`.
    """

    base: Job | None
    tuned: Job | None
    delta: Job | None = None
    replicates: int = 0
    directions: int = 10
    lacks: str = ""
    added: bool = False
    untouched: bool = False
    seed: int = 0
    memory: int = 0
    work: float = 0.0


@dataclass(frozen=True, slots=True)
class LayerChange:
    """One row of a comparison and what stands behind it.

    Attributes:
        row: the row.
        base: the row's matrix in the base, as `analyze` finds it; None where it was not analysed.
        tuned: in the other model.
        delta: the difference, analysed as a matrix of its own; None where there is none, or all of it is zero.
        subspaces: how the leading directions lie, for each of the row's matrices.
    """

    row: ChangeRow
    base: Layer | None = None
    tuned: Layer | None = None
    delta: Layer | None = None
    subspaces: tuple[Subspaces, ...] = ()


def compare_pair(job: PairJob, cache: Cache | None = None) -> list[LayerChange]:
    """Compare one tensor of two models; whatever goes wrong is a row that says so.

    Args:
        job: what is to be done.
        cache: where what is found of either model is looked up and kept.
    """
    if job.base is None or job.tuned is None:
        return [LayerChange(row) for row in _alone(job)]
    pair = job.base.plan, job.tuned.plan
    rows = [_common(part, pair) for part in _named(job.base.plan)]
    if problem := _mismatch(*pair):
        return [LayerChange(replace(row, status="unmatched", reason=problem)) for row in rows]
    try:
        size = _size(*pair)
        return (
            _compared(job, job.base, job.tuned, size, cache) if pair[0].parts else [LayerChange(_left_out(pair, size))]
        )
    except Exception as error:  # one bad tensor never ends a run
        return [LayerChange(replace(row, status="failed", reason=reason_of(error))) for row in rows]


def _size(base: Plan, tuned: Plan) -> Size:
    """Measure how far two tensors are from each other; a single number tells nothing of a layer."""
    readable = base.tensor.problem is None and tuned.tensor.problem is None
    return size_of_change(base.tensor, tuned.tensor) if base.tensor.shape and readable else Size(nan, nan, nan)


def _alone(job: PairJob) -> list[ChangeRow]:
    """Make the rows of a tensor that one model has alone; of an adapted model it is as it was."""
    (one,) = (one for one in (job.base, job.tuned) if one is not None)
    where = "first" if one is job.base else "second"
    rows = [_identity(part, one.plan, one is job.base, f"is in the {where} model alone") for part in _named(one.plan)]
    if not job.untouched:
        return rows
    return [
        replace(
            row, status=one.plan.status, change="none", relative_change=0.0, reason="the adapter leaves it as it is"
        )
        for row in rows
    ]


def _named(plan: Plan) -> Sequence[Part | None]:
    """Give the parts of a plan; None for the one row of a tensor that is left out."""
    return plan.parts or (None,)


def _identity(part: Part | None, plan: Plan, in_base: bool, reason: str) -> ChangeRow:
    """Make the row of what one model has alone."""
    row = replace(_shaped(part, plan), status="unmatched", reason=reason)
    return replace(row, base_dtype=_stored(plan)) if in_base else replace(row, tuned_dtype=_stored(plan))


def _common(part: Part | None, pair: tuple[Plan, Plan], other: Part | None = None) -> ChangeRow:
    """Make the row of what both models have."""
    base, tuned = pair
    row = _shaped(part, base)
    if other is None and len(tuned.parts) == 1:
        other = tuned.parts[0]
    tuned_name = other.name if other else tuned.name or tuned.tensor.name
    return replace(
        row,
        tuned_name="" if tuned_name in (row.name, base.tensor.name) else tuned_name,
        base_dtype=_stored(base),
        tuned_dtype=_stored(tuned),
    )


def _shaped(part: Part | None, plan: Plan) -> ChangeRow:
    if part is None:
        return ChangeRow(name=plan.name, kind=plan.kind)
    return ChangeRow(name=part.name, kind=part.kind, N=part.N, M=part.M, num_matrices=part.count)


def _stored(plan: Plan) -> str:
    return plan.tensor.stored or plan.tensor.dtype


def _mismatch(base: Plan, tuned: Plan) -> str:
    """Say why two tensors of one name cannot be compared; empty if they can."""
    first, second = base.tensor.shape, tuned.tensor.shape
    if first != second:
        shapes = (" x ".join(map(str, shape)) or "a single number" for shape in (first, second))
        return "{} in the first model, {} in the second".format(*shapes)
    kinds = [[(part.N, part.M, part.count, part.operator) for part in plan.parts] for plan in (base, tuned)]
    if kinds[0] != kinds[1]:
        return f"in the first model: {_reading(base)}; in the second: {_reading(tuned)}"
    return ""


def _reading(plan: Plan) -> str:
    """Say what a tensor is taken for."""
    if not plan.parts:
        return plan.reason
    kinds = " and ".join(dict.fromkeys(part.kind for part in plan.parts))
    return f"{kinds}, {len(plan.parts)} part{'s' if len(plan.parts) > 1 else ''}"


def _left_out(pair: tuple[Plan, Plan], size: Size) -> ChangeRow:
    """Make the row of a tensor that is no weight matrix: how far it moved is told all the same."""
    told = next((plan for plan in pair if plan.status == "unsupported"), pair[0])
    return replace(
        _common(None, pair),
        status=told.status,
        reason=told.reason,
        change="none" if size.change == 0 else "",
        relative_change=size.relative,
    )


def _compared(job: PairJob, base: Job, tuned: Job, size: Size, cache: Cache | None) -> list[LayerChange]:
    same = size.change == 0
    pair = base.plan, tuned.plan
    numbers = numbers_of(base), numbers_of(tuned)
    # What is held whole is read once; what is read block by block starts anew.
    shared = [one if one.rows is None else None for one in numbers]
    before = run(base, cache, shared[0]).layers
    after = before if same else run(tuned, cache, shared[1]).layers
    found = []
    for i, parts in enumerate(zip(base.plan.parts, tuned.plan.parts, strict=True)):
        layers = before[i], after[i]
        row = _common(parts[0], pair, parts[1])
        row = replace(row, base_phase=layers[0].row.phase, tuned_phase=layers[1].row.phase)
        bad = next((layer.row for layer in layers if layer.row.status != "ok"), None)
        if bad:
            found.append(LayerChange(replace(row, status=bad.status, reason=bad.reason), *layers))
            continue
        reasons = (*(layer.row.reason for layer in layers), job.lacks)
        row = replace(row, reason="; ".join(dict.fromkeys(filter(None, reasons))))
        if same:
            found.append(LayerChange(_unchanged(row, layers[0]), *layers))
            continue
        try:
            found.append(_changed(job, parts, numbers, layers, row))
        except Exception as error:
            found.append(LayerChange(replace(row, status="failed", reason=reason_of(error)), *layers))
    return found


def _unchanged(row: ChangeRow, layer: Layer) -> ChangeRow:
    metrics = metric_changes(layer, layer)
    return replace(
        row,
        change="none",
        relative_change=0.0,
        relative_spectral_change=0.0,
        delta_norm=0.0,
        delta_rank=0.0,
        suggested_rank=0.0,
        metrics=metrics,
    )


def _changed(
    job: PairJob,
    parts: tuple[Part, Part],
    numbers: tuple[Numbers, Numbers],
    layers: tuple[Layer, Layer],
    row: ChangeRow,
) -> LayerChange:
    """Compare a part whose numbers differ."""
    base, tuned = (_stack(one, part) for one, part in zip(numbers, parts, strict=True))
    delta = _adapter(job) or _delta(job, base, tuned, parts[0])
    if delta.layer.row.lambda_max == 0:  # what changed is another part of the tensor
        return LayerChange(_unchanged(row, layers[0]), *layers)
    subspaces = _subspaces(base, tuned, parts[0], job.directions)
    draw = np.random.default_rng([job.seed, crc32(row.name.encode("utf-8", "surrogateescape"))])
    related = delta.layer.row.norm <= _RELATED**2 * layers[0].row.norm
    metrics = metric_changes(*layers, job.replicates, draw, related=related)
    row = filled(row, layers[0], delta, subspaces, metrics)
    return LayerChange(row, *layers, delta.layer, subspaces)


def _adapter(job: PairJob) -> Delta | None:
    """Analyse the change that an adapter is; None where the change is only known as a difference."""
    return None if job.delta is None else Delta(run(job.delta).layers[0], 0.0)


def _stack(numbers: Numbers, part: Part) -> list[Blocks]:
    """Give the matrices of a part, in blocks of rows."""
    if numbers.single:
        return [numbers.matrix()]
    return [cut(matrix) for matrix in part.stack(numbers.block(part.block))]


def _delta(job: PairJob, base: list[Blocks], tuned: list[Blocks], part: Part) -> Delta:
    """Analyse the difference; what is added to the base in float64 was never rounded."""
    assert job.base is not None
    assert job.tuned is not None
    stored = None if job.added else (job.base.plan.tensor.dtype, job.tuned.plan.tensor.dtype)
    svd = job.base.cost.svd and job.tuned.cost.svd
    return find_delta(base, tuned, part.N, part.M, name=part.name, kind=part.kind, stored=stored, svd=svd)


def _subspaces(base: list[Blocks], tuned: list[Blocks], part: Part, directions: int) -> tuple[Subspaces, ...]:
    if part.M < MIN_SIZE or not directions:
        return ()
    return tuple(
        compare_subspaces(one, other, part.N, part.M, directions) for one, other in zip(base, tuned, strict=True)
    )
