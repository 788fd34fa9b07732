r"""How the leading singular directions of two matrices lie to each other.

Between the leading subspaces there are principal angles. And each leading vector v of the second matrix may be near one
of the first matrix's vectors or far from all of them: then it is an intruder dimension (Shuttleworth et al. 2024).

The largest |<v, v_j>| over all singular vectors v_j of the first matrix needs none of them. The spectral measure of v,
<v, v_j>^2 at each eigenvalue of W^T W, has moments that Lanczos gives in a few steps, and they bound its largest atom
from above (`atoms`). From below it is bounded by the vectors that have converged meanwhile. So both matrices are only
ever multiplied, by blocks of vectors; small ones are decomposed.

What is computed belongs to matrices W^T W that are changed by 1e-10 of their largest eigenvalue at most, as a rule less
than what rounding the weights to float32 does. Eigenvalues that lie closer together are one, and the nearest vector is
then the projection on what belongs to it. Singular values below 1e-7 of the largest or so are lost in the rounding of
W^T W: they count as zero, and their vectors as no directions of the matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray

from heavytail.errors import MatrixError
from heavytail.spectra.atoms import largest_atom
from heavytail.spectra.entries import Blocks
from heavytail.spectra.exact import block_rows, unusable
from heavytail.spectra.lanczos import Krylov, jacobi
from heavytail.spectra.lapack import add_gram
from heavytail.weights.tensor import Array

__all__ = ["Subspaces", "compare_subspaces"]

_SMALL = 768  # up to this M it costs no more to compute all vectors
_MATRICES = 3  # most memory for the rows that are kept, in matrices of M x M float64
_SPARE = 4  # columns of a block beyond those that are asked for
_BACKWARD = 1e-10  # of the largest eigenvalue: residual of a vector that has converged
_PASSES = 64  # most products with a block of vectors
_FIRST_LOOK = 8  # products after which to see whether they are enough
_LEAST = 1e-250  # sums of squares below it may have lost digits to underflow

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Subspaces:
    """How the leading singular directions of two matrices of one shape lie to each other.

    Attributes:
        k: dimension of the subspaces: what was asked for, or the smaller rank.
        cosines_narrow: (k,) cosines of the principal angles between the leading subspaces on the side of length M,
            descending. Where singular values k and k + 1 are equal, a subspace is one of many.
        cosines_wide: (k,) the same on the side of length N.
        nearest_lo: (k,), or more where only the base's rank limits k: for each of the tuned matrix's leading singular
            vectors on the side of length M, a lower bound of the largest |cosine| with any singular vector of the base.
        nearest_hi: as many upper bounds.
        cutoff: the cosine below which a vector is an intruder.
    """

    k: int
    cosines_narrow: Matrix
    cosines_wide: Matrix
    nearest_lo: Matrix
    nearest_hi: Matrix
    cutoff: float

    @property
    def intruders(self) -> int:
        """Vectors that are certainly far from all of the base's."""
        return int((self.nearest_hi < self.cutoff).sum())

    @property
    def undecided(self) -> int:
        """Vectors of which the bounds do not tell whether they are."""
        return int(((self.nearest_lo < self.cutoff) & (self.nearest_hi >= self.cutoff)).sum())


