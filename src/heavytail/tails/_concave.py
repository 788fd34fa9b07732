r"""The log-concave laws of a tail: the log-density in u = ln(x / xmin) bends downwards, by b at xmin.

.. math:: g(u) \propto \exp(-s u - b\,w(u)), \quad w''(u) = e^{\kappa u}, \quad w(0) = w'(0) = 0, \quad 0 \le u \le U.

For kappa = 0 it is the lognormal law, w = u^2 / 2; for kappa = 1 the truncated power law, w = e^u - 1 - u; for b = 0
both are the power law. As an exponential family it has a concave log-likelihood, and it is closed under a shift of
xmin (s becomes s + b w'(u), b becomes b e^(kappa u)), so that one integral gives norms, moments and both tails.

Everywhere b is kept as its logarithm: in a sample that spans 600 decades b itself underflows.
"""

from __future__ import annotations

from math import exp, factorial, inf, isinf, log
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Peak", "inverse", "log_bend", "log_mass", "most_likely", "quantile", "tail_excess"]

Vector: TypeAlias = NDArray[np.float64]

_T, _WEIGHT = np.polynomial.legendre.leggauss(28)
_T, _WEIGHT = (_T + 1) / 2, _WEIGHT / 2
_DEPTH = 40.0  # the integral ends where the integrand has fallen by exp(-40)
_SERIES = [2 / factorial(k) for k in range(2, 12)]  # of 2 (e^z - 1 - z) / z^2


class _Rule(NamedTuple):
    """Nodes and weights for the integral of exp(-s u - b w(u)), and b w at the nodes."""

    u: Vector  # (..., k)
    weight: Vector  # (..., k), the integrand included, less its greatest value
    bend: Vector  # (..., k)
    height: Vector  # (...,) logarithm of the greatest value


def log_bend(u: Vector, kappa: int) -> Vector:
    """Give ln w(u), for u of either sign; -inf at u = 0."""
    with np.errstate(divide="ignore"):
        if kappa == 0:
            return np.asarray(2 * np.log(np.abs(u)) - log(2))
        near = np.clip(u, -0.1, 0.1)
        above = np.maximum(u, 0.1)
        below = np.minimum(u, -0.1)
        far = np.where(
            u > 0, above + np.log(-np.expm1(-above) - above * np.exp(-above)), np.log(np.expm1(below) - below)
        )
        return np.where(np.abs(u) < 0.1, np.log(near * near / 2 * _series(near)), far)


def log_mass(s: Vector, log_b: Vector, kappa: int, U: Vector) -> Vector:
    """Give the logarithm of the integral of exp(-s u - b w(u)) over [0, U], for arrays of one shape."""
    rule = _rule(s, log_b, kappa, U)
    with np.errstate(divide="ignore"):
        return np.asarray(rule.height + np.log(rule.weight.sum(axis=-1)))


def tail_excess(u: Vector, s: float, log_b: float, kappa: int, U: float) -> Vector:
    """Give the logarithm of the integral of exp(-s t - b w(t)) over t in [u, U], by moving xmin to u."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        moved = log_b + kappa * u
        slope = s + _gain(u, np.array(log_b), kappa)
        height = -s * u - _scaled_bend(u, np.array(log_b), kappa)
    return np.asarray(height + log_mass(slope, moved, kappa, U - u))


def quantile(p: Vector, s: float, log_b: float, kappa: int, U: float) -> Vector:
    """Find the u below which lies the probability p, in (0, 1), of the law on [0, U].

    Newton's method on the logarithm of the smaller side, which is concave, within a bracket.
    """
    u = np.empty(p.shape)
    low = p < 0.5
    u[low] = _solved(p[low], True, s, log_b, kappa, U)
    u[~low] = _solved(p[~low], False, s, log_b, kappa, U)
    return u


def _solved(p: Vector, from_below: bool, s: float, log_b: float, kappa: int, U: float) -> Vector:
    zero = np.zeros(p.shape)
    rule = _rule(np.array(s), np.array(log_b), kappa, np.array(U))
    order = np.argsort(rule.u)
    mass = np.cumsum(rule.weight[order])
    total = float(rule.height) + log(mass[-1])
    u = np.interp(p * mass[-1], mass, rule.u[order])
    low, high = zero.copy(), np.full(p.shape, float(rule.u.max()))
    high = np.minimum(2 * high + 1, U)
    target = np.log(p) if from_below else np.log1p(-p)
    for _ in range(100):
        if from_below:
            value = log_mass(zero + s, zero + log_b, kappa, u) - total
        else:
            value = tail_excess(u, s, log_b, kappa, U) - total
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            density = -s * u - _scaled_bend(u, np.array(log_b), kappa) - total
            step = (target - value) / np.exp(density - value)
        ahead = value < target if from_below else value > target  # the root is above u
        low, high = np.where(ahead, u, low), np.where(ahead, high, u)
        new = u + step if from_below else u - step
        new = np.where((new > low) & (new < high), new, (low + high) / 2)
        done = np.abs(new - u) <= 1e-14 * new
        u = new
        if done.all():
            break
    return np.asarray(u)


def _series(z: Vector) -> Vector:
    total = np.full_like(z, _SERIES[-1])
    for term in _SERIES[-2::-1]:
        total = total * z + term
    return total


def _gain(u: Vector, log_b: Vector, kappa: int) -> Vector:
    """Give b w'(u): what the bend has added to the slope."""
    if kappa == 0:
        return np.asarray(np.exp(log_b) * u)
    return np.where(u > 0, -np.exp(log_b + u) * np.expm1(-np.abs(u)), np.exp(log_b) * np.expm1(np.minimum(u, 0)))


