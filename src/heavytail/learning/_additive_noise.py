"""Noise of unit scale, alone and with a Gaussian added: densities, clipped moments and information, in closed form.

The noise of an estimator never comes alone: its residuals are e + sqrt(q) z, where the Gaussian part comes from the
error of the estimate itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi, sqrt
from typing import Protocol

import numpy as np
from scipy.special import erf, erfcx, log_ndtr

from heavytail.learning._arguments import check_name
from heavytail.learning._gauss import Array, H, phi

__all__ = ["GaussianNoise", "LaplaceNoise", "Noise", "noise_of"]

_STEPS = np.linspace(0.0, 1.0, 401)
_MANY = 2e4  # from here on a series in 1/q has all digits
_NODES, _WEIGHTS = (0.5 * (v + shift) for v, shift in zip(np.polynomial.legendre.leggauss(16), (1, 0), strict=True))


class Noise(Protocol):
    """A symmetric noise e; in the methods x = e + sqrt(q) z, all arguments are arrays of one shape."""

    @property
    def variance(self) -> float:
        """E e^2."""

    @property
    def precision(self) -> float:
        """Fisher information of e for its location."""

    def peak(self, q: Array) -> Array:
        """Density of x at 0, its largest."""

    def inside(self, c: Array, q: Array) -> Array:
        """Probability of |x| < c."""

    def clipped(self, c: Array, q: Array) -> Array:
        """E min(x^2, c^2)."""

    def score(self, x: Array, q: Array) -> Array:
        """Derivative of the log of the density at x."""

    def log_density(self, x: Array, q: Array) -> Array:
        """Log of the density at x."""

    def source(self, mean: Array, q: Array) -> Array:
        """Upper bound of the x > 0 at which E[e | x] = `mean`."""

    def information(self, q: Array) -> Array:
        """Fisher information of x for its location, E score^2."""

    def spread(self, q: Array) -> Array:
        """What the noise adds to q in 1 / information: from 1 / precision to its variance, with all digits."""

    def draw(self, size: int, rng: np.random.Generator) -> Array:
        """Independent values."""


@dataclass(frozen=True, slots=True)
class GaussianNoise(Noise):
    """Gaussian noise of variance 1."""

    variance: float = 1.0
    precision: float = 1.0

    def peak(self, q: Array) -> Array:
        return np.asarray(1 / np.sqrt(2 * pi * (1 + q)))

    def inside(self, c: Array, q: Array) -> Array:
        return np.asarray(erf(c / np.sqrt(2 * (1 + q))))

    def clipped(self, c: Array, q: Array) -> Array:
        return np.asarray(np.where(c < np.sqrt(1 + q), _clipped_near(self, c, q), _clipped_gaussian(c, 1 + q)))

    def score(self, x: Array, q: Array) -> Array:
        return np.asarray(-x / (1 + q))

    def log_density(self, x: Array, q: Array) -> Array:
        return np.asarray(-0.5 * x * x / (1 + q) - 0.5 * np.log(2 * pi * (1 + q)))

    def source(self, mean: Array, q: Array) -> Array:
        return np.asarray(1.01 * mean * (1 + q))

    def information(self, q: Array) -> Array:
        return np.asarray(1 / (1 + q))

    def spread(self, q: Array) -> Array:
        return np.ones_like(q)

    def draw(self, size: int, rng: np.random.Generator) -> Array:
        return rng.standard_normal(size)


@dataclass(frozen=True, slots=True)
class LaplaceNoise(Noise):
    """Laplace noise of density exp(-|e|) / 2.

    With s = sqrt q the density of x is (A(x) + A(-x)) / 2, where A(x) = exp(q/2 - x) Phi(x/s - s) is that of an
    exponential variable with the Gaussian added. As A' = -A + phi(x/s)/s, everything else follows by parts.
    """

    variance: float = 2.0
    precision: float = 1.0

    def peak(self, q: Array) -> Array:
        return np.exp(_log_one_sided(np.zeros_like(q), np.sqrt(q)))

    def inside(self, c: Array, q: Array) -> Array:
        s = np.sqrt(q)
        right, left = np.exp(_log_one_sided(c, s)), np.exp(_log_one_sided(-c, s))
        return np.asarray(np.where(c < s, _inside_near(self, c, q, 0), erf(c / s / sqrt(2)) - right + left))

    def clipped(self, c: Array, q: Array) -> Array:
        closed = _clipped_gaussian(c, q) + 2 * self.inside(c, q) - 4 * c * np.exp(self.log_density(c, q))
        return np.asarray(np.where(c < np.sqrt(q), _clipped_near(self, c, q), closed))

    def score(self, x: Array, q: Array) -> Array:
        s = np.sqrt(q)
        y = x / s
        # near 0 the Gaussian part of both sides is the same; what is left differs little for large q
        right, left = erfcx(np.maximum(s - np.abs(y), 0) / sqrt(2)), erfcx((s + np.abs(y)) / sqrt(2))
        near = np.sign(y) * (left - right) / (left + right)
        far = -np.tanh(0.5 * (_log_one_sided(x, s) - _log_one_sided(-x, s)))
        return np.asarray(np.where(np.abs(y) < s, near, far))

    def log_density(self, x: Array, q: Array) -> Array:
        s = np.sqrt(q)
        return np.asarray(np.logaddexp(_log_one_sided(x, s), _log_one_sided(-x, s)) - np.log(2))

    def source(self, mean: Array, q: Array) -> Array:
        return np.asarray(mean + q)  # as the score is at least -1

    def information(self, q: Array) -> Array:
        return self._mean(lambda x, q: np.square(self.score(x, q)), q)

    def spread(self, q: Array) -> Array:
        # J = (1 - M/q) / q, where M = E var(e|x) needs no difference of large numbers
        explained = self._mean(lambda x, q: np.square(x + q * self.score(x, q)), q)  # E E[e|x]^2
        t = 2 / np.maximum(q, _MANY)
        hidden = np.where(q < _MANY, 2 - explained, 2 * (1 - t + t * t - 2.5 * t**3))  # by the cumulants of e
        large, small = hidden / (1 - hidden / np.maximum(q, 1)), 1 / self.information(q) - q
        return np.asarray(np.where(q < 1, small, large))

    def _mean(self, f: Callable[[Array, Array], Array], q: Array) -> Array:
        """E f(x, q) for f even and 0 at 0."""
        # trapezoid in u, x = s sinh u: the score turns within s of 0, the density ends at exp(-40)
        s = np.sqrt(np.maximum(q, 1e-30))[..., None]  # below, the score is that of e to all digits
        end = np.arcsinh(12 + 40 / s)
        x = s * np.sinh(end * _STEPS)
        weight = 2 * end * _STEPS[1] * np.hypot(s, x)  # f is 0 at x = 0 and the density at the end
        return np.asarray(np.sum(weight * np.exp(self.log_density(x, s * s)) * f(x, s * s), axis=-1))

    def draw(self, size: int, rng: np.random.Generator) -> Array:
        return rng.laplace(size=size)


def noise_of(name: str) -> Noise:
    """Give the noise of this name.

    Raises:
        RequestError: if there is none.
    """
    known: dict[str, Noise] = {"gaussian": GaussianNoise(), "laplace": LaplaceNoise()}
    check_name("noise", name, tuple(known))
    return known[name]


def _log_one_sided(x: Array, s: Array) -> Array:
    """Log of exp(s^2/2 - x) Phi(x/s - s); erfcx takes up the two large terms that nearly cancel for x < s^2."""
    y = x / s
    near = -0.5 * y * y + np.log(0.5 * erfcx(np.maximum(s - y, 0) / sqrt(2)))
    return np.asarray(np.where(y < s, near, 0.5 * s * s - x + log_ndtr(np.maximum(y - s, 0))))


def _inside_near(noise: Noise, c: Array, q: Array, power: int) -> Array:
    """E |x/c|^power for |x| < c, else 0, where c is small: there the terms of closed forms cancel."""
    density = np.exp(noise.log_density(c[..., None] * _NODES, q[..., None]))
    return np.asarray(2 * c * np.sum(_WEIGHTS * _NODES**power * density, axis=-1))


def _clipped_near(noise: Noise, c: Array, q: Array) -> Array:
    """E min(x^2, c^2) for small c."""
    return np.asarray(c * c * (1 - _inside_near(noise, c, q, 0) + _inside_near(noise, c, q, 2)))


def _clipped_gaussian(c: Array, variance: Array) -> Array:
    """E min(x^2, c^2) of a Gaussian x."""
    t = c / np.sqrt(variance)
    return np.asarray(variance * (erf(t / sqrt(2)) - 2 * t * phi(t) + 2 * t * t * H(t)))
