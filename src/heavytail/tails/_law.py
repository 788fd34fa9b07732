"""What the laws of a tail share: everything that follows from a density and its two tails in u = ln(x / xmin)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields
from math import exp, inf, log
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heavytail.tails import _boxcox, _concave

__all__ = ["BentLaw", "Law", "Real", "StraightenedLaw", "Vector", "log_excess"]

Vector: TypeAlias = NDArray[np.float64]

Real: TypeAlias = Any
"""A float for a scalar argument, a float64 array of the same shape for an array."""


def log_excess(x: Vector, xmin: float) -> Vector:
    """Give ln(x / xmin), exact for x near xmin and free of overflow far from it."""
    with np.errstate(all="ignore"):
        return np.where(x < 2 * xmin, np.log1p((x - xmin) / xmin), np.log(x) - log(xmin))


class Law(ABC):
    """A law on [xmin, xmax]; a subclass is a frozen dataclass of its parameters, then xmin and xmax."""

    __slots__ = ()

    name: ClassVar[str]
    """What a reader calls it."""

    xmin: float
    xmax: float

    @abstractmethod
    def _log_density(self, u: Vector) -> Vector:
        """Logarithm of the density of u, on [0, U]."""

    @abstractmethod
    def _log_cdf(self, u: Vector) -> Vector:
        """Logarithm of the probability of [0, u]."""

    @abstractmethod
    def _log_sf(self, u: Vector) -> Vector:
        """Logarithm of the probability of [u, U]."""

    @abstractmethod
    def _quantile(self, p: Vector) -> Vector:
        """The u below which lies the probability p, in [0, 1]."""

    @property
    def parameters(self) -> dict[str, float]:
        """The parameters of the law by name, without xmin and xmax."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("xmin", "xmax")}  # type: ignore[arg-type]

    def logpdf(self, x: ArrayLike) -> Real:
        """Logarithm of the density; -inf outside [xmin, xmax], NaN for NaN."""
        x, u = self._reduced(x)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = self._log_density(u) - np.log(x)
        return _chosen(x, [(x < self.xmin, -inf), (x > self.xmax, -inf), (x == inf, -inf)], value)

    def pdf(self, x: ArrayLike) -> Real:
        """Density; 0 outside [xmin, xmax]."""
        return np.exp(self.logpdf(x))

    def cdf(self, x: ArrayLike) -> Real:
        """Probability of a value not above x."""
        x, u = self._reduced(x)
        return _chosen(x, [(x <= self.xmin, 0.0), (x >= self.xmax, 1.0)], np.exp(self._log_cdf(u)))

    def sf(self, x: ArrayLike) -> Real:
        """Probability of a value above x, to full relative accuracy far in the tail."""
        x, u = self._reduced(x)
        return _chosen(x, [(x <= self.xmin, 1.0), (x >= self.xmax, 0.0)], np.exp(self._log_sf(u)))

    def ppf(self, p: ArrayLike) -> Real:
        """Quantile: the x with cdf(x) = p; NaN for p outside [0, 1]."""
        p = np.asarray(p, dtype=np.float64)
        inside = (p > 0) & (p < 1)
        u = self._quantile(np.where(inside, p, 0.5))
        with np.errstate(over="ignore"):
            x = np.where(u < 1, self.xmin * np.exp(np.minimum(u, 1)), np.exp(log(self.xmin) + u))
        x = np.clip(x, self.xmin, self.xmax)
        return _chosen(p, [(p == 0, self.xmin), (p == 1, self.xmax), (~inside, np.nan)], x)

    def sample(self, size: int | tuple[int, ...], seed: int | np.random.Generator | None = None) -> Vector:
        """Draw independent values (the eigenvalues of one matrix are not independent: they repel each other).

        Args:
            size: shape of the draw.
            seed: a seed or a generator.
        """
        return np.asarray(self.ppf(np.random.default_rng(seed).random(size)))

    def log_likelihood(self, x: ArrayLike) -> float:
        """Sum of the log-densities of a sample; -inf where a point is outside [xmin, xmax]."""
        return float(np.sum(self.logpdf(x)))

    def _reduced(self, x: ArrayLike) -> tuple[Vector, Vector]:
        """Give x, and u with what is outside the law moved to xmin (where every function is finite)."""
        x = np.asarray(x, dtype=np.float64)
        inside = (x > self.xmin) & (x <= self.xmax) & (x < inf)
        return x, log_excess(np.where(inside, x, self.xmin), self.xmin)

    def _end(self) -> float:
        """U = ln(xmax / xmin)."""
        return float(log_excess(np.array(self.xmax), self.xmin)) if self.xmax < inf else inf

    def _check(self, sound: bool, expected: str) -> None:
        """Raise ValueError unless the range is one and the parameters are sound."""
        if not 0 < self.xmin < self.xmax or self.xmin == inf:
            raise ValueError(f"a law needs 0 < xmin < xmax; got xmin={self.xmin}, xmax={self.xmax}")
        if not sound:
            seen = ", ".join(f"{key}={value}" for key, value in self.parameters.items())
            raise ValueError(f"a {self.name} law needs {expected}; got {seen}, xmax={self.xmax}")


