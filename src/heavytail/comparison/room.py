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
from heavytail.spectra.exact import block_rows
from heavytail.spectra.subspaces import memory as directions_memory

__all__ = ["fitted"]

# Matrices of M x M that singular values of a difference take: blocks of M rows of both, of their difference, its
# triangle and what QR copies; a square one is a single block.
_TALL, _SQUARE = 12, 5


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
    if base is None or tuned is None or base.plan.tensor.problem or tuned.plan.tensor.problem:
        return job  # nothing is read
    size = size_memory(base.plan.tensor, tuned.plan.tensor)
    parts = base.plan.parts + tuned.plan.parts
    jobs = [one for one in (base, tuned, job.delta) if one is not None]
    held = sum(held_bytes(one.plan, 0) for one in jobs) if parts else 0
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
        job, directions = replace(job, directions=0, lacks=text), 0
    values = spectra + max(8 * part.M**2 * (_TALL if part.N > part.M else _SQUARE) for part in parts)
    svd = held + values <= room
    beside = max(size - held, spectra, directions, values * svd)
    return _with_room(job, beside, (room - held - beside) / 2, svd)


def _with_room(job: PairJob, beside: int, more: float, svd: bool) -> PairJob:
    """Give both tensors the room to be held; the factors of an adapter are held anyway."""

    def given(one: Job | None) -> Job | None:
        if one is None:
            return None
        held = held_bytes(one.plan, held_bytes(one.plan, 0) + more)
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
