r"""All eigenvalues of W^T W in float64, with a bound on their error.

The Gram matrix W^T W is accumulated from blocks of rows and handed to LAPACK's symmetric eigenvalue solver, which
costs a third of a singular value decomposition and needs no copy of W. What it gives up is the relative accuracy of
the smallest eigenvalues. So the bound is carried along, and where it does not support the numerical rank the
singular values are computed instead.

The bound has two parts. A dot product summed in blocks of b terms, n terms in all, has a relative error of at most
(b + n/b) u for u = 2^-53 (Higham 2002, section 4.2), which summed over the matrix gives (b + N/b) u ||W||_F^2 in
spectral norm. The eigenvalue solver is backward stable: its error is at most p(M) u lambda_max with a p(M) that LAPACK
calls modest; 10 sqrt(M) is taken for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from math import ceil, inf, isfinite, sqrt
from mmap import mmap

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from heavytail.errors import MatrixError
from heavytail.spectra.device import eigenvalues_of_rows
from heavytail.spectra.lapack import add_gram, symmetric_eigenvalues
from heavytail.spectra.spectrum import Spectrum
from heavytail.weights.tensor import Array, numpy_dtype

__all__ = [
    "BLOCK",
    "LARGE",
    "RANK_OPEN",
    "SVD_MATRICES",
    "block_rows",
    "pool",
    "spectrum_of_rows",
    "spectrum_of_stack",
    "svd_error",
    "unit_roundoff",
    "unusable",
]

BLOCK = 512  # most rows in one step of the Gram matrix
LARGE = 1024  # from this M on LAPACK works in place, one matrix at a time
_EPS = 2.0**-52
SVD_MATRICES = 6
"""Matrices of M x M that singular values take: two triangles, copies of both, and workspace."""
RANK_OPEN = "gram, rank open"
"""The method of a spectrum whose rank is a lower bound."""
_LEAST = 1e-250  # sums of squares below it may have lost digits to underflow

Matrix = NDArray[np.float64]


def block_rows(M: int) -> int:
    """Give the rows in one step of an M x M Gram matrix: fewer for wide rows, so that a step stays small beside it.

    Example:
        >>> block_rows(384), block_rows(4096)
        (512, 128)
    """
    return min(BLOCK, max(128, 2**19 // M))


@lru_cache
def unit_roundoff(dtype: str) -> float:
    """Give the largest relative rounding error of a stored type, for example 2^-24 for float32.

    Example:
        >>> unit_roundoff("bfloat16") == 2**-8
        True
    """
    return float(ml_dtypes.finfo(numpy_dtype(dtype)).eps) / 2  # type: ignore[no-untyped-call]


@np.errstate(over="ignore", invalid="ignore")
def spectrum_of_rows(
    rows: Callable[[int], Iterable[Array]],
    N: int,
    M: int,
    dtype: str,
    svd: bool = True,
    device: str | None = None,
    norm: float = 0.0,
) -> Spectrum:
    """Compute the spectrum of one N x M matrix that is read in blocks of rows and never held as a whole.

    Args:
        rows: given a number r, reads the matrix in order as blocks of at most r rows, shape (<= r, M). Called a second
            time only where the singular values are needed.
        N: number of rows, at least M.
        M: number of columns.
        dtype: name of the stored type, which sets the numerical rank.
        svd: whether singular values are computed where rounding leaves the rank open; if not, eigenvalues within their
            error of the floor are not counted, and the method says so.
        device: torch's name of where to compute; None for here.
        norm: Frobenius norm that the rounding of the entries is relative to, where it exceeds that of the matrix
            itself, as where that is a difference.

    Raises:
        MatrixError: if an entry is not finite, or its square overflows or vanishes.
    """
    step = block_rows(M)
    if device is not None and M >= LARGE:
        evals, trace = eigenvalues_of_rows(rows(step), M, device)
    else:
        G = _gram(rows(step), M) if M < LARGE else _large_gram(rows(step), M)
        trace = float(G.trace())
        evals = _eigenvalues(G) if isfinite(trace) else G.diagonal()
        del G
    if not _LEAST < trace < inf and (problem := unusable(rows(step))):
        raise MatrixError(problem)
    matrices = (lambda _: _triangle(rows(max(M, step)))[None]) if svd else None
    return _judge(evals[None], N, min(step, N), dtype, matrices, norm)


@np.errstate(over="ignore", invalid="ignore")
def spectrum_of_stack(
    stack: Array, dtype: str, norm: float = 0.0, svd: bool = True, device: str | None = None
) -> Spectrum:
    """Compute the pooled spectrum of a stack of matrices of one shape.

    Args:
        stack: (k, a, b) array of any real type, or complex128; it may be a view with any strides.
        dtype: name of the stored type, which sets the numerical rank.
        norm: Frobenius norm that the rounding of the entries is relative to, where it exceeds that of a matrix itself.
        svd: whether singular values of large matrices are computed where the rank needs them (`spectrum_of_rows`).
        device: torch's name of where large matrices are computed; None for here.

    Raises:
        MatrixError: if an entry is not finite, or its square overflows or vanishes.

    Example:
        >>> import numpy as np
        >>> spectrum_of_stack(np.array([[[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]]]), "float64").evals
        array([ 9., 16.])
    """
    if stack.shape[1] < stack.shape[2]:
        stack = stack.swapaxes(1, 2)
    k, N, M = stack.shape
    if stack.dtype != np.complex128:
        if k == 1 and (M >= LARGE or N > 4 * BLOCK):
            matrix = stack[0]
            rows = lambda r: (matrix[i : i + r] for i in range(0, N, r))  # noqa: E731
            return spectrum_of_rows(rows, N, M, dtype, svd, device, norm)
        if M >= LARGE:
            return pool([spectrum_of_stack(matrix[None], dtype, norm, svd, device) for matrix in stack])
        stack = np.ascontiguousarray(stack, dtype=np.float64)  # products of strided matrices take several times as long
    G = stack.conj().swapaxes(1, 2) @ stack if stack.dtype == np.complex128 else stack.swapaxes(1, 2) @ stack
    trace = G.trace(axis1=1, axis2=2).real
    if not _LEAST < trace.max() < inf or not isfinite(trace.sum()):
        problem = unusable([stack])
        if problem:
            raise MatrixError(problem)
    evals = np.linalg.eigvalsh(G) if M > 1 else G[:, 0].real
    return _judge(evals, N, N, dtype, lambda chosen: stack[chosen], norm)


def pool(spectra: list[Spectrum]) -> Spectrum:
    """Pool the spectra of several matrices of one shape into one row's spectrum."""
    return Spectrum(
        N=spectra[0].N,
        M=spectra[0].M,
        evals=np.sort(np.concatenate([s.evals for s in spectra])),
        by_matrix=np.concatenate([s.by_matrix for s in spectra]),
        positive=np.sort(np.concatenate([s.positive for s in spectra])),
        floor=max(s.floor for s in spectra),
        error=max(s.error for s in spectra),
        method=spectra[0].method if len({s.method for s in spectra}) == 1 else "svd",
    )


