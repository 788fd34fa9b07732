r"""The laws of a tail that are exponential after a Box-Cox transformation of x / xmin.

With v = ((x / xmin)^k - 1) / k and v = ln(x / xmin) for k = 0, the density of v is proportional to exp(-r v) on [0, V].
k = 0 is the power law, k = 1 the exponential, k between them the stretched exponential.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, expm1, inf, log, sinh
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from heavytail.tails._concave import inverse

__all__ = ["Stretched", "log_expm1", "log_stretch", "most_likely", "rate_of_mean", "rate_spread", "unstretch"]

Vector: TypeAlias = NDArray[np.float64]


def log_stretch(u: Vector, k: float) -> Vector:
    """Give ln v for u = ln(x / xmin); -inf at u = 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(k * u + np.log(-np.expm1(-k * u) / k) if k else np.log(u))


def unstretch(log_v: Vector, k: float) -> Vector:
    """Give u = ln(x / xmin) for ln v."""
    with np.errstate(over="ignore"):
        return np.asarray(np.logaddexp(0, log(k) + log_v) / k if k else np.exp(log_v))


def log_expm1(y: Vector) -> Vector:
    """Give ln |exp(-y) - 1|, for y of either sign."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.maximum(-y, 0) + np.log(-np.expm1(-np.abs(y))))


def rate_of_mean(mean: float) -> float:
    """Find the z for which exp(-z t) on [0, 1] has a mean in (0, 1): 1/z - 1/(e^z - 1) = mean.

    Newton's method from the left of the root, where the function is convex and falls.
    """
    if mean > 0.5:
        return -rate_of_mean(1 - mean)
    if mean < 1e-3:
        return 1 / mean
    z = 1 / mean if mean < 0.03 else 12 * (0.5 - mean)
    for _ in range(60):
        step = (_mean(z) - mean) / rate_spread(z)
        z += step
        if abs(step) <= 1e-15 * z:
            break
    return z


def _mean(z: float) -> float:
    if z < 1e-2:
        return 0.5 - z / 12 + z**3 / 720
    return 1 / z - (1 / expm1(z) if z < 700 else 0.0)


def rate_spread(z: float) -> float:
    """Give the variance of exp(-z t) on [0, 1]."""
    z = abs(z)
    if z < 1e-2:
        return 1 / 12 - z * z / 240
    return 1 / z**2 - (1 / (2 * sinh(z / 2)) ** 2 if z < 700 else 0.0)


class Stretched(NamedTuple):
    """The most likely stretched exponential of a sample.

    Attributes:
        slope: rate of the law in v.
        stretch: the k of v.
        log_likelihood: a point, of the density in u.
        covariance: (2, 2) inverse of the information a point holds on ln slope and stretch.
    """

    slope: float
    stretch: float
    log_likelihood: float
    covariance: Vector


def most_likely(u: Vector, U: float, slope: float) -> Stretched | None:
    """Maximise the likelihood of the stretched exponential over its slope and its stretch k > 0.

    For U = inf the likelihood with the best slope for each k is concave in k: mean(v) is an average of exponentials
    of k, and its logarithm is convex. The maximum is then where the derivative vanishes.

    Args:
        u: (n,) log-excesses of the sample, not all equal.
        U: end of the law.
        slope: the most likely slope of the power law; negative only for a finite U.

    Returns:
        The maximum, or None where it is a power law: no stretch (or, for a negative slope, no rate).
    """
    profile = _Profile(u, U)
    unit = 1 / profile.mean
    low = max(1e-6 * unit, -slope)
    if not profile.gain(low) > 0:
        return None
    high = max(unit, 2 * low)
    while profile.gain(high) > 0:
        low, high = high, 2 * high
    k = _root(profile.gain, low, high)
    return profile.at(k)


def _root(f: Callable[[float], float], low: float, high: float) -> float:
    """Find where f changes sign: false position, the stale end halved (Illinois)."""
    at_low, at_high = f(low), f(high)
    side = 0
    for _ in range(100):
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        value = f(middle)
        if value == 0 or high - low <= 1e-14 * high:
            break
        if value > 0:
            low, at_low = middle, value
            at_high, side = (at_high / 2 if side > 0 else at_high), 1
        else:
            high, at_high = middle, value
            at_low, side = (at_low / 2 if side < 0 else at_low), -1
        if abs(value) < 1e-15:
            break
    return middle


class _Profile:
    """The likelihood of the stretched exponential over k, the slope being the best for each k."""

    def __init__(self, u: Vector, U: float) -> None:
        self.u, self.U = u, U
        self.mean, self.top = float(u.mean()), float(u.max())

    def gain(self, k: float) -> float:
        """Derivative of the likelihood by k."""
        log_v, first, _ = self._logarithm(k)
        z, pull, end, _ = self._end(k, log_v)
        return self.mean - pull * first - (z * end / expm1(z) if z < 700 else 0.0)

    def at(self, k: float) -> Stretched:
        """The law, its likelihood and its covariance."""
        log_v, first, second = self._logarithm(k)
        z, pull, end, bent = self._end(k, log_v)
        log_slope = log(pull) - log_v
        lost = z / expm1(z) if z < 700 else 0.0  # z times the derivative of ln(1 - e^-z), and z^2 times the second
        turned = -((z / (2 * sinh(z / 2))) ** 2) if z < 700 else 0.0
        value = k * self.mean + log_slope - pull - (log(-expm1(-z)) if z < inf else 0.0)
        apart = end - first  # in place of ln slope, ln slope + first k is almost independent of k
        cross = (lost + turned) * apart
        own = pull * (second - first**2) + lost * (bent + apart**2) + turned * apart**2
        information = np.array([[pull + lost + turned, cross], [cross, own]])
        back = np.array([[1, -first], [0, 1]])
        return Stretched(exp(log_slope), k, value, back @ inverse(information) @ back.T)

    def _logarithm(self, k: float) -> tuple[float, float, float]:
        """Logarithm of the mean of v over the sample, its first derivative, and the second one of the mean itself."""
        grown = np.exp(k * (self.u - self.top))
        weighted = self.u * grown
        mean = float(grown.mean()) - exp(-k * self.top)
        first = float(weighted.mean()) / mean - 1 / k
        if k * self.top > 1e-3:
            second = float((self.u * weighted).mean()) / mean - 2 * first / k
        else:  # where the difference would lose its digits: the second derivative of v is u^3 / 3 + k u^4 / 4 + ...
            second = float((self.u**3 * (1 / 3 + k * self.u / 4)).mean()) / (mean / k)
        return k * self.top + log(mean / k), first, second

    def _end(self, k: float, log_v: float) -> tuple[float, float, float, float]:
        """The best z = slope V, slope times the mean of v, and the first two derivatives of ln V by k."""
        fall = -expm1(-k * self.U)
        m = exp(log_v - k * self.U - log(fall / k))  # 0 for U = inf
        if m < 1e-3:
            return inf, 1.0, 0.0, 0.0  # the end of the law adds nothing
        z = max(rate_of_mean(m), 1e-18)  # a slope of zero, where the likelihood would have a negative one
        return z, z * m, self.U * (1 - _mean(k * self.U)), self.U**2 * rate_spread(k * self.U)
