"""What a pair of tensors takes, and what is left out of its work where there is no room for all of it."""

from __future__ import annotations

from dataclasses import replace

from heavytail.analysis.admission import refusal
from heavytail.analysis.cost import held_bytes
from heavytail.analysis.jobs import Job
from heavytail.analysis.memory import written
from heavytail.comparison.difference import memory as size_memory
from heavytail.comparison.pair import PairJob
from heavytail.rmt.noise_bulk import MIN_SIZE
from heavytail.spectra.exact import SVD_MATRICES, block_rows
from heavytail.spectra.subspaces import memory as directions_memory
from heavytail.weights.layout import Plan

__all__ = ["fitted"]

_TALL = 12
"""Matrices of M x M that singular values of a tall difference take: M rows of both models, of it, and copies of QR."""

_BLOCKS = 3
"""Blocks of a tensor whose parts are read one after the other: the last, the one that is joined, and its pieces."""


def fitted(job: PairJob, room: float) -> PairJob:
    """Say what a pair takes, and do without what there is no room for.

    There must be room for the spectra of both matrices and of their difference, with the numbers of both. Then come, as
    there is room, the directions, singular values where rounding leaves a rank open, and wide matrices as a whole
    instead of in panels of columns.

    Args:
        job: what is to be done; its costs are those without a limit.
        room: bytes that it may take.

    Returns:
        The job with its memory; without directions, and with a reason, where they alone do not fit; or refused.
    """
    base, tuned = job.base, job.tuned
    if base is None or tuned is None or not _is_read(base.plan, tuned.plan):
        return job
    size = size_memory(base.plan.tensor, tuned.plan.tensor)
    parts = base.plan.parts + tuned.plan.parts
    jobs = [one for one in (base, tuned, job.delta) if one is not None]
    held = sum(_held(one.plan) for one in jobs) if parts else 0
    spectra = max(one.cost.memory - one.cost.held for one in jobs)
    # A difference is analysed as a matrix is, from a block of rows of each in float64.
    spectra += max((2 * 8 * part.M * min(block_rows(part.M), part.N) for part in parts), default=0)
    needed = max(size, held + spectra)
    if needed > room:
        return _refused(job, refusal(needed, room))
    if not parts:
        return replace(job, memory=needed)
    itemsize = max(one.plan.tensor.nbytes // one.plan.tensor.size for one in (base, tuned))
    wide = [part for part in parts if part.M >= MIN_SIZE]
    directions = max((directions_memory(part.N, part.M, job.directions, itemsize) for part in wide), default=0)
    if held + directions > room:
        text = f"no directions: they need {written(held + directions)} at once, and there is room for {written(room)}"
        job, directions = replace(job, directions=0, lacks="; ".join(filter(None, (job.lacks, text)))), 0
    tall = [part.M for part in parts if part.N > part.M and job.delta is None]
    values = spectra + 8 * max(SVD_MATRICES * max(part.M for part in parts) ** 2, _TALL * max(tall, default=0) ** 2)
    svd = held + values <= room
    beside = max(size - held, spectra, directions, values * svd)
    return _with_room(job, beside, (room - held - beside) / 2, svd)


def _is_read(base: Plan, tuned: Plan) -> bool:
    """Whether two tensors are compared, and not only found to be unlike or unreadable."""
    alike = base.tensor.shape == tuned.tensor.shape and bool(base.parts) == bool(tuned.parts)
    return alike and not base.tensor.problem and not tuned.tensor.problem


def _held(plan: Plan, more: float = 0.0) -> int:
    """Give the bytes of a tensor that are held, if some may be more than must be."""
    held = held_bytes(plan, held_bytes(plan, 0) + more)
    return held if plan.rows is None else _BLOCKS * held


def _with_room(job: PairJob, beside: int, more: float, svd: bool) -> PairJob:
    """Give both tensors the room to be held; the factors of an adapter are held anyway."""

    def given(one: Job | None) -> Job | None:
        if one is None:
            return None
        held = _held(one.plan, more)
        return replace(one, cost=replace(one.cost, memory=beside + held, held=held, svd=svd))

    base, tuned, delta = given(job.base), given(job.tuned), given(job.delta)
    held = sum(one.cost.held for one in (base, tuned, delta) if one is not None)
    return replace(job, base=base, tuned=tuned, delta=delta, memory=beside + held)


def _refused(job: PairJob, reason: str) -> PairJob:
    """Make tensors for which there is no room ones that cannot be read."""

    def unread(one: Job | None) -> Job | None:
        if one is None:
            return None
        plan = replace(one.plan, tensor=replace(one.plan.tensor, problem=reason))
        plan = plan if plan.parts else replace(plan, status="failed", reason=reason)
        return replace(one, plan=plan, refused=reason)

    return replace(job, base=unread(job.base), tuned=unread(job.tuned), delta=None)
