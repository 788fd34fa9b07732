"""What a job takes, from shapes alone: operations, bytes, memory."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from time import perf_counter

import numpy as np

from heavytail.diagnosis.layer import Wanted
from heavytail.diagnosis.noise import HELD, sampling_step
from heavytail.rmt.noise_bulk import MIN_SIZE
from heavytail.spectra.exact import BLOCK, LARGE, SVD_MATRICES, block_rows
from heavytail.spectra.lapack import add_gram
from heavytail.spectra.operator import HELD as OPERATOR_BYTES
from heavytail.spectra.operator import frequencies
from heavytail.threads import blas_threads
from heavytail.weights.layout import Part, Plan
from heavytail.weights.tensor import Factors

__all__ = ["Cost", "cost", "held_bytes", "is_single", "measure_rate"]

_DIRECTIONS, _DRAWN = 400, 1 << 23  # random directions that localisation is held against, and numbers of them at once
_WINDOWS = 2000  # rows at most in the windows of FARMS
_REPLICATE = 8e4  # work of a point of a resampled spectrum: it is drawn, sorted and fitted twice
_SHUFFLED = 2.7e3  # work of an entry of a shuffled copy: memory out of order, and the noise of the copy
_JOB = 16 << 20  # what the fits of a row take, and what is not given back between them
_STREAM = 16 << 20  # a matrix of fewer bytes is read as a whole
_SLOWER, _SMALL = 1.6, 700  # an operation of an eigenvalue problem takes 1.6 + 700/M times as long as one of W^T W
# Work beside the linear algebra: of a row, of each of its eigenvalues, of each matrix that has a bulk of noise.
_ROW, _POINT, _BULK = 3e8, 2e4, 2e8


@dataclass(frozen=True, slots=True)
class Cost:
    """What a job takes.

    Attributes:
        operations: floating-point operations of the Gram matrices and their eigenvalues.
        bytes: bytes read.
        memory: bytes held at once.
        held: those of them that are of the tensor itself, in its stored type.
        svd: whether there is room for singular values, where the rank needs them.
        work: time, in units of that of one operation of a large Gram matrix.
    """

    operations: float
    bytes: int
    memory: int
    held: int = 0
    work: float = 0.0
    svd: bool = True


def is_single(plan: Plan) -> bool:
    """Whether all of a tensor is one matrix, so that it can be read in blocks."""
    return (
        len(plan.parts) == 1
        and len(plan.tensor.shape) == 2
        and plan.tensor.size == plan.parts[0].N * plan.parts[0].M
        and not plan.parts[0].operator
    )


def cost(plan: Plan, wanted: Wanted | None = None, limit: float = inf) -> Cost:
    """Work out what a job takes; WeightWatcher's numbers where nothing is wanted of ours.

    Args:
        plan: what is to be done with a tensor.
        wanted: what is asked for.
        limit: bytes that it may take; a matrix that is read in parts is held in as large ones as that allows.
    """
    tensor = plan.tensor
    if not plan.parts:
        return Cost(0.0, 0, 0)
    operations = work = 0.0
    memory = 0
    for part in plan.parts:
        product, evals = _operations(part, plan, wanted)
        operations += product + evals
        work += (
            product
            + (_SLOWER + _SMALL / part.M) * evals
            + _ROW
            + part.count * (_POINT * part.M + _BULK * (part.M >= MIN_SIZE))
        )
        memory = max(memory, _memory(part, plan, wanted))
        if wanted:
            work += wanted.bootstrap * _REPLICATE * part.count * part.M
            work += wanted.nulls * part.count * (_SHUFFLED * part.N * part.M + _BULK)
    memory += _JOB
    held = tensor.nbytes if wanted is None and tensor.factors is not None else held_bytes(plan, limit - memory)
    memory += held
    svd = True
    if (
        limit < inf and _factors(plan, wanted) is None
    ):  # a rank that rounding leaves open needs singular values, if there is room
        needed = 8 * SVD_MATRICES * max(part.M * (is_single(plan) or part.M >= LARGE) for part in plan.parts) ** 2
        svd = memory + needed <= limit
        memory += needed * svd
    return Cost(operations, tensor.packed or tensor.nbytes, memory, held, work, svd)


def measure_rate() -> float:
    """Measure the operations of a large Gram matrix that one thread does in a second: the unit of `Cost.work`."""
    n = 1000
    W, G = np.ones((n, n)), np.zeros((n, n), order="F")
    with blas_threads(1):
        add_gram(W, G)  # the first call finds the routine
        start = perf_counter()
        add_gram(W, G)
        return n**3 / (perf_counter() - start)


def _factors(plan: Plan, wanted: Wanted | None) -> Factors | None:
    """Give the factors that a spectrum is computed from, if it is."""
    return plan.tensor.factors if wanted is not None and is_single(plan) else None


def _operations(part: Part, plan: Plan, wanted: Wanted | None) -> tuple[float, float]:
    """Give the operations of a row's products, and of its eigenvalues or singular values."""
    n, m, count = part.N, part.M, part.count
    if wanted is None:  # singular values 2 n m^2 + 2 m^3 (Golub and Van Loan 2013)
        product, evals = 0.0, 2.0 * n * m**2 + 2 * m**3
    else:  # W^T W by symmetry n m^2, its eigenvalues 4/3 m^3; vectors take some ten times what values do
        gram, values = float(n * m**2), 4 / 3 * m**3
        factors = _factors(plan, wanted)
        product, evals = (gram, values) if factors is None else _of_factors(factors, n, m)
        product, evals = product + wanted.nulls * gram, evals + wanted.nulls * values
        product, evals = product + wanted.vectors * 2 * n * m**2, evals + wanted.vectors * 15 * m**3
    if part.operator:  # complex; a Keras kernel's axes differ, the product hardly
        count *= 4 * frequencies(plan.tensor.shape[2:])
    return count * product, count * evals


