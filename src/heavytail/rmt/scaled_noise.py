r"""Noise whose rows and columns differ in scale: entries of variance r_i c_j.

The resolvent of W^T W closes on two numbers (Hachem, Loubaton and Najim 2007; Couillet and Hachem 2014). With

.. math:: b = -\frac1z \sum_j \frac{c_j}{1 + c_j a}, \qquad a = -\frac1z \sum_i \frac{r_i}{1 + r_i b},

the sum over eigenvalues of 1/(x - z) is minus the sum over columns of 1 / (z (1 + c_j a)). To the right of the bulk a
is real and z has a minimum as a function of it: the edge. Its curvature there gives the density's square root, and
with it the scale of the Tracy-Widom law that the largest eigenvalue follows (El Karoui 2007).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, pi, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heavytail.rmt.edges import Edge
from heavytail.rmt.noise_bulk import NoiseBulk, allowance, critical, displaced_scale, outermost

__all__ = ["ScaledNoise", "count_beyond", "fit_scaled_bulk"]

_FINE, _COARSE = 4096, 48  # scales are taken together in so many groups: for the edge, and for the bulk
_POINTS = 64  # of the distribution function
_STEPS, _EXACT = 60, 1e-9  # of Newton's method for the edge; the error is of the order of the last step's square
_DESCENT = np.geomspace(3, 3e-4, 14)[2:]  # imaginary parts, in units of the edge, on the way to the real axis

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScaledNoise:
    """The spectrum of W^T W for independent entries of variance r_i c_j.

    Attributes:
        rows: (n, 2) the scales r and how many rows have each.
        columns: (m, 2) the scales c and how many columns have each.

    Example:
        >>> noise = ScaledNoise.of(np.ones(1000), np.ones(500))
        >>> print(f"{noise.edge().location:.3f} {(1000**0.5 + 500**0.5) ** 2:.3f}")
        2914.214 2914.214
    """

    rows: Vector
    columns: Vector

    @classmethod
    def of(cls, rows: ArrayLike, columns: ArrayLike) -> ScaledNoise:
        """Group the scales of all rows and columns.

        Args:
            rows: (N,) variances r_i, not negative, not all zero.
            columns: (M,) variances c_j, the same.

        Raises:
            ValueError: if a variance is negative or all are zero.
        """
        return cls(*(_grouped(_atoms(values, 1.0), _FINE) for values in (rows, columns)))

    def edge(self) -> Edge:
        """Law of the largest eigenvalue: the bulk's upper edge, and the scale of its fluctuations."""
        (r, n), (c, m) = self.rows.T, self.columns.T
        widest, tallest = float(r.max()), float(c.max())
        y, x = r / widest, c / tallest
        # With a = -t / max c, b = -s / max r and t, s in (0, 1) the equations are t f(t) = s g(s) and, at the edge,
        # A B = 1, where f = sum m x / (1 - t x) and A = d ln f / d ln t, and g and B are the same of the rows. In the
        # logarithms of t / (1 - t) and s / (1 - s) all four rise, and for equal scales they are linear.
        v = log((m @ x) / (n @ y)) / 2
        u = -v
        for _ in range(_STEPS):
            columns, rows = _side(x, m, u), _side(y, n, v)
            off, apart = columns.log_sum - rows.log_sum, log(columns.power * rows.power)
            det = columns.d_sum * rows.d_power + rows.d_sum * columns.d_power
            du = (off * rows.d_power + apart * rows.d_sum) / det
            dv = (apart * columns.d_sum - off * columns.d_power) / det
            u, v = u - min(max(du, -2.0), 2.0), v - min(max(dv, -2.0), 2.0)
            if abs(du) + abs(dv) <= _EXACT:
                break
        t, s = 1 / (1 + exp(-u)), 1 / (1 + exp(-v))
        f = exp(columns.log_sum) / t
        z = widest * tallest * f / s
        # Of z as a function of a: the slope of its first term, and the curvature.
        slope = tallest * f * (1 + columns.power) / z
        bend = (columns.d_power + rows.d_power * columns.d_sum / rows.d_sum) / (1 + rows.power)
        curvature = z * bend * (tallest / t) ** 2 * (1 + exp(u))
        # The number of eigenvalues within t of the edge is 2 k / (3 pi) t^(3/2).
        k = slope * sqrt(2 / max(curvature, 1e-300))
        return Edge(z, k ** (-2 / 3))

    def counts(self, edge: float) -> tuple[Vector, Vector]:
        """Tabulate the expected number of eigenvalues below x.

        Args:
            edge: where the bulk ends.

        Returns:
            Points x, ascending from 0 to a little beyond the edge, and the numbers, those of zeros included.
        """
        s = np.linspace(0, 1.02, _POINTS + 1) * sqrt(edge)
        density = np.append(0, 2 * s[1:] * self._density(s[1:] ** 2, edge))  # of s: bounded where that of x is not
        density[0] = density[1]
        below = np.append(0, np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(s)))
        total = float(self.columns[:, 1].sum())
        # Near a lower edge at zero the rule counts a per cent too many.
        return s**2, below + (total - below[-1]) if below[-1] < total else below * (total / below[-1])

    def _density(self, x: Vector, edge: float) -> Vector:
        """Number of eigenvalues a unit of x, continued from far above the axis, where the root is unique."""
        weighty = self.columns[self.columns[:, 0] > 0]  # a column of zeros is an eigenvalue of zero
        columns, rows = (_Resolvent.of(_grouped(atoms, _COARSE)) for atoms in (weighty, self.rows))
        a = b = np.zeros(x.shape, np.complex128)
        for height in _DESCENT:
            z = x + 1j * height * edge
            # Iterating the equations leads to the root where a and b have positive imaginary parts, and slowly; Newton
            # then finishes, where it stays on that side.
            for _ in range(3):
                b = columns.sums(a)[0] / -z
                a = rows.sums(b)[0] / -z
            for _ in range(3):
                (f, p), (g, q) = columns.sums(a), rows.sums(b)
                f, g = b + f / z, a + g / z
                fa, gb = columns.slopes(p) / z, rows.slopes(q) / z
                below = 1 - fa * gb
                da, db = (g - gb * f) / below, (f - fa * g) / below
                inside = ((a - da).imag > 0) & ((b - db).imag > 0)
                a, b = np.where(inside, a - da, a), np.where(inside, b - db, b)
        lost = ~inside | (np.abs(da) > 1e-3 * np.abs(a))
        c, m = columns.atoms
        each = -1 / (1 + np.multiply.outer(a, c)) / z[:, None]
        found = ~lost & (each.imag > -1e-9 * np.abs(each)).all(axis=1)
        if not found.any():
            raise ArithmeticError("the density of noise of these scales was not found")
        # Where Newton has lost the root the neighbours know the density.
        density = (each[found] @ m).imag / pi
        return np.asarray(np.interp(np.arange(x.size), np.flatnonzero(found), density))


