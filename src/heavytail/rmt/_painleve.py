r"""The left tail of the Tracy-Widom laws, from the Hastings-McLeod solution of Painleve II.

With q'' = s q + 2 q^3 and q(s) ~ Ai(s) for s to infinity, Tracy and Widom (1994, 1996) have

.. math:: (\ln F_2)' = q'^2 - s q^2 - q^4, \qquad \ln F_1 = (\ln F_2 - \int_s^\infty q) / 2.

As an initial-value problem q is unstable in either direction. As a boundary-value problem, with the expansion of q on
the left and Ai on the right, it is well conditioned (Driscoll, Bornemann and Trefethen 2008) and Newton's method on
Chebyshev points solves it in a millisecond to the last digits. It serves where a Fredholm determinant of order
exp(-|s|^3 / 12) is lost in the rounding of its matrix.
"""

from __future__ import annotations

from functools import lru_cache
from math import log, sqrt

import numpy as np
from numpy.polynomial import Chebyshev
from scipy.special import airy

from heavytail.rmt._law import Vector
from heavytail.threads import one_thread

__all__ = ["remainders"]

_LEFT, _RIGHT = -12.0, 6.0  # beyond them the expansion and Ai are exact to 1e-15
_DEGREE = 100
_TERMS = 10
_ZETA = -0.16542114370045092921  # the derivative of Riemann's zeta function at -1


@lru_cache(maxsize=1)
def _expansion() -> tuple[Vector, Vector]:
    """Coefficients of q = sqrt(r/2) sum c_k r^-3k and of (ln F2)' = r^2 sum u_k r^-3k at s = -r.

    Put into Painleve II they obey f^3 - f = sum c_k (1/2 - 3k)(-1/2 - 3k) r^(-3k - 3), f the sum in q.
    """
    k = np.arange(_TERMS)
    c = np.zeros(_TERMS)
    c[0] = 1
    for i in range(1, _TERMS):
        cube = np.convolve(np.convolve(c, c), c)[i]  # c_i itself still counts as zero in it
        c[i] = (c[i - 1] * (9 * (i - 1) ** 2 - 0.25) - cube) / 2
    square = np.convolve(c, c)[:_TERMS]
    slope = c * (0.5 - 3 * k)
    u = square / 2 - np.convolve(square, square)[:_TERMS] / 4
    u[1:] += np.convolve(slope, slope)[: _TERMS - 1] / 2
    return c, u


def _expanded(r: Vector) -> tuple[Vector, Vector]:
    """Give ln F2 and the integral of q from -r on, both less their leading terms, by expansion for r to infinity."""
    c, u = _expansion()
    k = np.arange(_TERMS)
    powers = r[..., None] ** (-3.0 * k)
    log_f2 = log(2) / 24 + _ZETA + powers[..., 1:-1] @ (u[2:] / (3 * k[1:-1]))
    integral = log(2) / 2 + r**1.5 * (powers[..., 1:] @ (c[1:] / (1.5 - 3 * k[1:]))) / sqrt(2)
    return log_f2, integral


def _differentiation(n: int) -> tuple[Vector, Vector]:
    """Chebyshev points of [-1, 1], descending, and the matrix that differentiates on them (Trefethen 2000, ch. 6)."""
    x = np.cos(np.pi * np.arange(n + 1) / n)
    weight = np.where(np.arange(n + 1) % 2, -1.0, 1.0)
    weight[[0, -1]] *= 2
    D = np.outer(weight, 1 / weight) / (x[:, None] - x + np.eye(n + 1))
    return x, D - np.diag(D.sum(axis=1))


def _hastings_mcleod() -> Chebyshev:
    """Solve Painleve II for q on [-12, 6]."""
    x, D = _differentiation(_DEGREE)
    half = (_RIGHT - _LEFT) / 2
    s = _LEFT + half * (1 + x)
    D2 = D @ D / half**2
    ends = airy(_RIGHT)[0], sqrt(-_LEFT / 2) * float(_expansion()[0] @ (-_LEFT) ** (-3.0 * np.arange(_TERMS)))
    q = np.sqrt((np.sqrt(1 + s * s) - s) / 4) * np.exp(-np.maximum(s, 0))
    for _ in range(12):  # five are enough
        residual, jacobian = D2 @ q - s * q - 2 * q**3, D2 - np.diag(s + 6 * q * q)
        for row, end in zip((0, -1), ends, strict=True):
            residual[row], jacobian[row] = q[row] - end, np.eye(_DEGREE + 1)[row]
        step = np.linalg.solve(jacobian, residual)
        q -= step
        if np.abs(step).max() < 1e-12:
            break
    return Chebyshev.fit(s, q, _DEGREE, domain=[_LEFT, _RIGHT])


@lru_cache(maxsize=1)
@one_thread
def _integrals() -> tuple[Chebyshev, Chebyshev]:
    """Give ln F2 + r^3/12 and the integral of q over (s, infinity), as functions of s = -r on [-12, 6]."""
    q = _hastings_mcleod()
    slope = q.deriv()
    u = Chebyshev.interpolate(
        lambda s: slope(s) ** 2 - s * q(s) ** 2 - q(s) ** 4 - s * s / 4, _DEGREE, domain=[_LEFT, _RIGHT]
    )
    r = -_LEFT
    log_f2, integral = (float(v) for v in _expanded(np.array(r)))
    log_f2 -= log(r) / 8
    integral += sqrt(2) / 3 * r**1.5
    return u.integ(lbnd=_LEFT) + log_f2, integral - q.integ(lbnd=_LEFT)


def remainders(r: Vector) -> Vector:
    r"""Logarithms of det(I - A) and det(I + A) at s = -r less their leading terms, A of kernel Ai(s + u + v).

    .. math:: \ln\det(I \mp A) = -r^3/24 \mp r^{3/2} / (3\sqrt 2) - \ln(r)/16 + g_\mp(r)

    The constants g(infinity) are those of Baik, Buckingham and DiFranco (2008).

    Args:
        r: (n,) at least 1.

    Returns:
        (2, n) g_- and g_+, exact to 5e-14.
    """
    near = np.minimum(r, -_LEFT)
    log_f2, integral = (f(-near) for f in _integrals())
    log_f2 += np.log(near) / 8
    integral -= sqrt(2) / 3 * near**1.5
    far_f2, far_integral = _expanded(np.maximum(r, -_LEFT))
    log_f2 = np.where(r < -_LEFT, log_f2, far_f2)
    integral = np.where(r < -_LEFT, integral, far_integral)
    return np.stack([log_f2 - integral, log_f2 + integral]) / 2