def _scaled_bend(u: Vector, log_b: Vector, kappa: int) -> Vector:
    """Give b w(u), without overflow."""
    b = np.exp(log_b)
    if kappa == 0:
        return np.asarray(b * u * u / 2)
    near = np.clip(u, -0.1, 0.1)
    return np.where(np.abs(u) < 0.1, b * (near * near / 2) * _series(near), np.exp(log_b + u) - b * (1 + u))


def _reach(slope: Vector, log_b: Vector, kappa: int) -> Vector:
    """Bound the h at which slope h + b w(h) reaches the depth, from above and by little."""
    b = np.exp(log_b)
    if kappa < 0:  # w >= h^2 / (2 + h)
        return np.asarray(np.minimum(_DEPTH / slope, (_DEPTH + np.sqrt(_DEPTH * (_DEPTH + 8 * b))) / (2 * b)))
    reach = 2 * _DEPTH / (slope + np.sqrt(slope * slope + 2 * b * _DEPTH))  # w >= h^2 / 2
    if kappa:  # w >= e^h / 2 - 1
        reach = np.minimum(reach, log(2) + np.logaddexp(log(_DEPTH) - log_b, 0))
    return np.asarray(reach)


def _half(slope: Vector, log_b: Vector, kappa: int, end: Vector) -> tuple[Vector, Vector, Vector]:
    """Nodes h, Gauss weights and b w(h) on one side of the mode, where slope h + b w(h) rises from zero."""
    reach = _reach(slope, log_b, kappa)
    end = np.minimum(reach, end)
    zero = np.zeros_like(end)
    if kappa > 0:  # e^h has the scale one, and is felt from 30 or so before the end
        edges = [zero, np.clip(reach - 36, 0, end), np.clip(reach - 8, 0, end), end]
    elif kappa < 0:
        edges = [zero, np.minimum(end, 4), np.minimum(end, 32), end]
    else:
        edges = [zero, end]
    edge = np.stack(edges, axis=-1)
    width = np.diff(edge, axis=-1)[..., None]
    shape = (*end.shape, (len(edges) - 1) * _T.size)
    h = (edge[..., :-1, None] + width * _T).reshape(shape)
    weight = (width * _WEIGHT).reshape(shape)
    return h, weight, _scaled_bend(kappa * h if kappa else h, log_b[..., None], abs(kappa))


