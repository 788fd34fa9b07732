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
from math import ceil, isfinite, sqrt

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from heavytail.errors import MatrixError
from heavytail.spectra.spectrum import Spectrum
from heavytail.weights.tensor import Array, numpy_dtype

__all__ = ["BLOCK", "LARGE", "not_finite", "pool", "spectrum_of_rows", "spectrum_of_stack", "unit_roundoff"]

BLOCK = 512  # rows in one step of the Gram matrix
LARGE = 1024  # from this M on LAPACK works in place, one matrix at a time
_EPS = 2.0**-52

Matrix = NDArray[np.float64]


@lru_cache
def unit_roundoff(dtype: str) -> float:
    """Give the largest relative rounding error of a stored type, for example 2^-24 for float32.

    Example:
        >>> unit_roundoff("bfloat16") == 2**-8
        True
    """
    return float(ml_dtypes.finfo(numpy_dtype(dtype)).eps) / 2  # type: ignore[no-untyped-call]


def spectrum_of_rows(rows: Callable[[int], Iterable[Array]], N: int, M: int, dtype: str) -> Spectrum:
    """Compute the spectrum of one N x M matrix that is read in blocks of rows and never held as a whole.

    Args:
        rows: given a number r, reads the matrix in order as blocks of at most r rows, shape (<= r, M). Called a second
            time only where the singular values are needed.
        N: number of rows, at least M.
        M: number of columns.
        dtype: name of the stored type, which sets the numerical rank.

    Raises:
        MatrixError: if an entry is not finite, or its square is not.
    """
    if M < LARGE:
        G = np.zeros((M, M))
        for block in rows(BLOCK):
            W = block.astype(np.float64)
            G += W.T @ W
    else:
        G = _large_gram(rows(BLOCK), M)
    if not isfinite(float(G.trace())):
        raise MatrixError(not_finite(rows(BLOCK)))
    evals = _eigenvalues(G)[None]
    return _judge(evals, N, dtype, lambda _: np.concatenate([b.astype(np.float64) for b in rows(N)])[None])


def spectrum_of_stack(stack: Array, dtype: str) -> Spectrum:
    """Compute the pooled spectrum of a stack of matrices of one shape.

    Args:
        stack: (k, a, b) array of any real type, or complex128; it may be a view with any strides.
        dtype: name of the stored type, which sets the numerical rank.

    Raises:
        MatrixError: if an entry is not finite, or its square is not.

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
            return spectrum_of_rows(lambda r: (matrix[i : i + r] for i in range(0, N, r)), N, M, dtype)
        if M >= LARGE:
            return pool([spectrum_of_stack(matrix[None], dtype) for matrix in stack])
        stack = stack.astype(np.float64)
    G = stack.conj().swapaxes(1, 2) @ stack if stack.dtype == np.complex128 else stack.swapaxes(1, 2) @ stack
    if not np.isfinite(G.trace(axis1=1, axis2=2)).all():
        raise MatrixError(not_finite([stack]))
    evals = np.linalg.eigvalsh(G) if M > 1 else G[:, 0].real
    return _judge(evals, N, dtype, lambda chosen: stack[chosen])


def pool(spectra: list[Spectrum]) -> Spectrum:
    """Pool the spectra of several matrices of one shape into one row's spectrum."""
    return Spectrum(
        N=spectra[0].N,
        M=spectra[0].M,
        evals=np.sort(np.concatenate([s.evals for s in spectra])),
        rank=sum(s.rank for s in spectra),
        floor=max(s.floor for s in spectra),
        error=max(s.error for s in spectra),
        sv_min=np.concatenate([s.sv_min for s in spectra]),
        method="svd" if any(s.method == "svd" for s in spectra) else "gram",
    )


def _large_gram(blocks: Iterable[Array], M: int) -> Matrix:
    """Sum W^T W over blocks of rows into the lower triangle of one column-ordered array."""
    from scipy.linalg.blas import dsyrk

    G = np.zeros((M, M), order="F")
    for block in blocks:
        G = dsyrk(1.0, block.astype(np.float64, order="C").T, beta=1.0, c=G, lower=1, overwrite_c=1)
    return G