def compare_subspaces(base: Blocks, tuned: Blocks, N: int, M: int, k: int = 10, cutoff: float = 0.5) -> Subspaces:
    """Compare the leading singular directions of two N x M matrices.

    The rows of each matrix are read once and kept, one matrix at a time, where they take no more than three M x M
    matrices of float64; a taller one is read twice, and W^T W is kept.

    Args:
        base: the matrix whose singular vectors are looked at as a whole.
        tuned: the matrix whose leading singular vectors are looked for among them.
        N: number of rows, at least M.
        M: number of columns.
        k: number of leading directions, at least 1. The paper's own code has the same default and leaves the cutoff
            open; that is the PEFT library's. Both take the vectors of the output side. Here they are of the shorter
            side, on which the singular vectors of a base of full rank are a basis.
        cutoff: the cosine below which a vector is an intruder.

    Raises:
        MatrixError: if an entry is not finite, or its square overflows or vanishes.

    Example:
        >>> W = np.diag([4.0, 3.0, 2.0, 1.0])
        >>> turned = W[:, [1, 0, 2, 3]] + np.diag([0.0, 0.0, 9.0, 9.0])
        >>> both = compare_subspaces(lambda r: [W], lambda r: [turned], 4, 4, k=2)
        >>> both.cosines_narrow, both.nearest_hi, both.intruders
        (array([0., 0.]), array([1., 1.]), 0)
    """
    whole = M <= _SMALL or 4 * (k + _SPARE) > M
    ours = _read(tuned, N, M, whole)
    V = np.zeros((M, 0))
    for krylov in _spaces(ours, whole, _random(M, k + _SPARE)):
        converged, V = _leading(krylov, k)
        if converged:
            break
    U = ours.image(V)
    del ours
    theirs = _read(base, N, M, whole)
    V0, lo, hi = np.zeros((M, 0)), np.zeros(V.shape[1]), np.zeros(V.shape[1])
    for krylov in _spaces(theirs, whole, np.append(V, _random(M, k + _SPARE - V.shape[1]), axis=1)):
        converged, V0 = _leading(krylov, k)
        if converged:
            lo, hi = _nearest(krylov, V.shape[1])
            if krylov.passes >= _PASSES or bool(((lo >= cutoff) | (hi < cutoff)).all()):
                break
    return Subspaces(
        k=min(V.shape[1], V0.shape[1]),
        cosines_narrow=_cosines(V0, V),
        cosines_wide=_cosines(theirs.image(V0), U),
        nearest_lo=lo,
        nearest_hi=hi,
        cutoff=cutoff,
    )


@dataclass(frozen=True, slots=True)
class _Matrix:
    """An N x M matrix W that can be multiplied: its rows, or W^T W where they would take more memory.

    Attributes:
        shape: (N, M).
        rows: reads it, from memory where it is kept.
        gram: (M, M) W^T W, in a matrix that is small or tall.
        trace: of W^T W.
    """

    shape: tuple[int, int]
    rows: Blocks
    gram: Matrix | None
    trace: float

    @property
    def rounding(self) -> float:
        """Allowance for the rounding of products with W^T W, relative to its norm; that of `lanczos.Krylov`."""
        return 10 * sqrt(sum(self.shape)) * 2.0**-53

    def squared(self, X: Matrix) -> Matrix:
        """Give W^T W X over the trace."""
        if self.gram is not None:
            return self.gram @ X / self.trace
        product = np.zeros(X.shape)
        for block in self.rows(block_rows(len(X))):
            W = block.astype(np.float64)
            product += W.T @ (W @ X)
        return product / self.trace

    def image(self, V: Matrix) -> Matrix:
        """Give an orthonormal basis of W V, each column of which adds one to the span of those before it."""
        step = block_rows(len(V))
        return np.linalg.qr(np.concatenate([block.astype(np.float64) @ V for block in self.rows(step)]))[0]


@np.errstate(over="ignore", invalid="ignore")
def _read(rows: Blocks, N: int, M: int, whole: bool) -> _Matrix:
    """Read a matrix so that it can be multiplied; as a whole, so that it can be decomposed."""
    step = block_rows(M)
    kept = rows
    if N <= _MATRICES * M:
        blocks = [_narrowed(block) for block in rows(step)]
        kept = lambda _: blocks  # noqa: E731
    gram = None
    if whole or kept is rows:
        gram = np.zeros((M, M), order="F")
        for block in kept(step):
            add_gram(np.ascontiguousarray(block, dtype=np.float64), gram)
        gram += np.tril(gram, -1).T
        trace = float(gram.trace())
    else:
        trace = sum(float(np.square(block.astype(np.float64)).sum()) for block in kept(step))
    if not _LEAST < trace < inf and (problem := unusable(kept(step))):
        raise MatrixError(problem)
    return _Matrix((N, M), kept, gram, trace)


def _narrowed(block: Array) -> Array:
    """Give what is kept of rows: types that are slow to compute with become float32, which holds their numbers."""
    return block.astype(np.float32) if block.dtype.itemsize < 4 else block


def _random(M: int, columns: int) -> Matrix:
    return np.random.default_rng(0).standard_normal((M, columns))


