"""The two steps of a large eigenvalue problem, by the fastest routines at hand: the Gram matrix, and its eigenvalues.

LAPACK's usual driver reduces a matrix to tridiagonal form at the speed of memory, for half of its operations are
matrix times vector. The two-stage driver (Haidar, Ltaief and Dongarra 2011) goes by way of a band matrix, at the speed
of arithmetic, and wins from some size on. Both are backward stable to the same order. scipy gives no name to it, but
the OpenBLAS that scipy loads has it, as has Intel's MKL. So the routines are called in the library itself, which also
lets other threads run meanwhile, as scipy's own calls do not; where a library lacks one, scipy's call is taken.
"""

from __future__ import annotations

from ctypes import CDLL, byref, c_char_p, c_double, c_int32, c_int64, c_size_t, c_void_p
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from heavytail.errors import MatrixError

__all__ = ["TWO_STAGE", "add_gram", "symmetric_eigenvalues"]

TWO_STAGE = 3072
"""Size from which the two-stage driver is the faster one; `benchmarks/drivers.py` measures it."""

# What builds of OpenBLAS and MKL call a routine, and the width of their integers.
_NAMES = (("scipy_{}_", c_int32), ("scipy_{}_64_", c_int64), ("{}_", c_int32), ("{}_64_", c_int64))

Matrix = NDArray[np.float64]


class _Routine(NamedTuple):
    """A routine of a loaded library, and its type of integers."""

    call: Any
    integer: type[Any]


def add_gram(W: Matrix, G: Matrix) -> None:
    """Add W^T W to the lower triangle of G.

    Args:
        W: (r, M) float64 in row order.
        G: (M, M) float64 in column order; its upper triangle is not touched.

    Example:
        >>> G = np.zeros((2, 2), order="F")
        >>> add_gram(np.array([[1.0, 2.0]]), G)
        >>> G
        array([[1., 0.],
               [2., 4.]])
    """
    if not (W.flags.c_contiguous and G.flags.f_contiguous and W.dtype == G.dtype == np.float64):
        raise ValueError("W must be float64 in row order, G float64 in column order")
    routine = _routine("dsyrk")
    if routine is None:
        from scipy.linalg.blas import dsyrk

        dsyrk(1.0, W.T, beta=1.0, c=G, lower=1, overwrite_c=1)
    else:
        _dsyrk(routine, W, G)


def symmetric_eigenvalues(G: Matrix) -> Matrix:
    """Compute the eigenvalues of a symmetric matrix from its lower triangle, ascending; the matrix is overwritten.

    Args:
        G: (n, n) float64 in column order.

    Raises:
        MatrixError: if the iteration does not converge.

    Example:
        >>> symmetric_eigenvalues(np.array([[2.0, 0.0], [1.0, 2.0]], order="F"))
        array([1., 3.])
    """
    if not (G.flags.f_contiguous and G.dtype == np.float64):
        raise ValueError("the matrix must be float64 in column order")
    routine = (_routine("dsyev_2stage") if len(G) >= TWO_STAGE else None) or _routine("dsyev")
    evals, info = _by_scipy(G) if routine is None else _dsyev(routine, G)
    if info:
        raise MatrixError(f"LAPACK's eigenvalue solver did not converge (info {info})")
    return evals


def _by_scipy(G: Matrix) -> tuple[Matrix, int]:
    from scipy.linalg.lapack import dsyev, dsyev_lwork

    work, _ = dsyev_lwork(len(G), lower=1)
    evals, _, info = dsyev(G, compute_v=0, lower=1, lwork=int(work), overwrite_a=1)
    return np.asarray(evals), int(info)


@lru_cache
def _routine(name: str) -> _Routine | None:
    """Find a routine in the libraries that are loaded, and try it; None if there is none that works."""
    import scipy.linalg.lapack  # noqa: F401  # loads one
    from threadpoolctl import threadpool_info

    # In one order everywhere, so that each process of a cluster calls the same one.
    for path in sorted(info["filepath"] for info in threadpool_info() if info["user_api"] == "blas"):
        try:
            library = CDLL(path)
        except OSError:
            continue
        for pattern, integer in _NAMES:
            if hasattr(library, pattern.format(name)):
                routine = _Routine(getattr(library, pattern.format(name)), integer)
                routine.call.restype = None
                if _works(name, routine):
                    return routine
    return None


def _works(name: str, routine: _Routine) -> bool:
    """Try a routine: a build may differ in its integers or its calling convention, and no number is taken on trust."""
    G = np.diag([3.0, 1.0, 2.0]).copy(order="F")
    if name == "dsyrk":
        _dsyrk(routine, np.ones((2, 3)), G)
        return bool((G == [[5, 0, 0], [2, 3, 0], [2, 2, 4]]).all())
    evals, info = _dsyev(routine, G)
    return info == 0 and np.allclose(evals, [1, 2, 3], rtol=1e-14, atol=0)


def _dsyrk(routine: _Routine, W: Matrix, G: Matrix) -> None:
    k, n = (routine.integer(size) for size in W.shape)
    one = c_double(1.0)
    _call(routine, b"L", b"N", n, k, one, W, n, one, G, n)  # a W in row order is its transpose in column order


def _dsyev(routine: _Routine, G: Matrix) -> tuple[Matrix, int]:
    n, info = routine.integer(len(G)), routine.integer(0)
    w, asked = np.empty(len(G)), np.empty(1)
    _call(routine, b"N", b"L", n, G, n, w, asked, routine.integer(-1), info)
    work = np.empty(int(asked[0]))
    _call(routine, b"N", b"L", n, G, n, w, work, routine.integer(work.size), info)
    return w, int(info.value)


def _call(routine: _Routine, first: bytes, second: bytes, *arguments: Any) -> None:
    """Call a Fortran routine whose first two arguments are texts of one letter; their lengths come last."""
    pointers = [c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else byref(a) for a in arguments]
    routine.call(c_char_p(first), c_char_p(second), *pointers, c_size_t(1), c_size_t(1))
