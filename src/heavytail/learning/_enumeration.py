"""All students with weights of -1 and 1 of a small system, and how many of them there are on average: exact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlog1py, xlogy

from heavytail.learning._arguments import check_label_noise, check_number, whole
from heavytail.learning._counting import log_binomials
from heavytail.learning._gauss import Array, overlap_error
from heavytail.learning.results import Simulation

__all__ = ["StudentCounts", "count_students", "expected_students", "expected_version_space"]


@dataclass(frozen=True, slots=True)
class StudentCounts:
    """Every Ising student of drawn patterns, counted by its distance from the teacher and its training errors.

    Attributes:
        n: number of weights.
        patterns: number of examples.
        counts: of each draw how many students differ from the teacher in k weights and have E training errors, shape
            (runs, n + 1, patterns + 1) with the axes k and E.
    """

    n: int
    patterns: int
    counts: NDArray[np.int64]

    def gibbs(self, temperature: float) -> Simulation:
        """Average over the students of each draw with weight exp(-E / temperature).

        At temperature 0 these are the students with the fewest errors, all alike.

        Args:
            temperature: from 0.

        Returns:
            One value a draw of error, overlap, training_error, and of entropy and free_energy a weight.

        Raises:
            RequestError: if the temperature is negative.
        """
        temperature = check_number("temperature", temperature, 0, finite=False)
        beta = 1 / max(temperature, 1e-300)
        energy = np.arange(self.patterns + 1)
        fewest = np.argmax(self.counts.any(axis=1), axis=1)
        excess = np.maximum(energy - fewest[:, None], 0)
        weight = self.counts * np.exp(-beta * excess)[:, None, :]
        total = weight.sum(axis=(1, 2))
        weight = weight / total[:, None, None]
        overlap = 1 - 2 * np.arange(self.n + 1) / self.n
        by_energy, by_overlap = weight.sum(axis=1), weight.sum(axis=2)
        mean_excess = np.sum(by_energy * excess, axis=1)
        entropy = (np.log(total) + beta * mean_excess) / self.n
        samples = {
            "error": by_overlap @ overlap_error(overlap),
            "training_error": (fewest + mean_excess) / max(self.patterns, 1),
            "overlap": by_overlap @ overlap,
            "entropy": entropy,
            "free_energy": (fewest + mean_excess) / self.n - temperature * entropy,
        }
        return Simulation("Ising perceptron, all students", self.n, self.patterns / self.n, samples)


def count_students(patterns: Array) -> NDArray[np.int64]:
    """Count the Ising students of given patterns by distance from the teacher and by training errors.

    Args:
        patterns: inputs times labels for a teacher of ones, shape (n, count).

    Returns:
        Numbers of students, shape (n + 1, count + 1): of k weights that differ, of E errors.

    Example:
        >>> print(count_students(np.array([[1.0], [2.0]])))
        [[1 0]
         [1 1]
         [0 1]]
    """
    n, count = patterns.shape
    # The last weight stays 1: the opposite student differs in the other weights and errs on the other patterns.
    low, low_flips = _corners(patterns[: n // 2])
    high, high_flips = _corners(patterns[n // 2 : -1])
    found = np.zeros((n + 1) * (count + 1), dtype=np.int64)
    for fields, flips in zip(high + patterns[-1], high_flips, strict=True):
        errors = np.count_nonzero(low + fields < 0, axis=1)
        found += np.bincount((low_flips + flips) * (count + 1) + errors, minlength=len(found))
    half = found.reshape(n + 1, count + 1)
    return half + half[::-1, ::-1]


def _corners(patterns: Array) -> tuple[Array, NDArray[np.int64]]:
    """Fields of all 2^n vectors of -1 and 1, shape (2^n, count), and the number of -1 in each, shape (2^n,)."""
    bits = np.arange(2 ** len(patterns))[:, None] >> np.arange(len(patterns)) & 1
    return (1 - 2 * bits) @ patterns, bits.sum(axis=1)


def expected_students(n: int, patterns: int, *, label_noise: float = 0.0) -> Array:
    r"""Give the expected number of Ising students at each distance from the teacher with each number of errors.

    .. math:: E\,\#(k, E) = {N \choose k} {P \choose E} p_k^E (1 - p_k)^{P - E}, \qquad
              p_k = \lambda + (1 - 2 \lambda) \tfrac{1}{\pi} \arccos(1 - 2 k / N)

    exact at any size for Gaussian inputs, as each student errs on each pattern independently.

    Args:
        n: number of weights, up to 1000.
        patterns: number of examples.
        label_noise: probability of a flipped label, in [0, 1/2].

    Returns:
        Expected numbers, shape (n + 1, patterns + 1).

    Raises:
        RequestError: if an argument is out of range.
    """
    n, patterns, noise = whole("n", n, 1, 1000), whole("patterns", patterns, 0), check_label_noise(label_noise)
    flips, errors = np.arange(n + 1), np.arange(patterns + 1)
    wrong = (noise + (1 - 2 * noise) * overlap_error(1 - 2 * flips / n))[:, None]
    log_chance = xlogy(errors, wrong) + xlog1py(patterns - errors, -wrong)
    expected: Array = np.exp(log_binomials(n)[:, None] + log_binomials(patterns) + log_chance)
    return expected


def expected_version_space(n: int, patterns: int) -> Array:
    """Give the expected number of Ising students without training errors at each distance from the teacher.

    It is binom(N, k) (1 - arccos(1 - 2k/N) / pi)^P: the annealed theory, exact at any size for Gaussian inputs.

    Args:
        n: number of weights, up to 1000.
        patterns: number of examples.

    Returns:
        Expected numbers, shape (n + 1,).

    Raises:
        RequestError: if an argument is out of range.
    """
    return expected_students(n, patterns)[:, 0]
