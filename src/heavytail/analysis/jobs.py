"""How and where the spectra of a model are computed: costs, memory, threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from math import prod

from heavytail.diagnosis.layer import Layer, Wanted, diagnose_layer
from heavytail.diagnosis.row import Row
from heavytail.diagnosis.weightwatcher import diagnose_weightwatcher, spectrum_weightwatcher
from heavytail.errors import HeavytailError
from heavytail.spectra.entries import Blocks
from heavytail.spectra.exact import BLOCK, LARGE, block_rows, pool, spectrum_of_rows, spectrum_of_stack
from heavytail.spectra.operator import GRID, operator_spectrum
from heavytail.weights.layout import Part, Plan
from heavytail.weights.tensor import Array, Tensor

__all__ = ["Cost", "cost", "run_all"]

_STREAM = 16 << 20  # a tall matrix of more bytes is read in blocks of rows
_WINDOWS = 2000  # rows at most in the windows of FARMS
_REPLICATE = 12e3  # operations a point of a resampled spectrum: two fits, mostly of calls and little of arithmetic
_TINY = 5e6  # matrices of fewer operations go one after another: handing them to threads costs more than it gains


@dataclass(frozen=True, slots=True)
class Cost:
    """What a job takes.

    Attributes:
        operations: floating-point operations of the Gram matrices and their eigenvalues.
        bytes: bytes read.
        memory: bytes held at once.
    """

    operations: float
    bytes: int
    memory: int


def cost(plan: Plan, wanted: Wanted | None = None) -> Cost:
    """Work out what a job takes, from shapes alone; WeightWatcher's numbers where nothing is wanted of ours."""
    tensor = plan.tensor
    if not plan.parts:
        return Cost(0.0, 0, 0)
    operations, memory = 0.0, 0
    for part in plan.parts:
        n, m, count = part.N, part.M, part.count
        # W^T W by symmetry n m^2, its eigenvalues 4/3 m^3; singular values 2 n m^2 + 2 m^3 (Golub and Van Loan 2013).
        single = 2 * n * m**2 + 2 * m**3 if wanted is None else n * m**2 + 4 / 3 * m**3
        if wanted:  # a copy costs what the matrix does; vectors are some six times an eigenvalue problem's values
            single *= 1 + wanted.nulls
            single += wanted.vectors * (2 * n * m**2 + 9 * m**3)
        if part.operator:
            # Complex, and one matrix for each frequency; a Keras kernel's axes differ, the product hardly.
            single *= 4
            count *= prod(max(GRID, k) for k in tensor.shape[2:])
        operations += count * single
        if wanted:  # a replicate is drawn, sorted and fitted twice, at some thousand operations a point
            operations += wanted.bootstrap * _REPLICATE * count * m
            memory += 8 * min(n, _WINDOWS) * m * (wanted.bootstrap > 0 and part.count == 1)
        alone = count == 1 and (m >= LARGE or n > 4 * BLOCK)
        # Of a streamed matrix its Gram matrix, and a block of rows thrice: read, squared, summed.
        memory = max(memory, 8 * m * (m + 3 * block_rows(m)) if alone else 8 * count * (n * m + m * m))
        if wanted and (wanted.nulls or wanted.vectors):  # one matrix whole, and what is computed of its entries
            memory += 8 * 4 * n * m
    if _streams(plan):
        held = block_rows(tensor.shape[1]) * tensor.nbytes // tensor.shape[0]
    else:
        held = tensor.nbytes * (plan.rows or tensor.shape[0]) // tensor.shape[0]
    return Cost(operations, tensor.nbytes, memory + held)


def run_all(
    plans: Sequence[Plan],
    costs: Sequence[Cost],
    jobs: int,
    wanted: Wanted | None,
    progress: Callable[[str, float], None],
) -> list[list[Layer]]:
    """Run all jobs and give their results in the order of the plans.

    Small matrices go through a pool of `jobs` threads with one BLAS thread each, so that they share the processors
    without getting in each other's way. Large ones go one at a time with `jobs` BLAS threads, so that one working copy
    is in memory. The thread counts of the process are as before when this returns or fails.

    Args:
        plans: the jobs.
        costs: what each of them takes.
        jobs: number of threads.
        wanted: what is asked for; None to compute as WeightWatcher does.
        progress: called with the name of each finished tensor and its operations.
    """
    from threadpoolctl import threadpool_limits

    results: list[list[Layer]] = [[] for _ in plans]
    operations = [cost.operations for cost in costs]
    large = [i for i, p in enumerate(plans) if any(part.M >= LARGE for part in p.parts)]
    small = sorted(set(range(len(plans))) - set(large), key=lambda i: -operations[i])

    def run(indices: list[int]) -> list[int]:
        for i in indices:
            results[i] = _run(plans[i], wanted)
        return indices

    def finished(indices: list[int]) -> None:
        for i in indices:
            progress(plans[i].tensor.name, operations[i])

    if large:  # what loads a BLAS of its own must be there before the limits are set
        import scipy.linalg.lapack  # noqa: F401

    with threadpool_limits(1, user_api="blas"):
        for indices in _in_threads(run, _tasks(small, operations), jobs):
            finished(indices)
    with threadpool_limits(jobs, user_api="blas"):
        for i in large:
            finished(run([i]))
    return results


