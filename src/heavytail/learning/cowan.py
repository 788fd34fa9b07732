r"""Cowan's neural network as a Hamiltonian system, with a temperature (Cowan 1967).

.. math:: \dot x_i = x_i (1 - x_i) \sum_j A_{ij} (x_j - q_j), \qquad A = -A^T, \quad v = \ln \frac{x}{1 - x}.

The flow keeps volumes in v (Liouville) and the sum over units of G_i = ln(1 + exp v_i) - q_i v_i, so that the law
exp(-b G) is stationary: each activity x_i is then a Beta variable, and all units have one temperature 1/b.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.special import digamma, expit, logit

from heavytail.errors import ConvergenceError, RequestError
from heavytail.learning._arguments import check_range, whole
from heavytail.learning._gauss import Array

__all__ = ["CowanNetwork", "CowanPath"]


@dataclass(frozen=True, slots=True, eq=False)
class CowanPath:
    """Activities of Cowan's network along a path.

    Attributes:
        mean: q_i, the activities at which the network rests, shape (n,).
        times: equally spaced, shape (samples,).
        activity: x_i in (0, 1), shape (samples, n).
        invariant: G, which a perfect integration keeps, shape (samples,).
    """

    mean: Array
    times: Array
    activity: Array
    invariant: Array

    @property
    def drift(self) -> float:
        """Largest change of the invariant along the path, relative to it."""
        return float(np.max(np.abs(self.invariant / self.invariant[0] - 1)))

    @property
    def inverse_temperature(self) -> Array:
        """Inverse temperature of each unit, b = q (1 - q) / var x - 1 about the mean q, shape (n,)."""
        variance = np.mean((self.activity - self.mean) ** 2, axis=0)
        return np.asarray(self.mean * (1 - self.mean) / variance - 1)


@dataclass(frozen=True, slots=True, eq=False)
class CowanNetwork:
    """Units with antisymmetric couplings.

    Attributes:
        coupling: A, antisymmetric, shape (n, n).
        mean: q_i, the activities at which the network rests and of its time averages, each in (0, 1), shape (n,).

    Raises:
        RequestError: for couplings that are not antisymmetric or means that are not as many numbers between 0 and 1.

    Example:
        >>> path = CowanNetwork.draw(6, seed=0).simulate(time=20.0, samples=5, seed=1)
        >>> path.activity.shape, path.drift < 1e-7
        ((5, 6), True)
    """

    coupling: Array
    mean: Array

    def __post_init__(self) -> None:  # noqa: D105
        A, q = np.asarray(self.coupling, dtype=np.float64), np.asarray(self.mean, dtype=np.float64)
        if A.ndim != 2 or A.shape != A.T.shape or not np.array_equal(A, -A.T):
            raise RequestError(f"coupling of shape {A.shape} is not an antisymmetric matrix")
        if q.shape != A.shape[:1] or not np.all((q > 0) & (q < 1)):
            raise RequestError(f"mean of shape {q.shape} is not {len(A)} numbers between 0 and 1")
        object.__setattr__(self, "coupling", A)
        object.__setattr__(self, "mean", q)

    @classmethod
    def draw(cls, n: int, *, seed: int | np.random.Generator = 0) -> CowanNetwork:
        """Draw a network of n units: normal couplings, and means that are uniform between 0.2 and 0.8.

        Raises:
            RequestError: unless n is a whole number and at least 1.
        """
        n, rng = whole("n", n, 1), np.random.default_rng(seed)
        upper = np.triu(rng.standard_normal((n, n)), 1)
        return cls(upper - upper.T, rng.uniform(0.2, 0.8, n))

    def velocity(self, v: ArrayLike) -> Array:
        """Give dv/dt of states v, of shape (..., n)."""
        return np.asarray((expit(v) - self.mean) @ self.coupling.T)

    def invariant(self, v: ArrayLike) -> Array:
        """Give G of states v, of shape (..., n): the sum of ln(1 + exp v) - q v, shape (...)."""
        return np.asarray(np.sum(np.logaddexp(0, v) - self.mean * np.asarray(v), axis=-1))

    def canonical_law(self, inverse_temperature: float) -> tuple[Array, Array]:
        """Both parameters of each unit's Beta law, b q and b (1 - q); its variance is q (1 - q) / (b + 1)."""
        b = float(check_range("inverse_temperature", inverse_temperature, 0, open_low=True))
        return b * self.mean, b * (1 - self.mean)

    def canonical_invariant(self, inverse_temperature: float) -> float:
        """Mean of G under the law exp(-b G)."""
        active, silent = self.canonical_law(inverse_temperature)
        q = self.mean
        return float(np.sum(digamma(inverse_temperature) - q * digamma(active) - (1 - q) * digamma(silent)))

    def state(self, inverse_temperature: float, *, seed: int | np.random.Generator = 0) -> Array:
        """Draw a state v of that temperature, shape (n,).

        It is drawn from the law exp(-b G), then moved along the ray from the state of rest to where G has its mean. A
        path stays on the surface of its G, whose temperature is b up to 1/n.

        Raises:
            RequestError: for an inverse temperature that is not positive and finite.
        """
        rng = np.random.default_rng(seed)
        active, silent = (
            # the logarithm of a Gamma variable, which may be less than any float
            np.log(rng.gamma(shape + 1)) - rng.exponential(size=len(shape)) / shape
            for shape in self.canonical_law(inverse_temperature)
        )
        rest, target = logit(self.mean), self.canonical_invariant(inverse_temperature)
        ray = active - silent - rest
        far = 1.0
        while self.invariant(rest + far * ray) < target:
            far *= 2
        return np.asarray(rest + brentq(lambda s: self.invariant(rest + s * ray) - target, 0, far, xtol=1e-13) * ray)

    def simulate(
        self,
        time: float = 3000.0,
        inverse_temperature: float = 3.0,
        *,
        seed: int | np.random.Generator = 0,
        samples: int = 6001,
        tolerance: float = 1e-9,
    ) -> CowanPath:
        """Follow a state of that temperature with an explicit Runge-Kutta method of order 8.

        Args:
            time: length of the path.
            inverse_temperature: b of the first state.
            seed: seed or generator of the first state.
            samples: number of equally spaced times at which the path is given.
            tolerance: relative, of each step.

        Raises:
            RequestError: unless the time, the inverse temperature and the tolerance are positive and there are at least
                two samples.
            ConvergenceError: if the integration failed.
        """
        check_range("tolerance", tolerance, 0, open_low=True)
        times = np.linspace(0, float(check_range("time", time, 0, open_low=True)), whole("samples", samples, 2))
        path = solve_ivp(
            lambda _, v: self.velocity(v),
            (0, time),
            self.state(inverse_temperature, seed=seed),
            method="DOP853",
            t_eval=times,
            rtol=tolerance,
            atol=tolerance,
        )
        if not path.success:
            raise ConvergenceError(f"Cowan's network: the path ends at time {path.t[-1]:g} of {time:g}: {path.message}")
        v = path.y.T
        return CowanPath(self.mean, times, expit(v), self.invariant(v))