@dataclass(frozen=True, slots=True)
class _Resolvent:
    """The sum of m c / (1 + c u) over one side's scales, in real numbers: complex quotients take twice as long."""

    atoms: Vector  # (2, groups): c and m
    basis: Vector  # c and 1
    weights: Vector  # m c

    @classmethod
    def of(cls, atoms: Vector) -> _Resolvent:
        c, m = atoms.T
        return cls(atoms.T, np.stack([c, np.ones_like(c)]), m * c)

    def sums(self, u: NDArray[np.complex128]) -> tuple[NDArray[np.complex128], Vector]:
        """Give the sum at each of (k,) points, and what its slope is made of."""
        k = u.size
        points = np.zeros((2 * k, 2))
        points[:k, 0], points[:k, 1], points[k:, 0] = u.real, 1, u.imag
        parts = points @ self.basis  # of 1 + c u, the real ones and the imaginary ones below; then of its conjugate
        real, imaginary = parts[:k], parts[k:]
        square = real * real
        square += imaginary * imaginary
        real /= square
        imaginary /= square
        total = parts @ self.weights
        return total[:k] - 1j * total[k:], parts

    def slopes(self, parts: Vector) -> NDArray[np.complex128]:
        """Give the derivative of the sum."""
        k = len(parts) // 2
        real, imaginary = parts[:k], parts[k:]
        weights = self.weights * self.basis[0]
        square = real * real
        square -= imaginary * imaginary
        return np.asarray(2j * ((real * imaginary) @ weights) - square @ weights)


class _Side(NamedTuple):
    """One side of the equations of the edge at a logit u of t, and its derivatives by u."""

    log_sum: float  # ln (t f)
    power: float  # A = d ln f / d ln t
    d_sum: float
    d_power: float  # of ln A


def _side(x: Vector, weights: Vector, u: float) -> _Side:
    t, rest = 1 / (1 + exp(-u)), 1 / (1 + exp(u))
    e = x / ((1 - x) + rest * x)
    weighted = weights * e
    first, second, third = float(weighted.sum()), float(weighted @ e), float(weighted @ (e * e))
    power = t * second / first
    return _Side(log(t * first), power, rest * (1 + power), rest * (1 + 2 * t * third / second - power))


