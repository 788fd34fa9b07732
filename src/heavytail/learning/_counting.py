"""Logarithms of numbers of choices: binomial coefficients, and entropies, with all their digits."""

from __future__ import annotations

from math import log

import numpy as np
from scipy.special import gammaln, logsumexp, xlog1py, xlogy

from heavytail.learning._gauss import Array

__all__ = ["binary_entropy", "log_binomial_sum", "log_binomials", "log_volume", "spin_entropy"]

_NEAR = 0.05  # overlap below which the logarithm of a volume is a series


def log_binomials(n: int, most: int | None = None) -> Array:
    """Logarithms of C(n, k), k from 0 to `most`, or to n."""
    k = np.arange((n if most is None else most) + 1)
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))


def log_binomial_sum(n: int, most: int) -> float:
    """Logarithm of the sum of C(n, k) over k from 0 to `most`."""
    return float(logsumexp(log_binomials(n, most))) if most < n else n * log(2)


def binary_entropy(p: Array, rest: Array) -> Array:
    """Entropy of a coin with the probabilities p and rest = 1 - p."""
    small, large = np.minimum(p, rest), np.maximum(p, rest)
    return np.asarray(-xlogy(small, small) - xlog1py(large, -small))


def spin_entropy(field: Array) -> Array:
    """Entropy of a spin in a field over the temperature: ln 2 cosh y - y tanh y."""
    y = np.abs(field)
    e = np.exp(-2 * y)
    return np.asarray(np.log1p(e) + 2 * y * e / (1 + e))


def log_volume(q: Array, rest: Array) -> Array:
    """Give ln(1 - q) + q / (1 - q), with rest = 1 - q; from k = 2 on the sum of (1 - 1/k) q^k.

    Half of it is the entropy of spherical weights of that overlap.
    """
    powers = np.arange(2, 14)
    series = np.sum((1 - 1 / powers) * np.minimum(q, _NEAR)[..., None] ** powers, axis=-1)
    return np.asarray(np.where(q < _NEAR, series, np.log(rest) + q / rest))
