"""Random matrices of independent entries, by the law of the entries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

__all__ = ["ENTRIES", "gaussian", "laplace", "levy", "lomax", "pareto", "student_t", "uniform"]

Matrix = NDArray[np.float64]
Seed = int | np.random.Generator


def gaussian(N: int, M: int, seed: Seed) -> Matrix:
    """Draw entries of the standard normal law.

    Example:
        >>> gaussian(2, 3, seed=0).shape
        (2, 3)
    """
    return np.random.default_rng(seed).standard_normal(_shape(N, M))


def uniform(N: int, M: int, seed: Seed) -> Matrix:
    """Draw entries uniform on [-sqrt 3, sqrt 3], which have variance 1.

    Example:
        >>> bool(abs(uniform(20, 30, seed=0)).max() <= 3**0.5)
        True
    """
    return np.random.default_rng(seed).uniform(-np.sqrt(3), np.sqrt(3), _shape(N, M))


def laplace(N: int, M: int, seed: Seed) -> Matrix:
    """Draw entries of density exp(-sqrt 2 |w|) / sqrt 2, which have variance 1.

    Example:
        >>> laplace(2, 3, seed=0).shape
        (2, 3)
    """
    return np.random.default_rng(seed).laplace(scale=np.sqrt(0.5), size=_shape(N, M))


def student_t(N: int, M: int, df: float, seed: Seed) -> Matrix:
    """Draw entries of Student's law with df > 0 degrees of freedom, which is its tail index.

    For df > 2 they are divided by their deviation sqrt(df / (df - 2)); up to 2 there is no variance, and they keep
    their natural scale.

    Raises:
        ValueError: if df is not positive.

    Example:
        >>> student_t(2, 3, df=3, seed=0).shape
        (2, 3)
    """
    w = np.random.default_rng(seed).standard_t(positive("df", df), _shape(N, M))
    return w * np.sqrt((df - 2) / df) if df > 2 else w


def pareto(N: int, M: int, tail_mu: float, seed: Seed) -> Matrix:
    """Draw entries of random sign and pure power law, P(|w| > t) = t^-tail_mu for t >= 1, tail_mu > 0.

    The natural scale is kept: the variance is tail_mu / (tail_mu - 2) above 2, infinite up to 2.

    Raises:
        ValueError: if tail_mu is not positive.

    Example:
        >>> bool(abs(pareto(20, 30, tail_mu=1.5, seed=0)).min() >= 1)
        True
    """
    rng, shape = np.random.default_rng(seed), _shape(N, M)
    size = np.exp(rng.standard_exponential(shape) / positive("tail_mu", tail_mu))
    return np.copysign(size, rng.random(shape) - 0.5)


def lomax(N: int, M: int, tail_mu: float, seed: Seed) -> Matrix:
    r"""Draw entries of the Lomax law, P(w > t) = (1 + t)^-tail_mu for t >= 0, exactly as numpy's `Generator.pareto`.

    It is the law behind the published experiments on heavy-tailed matrices (Martin and Mahoney 2018), where it stands
    for Pareto's, and two things set it apart. It is a Pareto law moved to start at 0, so a pure power law only far in
    its tail: a fitted exponent is too small, the more so the lighter the tail. And it is one-sided with mean
    1 / (tail_mu - 1), so that a matrix carries a spike of rank one along the all-ones vectors: for tail_mu > 2 the
    largest eigenvalue of W^T W / N grows like M / (tail_mu - 1)^2, linearly in size, instead of N^(4 / tail_mu - 1).
    The draw is left as it is, neither centred nor scaled.

    Raises:
        ValueError: if tail_mu is not positive.

    Example:
        >>> bool((lomax(2, 3, 1.5, seed=0) == np.random.default_rng(0).pareto(1.5, (2, 3))).all())
        True
    """
    return np.random.default_rng(seed).pareto(positive("tail_mu", tail_mu), _shape(N, M))


def levy(N: int, M: int, tail_mu: float, seed: Seed) -> Matrix:
    r"""Draw entries of the symmetric stable law, E exp(i t w) = exp(-|t|^tail_mu), by Chambers, Mallows and Stuck 1976.

    The stability index tail_mu is in (0, 2]: 1 is the Cauchy law and 2 the normal law of variance 2. Below 2 the tail
    is P(|w| > t) ~ (2 / pi) Gamma(tail_mu) sin(pi tail_mu / 2) t^-tail_mu.

    Raises:
        ValueError: if tail_mu is outside (0, 2].

    Example:
        >>> levy(2, 3, tail_mu=1.5, seed=0).shape
        (2, 3)
    """
    if not 0 < tail_mu <= 2:
        raise ValueError(f"a stable law has tail_mu in (0, 2]; got {tail_mu}")
    rng, shape = np.random.default_rng(seed), _shape(N, M)
    angle = rng.uniform(-np.pi / 2, np.pi / 2, shape)
    ratio = np.cos((1 - tail_mu) * angle) / rng.standard_exponential(shape)
    return np.sin(tail_mu * angle) / np.cos(angle) ** (1 / tail_mu) * ratio ** (1 / tail_mu - 1)


ENTRIES: Mapping[str, Callable[..., Matrix]] = MappingProxyType(
    {law.__name__: law for law in (gaussian, uniform, laplace, student_t, pareto, lomax, levy)}
)
"""The laws of independent entries by name; the last four take their tail index as third argument."""


def _shape(N: int, M: int) -> tuple[int, int]:
    """Check the size of a matrix."""
    if N < 1 or M < 1:
        raise ValueError(f"a matrix has at least one row and one column; got N = {N}, M = {M}")
    return N, M


def positive(name: str, value: float) -> float:
    """Check a parameter of a law."""
    if not value > 0:
        raise ValueError(f"{name} must be positive; got {value}")
    return value
