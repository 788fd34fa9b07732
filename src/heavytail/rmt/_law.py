"""What the continuous laws of this package share: the methods of scipy.stats that follow from the quantile function."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import sqrt
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Law", "Real", "Vector"]

Vector: TypeAlias = NDArray[np.float64]

Real: TypeAlias = Any
"""A float for a scalar argument, a float64 array of the same shape for an array."""


class Law(ABC):
    """A law on the real line; a subclass gives its quantiles and its first moments."""

    __slots__ = ()

    @abstractmethod
    def ppf(self, p: ArrayLike) -> Real:
        """Quantile: the least x with cdf(x) >= p, NaN for p outside [0, 1]."""

    @abstractmethod
    def isf(self, p: ArrayLike) -> Real:
        """Value that is passed with probability p, NaN for p outside [0, 1]."""

    @abstractmethod
    def mean(self) -> float:
        """Mean."""

    @abstractmethod
    def var(self) -> float:
        """Variance."""

    @abstractmethod
    def _shape(self) -> tuple[float, float]:
        """Skewness and excess kurtosis."""

    def std(self) -> float:
        """Standard deviation."""
        return sqrt(self.var())

    def median(self) -> float:
        """Median."""
        return float(self.ppf(0.5))

    def rvs(self, size: int | tuple[int, ...] | None = None, seed: int | np.random.Generator | None = None) -> Real:
        """Draw independent values (not the eigenvalues of one matrix: those repel each other).

        Args:
            size: shape of the draw; None draws one number.
            seed: a seed or a generator.
        """
        uniform = np.random.default_rng(seed).random(size)
        return self.ppf(np.maximum(uniform, 2.0**-54))  # random() may give 0, whose quantile may be -inf

    def stats(self, moments: str = "mv") -> Any:
        """Mean ("m"), variance ("v"), skewness ("s") and excess kurtosis ("k"), in the order asked for.

        Args:
            moments: one or more of the letters m, v, s, k.

        Returns:
            A tuple of floats; for one letter the float itself, as in scipy.stats.

        Raises:
            ValueError: if another letter is asked for.
        """
        if not moments or set(moments) - set("mvsk"):
            raise ValueError(f"moments are named by the letters m, v, s and k; got {moments!r}")
        skewness, kurtosis = self._shape()
        values = {"m": self.mean(), "v": self.var(), "s": skewness, "k": kurtosis}
        found = tuple(values[letter] for letter in moments)
        return found if len(found) > 1 else found[0]
