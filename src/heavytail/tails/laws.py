r"""The laws of a tail, each normalised on [xmin, xmax], and their fit by maximum likelihood.

Seen in u = ln(x / xmin), the power law is a straight line: its log-density falls by alpha - 1 per unit of u. Each rival
bends that line downwards, and each has a member that does not bend, which is the power law:

========================  =========================================  ===============================
law                       density in u, up to its norm               the power law is
========================  =========================================  ===============================
power law                 exp(-(alpha - 1) u)
truncated power law       exp(-(alpha - 1) u - rate xmin (e^u - 1))  rate = 0
stretched exponential     exp(k u - slope (e^(k u) - 1) / k)         stretch k = 0
lognormal                 exp(-(u - m)^2 / 2 sigma^2)                mu -> -inf, sigma^2 ~ -mu
exponential               exp(u - rate xmin (e^u - 1))               not a member; alpha = 0 or k = 1
========================  =========================================  ===============================

A sample whose tail does not bend down at all has its best rival at that border. The fit then says so
(`Fit.at_border`) and gives the power law itself, instead of mu = -1e9.

Sources: Clauset, Shalizi and Newman (2009), table 2.1; del Castillo and Puig (1999) and Malevergne, Pisarenko and
Sornette (2011) on the lognormal that ends in a power law.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, log, nan, sqrt
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from heavytail.tails import _boxcox, _concave
from heavytail.tails._law import BentLaw, Law, StraightenedLaw, Vector, log_excess

__all__ = [
    "LAWS",
    "Exponential",
    "Fit",
    "Law",
    "Lognormal",
    "PowerLaw",
    "StretchedExponential",
    "TruncatedPowerLaw",
    "fit",
]


@dataclass(frozen=True, slots=True)
class PowerLaw(StraightenedLaw):
    """Density proportional to x^-alpha.

    Attributes:
        alpha: the exponent, above 1; any number where xmax is finite.
        xmin: where the law starts.
        xmax: where it ends, maybe inf.

    Raises:
        ValueError: if the density has no norm.

    Example:
        >>> law = PowerLaw(3.0)
        >>> [float(round(value, 12)) for value in (law.pdf(2.0), law.sf(2.0), law.ppf(0.75))]
        [0.25, 0.25, 2.0]
    """

    name = "power law"

    alpha: float
    xmin: float = 1.0
    xmax: float = inf

    def __post_init__(self) -> None:  # noqa: D105
        self._check(self.alpha > 1 or self.xmax < inf, "alpha > 1 or a finite xmax")

    def _form(self) -> tuple[float, float, int]:
        slope = self.alpha - 1
        return 0.0, log(abs(slope)) if slope else -inf, -1 if slope < 0 else 1


@dataclass(frozen=True, slots=True)
class TruncatedPowerLaw(BentLaw):
    """Density proportional to x^-alpha exp(-rate x): a power law with an exponential cut-off at 1 / rate.

    WeightWatcher calls the rate Lambda. The E-TPL of Yang et al. (2023) is this law with xmin at the peak of the
    spectral density. With rate 0 it is the power law, with alpha 0 the exponential law.

    Attributes:
        alpha: the exponent; any number, but above 1 where rate = 0 and xmax is inf.
        rate: in units of 1 / x, not negative.
        xmin: where the law starts.
        xmax: where it ends, maybe inf.

    Raises:
        ValueError: if the density has no norm.

    Example:
        >>> law = TruncatedPowerLaw(alpha=0.0, rate=2.0)
        >>> bool(np.isclose(law.sf(1.5), np.exp(-1)))
        True
    """

    name = "truncated power law"
    _kappa = 1

    alpha: float
    rate: float
    xmin: float = 1.0
    xmax: float = inf

    def __post_init__(self) -> None:  # noqa: D105
        sound = self.rate > 0 or (self.rate == 0 and (self.alpha > 1 or self.xmax < inf))
        self._check(sound and self.rate < inf, "rate > 0, or rate = 0 and (alpha > 1 or a finite xmax)")

    def _form(self) -> tuple[float, float]:
        return self.alpha - 1 + self.rate * self.xmin, log(self.rate) + log(self.xmin) if self.rate else -inf


@dataclass(frozen=True, slots=True)
class Exponential(StraightenedLaw):
    """Density proportional to exp(-rate x).

    Attributes:
        rate: in units of 1 / x; positive, or 0 (uniform) where xmax is finite.
        xmin: where the law starts.
        xmax: where it ends, maybe inf.

    Raises:
        ValueError: if the density has no norm.

    Example:
        >>> bool(np.isclose(Exponential(2.0, xmin=3.0).sf(3.5), np.exp(-1)))
        True
    """

    name = "exponential"

    rate: float
    xmin: float = 1.0
    xmax: float = inf

    def __post_init__(self) -> None:  # noqa: D105
        sound = self.rate > 0 or (self.rate == 0 and self.xmax < inf)
        self._check(sound and self.rate < inf, "rate > 0, or rate = 0 and a finite xmax")

    def _form(self) -> tuple[float, float, int]:
        return 1.0, log(self.rate) + log(self.xmin) if self.rate else -inf, 1


@dataclass(frozen=True, slots=True)
class StretchedExponential(StraightenedLaw):
    r"""Survival function exp(-(rate x)^stretch) above xmin, relative to its value at xmin: the tail of a Weibull law.

    The law is kept by its slope at xmin, -d ln sf / d ln x = stretch (rate xmin)^stretch, because the rate leaves the
    range of floating-point numbers as the stretch tends to 0. There the slope stays, and the law is the power law with
    alpha = 1 + slope. With stretch 1 it is the exponential law. Clauset, Shalizi and Newman (2009) write
    exp(-lambda x^beta), so lambda = rate^stretch.

    Attributes:
        slope: not negative; 0 only where xmax is finite.
        stretch: the exponent, not negative; above 1 the tail is lighter than exponential.
        xmin: where the law starts.
        xmax: where it ends, maybe inf.

    Raises:
        ValueError: if the density has no norm.

    Example:
        >>> law = StretchedExponential.from_rate(rate=2.0, stretch=0.5, xmin=2.0)
        >>> law.slope, law.rate
        (1.0, 2.0)
        >>> bool(np.isclose(law.sf(8.0), np.exp(2 - 4)))
        True
    """

    name = "stretched exponential"

    slope: float
    stretch: float
    xmin: float = 1.0
    xmax: float = inf

    def __post_init__(self) -> None:  # noqa: D105
        sound = 0 <= self.stretch < inf and (0 < self.slope < inf or (self.slope == 0 and self.xmax < inf))
        self._check(sound, "stretch >= 0, and slope > 0 or a finite xmax")

    @classmethod
    def from_rate(cls, rate: float, stretch: float, xmin: float = 1.0, xmax: float = inf) -> Self:
        """Make the law from its rate, in units of 1 / x."""
        return cls(stretch * (rate * xmin) ** stretch, stretch, xmin, xmax)

    @property
    def rate(self) -> float:
        """The rate, in units of 1 / x; NaN at stretch 0, 0 or inf where it cannot be told from them."""
        if not self.stretch:
            return nan
        with np.errstate(all="ignore"):
            return float(np.exp(np.log(self.slope / self.stretch) / self.stretch - log(self.xmin)))

    def _form(self) -> tuple[float, float, int]:
        k = self.stretch if self.stretch > 1e-100 else 0.0  # a denormal number has no digits
        return k, log(self.slope) if self.slope else -inf, 1


@dataclass(frozen=True, slots=True)
class Lognormal(BentLaw):
    """The tail of a normal law of ln x.

    Attributes:
        mu: mean of ln x for the whole law, in units of ln; may be far below ln xmin.
        sigma: its standard deviation, positive.
        xmin: where the law starts.
        xmax: where it ends, maybe inf.

    Raises:
        ValueError: if sigma is not positive.

    Example:
        >>> bool(np.isclose(Lognormal(0.0, 1.0).ppf(0.5), np.exp(0.6744897501960817)))
        True
    """

    name = "lognormal"
    _kappa = 0

    mu: float
    sigma: float
    xmin: float = 1.0
    xmax: float = inf

    def __post_init__(self) -> None:  # noqa: D105
        self._check(0 < self.sigma < inf and abs(self.mu) < inf, "a finite mu and sigma > 0")

    def _form(self) -> tuple[float, float]:
        return (log(self.xmin) - self.mu) / self.sigma**2, -2 * log(self.sigma)


LAWS: tuple[type[Law], ...] = (PowerLaw, TruncatedPowerLaw, Exponential, StretchedExponential, Lognormal)
"""The laws, simple and rich."""


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
