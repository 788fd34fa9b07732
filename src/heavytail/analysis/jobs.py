"""One tensor's work: from a reference to its numbers to the rows of the table. It runs in any process that has them."""

from __future__ import annotations

import os
import pickle
import socket
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from heavytail.analysis.cache import Cache
from heavytail.analysis.cost import Cost
from heavytail.analysis.numbers import Numbers, cut
from heavytail.diagnosis.certified import diagnose_certified
from heavytail.diagnosis.layer import Layer, Measured, Wanted, diagnose_layer, measure
from heavytail.diagnosis.noise import find_noise
from heavytail.diagnosis.row import Row
from heavytail.diagnosis.tail import TailEntries
from heavytail.diagnosis.tail_score import tail_score
from heavytail.diagnosis.weightwatcher import diagnose_weightwatcher, spectrum_weightwatcher
from heavytail.errors import HeavytailError, MatrixError
from heavytail.spectra.certified import CertifiedSpectrum, approximate_spectrum
from heavytail.spectra.entries import Blocks
from heavytail.spectra.exact import RANK_OPEN, pool, spectrum_of_rows, spectrum_of_stack
from heavytail.spectra.factors import spectrum_of_factors
from heavytail.spectra.operator import operator_spectrum
from heavytail.spectra.spectrum import Spectrum
from heavytail.threads import blas_threads
from heavytail.weights.layout import Part, Plan
from heavytail.weights.tensor import Array, Tensor

__all__ = [
    "Done",
    "Found",
    "Job",
    "OutdatedWorkerError",
    "UnreachableFileError",
    "failed",
    "keep",
    "numbers_of",
    "reason_of",
    "recall",
    "run",
    "run_elsewhere",
]


Found = Measured | CertifiedSpectrum
"""What is found out from a part's numbers, exactly or in bounds."""


class OutdatedWorkerError(HeavytailError):
    """A worker runs another version of the library."""


class UnreachableFileError(HeavytailError):
    """A worker cannot see a file, or sees another one."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done with one tensor; it holds references, not numbers, unless the model is in memory.

    Attributes:
        plan: the tensor and its parts.
        cost: what the job takes.
        wanted: what is asked for; None to compute as WeightWatcher does.
        sizes: the files that the tensor needs, and their sizes.
        keep: whether results are kept, for which the digest of the tensor is needed.
        digest: of the tensor's numbers, where it is known already.
        device: torch's name of where large matrices are computed; None for here.
        known: for each part what is known of it already.
        approximate: whether eigenvalues are enclosed and not computed.
        refused: why it is not done exactly, if it is not.
    """

    plan: Plan
    cost: Cost
    wanted: Wanted | None
    sizes: tuple[tuple[str, int], ...] = ()
    keep: bool = False
    digest: str = ""
    device: str | None = None
    known: tuple[Found | None, ...] = ()
    approximate: bool = False
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a job.

    Attributes:
        layers: its rows.
        digest: of the tensor's numbers, where it was asked for.
        measured: for each part what was measured of it; None where it failed.
    """

    layers: list[Layer]
    digest: str = ""
    measured: tuple[Found | None, ...] = ()


def run(job: Job, cache: Cache | None = None, numbers: Numbers | None = None) -> Done:
    """Compute the rows of one tensor; whatever goes wrong with one of them is a row that says so.

    Args:
        job: the job.
        cache: where results are looked up and kept as soon as they are there, in the process that owns the folder.
        numbers: the tensor's numbers, where whoever calls reads them too.
    """
    plan = job.plan
    if not plan.parts:
        row = Row(name=plan.name, kind=plan.kind, dtype=_stored(plan.tensor), status=plan.status, reason=plan.reason)
        return Done([Layer(row)])
    known = job.known or (None,) * len(plan.parts)
    digest, found, layers = job.digest, list[Found | None](), list[Layer]()
    numbers = numbers or numbers_of(job)
    for part, measured in zip(plan.parts, known, strict=True):
        try:
            if measured is None:
                if job.keep and not digest and (job.approximate or not job.refused):
                    digest = numbers.digest()
                if cache is not None and digest:
                    measured = recall(cache, digest, part, job)
                if measured is None and job.refused and not job.approximate:
                    raise MatrixError(job.refused)
                if measured is None:
                    measured = _measured(job, part, numbers, cache, digest)
            layers.append(_diagnosed(measured, part, job))
            found.append(measured)
        except Exception as error:  # one bad layer never ends a run
            layers.append(failed(part, plan.tensor, error))
            found.append(None)
    return Done(layers, digest, tuple(found))


def numbers_of(job: Job) -> Numbers:
    """Give access to the numbers of a job's tensor."""
    return Numbers(job.plan, job.cost.held, in_parts=job.wanted is not None)


