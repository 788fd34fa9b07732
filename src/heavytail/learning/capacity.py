"""Capacity: how many patterns a perceptron of N weights can store, and how many noisy examples it can fit.

A pattern is stored with margin kappa if its label times w . x / sqrt(N) exceeds kappa, where the inputs x are Gaussian
and w . w = N. The load is the number of patterns per weight.

- `cover_probability`: exact, for any numbers of patterns and of inputs (Cover 1965);
- `gardner_capacity`, `gardner_margin`: spherical weights, random labels (Gardner 1988);
- `SphericalStorage`, `IsingCapacity`: what is left of the weight space below capacity (Gardner and Derrida 1988; Krauth
  and Mezard 1989);
- `separable_load`, `separable_error`: examples of a teacher, some labels flipped;
- `simulate_separability`: finite systems.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import betainc, expit

from heavytail.errors import RequestError
from heavytail.learning._arguments import check_range, count_examples, whole
from heavytail.learning._counting import log_volume
from heavytail.learning._gauss import Array, H, Real, phi
from heavytail.learning._storage import (
    MOST_SPINS,
    branch_start,
    count_ising_solutions,
    invert_branch,
    maximum_margin,
    noisy_examples,
    spin_means,
    storing_means,
)
from heavytail.learning.results import Simulation

__all__ = [
    "IsingCapacity",
    "SphericalStorage",
    "StorageState",
    "cover_probability",
    "gardner_capacity",
    "gardner_margin",
    "separable_error",
    "separable_load",
    "simulate_separability",
]

_WIDEST = 5.0  # margin up to which the quadrature is exact to 1e-12 on the whole branch; the capacity is .038 there


def cover_probability(patterns: ArrayLike, n: ArrayLike) -> Real:
    r"""Probability that patterns in general position with random labels are linearly separable, no bias.

    .. math:: 2^{1-P} \sum_{j<N} \binom{P-1}{j} = I_{1/2}(P - N, N)

    (Cover 1965): that of at most N - 1 heads among P - 1 coins; 1 for P <= N. It is good to about 1e-16 sqrt(P).

    Args:
        patterns: P, whole and positive, of any shape.
        n: number of inputs N, whole and positive, of any shape that broadcasts.

    Raises:
        RequestError: for numbers that are not.

    Example:
        >>> print(f"{cover_probability(60, 30):.3f} {cover_probability(75, 30):.5f}")
        0.500 0.04025
    """
    more, n = np.broadcast_arrays(_whole("patterns", patterns) - _whole("n", n), n)
    return np.where(more > 0, betainc(np.maximum(more, 1), n, 0.5), 1.0)[()]


def gardner_capacity(margin: ArrayLike = 0.0) -> Real:
    r"""Patterns per weight that spherical weights can store with a margin (Gardner 1988).

    .. math:: 1 \Big/ \int_{-\kappa}^\infty Dt \, (t + \kappa)^2
              = \frac{1}{(1 + \kappa^2) H(-\kappa) + \kappa \phi(\kappa)}

    Args:
        margin: kappa, not negative, where replica symmetry holds; of any shape.

    Raises:
        RequestError: for a negative margin, or one above 1e150.

    Example:
        >>> print(gardner_capacity(0.0), f"{gardner_capacity(1.0):.6f}")
        2.0 0.519572
    """
    kappa = check_range("margin", margin, 0.0, 1e150)  # its square is a number
    return (1 / _mean_square(kappa))[()]


def gardner_margin(load: ArrayLike) -> Real:
    """Largest margin with which spherical weights can store this load: the inverse of `gardner_capacity`.

    Args:
        load: patterns per weight, positive and at most 2, of any shape.

    Raises:
        RequestError: for a load outside.

    Example:
        >>> print(f"{gardner_margin(1.0):.6f}")
        0.470655
    """
    target = 1 / check_range("load", load, 0.0, 2.0, open_low=True)
    kappa = np.sqrt(target)
    for _ in range(60):  # Newton from above on a convex function: monotone, quadratic at the end
        step = (_mean_square(kappa) - target) / (2 * (kappa * H(-kappa) + phi(kappa)))
        kappa = np.maximum(kappa - step, 0.0)
        if np.all(np.abs(step) <= 1e-15 * (1 + kappa)):
            break
    return kappa[()]


@dataclass(frozen=True, slots=True)
class StorageState:
    """Weights that store a load, replica symmetric.

    Attributes:
        load: patterns per weight.
        self_overlap: q, cosine of two weight vectors that store the same patterns.
        conjugate: qh, variance of the field on a weight.
        entropy: logarithm per weight of their number (Ising), or of their fraction of the sphere (spherical). For Ising
            weights it is negative above capacity: there are none, and the state is not physical.
        residual: relative error of the load at this q.
    """

    load: Real
    self_overlap: Real
    conjugate: Real
    entropy: Real
    residual: Real


@dataclass(frozen=True, slots=True)
class SphericalStorage:
    r"""Volume of the spherical weights that store random patterns with a margin (Gardner and Derrida 1988).

    .. math:: s = \tfrac12 \ln(1-q) + \frac{q}{2(1-q)} + a \int Dt \ln H(u), \quad
              u = \frac{\kappa - \sqrt q \, t}{\sqrt{1-q}},

    stationary in q, of which the load is an explicit function: :math:`a = q \big/ (1-q) \int Dt \, (\phi/H)^2(u)`.

    Attributes:
        margin: kappa, from 0, below which replica symmetry fails, to 5.

    Raises:
        RequestError: for a margin outside.

    Example:
        >>> state = SphericalStorage().solve(1.0)
        >>> print(f"{state.self_overlap:.6f} {state.entropy:.6f}")
        0.585312 -0.855821
    """

    margin: float = 0.0

    def __post_init__(self) -> None:  # noqa: D105
        check_range("margin", self.margin, 0.0, _WIDEST)

    def capacity(self) -> float:
        """Load at which the volume shrinks to a point: `gardner_capacity`."""
        return float(gardner_capacity(self.margin))

    def solve(self, load: ArrayLike) -> StorageState:
        """Give the state at each load, of any shape.

        Raises:
            RequestError: for a load that is not positive.
            ConvergenceError: for a load that reaches the capacity.
        """
        load = check_range("load", load, 0.0, open_low=True)
        logit = invert_branch("spherical storage", self._load, (branch_start(load, self.margin), 30.0), load)
        q, rest = expit(logit), expit(-logit)
        entropy = 0.5 * log_volume(q, rest) + load * storing_means(q, rest, self.margin)[1]
        residual = np.abs(self._load(logit) / load - 1)
        return StorageState(load[()], q[()], (q / rest**2)[()], entropy[()], residual[()])

    def simulate(self, n: int, load: float, *, seed: int | np.random.Generator = 0, runs: int = 50) -> Simulation:
        """Store random patterns in n weights.

        Args:
            n: number of weights.
            load: patterns per weight; their number is rounded.
            seed: of all draws.
            runs: number of draws.

        Returns:
            `margin`, the largest of each draw (0 if not separable), and `stored`, whether that is the model's margin.

        Raises:
            RequestError: for sizes outside.
            ConvergenceError: if the largest margin of a draw was not found.
        """
        drawn = simulate_separability(n, load, seed=seed, runs=runs)
        margins = drawn.samples["margin"]
        stored = (margins >= self.margin) & (margins > 0)
        return Simulation("spherical storage", drawn.n, drawn.load, {"stored": stored.astype(float), "margin": margins})

    def _load(self, logit: Array) -> Array:
        """Load of which q = expit(logit) is the solution."""
        q, rest = expit(logit), expit(-logit)
        return np.asarray(q / (rest * storing_means(q, rest, self.margin)[0]))


@dataclass(frozen=True, slots=True)
class IsingCapacity:
    r"""Number of the Ising weights that store random patterns with a margin (Krauth and Mezard 1989).

    .. math:: s = -\tfrac12 \hat q (1-q) + \int Dz \ln 2\cosh(\sqrt{\hat q} z) + a \int Dt \ln H(u), \quad
              u = \frac{\kappa - \sqrt q \, t}{\sqrt{1-q}}

    is stationary where q, load and entropy are explicit functions of :math:`\hat q`:

    .. math:: q = \int Dz \tanh^2(\sqrt{\hat q} z), \qquad a = \frac{\hat q (1-q)}{\int Dt \, (\phi/H)^2(u)}.

    Attributes:
        margin: kappa, from 0 to 5.

    Raises:
        RequestError: for a margin outside.

    Example:
        >>> model = IsingCapacity()
        >>> print(f"{model.capacity():.7f} {model.solve(model.capacity()).self_overlap:.6f}")
        0.8330786 0.563949
    """

    margin: float = 0.0

    def __post_init__(self) -> None:  # noqa: D105
        check_range("margin", self.margin, 0.0, _WIDEST)

    def capacity(self) -> float:
        """Load at which the entropy vanishes."""
        log_field = brentq(lambda x: self._branch(np.asarray(x))[2], -20.0, 20.0, xtol=1e-14, rtol=1e-14)
        return float(self._branch(np.asarray(log_field))[0])

    def solve(self, load: ArrayLike) -> StorageState:
        """Give the replica-symmetric state at each load, of any shape, above capacity too.

        Raises:
            RequestError: for a load that is not positive.
            ConvergenceError: where the equations have no solution, from 2/pi of Gardner's capacity on, where q = 1.
        """
        load = check_range("load", load, 0.0, open_low=True)
        branch = (branch_start(load, self.margin), 60.0)
        log_field = invert_branch("Ising storage", lambda x: self._branch(x)[0], branch, load)
        found, q, entropy = self._branch(log_field)
        residual = np.abs(found / load - 1)
        return StorageState(load[()], q[()], np.exp(log_field)[()], entropy[()], residual[()])

    def simulate(self, n: int, load: float, *, seed: int | np.random.Generator = 0, runs: int = 50) -> Simulation:
        """Store random patterns in n Ising weights, all 2^n of which are tried.

        Args:
            n: number of weights, at most 24.
            load: patterns per weight; their number is rounded.
            seed: of all draws.
            runs: number of draws.

        Returns:
            `solutions`, the number of weight vectors that store them, and `stored`, whether there is any.

        Raises:
            RequestError: for more weights than can be enumerated, or other sizes outside.
        """
        n, runs = whole("n", check_range("n", n, 1, MOST_SPINS), 1), whole("runs", runs, 1)
        patterns = count_examples(n, load)
        rng = np.random.default_rng(seed)
        counts = [count_ising_solutions(rng.standard_normal((patterns, n)), self.margin) for _ in range(runs)]
        solutions = np.array(counts, dtype=np.float64)
        stored = (solutions > 0).astype(float)
        return Simulation("Ising storage", n, patterns / n, {"stored": stored, "solutions": solutions})

    def _branch(self, log_field: Array) -> tuple[Array, Array, Array]:
        """Load, q and entropy where the conjugate qh is exp(log_field)."""
        field = np.exp(log_field)
        q, rest, free = spin_means(field)
        force, stored = storing_means(q, rest, self.margin)
        load = field * rest / force
        return load, q, free - 0.5 * field * rest + load * stored


def separable_load(label_noise: ArrayLike) -> Real:
    r"""Noisy examples of a teacher, per weight, up to which spherical weights fit them all, the flipped ones too.

    On this line of maximal stability at kappa = 0 the two order-parameter equations of Gardner's calculation with a
    noisy teacher collapse into one: with :math:`x = \pi \epsilon` the angle to the teacher,

    .. math:: \tan x - x = \frac{\pi \lambda}{1 - 2\lambda}, \qquad a = 2 + (\pi - 2x) \cot x.

    Above, training error zero is impossible; below, it is possible and overfits.

    Args:
        label_noise: lambda, probability that a label is flipped, in [0, 1/2], of any shape.

    Returns:
        The load: infinite without noise, 2 at 1/2, where the teacher says nothing.

    Raises:
        RequestError: for a probability outside.

    Example:
        >>> print(f"{separable_load(0.2):.4f} {separable_load(0.5):.1f}")
        2.3913 2.0
    """
    tangent = _separable_tangent(label_noise)
    with np.errstate(divide="ignore"):
        cotangent = 1 / tangent
    return (2 + 2 * cotangent * np.arctan(cotangent))[()]


def separable_error(label_noise: ArrayLike) -> Real:
    """Generalisation error, against the teacher, of the only student that fits all examples at `separable_load`.

    Args:
        label_noise: probability that a label is flipped, in [0, 1/2], of any shape.

    Raises:
        RequestError: for a probability outside.

    Example:
        >>> print(f"{separable_error(0.2):.4f} {separable_error(0.1):.4f}")
        0.3636 0.2927
    """
    return (np.arctan(_separable_tangent(label_noise)) / pi)[()]


def simulate_separability(
    n: int, load: float, label_noise: float = 0.5, *, seed: int | np.random.Generator = 0, runs: int = 50
) -> Simulation:
    """Fit noisy examples of a teacher with a perceptron of n inputs.

    Args:
        n: number of inputs.
        load: examples per input; their number is rounded.
        label_noise: probability that a label is flipped, in [0, 1/2]; at 1/2 the labels are random.
        seed: of all draws.
        runs: number of draws.

    Returns:
        `margin`, the largest of each draw (0 if not separable), and `separable`, whether it is positive.

    Raises:
        RequestError: for sizes or a probability outside.
        ConvergenceError: if the largest margin of a draw was not found.
    """
    n, runs = whole("n", n, 1), whole("runs", runs, 1)
    patterns = count_examples(n, load)
    noise = float(check_range("label_noise", label_noise, 0.0, 0.5))
    rng = np.random.default_rng(seed)
    margins = np.array([maximum_margin(noisy_examples(patterns, n, noise, rng)) for _ in range(runs)])
    separable = (margins > 0).astype(float)
    return Simulation("separability", n, patterns / n, {"separable": separable, "margin": margins})


def _mean_square(margin: Array) -> Array:
    """Integral of Dt (t + margin)^2 over the t that make the bracket positive."""
    return np.asarray((1 + margin * margin) * H(-margin) + margin * phi(margin))


def _separable_tangent(label_noise: ArrayLike) -> Array:
    """Tangent y of the angle to the teacher on the line of zero training error: y - arctan y = pi lam / (1 - 2 lam)."""
    noise = check_range("label_noise", label_noise, 0.0, 0.5)
    with np.errstate(divide="ignore"):
        c = np.asarray(pi * noise / (1 - 2 * noise))
    cube = np.cbrt(3 * c)
    y = np.asarray(cube + c)  # above the root, as tan z > z + z^3/3: Newton descends to it
    inner = np.isfinite(c) & (c > 0)
    for _ in range(60):
        x = y[inner]
        step = (_angle_gap(x) - c[inner]) * (1 + 1 / x**2)
        y[inner] = x - step
        if np.all(np.abs(step) <= 1e-15 * x):
            break
    return y


def _angle_gap(x: Array) -> Array:
    """Give x - arctan x with all its digits at small x too."""
    powers = np.arange(3, 24, 2)
    near = np.minimum(x, 0.2)[..., None]
    series = np.sum((-1.0) ** ((powers - 3) // 2) * near**powers / powers, axis=-1)
    return np.where(x < 0.2, series, x - np.arctan(x))


def _whole(name: str, value: ArrayLike) -> Array:
    """Give whole positive numbers as float64."""
    numbers = check_range(name, value, 1.0)
    broken = numbers != np.floor(numbers)
    if broken.any():
        raise RequestError(f"{name} is {numbers[broken].flat[0]:g}; it must be whole")
    return numbers
