r"""The fixed point equations of the Levy laws, solved for the transform and the mass of `heavytail.rmt.levy`.

With a = tail_mu / 2, the laws are governed by one entire function,

.. math:: h(x) = \int_0^\infty e^{-s - x s^a} ds
          = \frac{1}{2 \pi i} \int_{\sigma - i \infty}^{\sigma + i \infty} \Gamma(u) \Gamma(1 - a u) x^{-u} du.

For W^T W, with Q = N/M and kappa = Gamma(1 - a) / Gamma(1 + a) (-1/z)^a, the fixed point equations take the form

.. math:: x y = \kappa (1 - h(x)) / Q = \kappa (1 - h(y)), \qquad G(z) = h(x) / z,

in x and y, one for each side of W. They are the conditions for x and y to make the logarithmic potential stationary,

.. math:: \int \ln(z - l) \rho(l) dl = \ln z + (p(x) + Q p(y) - 1 + h(x)) / a, \qquad p(x) = \int_0^x (1 - h(t)) dt / t,

whose imaginary part above a point l of the axis is pi times the mass beyond l, so that the distribution function needs
no integration of the density. The Wigner law is the case Q = 1: its x^2 has the law of the Wishart eigenvalues.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, exp, inf, lgamma, log, pi

import numpy as np
from numpy.typing import NDArray
from scipy.special import log1p, loggamma

from heavytail.rmt._law import Vector

__all__ = ["Complex", "log_quantile", "solve"]

Complex = NDArray[np.complex128]

_STEP = 0.09  # of the trapezoidal rule; the poles are 1/2 or more away, so its error is exp(-pi / _STEP) = 7e-16
_REACH = 36.0  # the line is cut where its integrand has fallen by exp(-36) = 2e-16
_BLOCK = 16  # points computed at once
_TURNS = 1 - 0.5 ** np.arange(1, 13)  # the continuation turns z from the negative axis towards its own argument
_STEPS = 60  # Newton steps allowed; six are usual
_LEAST = -575.0  # ln of the least eigenvalue solved for, 1e-250


@dataclass(frozen=True, slots=True)
class _Point:
    """The values of h, ln(1 - h), its derivative by ln x, and p, at points x given by their logarithm."""

    h: Complex
    log_rest: Complex
    slope: Complex
    p: Complex


def _reach(a: float, sigma: float, argument: float) -> float:
    """Im u up to which the line is needed for arg x; it would have no end at (1 + a) pi / 2."""
    return (_REACH + 1.5 * abs(sigma)) / ((1 + a) * pi / 2 - argument)  # Gamma(sigma + i t) falls late for large sigma


@lru_cache(maxsize=12)
def _line(a: float, sigma: float) -> tuple[Complex, Complex, Complex]:
    """Nodes u on the line Re u = sigma, log weights of x^-u, and the factors that make h, x h'(x) and the part of p."""
    below, above = (ceil(_reach(a, sigma, argument) / _STEP) for argument in (0, a * pi))
    u: Complex = np.asarray(sigma + 1j * _STEP * np.arange(-below, above + 1), dtype=np.complex128)
    weights: Complex = loggamma(u) + loggamma(1 - a * u) + log(_STEP / (2 * pi))
    factors: Complex = np.stack([np.ones_like(u), -u, 1 / u], axis=1)
    return u, weights, factors


def _on_line(a: float, sigma: float, v: Complex) -> Complex:
    """Integrals (3, n) of h, x h'(x) and p's part along Re u = sigma, at x = e^v with 0 <= arg x <= a pi."""
    u, weights, factors = _line(a, sigma)
    out = np.empty((3, v.size), dtype=np.complex128)
    order = np.argsort(v.imag)
    for i in range(0, v.size, _BLOCK):
        part = order[i : i + _BLOCK]
        reach = _reach(a, sigma, min(float(v[part[-1]].imag), a * pi))
        use = slice(0, int(np.searchsorted(u.imag, reach)) + 1)
        out[:, part] = (np.exp(weights[use] - v[part, None] * u[use]) @ factors[use]).T
    return out


def _evaluate(a: float, v: Complex) -> _Point:
    """Give h and its kin at x = e^v, on that line on which the integral has the size of the answer.

    Moving the line past a pole adds its residue. Left of -1 that leaves 1 - h with full relative precision for small x,
    right of 1/a it leaves h with full relative precision for large x.
    """
    log_far = max(0.0, a * (lgamma(2 / a) - lgamma(1 / a) + log(30)))
    h, rest, slope, p = (np.empty_like(v) for _ in range(4))
    near = v.real < 0
    if near.any():
        x = exp(lgamma(1 + a)) * np.exp(v[near])
        f = _on_line(a, -1.5, v[near])
        h[near], rest[near], slope[near], p[near] = 1 - x + f[0], np.log(x - f[0]), (x - f[1]) / (x - f[0]), x + f[2]
    far = v.real > log_far
    for where, sigma, residue in ((~near & ~far, 0.5, 0.0), (far, 1.5 / a, exp(lgamma(1 + 1 / a)))):
        if where.any():
            w = v[where]
            f = _on_line(a, sigma, w) + residue * np.exp(-w / a) * np.array([[1], [-1 / a], [a]])
            h[where], rest[where], slope[where] = f[0], log1p(-f[0]), -f[1] / (1 - f[0])
            p[where] = w + np.euler_gamma * (1 - a) + f[2]
    return _Point(h, rest, slope, p)