def _spaces(matrix: _Matrix, whole: bool, starts: Matrix) -> Iterator[Krylov]:
    """Give ever larger block Krylov spaces of W^T W over its trace, or the whole space at once; none of a zero."""
    if matrix.trace == 0:
        return
    if whole and matrix.gram is not None:
        M, A = len(starts), matrix.gram / matrix.trace
        rounding = matrix.rounding * float(np.linalg.norm(A, axis=0).max())
        yield Krylov(np.eye(M), A, np.zeros((0, M)), starts, 1.0, 1, rounding)
        return
    look = _FIRST_LOOK
    for krylov in _grow(matrix, starts):
        if krylov.passes >= look or len(krylov.E) == 0:
            yield krylov
            look += max(3, look // 8)


def _grow(matrix: _Matrix, starts: Matrix) -> Iterator[Krylov]:
    """Add a block to a Krylov space, and another, until it is invariant; the last one has no rows of E."""
    M = len(starts)
    V, T = np.empty((M, M), order="F"), np.zeros((M, M))  # pages that are not touched take no memory
    block, coefficients = np.linalg.qr(starts)
    d = passes = 0
    rounding = 0.0
    while block.shape[1]:
        old, d, passes = d, d + block.shape[1], passes + 1
        V[:, old:d] = block
        space = V[:, :d]
        Z = matrix.squared(block)
        rounding = max(rounding, matrix.rounding * float(np.linalg.norm(Z, axis=0).max()))
        T[:d, old:d] = space.T @ Z
        T[old:d, :old] = T[:old, old:d].T
        Z -= space @ T[:d, old:d]
        Q, R = np.linalg.qr(Z)
        left, sizes, right = np.linalg.svd(R, full_matrices=False)
        out = sizes[: M - d] > rounding
        E = np.zeros((int(out.sum()), d))
        E[:, old:] = (sizes[:, None] * right)[: len(E)]
        inside = np.zeros((d, starts.shape[1]))
        inside[: len(coefficients)] = coefficients
        yield Krylov(space, T[:d, :d], E, inside, 1.0, passes, rounding)
        block = Q @ left[:, : len(E)]
        block -= space @ (space.T @ block)
        block = np.linalg.qr(block)[0]


def _leading(krylov: Krylov, k: int) -> tuple[bool, Matrix]:
    """Give k leading eigenvectors, or as many as there are beyond rounding, and whether they have converged."""
    from scipy.linalg import eigh

    d = len(krylov.T)
    values, Y = eigh(krylov.T, subset_by_index=(max(d - k, 0), d - 1))
    beyond = values > krylov.rounding
    values, Y = values[beyond], Y[:, beyond]
    residuals = np.linalg.norm(krylov.E @ Y, axis=0)
    converged = bool((residuals <= np.maximum(_BACKWARD * values, krylov.rounding)).all())
    return converged, (krylov.V @ Y)[:, ::-1]


def _nearest(krylov: Krylov, k: int) -> tuple[Matrix, Matrix]:
    """Bound the largest |cosine| of each of the first k start vectors with any eigenvector, from both sides.

    From below by the Ritz vectors. One with the residual r is within the angle r / gap of an eigenvector (Davis and
    Kahan 1970), if the gap is that to all other eigenvalues, for which the other Ritz values are taken.
    """
    values, Y = np.linalg.eigh(krylov.T)
    first = np.flatnonzero(np.diff(values, prepend=-inf) > krylov.rounding)  # of those that are equal
    last = np.append(first[1:], len(values)) - 1
    apart = np.concatenate([[inf], values[first[1:]] - values[last[:-1]], [inf]])
    residuals = np.sqrt(np.add.reduceat(np.square(krylov.E @ Y).sum(axis=0), first))
    cosines = np.sqrt(np.add.reduceat(np.square(krylov.starts[:, :k].T @ Y), first, axis=1))
    cosines -= np.minimum(residuals / np.minimum(apart[:-1], apart[1:]), 1.0)
    lo = cosines[:, values[first] > krylov.rounding].max(axis=1, initial=0.0).clip(max=1.0)
    if len(krylov.E) == 0:
        return lo, lo
    hi = [sqrt(largest_atom(jacobi(krylov, j), krylov.rounding)) for j in range(k)]
    return lo, np.clip(hi, lo, 1.0)


def _cosines(Q0: Matrix, Q1: Matrix) -> Matrix:
    """Give the cosines of the principal angles between the spans of the first columns of two orthonormal bases."""
    k = min(Q0.shape[1], Q1.shape[1])
    return np.linalg.svd(Q0[:, :k].T @ Q1[:, :k], compute_uv=False).clip(max=1.0)
