r"""Energy landscapes of glasses: how many valleys there are, at which energies, and what freezes in them.

- `SphericalSpinGlass`: the number of critical points at each energy and index, a model of the loss surface of a
  network (Auffinger, Ben Arous and Cerny 2013; Choromanska et al. 2015);
- `RandomEnergyModel`: independent energies, the simplest glass (Derrida 1981);
- `SherringtonKirkpatrick`: the replica-symmetric theory, and where it fails (Sherrington and Kirkpatrick 1975; de
  Almeida and Thouless 1978).

All energies are per spin and negative at the bottom.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log, sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.optimize.elementwise import find_root
from scipy.special import erf, logsumexp

from heavytail.errors import ConvergenceError, RequestError
from heavytail.learning._gauss import Array, Real, gaussian_rule, phi
from heavytail.learning.results import Simulation, check_range

__all__ = ["RandomEnergyModel", "RandomEnergyState", "SherringtonKirkpatrick", "SphericalSpinGlass", "SpinGlassState"]

_MOST_LEVELS = 24  # spins of the random energy model: 2^24 levels are an eighth of a gigabyte


@dataclass(frozen=True, slots=True)
class SphericalSpinGlass:
    r"""Spherical p-spin glass, H = N^{-(p-1)/2} \sum J_{i_1 ... i_p} s_{i_1} ... s_{i_p} on |s|^2 = N, J normal.

    H has variance N. The mean number of critical points at the energy e per spin grows as e^{N \Theta(e)}. All critical
    points of a fixed index (number of directions downwards) lie in the band from the ground state -E_0 to the
    threshold -E_\infty; above it the index is a fraction of N.

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
        check_range("p", self.p, 2)
        if self.p != int(self.p):
            raise RequestError(f"p is {self.p:g}; it must be whole")

    @property
    def threshold_energy(self) -> float:
        r"""Energy -E_\infty = -2 \sqrt{(p-1)/p} of the highest valleys, where those of all fixed indices meet."""
        return -2 * sqrt((self.p - 1) / self.p)

    def ground_state(self, index: int = 0) -> float:
        """Lowest energy of critical points of an index: where their complexity vanishes; -E_0 for minima.

        All of them, for every index, are the threshold for p = 2, whose minima are the two leading eigenvectors.

        Raises:
            RequestError: for a negative index.
        """
        check_range("index", index, 0)
        if self.p == 2:
            return self.threshold_energy
        top = self.threshold_energy
        low = top - 1.0
        while self.complexity(low, index=index) > 0:
            low -= 1.0
        return float(brentq(lambda e: self.complexity(e, index=index), low, top, xtol=1e-14, rtol=1e-14))

    def complexity(self, energy: ArrayLike, index: int | None = None) -> Real:
        r"""Logarithm per spin of the mean number of critical points at an energy (Auffinger et al. 2013, section 2).

        \Theta_k = \tfrac12 \ln(p-1) - \frac{p-2}{4(p-1)} e^2 - (k+1) I(|e|) from the threshold down, where
        I(u) = \frac{u}{E_\infty^2} \sqrt{u^2 - E_\infty^2} - \ln\frac{u + \sqrt{u^2 - E_\infty^2}}{E_\infty}. It is
        negative where the mean number vanishes with N.

        Args:
            energy: per spin, of any shape.
            index: k for critical points with k directions downwards, 0 for minima; None for all critical points, for
                which I stands once beyond the threshold on both sides and not at all between.

        Returns:
            The complexity; minus infinity above the threshold for a fixed index, where they are rarer than any
            exponential of N.

        Raises:
            RequestError: for a negative index.
        """
        e = np.asarray(energy, dtype=np.float64)
        edge = -self.threshold_energy
        quadratic = 0.5 * log(self.p - 1) - (self.p - 2) / (4 * (self.p - 1)) * e**2
        u = np.maximum(np.abs(e) / edge, 1.0)
        cost = u * np.sqrt((u - 1) * (u + 1)) - np.arccosh(u)
        if index is None:
            return (quadratic - cost)[()]
        check_range("index", index, 0)
        return np.where(e <= -edge, quadratic - (index + 1) * cost, -inf)[()]

    def simulate(self, n: int, *, seed: int | np.random.Generator = 0, runs: int = 1000) -> Simulation:
        r"""Sample the exact mean number of critical points for n spins (Auffinger et al. 2013, theorem 2.1).

        By the Kac-Rice formula the Hessian at a critical point is a GOE matrix shifted by the energy, and that number
        is 2 \sqrt{2/p} (p-1)^{n/2} E \sum_k e^{-n (p-2) \lambda_k^2 / (2p)}, \lambda_0 < \lambda_1 < ... the
        eigenvalues of an n x n GOE matrix with edges at \pm \sqrt 2; the term k is the number of index k, at the energy
        e = E_\infty \lambda_k / \sqrt 2.

        Args:
            n: number of spins, at least 2.
            seed: of all draws.
            runs: number of GOE matrices.

        Returns:
            Per matrix, `critical_points` and `minima`, whose means are the mean numbers, and `minima_energy`, the
            energies of the minima weighted by them: its mean over that of `minima` is their mean energy. No load: NaN.
        """
        check_range("n", n, 2)
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
        return Simulation(f"critical points of the spherical {p}-spin glass", n, float("nan"), samples)


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

    Above T_c = 1/(2 \sqrt{\ln 2}): f = -T \ln 2 - 1/(4T), s = \ln 2 - 1/(4T^2). Below, a few states hold all the
    weight: f = e = -\sqrt{\ln 2}, s = 0, and two copies are in the same one with probability 1 - T/T_c.

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
            RequestError: for a negative temperature.
        """
        temperature = check_range("temperature", temperature, 0.0)
        frozen = temperature <= self.critical_temperature
        t = np.maximum(temperature, self.critical_temperature)
        energy = np.where(frozen, self.ground_state, -0.5 / t)
        entropy = np.where(frozen, 0.0, log(2) - 0.25 / t**2)
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
        check_range("n", n, 1, _MOST_LEVELS)
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
    r"""Ising spins with all couplings normal, H = -N^{-1/2} \sum_{i<j} J_{ij} s_i s_j - h \sum_i s_i.

    Replica symmetric: q = \int Dz \tanh^2(b(\sqrt q z + h)), b = 1/T, and
    f = -\tfrac{b}{4} (1-q)^2 - T \int Dz \ln 2\cosh(b(\sqrt q z + h)) (Sherrington and Kirkpatrick 1975).
    Without field it is exact for T >= 1 and unstable everywhere below.

    Attributes:
        field: h, not negative.

    Raises:
        RequestError: for a negative field.

    Example:
        >>> energy, entropy = SherringtonKirkpatrick().ground_state()
        >>> print(f"{energy:.6f} {entropy:.6f}")
        -0.797885 -0.159155
    """

    field: float = 0.0

    def __post_init__(self) -> None:  # noqa: D105
        check_range("field", self.field, 0.0)

    def ground_state(self) -> tuple[float, float]:
        r"""Energy and entropy per spin for T -> 0: -\sqrt{2/\pi} and -1/(2\pi) without field.

        The entropy of discrete spins cannot be negative: the energy is not that of the model, which is -.763166 without
        field (Parisi 1980), higher.
        """
        peak = 2 * float(phi(self.field))
        return -peak - self.field * float(erf(self.field / sqrt(2))), -0.25 * peak**2

    def almeida_thouless_temperature(self) -> float:
        """Temperature below which replica symmetry is unstable; 1 without field, falling with it.

        Raises:
            ConvergenceError: for a field so strong that it lies below 0.001, from about 3.8 on.
        """
        if self.field == 0:
            return 1.0
        if self.solve(1e-3).replicon > 0:
            raise ConvergenceError(f"Almeida-Thouless line: below temperature 0.001 at the field {self.field:g}")
        return float(brentq(lambda t: self.solve(t).replicon, 1e-3, 1.0, xtol=1e-13, rtol=1e-13))

    def solve(self, temperature: ArrayLike) -> SpinGlassState:
        """Give the state at each temperature, of any shape.

        Raises:
            RequestError: for a temperature that is not positive.
            ConvergenceError: if the overlap was not found.
        """
        t = check_range("temperature", temperature, 0.0, open_low=True)
        q, residual = self._self_overlap(t)
        x, weight = self._fields(t, q)
        rest = np.sum(weight / np.cosh(np.minimum(np.abs(x), 300.0)) ** 2, axis=-1)
        magnetisation = np.sum(weight * np.tanh(x), axis=-1)
        free = -0.25 * rest**2 / t - t * np.sum(weight * np.logaddexp(x, -x), axis=-1)
        energy = -0.5 * rest * (1 + q) / t - self.field * magnetisation
        replicon = 1 - np.sum(weight / np.cosh(np.minimum(np.abs(x), 150.0)) ** 4, axis=-1) / t**2
        numbers = (t, q, magnetisation, free, energy, (energy - free) / t, replicon, residual)
        return SpinGlassState(*(number[()] for number in numbers))

    def _self_overlap(self, t: Array) -> tuple[Array, Array]:
        """Give q at each temperature, and how far it is from solving its equation."""

        def excess(log_q: Array, at: Array) -> Array:
            q = np.exp(log_q)
            x, weight = self._fields(at, q)
            return np.asarray(np.sum(weight * np.tanh(x) ** 2, axis=-1) / q - 1)

        q, residual = np.zeros_like(t), np.zeros_like(t)
        glassy = (t < 1) | (self.field > 0)
        if glassy.any():
            low, high = np.full_like(t[glassy], -60.0), np.zeros_like(t[glassy])
            result = find_root(excess, (low, high), args=(t[glassy],))
            if not np.all(result.success):
                raise ConvergenceError(f"Sherrington-Kirkpatrick: no overlap found at field {self.field:g}")
            q[glassy], residual[glassy] = np.exp(result.x), np.abs(result.f_x)
        return q, residual

    def _fields(self, t: Array, q: Array) -> tuple[Array, Array]:
        """Fields over the temperature on a spin, and their weights."""
        root = np.sqrt(q)
        safe = np.maximum(root, 1e-30)
        z, weight = gaussian_rule(np.clip(t / safe, 1e-12, 1e6), -self.field / safe)
        return (root[..., None] * z + self.field) / t[..., None], weight


def _weigh(energies: Array, temperature: float) -> tuple[float, float, float, float]:
    """Free energy, energy, entropy and participation of a list of levels."""
    log_weights = -energies / temperature
    log_sum = float(logsumexp(log_weights))
    weights = np.exp(log_weights - log_sum)
    energy = float(weights @ energies)
    entropy = max(energy / temperature + log_sum, 0.0)  # rounding alone could take it below
    return -temperature * log_sum, energy, entropy, float(weights @ weights)