def _rule(s: Vector, log_b: Vector, kappa: int, U: Vector, start: float = 0.0) -> _Rule:
    """Gauss-Legendre panels on both sides of the integrand's mode in [start, U]."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore", under="ignore"):
        ratio = np.exp(np.log(np.abs(s)) - log_b)  # at the mode w' = -s / b
        if kappa:
            mode = np.where(s < 0, np.logaddexp(0, np.log(np.abs(s)) - log_b), np.log1p(-np.minimum(ratio, 1)))
        else:
            mode = -np.copysign(ratio, s)
        mode = np.clip(np.where(s == 0, 0.0, mode), start, U)
        at_mode = log_b + kappa * mode
        gained = _gain(mode, log_b, kappa)
        bend = _scaled_bend(mode, log_b, kappa)
        slope = np.where((mode > start) & (mode < U), 0.0, s + gained)
        up, up_weight, up_bend = _half(np.maximum(slope, 0), at_mode, kappa, U - mode)
        down, down_weight, down_bend = _half(np.maximum(-slope, 0), at_mode, -kappa, mode - start)
    h = np.concatenate((-down, up), axis=-1)
    own = np.concatenate((down_bend, up_bend), axis=-1)
    weight = np.concatenate((down_weight, up_weight), axis=-1) * np.exp(-slope[..., None] * h - own)
    return _Rule(mode[..., None] + h, weight, bend[..., None] + gained[..., None] * h + own, -s * mode - bend)


class Peak(NamedTuple):
    """The most likely law of a sample.

    Attributes:
        s: slope at xmin.
        log_b: logarithm of the bend at xmin.
        log_likelihood: a point, of the density in u.
        covariance: (2, 2) inverse of the information a point holds on s and ln b.
    """

    s: float
    log_b: float
    log_likelihood: float
    covariance: Vector


def most_likely(u: Vector, kappa: int, U: float, slope: float) -> Peak | None:
    """Maximise the likelihood over s and b > 0 by Newton's method.

    Args:
        u: (n,) log-excesses of the sample, not all equal.
        kappa: 0 or 1.
        U: end of the law.
        slope: the most likely s for b = 0, which is where the power law sits.

    Returns:
        The maximum, or None where it is the power law: by concavity, if and only if the mean of w over the sample is
        not below its mean under the power law.
    """
    if _log_mean(log_bend(u, kappa)) >= _log_mean_bend(slope, kappa, U) - 1e-12:
        return None
    origin = float(u.mean())  # the law is written from there, where slope and bend are almost independent
    units = _Units(origin, float(u.std()), _log_mean(log_bend(u - origin, kappa)), kappa, U)
    point = np.array([0.0, log(0.5)])
    value, slopes, curvature = units.likelihood(point)
    for _ in range(200):
        step = np.linalg.solve(curvature, slopes)
        gain = float(step @ slopes)
        if not gain > 1e-20:
            break
        length = min(1.0, 2 / max(abs(step[1]), 1e-300))
        while length > 1e-12:
            trial = point + length * step
            found = units.likelihood(trial)
            if found[0] >= value + 0.1 * length * gain - 1e-15 * abs(value):
                break
            length /= 2
        else:
            break
        point, (value, slopes, curvature) = trial, found
    return units.peak(point, value, curvature)


class _Units(NamedTuple):
    """A sample in the units of Newton's method: slope times its deviation, and ln of the bend times the mean of w."""

    origin: float
    deviation: float
    log_mean: float
    kappa: int
    U: float

    def likelihood(self, point: Vector) -> tuple[float, Vector, Vector]:
        """Log-likelihood a point, its gradient, and a positive matrix that is its curvature at the maximum."""
        weight, log_b = exp(point[1]), np.array(point[1] - self.log_mean)
        rule = _rule(
            np.array(point[0] / self.deviation), log_b, self.kappa, np.array(self.U - self.origin), -self.origin
        )
        total = float(rule.weight.sum())
        share = rule.weight / total
        stats = np.stack((rule.u / self.deviation, rule.bend))
        mean = stats @ share
        centred = stats - mean[:, None]
        slopes = mean - (0.0, weight)
        curvature = (centred * share) @ centred.T
        curvature[1, 1] += abs(slopes[1])  # the likelihood is concave in the bend, but not in its logarithm
        return -(weight + float(rule.height) + log(total)), slopes, curvature

    def peak(self, point: Vector, value: float, curvature: Vector) -> Peak:
        """Write the law from xmin."""
        log_b = float(point[1]) - self.log_mean
        lost = float(_gain(np.array(-self.origin), np.array(log_b), self.kappa))
        to_start = np.array([[1 / self.deviation, lost], [0, 1]])
        covariance = to_start @ inverse(curvature) @ to_start.T
        return Peak(float(point[0]) / self.deviation + lost, log_b - self.kappa * self.origin, value, covariance)


def inverse(information: Vector) -> Vector:
    """Invert a symmetric (2, 2) matrix; NaN where rounding has eaten the information."""
    (a, b), (_, d) = information.tolist()
    determinant = a * d - b * b
    if not determinant > 1e-13 * a * d:
        return np.full((2, 2), np.nan)
    return np.asarray(np.array([[d, -b], [-b, a]]) / determinant)


def _log_mean(logs: Vector) -> float:
    """Logarithm of the mean, from logarithms."""
    top = float(logs.max())
    return top + log(float(np.exp(logs - top).mean()))


def _log_mean_bend(slope: float, kappa: int, U: float) -> float:
    """Logarithm of the mean of w under the power law exp(-slope u) on [0, U]."""
    if isinf(U):
        if kappa == 0:
            return -2 * log(slope)
        return -log(slope) - log(slope - 1) if slope > 1 else inf
    rule = _rule(np.array(slope), np.array(-inf), kappa, np.array(U))
    logs = log_bend(rule.u, kappa)
    top = float(logs.max())
    return top + log(float((rule.weight * np.exp(logs - top)).sum() / rule.weight.sum()))
