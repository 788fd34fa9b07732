r"""Little's network: all spins are updated at once, each at random in its field (Little 1974).

.. math:: P(s' | s) = \prod_i \frac{e^{b s'_i h_i(s)}}{2 \cosh b h_i(s)}, \qquad h = J s.

A state persists if the transition matrix has a second eigenvalue close to its largest, 1: memory is a degeneracy. For
symmetric couplings the stationary law is a product of 2 cosh(b h_i), a Boltzmann weight of the energy
-(1/b) sum ln 2 cosh(b h_i) (Peretto 1984).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, exp, log, log1p

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import erf, log_expit, logsumexp

from heavytail.errors import ConvergenceError, RequestError
from heavytail.learning import _memory_dynamics as dynamics
from heavytail.learning._arguments import check_range, count_examples, whole
from heavytail.learning._gauss import Array, Real
from heavytail.learning.results import Simulation

__all__ = ["LittleNetwork"]

_PLAIN = 0.01  # gaps above this are a difference of eigenvalues to twelve digits and more


@dataclass(frozen=True, slots=True)
class LittleNetwork:
    """Parallel dynamics of n spins that store patterns by Hebb's rule.

    With one pattern, and the couplings 1/n of each spin to itself kept, the overlap alone is a Markov chain: that is
    the network of `transition_matrix` and `spectral_gap`. Simulations have no coupling of a spin to itself, as in the
    Hopfield network.

    Example:
        >>> network = LittleNetwork()
        >>> print(f"{network.spectral_gap(400, 1.5):.4f} {network.spectral_gap(400, 0.8):.1e}")
        0.3346 2.6e-14
    """

    def transition_matrix(self, n: int, temperature: float) -> Array:
        """Probabilities of the aligned spins' next number given their number, shape (n + 1, n + 1), for one pattern.

        With k aligned spins, M = 2k - n, each spin is aligned next with probability 1 / (1 + exp(-2 M / (n T))).

        Raises:
            RequestError: unless n is at least 1 and the temperature above 0.
        """
        return np.exp(_log_transitions(whole("n", n, 1), temperature))

    def spectral_gap(self, n: int, temperature: float) -> float:
        """Gap between the two largest eigenvalues of the chain of one pattern; 1 / gap is the memory's lifetime.

        It tends to 1 - 1/T above T = 1, and falls exponentially with n below; 0 if it is less than any float.

        Raises:
            RequestError: unless n is at least 1 and the temperature above 0.
            ConvergenceError: if the eigenvalue was not reached.
        """
        return exp(self.log_spectral_gap(n, temperature))

    def log_spectral_gap(self, n: int, temperature: float) -> float:
        """Logarithm of the spectral gap, accurate to eleven digits of the gap however small it is.

        The second eigenvector is odd in M. On odd vectors the chain is one of M > 0 alone that loses probability, and
        the gap its least rate of loss. It is found by inverse iteration, with an elimination that only adds and
        multiplies positive numbers (Grassmann, Taksar and Heyman 1985), here their logarithms.

        Raises:
            RequestError: unless n is at least 1 and the temperature above 0.
            ConvergenceError: if the eigenvalue was not reached.
        """
        n = whole("n", n, 1)
        k = np.arange(n, n // 2, -1)  # the numbers of aligned spins with M > 0
        full = _log_transitions(n, temperature)
        M = 2.0 * k - n
        P = full[np.ix_(k, k)] + np.log(-np.expm1(-2 / (n * temperature) * np.outer(M, M)))
        second = float(np.linalg.eigvalsh(np.exp(0.5 * (P + P.T)))[-1])  # similar to P, as it keeps detailed balance
        if 1 - second > _PLAIN:
            return log1p(-second)
        below = logsumexp(full[np.ix_(k, n - k)], axis=1) + log(2)
        loss = below if n % 2 else np.logaddexp(below, full[k, n // 2])
        return _log_least_rate(P, loss)

    def one_step_overlap(self, overlap: ArrayLike, load: ArrayLike) -> Real:
        """Overlap after one step at T = 0 from a random state of that overlap: erf(m / sqrt(2 a)), of any shapes.

        Raises:
            RequestError: for overlaps outside [-1, 1] or loads that are not positive.

        Example:
            >>> print(f"{LittleNetwork().one_step_overlap(0.4, 0.1):.4f}")
            0.7941
        """
        m = check_range("overlap", overlap, -1, 1)
        return erf(m / np.sqrt(2 * check_range("load", load, 0, open_low=True)))

    def energy(self, spins: ArrayLike, coupling: ArrayLike, temperature: float) -> Real:
        """Little's energy -T sum ln 2 cosh(h_i / T) of states (..., n) under symmetric couplings (n, n), shape (...).

        At T = 0 it is minus the sum of the fields' sizes.

        Raises:
            RequestError: for a temperature below 0, or couplings that are not a symmetric matrix.
        """
        T, J = float(check_range("temperature", temperature, 0)), np.asarray(coupling, dtype=np.float64)
        if J.ndim != 2 or J.shape != J.T.shape or not np.allclose(J, J.T, rtol=1e-12, atol=0):
            raise RequestError(f"coupling of shape {J.shape} is not a symmetric matrix; without one there is no energy")
        h = np.abs(np.asarray(spins, dtype=np.float64) @ J)
        excess = T * np.log1p(np.exp(-2 * h / T)) if T > 0 else 0.0
        return -np.sum(h + excess, axis=-1)[()]

    def simulate(
        self,
        n: int,
        load: float,
        temperature: float = 0.0,
        *,
        seed: int | np.random.Generator = 0,
        runs: int = 8,
        overlap: float = 1.0,
        steps: int = 60,
    ) -> Simulation:
        """Simulate networks of n spins, each with its own patterns.

        Args:
            n: number of spins.
            load: patterns per spin; their number is rounded, and the load of the result is what they are.
            temperature: 0 runs to the end, a state or two in turn (Goles 1985); above 0, `steps` steps.
            seed: seed or generator.
            runs: number of networks.
            overlap: with the first pattern, at the start.
            steps: length of a run above T = 0; its second half is averaged.

        Returns:
            The "overlap" with the first pattern at the end, its mean if there are two states or T > 0; the overlap
            after one step, "first"; and the "period" of the end, 1 or 2, NaN at T > 0.

        Raises:
            RequestError: unless there are at least two spins, one pattern, one run and two steps, or for a temperature
                or an overlap out of range.
        """
        T = float(check_range("temperature", temperature, 0))
        check_range("overlap", overlap, -1, 1)
        n, runs, steps = whole("n", n, 2), whole("runs", runs, 1), whole("steps", steps, 2)
        patterns = count_examples(n, load)
        samples = np.empty((3, runs))
        for k, rng in enumerate(np.random.default_rng(seed).spawn(runs)):
            pattern, coupling, spins = dynamics.start(n, patterns, overlap, rng)
            spins = dynamics.parallel_step(coupling, spins, dynamics.thresholds(n, T, rng))
            if T > 0:
                last, period = dynamics.parallel_overlap(coupling, spins, pattern, T, steps - 1, rng), np.nan
            else:
                even, odd = dynamics.parallel_end(coupling, spins)
                last, period = float((even + odd) @ pattern) / (2 * n), 1 if np.array_equal(even, odd) else 2
            samples[:, k] = last, spins @ pattern / n, period
        return Simulation("Little", n, patterns / n, dict(zip(("overlap", "first", "period"), samples, strict=True)))


def _log_transitions(n: int, temperature: float) -> Array:
    check_range("temperature", temperature, 0, open_low=True)
    k = np.arange(n + 1)
    drive = 2 * (2 * k[:, None] - n) / (n * temperature)
    ways = np.array([log(comb(n, int(j))) for j in k])
    return np.asarray(ways + k * log_expit(drive) + (n - k) * log_expit(-drive))


def _log_least_rate(P: Array, loss: Array) -> float:
    """Logarithm of the least eigenvalue of 1 - P, all given as logarithms, `loss` being 1 less the sums of P's rows."""
    P, loss = P.copy(), loss.copy()
    out = loss.copy()  # the rate out of a state, to those before it and to the outside
    for j in range(len(P) - 1, 0, -1):
        out[j] = np.logaddexp(logsumexp(P[j, :j]), loss[j])
        P[:j, j] -= out[j]
        P[:j, :j] = np.logaddexp(P[:j, :j], P[:j, j, None] + P[j, :j])
        loss[:j] = np.logaddexp(loss[:j], P[:j, j] + loss[j])
    out[0] = loss[0]
    x = np.zeros(len(P))
    for _ in range(100):
        y = x - np.max(x)
        x = _log_solve(P, out, y)
        low, high = np.min(y - x), np.max(y - x)  # the eigenvalue lies between (Collatz 1942)
        if high - low < 1e-12:
            return float(0.5 * (low + high))
    raise ConvergenceError(f"Little network: the spectral gap is only known to a factor {exp(high - low):.3g}")


def _log_solve(P: Array, out: Array, y: Array) -> Array:
    """Solve (1 - P) x = y with P as eliminated, all given as logarithms."""
    y = y.copy()
    for j in range(len(P) - 1, 0, -1):
        y[:j] = np.logaddexp(y[:j], P[:j, j] + y[j])
    x = y - out
    for j in range(1, len(P)):
        x[j] = np.logaddexp(y[j], logsumexp(P[j, :j] + x[:j])) - out[j]
    return x
