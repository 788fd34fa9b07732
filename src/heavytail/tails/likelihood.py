"""The fit of the laws of a tail by maximum likelihood, with standard errors."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, log, nan, sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from heavytail.tails import _boxcox, _concave
from heavytail.tails._law import Law, Vector, log_excess
from heavytail.tails.laws import Exponential, Lognormal, PowerLaw, StretchedExponential, TruncatedPowerLaw

__all__ = ["Fit", "fit"]


@dataclass(frozen=True, slots=True)
class Fit:
    """A law fitted to a sample.

    Attributes:
        name: name of the law that was fitted.
        law: the most likely one. At the border it is the power law in the law's own form (rate 0, or stretch or slope
            0), but for a lognormal, which has none, a `PowerLaw`; for the exponential it is the uniform law.
        n: number of points.
        log_likelihood: natural logarithm, of the density of x.
        errors: standard error of each parameter of `law`, from the observed information; NaN at the border.
        at_border: whether the maximum is at the border of the law's parameters, for a tail that does not bend.
    """

    name: str
    law: Law
    n: int
    log_likelihood: float
    errors: dict[str, float]
    at_border: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON."""
        return {
            "law": self.name,
            "parameters": self.law.parameters,
            "errors": self.errors,
            "log_likelihood": self.log_likelihood,
            "n": self.n,
            "at_border": self.at_border,
        }


@dataclass(frozen=True, slots=True)
class _Sample:
    """A tail, in units of its start."""

    x: Vector
    u: Vector
    xmin: float
    xmax: float
    U: float
    slope: float  # alpha - 1 of the power law

    def fit(
        self, kind: type[Law], law: Law, value: float, deviations: tuple[float, ...], at_border: bool = False
    ) -> Fit:
        """Make the result from the log-likelihood a point (of u) and the errors of one point."""
        n = self.x.size
        total = n * (value - float(self.u.mean()) - log(self.xmin))
        errors = dict.fromkeys(law.parameters, nan)
        if not at_border:
            errors = {key: d / sqrt(n) for key, d in zip(errors, deviations, strict=True)}
        return Fit(kind.name, law, n, total, errors, at_border)


def fit(x: ArrayLike, law: type[Law], *, xmin: float | None = None, xmax: float = inf) -> Fit | None:
    """Fit a law to a tail by maximum likelihood.

    The power law, the truncated one, the exponential and the lognormal are exponential families: their likelihood has
    one maximum and Newton's method finds it. So has that of the stretched exponential for xmax = inf.
    Multiplying the sample by a constant changes no exponent.

    Args:
        x: (n,) the tail, all at or above xmin; in any order.
        law: one of `LAWS`.
        xmin: where the law starts; the smallest point if None.
        xmax: where it ends.

    Returns:
        The fit, or None where the likelihood has no maximum: for all points equal to xmin, and for a law with two
        parameters for all points equal.

    Raises:
        ValueError: if x is not one-dimensional, or has a point that is not finite or outside [xmin, xmax].

    Example:
        >>> x = TruncatedPowerLaw(alpha=2.0, rate=0.1).sample(1000, seed=0)
        >>> found = fit(x, TruncatedPowerLaw)
        >>> found.at_border, bool(abs(found.law.alpha - 2) < 2 * found.errors["alpha"])
        (False, True)
    """
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 1 or x.size == 0:
        raise ValueError(f"a tail must be a vector with points; got shape {x.shape}")
    start = float(x.min()) if xmin is None else float(xmin)
    if not (0 < start <= float(x.min()) and float(x.max()) <= xmax and float(x.max()) < inf):
        raise ValueError(f"a tail must lie in [xmin, xmax], 0 < xmin; got {x.min()} to {x.max()}, {start} and {xmax}")
    u = log_excess(x, start)
    U = float(log_excess(np.array(xmax), start)) if xmax < inf else inf
    mean = float(u.mean())
    if not 1e-14 < mean < U * (1 - 1e-14):  # below that the points are equal to within their rounding
        return None
    if _RULES[law] not in (_power_law, _exponential) and float(np.ptp(u)) <= 1e-14:
        return None
    slope = 1 / mean if xmax == inf else _boxcox.rate_of_mean(mean / U) / U
    return _RULES[law](_Sample(x, u, start, xmax, U, slope))


