r"""Rigorous bounds on the generalisation error of a perceptron that makes no training error, beside its true curves.

- `VersionSpaceBound`: with the whole distribution of errors in the class (Haussler, Kearns, Seung and Tishby 1996); it
  has the shape of the true curve, its jump included;
- `vc_bound`: with the Vapnik-Chervonenkis dimension alone, for any distribution of inputs;
- `occam_bound`: with the number of Ising students alone, likewise.

Inputs are Gaussian, a teacher of the same class labels them, the load is the number of examples per weight. A bound of
1 says nothing (vacuous): values above 1 are given as 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, log, pi
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.optimize.elementwise import find_root
from scipy.special import logsumexp

from heavytail.errors import ConvergenceError
from heavytail.learning._arguments import check_range, check_weights, count_examples, whole
from heavytail.learning._counting import binary_entropy, log_binomial_sum, log_binomials
from heavytail.learning._gauss import Array, Real
from heavytail.learning.results import LearningCurve, Phase

__all__ = ["BoundState", "OccamBound", "VCBound", "VersionSpaceBound", "occam_bound", "vc_bound"]

_CELLS = 4000  # of the error in [0, 1], for the integral over the sphere


@dataclass(frozen=True, slots=True)
class BoundState:
    """Bound on the generalisation error in the limit of many weights.

    Attributes:
        load: examples per weight.
        error: that no student without training error exceeds (Ising), or that a random one does not (spherical).
        residual: how far the crossing of the two curves is from exact, relative.
    """

    load: Real
    error: Real
    residual: Real


@dataclass(frozen=True, slots=True)
class VersionSpaceBound:
    r"""Bound from the entropy of the students of each error (Haussler, Kearns, Seung and Tishby 1996).

    A student of error :math:`\epsilon` survives m examples with probability :math:`(1 - \epsilon)^m`.

    Ising: :math:`e^{N s(\epsilon)}` students have that error, :math:`s = H_2(\sin^2(\pi \epsilon / 2))`, and none of
    them survives where :math:`s(\epsilon) < -a \ln(1 - \epsilon)`. Beyond the rightmost crossing of the two curves no
    student is left; above the critical load the curves do not cross, and the teacher alone is left.

    Spherical: there are infinitely many, and :math:`s = \ln \sin(\pi \epsilon)` is the logarithm of the fraction of
    the sphere at that error. The examples cut the sphere into C cells (Cover 1965), of which the one of a random
    teacher is hardly ever smaller than 1/C. So a student drawn from it has an error below the rightmost crossing of
    :math:`s + \ln C / N` and :math:`-a \ln(1 - \epsilon)`: exactly 1/2 up to a = 2, about 3.3553 / a for large loads.

    Attributes:
        weights: "ising" or "spherical".

    Raises:
        RequestError: for other weights.

    Example:
        >>> bound = VersionSpaceBound("ising")
        >>> print(f"{bound.critical_load():.8f} {bound.solve(1.2).error:.6f} {bound.solve(1.5).error:.1f}")
        1.44796644 0.426158 0.0
    """

    weights: Literal["ising", "spherical"] = "ising"

    def __post_init__(self) -> None:  # noqa: D105
        check_weights(self.weights)

    def entropy(self, error: ArrayLike) -> Real:
        """Logarithm per weight of the number (Ising) or of the density on the sphere (spherical) at an error.

        Args:
            error: in [0, 1], of any shape.

        Raises:
            RequestError: for errors outside.
        """
        error = check_range("error", error, 0.0, 1.0)
        if self.weights == "ising":
            return binary_entropy(np.sin(pi * error / 2) ** 2, np.cos(pi * error / 2) ** 2)[()]
        with np.errstate(divide="ignore"):
            return np.log(np.sin(pi * np.minimum(error, 1 - error)))[()]

    def critical_load(self) -> float:
        """Load from which the teacher alone is left; infinite for spherical weights."""
        return _ising_tip()[0] if self.weights == "ising" else inf

    def critical_error(self) -> float:
        """Bound just below the critical load, from which it jumps to 0; 0 for spherical weights."""
        return _ising_tip()[1] if self.weights == "ising" else 0.0

    def solve(self, load: ArrayLike) -> BoundState:
        """Give the bound in the limit of many weights.

        Args:
            load: examples per weight, not negative, of any shape.

        Raises:
            RequestError: for a negative load.
            ConvergenceError: if a crossing was not found.
        """
        load = check_range("load", load, 0.0)
        error, residual = (_ising_crossing if self.weights == "ising" else _spherical_crossing)(load)
        return BoundState(load[()], error[()], residual[()])

    def learning_curve(self, loads: ArrayLike) -> LearningCurve:
        """Give the bound along the loads, of shape (n,).

        The phase of Ising weights is "poor", and "perfect" from where the teacher alone is left; else it is "smooth".
        """
        state = self.solve(np.atleast_1d(loads))
        before = Phase.POOR if self.weights == "ising" else Phase.SMOOTH
        phase = np.where(state.load >= self.critical_load(), Phase.PERFECT, before)
        name = f"version-space bound, {'Ising' if self.weights == 'ising' else 'spherical'}"
        residual = float(np.max(state.residual, initial=0.0))
        return LearningCurve(name, state.load, state.error, np.cos(pi * state.error), phase, residual)

    def finite(self, n: int, load: ArrayLike, delta: float = 0.05) -> Real:
        r"""Bound for n weights, which holds with probability 1 - delta.

        Ising: the error :math:`\epsilon_k = \arccos(1 - 2k/n)/\pi` is that of C(n, k) students, and the bound is the
        least :math:`\epsilon_i` with

        .. math:: \sum_{k > i} \binom{n}{k} (1 - \epsilon_k)^m \le \delta

        (Haussler et al. 1996). It holds for all students without training error at once.

        Spherical: the least :math:`\epsilon` with :math:`4 C V(\epsilon) \le \delta^2`, where C is the number of cells
        and V the mean volume that survives beyond :math:`\epsilon`: a cell smaller than v is the teacher's with
        probability at most C v, a student drawn from a larger one errs more than :math:`\epsilon` with probability at
        most V / v, and :math:`v = \sqrt{V / C}` makes the sum least. It holds for a random student without training
        error; the teacher need not be random, as Gaussian inputs favour none.

        Args:
            n: number of weights, at least 2.
            load: examples per weight, positive, of any shape; their number m is rounded.
            delta: probability that the bound fails, in (0, 1].

        Raises:
            RequestError: for an argument outside.

        Example:
            >>> print(VersionSpaceBound("ising").finite(1000, [1.2, 1.4, 1.6]).round(4))
            [0.4255 0.3244 0.    ]
        """
        n, delta = whole("n", n, 2), _confidence(delta)
        bound = _ising_finite if self.weights == "ising" else _spherical_finite
        return _each(lambda examples: bound(n, int(examples), delta), _examples(load, n))


@dataclass(frozen=True, slots=True)
class VCBound:
    """Bounds from the Vapnik-Chervonenkis dimension, 1 where vacuous.

    Attributes:
        load: examples per weight.
        consistent: on the error of a student without training error.
        agnostic: on how far the error of any student exceeds its training error.
    """

    load: Real
    consistent: Real
    agnostic: Real


@dataclass(frozen=True, slots=True)
class OccamBound:
    """Bounds from the number of students, 1 where vacuous.

    Attributes:
        load: examples per weight.
        consistent: on the error of a student without training error, 1 - exp(-x).
        additive: the same in its usual, weaker form x = (N ln 2 + ln(1/delta)) / m.
        agnostic: on how far the error of any student exceeds its training error.
    """

    load: Real
    consistent: Real
    additive: Real
    agnostic: Real


def vc_bound(load: ArrayLike, n: float = inf, delta: float = 0.05) -> VCBound:
    r"""Bound the error of a perceptron of n inputs, for any distribution of inputs, from its VC dimension d = n.

    With :math:`G = \ln \sum_{i \le d} \binom{2m}{i}`, which bounds the number of ways to label 2m points (Sauer 1972):

    - consistent students: :math:`(2/m) \log_2(2 e^G / \delta)` (Blumer, Ehrenfeucht, Haussler and Warmuth 1989,
      appendix A2);
    - all students: :math:`\sqrt{(G + \ln(4/\delta)) / m} + 1/m` (Vapnik 1998, chapter 4).

    In the limit of many inputs :math:`G/m = 2 H_2(1/(2a))`, :math:`2 \ln 2` up to a = 1, and delta drops out.

    Args:
        load: examples per input, positive, of any shape; for finite n the number m of examples is rounded.
        n: number of inputs, or infinity for the limit at a fixed load.
        delta: probability that the bound fails, in (0, 1].

    Raises:
        RequestError: for an argument outside.

    Example:
        >>> bound = vc_bound([5.0, 50.0])
        >>> print(bound.consistent.round(4), bound.agnostic.round(4))
        [1.     0.3232] [0.8063 0.3347]
    """
    delta = _confidence(delta)
    if n == inf:
        load = check_range("load", load, 0.0, open_low=True)
        rate = _growth_rate(2 * load) / load
        return VCBound(load[()], _clip(2 / log(2) * rate), _clip(np.sqrt(rate)))
    n = whole("n", n, 1)
    m = _examples(load, n)
    growth = _each(lambda examples: log_binomial_sum(2 * int(examples), n), m)
    agnostic = np.sqrt((growth + log(4 / delta)) / m) + 1 / m
    return VCBound(m / n, _clip(2 / log(2) * (growth + log(2 / delta)) / m), _clip(agnostic))


def occam_bound(load: ArrayLike, n: float = inf, delta: float = 0.05) -> OccamBound:
    r"""Bound the error of an Ising perceptron of n inputs, for any distribution of inputs, from the number 2^n of them.

    With :math:`x = (n \ln 2 + \ln(1/\delta)) / m`:

    - consistent students: :math:`2^n (1 - \epsilon)^m = \delta`, hence :math:`1 - e^{-x}`, and x itself (Blumer,
      Ehrenfeucht, Haussler and Warmuth 1987);
    - all students: :math:`\sqrt{x/2}` (Hoeffding 1963).

    In the limit of many inputs :math:`x = \ln 2 / a`.

    Args:
        load: examples per input, positive, of any shape; for finite n the number m of examples is rounded.
        n: number of inputs, or infinity for the limit at a fixed load.
        delta: probability that the bound fails, in (0, 1].

    Raises:
        RequestError: for an argument outside.

    Example:
        >>> bound = occam_bound(2.0)
        >>> print(f"{bound.consistent:.6f} {bound.additive:.6f} {bound.agnostic:.6f}")
        0.292893 0.346574 0.416277
    """
    delta = _confidence(delta)
    if n == inf:
        load = check_range("load", load, 0.0, open_low=True)
        x = log(2) / load
    else:
        n = whole("n", n, 1)
        m = _examples(load, n)
        load, x = m / n, (n * log(2) + log(1 / delta)) / m
    return OccamBound(load[()], (-np.expm1(-x))[()], _clip(x), _clip(np.sqrt(x / 2)))


def _ising_load(gap: Array) -> Array:
    """Load at which the curves cross at the error 1 - gap."""
    angle = pi * gap / 2
    return np.asarray(binary_entropy(np.cos(angle) ** 2, np.sin(angle) ** 2) / -np.log(gap))


def _ising_tip() -> tuple[float, float]:
    """Largest load at which the curves cross, and the error there: they touch."""

    def slope(error: float) -> float:
        p, rest = np.sin(pi * error / 2) ** 2, np.cos(pi * error / 2) ** 2
        steepness = 0.5 * pi * np.sin(pi * error) * np.log(rest / p)
        return float(-steepness * (1 - error) * np.log1p(-error) - binary_entropy(p, rest))

    error = float(brentq(slope, 0.1, 0.45, xtol=1e-15, rtol=1e-14))
    return float(_ising_load(np.asarray(1 - error))), error


def _ising_crossing(load: Array) -> tuple[Array, Array]:
    """Rightmost crossing, 0 where there is none, 1 at the load 0; and its residual."""
    critical, tip = _ising_tip()
    least = _ising_load(np.asarray(1e-15))
    inner = (load > least) & (load < critical * (1 - 1e-14))  # nearer the bracket closes to rounding
    error = np.where(load >= critical, 0.0, np.where(load > least, tip, 1.0))
    residual = np.zeros_like(load)
    if inner.any():
        gap, residual[inner] = _crossing(
            lambda x, level: _ising_load(np.exp(x)) / level - 1, log(1e-15), np.log1p(-tip), load[inner]
        )
        error[inner] = -np.expm1(gap)
    return error, residual


def _spherical_crossing(load: Array) -> tuple[Array, Array]:
    """Rightmost crossing, 1/2 up to the load 2; and its residual.

    The excess of the entropy over its bound is concave; at the error 1/a it is ln(a sin(pi/a) (1 - 1/a)) > 0, at 1/2
    it is negative. Just above 2 the crossing is 1/2 - (a - 2)^2 / 16.
    """
    inner = load > 2 + 1e-6
    error, residual = np.full_like(load, 0.5), np.zeros_like(load)

    def excess(x: Array, a: Array) -> Array:
        return np.asarray(np.log(np.sin(pi * np.exp(x))) + _growth_rate(a) + a * np.log1p(-np.exp(x)))

    if inner.any():
        x, residual[inner] = _crossing(excess, -np.log(load[inner]), log(0.5), load[inner])
        error[inner] = np.exp(x)
    return error, residual


def _crossing(excess: Callable[..., Array], low: Real, high: Real, load: Array) -> tuple[Array, Array]:
    """Root of the excess in a bracket at each load, and the excess left."""
    result = find_root(excess, (low + 0 * load, high + 0 * load), args=(load,))
    if not np.all(result.success):
        raise ConvergenceError(f"version-space bound: no crossing found at load {load[~result.success].flat[0]:g}")
    return result.x, np.abs(result.f_x)


def _ising_finite(n: int, examples: int, delta: float) -> float:
    """Least error beyond which all classes together survive with probability at most delta."""
    k = np.arange(n + 1)
    error = np.arccos(1 - 2 * k / n) / pi
    with np.errstate(divide="ignore"):
        survive = log_binomials(n) + examples * np.log1p(-error)
    beyond = np.append(np.logaddexp.accumulate(survive[:0:-1])[::-1], -inf)
    return float(error[np.argmax(beyond <= log(delta))])


def _spherical_finite(n: int, examples: int, delta: float) -> float:
    """Least error beyond which a student drawn from the teacher's cell lies with probability at most delta."""
    error = (np.arange(_CELLS) + 0.5) / _CELLS
    density = (n - 2) * np.log(np.sin(pi * error))
    survive = np.logaddexp.accumulate((density + examples * np.log1p(-error))[::-1])[::-1] - logsumexp(density)
    cells = log(2) + log_binomial_sum(examples - 1, n - 1)
    below = log(4) + cells + survive <= 2 * log(delta)
    return float(np.argmax(below) / _CELLS) if below.any() else 1.0


def _growth_rate(load: Array) -> Array:
    """Logarithm per input of the number of labellings of that many points: a ln 2 up to 2, then a H2(1/a)."""
    p = 1 / np.maximum(load, 2.0)
    return np.asarray(load * binary_entropy(p, 1 - p))


def _examples(load: ArrayLike, n: int) -> Array:
    """Whole number of examples at each load, at least one."""
    return np.asarray(_each(lambda one: count_examples(n, one), check_range("load", load, 0.0, open_low=True)))


def _each(function: Callable[[float], float], numbers: Array) -> Real:
    """Apply a function to each number."""
    return np.array([function(x) for x in numbers.ravel()], dtype=np.float64).reshape(numbers.shape)[()]


def _confidence(delta: float) -> float:
    """Give delta, refused outside (0, 1]."""
    return float(check_range("delta", delta, 0.0, 1.0, open_low=True))


def _clip(bound: Array) -> Real:
    """Give a bound, 1 where it is above."""
    return np.minimum(bound, 1.0)[()]