def solve(a: float, Q: float, log_z: Complex) -> tuple[Complex, Vector]:
    """Solve the fixed point equations at z = e^log_z, 0 <= arg z <= pi: z G(z), and the mass above z if z > 0.

    On the negative axis all is real and the root is unique. From there z turns to its own argument at fixed modulus,
    through the upper half plane, where the root is analytic; the real axis, where roots meet, is only touched last.
    """
    shape, log_z = log_z.shape, log_z.ravel()
    log_z = np.maximum(log_z.real, _LEAST) + 1j * log_z.imag
    log_kappa = lgamma(1 - a) - lgamma(1 + a) - a * log_z.real
    gap = np.array([[log(Q)], [0.0]])[: 1 if Q == 1 else 2]  # for Q = 1 rows and columns are one
    turn = a * (pi - log_z.imag)
    v = _start(lgamma(1 + a), Q, log_kappa)[: len(gap)].astype(np.complex128)
    for share in (0.0, *_TURNS, 1.0):
        v = _newton(a, gap, log_kappa + 1j * share * turn, v, 1e-8 if share == 1 else 1e-2)
    point = _evaluate(a, v.ravel())
    h, p = point.h.reshape(v.shape), point.p.reshape(v.shape)
    mass = (p[0] + Q * p[-1] - 1 + h[0]).imag / (a * pi)
    if bool((h[0].imag > 1e-9).any()):
        raise ArithmeticError(f"the Levy law of tail_mu {2 * a:g}, Q {Q:g} came out negative at some point")
    return h[0].reshape(shape), mass.reshape(shape)


def _start(log_g: float, Q: float, log_kappa: Vector) -> Vector:
    """First guess of (ln x, ln y) on the negative axis: 1 - h(x) = X / (1 + X), X = Gamma(1 + a) x, as if a were 1."""
    K = np.exp(log_kappa + 2 * log_g)
    q = (1 - 1 / Q) * K - 1
    root = np.hypot(q, 2 * np.sqrt(K))
    X = np.where(q > 0, q + root, 4 * K / (root - np.minimum(q, 0))) / 2  # X (1 + Y) = K and Y (1 + X) = K / Q
    guess: Vector = np.log(np.stack([X, K / Q / (1 + X)])) - log_g
    return guess


def _newton(a: float, gap: Vector, log_kappa: Complex, v: Complex, tolerance: float) -> Complex:
    """Solve ln x + ln y = ln kappa + ln(1 - h(x)) - ln Q = ln kappa + ln(1 - h(y)) for v = (ln x, ln y)."""
    active = np.arange(v.shape[1])
    v = v.copy()
    for _ in range(_STEPS):
        w = v[:, active]
        point = _evaluate(a, w.ravel())
        rest, slope = gap - point.log_rest.reshape(w.shape), point.slope.reshape(w.shape)
        residual = w.sum(axis=0) * (2 / len(w)) - log_kappa[active] + rest
        # The step of the 2 x 2 Newton system, free of the cancellation of slopes near 0 (large x and y).
        step = rest - rest[::-1] - slope[::-1] * residual
        step /= slope + slope[::-1] - slope * slope[::-1]
        size = np.abs(step).max(axis=0)
        v[:, active] = w + step / np.maximum(1, size)
        active = active[~(size < tolerance)]  # the error is then about the square of that
        if active.size == 0:
            return v
    raise ArithmeticError(f"the Levy law of tail_mu {2 * a:g} did not converge at {active.size} points")


def log_quantile(a: float, Q: float, tail: Vector) -> Vector:
    """Log of the eigenvalue above which lies the mass `tail`: Newton's method on the log-odds, kept in a bracket."""
    out = np.where(tail == 0, inf, np.where(tail == 1, -inf, np.nan))
    inside = (tail > 0) & (tail < 1)
    p = tail[inside]
    t = -np.log(p) / a  # the tail's own answer
    low, high = np.full_like(t, -inf), np.full_like(t, inf)
    active = np.arange(t.size)
    for _ in range(_STEPS):
        if active.size == 0:
            out[inside] = t
            return out
        s, goal = t[active], p[active]
        h, mass = solve(a, Q, s.astype(np.complex128))
        mass = np.clip(mass, 1e-300, 1 - 1e-16)
        low[active] = np.where(mass > goal, s, low[active])
        high[active] = np.where(mass > goal, high[active], s)
        odds = np.log(mass / (1 - mass)) - np.log(goal / (1 - goal))
        slope = np.maximum(-h.imag / pi, 1e-300) / (mass * (1 - mass))
        step = np.clip(odds / slope, -3 / a, 3 / a)
        new, middle = s + step, (low[active] + high[active]) / 2
        done = np.abs(step) < 1e-8  # the error is then below the square of that
        astray = ~done & np.isfinite(middle) & ~((new > low[active]) & (new < high[active]))
        t[active] = np.where(astray, middle, new)
        active = active[~done]
    raise ArithmeticError(f"quantiles of the Levy law of tail_mu {2 * a:g}, Q {Q:g} did not converge")