def _in_threads(run: Callable[[list[int]], list[int]], tasks: list[list[int]], jobs: int) -> Iterator[list[int]]:
    """Run tasks in threads and give their results as they come; a failure, or an end of interest, cancels the rest."""
    if jobs == 1:
        yield from map(run, tasks)
        return
    with ThreadPoolExecutor(jobs) as executor:
        try:
            for future in as_completed([executor.submit(run, task) for task in tasks]):
                yield future.result()
        finally:
            executor.shutdown(cancel_futures=True)


def _tasks(indices: Sequence[int], operations: Sequence[float]) -> list[list[int]]:
    """Give each job a task of its own, but all tiny ones one together."""
    tiny = [i for i in indices if operations[i] < _TINY]
    return [[i] for i in indices if operations[i] >= _TINY] + ([tiny] if tiny else [])


def _run(plan: Plan, wanted: Wanted | None) -> list[Layer]:
    """Compute the rows of one tensor; whatever goes wrong is a row that says so."""
    dtype = plan.tensor.dtype
    if not plan.parts:
        return [Layer(Row(name=plan.name, kind=plan.kind, dtype=dtype, status=plan.status, reason=plan.reason))]
    computations = _by_weightwatcher(plan) if wanted is None else _computations(plan, wanted)
    layers: list[Layer] = []
    for part in plan.parts:
        try:
            layers.append(next(computations)())
        except Exception as error:  # one bad layer never ends a run
            layers.append(Layer(_failed(part, dtype, error)))
    return layers


def _failed(part: Part, dtype: str, error: Exception) -> Row:
    if isinstance(error, HeavytailError):
        reason = str(error)
    elif isinstance(error, MemoryError):
        reason = "not enough memory"
    elif isinstance(error, StopIteration):
        reason = "its tensor could not be read"
    else:
        reason = f"{type(error).__name__}: {error}"
    return Row(
        name=part.name,
        kind=part.kind,
        dtype=dtype,
        status="failed",
        reason=reason,
        N=part.N,
        M=part.M,
        Q=part.N / part.M,
        num_matrices=part.count,
    )


def _streams(plan: Plan) -> bool:
    """Whether a plan's only matrix is tall and large enough to be read in blocks of rows."""
    tensor = plan.tensor
    return (
        len(plan.parts) == 1
        and len(tensor.shape) == 2
        and tensor.size == plan.parts[0].N * plan.parts[0].M
        and tensor.shape[0] >= tensor.shape[1]
        and tensor.nbytes > _STREAM
    )


def _computations(plan: Plan, wanted: Wanted) -> Iterator[Callable[[], Layer]]:
    """Give, one after another, the computations of the parts; the tensor is read once, on the way."""
    tensor = plan.tensor
    if _streams(plan):
        yield partial(_streamed, plan.parts[0], tensor, wanted)
        return
    blocks = enumerate(tensor.blocks(plan.rows or tensor.shape[0]))
    index, block = next(blocks)
    for part in plan.parts:
        while index < part.block:
            index, block = next(blocks)
        yield partial(_of_part, part, block, tensor.dtype, wanted)


def _by_weightwatcher(plan: Plan) -> Iterator[Callable[[], Layer]]:
    array = plan.tensor.read()
    for part in plan.parts:
        yield partial(_as_weightwatcher, part, array, plan.tensor.dtype)


def _as_weightwatcher(part: Part, array: Array, dtype: str) -> Layer:
    spectrum = spectrum_weightwatcher(part.stack(array), part.N, part.M)
    return Layer(diagnose_weightwatcher(spectrum, name=part.name, kind=part.kind, dtype=dtype), spectrum)


def _streamed(part: Part, tensor: Tensor, wanted: Wanted) -> Layer:
    rows, columns = tensor.shape
    spectrum = spectrum_of_rows(tensor.blocks, rows, columns, tensor.dtype)
    return diagnose_layer(spectrum, [tensor.blocks], wanted, name=part.name, kind=part.kind, dtype=tensor.dtype)


def _of_part(part: Part, array: Array, dtype: str, wanted: Wanted) -> Layer:
    stack = part.stack(array)
    if part.operator:
        spectrum, matrices = pool([operator_spectrum(kernel, dtype) for kernel in stack]), []
    else:
        spectrum, matrices = spectrum_of_stack(stack, dtype), [_rows(matrix) for matrix in stack]
    return diagnose_layer(spectrum, matrices, wanted, name=part.name, kind=part.kind, dtype=dtype)


def _rows(matrix: Array) -> Blocks:
    """Give a matrix as one that is read in blocks of rows, its larger dimension first."""
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    return lambda r: (tall[i : i + r] for i in range(0, len(tall), r))
