"""What the models of storage stand on: their Gaussian means and branches, and finite systems that store patterns.

Of finite systems: the largest margin of linear separation, and Ising weights counted one by one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import nnls
from scipy.optimize.elementwise import find_root

from heavytail.errors import ConvergenceError
from heavytail.learning._gauss import Array, gaussian_rule, hazard, log_H
from heavytail.learning._teacher import draw_labels

__all__ = [
    "MOST_SPINS",
    "branch_start",
    "count_ising_solutions",
    "invert_branch",
    "maximum_margin",
    "noisy_examples",
    "spin_means",
    "storing_means",
    "widest",
]

_ROUNDING = 1e-12  # a margin below is made of rounding errors

MOST_SPINS = 24
"""Most Ising weights to enumerate: 2^24 configurations, a quarter of a gigabyte."""


def storing_means(q: Array, rest: Array, margin: float) -> tuple[Array, Array]:
    """Means over t of (phi/H)^2(u) and of ln H(u), u = (margin - sqrt(q) t) / sqrt(rest), with rest = 1 - q."""
    slope = np.sqrt(q / rest)
    t, weight = gaussian_rule(1 / slope, margin / np.sqrt(q))
    u = margin / np.sqrt(rest)[..., None] - slope[..., None] * t
    return np.sum(weight * hazard(u) ** 2, axis=-1), np.sum(weight * log_H(u), axis=-1)


def spin_means(field: Array) -> tuple[Array, Array, Array]:
    """Means over z of tanh^2, of sech^2 and of ln 2 cosh of sqrt(field) z, none by a difference."""
    z, weight = gaussian_rule(1 / np.sqrt(field))
    x = np.sqrt(field)[..., None] * z
    decay = np.exp(-2 * np.abs(x))
    means = np.tanh(x) ** 2, 4 * decay / (1 + decay) ** 2, np.logaddexp(x, -x)
    square, rest, free = (np.asarray(np.sum(weight * values, axis=-1)) for values in means)
    return square, rest, free


def branch_start(load: Array, margin: float) -> Array:
    """Give a number below the logarithm of qh, or of q/(1-q): both are at least load (phi/H)^2(margin)."""
    return np.asarray(np.log(load) + 2 * np.log(hazard(margin)) - 0.1)


def invert_branch(name: str, function: Callable[[Array], Array], bracket: tuple[Array, float], load: Array) -> Array:
    """Give the order parameter at each load, of which the load is an increasing function."""
    low, high = bracket
    limit = float(function(np.asarray(high)))
    if np.any(load >= limit):
        at = load[load >= limit].flat[0]
        raise ConvergenceError(f"{name}: no replica-symmetric state at load {at:g}; it must be below {limit:.7g}")
    result = find_root(lambda x, level: function(x) / level - 1, (low, np.full_like(low, high)), args=(load,))
    if not np.all(result.success):
        worst = float(np.max(np.abs(result.f_x)))
        raise ConvergenceError(f"{name}: order parameter not found at some load, residual {worst:.1e}")
    return np.asarray(result.x)


def noisy_examples(patterns: int, n: int, label_noise: float, rng: np.random.Generator) -> Array:
    """Draw Gaussian patterns times their labels, shape (patterns, n): the teacher is the first axis."""
    inputs = rng.standard_normal((patterns, n))
    return inputs * draw_labels(inputs[:, 0], label_noise, rng)[:, None]


def widest(examples: Array) -> Array:
    """Give the shortest w with examples . w >= 1, shape (n,), which has the widest margin; NaN if there is none.

    This least-distance problem is solved as non-negative least squares (Lawson and Hanson 1974, ch. 23): w is made of
    its residual, of which nothing is left where there is no such w.

    Args:
        examples: inputs times labels, shape (patterns, n).

    Raises:
        ConvergenceError: if the active set was not found.
    """
    patterns, n = examples.shape
    target, system = np.append(np.zeros(n), 1.0), np.vstack([examples.T, np.ones(patterns)])
    try:
        rest = system @ nnls(system, target, maxiter=30 * patterns)[0] - target
    except RuntimeError as error:
        raise ConvergenceError(f"margin of {patterns} examples of {n} inputs: {error}") from error
    length = float(rest @ rest)  # that is -rest[-1], which has fewer digits
    return rest[:-1] / length if length > _ROUNDING**2 else np.full(n, np.nan)


def maximum_margin(examples: Array) -> float:
    """Give the largest kappa with examples . w >= kappa |w| for some w; 0 where no w has them all positive."""
    return float(np.nan_to_num(1 / np.linalg.norm(widest(examples))))


def count_ising_solutions(examples: Array, margin: float) -> int:
    r"""Count the w in {-1, 1}^n with examples . w > margin \sqrt n, one pattern after the other over those still left.

    Each pattern leaves about half, so that all of them cost little more than the first.

    Args:
        examples: inputs times labels, shape (patterns, n), n at most `MOST_SPINS`.
        margin: kappa.
    """
    n = examples.shape[1]
    half = n // 2
    low, high = examples[:, :half] @ _spins(half), examples[:, half:] @ _spins(n - half)
    left = np.arange(1 << n)
    threshold = margin * np.sqrt(n)
    for field_low, field_high in zip(low, high, strict=True):
        left = left[field_low[left & ((1 << half) - 1)] + field_high[left >> half] > threshold]
    return len(left)


def _spins(n: int) -> Array:
    """All configurations of n spins, shape (n, 2^n); bit i of the column is spin i."""
    bits = (np.arange(1 << n) >> np.arange(n)[:, None]) & 1
    return bits.astype(np.float64) * 2 - 1