def _power_law(tail: _Sample) -> Fit:
    slope, U = tail.slope, tail.U
    spread = 1 / slope**2 if tail.xmax == inf else U**2 * _boxcox.rate_spread(slope * U)
    law = PowerLaw(1 + slope, tail.xmin, tail.xmax)
    return tail.fit(PowerLaw, law, _value(law, tail), (1 / sqrt(spread),))


def _exponential(tail: _Sample) -> Fit:
    width = tail.xmax - tail.xmin
    top = float(tail.x.max())
    mean = top * float((tail.x / top - tail.xmin / top).mean())
    z = rate = 1 / mean
    if tail.xmax < inf:
        z = max(_boxcox.rate_of_mean(mean / width), 0.0)
        rate = z / width
    law = Exponential(rate, tail.xmin, tail.xmax)
    error = rate if tail.xmax == inf else 1 / (width * sqrt(_boxcox.rate_spread(z)))
    return tail.fit(Exponential, law, _value(law, tail), (error,), at_border=not z)


def _value(law: Law, tail: _Sample) -> float:
    """Log-likelihood a point, of u."""
    return float(law._log_density(tail.u).mean())


def _stretched(tail: _Sample) -> Fit:
    best = _boxcox.most_likely(tail.u, tail.U, tail.slope)
    if best is None:
        limit = StretchedExponential(max(tail.slope, 0.0), max(-tail.slope, 0.0), tail.xmin, tail.xmax)
        return tail.fit(StretchedExponential, limit, _value(limit, tail), (), at_border=True)
    law = StretchedExponential(best.slope, best.stretch, tail.xmin, tail.xmax)
    errors = best.slope * _root(best.covariance[0, 0]), _root(best.covariance[1, 1])
    return tail.fit(StretchedExponential, law, best.log_likelihood, errors)


def _truncated(tail: _Sample) -> Fit:
    best = _concave.most_likely(tail.u, 1, tail.U, tail.slope)
    if best is None:
        limit = TruncatedPowerLaw(1 + tail.slope, 0.0, tail.xmin, tail.xmax)
        return tail.fit(TruncatedPowerLaw, limit, _value(_limit(tail), tail), (), at_border=True)
    b = exp(best.log_b)
    rate = exp(best.log_b - log(tail.xmin))
    law = TruncatedPowerLaw(1 + best.s - b, rate, tail.xmin, tail.xmax)
    turn = np.array([1.0, -b])
    errors = _root(turn @ best.covariance @ turn), rate * _root(best.covariance[1, 1])
    return tail.fit(TruncatedPowerLaw, law, best.log_likelihood, errors)


def _lognormal(tail: _Sample) -> Fit:
    best = _concave.most_likely(tail.u, 0, tail.U, tail.slope)
    if best is None:
        limit = _limit(tail)
        return tail.fit(Lognormal, limit, _value(limit, tail), (), at_border=True)
    b = exp(best.log_b)
    sigma = 1 / sqrt(b)
    law = Lognormal(log(tail.xmin) - best.s / b, sigma, tail.xmin, tail.xmax)
    turn = np.array([-1 / b, best.s / b])  # derivatives of mu by s and by ln b
    errors = _root(turn @ best.covariance @ turn), sigma / 2 * _root(best.covariance[1, 1])
    return tail.fit(Lognormal, law, best.log_likelihood, errors)


def _root(variance: float) -> float:
    """Square root; NaN where rounding has eaten the information."""
    return sqrt(variance) if variance > 0 else nan


def _limit(tail: _Sample) -> PowerLaw:
    """The power law at the border of the richer laws."""
    return PowerLaw(1 + tail.slope, tail.xmin, tail.xmax)


_RULES = {
    PowerLaw: _power_law,
    TruncatedPowerLaw: _truncated,
    Exponential: _exponential,
    StretchedExponential: _stretched,
    Lognormal: _lognormal,
}
