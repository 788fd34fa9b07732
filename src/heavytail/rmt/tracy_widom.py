r"""Tracy-Widom laws: the largest eigenvalue of a large random matrix, at its edge.

With A the operator of kernel Ai(s + u + v) on u, v > 0 (Ferrari and Spohn 2005, Bornemann 2010),

.. math:: F_1 = \det(I - A), \quad F_2 = \det(I - A)\det(I + A), \quad F_4 = [\det(I - A) + \det(I + A)] / 2,

so the eigenvalues of one small symmetric matrix give the three laws. Away from the far left the matrix gives ln F, and
ln(1 - F) as well, to full relative accuracy; on the left Painleve II takes over (`heavytail.rmt._painleve`). Both are
kept as one Chebyshev series a side, less the asymptotic form of the tail, in a variable that maps the tail's end to a
finite point: one series holds to infinity, and no two formulas need joining within a tail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import exp, expm1, inf, log, nan, sqrt
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.polynomial.chebyshev import chebder, chebinterpolate, chebval
from numpy.typing import ArrayLike, NDArray
from scipy.special import airy, airye, roots_legendre

from heavytail.rmt._law import Law, Real, Vector
from heavytail.rmt._painleve import remainders
from heavytail.threads import one_thread

__all__ = ["TracyWidom", "fredholm_cdf"]

Beta = Literal[1, 2, 4]

_JOIN = -2.0  # left of it ln F is kept, right of it ln(1 - F)
_SHIFT = 7.0  # the right series is one in (s + 7)^(-1/2)
_LEFT_DEGREE, _RIGHT_DEGREE = 48, 56
_NODES = 48
_RIGHT_ENDS = (1e4 + _SHIFT) ** -0.5, (_JOIN + _SHIFT) ** -0.5  # it is fitted up to s = 1e4, where 1 - F1 is exp(-7e5)
_HUGE = 1e100  # beyond it a power of s might overflow


class _Tail(NamedTuple):
    """Leading form of the right tail: 1 - F ~ exp(-(2/3) order s^(3/2)) s^(-power)."""

    order: int
    power: float


_TAILS = {1: _Tail(1, 0.75), 2: _Tail(2, 1.5), 4: _Tail(2, 3.0)}


def fredholm_cdf(s: ArrayLike, beta: Beta, *, nodes: int = 64) -> Real:
    """Evaluate a Tracy-Widom distribution function by its Fredholm determinant (Bornemann 2010).

    The independent and slow route, a matrix a point: use `TracyWidom` for everything but checks.

    Args:
        s: any shape; for beta = 4 in the unscaled variable, sqrt(2) times that of the tables.
        beta: 1, 2 or 4.
        nodes: Gauss-Legendre nodes; 64 give 1e-13 for s > -12.

    Returns:
        F_beta(s), absolute error 1e-13.

    Raises:
        ValueError: if beta is not 1, 2 or 4.

    Example:
        >>> round(float(fredholm_cdf(-2.0, 2)), 10)
        0.4132241425
    """
    _check_beta(beta)
    s = np.asarray(s, dtype=np.float64)
    values = [_determinant(float(v), beta, nodes) for v in s.ravel()]
    return np.array(values, dtype=np.float64).reshape(s.shape)[()]


def _determinant(s: float, beta: Beta, nodes: int) -> float:
    if not -20 < s < inf:
        return s if np.isnan(s) else float(s > 0)
    scaled, zeta = _eigenvalues(s, nodes)
    minus, plus = (float(np.prod(1 + sign * scaled * exp(-zeta))) for sign in (-1, 1))
    return {1: minus, 2: minus * plus, 4: (minus + plus) / 2}[beta]


def _eigenvalues(s: float, nodes: int = _NODES) -> tuple[Vector, float]:
    """Eigenvalues of the kernel Ai(s + u + v) times e^zeta, and zeta = (2/3) max(s, 0)^(3/2), so that none underflows.

    The operator is cut where Ai(s + u) has fallen by e^-33, which changes an eigenvalue by the square of it.
    """
    up = max(s, 0.0)
    length = up * expm1(2 / 3 * np.log1p(50 / up**1.5)) if up > 1 else 50 ** (2 / 3) - s
    y, w = roots_legendre(nodes)
    u = length * (y + 1) / 2
    x = s + u[:, None] + u
    above = np.maximum(x, 0)
    roots = np.sqrt(above), sqrt(up)
    fall = 2 / 3 * (above - up) * (above + roots[0] * roots[1] + up) / np.maximum(roots[0] + roots[1], 1e-300)
    kernel = np.where(x > 0, airye(above)[0] * np.exp(-fall), airy(np.minimum(x, 0))[0])
    scale = np.sqrt(length * w / 2)
    return np.linalg.eigvalsh(scale[:, None] * kernel * scale), 2 / 3 * up**1.5


def _log_det(eigenvalues: Vector, beta: Beta) -> float:
    """Logarithm of F_beta from the eigenvalues of A.

    F4 / sqrt(F2) = cosh(sum of artanh), since det(I -+ A) = sqrt(det(I - A^2)) exp(-+ sum of artanh).
    """
    if beta == 1:
        return float(np.log1p(-eigenvalues).sum())
    log_f2 = float(np.log1p(-(eigenvalues**2)).sum())
    if beta == 2:
        return log_f2
    return float(log_f2 / 2 + np.log1p(2 * np.sinh(np.arctanh(eigenvalues).sum() / 2) ** 2))


def _log_tail(s: float, beta: Beta) -> float:
    """Logarithm of 1 - F_beta(s), times e^(order zeta)."""
    scaled, zeta = _eigenvalues(s)
    order = _TAILS[beta].order
    if zeta < 30:
        return log(-expm1(_log_det(scaled * exp(-zeta), beta))) + order * zeta
    trace, square = float(scaled.sum()), float((scaled**2).sum())
    return log({1: trace, 2: square, 4: (square - trace**2) / 2}[beta])  # the next order is e^-30 of it


def _interpolant(f: Callable[[Vector], Any], degree: int, width: float) -> tuple[Vector, Vector]:
    """Chebyshev coefficients of f on [-1, 1], and of its derivative in a variable whose range has the given width."""
    series = np.asarray(chebinterpolate(f, degree))
    return series, chebder(series) * (2 / width)


@lru_cache(maxsize=1)
@one_thread
def _left_series() -> tuple[Vector, Vector]:
    """Chebyshev coefficients of g_- and g_+ (see `remainders`) in r^(-3/2) on r >= 2, and of their derivatives."""
    top = (-_JOIN) ** -1.5
    return _interpolant(lambda y: remainders((top * (1 + y) / 2) ** (-2 / 3)).T, _LEFT_DEGREE, top)


def _left(s: Vector, beta: Beta) -> tuple[Vector, Vector]:
    """Logarithm of F and its derivative, for s <= -2."""
    r = np.minimum(-s, _HUGE)
    t = r**-1.5
    series, derivative = _left_series()
    y = 2 * t * (-_JOIN) ** 1.5 - 1
    minus, plus = chebval(y, series) - (r**3 / 24 + np.log(r) / 16)
    d_minus, d_plus = chebval(y, derivative) * (1.5 * t / r) + (r * r / 8 + 1 / (16 * r))
    root = np.sqrt(r)
    minus, plus = minus - r * root / (3 * sqrt(2)), plus + r * root / (3 * sqrt(2))
    d_minus, d_plus = d_minus + root / (2 * sqrt(2)), d_plus - root / (2 * sqrt(2))
    if beta == 1:
        return minus, d_minus
    if beta == 2:
        return minus + plus, d_minus + d_plus
    ratio = np.exp(minus - plus)
    return plus + np.log1p(ratio) - log(2), (d_plus + ratio * d_minus) / (1 + ratio)


@lru_cache(maxsize=3)
@one_thread
def _right_series(beta: Beta) -> tuple[Vector, Vector]:
    """Chebyshev coefficients of ln(1 - F) less its leading form in (s + 7)^(-1/2), s >= -2, and of the derivative."""
    low, high = _RIGHT_ENDS
    order, power = _TAILS[beta]

    def rest(y: float) -> float:
        x: float = (low + (high - low) * (1 + y) / 2) ** -2
        s = x - _SHIFT
        lead = sqrt(x) * (x - 1.5 * _SHIFT)
        if s > 0:  # the same less s^(3/2), without cancellation
            w = sqrt(s / x)
            lead = -0.5 * _SHIFT**2 / sqrt(x) * (1 + 2 * w) / (1 + w) ** 2
        return _log_tail(s, beta) + 2 / 3 * order * lead + power * log(x)

    return _interpolant(np.vectorize(rest), _RIGHT_DEGREE, high - low)


def _right(s: Vector, beta: Beta) -> tuple[Vector, Vector]:
    """Logarithm of 1 - F and its derivative, for s >= -2."""
    x = np.minimum(s, _HUGE) + _SHIFT
    root = np.sqrt(x)
    low, high = _RIGHT_ENDS
    series, derivative = _right_series(beta)
    order, power = _TAILS[beta]
    y = (2 / root - low - high) / (high - low)
    value = chebval(y, series) - 2 / 3 * order * root * (x - 1.5 * _SHIFT) - power * np.log(x)
    slope = -0.5 * chebval(y, derivative) / (x * root) - order * (root - _SHIFT / (2 * root)) - power / x
    return value, slope


def _logs(s: Vector, beta: Beta) -> tuple[NDArray[np.bool_], Vector, Vector]:
    """Tell which points are left of the join; ln F there and ln(1 - F) elsewhere; the derivative of that."""
    left = s <= _JOIN
    value, slope = np.empty_like(s), np.empty_like(s)
    for side, function in ((left, _left), (~left, _right)):
        if side.any():
            value[side], slope[side] = function(s[side], beta)
    value[np.isinf(s)] = -inf
    return left, value, slope


def _log1mexp(x: Vector) -> Vector:
    """Give ln(1 - e^x), for x <= 0."""
    with np.errstate(divide="ignore"):
        return np.where(x > -log(2), np.log(-np.expm1(x)), np.log1p(-np.exp(x)))


@lru_cache(maxsize=3)
def _table(beta: Beta) -> tuple[float, Vector, Vector, Vector, Vector]:
    """Give ln F at the join; and on either side powers of -ln F and -ln(1 - F) that are almost linear in s, ascending.

    The ends, -30 and 115, lie where F and 1 - F are below the least float64.
    """
    left, right = np.linspace(_JOIN, -30, 600), np.linspace(_JOIN, 115, 1200)
    log_cdf, log_sf = _left(left, beta)[0], _right(right, beta)[0]
    return float(log_cdf[0]), (-log_cdf) ** (1 / 3), left, (-log_sf) ** (2 / 3), right


def _quantile(log_cdf: Vector, log_sf: Vector, beta: Beta) -> Vector:
    """Solve F(s) = e^log_cdf = 1 - e^log_sf by Newton's method on whichever logarithm is kept at s."""
    join, left_powers, left, right_powers, right = _table(beta)
    is_left = log_cdf <= join
    target = np.where(is_left, log_cdf, log_sf)
    guess = np.where(
        is_left,
        np.interp(np.cbrt(-target), left_powers, left),
        np.interp(np.cbrt(target * target), right_powers, right),
    )
    finite = np.isfinite(target)
    s = np.where(finite, guess, np.where(np.isnan(target), nan, np.where(is_left, -inf, inf)))
    for side, function in ((is_left & finite, _left), (~is_left & finite, _right)):
        x = s[side]
        for _ in range(3 if x.size else 0):  # the first guess is within 1e-3
            value, slope = function(x, beta)
            x = x - (value - target[side]) / slope
        s[side] = x
    return s


