r"""Block Lanczos on W^T W, for a W that is read in blocks of rows and of which no M x M matrix is ever formed.

A pass over the rows applies A = W^T W to a block of vectors. Started from G = (g_1, ..., g_s), n passes span the block
Krylov space of G, AG, ..., A^(n-1) G with an orthonormal basis V and give

    A V = V T + U E,    V^T V = 1,    V^T U = 0,    T = V^T A V.

The eigenvalues of T are the Ritz values: by Cauchy's interlacing the i-th largest of them is a lower bound of the i-th
largest eigenvalue of A. And T knows all moments <g, A^k g> up to k = 2 n of each start vector, hence its Jacobi matrix
and the Gauss quadrature of its spectral measure (Golub and Meurant 2010).

Full orthogonalisation, done twice, keeps the relations to within rounding (Parlett 1998, section 6.9): what is computed
belongs to a symmetric matrix that is not A but `rounding` away from it, in spectral norm.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import hypot, sqrt

import numpy as np
from numpy.typing import NDArray

from heavytail.errors import MatrixError
from heavytail.spectra.entries import Blocks
from heavytail.spectra.exact import block_rows, unusable

__all__ = [
    "Jacobi",
    "Krylov",
    "Shares",
    "block_lanczos",
    "enclose",
    "jacobi",
    "jacobi_of_points",
    "krylov_spaces",
    "relative_rounding",
]

_UNIT = 2.0**-53
_LEAST, _MOST = 1e-150, 1e150  # a sum of squares that can be squared once more
_FAR = 2.0**4  # most that the last entry of a Jacobi matrix may be over its norm: rounding is relative to it

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Krylov:
    """A = W^T W as seen from a block Krylov space of dimension d.

    Attributes:
        V: (M, d) orthonormal basis of the space.
        T: (d, d) compression of A to the space.
        E: (r, d) what A leads out of the space: a unit vector y of it has the residual norm |E y|. No rows are left
            where the space is invariant.
        starts: (d, s) the start vectors, in the basis of the space.
        norm: trace of A, the sum of the squares of all entries of W; its relative error is below (N + M) 2^-53.
        passes: how often the matrix was read.
        rounding: an allowance, in spectral norm, for the rounding of all this: T and E belong to a matrix so far from
            A. It is 10 sqrt(N + M) 2^-53 times the largest eigenvalue: the roundings of sums of N and of M terms add
            up like a random walk (Higham and Mary 2019), and ten times that is a wide margin, though no proof.
    """

    V: Matrix
    T: Matrix
    E: Matrix
    starts: Matrix
    norm: float
    passes: int
    rounding: float


@dataclass(frozen=True, slots=True)
class Jacobi:
    """The Jacobi matrix of the spectral measure of one vector g: of <g, v_i>^2 at each lambda_i.

    Attributes:
        diagonal: (n,).
        beside: (n - 1,) the positive numbers beside the diagonal.
        after: the number that would follow them, or 0 if the measure has just n points.
        mass: |g|^2, the measure of everything.
    """

    diagonal: Matrix
    beside: Matrix
    after: float
    mass: float


@dataclass(frozen=True, slots=True)
class Shares:
    """Bounds on the share of a measure above some points.

    Attributes:
        points: (p,), ascending.
        least: (p,) lower bounds of the share above each point, and so above anything below it; falling.
        most: (p,) upper bounds of the share above each point, and so above anything beyond it; falling.
    """

    points: Matrix
    least: Matrix
    most: Matrix


@np.errstate(over="ignore", invalid="ignore")
def block_lanczos(
    rows: Blocks,
    N: int,
    M: int,
    starts: Matrix,
    passes: int,
    without: Matrix | None = None,
    rounding: float = 0.0,
) -> Krylov:
    """Span the block Krylov space of some start vectors.

    Args:
        rows: the N x M matrix W, read once for each pass.
        N: number of rows.
        M: number of columns.
        starts: (M, s) start vectors.
        passes: most applications of W^T W; fewer are made where the space becomes invariant.
        without: (M, k) orthonormal directions that are projected out of W^T W from both sides, and out of the start
            vectors; k < M.
        rounding: what is to be allowed for rounding at least, as it is relative to W^T W with these directions.

    Raises:
        MatrixError: if an entry is not finite, or the sum of their squares is not between 1e-150 and 1e150.

    Example:
        >>> W = np.diag([3.0, 2.0, 1.0])
        >>> krylov = block_lanczos(lambda r: [W], 3, 3, np.ones((3, 1)), 5)
        >>> np.linalg.eigvalsh(krylov.T).round(12), krylov.norm, krylov.passes
        (array([1., 4., 9.]), 14.0, 3)
    """
    spaces = krylov_spaces(lambda X: _apply(rows, X), (N, M), starts, passes, without, rounding)
    (krylov,) = deque(spaces, maxlen=1)
    largest = float(np.linalg.eigvalsh(krylov.T)[-1])
    return replace(krylov, rounding=max(krylov.rounding, relative_rounding(N, M) * largest))


def krylov_spaces(
    product: Callable[[Matrix], tuple[Matrix, float]],
    shape: tuple[int, int],
    starts: Matrix,
    passes: int,
    without: Matrix | None = None,
    rounding: float = 0.0,
) -> Iterator[Krylov]:
    """Give the block Krylov space of some start vectors after each pass; the arrays of all share their memory.

    The largest eigenvalue, which the allowance for rounding is relative to, is taken for the largest norm of what the
    product makes of a unit vector.

    Args:
        product: gives W^T W X for an (M, r) X, and the trace of W^T W.
        shape: (N, M).
        starts: as those of `block_lanczos`, and so are the others.
        passes: most products.
        without: directions that are projected out.
        rounding: what is to be allowed for rounding at least.
    """
    M = shape[1]
    known = np.zeros((M, 0)) if without is None else without
    starts = starts.copy()
    _orthogonalise(starts, known)
    most = min(M - known.shape[1], starts.shape[1] * passes)
    V, T = np.empty((M, most), order="F"), np.zeros((most, most))  # pages that are not touched take no memory
    inside = np.zeros((most, starts.shape[1]))
    block = _independent(starts, 1e-10 * float(np.linalg.norm(starts)))[0]
    done = d = 0
    while block.shape[1] and done < passes:
        _orthogonalise(block, known, V[:, :d])
        old, d, done = d, d + block.shape[1], done + 1
        V[:, old:d] = block = np.linalg.qr(block)[0]
        inside[old:d] = block.T @ starts
        Z, norm = product(block)
        rounding = max(rounding, relative_rounding(*shape) * float(np.linalg.norm(Z, axis=0).max()))
        T[:d, old:d] = np.triu(_orthogonalise(Z, known, V[:, :d]), -old)
        T[old:d, :old] = T[:old, old:d].T
        T[old:d, old:d] += np.triu(T[old:d, old:d], 1).T
        block, after = _independent(Z, rounding)
        E = np.zeros((len(after), d))
        E[:, old:] = after
        yield Krylov(V[:, :d], T[:d, :d], E, inside[:d], norm, done, rounding)
        block = block[:, : most - d]


def relative_rounding(N: int, M: int) -> float:
    """Give `Krylov.rounding` over the largest eigenvalue."""
    return 10 * sqrt(N + M) * _UNIT


def jacobi(krylov: Krylov, start: int) -> Jacobi:
    """Give the Jacobi matrix of one start vector, as Lanczos from it alone would, without another pass.

    This is Lanczos within the space, which is Lanczos with A for as long as A does not lead out of the space.
    """
    g = krylov.starts[:, start]
    steps = g.size if len(krylov.E) == 0 else 2 * krylov.passes
    return _lanczos(lambda u: krylov.T @ u, g, steps, krylov.rounding, krylov.E)


def jacobi_of_points(points: Matrix, weights: Matrix, steps: int, least: float) -> Jacobi:
    """Give the Jacobi matrix of a measure that has some weights at some points.

    Args:
        points: (p,).
        weights: (p,), not negative, and not all zero.
        steps: most numbers on the diagonal.
        least: points that are closer together are one.

    Example:
        >>> jacobi_of_points(np.array([-1.0, 1.0]), np.array([1.0, 1.0]), 2, 1e-15).beside.round(12)
        array([1.])
    """
    return _lanczos(lambda u: points * u, np.sqrt(weights), steps, least, np.zeros((0, points.size)))


def _lanczos(product: Callable[[Matrix], Matrix], g: Matrix, steps: int, rounding: float, E: Matrix) -> Jacobi:
    """Take steps of Lanczos, until |E u| tells that the product of u leads out of the space it is known in."""
    mass, d = float(g @ g), g.size
    most = min(steps, d)
    basis = np.empty((d, most), order="F")
    basis[:, 0] = g / sqrt(mass)
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        u = basis[:, len(diagonal)]
        w = product(u)
        diagonal.append(float(u @ w))
        n = len(diagonal)
        _orthogonalise(w[:, None], basis[:, :n])
        out, within = float(np.linalg.norm(E @ u)), float(np.linalg.norm(w))
        if n == d or within <= rounding:
            after = out if out > rounding else 0.0
            break
        if n == most or out > rounding:
            after = hypot(out, within)
            break
        w /= within
        _orthogonalise(w[:, None], basis[:, :n])
        basis[:, n] = w / np.linalg.norm(w)
        beside.append(within)
    return Jacobi(np.array(diagonal), np.array(beside), after, mass)


def enclose(measure: Jacobi, grid: Matrix) -> Shares:
    """Enclose the share of a measure above the nodes of quadrature rules, one rule for each point of a grid.

    A rule with n + 1 nodes t_k and weights w_k that is exact to degree 2 n belongs to the Jacobi matrix with one more
    row, whose last entry is free; for any x there is one that makes x a node (Gauss-Radau). By the inequalities of
    Chebyshev, Markov and Stieltjes (Szego 1939, section 3.41), for each of them and each k,

        sum_{i > k} w_i  <=  share above t_k  <=  sum_{i >= k} w_i,

    and no measure with the same moments does better. This holds for one vector's measure; for the matrix-valued measure
    of a block of vectors, and for its trace, it is false.

    Where the measure has just n points, it is enclosed from just below them to just above them.

    Example:
        >>> flat = Jacobi(np.full(2, 0.5), np.array([1 / 12**0.5]), 1 / 15**0.5, 1.0)  # the uniform law on (0, 1)
        >>> shares = enclose(flat, np.array([0.5]))
        >>> shares.points.round(4), shares.least.round(4), shares.most.round(4)
        (array([0.1127, 0.5   , 0.8873]), array([0.7222, 0.2778, 0.    ]), array([1.    , 0.7222, 0.2778]))
    """
    n = measure.diagonal.size
    J = np.diag(np.append(measure.diagonal, 0.0))
    J += np.diag(np.append(measure.beside, measure.after), 1) + np.diag(np.append(measure.beside, measure.after), -1)
    nodes, vectors = np.linalg.eigh(J[:n, :n])
    if measure.after == 0:
        tails = _tails(vectors[0])
        return Shares(nodes, tails, np.append(tails[1:], 0.0))
    far = _FAR * float(np.abs(J).sum(axis=1).max())
    points, least, most = (np.empty((len(grid), n + 1)) for _ in range(3))
    for i, x in enumerate(grid):
        distances = nodes - x
        distances[np.abs(distances) < far * _UNIT] = far * _UNIT
        last = x + measure.after**2 * float(np.sum(np.square(vectors[-1]) / distances))
        J[n, n] = min(max(last, -far), far)
        points[i], Y = np.linalg.eigh(J)
        most[i] = _tails(Y[0])
        least[i] = np.append(most[i, 1:], 0.0)
    order = np.argsort(points, axis=None)
    falling = np.maximum.accumulate(least.ravel()[order][::-1])[::-1]
    return Shares(points.ravel()[order], falling, np.minimum.accumulate(most.ravel()[order]))


def _tails(first: Matrix) -> Matrix:
    """Give the sums of weights from each node on, from the first entries of the eigenvectors."""
    return np.asarray(np.cumsum(np.square(first)[::-1])[::-1])


def _apply(rows: Blocks, X: Matrix) -> tuple[Matrix, float]:
    """Give W^T W X, and the sum of the squares of W, in one pass."""
    product, squares = np.zeros(X.shape), 0.0
    for block in rows(block_rows(len(X))):
        W = block.astype(np.float64)
        squares += float(np.einsum("ij,ij->i", W, W).sum())
        product += W.T @ (W @ X)
    if squares and not _LEAST < squares < _MOST:
        problem = unusable(rows(block_rows(len(X)))) if not np.isfinite(squares) else ""
        raise MatrixError(problem or f"the sum of squares is {squares:.0e}; bounds need it from 1e-150 to 1e150")
    return product, squares


def _orthogonalise(Z: Matrix, *spaces: Matrix) -> Matrix:
    """Take orthogonal spaces out of some vectors, in place; give what was taken of the last one, in its basis.

    What rounding leaves is small beside the vectors that were, but may not be beside those that are left: once these
    have been normalised it is done again, and twice is enough (Parlett 1998, section 6.9).
    """
    taken = np.zeros((0, 0))
    for V in spaces:
        taken = V.T @ Z
        Z -= V @ taken
    return taken


def _independent(Z: Matrix, least: float) -> tuple[Matrix, Matrix]:
    """Write vectors as an orthonormal basis times coefficients, without the directions shorter than a length."""
    Q, R = np.linalg.qr(Z)
    left, sizes, right = np.linalg.svd(R, full_matrices=False)
    kept = sizes > least
    return Q @ left[:, kept], sizes[kept, None] * right[kept]