def _gram(blocks: Iterable[Array], M: int) -> Matrix:
    G = np.zeros((M, M))
    for block in blocks:
        W = block.astype(np.float64)
        G += W.T @ W
    return G


def _large_gram(blocks: Iterable[Array], M: int) -> Matrix:
    """Sum W^T W over blocks of rows into the lower triangle of one column-ordered array."""
    # LAPACK never touches the upper triangle. Fresh pages of the system stay free until they are touched, which numpy's
    # own zeros do not: it asks for huge pages. That saves nearly half of the memory.
    G = np.frombuffer(mmap(-1, 8 * M * M)).reshape((M, M), order="F")
    for block in blocks:
        add_gram(np.ascontiguousarray(block, dtype=np.float64), G)
    return G


def _triangle(blocks: Iterable[Array]) -> Matrix:
    """Give a matrix with the singular values of the one that is read in blocks of rows: the R of its QR."""
    parts = (block.astype(np.float64) for block in blocks)
    R: Matrix = next(parts)
    for W in parts:
        R = np.asarray(np.linalg.qr(np.concatenate([R, W]), mode="r"))
    return R


def _eigenvalues(G: Matrix) -> Matrix:
    """Give the eigenvalues of a symmetric matrix, ascending, from its lower triangle; a large one is overwritten."""
    if len(G) < LARGE:
        return np.asarray(np.linalg.eigvalsh(G), np.float64)
    return symmetric_eigenvalues(G)