def recall(cache: Cache, digest: str, part: Part, job: Job) -> Found | None:
    """Look up what was measured of a part."""
    found = cache.get("measured", digest, _view(part), _purpose(part, job))
    if job.approximate:
        return found if isinstance(found, CertifiedSpectrum) else None
    return found if isinstance(found, Measured) and _settled(found.spectrum, job) else None


def _settled(spectrum: Spectrum, job: Job) -> bool:
    """Whether a spectrum is as good as the job can make it: one whose rank is open was made with less memory."""
    return spectrum.method != RANK_OPEN or not job.cost.svd


def keep(cache: Cache, digest: str, part: Part, job: Job, measured: Found) -> None:
    """Keep what was measured of a part."""
    if isinstance(measured, Measured):
        cache.put(measured.spectrum, "spectrum", digest, _view(part), _computed(job))
    cache.put(measured, "measured", digest, _view(part), _purpose(part, job))


def _view(part: Part) -> str:
    """Tell how a part's matrices are seen in its tensor."""
    function, bound = (part.stack.func, part.stack.args) if isinstance(part.stack, partial) else (part.stack, ())
    how = getattr(function, "__name__", function)  # one without a name is a dataclass, which tells all of itself
    return repr((part.N, part.M, part.count, part.operator, part.block, how, bound))


def _computed(job: Job) -> str:
    """Tell how eigenvalues are computed."""
    return "weightwatcher" if job.wanted is None else job.device or "here"


def _purpose(part: Part, job: Job) -> str:
    """Tell what of the request the measurement depends on."""
    wanted = job.wanted
    if wanted is None:
        return _computed(job)
    if job.approximate:
        return f"approximate {wanted.seed}"
    return repr((_computed(job), wanted.vectors, wanted.nulls, (wanted.seed, part.name) if wanted.nulls else ()))


def _measured(job: Job, part: Part, numbers: Numbers, cache: Cache | None, digest: str) -> Found:
    """Measure a part, and keep what is expensive as soon as it is there."""
    if job.approximate and job.wanted is not None:
        enclosed = approximate_spectrum(numbers.matrix(), part.N, part.M, seed=job.wanted.seed)
        if cache is not None and digest:
            keep(cache, digest, part, job, enclosed)
        return enclosed
    known = cache.get("spectrum", digest, _view(part), _computed(job)) if cache is not None else None
    if not isinstance(known, Spectrum) or not _settled(known, job):
        known = None
    if job.wanted is None:
        spectrum = known or spectrum_weightwatcher(part.stack(numbers.block(0)), part.N, part.M)
        measured = Measured(spectrum)
    elif numbers.product is not None:
        factors, scale = numbers.factors(numbers.product), numbers.product.scale
        spectrum = known or spectrum_of_factors(*factors, scale, job.plan.tensor.dtype)
        measured = _measure_product(spectrum, numbers.matrix(), job, part)
    elif numbers.single:
        blocks = numbers.matrix()
        spectrum = known or spectrum_of_rows(blocks, part.N, part.M, job.plan.tensor.dtype, job.cost.svd, job.device)
        measured = _measure(spectrum, [blocks], job, part)
    else:
        stack = part.stack(numbers.block(part.block))
        spectrum = known or _spectrum(stack, part, job)
        measured = _measure(spectrum, [] if part.operator else [cut(matrix) for matrix in stack], job, part)
    if cache is not None and digest:
        keep(cache, digest, part, job, measured)
    return measured


