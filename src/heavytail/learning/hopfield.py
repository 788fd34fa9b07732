r"""The Hopfield network: patterns stored by Hebb's rule, in replica-symmetric theory.

n spins with couplings J_ij = (1/n) sum of xi_i xi_j over a n random patterns, J_ii = 0. Three phases:

- retrieval: the state has an overlap m with one pattern;
- spin glass: the spins freeze, in a state that has to do with no pattern;
- paramagnet: nothing freezes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import comb, log

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

from heavytail.errors import ConvergenceError, RequestError
from heavytail.learning import _memory_dynamics as dynamics
from heavytail.learning import _memory_theory as theory
from heavytail.learning._arguments import check_range, count_examples, whole
from heavytail.learning._gauss import Array, Real
from heavytail.learning._memory_theory import Order
from heavytail.learning.results import Simulation

__all__ = ["Hopfield", "MemoryPhases", "MemoryState"]

_LARGEST = 1e100  # of loads and temperatures, so that their squares are numbers
_HOTTEST = 1 - 1e-5  # of coexistence: nearer to T = 1 the free energies are too alike
_LEAST = 1e-10  # of loads on the lines of phases, for the same reason
_RESIDUAL = 1e-8  # beyond, a state is not given
_BRANCHES = ("retrieval", "spin glass", "paramagnet")


@dataclass(frozen=True, slots=True)
class MemoryState:
    """A state of the Hopfield network; every field is a float, or an array of the shape of loads and temperatures.

    Attributes:
        load: patterns per spin, a.
        temperature: T = 1/b.
        overlap: m, with the pattern that is retrieved.
        glass: q, the overlap of two replicas.
        noise: r, the variance of the overlaps with all other patterns, times n.
        susceptibility: C = b (1 - q).
        free_energy: of a spin.
        energy: of a spin.
        entropy: of a spin; negative values show that replica symmetry is broken.
        replicon: 1 - a b^2 E sech^4(b h) / (1 - C)^2; where it is negative, replica symmetry is broken.
        residual: largest relative error of the equations of m, q and r.
    """

    load: Real
    temperature: Real
    overlap: Real
    glass: Real
    noise: Real
    susceptibility: Real
    free_energy: Real
    energy: Real
    entropy: Real
    replicon: Real
    residual: Real


@dataclass(frozen=True, slots=True)
class MemoryPhases:
    """Temperatures at which the phases of the Hopfield network end; floats, or arrays of the shape of the loads.

    Retrieval is stable below `retrieval` and has the lowest free energy below `equilibrium`. In replica-symmetric
    theory both lines turn back at low temperature: from loads of 0.137906 and 0.051854 at T = 0 up to 0.138189 and
    0.053132. There the higher of the two temperatures is given, and NaN beyond. `Hopfield.capacity` and
    `Hopfield.coexistence` have the lines as functions of the temperature, which do not turn.

    The line T_R ends where it meets T_M, at a load of 0.138186. That is also the capacity at T = 0 with replica
    symmetry broken in one step (Steffan and Kuehn 1994): the turn of T_M is an artefact of the symmetry.

    Attributes:
        load: patterns per spin, a.
        glass: T_g = 1 + sqrt(a), below which spins freeze.
        retrieval: T_M, below which there is a retrieval state; NaN where there is none at any temperature.
        equilibrium: T_c, below which it is the global minimum of the free energy; NaN where it never is.
        broken: T_R, below which the retrieval state breaks replica symmetry; NaN where it does so as long as it exists.
    """

    load: Real
    glass: Real
    retrieval: Real
    equilibrium: Real
    broken: Real


@dataclass(frozen=True, slots=True)
class Hopfield:
    r"""Associative memory of n spins and a n random patterns, in the limit of large n.

    .. math:: m = \int Dz \tanh b (m + \sqrt{a r} z), \quad q = \int Dz \tanh^2 b (m + \sqrt{a r} z), \quad
              r = \frac{q}{(1 - b (1 - q))^2}

    (Amit, Gutfreund and Sompolinsky 1985, 1987). Where the `replicon` of a state is negative, replica symmetry is
    broken and its numbers are an approximation: close for retrieval, poor for the spin glass far below its line.

    Example:
        >>> state = Hopfield().solve([0.05, 0.1])
        >>> print(state.overlap.round(6))
        [0.999992 0.997999]
        >>> print(f"{Hopfield().capacity().load:.9f}")
        0.137905566
    """

    def solve(self, load: ArrayLike, temperature: ArrayLike = 0.0, branch: str = "retrieval") -> MemoryState:
        """Solve for a state.

        Args:
            load: patterns per spin, from 0, of any shape.
            temperature: from 0, of a shape that broadcasts with the loads.
            branch: "retrieval", "spin glass" or "paramagnet".

        Raises:
            RequestError: for a load or a temperature below 0, or an unknown branch; for the load 0 of the spin glass.
            ConvergenceError: where the state does not exist: retrieval above the capacity, a spin glass above
                1 + sqrt(load), a paramagnet below.
        """
        if branch not in _BRANCHES:
            raise RequestError(f"branch is {branch!r}; it must be one of {', '.join(_BRANCHES)}")
        loads = check_range("load", load, 0, _LARGEST, open_low=branch == "spin glass")
        a, T = np.broadcast_arrays(loads, check_range("temperature", temperature, 0, _LARGEST))
        if branch == "retrieval":
            return _retrieval(a, T)
        freezing = 1 + np.sqrt(a)
        if branch == "spin glass":
            _refuse(freezing <= T, branch, a, T, "it exists below 1 + sqrt(load)")
            return _state(a, T, theory.spin_glass(T, theory.glass_width(a, T)), 0.0)
        _refuse(freezing >= T, branch, a, T, "it is stable above 1 + sqrt(load)")
        zero, b = np.zeros(a.shape), 1 / T
        return _state(a, T, Order(zero, zero, b, zero, zero + log(2), 1 - a / (T - 1) ** 2), 0.0)

    def capacity(self, temperature: ArrayLike = 0.0) -> MemoryState:
        """Give the retrieval state of the largest load that has one, at temperatures in [0, 1) of any shape.

        At T = 0 the load is 0.137905566 and the overlap 0.967417 (Amit, Gutfreund and Sompolinsky 1987).

        Raises:
            RequestError: for a temperature below 0.
            ConvergenceError: for one of 1 or above, or nearer to it than the equations can be solved, about 1e-7.
        """
        T = check_range("temperature", temperature, 0)
        _refuse(T >= 1, "retrieval", np.zeros(T.shape), T, "it exists below temperature 1 at most")
        t, w = _fold(T)
        return _state(theory.load_at(t, w), T, theory.retrieval(t, w), 1.0)

    def coexistence(self, temperature: ArrayLike = 0.0) -> Real:
        """Load up to which retrieval is the global minimum of the free energy, at temperatures of any shape.

        Near T = 1 the free energies have most digits in common: the load is good to 1e-16 / (1 - T)^2 of itself.

        Raises:
            RequestError: for a temperature below 0 or above 0.99999.

        Example:
            >>> print(f"{Hopfield().coexistence():.6f}")
            0.051854
        """
        T = check_range("temperature", temperature, 0, _HOTTEST)

        def gap(w: Array, T: Array) -> Real:
            t = theory.scale(T, w)
            return _advantage(theory.load_at(t, w), t, w)

        w = theory.root(gap, 0.1, 0.4, T)
        t = theory.scale(T, w)
        return _state(theory.load_at(t, w), T, theory.retrieval(t, w), 1.0).load

    def phases(self, load: ArrayLike) -> MemoryPhases:
        """Give the temperatures at which the phases end, for loads from 0 of any shape.

        Raises:
            RequestError: for a load below 0, or between 0 and 1e-10.
        """
        a = check_range("load", load, 0, _LARGEST)
        check_range("load", np.where(a > 0, a, 1), _LEAST)
        lines = (_retrieval_line(a), _equilibrium_line(a), _broken_line(a))
        return MemoryPhases(a[()], (1 + np.sqrt(a))[()], *(line[()] for line in lines))

    def mixture_temperature(self, patterns: int) -> float:
        """Temperature below which equal mixtures of an odd number of patterns are stable, at a vanishing load.

        Such a state overlaps by m with each of them: m = E xi tanh(b m S), S the sum of so many random signs, and is
        stable while 1 - b (1 - q) > b E xi xi' tanh^2(b m S) (Amit, Gutfreund and Sompolinsky 1985).

        Raises:
            RequestError: unless the number of patterns is odd and at least 3; even mixtures are never stable.

        Example:
            >>> print(f"{Hopfield().mixture_temperature(3):.4f}")
            0.4598
        """
        n = whole("patterns", patterns, 1)
        if n < 3 or n % 2 == 0:
            raise RequestError(f"patterns is {n}; stable mixtures are of an odd number of patterns, at least 3")
        total = np.arange(n, -n - 1, -2.0)
        weight = np.array([comb(n, k) / 2**n for k in range(n + 1)])

        def stability(x: Array) -> Real:
            tanh = np.tanh(x[..., None] * total)
            sech2 = 1 - tanh * tanh
            cross = weight * (total**2 - n) / (n * (n - 1)) * tanh**2
            return np.sum(weight * total / n * tanh, -1) / x - np.sum(weight * sech2, -1) - np.sum(cross, -1)

        x = theory.root(stability, 1e-2, 40.0)  # x = m / T
        return float(np.sum(weight * total / n * np.tanh(x * total)) / x)

    def simulate(
        self,
        n: int,
        load: float,
        temperature: float = 0.0,
        *,
        seed: int | np.random.Generator = 0,
        runs: int = 8,
        overlap: float = 1.0,
        sweeps: int = 60,
    ) -> Simulation:
        """Simulate networks of n spins, each with its own patterns, one spin at a time.

        Args:
            n: number of spins.
            load: patterns per spin; their number is rounded, and the load of the result is what they are.
            temperature: 0 runs until no spin is against its field; above, Glauber's dynamics.
            seed: seed or generator.
            runs: number of networks.
            overlap: with the first pattern, at the start.
            sweeps: length of a run above T = 0; its second half is averaged.

        Returns:
            The "overlap" with the first pattern at the end of each run, or its average.

        Raises:
            RequestError: unless there are at least two spins, one pattern, one run and two sweeps, or for a temperature
                or an overlap out of range.
        """
        check_range("temperature", temperature, 0)
        check_range("overlap", overlap, -1, 1)
        n, runs, sweeps = whole("n", n, 2), whole("runs", runs, 1), whole("sweeps", sweeps, 2)
        patterns = count_examples(n, load)
        samples = np.empty(runs)
        for k, rng in enumerate(np.random.default_rng(seed).spawn(runs)):
            pattern, coupling, spins = dynamics.start(n, patterns, overlap, rng)
            if temperature > 0:
                samples[k] = dynamics.thermal_overlap(coupling, spins, pattern, temperature, sweeps, rng)
            else:
                samples[k] = dynamics.relax(coupling, spins) @ pattern / n
        return Simulation("Hopfield", n, patterns / n, {"overlap": samples})


def _refuse(where: np.ndarray, branch: str, load: Array, temperature: Array, reason: str) -> None:
    """Raise an error that names the first load and temperature that has no such state."""
    if np.any(where):
        k = int(np.argmax(where))
        at = f"load {load.flat[k]:g} and temperature {temperature.flat[k]:g}"
        raise ConvergenceError(f"Hopfield network: no {branch} at {at}; {reason}")


def _fold(T: Array) -> tuple[Array, Array]:
    """Scale and noise ratio of the most loaded retrieval state at temperatures of any shape, many of them equal."""
    distinct, where = np.unique(T, return_inverse=True)
    w = theory.fold(distinct)
    t = theory.scale(distinct, w)
    return t[where].reshape(T.shape), w[where].reshape(T.shape)


def _retrieval(a: Array, T: Array) -> MemoryState:
    _refuse(T >= 1, "retrieval", a, T, "it exists below temperature 1 at most")
    t, w = _fold(T)
    largest = theory.load_at(t, w)
    excess = a > largest * (1 + 1e-12)
    limits = np.broadcast_to(largest, a.shape)[excess]
    _refuse(excess, "retrieval", a, T, f"the largest load there is {limits.flat[0] if limits.size else 0:.6g}")
    between = (a > 0) & (a < largest * (1 - 1e-14))
    w = np.where(a > 0, w, 0.0)
    w[between] = theory.noise_ratio(a[between], T[between], w[between])
    return _state(a, T, theory.retrieval(theory.scale(T, w), w), 1.0)


def _state(a: Array, T: Array, order: Order, signal: float) -> MemoryState:
    """Give the state of these order parameters; put them into their equations once more for the residual.

    Raises:
        ConvergenceError: if they do not solve them.
    """
    m, q, c = order.overlap, order.glass, order.susceptibility
    residual = np.zeros(np.shape(q))
    with np.errstate(divide="ignore", invalid="ignore"):  # what comes of it is refused
        r = np.where(a > 0, order.variance / a, q / (1 - c) ** 2)
        if np.any(q):
            unit = m if signal else np.sqrt(a * r)
            g = theory.averages(T / unit, np.sqrt(a * r) / unit, signal)
            errors = ((g.tanh - m) / unit, g.tanh2 / q - 1, g.tanh2 / (1 - g.sech2 / unit) ** 2 / r - 1)
            residual = np.max(np.abs(errors), axis=0)
        thermodynamics = order.free_energy(a, T), order.energy(a), order.entropy(a)
    _refuse(~(residual <= _RESIDUAL), "solution", a, T, f"the residual there is above {_RESIDUAL:g}")
    return MemoryState(
        *(np.array(field)[()] for field in (a, T, np.minimum(m, 1), q, r, c, *thermodynamics, order.replicon, residual))
    )


def _advantage(a: Real, t: Real, w: Real) -> Real:
    """Free energy of the retrieval state of load a, at the scale t and the noise ratio w, above that of the glass."""
    state = theory.retrieval(t, w)
    T = t * state.overlap
    glass = theory.spin_glass(T, theory.glass_width(a, T))
    return state.free_energy(a, T) - glass.free_energy(a, T)


def _on_line(a: Array, largest: float, at_zero: float, solve: Callable[[Array], Real]) -> Array:
    """Give `at_zero` at load 0, solve(load) up to the largest load of a line, and NaN beyond."""
    line = np.where(a > 0, np.nan, at_zero)
    inside = (a > 0) & (a <= largest)
    if inside.any():
        line[inside] = solve(a[inside])
    return line


def _fold_at(t: Real) -> Real:
    """Noise ratio of the fold at the scale t."""
    return theory.root(lambda w, t: theory.slope(t, w), *theory.FOLD, t)


@lru_cache(maxsize=1)
def _retrieval_turn() -> tuple[float, float]:
    """Scale and load at which the line of the folds turns back."""
    turn = minimize_scalar(lambda t: -float(theory.load_at(t, _fold_at(t))), bounds=(0.01, 0.05), method="bounded")
    return float(turn.x), -float(turn.fun)


def _retrieval_line(a: Array) -> Array:
    """T_M: the temperature of the fold whose load is a."""
    turn, largest = _retrieval_turn()

    def solve(a: Real) -> Real:
        t = theory.root(lambda t, a: np.log(theory.load_at(t, _fold_at(t)) / a), turn, 1 + a**-0.25, a)
        return t * theory.averages(t, _fold_at(t)).tanh

    return _on_line(a, largest * (1 - 1e-12), 1.0, solve)


@lru_cache(maxsize=1)
def _equilibrium_turn() -> tuple[float, float]:
    """Scale and load at which the line of equal free energies turns back."""
    loads = Hopfield().coexistence
    turn = minimize_scalar(lambda T: -float(loads(T)), bounds=(0.05, 0.12), method="bounded", options={"xatol": 1e-7})
    state = Hopfield().solve(-turn.fun, turn.x)
    return float(turn.x / state.overlap), float(state.load)


def _equilibrium_line(a: Array) -> Array:
    """T_c: the temperature at which retrieval and spin glass of load a have the same free energy."""
    turn, largest = _equilibrium_turn()

    def ratio(t: Real, a: Real) -> Real:
        return theory.root(lambda w, t, a: theory.load_at(t, w) - a, 0.0, 0.41, t, a)

    def solve(a: Real) -> Real:
        hottest = theory.root(lambda t, a: theory.load_at(t, 0.4) / a - 1, turn, 1 + a**-0.25, a)
        t = theory.root(lambda t, a: _advantage(a, t, ratio(t, a)), turn, hottest, a)
        return t * theory.averages(t, ratio(t, a)).tanh

    return _on_line(a, largest * (1 - 1e-12), 1.0, solve)


@lru_cache(maxsize=1)
def _broken_end() -> tuple[float, float]:
    """Noise ratio and load at which the line of marginal states meets that of the folds."""
    w = theory.root(lambda w: theory.slope(theory.marginal_scale(w), w), *theory.FOLD)
    return float(w), float(theory.load_at(theory.marginal_scale(w), w))


def _broken_line(a: Array) -> Array:
    """T_R: the temperature at which the retrieval state of load a becomes unstable to replica-symmetry breaking."""
    end, largest = _broken_end()

    def solve(a: Real) -> Real:
        def mismatch(w: Real, a: Real) -> Real:
            return theory.load_at(theory.marginal_scale(w), w) / a - 1

        w = theory.root(mismatch, 0.5 * np.sqrt(a), end, a)
        t = theory.marginal_scale(w)
        return t * theory.averages(t, w).tanh

    return _on_line(a, largest * (1 - 1e-12), 0.0, solve)
