r"""How well a linear rule can be inferred from as many noisy samples as it has parameters.

n = load P samples y = x w + e are given, x of independent entries of variance 1/P, e noise; the error of an estimate is
q = \|\hat w - w\|^2 / P, for P to infinity (El Karoui et al. 2013, Donoho and Montanari 2016, Advani and Ganguli 2016).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline
from scipy.special import expit, logit

from heavytail.errors import ConvergenceError
from heavytail.learning._additive_noise import noise_of
from heavytail.learning._arguments import check_name, check_number, check_range, check_sizes
from heavytail.learning._estimation import find, least_absolute, solve_clipped, solve_optimal
from heavytail.learning._gauss import Array, Real, gaussian_rule
from heavytail.learning.results import Simulation

__all__ = ["BayesEstimator", "BayesState", "EstimatorState", "MEstimator"]

_LOSSES = ("squares", "absolute", "huber", "optimal")
_PRIORS = ("gaussian", "sparse", "ising")


@dataclass(frozen=True, slots=True)
class EstimatorState:
    """Order parameters of an estimator that minimises a loss.

    Attributes:
        load: samples per parameter, of any shape.
        error: q, mean square error of a parameter, of the shape of `load`.
        proximal_scale: l of the proximal map of the loss, which takes residuals of new examples to those of the fit.
        residual: largest relative violation of the equations.
    """

    load: Real
    error: Real
    proximal_scale: Real
    residual: float


@dataclass(frozen=True, slots=True)
class MEstimator:
    r"""Estimate that minimises a sum of losses of the residuals, without a penalty.

    With x = e + \sqrt q z, z normal, and prox_l(x) the minimiser over r of loss(r) + (r - x)^2 / 2l,

    .. math:: E\,\mathrm{prox}_l'(x) = 1 - 1/a, \qquad q = a\,E\,(\mathrm{prox}_l(x) - x)^2.

    Of all losses the optimal one has the least error, q = 1 / (a J(q)) with J the Fisher information of x (Bean,
    Bickel, El Karoui and Yu 2013); it depends on the load. For both noises here it is convex.

    Attributes:
        loss: "squares", r^2/2; "absolute", |r|; "huber", squares up to the threshold and linear beyond; or "optimal".
        noise: "gaussian", of variance scale^2, or "laplace", of density exp(-|e|/scale) / (2 scale).
        scale: of the noise, positive.
        threshold: of Huber's loss, in units of the scale.

    Raises:
        RequestError: if an attribute is none of these; from the methods, for a load up to 1, where the samples can be
            fitted exactly and no loss has a minimum of its own.

    Example:
        >>> for loss in ("squares", "absolute", "optimal"):
        ...     print(f"{loss} {MEstimator(loss, 'laplace').solve(2.5).error:.4f}")
        squares 1.3333
        absolute 1.4535
        optimal 1.1619
    """

    loss: str
    noise: str = "gaussian"
    scale: float = 1.0
    threshold: float = 1.345

    def __post_init__(self) -> None:  # noqa: D105
        check_name("loss", self.loss, _LOSSES)
        noise_of(self.noise)
        check_number("scale", self.scale, 0, open_low=True)
        check_number("threshold", self.threshold, 0, open_low=True)

    def solve(self, load: ArrayLike) -> EstimatorState:
        """Solve for the error at each load.

        Raises:
            RequestError: if a load is not above 1.
            ConvergenceError: if the equations are not met.
        """
        load = check_range("load", load, 1, open_low=True)
        flat, noise = load.ravel(), noise_of(self.noise)
        residual = 0.0
        if self.loss == "squares":
            q, scale = noise.variance / (flat - 1), 1 / (flat - 1)
        elif self.loss == "optimal":
            q, residual = solve_optimal(noise, flat)
            scale = q * self.scale**2
        else:
            knee = self.threshold if self.loss == "huber" else 0.0
            q, width, residual = solve_clipped(noise, flat, knee)
            scale = width / knee if knee else width * self.scale
        return EstimatorState(
            load[()], (q * self.scale**2).reshape(load.shape)[()], scale.reshape(load.shape)[()], residual
        )

    def loss_at(self, residual: ArrayLike, load: float) -> Real:
        r"""Loss of residuals of any shape, 0 at 0; only the optimal loss depends on the load.

        That is the negative of a Moreau envelope (Advani and Ganguli 2016; p is the density of x):

        .. math:: \mathrm{loss}(r) = \max_y\,\left[ -\ln p(y) - (r - y)^2 / 2q \right] + \ln p(0).

        The maximum lies where r = E[e | x = y]. With the load from 1 to infinity the loss goes from the rate function
        of the noise, max_u r u - ln E exp(u e), to the negative log of its density.
        """
        r = np.abs(np.asarray(residual, dtype=np.float64)) / self.scale
        if self.loss == "squares":
            return (0.5 * np.square(r * self.scale))[()]
        if self.loss == "absolute":
            return (r * self.scale)[()]
        if self.loss == "huber":
            inner = np.minimum(r, self.threshold)
            return (self.scale**2 * inner * (r - 0.5 * inner))[()]
        noise, q = noise_of(self.noise), np.full_like(r, self._smoothing(load))
        y = find(lambda y, q, r: y + q * noise.score(y, q) - r, r, noise.source(r, q), (q, r), self._place(load))
        loss = noise.log_density(0 * q, q) - noise.log_density(y, q) - np.square(r - y) / (2 * q)
        return np.maximum(loss, 0.0)[()]

    def simulate(self, n: int, load: float, *, seed: int | np.random.Generator = 0, runs: int = 12) -> Simulation:
        """Fit random samples: by linear programming for absolute values, else by reweighted least squares.

        Args:
            n: number of parameters.
            load: samples per parameter, above 1.
            seed: of the samples, or a generator.
            runs: number of independent fits.

        Returns:
            The `error` of each.

        Raises:
            RequestError: if n and runs are no whole numbers from 1, or the samples not more than the parameters.
            ConvergenceError: if a fit does not end.
        """
        n, count, runs = check_sizes(n, load, runs)
        load = check_number("load", count / n, 1, open_low=True)
        rng, noise = np.random.default_rng(seed), noise_of(self.noise)
        errors = np.empty(runs)
        for run in range(runs):
            x = rng.standard_normal((count, n)) / sqrt(n)
            # the error is the same for all true weights: they are 0
            errors[run] = np.mean(np.square(self._fit(x, noise.draw(len(x), rng), load)))
        return Simulation(f"{self.loss}, {self.noise} noise", n, load, {"error": self.scale**2 * errors})

    def _fit(self, x: Array, y: Array, load: float) -> Array:
        """Weights that minimise the loss, at unit scale."""
        fit = _least_squares(x, y)
        if self.loss == "squares":
            return fit
        if self.loss == "absolute":
            return least_absolute(x, y)
        weight_of = self._weights(load, 2 * float(np.max(np.abs(y - x @ fit))))
        for _ in range(2000):
            root = np.sqrt(weight_of(np.abs(y - x @ fit)))
            before, fit = fit, _least_squares(x * root[:, None], y * root)
            if np.linalg.norm(fit - before) < 1e-9 * np.linalg.norm(fit):
                return fit
        raise ConvergenceError(f"{self._place(load)}: reweighted least squares has not converged in 2000 steps")

    def _weights(self, load: float, largest: float) -> Callable[[Array], Array]:
        """Give the function loss'(r) / r of residuals r from 0 to about the largest one seen."""
        if self.loss == "huber":
            return lambda r: self.threshold / np.maximum(r, self.threshold)
        noise, q = noise_of(self.noise), np.asarray(self._smoothing(load))
        y = np.sqrt(q) * np.sinh(np.linspace(1e-3, np.arcsinh(noise.source(np.asarray(largest), q) / np.sqrt(q)), 4000))
        slope = -noise.score(y, q)  # loss'(r) = (y - r) / q at r = E[e | x = y]
        return lambda r: np.interp(r, y - q * slope, slope / (y - q * slope))

    def _smoothing(self, load: float) -> float:
        """Variance q in units of the noise whose log density gives the optimal loss."""
        q = float(self.solve(check_number("load", load, 1, open_low=True)).error) / self.scale**2
        return min(q, 1e8)  # at load 1 the loss has its limit as 1/q, but rounding grows with q: eight digits are left

    def _place(self, load: float) -> str:
        return f"{self.loss} loss under {self.noise} noise at load {load}"