def _measure(spectrum: Spectrum, matrices: list[Blocks], job: Job, part: Part) -> Measured:
    assert job.wanted is not None
    return measure(spectrum, matrices, job.wanted, name=part.name, dtype=job.plan.tensor.dtype)


def _measure_product(spectrum: Spectrum, matrix: Blocks, job: Job, part: Part) -> Measured:
    """Measure a product; one of low rank shows no noise and is not formed, unless its entries are asked for."""
    assert job.wanted is not None
    if job.wanted.nulls or job.wanted.vectors or not 0 < spectrum.rank < spectrum.M / 2:
        return _measure(spectrum, [matrix], job, part)
    return Measured(spectrum, TailEntries(tail_score(spectrum, ())), find_noise(spectrum, [matrix]))


def _spectrum(stack: Array, part: Part, job: Job) -> Spectrum:
    dtype = job.plan.tensor.dtype
    if part.operator:
        return pool([operator_spectrum(kernel, dtype) for kernel in stack])
    return spectrum_of_stack(stack, dtype, svd=job.cost.svd, device=job.device)


def _diagnosed(measured: Found, part: Part, job: Job) -> Layer:
    tensor = job.plan.tensor
    if isinstance(measured, CertifiedSpectrum):
        return diagnose_certified(
            measured, name=part.name, kind=part.kind, dtype=tensor.dtype, stored=_stored(tensor), why=job.refused
        )
    names = {"name": part.name, "kind": part.kind, "dtype": _stored(tensor)}
    if job.wanted is None:
        return Layer(diagnose_weightwatcher(measured.spectrum, **names), measured.spectrum)
    return diagnose_layer(measured, job.wanted, **names)


def _stored(tensor: Tensor) -> str:
    return tensor.stored or tensor.dtype


def reason_of(error: BaseException) -> str:
    """Say for a row why it failed."""
    if isinstance(error, HeavytailError):
        return str(error)
    if isinstance(error, MemoryError):
        return "not enough memory"
    return "its tensor could not be read" if isinstance(error, StopIteration) else f"{type(error).__name__}: {error}"


def failed(part: Part, tensor: Tensor, error: BaseException) -> Layer:
    """Make the row of a part that could not be computed."""
    row = Row(
        name=part.name,
        kind=part.kind,
        dtype=_stored(tensor),
        status="failed",
        reason=reason_of(error),
        N=part.N,
        M=part.M,
        Q=part.N / part.M,
        num_matrices=part.count,
    )
    return Layer(row)


def run_elsewhere(version: str, pickled: bytes) -> list[Done]:
    """Run jobs in a process that may not be the one that planned them.

    Args:
        version: version of the library that planned them; another one may not even know what the bytes are.
        pickled: the list of jobs.

    Raises:
        OutdatedWorkerError: it runs another version of the library.
        UnreachableFileError: it cannot see a file, or sees one of another size.
    """
    from heavytail import __version__

    where = f"worker {socket.gethostname()}:{os.getpid()}"
    if version != __version__:
        raise OutdatedWorkerError(f"{where} runs heavytail {__version__}, this is {version}; use one version")
    jobs: list[Job] = pickle.loads(pickled)
    for job in jobs:
        for name, size in job.sizes:
            try:
                seen = Path(name).stat().st_size
            except OSError as error:
                text = f"{where} cannot read {name} ({error.strerror}); workers must see it under the same path"
                raise UnreachableFileError(text) from None
            if seen != size:
                raise UnreachableFileError(f"{where} sees another file {name}: {seen} bytes, {size} expected")
    with blas_threads(1):
        return [run(job) for job in jobs]