def _judge(
    evals: Matrix,
    N: int,
    block: int,
    dtype: str,
    matrices: Callable[[NDArray[np.bool_]], Array] | None,
    norm: float = 0.0,
) -> Spectrum:
    """Make a Spectrum of (k, M) eigenvalues; where their error leaves the rank open, of singular values.

    Without the matrices an open rank is counted from below.
    """
    M = evals.shape[1]
    np.maximum(evals, 0, out=evals)
    unit = unit_roundoff(dtype)
    squares = evals.sum(axis=1)
    error = (block + ceil(N / block)) * _EPS / 2 * squares + 5 * sqrt(M) * _EPS * evals[:, -1]
    tolerance = _tolerance(evals, N, unit, norm)
    open_ = (np.abs(evals - tolerance[:, None] ** 2) <= error[:, None]).any(axis=1) & (evals[:, -1] > 0)
    s = np.sqrt(evals)
    method = "svd" if open_.any() else "gram"
    if open_.any() and matrices is None:
        method, tolerance = RANK_OPEN, np.sqrt(tolerance**2 + error)
    elif matrices is not None and open_.any():
        s[open_] = np.linalg.svd(matrices(open_), compute_uv=False)[:, ::-1]
        evals = np.where(open_[:, None], s * s, evals)
        error = np.where(open_, svd_error(evals, N), error)
        tolerance = _tolerance(evals, N, unit, norm)
    above = s > tolerance[:, None]
    pooled = np.sort(evals, axis=None)
    return Spectrum(
        N=N,
        M=M,
        evals=pooled,
        by_matrix=pooled[None] if len(evals) == 1 else evals,
        positive=pooled if above.all() else np.sort(evals[above]),
        floor=float(tolerance.max()) ** 2,
        error=float(error.max()),
        method=method,
    )


def svd_error(evals: Matrix, N: int) -> Matrix:
    """Bound the error of (k, M) squared singular values: those of N x M matrices are off by (N + 10 sqrt(M)) u ||W||_F.

    The term in N is that of the sums over columns, as above; squaring a singular value s turns e into 2 s e.
    """
    size = np.sqrt(evals.sum(axis=1)) * np.sqrt(evals[:, -1])  # whose product would leave the range of float64
    return np.asarray((N + 10 * sqrt(evals.shape[1])) * _EPS * size)


def _tolerance(evals: Matrix, N: int, unit: float, norm: float) -> Matrix:
    """Give, for each of (k, M) rows of eigenvalues, the singular value that rounding alone can reach.

    Independent errors of relative size e in the entries have a spectral norm near e ||W||_F (1/sqrt(N) + 1/sqrt(M)).
    Rounding to the stored type makes e = unit; the arithmetic that made the weights, in float32 or in float64 where
    they are stored so, is given 16 roundings. The last term is the error of a float64 decomposition.
    """
    noise = (unit + 16 * min(unit, 2.0**-24)) * (1 / sqrt(N) + 1 / sqrt(evals.shape[1]))
    largest = np.sqrt(evals[:, -1]) + norm  # a transform is exact to within its norm
    return np.asarray(noise * np.maximum(np.sqrt(evals.sum(axis=1)), norm) + N * _EPS * largest)


def unusable(blocks: Iterable[Array]) -> str:
    """Say why a matrix, given in blocks, has no spectrum in float64; an empty text if it has one."""
    nan = infinite = total = 0
    largest = 0.0
    for block in blocks:
        values = block if block.dtype == np.complex128 else block.astype(np.float64)
        nan += int(np.isnan(values).sum())
        infinite += int(np.isinf(values).sum())
        total += values.size
        largest = max(largest, float(np.abs(values).max(initial=0)))
    if nan + infinite == 0:
        if largest == 0:
            return ""
        what = "large that sums of their squares overflow" if largest > 1 else "small that their squares lose digits in"
        return f"the entries, up to {largest:.0e}, are so {what} float64"
    seen = " and ".join(f"{count} {what}" for count, what in ((nan, "NaN"), (infinite, "infinite")) if count)
    return f"{seen} among {total} entries"
