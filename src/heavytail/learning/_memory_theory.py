r"""Branches of the Hopfield network's replica-symmetric equations, along parameters in which they never fold.

A spin feels a field m + s z: the overlap m with the pattern that is retrieved, and noise of width s = sqrt(a r) from
all the others, z being a normal variable. With the noise ratio w = s / m and the scale t = T / m,

.. math:: m = E \tanh(u/t), \quad q = E \tanh^2(u/t), \quad c = E \operatorname{sech}^2(u/t) / t, \quad u = 1 + w z,

are integrals, and all else is explicit: the temperature T = t m, the susceptibility C = b (1 - q) = c / m and the load

.. math:: a = s^2 (1 - C)^2 / q = w^2 (m - c)^2 / q.

At a fixed temperature the retrieval states have w from 0, where the load is 0, to the fold, where it is largest; only
there does the load as a function of w turn. Zero temperature is t = 0 and needs no equation of its own. The spin glass
has m = 0: u = z and t = T / s.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sqrt
from typing import NamedTuple

import numpy as np
from scipy.optimize.elementwise import find_root

from heavytail.errors import ConvergenceError
from heavytail.learning._counting import log_volume, spin_entropy
from heavytail.learning._gauss import Array, Real, phi

__all__ = ["FOLD", "Averages", "Order", "averages", "fold", "glass_width", "load_at", "marginal_scale"]
__all__ += ["moments", "noise_ratio", "retrieval", "root", "scale", "slope", "spin_glass"]

FOLD = (0.4, 0.6)
"""Noise ratios between which the fold lies at every temperature: it is 0.4679 at T = 0 and 0.4782 at T = 1."""

_REACH = 12.0  # the Gaussian weight is 2e-32 there
_STEPS = np.linspace(0.0, 1.0, 601)
_COLDEST = 1e-7  # below, the averages have their limits, to the square of this
_BLOCK = 256  # as many integrals at a time as the caches of a processor hold
_NEVER = 1e-300  # stands for a noise ratio of 0 in a division


class Averages(NamedTuple):
    """Averages over the field u at the scale t; all have a limit at t = 0.

    Attributes:
        tanh: E tanh(u/t).
        tanh2: E tanh^2(u/t).
        sech2: E sech^2(u/t) / t.
        sech4: E sech^4(u/t) / t.
        entropy: E S(u/t) / t, S the entropy of a spin in that field.
    """

    tanh: Real
    tanh2: Real
    sech2: Real
    sech4: Real
    entropy: Real


class _Field(NamedTuple):
    """The integral over z as a sum along a last axis; t is the scale, 1e-7 where it is less."""

    weight: Array
    z: Array
    y: Array
    tanh: Array
    sech2: Array
    t: Array

    def mean(self, values: Array) -> Real:
        """Average over the field."""
        return np.sum(self.weight * values, axis=-1)


def _field(t: Real, w: Real, signal: float = 1.0) -> _Field:
    """Give nodes and weights for functions of y = (signal + w z) / t.

    The trapezoid rule in theta, z = z0 + width sinh(theta), has its densest nodes where y changes sign. y is formed
    from sinh(theta), not from z: at low temperature the difference would be lost to rounding.
    """
    t, w = np.broadcast_arrays(np.asarray(t, dtype=np.float64), np.asarray(w, dtype=np.float64))
    t, w = np.maximum(t, _COLDEST), np.maximum(w, _NEVER)
    zero, width = np.maximum(-signal / w, -2 * _REACH), np.minimum(t / w, 1)
    low, high = np.arcsinh((-_REACH - zero) / width), np.arcsinh((_REACH - zero) / width)
    theta = low[..., None] + (high - low)[..., None] * _STEPS
    away = width[..., None] * np.sinh(theta)
    z = zero[..., None] + away
    step = (high - low) * width / (sqrt(2 * pi) * (len(_STEPS) - 1))
    y = ((signal + w * zero)[..., None] + w[..., None] * away) / t[..., None]
    e = np.exp(-2 * np.abs(y))
    tanh = np.copysign(np.expm1(-2 * np.abs(y)) / (1 + e), y)
    return _Field(step[..., None] * np.cosh(theta) * np.exp(-0.5 * z * z), z, y, tanh, 4 * e / (1 + e) ** 2, t)


def _moments(f: _Field, t: Real) -> tuple[Real, Real, Real]:
    """Give m, q and c at the scale t of a field."""
    c = f.mean(f.sech2) / f.t
    return f.mean(f.tanh), f.mean(f.tanh * f.tanh) + (f.t - t) * c, c


def averages(t: Real, w: Real, signal: float = 1.0) -> Averages:
    """Give the averages over u = signal + w z at the scale t >= 0, with w >= 0, of shapes that broadcast."""
    f = _field(t, w, signal)
    return Averages(*_moments(f, t), f.mean(f.sech2 * f.sech2) / f.t, f.mean(spin_entropy(f.y)) / f.t)


def moments(t: Real, w: Real, signal: float = 1.0) -> tuple[Real, Real, Real]:
    """Give the first three of the averages, `tanh`, `tanh2` and `sech2`."""
    return _moments(_field(t, w, signal), t)


def load_at(t: Real, w: Real) -> Real:
    """Load of the retrieval state at the scale t and the noise ratio w."""
    m, q, c = moments(t, w)
    return (w * (m - c)) ** 2 / q


def slope(t: Real, w: Real) -> Real:
    """Derivative of the logarithm of the load in w at constant temperature; zero at the fold."""
    f = _field(t, w)
    m, q, c = _moments(f, t)
    normal = (f.z * f.z - 1) / np.asarray(w)[..., None]  # d/dw of the density of u is this times it
    m_w, c_w = f.mean(normal * f.tanh), f.mean(normal * f.sech2) / f.t
    m_t, c_t = -f.mean(f.y * f.sech2), f.mean((2 * f.y * f.tanh - 1) * f.sech2) / f.t  # times t
    change = -m_w / (m + m_t)  # of ln t, at constant T = t m
    m_w, c_w = m_w + change * m_t, c_w + change * c_t
    return 2 / w + 2 * (m_w - c_w) / (m - c) + np.asarray(t) * (change * c + c_w) / q


def scale(temperature: Real, w: Real) -> Real:
    """Give the scale t = T / m of the retrieval state at a temperature in [0, 1) and a noise ratio.

    Newton's method for m = E tanh(u m / T): the average is concave in m, so that it falls to the root from any higher
    m. One is that without noise, itself bounded by tanh x < x / (1 + x^2 / (3 + x^2 / 5)).
    """
    temperature, w = np.broadcast_arrays(np.asarray(temperature, dtype=np.float64), w)
    enough = 1e-9 + 1e-14 / (1 - temperature)  # the next step would be the square of this, or is rounding
    cooling = 1 / np.maximum(temperature, 0.25) - 1
    m = np.minimum(1, np.sqrt(3 * cooling / (1 - cooling / 5)) / (1 + cooling))
    for _ in range(200):
        f = _field(temperature / m, w)
        step = (f.mean(f.tanh) - m) / (1 - f.mean(f.y * f.sech2) / m)
        m = m + step
        if np.all(np.abs(step) <= enough * m):
            return temperature / m
    raise ConvergenceError(f"Hopfield network: no overlap was reached at temperature {np.max(temperature):g}")


def root(function: Callable[..., Real], low: Real, high: Real, *args: Real) -> Real:
    """Give the root of an elementwise function in a bracket, to fourteen digits; all arguments broadcast.

    Raises:
        ConvergenceError: if an element has no root there.
    """
    columns = np.broadcast_arrays(low, high, *args)
    x = np.empty(columns[0].size)
    for k in range(0, x.size, _BLOCK):
        low, high, *rest = (column.ravel()[k : k + _BLOCK] for column in columns)
        result = find_root(function, (low, high), args=tuple(rest), tolerances={"xrtol": 1e-14})
        if not np.all(result.success):
            i = int(np.argmin(result.success))
            raise ConvergenceError(
                f"Hopfield network: no root between {low[i]:g} and {high[i]:g} at {[float(v[i]) for v in rest]}"
            )
        x[k : k + _BLOCK] = result.x
    return x.reshape(columns[0].shape)[()]


def fold(temperature: Real) -> Real:
    """Give the noise ratio of the most loaded retrieval state at a temperature in [0, 1), of any shape."""
    return root(lambda w, T: slope(scale(T, w), w), *FOLD, temperature)


def noise_ratio(load: Real, temperature: Real, highest: Real) -> Real:
    """Give the noise ratio of the retrieval state, between 0 and `highest`, that of the fold."""

    def mismatch(w: Array, load: Array, temperature: Array) -> Real:
        return np.sqrt(load_at(scale(temperature, w), w)) - np.sqrt(load)

    return root(mismatch, 0.0, highest, load, temperature)


def glass_width(load: Real, temperature: Real) -> Real:
    """Give the noise width s of the spin glass at a load above 0 and a temperature below 1 + sqrt(load)."""

    def mismatch(s: Array, load: Array, temperature: Array) -> Real:
        _, q, c = moments(temperature / s, 1.0, 0.0)
        return (s - c) / np.sqrt(q) - np.sqrt(load)

    # C <= sqrt(2/pi) / s at any temperature, with equality at zero
    return root(mismatch, 1e-100, np.sqrt(load) + sqrt(2 / pi) + 1e-12, load, temperature)


def marginal_scale(w: Real) -> Real:
    """Give the scale t at which the retrieval state of noise ratio w in (0, 0.6] loses replica symmetry."""
    w = np.asarray(w, dtype=np.float64)
    cold = 4 / 3 * w * phi(1 / w)

    def replicon(log_ratio: Array, w: Array, cold: Array) -> Real:
        t = cold * np.exp(log_ratio)
        f = _field(t, w)
        return t * _moments(f, t)[1] - w * w * f.mean(f.sech2 * f.sech2) / f.t

    near = np.maximum(w, 0.1)  # below, the limit of small w is exact
    return cold * np.exp(np.where(w < near, 0, root(replicon, -0.1, 0.2, near, 4 / 3 * near * phi(1 / near))))


class Order(NamedTuple):
    """Order parameters of a state, and what they say of its thermodynamics.

    Attributes:
        overlap: m.
        glass: q.
        susceptibility: C = b (1 - q).
        variance: s^2 = a r, of the noise in the field.
        spin_entropy: E S(h/T), the entropy of the spins in their fields.
        replicon: 1 - a b^2 E sech^4(h/T) / (1 - C)^2, negative where replica symmetry is broken.
    """

    overlap: Real
    glass: Real
    susceptibility: Real
    variance: Real
    spin_entropy: Real
    replicon: Real

    def energy(self, load: Real) -> Real:
        """Energy of a spin."""
        c = self.susceptibility
        return -0.5 * (self.overlap**2 + np.asarray(load) * c / (1 - c) + self.variance * c)

    def entropy(self, load: Real) -> Real:
        """Entropy of a spin; negative at low temperature, as replica symmetry is broken there."""
        c = self.susceptibility
        return self.spin_entropy - 0.5 * np.asarray(load) * log_volume(c, 1 - c)

    def free_energy(self, load: Real, temperature: Real) -> Real:
        """Free energy of a spin."""
        return self.energy(load) - np.asarray(temperature) * self.entropy(load)


def retrieval(t: Real, w: Real) -> Order:
    """Give the retrieval state at the scale t and the noise ratio w."""
    g = averages(t, w)
    m = g.tanh
    return Order(m, g.tanh2, g.sech2 / m, (w * m) ** 2, t * g.entropy, 1 - _stiffness(t, w, g))


def spin_glass(temperature: Real, width: Real) -> Order:
    """Give the spin glass at a temperature and a noise width s."""
    t = np.asarray(temperature) / width
    g = averages(t, 1.0, 0.0)
    zero = np.zeros(np.shape(g.tanh))
    return Order(zero, g.tanh2, g.sech2 / width, width**2 + zero, t * g.entropy, 1 - _stiffness(t, 1.0, g))


def _stiffness(t: Real, w: Real, g: Averages) -> Real:
    """Give w^2 E sech^4 / (t q), infinite at t = 0 unless there is no noise."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.nan_to_num(np.square(w) * g.sech4 / (t * g.tanh2), nan=0.0, posinf=np.inf)