class StraightenedLaw(Law):
    """A law that is exponential in the Box-Cox variable v of x / xmin (`heavytail.tails._boxcox`)."""

    __slots__ = ()

    @abstractmethod
    def _form(self) -> tuple[float, float, int]:
        """The power k of v, the logarithm of the rate in v (of its size), and its sign."""

    def _scaled(self, u: Vector) -> tuple[Vector, Vector, float, float]:
        """Give rate times v at u and at U, the logarithm of the rate's size, and k."""
        k, log_rate, sign = self._form()
        end = self._end()
        log_end = float(_boxcox.log_stretch(np.array(end), k)) if end < inf else inf
        log_rate = max(log_rate, log(1e-18) - log_end)  # uniform to all digits, and free of 0 / 0
        y = sign * np.exp(log_rate + _boxcox.log_stretch(u, k))
        return y, np.array(sign * exp(min(log_rate + log_end, 700.0))) if end < inf else np.array(inf), log_rate, k

    def _log_density(self, u: Vector) -> Vector:
        y, Y, log_rate, k = self._scaled(u)
        return log_rate + k * u - y - _boxcox.log_expm1(Y)

    def _log_cdf(self, u: Vector) -> Vector:
        y, Y, _, _ = self._scaled(u)
        return _boxcox.log_expm1(y) - _boxcox.log_expm1(Y)

    def _log_sf(self, u: Vector) -> Vector:
        y, Y, _, _ = self._scaled(u)
        return _boxcox.log_expm1(Y - y) - y - _boxcox.log_expm1(Y)

    def _quantile(self, p: Vector) -> Vector:
        _, Y, log_rate, k = self._scaled(np.zeros(()))
        y = -np.log1p(p * np.expm1(-Y)) if Y > -1 else Y - np.log(p + (1 - p) * np.exp(Y))
        return _boxcox.unstretch(np.log(np.abs(y)) - log_rate, k)


class BentLaw(Law):
    """A law exp(-s u - b w(u)) whose log-density bends down (`heavytail.tails._concave`)."""

    __slots__ = ()

    _kappa: ClassVar[int]

    @abstractmethod
    def _form(self) -> tuple[float, float]:
        """The slope s and the logarithm of the bend b, at xmin."""

    def _log_norm(self) -> float:
        s, log_b = self._form()
        return float(_concave.log_mass(np.array(s), np.array(log_b), self._kappa, np.array(self._end())))

    def _log_density(self, u: Vector) -> Vector:
        s, log_b = self._form()
        return np.asarray(-s * u - np.exp(log_b + _concave.log_bend(u, self._kappa)) - self._log_norm())

    def _log_cdf(self, u: Vector) -> Vector:
        s, log_b = self._form()
        size = np.zeros(u.shape)
        return _concave.log_mass(size + s, size + log_b, self._kappa, u) - self._log_norm()

    def _log_sf(self, u: Vector) -> Vector:
        s, log_b = self._form()
        return _concave.tail_excess(u, s, log_b, self._kappa, self._end()) - self._log_norm()

    def _quantile(self, p: Vector) -> Vector:
        return _concave.quantile(p, *self._form(), self._kappa, self._end())


def _chosen(at: Vector, rules: list[tuple[Any, float]], value: Vector) -> Real:
    """Take the first rule that holds, else the value; NaN where `at` is NaN."""
    conditions, choices = zip(*rules, strict=True)
    chosen = np.select(conditions, choices, value)
    return np.where(np.isnan(at), np.nan, chosen)[()]
