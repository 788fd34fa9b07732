"""The spectrum of a product of two thin matrices, W = s L R, from its factors: W itself is never formed.

With L = Q_L T_L and R^T = Q_R T_R, both Q of orthonormal columns, the singular values of W are those of the small core
s T_L T_R^T, and all others are exactly zero. Columns of L and rows of R are first given sizes alike, in pairs and by
powers of two, which changes no digit of W and leaves factors of any scale in range.

Householder's QR is off by a part of each single column (Higham 2002, theorem 19.4), so the error goes with
S = s sum_i |l_i| |r_i| and not with |L| |R|, which may be far larger. n u S is taken for a QR of columns of n entries,
as in `exact.svd_error`, r u S for the sums of the core and 10 sqrt(r) u S for its singular values, with u = 2^-53. S is
at least the largest singular value, and much larger only where the terms of W cancel.
"""

from __future__ import annotations

from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray

from heavytail.errors import MatrixError
from heavytail.spectra.entries import Blocks
from heavytail.spectra.exact import unit_roundoff, unusable
from heavytail.spectra.spectrum import Spectrum
from heavytail.weights.tensor import Array

__all__ = ["FACTORS", "product_rows", "spectrum_of_factors"]

FACTORS = "factors"
"""The method of a spectrum that was computed from the factors of its matrix."""

_UNIT = 2.0**-53
_LEAST = 1e-250  # sums of squares below it may have lost digits to underflow

Matrix = NDArray[np.float64]


@np.errstate(over="ignore", invalid="ignore")
def spectrum_of_factors(left: Array, right: Array, scale: float, dtype: str) -> Spectrum:
    """Compute the spectrum of scale * left @ right, in O((a + b) r^2) operations.

    Args:
        left: (a, r) array of any real type.
        right: (r, b) array of any real type.
        scale: what the product is multiplied by.
        dtype: name of the type that the product was rounded to, which with the error of the method sets the numerical
            rank; "float64" for a product that is stored as its factors.

    Returns:
        All min(a, b) eigenvalues, of which at most r are not zero.

    Raises:
        MatrixError: if an entry is not finite, or the squares of the singular values overflow or vanish.

    Example:
        >>> left, right = np.array([[3.0], [4.0], [0.0]]), np.array([[1.0, 0.0]])
        >>> spectrum_of_factors(left, right, 2.0, "float64").evals.round(12)
        array([  0., 100.])
    """
    N, M = max(len(left), right.shape[1]), min(len(left), right.shape[1])
    if problem := unusable([left, right]) if not _finite(left, right) else "":
        raise MatrixError(f"{problem} of its factors")
    L, R = _balanced(left.astype(np.float64), right.astype(np.float64))
    core = scale * (_triangle(L) @ _triangle(R.T).T)
    if not np.isfinite(core).all():
        raise MatrixError("the product of its factors is so large that it overflows float64")
    s = np.sort(np.linalg.svd(core, compute_uv=False))[-M:] if core.size else np.zeros(0)
    evals = np.concatenate([np.zeros(M - s.size), s * s])
    squares, largest = float(evals.sum()), float(s.max(initial=0))
    if largest and not _LEAST < squares < inf:
        raise MatrixError(f"its singular values, up to {largest:.0e}, have no squares in float64 with all digits")
    r = L.shape[1]
    terms = abs(scale) * float(np.linalg.norm(L, axis=0) @ np.linalg.norm(R, axis=1))
    off = (N + M + r + 10 * sqrt(r)) * _UNIT * terms
    unit = unit_roundoff(dtype)
    noise = (unit + 16 * min(unit, 2.0**-24)) * (1 / sqrt(N) + 1 / sqrt(M)) * sqrt(squares)
    floor = (noise + off) ** 2
    return Spectrum(
        N=N,
        M=M,
        evals=evals,
        by_matrix=evals[None],
        positive=evals[evals > floor],
        floor=floor,
        error=off * (2 * largest + off),
        method=FACTORS,
    )


def product_rows(left: Array, right: Array, scale: float) -> Blocks:
    """Give a product as an N x M matrix that is made in blocks of rows, its larger dimension first."""
    tall, wide = (left, right) if len(left) >= right.shape[1] else (right.T, left.T)
    return lambda r: (_scaled_product(tall[i : i + r], wide, scale) for i in range(0, len(tall), r))


def _scaled_product(rows: Array, wide: Array, scale: float) -> Array:
    product: Array = rows.astype(np.float64) @ wide.astype(np.float64, copy=False)
    product *= scale
    return product


def _finite(*factors: Array) -> bool:
    return all(bool(np.isfinite(factor.astype(np.float64)).all()) for factor in factors)


def _balanced(L: Matrix, R: Matrix) -> tuple[Matrix, Matrix]:
    """Give the columns of L and the rows of R sizes alike, in pairs; those without a partner are left out."""
    a, b = np.abs(L).max(axis=0, initial=0), np.abs(R).max(axis=1, initial=0)
    both = (a > 0) & (b > 0)
    shift = (np.frexp(b[both])[1] - np.frexp(a[both])[1]) // 2
    return np.ldexp(L[:, both], shift), np.ldexp(R[both], -shift[:, None])


def _triangle(tall: Matrix) -> Matrix:
    """Give a matrix of the same inner products between columns, with no more rows than columns."""
    if len(tall) <= tall.shape[1]:
        return tall
    return np.asarray(np.linalg.qr(tall, mode="r"))