@lru_cache(maxsize=3)
def _quadrature(beta: Beta) -> tuple[Vector, Vector]:
    """Points s and weights w with sum w h(s) = E h, by Gauss-Legendre on unit panels of [-20, 60]."""
    y, w = roots_legendre(16)
    s = (np.arange(-20, 60)[:, None] + (1 + y) / 2).ravel()
    return s, np.tile(w / 2, 80) * TracyWidom(beta, "unscaled").pdf(s)


def _check_beta(beta: int) -> None:
    if beta not in (1, 2, 4):
        raise ValueError(f"beta is 1 (real), 2 (complex) or 4 (quaternion); got {beta!r}")


@dataclass(frozen=True, slots=True)
class TracyWidom(Law):
    """Tracy-Widom law of index beta.

    The largest eigenvalue of a Gaussian (or Wishart) matrix, centred and scaled, follows it for real (beta = 1),
    complex (2) or quaternion (4) entries. Errors are below 1e-12 in cdf and sf and 1e-10 in pdf; in the tails, as
    far as float64 goes, they are of this order relative to the value itself (sf for beta = 4: 1e-9, since its two
    determinants cancel).

    Attributes:
        beta: 1, 2 or 4.
        scale: for beta = 4 "tables" (the tables' variable, s / sqrt(2) of the other; mean -2.3069) or "unscaled"
            (mean -3.2624). It means nothing for beta = 1 and 2.

    Raises:
        ValueError: if beta or scale is none of these.

    Example:
        >>> law = TracyWidom(1)
        >>> round(law.mean(), 6), round(float(law.ppf(0.95)), 6)
        (-1.206534, 0.979316)
        >>> print(f"{law.isf(1e-30):.4f}")
        21.1450
    """

    beta: Beta
    scale: Literal["tables", "unscaled"] = "tables"

    def __post_init__(self) -> None:  # noqa: D105
        _check_beta(self.beta)
        if self.scale not in ("tables", "unscaled"):
            raise ValueError(f"scale is 'tables' or 'unscaled'; got {self.scale!r}")

    @property
    def _unit(self) -> float:
        """The unscaled s of x = 1."""
        return sqrt(2) if self.beta == 4 and self.scale == "tables" else 1.0

    def support(self) -> tuple[float, float]:
        """Ends of the support, (-inf, inf)."""
        return -inf, inf

    def pdf(self, x: ArrayLike) -> Real:
        """Density at x, of any shape."""
        _, value, slope = self._logs(x)
        return (np.exp(value) * np.abs(slope) * self._unit)[()]

    def cdf(self, x: ArrayLike) -> Real:
        """Probability of a value up to x, of any shape."""
        left, value, _ = self._logs(x)
        return np.where(left, np.exp(value), -np.expm1(value))[()]

    def sf(self, x: ArrayLike) -> Real:
        """Probability of a value above x, of any shape: the p-value of a standardised largest eigenvalue."""
        left, value, _ = self._logs(x)
        return np.where(left, -np.expm1(value), np.exp(value))[()]

    def logcdf(self, x: ArrayLike) -> Real:
        """Logarithm of cdf, of use where cdf underflows."""
        left, value, _ = self._logs(x)
        return np.where(left, value, _log1mexp(value))[()]

    def logsf(self, x: ArrayLike) -> Real:
        """Logarithm of sf, of use where sf underflows."""
        left, value, _ = self._logs(x)
        return np.where(left, _log1mexp(value), value)[()]

    def ppf(self, p: ArrayLike) -> Real:
        """Quantile of the probability p in [0, 1], of any shape; NaN outside."""
        return self._inverse(np.asarray(p, dtype=np.float64), upper=False)

    def isf(self, p: ArrayLike) -> Real:
        """Value that is passed with probability p in [0, 1], of any shape; NaN outside."""
        return self._inverse(np.asarray(p, dtype=np.float64), upper=True)

    def moment(self, k: int) -> float:
        """E x^k, for k from 0 to 20, by quadrature.

        Raises:
            ValueError: if k is not such a number.
        """
        if k not in range(21):
            raise ValueError(f"the order of a moment is a whole number from 0 to 20; got {k!r}")
        s, w = _quadrature(self.beta)
        return float(w @ s**k) / self._unit**k

    def mean(self) -> float:
        """Mean."""
        return self.moment(1)

    def var(self) -> float:
        """Variance."""
        return self._central(2)

    def _central(self, k: int) -> float:
        """Central moment."""
        s, w = _quadrature(self.beta)
        return float(w @ (s - w @ s) ** k) / self._unit**k

    def _shape(self) -> tuple[float, float]:
        variance = self.var()
        return self._central(3) / variance**1.5, self._central(4) / variance**2 - 3

    def _logs(self, x: ArrayLike) -> tuple[NDArray[np.bool_], Vector, Vector]:
        s = np.asarray(x, dtype=np.float64) * self._unit
        return _logs(s, self.beta)

    def _inverse(self, p: Vector, *, upper: bool) -> Real:
        p = np.where((p >= 0) & (p <= 1), p, nan)
        with np.errstate(divide="ignore"):
            logs = np.log(p), np.log1p(-p)
        log_sf, log_cdf = logs if upper else logs[::-1]
        return (_quantile(log_cdf, log_sf, self.beta) / self._unit)[()]