def _of_factors(factors: Factors, n: int, m: int) -> tuple[float, float]:
    """Give the operations of a spectrum from factors: two QR; the core; entries in blocks, where it may have noise."""
    r = factors.rank
    return 2.0 * (n + m) * r**2 + 2.0 * n * m * r * (not _low(factors, m)), 8.0 * min(r, m) ** 3


def _low(factors: Factors, m: int) -> bool:
    """Whether the entries of a product are of no use, as too few of its eigenvalues can be noise."""
    return factors.rank < m / 2


def _memory(part: Part, plan: Plan, wanted: Wanted | None) -> int:
    """Give the bytes that a row takes beside its tensor."""
    n, m, count = part.N, part.M, part.count
    factors = _factors(plan, wanted)
    if part.operator:
        return 8 * 3 * count * n * m + 8 * OPERATOR_BYTES
    memory = _spectrum_memory(part, is_single(plan), factors)
    if wanted is None:
        return memory + 8 * count * 2 * n * m
    if factors is None or not _low(factors, m):
        memory += min(HELD, 8 * m * (n // sampling_step(n)))  # what noise is measured on
        memory += 8 * min(n, _WINDOWS) * m * ((wanted.bootstrap > 0 or wanted.farms) and count == 1)
    if wanted.nulls or wanted.vectors:  # one matrix whole, and what is computed of its entries
        memory += 8 * (7 if wanted.vectors else 4) * n * m
    if wanted.vectors:  # vectors and eigenvectors of it, and random ones
        memory += 8 * 3 * m * m + 8 * 4 * min(_DIRECTIONS * n, _DRAWN)
    return memory


def _spectrum_memory(part: Part, single: bool, factors: Factors | None) -> int:
    """Give the bytes that a row's eigenvalues take."""
    n, m, count = part.N, part.M, part.count
    blocks = 4 * 8 * m * block_rows(m)  # of rows: read, in float64, squared, summed
    if factors is not None:  # copies of both, and of their core
        r = factors.rank
        return 4 * 8 * r * (n + m) + 6 * 8 * min(r, m) ** 2 + blocks * (not _low(factors, m))
    if m >= LARGE:  # one after the other: of the Gram matrix a triangle and the pages at its edge
        return 4 * m * m + 4096 * m + blocks + 8 * 640 * m
    if count == 1 and (single or n > 4 * BLOCK):
        return 3 * 8 * m * m + blocks
    return 8 * count * (2 * n * m + 3 * m * m)


def held_bytes(plan: Plan, left: float) -> int:
    """Give the bytes of a tensor that are held at once: all of them, or as many as there is room for."""
    tensor = plan.tensor
    rows = tensor.shape[0]
    if tensor.factors is not None and is_single(plan):  # these, in float64
        return 8 * tensor.factors.rank * sum(tensor.shape)
    if tensor.whole:
        return tensor.nbytes
    if not is_single(plan) or tensor.nbytes <= _STREAM:
        return tensor.nbytes * (plan.rows or rows) // rows
    tall, near = rows >= tensor.shape[1], "://" not in tensor.origin
    if tall and near:  # read again as often as needed: its pages are in the system's memory
        return tensor.nbytes * block_rows(tensor.shape[1]) // rows
    return tensor.nbytes if tensor.nbytes <= left else max(_STREAM, int(min(left, tensor.nbytes)))
