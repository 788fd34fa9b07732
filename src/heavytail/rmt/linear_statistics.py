r"""Linear statistics of noise, L = sum f(x_i) over the eigenvalues of one matrix, and the mean log excess of its tail.

W is N x M with independent entries of variance 1 and excess kurtosis kappa; x_i are the eigenvalues of W^T W / N and
c = M/N <= 1. Eigenvalues repel, so L does not spread like a sum of M independent terms: its fluctuation stays finite as
N and M grow. On the support of the Marchenko-Pastur law let x = 1 + c + 2 sqrt(c) cos(theta) and expand

.. math:: f(x) = a_0 / 2 + \sum_{k \ge 1} a_k \cos k\theta.

Then L less M times its Marchenko-Pastur mean is asymptotically normal with

.. math:: \mathrm{mean} = \frac12 \sum_k a_{2k} + \frac{\kappa}{2} a_2, \qquad
    \mathrm{variance} = \frac12 \sum_k k\, a_k^2 + \frac{\kappa}{4} a_1^2

(Bai and Silverstein 2004 for kappa = 0; Lytova and Pastur 2009, Pan and Zhou 2008 for the rest). The kurtosis enters
through two coefficients only: entries of another law add a_2, the breadth of the bulk, and shake a_1, its scale.

The statistic of interest here is the mean log excess of the upper tenth over its threshold t,

.. math:: H = \mathrm{mean}_{x_i > t} \ln(x_i / t), \qquad \alpha_{Hill} = 1 + 1 / H.

The threshold is itself a point of the spectrum; with p the share above it and rho the density, H fluctuates as the
linear statistic of

.. math:: f(x) = [\ln(x / t)]_+ / p + 1\{x \le t\} / (t \rho(t)).

No scale can move H, and a_1 = 2 sqrt(c) E x f'(x), which therefore vanishes: to first order the variance of H is the
same for entries of any law, and one number, their kurtosis, is all that its mean takes from them. The step makes a_k
fall off as 1/k only, and the variance grows as ln M: the sum ends where single eigenvalues are told apart, at
K = 2 pi exp(1 - pi^2/8) M rho(theta_t) with rho(theta) the density of the angle, which makes the variance of the count
of eigenvalues below t that of Dyson and Mehta (Mehta 2004, chapter 16); and a single level strays less than the count
does, by 1/12 in the variance for either end of an interval (French, Mello and Pandey 1978; Brody et al. 1981).

So near the edge a large entry counts for more than its fourth power. One entry w is a perturbation of rank one, of the
strength tau = w^2 / sqrt(N M); in the variable r of x = 1 + c + sqrt(c) (r + 1/r), |r| < 1, its determinant is
1 - tau r (from Benaych-Georges and Nadakuditi 2012), and it moves L by

.. math:: \phi(\tau) = \frac12 \sum_k a_k \tau^k, \qquad
    \phi(\tau) = f(x(1 / \tau)) - \frac{a_0}2 - \phi(1 / \tau) \quad \text{for } \tau > 1,

where it has an eigenvalue of its own. The square is the kurtosis: a sum of tau^2 over all entries is 3 + kappa. In
small matrices the entries share rows and columns, and all together add less than their sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from math import cos, exp, log, pi, sin, sqrt
from typing import NamedTuple

import numpy as np
from numpy.polynomial.polynomial import polyval
from numpy.typing import ArrayLike
from scipy.special import roots_legendre

from heavytail.rmt._law import Vector
from heavytail.rmt.marchenko_pastur import MarchenkoPastur

__all__ = ["Fluctuation", "LogExcess", "chebyshev_coefficients", "fluctuation", "log_excess", "log_excess_of_noise"]

_ORDER = 256  # coefficients that are summed one by one; those of the step beyond it are summed in closed form
_PANELS = 20  # of 16 nodes each, for integrals over theta

# The next order in 1/M, fitted to simulated noise by `benchmarks/tail_score.py --refit`; k eigenvalues are in the tail.
_LOWER = 0.27  # the mean of Gaussian noise is lower by this many of its deviations, over k
_WIDER = 0.56  # its deviation is larger by a factor 1 + w / k
_SKEWED = 1.2  # its skewness times k
_SATURATION = -1.05, 6.6, -3.0  # powers of sqrt(c): what all entries add is less than the sum by exp(-r kappa / M)
_SHAKEN = 0.78, 0.85  # powers of c: a kurtosis kappa makes the deviation larger by exp(s kappa / M)

_TAIL = 10  # one eigenvalue in so many is in the tail: the upper half of square noise is as broad as a power law

_WEAK = 0.05  # strength up to which an entry counts by its fourth power


class Fluctuation(NamedTuple):
    """Mean of a linear statistic less M times its Marchenko-Pastur mean, and its variance, for N and M to infinity."""

    shift: float
    variance: float


def chebyshev_coefficients(f: Callable[[Vector], Vector], Q: float, order: int) -> Vector:
    """Expand f(1 + c + 2 sqrt(c) cos(theta)), c = 1/Q, in cos(k theta): (order + 1,) coefficients a_0, a_1, ...

    They are exact to rounding where f is smooth on the support. At Q = 1 the support begins at 0.

    Example:
        >>> [round(a, 9) for a in chebyshev_coefficients(lambda x: x**2, Q=4.0, order=2).tolist()]
        [4.125, 2.5, 0.5]
    """
    c, n = 1 / Q, 2 * order + 64
    theta = pi * (np.arange(n) + 0.5) / n
    values = f(1 + c + 2 * sqrt(c) * np.cos(theta))
    return np.asarray(np.cos(np.outer(np.arange(order + 1), theta)) @ values * (2 / n))


def fluctuation(coefficients: ArrayLike, kurtosis: float = 0.0) -> Fluctuation:
    """Apply the central limit theorem for linear statistics of real matrices.

    Args:
        coefficients: a_0, a_1, ..., as `chebyshev_coefficients` gives them.
        kurtosis: excess kurtosis of the entries, -2 or more.

    Example:
        >>> a = chebyshev_coefficients(lambda x: x**2, Q=4.0, order=3)
        >>> shift, variance = fluctuation(a)  # E sum x^2 = M (1 + c) + c for Gaussian entries, exactly
        >>> round(shift, 12), round(variance, 12)
        (0.25, 3.375)
    """
    a = np.asarray(coefficients, dtype=np.float64)
    k = np.arange(a.size)
    first, second = (float(a[i]) if a.size > i else 0.0 for i in (1, 2))
    shift = float(a[2::2].sum()) / 2 + kurtosis / 2 * second
    return Fluctuation(shift, float(k @ (a * a)) / 2 + kurtosis / 4 * first**2)


def log_excess(evals: ArrayLike) -> float:
    """Measure the mean log excess of the upper tenth of a spectrum, 1 / (alpha_hill - 1).

    Args:
        evals: (n,) eigenvalues, ascending, n at least 10. The k = n // 10 largest are held against the next one, which
            must be positive.

    Example:
        >>> round(log_excess([1.0] * 18 + [2.0, 4.0, 8.0]) / log(2), 12)  # (1 + 2) / 2 doublings
        1.5
    """
    x = np.asarray(evals, dtype=np.float64)
    k = x.size // _TAIL
    logs = np.log(x[-k - 1 :])
    return float((logs[1:] - logs[0]).mean())


@dataclass(frozen=True, slots=True)
class LogExcess:
    """The mean log excess of N x M noise: nearly normal, mean and deviation depend on the entries' kurtosis.

    Attributes:
        N: larger dimension.
        M: smaller dimension.
        gaussian_mean: mean for Gaussian entries.
        slope: what each unit of excess kurtosis adds to it.
        gaussian_std: standard deviation for Gaussian entries.
        skewness: skewness for Gaussian entries.
        gaussian_sum: the sum of the lifts of Gaussian entries, 3 in the limit.
        strengths: (n,) strengths tau of one entry, ascending from 0.
        lifts: (n,) what an entry of such a strength adds, in units of excess kurtosis: tau^2 where it is weak.
    """

    N: int
    M: int
    gaussian_mean: float
    slope: float
    gaussian_std: float
    skewness: float
    gaussian_sum: float
    strengths: Vector = field(repr=False, compare=False)
    lifts: Vector = field(repr=False, compare=False)

    def mean(self, kurtosis: float = 0.0) -> float:
        """Mean for entries of an effective excess kurtosis, as `kurtosis` gives it."""
        return self.gaussian_mean + self.slope * kurtosis

    def std(self, kurtosis: float = 0.0) -> float:
        """Standard deviation for such entries; the kurtosis adds to it in the next order only."""
        return self.gaussian_std * exp(float(polyval(self.M / self.N, _SHAKEN)) * kurtosis / self.M)

    def kurtosis(self, blocks: Iterable[Vector]) -> float:
        """Measure the excess kurtosis of entries about zero, as far as it moves the mean log excess.

        It is the fourth moment less 3 for entries that are small beside sigma (N M)^(1/4). Larger ones count for more
        where they bring an eigenvalue close to the edge, and for less where it is far beyond.

        Args:
            blocks: the squares of the N M entries in units of their mean square, in parts of any shape.
        """
        root = sqrt(self.N * self.M)
        total = body = 0.0
        for block in blocks:
            squares = block.ravel("K")
            fourth = float(squares @ squares) / root**2
            total, body = total + fourth, body + fourth
            if float(squares.max(initial=0)) > _WEAK * root:
                tau = squares[squares > _WEAK * root] / root
                total += float((np.interp(tau, self.strengths, self.lifts) - tau * tau).sum())
                tau = tau[tau > 1]
                body -= float((tau * tau - 1).sum())
        r = float(polyval(sqrt(self.M / self.N), _SATURATION))
        return (total - self.gaussian_sum) * exp(-max(0.0, r) * (body - 3) / self.M)


@lru_cache(maxsize=1024)
def log_excess_of_noise(N: int, M: int) -> LogExcess:
    """Compute the law of the mean log excess of N x M noise, for `log_excess` of its M eigenvalues.

    Nothing is simulated. On Gaussian noise the error of the mean is below a twentieth of the standard deviation from
    M = 20 on, that of the standard deviation below 3 %.

    Raises:
        ValueError: if not N >= M >= 10.

    Example:
        >>> law = log_excess_of_noise(1024, 1024)
        >>> print(f"{law.mean():.4f} {law.std():.4f}")  # alpha_hill = 1 + 1 / 0.1841 = 6.43
        0.1841 0.0025
    """
    if not N >= M >= _TAIL:
        raise ValueError(f"noise has a tail for N >= M >= {_TAIL}; got N = {N}, M = {M}")
    law, c, k = MarchenkoPastur(N / M), M / N, M // _TAIL
    p = (k + 0.5) / M  # the threshold is the k + 1st largest of M points
    t = float(law.isf(p))
    step = 1 / (t * float(law.pdf(t)))

    def above(x: float) -> tuple[float, Vector, Vector, Vector]:
        """Angle of x; and angles, weights of integration over them and eigenvalues above x."""
        end = float(np.arccos(np.clip((x - 1 - c) / (2 * sqrt(c)), -1, 1)))
        y, w = _gauss()
        theta = end * y
        return end, theta, end * w, 1 + c + 2 * sqrt(c) * np.cos(theta)

    _, theta, w, x = above(float(law.isf(k / M)))
    limit = float((w * np.sin(theta) ** 2 / x) @ np.log(x / t)) * 2 / pi * M / k
    end, theta, w, x = above(t)
    logs = w * np.log(x / t) * (2 / (pi * p))
    order = np.arange(1, _ORDER + 1)
    smooth = np.cos(np.outer(order, theta)) @ logs
    a = smooth - 2 * step / pi * np.sin(order * end) / order
    mean_of_f = (logs.sum() + 2 * step / pi * (pi - end)) / 2  # a_0 / 2
    edges = float(np.log(law.edges[1] / t)) / p + step  # f(a) + f(b), which is a_0 + 2 (a_2 + a_4 + ...)
    shift = edges / 4 - mean_of_f / 2
    last = 2 * pi * exp(1 - pi**2 / 8) * M * 2 / pi * np.sin(end) ** 2 / t
    variance = float(order @ (a * a)) / 2 + step**2 * (log(last / _ORDER) / pi**2 - 1 / 12)
    std = sqrt(variance) / M

    # A single entry: the series of the step is summed in closed form, and that of the rest ends soon.
    inner = np.linspace(0, 1, 257)
    weak = polyval(inner, np.r_[0, smooth]) / 2 - step / pi * np.arctan2(inner * sin(end), 1 - inner * cos(end))
    s = inner[-2:0:-1]
    strong = np.log((1 + c + sqrt(c) * (s + 1 / s)) / t) / p - mean_of_f - weak[-2:0:-1]
    return LogExcess(
        N,
        M,
        gaussian_mean=limit + float(shift) / M - _LOWER * std / k,
        slope=float(a[1]) / (2 * M),
        gaussian_std=std * (1 + _WIDER / k),
        skewness=_SKEWED / k,
        gaussian_sum=3 + 15 * float(a[2] / a[1]) / sqrt(N * M),
        strengths=np.r_[inner, 1 / s],
        lifts=np.r_[weak, strong] * 2 / a[1],
    )


@lru_cache(maxsize=1)
def _gauss() -> tuple[Vector, Vector]:
    """Nodes and weights of integration over [0, 1]."""
    y, w = roots_legendre(16)
    starts = np.arange(_PANELS)[:, None]
    return ((starts + (1 + y) / 2) / _PANELS).ravel(), np.tile(w / (2 * _PANELS), _PANELS)
