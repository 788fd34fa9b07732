r"""The laws of a tail, each normalised on [xmin, xmax].

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

A sample whose tail does not bend down at all has its best rival at that border. Its fit (`tails.likelihood`)
then says so and gives the power law itself, instead of mu = -1e9.

Sources: Clauset, Shalizi and Newman (2009), table 2.1; del Castillo and Puig (1999) and Malevergne, Pisarenko and
Sornette (2011) on the lognormal that ends in a power law.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log, nan
from typing import Self

import numpy as np

from heavytail.tails._law import BentLaw, Law, StraightenedLaw

__all__ = [
    "LAWS",
    "Exponential",
    "Law",
    "Lognormal",
    "PowerLaw",
    "StretchedExponential",
    "TruncatedPowerLaw",
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
