r"""How the leading singular directions of two matrices lie to each other.

Between the leading subspaces there are principal angles. And each leading vector of the second matrix may be near one
of the first matrix's vectors or far from all of them: then it is an intruder dimension (Shuttleworth et al. 2024).

The largest |<v, v_j>| of a right vector v over all right singular vectors v_j of the first matrix W needs none of them.
The spectral measure of v, <v, v_j>^2 at each eigenvalue s_j^2 of W^T W, has moments that Lanczos gives in a few steps,
and they bound its largest atom from above (`atoms`). From below it is bounded by the vectors that have converged
meanwhile. A left vector u is looked at from the right side, too: W^T u has the measure <u, u_j>^2 s_j^2, which tells
all moments of the measure of u but its mass, and that is 1. What u has outside of the columns of W is an atom at 0,
and none of its directions. So both matrices are only ever multiplied, by blocks of vectors; small ones are decomposed.

What is computed belongs to matrices W^T W that are changed by 1e-10 of their largest eigenvalue at most, as a rule less
than what rounding the weights to float32 does. Eigenvalues that lie closer together are one, and the nearest vector is
then the projection on what belongs to it. Singular values below 1e-7 of the largest or so are lost in the rounding of
W^T W: they count as zero, and their vectors as no directions of the matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray

from heavytail.errors import MatrixError
from heavytail.spectra.atoms import largest_atom
from heavytail.spectra.entries import Blocks
from heavytail.spectra.exact import block_rows, unusable
from heavytail.spectra.lanczos import Krylov, jacobi, jacobi_of_points, krylov_spaces, relative_rounding
from heavytail.spectra.lapack import add_gram
from heavytail.weights.tensor import Array

__all__ = ["Subspaces", "compare_subspaces", "memory"]

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
        nearest_lo: (2, k), or more columns where only the base's rank limits k: for each of the tuned matrix's leading
            singular vectors, on the side of length M in the first row and of length N in the second, a lower bound of
            the largest |cosine| with any singular vector of the base on that side.
        nearest_hi: as many upper bounds.
        cutoff: the cosine below which a direction is an intruder.
    """

    k: int
    cosines_narrow: Matrix
    cosines_wide: Matrix
    nearest_lo: Matrix
    nearest_hi: Matrix
    cutoff: float

    @property
    def intruders(self) -> int:
        """Directions whose vector on one side, or on both, is certainly far from all of the base's."""
        return int((self.nearest_hi < self.cutoff).any(axis=0).sum())

    @property
    def undecided(self) -> int:
        """Directions of which the bounds do not tell whether they are."""
        return int(_open(self.nearest_lo, self.nearest_hi, self.cutoff).sum())


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
            open; that is the PEFT library's. Both take the vectors of the output side alone; here a new vector on
            either side is enough.
        cutoff: the cosine below which a direction is an intruder.

    Raises:
        MatrixError: if an entry is not finite, or its square overflows or vanishes.

    Example:
        >>> W = np.diag([4.0, 3.0, 2.0, 1.0])
        >>> turned = W[:, [1, 0, 2, 3]] + np.diag([0.0, 0.0, 9.0, 9.0])
        >>> both = compare_subspaces(lambda r: [W], lambda r: [turned], 4, 4, k=2)
        >>> both.cosines_narrow, both.nearest_hi, both.intruders
        (array([0., 0.]), array([[1., 1.],
               [1., 1.]]), 0)
    """
    whole = _decomposed(M, k)
    V = np.zeros((M, 0))
    ours = _read(tuned, np.zeros((N, 0)), M, whole)
    for krylov in _spaces(ours, whole, _random(M, k + _SPARE)):
        converged, V = _leading(krylov, k)
        if converged:
            break
    U = ours.image(V)
    del ours
    V0, lengths = np.zeros((M, 0)), None
    lo = hi = np.zeros((2, V.shape[1]))
    theirs = _read(base, U, M, whole)
    starts = [V, theirs.pulled, _random(M, k + _SPARE - V.shape[1])]
    for krylov in _spaces(theirs, whole, np.concatenate(starts, axis=1)):
        converged, V0 = _leading(krylov, k)
        if converged:
            lo, hi = _nearest(krylov, np.ones(V.shape[1]) if lengths is None else lengths)
            if krylov.passes >= _PASSES or not _open(lo, hi, cutoff).any():
                break
            if lengths is None:  # moments hardly tell what is at 0, outside of the columns, from what is near it
                lengths = theirs.lengths(krylov.rounding)
    return Subspaces(
        k=min(V.shape[1], V0.shape[1]),
        cosines_narrow=_cosines(V0, V),
        cosines_wide=_cosines(theirs.image(V0), U),
        nearest_lo=lo,
        nearest_hi=hi,
        cutoff=cutoff,
    )


def _open(lo: Matrix, hi: Matrix, cutoff: float) -> NDArray[np.bool_]:
    """Tell which directions are neither certainly intruders nor certainly none."""
    return np.asarray((hi >= cutoff).all(axis=0) & (lo < cutoff).any(axis=0))


@dataclass(frozen=True, slots=True)
class _Matrix:
    """An N x M matrix W that can be multiplied: its rows, or W^T W where they would take more memory.

    It is multiplied as if it were divided by its Frobenius norm.

    Attributes:
        shape: (N, M).
        rows: reads it, from memory where it is kept.
        gram: (M, M) W^T W, in a matrix that is small or tall.
        trace: of W^T W.
        pulled: (M, r) W^T U for some orthonormal vectors U.
    """

    shape: tuple[int, int]
    rows: Blocks
    gram: Matrix | None
    trace: float
    pulled: Matrix

    def squared(self, X: Matrix) -> tuple[Matrix, float]:
        """Give W^T W X, and the trace of W^T W."""
        if self.gram is not None:
            return self.gram @ X / self.trace, 1.0
        product = np.zeros(X.shape)
        for block in self.rows(block_rows(len(X))):
            W = block.astype(np.float64)
            product += W.T @ (W @ X)
        return product / self.trace, 1.0

    def image(self, V: Matrix) -> Matrix:
        """Give an orthonormal basis of W V, each column of which adds one to the span of those before it."""
        step = block_rows(len(V))
        return np.linalg.qr(np.concatenate([block.astype(np.float64) @ V for block in self.rows(step)]))[0]

    def lengths(self, rounding: float) -> Matrix:
        """Give the squared lengths of the projections of the vectors U on the columns of W; those of a square span all.

        They are the squares of U^T W (W^T W)^-1 W^T U, where eigenvalues are taken for larger by what rounding may be.
        """
        from scipy.linalg import cho_factor, cho_solve

        N, M = self.shape
        if N == M:
            return np.ones(self.pulled.shape[1])
        A = _gram(self.rows, M) if self.gram is None else self.gram.copy(order="F")
        A /= self.trace
        A.flat[:: M + 1] += rounding
        factor = cho_factor(A, lower=True, overwrite_a=True)
        return np.asarray(np.einsum("ij,ij->j", self.pulled, cho_solve(factor, self.pulled)))


@np.errstate(over="ignore", invalid="ignore")
def _read(rows: Blocks, U: Matrix, M: int, whole: bool) -> _Matrix:
    """Read a matrix so that it can be multiplied; as a whole, so that it can be decomposed."""
    N, step = len(U), block_rows(M)
    kept = rows
    if N <= _MATRICES * M:
        blocks = [_narrowed(block) for block in rows(step)]
        kept = lambda _: blocks  # noqa: E731
    gram = np.zeros((M, M), order="F") if whole or kept is rows else None
    pulled, trace, read = np.zeros((M, U.shape[1])), 0.0, 0
    for block in kept(step):
        W = np.ascontiguousarray(block, dtype=np.float64)
        trace += float(np.vdot(W, W))
        pulled += W.T @ U[read : read + len(W)]
        read += len(W)
        if gram is not None:
            add_gram(W, gram)
    if not _LEAST < trace < inf and (problem := unusable(kept(step))):
        raise MatrixError(problem)
    if gram is not None:
        gram += np.tril(gram, -1).T
    return _Matrix((N, M), kept, gram, trace, pulled / sqrt(trace or 1.0))


def _gram(rows: Blocks, M: int) -> Matrix:
    """Give the lower triangle of W^T W."""
    gram = np.zeros((M, M), order="F")
    for block in rows(block_rows(M)):
        add_gram(np.ascontiguousarray(block, dtype=np.float64), gram)
    return gram


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
        rounding = relative_rounding(*matrix.shape) * float(np.linalg.norm(A, axis=0).max())
        yield Krylov(np.eye(M), A, np.zeros((0, M)), starts, 1.0, 1, rounding)
        return
    Q, R = np.linalg.qr(starts)  # vectors that are nearly the same keep their difference
    look = _FIRST_LOOK
    for krylov in krylov_spaces(matrix.squared, matrix.shape, Q, len(starts)):
        if krylov.passes >= look or len(krylov.E) == 0:
            yield replace(krylov, starts=krylov.starts @ R)
            look += max(3, look // 8)


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


def _nearest(krylov: Krylov, lengths: Matrix) -> tuple[Matrix, Matrix]:
    """Bound the largest |cosine| of each of k vectors v, and of each of k vectors u, with any singular vector.

    The first start vectors are the v, and the next are the W^T u. The measure of u has <W^T u, y>^2 / x at each Ritz
    value x with the vector y, and at 0 what is left of the squared length of its projection on the columns of W: all
    moments up to twice the number of passes are those of u.

    The bounds from below are the cosines of the Ritz vectors. One with the residual r is within the angle r / gap of an
    eigenvector (Davis and Kahan 1970), if the gap is that to all other eigenvalues, for which the other Ritz values are
    taken; and W makes that larger by its norm over the singular value, at most.

    Args:
        krylov: of W.
        lengths: (k,) the squared lengths of the projections of the u.
    """
    k, least = len(lengths), krylov.rounding
    values, Y = np.linalg.eigh(krylov.T)
    points = np.where(values > least, values, 0.0)
    shares = np.square(krylov.starts[:, : 2 * k].T @ Y)
    shares[k:] *= np.divide(1.0, points, where=points > 0, out=np.zeros(len(points)))
    first = np.flatnonzero(np.diff(values, prepend=-inf) > least)  # of those that are equal
    last = np.append(first[1:], len(values)) - 1
    apart = np.concatenate([[inf], values[first[1:]] - values[last[:-1]], [inf]])
    angles = np.sqrt(np.add.reduceat(np.square(krylov.E @ Y).sum(axis=0), first)) / np.minimum(apart[:-1], apart[1:])
    beyond = points[first] > 0
    stretched = angles[beyond] * np.sqrt(values[-1] / points[first][beyond])
    cosines = np.sqrt(np.add.reduceat(shares, first, axis=1)[:, beyond])
    cosines -= np.repeat([angles[beyond], stretched], k, axis=0)
    lo = cosines.max(axis=1, initial=0.0).clip(max=1.0).reshape(2, k)
    if len(krylov.E) == 0:
        return lo, lo
    measures = [jacobi(krylov, j) for j in range(k)]
    for weights, length in zip(shares[k:], lengths, strict=True):
        rest = max(length - float(weights.sum()), least)  # some, so that there is a measure
        measures.append(jacobi_of_points(np.append(points, 0.0), np.append(weights, rest), krylov.passes, least))
    hi = np.sqrt([largest_atom(measure, least) for measure in measures]).reshape(2, k)
    return lo, hi.clip(lo, 1.0)


def _cosines(Q0: Matrix, Q1: Matrix) -> Matrix:
    """Give the cosines of the principal angles between the spans of the first columns of two orthonormal bases."""
    k = min(Q0.shape[1], Q1.shape[1])
    return np.linalg.svd(Q0[:, :k].T @ Q1[:, :k], compute_uv=False).clip(max=1.0)


def memory(N: int, M: int, k: int, itemsize: int) -> int:
    """Give the most bytes that `compare_subspaces` holds at a time, without what the rows' reader does.

    The rows of one matrix, or its W^T W; the leading vectors of both on the side of length N, with what their QR takes;
    the basis of a space of all passes, what is decomposed within it, or a W^T W to take lengths from; and blocks.

    Args:
        N: number of rows.
        M: number of columns.
        k: number of directions.
        itemsize: bytes of a number as it is stored.
    """
    block = 2 * k + _SPARE
    kept = N * M * max(itemsize, 4) * (N <= _MATRICES * M)
    if _decomposed(M, k):
        inside = 7 * M * M + 3 * M * block
    else:
        d = min(M, _PASSES * block)
        inside = M * d + max(5 * d * d, M * M * (N > M)) + 8 * M * block + M * M * (not kept)
    return kept + 8 * (N * k + max(6 * N * k, inside) + 3 * M * min(block_rows(M), N))


def _decomposed(M: int, k: int) -> bool:
    """Whether it takes no longer to compute all vectors."""
    return M <= _SMALL or 4 * (2 * k + _SPARE) > M