@dataclass(frozen=True, slots=True)
class BayesState:
    """Error of the best estimate.

    Attributes:
        load: samples per parameter, of any shape.
        error: mean square error of a parameter, of the shape of `load`: the least any estimate can have.
        message_passing_error: what approximate message passing reaches from no knowledge, the best known to polynomial
            algorithms; larger than `error` in the hard phase, where the equations have several solutions.
        residual: largest relative violation of the equations.
    """

    load: Real
    error: Real
    message_passing_error: Real
    residual: float


@dataclass(frozen=True, slots=True)
class BayesEstimator:
    r"""Posterior mean of parameters that are drawn from a known prior, under known noise.

    A parameter is seen as if alone, with a Gaussian noise of variance 1/\hat q:

    .. math:: \hat q = a\,J(q), \qquad q = \mathrm{mmse}(\hat q),

    J the Fisher information of e + \sqrt q z (Advani and Ganguli 2016). Of several solutions that of the least free
    energy, a K(q) - q \hat q / 2 + I(\hat q) with K' = J/2 and I' = mmse/2, is the posterior's.

    Attributes:
        prior: "gaussian"; "sparse", a fraction `sparsity` Gaussian and the others 0; or "ising", signs. Each has
            variance 1.
        noise: "gaussian", of variance scale^2, or "laplace", of density exp(-|e|/scale) / (2 scale).
        scale: of the noise, positive.
        sparsity: fraction of parameters that are not 0, for the sparse prior.

    Raises:
        RequestError: if an attribute is none of these.

    Example:
        >>> print(f"{BayesEstimator('gaussian', scale=0.2**0.5).solve(2.0).error:.8f}")
        0.14833148
    """

    prior: str
    noise: str = "gaussian"
    scale: float = 1.0
    sparsity: float = 0.1

    def __post_init__(self) -> None:  # noqa: D105
        check_name("prior", self.prior, _PRIORS)
        noise_of(self.noise)
        check_number("scale", self.scale, 0, open_low=True)
        check_number("sparsity", self.sparsity, 0, 1, open_low=True)

    def solve(self, load: ArrayLike) -> BayesState:
        """Solve for the error at each load, by the load as a function of the precision.

        Raises:
            RequestError: if a load is not positive.
            ConvergenceError: if the equations are not met.
        """
        load = check_range("load", load, 0, open_low=True)
        if not load.size:
            return BayesState(load, load, load, 0.0)
        flat, noise = load.ravel(), noise_of(self.noise)
        # 1 / (1 + variance) <= J <= precision bounds every solution
        low = 0.99 * float(flat.min()) / (1 + noise.variance * self.scale**2)
        high = 1.01 * float(flat.max()) * noise.precision / self.scale**2
        grid = np.linspace(np.log(low), np.log(high), 2000)
        q, loads = self._curve(np.exp(grid))
        above = np.log(loads) > np.log(flat)[:, None]
        which, at = np.nonzero(above[:, 1:] != above[:, :-1])
        mismatch = lambda u, a: np.log(self._curve(np.exp(u))[1] / a)  # noqa: E731
        root = find(mismatch, grid[at], grid[at + 1], (flat[which],), f"{self.prior} prior")
        error, found = self._curve(np.exp(root))
        # twice the free energy falls by the integral of (a J - q_hat) dq from one solution to another
        path = CubicSpline(grid, q)
        work = [
            CubicSpline(grid, f * path(grid, 1)).antiderivative()(root) for f in (np.exp(grid) / loads, np.exp(grid))
        ]
        energy = flat[which] * work[0] - work[1]
        best = np.array([error[which == i][np.argmin(energy[which == i])] for i in range(len(flat))])
        first = np.array([error[which == i][0] for i in range(len(flat))])
        residual = float(np.max(np.abs(found / flat[which] - 1)))
        return BayesState(load[()], best.reshape(load.shape)[()], first.reshape(load.shape)[()], residual)

    def simulate(self, n: int, load: float, *, seed: int | np.random.Generator = 0, runs: int = 4) -> Simulation:
        """Infer random parameters by approximate message passing (Donoho, Maleki and Montanari 2009, Rangan 2011).

        Its estimates have the error of the recursion q_hat = load J(q), q = mmse(q_hat) from q = 1, at each step, so in
        the end `message_passing_error`.

        Args:
            n: number of parameters.
            load: samples per parameter.
            seed: of parameters and samples, or a generator.
            runs: number of independent draws.

        Returns:
            The `error` of each.

        Raises:
            RequestError: if n and runs are no whole numbers from 1, or the load is less than one sample.
            ConvergenceError: if the recursion does not end.
        """
        n, count, runs = check_sizes(n, load, runs)
        load, rng, noise = count / n, np.random.default_rng(seed), noise_of(self.noise)
        steps, errors = self._recursion(load), np.empty(runs)
        for run in range(runs):
            w = self._draw(n, rng)
            x = rng.standard_normal((count, n)) / sqrt(n)
            y = x @ w + self.scale * noise.draw(len(x), rng)
            mean, pull = np.zeros(n), np.zeros(len(x))
            for q, precision in steps:
                field = x @ mean - q * pull
                pull = -noise.score((y - field) / self.scale, np.asarray(q / self.scale**2)) / self.scale
                mean = self._posterior_mean(mean + pull @ x / precision, precision)
            errors[run] = np.mean(np.square(mean - w))
        return Simulation(f"message passing, {self.prior} prior, {self.noise} noise", n, load, {"error": errors})

    def _recursion(self, load: float) -> list[tuple[float, float]]:
        """Errors q and the precisions that follow from them, step by step from q = 1 to where it rests."""
        noise, q, steps = noise_of(self.noise), 1.0, []
        for _ in range(10000):
            precision = load * float(noise.information(np.asarray(q / self.scale**2))) / self.scale**2
            steps.append((q, precision))
            before, q = q, float(self._mmse(np.array([precision]))[0])
            if q > 0.9999 * before or q < 1e-20:
                return steps
        raise ConvergenceError(
            f"message passing, {self.prior} prior, load {load:g}: it has not come to rest at error {q:g}"
        )

    def _draw(self, n: int, rng: np.random.Generator) -> Array:
        """Parameters from the prior, shape (n,)."""
        w = rng.standard_normal(n)
        if self.prior == "ising":
            return np.sign(w)
        return w * (rng.random(n) < self.sparsity) / sqrt(self.sparsity) if self.prior == "sparse" else w

    def _posterior_mean(self, seen: Array, precision: float) -> Array:
        """Mean of parameters that were seen once, with Gaussian noise of this precision."""
        if self.prior == "gaussian":
            return np.asarray(seen * precision / (1 + precision))
        if self.prior == "ising":
            return np.asarray(np.tanh(precision * seen))
        kept = precision / (self.sparsity + precision)
        odds = logit(self.sparsity) + 0.5 * (np.log1p(-kept) + precision * kept * np.square(seen))
        return np.asarray(expit(odds) * kept * seen)

    def _curve(self, precision: Array) -> tuple[Array, Array]:
        """Error and load where the parameters are seen with this precision, q_hat."""
        q = self._mmse(precision)
        return q, precision * self.scale**2 / noise_of(self.noise).information(q / self.scale**2)

    def _mmse(self, precision: Array) -> Array:
        """Mean square error of the posterior mean of a parameter, seen once."""
        if self.prior == "gaussian":
            return np.asarray(1 / (1 + precision))
        if self.prior == "ising":
            root = np.sqrt(precision)
            z, weight = gaussian_rule(1 / np.maximum(root, 1), -root)
            return np.asarray(2 * np.sum(weight * expit(-2 * root[:, None] * (root[:, None] + z)), axis=-1))
        k = precision / self.sparsity  # signal to noise of those that are not 0
        z, weight = gaussian_rule(1 / np.sqrt(1 + k))
        odds = logit(self.sparsity) - 0.5 * np.log1p(k)[:, None] + 0.5 * k[:, None] * z * z
        return np.asarray((1 + k * np.sum(weight * z * z * expit(-odds), axis=-1)) / (1 + k))


def _least_squares(x: Array, y: Array) -> Array:
    return np.asarray(np.linalg.lstsq(x, y, rcond=None)[0], dtype=np.float64)