def count_beyond(
    evals: Vector, N: int, M: int, rows: Vector, columns: Vector, removed: int, kurtosis: float, level: float
) -> int:
    """Count the spikes, the noise's scale being that of the mean of its eigenvalues; arguments of `fit_scaled_bulk`."""
    noise, edge = _noise(N, rows, columns, removed)
    variance = _mean_variance(evals, noise, removed)
    limit = float(edge.location) * outermost(N, M, kurtosis) + critical(level) * float(edge.scale)
    return int((evals > variance * limit).sum())


def fit_scaled_bulk(
    evals: Vector, N: int, M: int, rows: Vector, columns: Vector, removed: int, kurtosis: float, level: float
) -> NoiseBulk:
    """Find the scale of noise whose rows and columns have given relative variances, and count the spikes beyond it.

    Args:
        evals: (M,) eigenvalues of W^T W, ascending.
        N: larger dimension of W.
        M: smaller dimension.
        rows: relative variances of the rows, or of some of them that stand for all, of mean 1.
        columns: (M,) those of the columns, of mean 1.
        removed: number of the largest eigenvalues that are not of the bulk.
        kurtosis: excess kurtosis of the entries relative to their own variances.
        level: chance that noise alone shows a spike.

    Returns:
        The bulk; more of its spikes than `removed` mean that the scales should be measured again without them.
    """
    from scipy.optimize import minimize_scalar  # slow to import

    m = M - removed
    noise, edge = _noise(N, rows, columns, removed)
    x, n = noise.counts(float(edge.location))
    order = np.arange(0.5, m)
    lower = slice(0, max(2, int(0.9 * m)))

    def gaps(log_variance: float, part: slice) -> Vector:
        y = evals[:m][part] * np.exp(-log_variance)
        return np.where(y > x[2], np.interp(y, x, n) - order[part], 0)  # what is nearly zero has no order

    def mismatch(log_variance: float) -> float:
        return float((gaps(log_variance, lower) ** 2).sum())

    start = log(_mean_variance(evals, noise, removed))
    log_variance = float(minimize_scalar(mismatch, bounds=(start - 0.7, start + 0.7), method="bounded").x)
    variance = exp(log_variance)
    misfit = float(np.abs(gaps(log_variance, slice(None))).max()) / m
    allowed = allowance(m) + 1 / m  # the table is good to one place
    systematic = displaced_scale(N - removed, m, misfit - allowed)
    location = float(edge.location) * outermost(N, M, kurtosis) * (1 + 2 * systematic)
    threshold = variance * (location + critical(level) * float(edge.scale))
    return NoiseBulk(
        N=N,
        M=M,
        sigma=sqrt(variance),
        error=sqrt(2 * (1 + max(kurtosis, -2.0) / 2) / (N * M) + systematic**2),
        edge=float(edge.location) * variance * (1 + kurtosis / sqrt(N * M)),
        threshold=threshold,
        num_spikes=int((evals > threshold).sum()),
        score=(float(evals[-1]) / variance - location) / float(edge.scale),
        misfit=misfit,
        allowance=allowed,
        kurtosis=kurtosis,
        level=level,
        row_spread=float(np.std(rows)),
        column_spread=float(np.std(columns)),
        counts=(x * variance, n),
    )


def _noise(N: int, rows: Vector, columns: Vector, removed: int) -> tuple[ScaledNoise, Edge]:
    """Give the noise of N rows, some of which tell the scales, less the share that went with spikes, and its edge."""
    groups = (_atoms(rows, (N - removed) / len(rows)), _atoms(columns, 1 - removed / len(columns)))
    noise = ScaledNoise(*(_grouped(atoms, _FINE) for atoms in groups))
    return noise, noise.edge()


def _mean_variance(evals: Vector, noise: ScaledNoise, removed: int) -> float:
    (r, n), (c, m) = noise.rows.T, noise.columns.T
    return float(evals[: evals.size - removed].sum()) / (float(n @ r) * float(m @ c))


def _atoms(values: ArrayLike, weight: float) -> Vector:
    x = np.sort(np.asarray(values, np.float64))
    if x.size == 0 or not x[0] >= 0 or not 0 < x[-1] < np.inf:
        raise ValueError("variances must be finite, not negative, and not all zero")
    return np.column_stack([x, np.full(x.size, weight)])


def _grouped(atoms: Vector, most: int) -> Vector:
    """Take neighbouring scales, all of one weight, together."""
    if len(atoms) <= most:
        return atoms
    starts = np.linspace(0, len(atoms), most, endpoint=False).astype(np.intp)
    weights = np.add.reduceat(atoms[:, 1], starts)
    return np.column_stack([np.add.reduceat(atoms.prod(axis=1), starts) / weights, weights])