def _eigenvalues(G: Matrix) -> Matrix:
    """Give the eigenvalues of a symmetric matrix, ascending, from its lower triangle; a large one is overwritten."""
    if len(G) < LARGE:
        return np.asarray(np.linalg.eigvalsh(G), np.float64)
    from scipy.linalg.lapack import dsyev, dsyev_lwork

    work, _ = dsyev_lwork(len(G), lower=1)
    evals, _, info = dsyev(G, compute_v=0, lower=1, lwork=int(work), overwrite_a=1)
    if info:
        raise MatrixError(f"LAPACK's eigenvalue solver did not converge (info {info})")
    return np.asarray(evals)


def _judge(evals: Matrix, N: int, dtype: str, matrices: Callable[[NDArray[np.bool_]], Matrix]) -> Spectrum:
    """Make a Spectrum of (k, M) eigenvalues; where their error leaves the rank open, of singular values."""
    M = evals.shape[1]
    np.maximum(evals, 0, out=evals)
    unit = unit_roundoff(dtype)
    block = min(N, BLOCK)
    error = (block + ceil(N / block)) * _EPS / 2 * evals.sum(axis=1) + 5 * sqrt(M) * _EPS * evals[:, -1]
    open_ = (np.abs(evals - _tolerance(evals, N, unit)[:, None] ** 2) <= error[:, None]).any(axis=1) & (error > 0)
    if not open_.any():
        return _assemble(evals, np.sqrt(evals), N, unit, error, "gram")
    s = np.sqrt(evals)
    s[open_] = np.linalg.svd(matrices(open_), compute_uv=False)[:, ::-1]
    return _assemble(np.where(open_[:, None], s * s, evals), s, N, unit, np.where(open_, 0, error), "svd")


def _tolerance(evals: Matrix, N: int, unit: float) -> Matrix:
    """Give, for each of (k, M) rows of eigenvalues, the singular value that rounding alone can reach.

    Independent errors of relative size e in the entries have a spectral norm near e ||W||_F (1/sqrt(N) + 1/sqrt(M)).
    Rounding to the stored type makes e = unit; the arithmetic that made the weights, in float32 or in float64 where
    they are stored so, is given 16 roundings. The last term is the error of a float64 decomposition.
    """
    noise = (unit + 16 * min(unit, 2.0**-24)) * (1 / sqrt(N) + 1 / sqrt(evals.shape[1]))
    return np.asarray(noise * np.sqrt(evals.sum(axis=1)) + N * _EPS * np.sqrt(evals[:, -1]))


def _assemble(evals: Matrix, s: Matrix, N: int, unit: float, error: Matrix, method: str) -> Spectrum:
    tolerance = _tolerance(evals, N, unit)
    if method == "svd":  # a backward error of `e` in s is 2 s e in s^2
        M = evals.shape[1]
        error = np.maximum(error, 20 * sqrt(M) * _EPS * evals[:, -1])
    return Spectrum(
        N=N,
        M=evals.shape[1],
        evals=np.sort(evals, axis=None),
        rank=int((s > tolerance[:, None]).sum()),
        floor=float(tolerance.max()) ** 2,
        error=float(error.max()),
        sv_min=s[:, 0],
        method=method,
    )


def not_finite(blocks: Iterable[Array]) -> str:
    """Say why the squares of a matrix, given in blocks, are not finite."""
    nan = infinite = total = 0
    for block in blocks:
        values = block if block.dtype == np.complex128 else block.astype(np.float64)
        nan += int(np.isnan(values).sum())
        infinite += int(np.isinf(values).sum())
        total += values.size
    if nan + infinite == 0:
        return "the entries are so large that their squares overflow float64"
    seen = " and ".join(f"{count} {what}" for count, what in ((nan, "NaN"), (infinite, "infinite")) if count)
    return f"{seen} among {total} entries"
