"""Energy landscapes of glasses: how many valleys there are, at which energies, and what freezes in them.

- `SphericalSpinGlass`: the number of critical points at each energy and index, a model of the loss surface of a
  network (Auffinger, Ben Arous and Cerny 2013; Choromanska et al. 2015);
- `RandomEnergyModel`: independent energies, the simplest glass (Derrida 1981);
- `SherringtonKirkpatrick`: the replica-symmetric theory, and where it fails (Sherrington and Kirkpatrick 1975; de
  Almeida and Thouless 1978).

All energies are per spin and negative at the bottom.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, log, sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.optimize.elementwise import find_root
from scipy.special import erf, expit, logit, logsumexp

from heavytail.errors import ConvergenceError
from heavytail.learning._arguments import check_range, whole
from heavytail.learning._gauss import Array, Real, phi
from heavytail.learning._memory_theory import averages, moments
from heavytail.learning.results import Simulation

__all__ = ["RandomEnergyModel", "RandomEnergyState", "SherringtonKirkpatrick", "SphericalSpinGlass", "SpinGlassState"]

_LARGEST = 1e100  # of energies and fields, so that their squares are numbers
_FAINT = 1e-150  # field over the temperature below which q is 0 to all digits
_FROZEN = 700.0  # logarithm of q / (1 - q) from which on 1 - q is 0 to all digits
_STRONG = 7.0  # field from which on the Almeida-Thouless line is its limit to all digits: 1e-11
_MOST_LEVELS = 24  # spins of the random energy model: 2^24 levels are an eighth of a gigabyte


@dataclass(frozen=True, slots=True)
class SphericalSpinGlass:
    r"""Spherical p-spin glass: all products of p spins coupled at random, on the sphere.

    .. math:: H = N^{-(p-1)/2} \sum J_{i_1 \dots i_p} s_{i_1} \dots s_{i_p}, \quad |s|^2 = N, \quad J \text{ normal}

    H has variance N. The mean number of critical points at the energy e per spin grows as
    :math:`e^{N \Theta(e)}`. All critical points of a fixed index (number of directions downwards) lie in the band from
    the ground state :math:`-E_0` to the threshold :math:`-E_\infty`; above it the index is a fraction of N.

    Attributes:
        p: spins in an interaction, at least 2.

    Raises:
        RequestError: for p that is not whole or below 2.

    Example:
        >>> glass = SphericalSpinGlass(3)
        >>> print(f"{glass.threshold_energy:.7f} {glass.ground_state():.7f} {glass.complexity(-1.645, index=0):.6f}")
        -1.6329932 -1.6569984 0.007130
    """

    p: int

    def __post_init__(self) -> None:  # noqa: D105
        whole("p", self.p, 2)

    @property
    def threshold_energy(self) -> float:
        r"""Energy :math:`-E_\infty = -2 \sqrt{(p-1)/p}` of the highest valleys, where those of all indices meet."""
        return -2 * sqrt((self.p - 1) / self.p)

    def ground_state(self, index: int = 0) -> float:
        r"""Lowest energy of critical points of an index: where their complexity vanishes; :math:`-E_0` for minima.

        All of them, for every index, are the threshold for p = 2, whose minima are the two leading eigenvectors.

        Raises:
            RequestError: for an index that is not a whole number, or negative.
        """
        whole("index", index, 0)
        if self.p == 2:
            return self.threshold_energy
        top = self.threshold_energy
        low = top - 1.0
        while self.complexity(low, index=index) > 0:
            low -= 1.0
        return float(brentq(lambda e: self.complexity(e, index=index), low, top, xtol=1e-14, rtol=1e-14))

    def complexity(self, energy: ArrayLike, index: int | None = None) -> Real:
        r"""Logarithm per spin of the mean number of critical points at an energy (Auffinger et al. 2013, section 2).

        .. math::
            \Theta_k = \tfrac12 \ln(p-1) - \frac{p-2}{4(p-1)} e^2 - (k+1) I(|e|), \quad
            I(u) = \frac{u}{E_\infty^2} \sqrt{u^2 - E_\infty^2} - \ln\frac{u + \sqrt{u^2 - E_\infty^2}}{E_\infty}

        from the threshold down. It is negative where the mean number vanishes with N.

        Args:
            energy: per spin, of any shape.
            index: k for critical points with k directions downwards, 0 for minima; None for all critical points, for
                which I stands once beyond the threshold on both sides and not at all between.

        Returns:
            The complexity; minus infinity above the threshold for a fixed index, where they are rarer than any
            exponential of N.

        Raises:
            RequestError: for energies that are not numbers, or an index that is not a whole number, or negative.
        """
        e = check_range("energy", energy, -_LARGEST, _LARGEST)
        edge = -self.threshold_energy
        quadratic = 0.5 * log(self.p - 1) - (self.p - 2) / (4 * (self.p - 1)) * e**2
        u = np.maximum(np.abs(e) / edge, 1.0)
        cost = u * np.sqrt((u - 1) * (u + 1)) - np.arccosh(u)
        if index is None:
            return (quadratic - cost)[()]
        copies = whole("index", index, 0) + 1
        return np.where(e <= -edge, quadratic - copies * cost, -inf)[()]

    def simulate(self, n: int, *, seed: int | np.random.Generator = 0, runs: int = 1000) -> Simulation:
        r"""Sample the exact mean number of critical points for n spins (Auffinger et al. 2013, theorem 2.1).

        By the Kac-Rice formula the Hessian at a critical point is a GOE matrix shifted by the energy, and that number
        is

        .. math:: 2 \sqrt{2/p} \, (p-1)^{n/2} \, E \sum_k e^{-n (p-2) \lambda_k^2 / (2p)},

        :math:`\lambda_0 < \lambda_1 < \dots` being the eigenvalues of an n x n GOE matrix with edges at
        :math:`\pm \sqrt 2`. The term k is the number of index k, at the energy
        :math:`E_\infty \lambda_k / \sqrt 2`.

        Args:
            n: number of spins, at least 2.
            seed: of all draws.
            runs: number of GOE matrices.

        Returns:
            Per matrix, `critical_points` and `minima`, whose means are the mean numbers, and `minima_energy`, the
            energies of the minima weighted by them: its mean over that of `minima` is their mean energy. No load: NaN.

        Raises:
            RequestError: for sizes that are not whole numbers, or too small.
        """
        n, runs = whole("n", n, 2), whole("runs", runs, 1)
        rng = np.random.default_rng(seed)
        p = self.p
        counts = np.empty((runs, n))
        lowest = np.empty(runs)
        for run in range(runs):
            a = rng.standard_normal((n, n))
            eigenvalues = np.linalg.eigvalsh((a + a.T) / (2 * sqrt(n)))
            counts[run] = 2 * sqrt(2 / p) * np.exp(n * (0.5 * log(p - 1) - (p - 2) / (2 * p) * eigenvalues**2))
            lowest[run] = -self.threshold_energy * eigenvalues[0] / sqrt(2)
        minima = counts[:, 0]
        samples = {"critical_points": counts.sum(axis=1), "minima": minima, "minima_energy": lowest * minima}
        return Simulation(f"critical points of the spherical {p:g}-spin glass", n, float("nan"), samples)


@dataclass(frozen=True, slots=True)
class RandomEnergyState:
    """Random energy model in equilibrium, per spin.

    Attributes:
        temperature: T.
        free_energy: f.
        energy: e.
        entropy: s, 0 from the transition down.
        participation: mean probability that two copies are in the same state, 0 from the transition up.
    """

    temperature: Real
    free_energy: Real
    energy: Real
    entropy: Real
    participation: Real


@dataclass(frozen=True, slots=True)
class RandomEnergyModel:
    r"""Random energy model: 2^N states with independent normal energies of variance N/2 (Derrida 1981).

    .. math:: f = -T \ln 2 - \frac{1}{4T}, \quad s = \ln 2 - \frac{1}{4 T^2} \quad \text{above} \quad
              T_c = \frac{1}{2 \sqrt{\ln 2}}

    Below, a few states hold all the weight: :math:`f = e = -\sqrt{\ln 2}`, s = 0, and two copies are in the same one
    with probability :math:`1 - T/T_c`.

    Example:
        >>> model = RandomEnergyModel()
        >>> state = model.solve([0.3, 1.0])
        >>> print(f"{model.critical_temperature:.6f}", state.energy.round(6), state.entropy.round(6))
        0.600561 [-0.832555 -0.5     ] [0.       0.443147]
    """

    @property
    def critical_temperature(self) -> float:
        """Temperature of the transition, where the entropy vanishes."""
        return 0.5 / sqrt(log(2))

    @property
    def ground_state(self) -> float:
        """Lowest energy per spin."""
        return -sqrt(log(2))

    def solve(self, temperature: ArrayLike) -> RandomEnergyState:
        """Give the state at each temperature, of any shape, 0 included.

        Raises:
            RequestError: for a negative temperature, or an infinite one.
        """
        temperature = check_range("temperature", temperature, 0.0)
        frozen = temperature <= self.critical_temperature
        t = np.maximum(temperature, self.critical_temperature)
        energy = np.where(frozen, self.ground_state, -0.5 / t)
        entropy = np.where(frozen, 0.0, log(2) - (0.5 / t) ** 2)
        participation = np.maximum(1 - temperature / self.critical_temperature, 0.0)
        free = energy - temperature * entropy
        return RandomEnergyState(temperature[()], free[()], energy[()], entropy[()], participation[()])

    def simulate(
        self, n: int, temperature: float, *, seed: int | np.random.Generator = 0, runs: int = 20
    ) -> Simulation:
        """Draw all 2^n energies and weigh them.

        Args:
            n: number of spins, at most 24.
            temperature: positive.
            seed: of all draws.
            runs: number of draws.

        Returns:
            `free_energy`, `energy`, `entropy` and `participation` of each draw. No load: NaN.

        Raises:
            RequestError: for an argument outside.
        """
        n, runs = whole("n", check_range("n", n, 1, _MOST_LEVELS), 1), whole("runs", runs, 1)
        t = float(check_range("temperature", temperature, 0.0, open_low=True))
        rng = np.random.default_rng(seed)
        draws = np.array([_weigh(sqrt(n / 2) * rng.standard_normal(1 << n), t) for _ in range(runs)]).T
        per_spin = draws[:3] / n
        samples = dict(zip(("free_energy", "energy", "entropy"), per_spin, strict=True))
        return Simulation("random energy model", n, float("nan"), samples | {"participation": draws[3]})


@dataclass(frozen=True, slots=True)
class SpinGlassState:
    """Replica-symmetric state of the Sherrington-Kirkpatrick model, per spin.

    Attributes:
        temperature: T.
        self_overlap: q, cosine of two configurations.
        magnetisation: mean spin.
        free_energy: f.
        energy: e.
        entropy: s; where it is negative the theory is certainly wrong.
        replicon: 1 - E sech^4 / T^2; where it is negative replica symmetry is unstable and the numbers are only those
            of an unphysical state (de Almeida and Thouless 1978).
        residual: error of the equation of q.
    """

    temperature: Real
    self_overlap: Real
    magnetisation: Real
    free_energy: Real
    energy: Real
    entropy: Real
    replicon: Real
    residual: Real


@dataclass(frozen=True, slots=True)
class SherringtonKirkpatrick:
    r"""Ising spins with all couplings normal, in a field (Sherrington and Kirkpatrick 1975); replica symmetric.

    .. math:: H = -N^{-1/2} \sum_{i<j} J_{ij} s_i s_j - h \sum_i s_i, \qquad q = E \tanh^2 x, \quad
              x = \frac{\sqrt q z + h}{T}, \quad f = -\frac{(1-q)^2}{4 T} - T \, E \ln 2 \cosh x

    with z normal. All averages have limits at T = 0, and none is a difference of large numbers: digits are not lost.
    Without field it is exact for T >= 1 and unstable everywhere below.

    Attributes:
        field: h, not negative.

    Raises:
        RequestError: for a negative field, or one above 1e100.

    Example:
        >>> energy, entropy = SherringtonKirkpatrick().ground_state()
        >>> print(f"{energy:.6f} {entropy:.6f}")
        -0.797885 -0.159155
    """

    field: float = 0.0

    def __post_init__(self) -> None:  # noqa: D105
        check_range("field", self.field, 0.0, _LARGEST)

    def ground_state(self) -> tuple[float, float]:
        r"""Energy and entropy per spin for T -> 0: :math:`-\sqrt{2/\pi}` and :math:`-1/(2\pi)` without field.

        The entropy of discrete spins cannot be negative: the energy is not that of the model, which is -.763166 without
        field (Parisi 1980), higher.
        """
        peak = 2 * float(phi(self.field))
        return -peak - self.field * float(erf(self.field / sqrt(2))), -0.25 * peak**2

    def almeida_thouless_temperature(self) -> float:
        r"""Temperature below which replica symmetry is unstable; 1 without field, falling with it.

        Strong fields have :math:`\tfrac43 \phi(h)`, less than any float from 39 on: 0. In weak ones the replicon
        vanishes like a square below 1, and of the digits of the temperature half are lost to that: 1e-8.

        Raises:
            ConvergenceError: if an overlap was not found.
        """
        limit = 4 / 3 * float(phi(self.field))
        if self.field == 0:
            return 1.0
        if self.field > _STRONG:
            return limit

        def instability(log_t: float) -> float:
            t = np.asarray(exp(log_t))
            q, _ = self._self_overlap(t)
            return float(np.log(averages(t, np.sqrt(q), self.field).sech4 / t))

        return exp(brentq(instability, log(limit) - 1, 1e-3, xtol=1e-14, rtol=1e-14))

    def solve(self, temperature: ArrayLike) -> SpinGlassState:
        """Give the state at each temperature, of any shape.

        Noise beyond twelve standard deviations are left out: in fields above 12 the replicon is 1 when it is cold.

        Raises:
            RequestError: for a temperature that is not positive and finite.
            ConvergenceError: if the overlap was not found.
        """
        t = check_range("temperature", temperature, 0.0, open_low=True)
        q, residual = self._self_overlap(t)
        with np.errstate(over="ignore"):  # 1 / T of the coldest, T / sqrt(q) of the hottest
            g = averages(t, np.sqrt(q), self.field)
            replicon = 1 - g.sech4 / t
        energy = -0.5 * g.sech2 * (1 + q) - self.field * g.tanh
        entropy = t * g.entropy - 0.25 * g.sech2**2
        numbers = (t, q, g.tanh, energy - t * entropy, energy, entropy, replicon, residual)
        return SpinGlassState(*(number[()] for number in numbers))

    def _self_overlap(self, t: Array) -> tuple[Array, Array]:
        """Give q at each temperature, and how far it is from solving its equation.

        The root is found in the logarithm of q / (1 - q), so that neither loses digits where it is small.
        """

        def excess(log_odds: Array, t: Array) -> Array:
            q, rest = expit(log_odds), expit(-log_odds)
            _, found, stiff = moments(t, np.sqrt(q), self.field)
            return np.asarray(np.where(log_odds < 0, np.log(found / q), np.log(rest / (t * stiff))))

        q, residual = np.zeros_like(t), np.zeros_like(t)
        with np.errstate(all="ignore"):  # what comes of it is refused
            drive = np.minimum(self.field / t, 1.0)
            glassy = (t < 1) | (drive > _FAINT)
            near = glassy & (self.field == 0) & (t > 1 - 1e-8)
            distance = 0.5 * (1 - t[near]) * (1 + t[near])
            q[near] = distance * (1 + 5 / 6 * distance)  # beyond, a root is not worse than rounding
            frozen = glassy & (excess(np.full_like(t, _FROZEN), t) > 0)
            q[frozen] = 1.0
            inner = glassy & ~near & ~frozen
            low = logit(0.01 * np.maximum(drive**2, 1 - t))[inner]
            if inner.any():
                result = find_root(excess, (low, np.full_like(low, _FROZEN)), args=(t[inner],))
                q[inner], residual[inner] = expit(result.x), np.abs(result.f_x)
                if not np.all(result.success):
                    at = t[inner][~result.success][0]
                    raise ConvergenceError(
                        f"Sherrington-Kirkpatrick: no overlap found at temperature {at:g} and field {self.field:g}"
                    )
        return q, residual


def _weigh(energies: Array, temperature: float) -> tuple[float, float, float, float]:
    """Free energy, energy, entropy and participation of a list of levels."""
    log_weights = -energies / temperature
    log_sum = float(logsumexp(log_weights))
    weights = np.exp(log_weights - log_sum)
    energy = float(weights @ energies)
    entropy = max(energy / temperature + log_sum, 0.0)  # rounding alone could take it below
    return -temperature * log_sum, energy, entropy, float(weights @ weights)
