r"""Eigenvalues of W^T W that are not computed but enclosed, for matrices too large for exact work.

Half of the passes settle the leading eigenvalues: block Lanczos from Gaussian vectors gives k Ritz values D with
orthonormal vectors Y. In the basis of Y and its complement A = W^T W is [[D, R^T], [R, B]], and no eigenvalue of A is
off those of D and B by more than |R|, nor by more than about |R|^2 / gap. The other half is spent on B, of size
m = M - k, which Y has made independent of all that follows. Its certificate has three parts. Let g_1, ..., g_s be fresh
Gaussian probes in the complement, P the projector on the eigenvectors of the i eigenvalues of B above x, and
U(x) = sum_j |P g_j|^2 / sum_j |g_j|^2 the share of the probes above x.

1. Chance. Gaussian vectors look the same in every basis, so U is what s i of s m squares of independent normal numbers
   are of all: exactly Beta(s i / 2, s (m - i) / 2). The eigenvectors in order give m + 1 nested projectors and no more.
   So with probability 1 - delta each of the m - 1 shares that are not 0 or 1 is between the quantiles
   delta / (2 (m - 1)) and 1 - delta / (2 (m - 1)) of its law, and then i is known to within an interval for all x at
   once: the x may be chosen with the probes in view.
2. Quadrature. U(x) is not known, but the passes enclose it, without chance: `lanczos.enclose`.
3. Rounding. The quadrature is that of a matrix B' with |B' - B| <= r (`Krylov.rounding`). By the sin-theta theorem of
   Davis and Kahan (1970), |P_B(above x + t) P_B'(not above x)| <= r / t. So the root of the share above x + t in B is
   at most r / t over that of the share above x in B', and likewise from below, and for 1 - U. With t = 2^20 r
   eigenvalues are blurred by some 1e-7 of the largest one of A, and the roots of shares by 2^-20.

Some bounds hold without chance: Ritz values are lower bounds (Cauchy's interlacing), and as all eigenvalues add up to
||W||_F^2, none is above its lower bound by more than the sum of all lower bounds leaves of that.

Chen, Trogdon and Ubaru (2021, arXiv:2105.06595) enclose a share as in 2, all of A's at once, and bound its chance by
2 sqrt(log(2 M / delta) / (s (M + 2))) for all x, which is at least twice the width in 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, log, log10, nan, sqrt

import numpy as np
from numpy.typing import NDArray

from heavytail.spectra.entries import Blocks
from heavytail.spectra.exact import block_rows, unit_roundoff
from heavytail.spectra.lanczos import Krylov, block_lanczos, enclose, jacobi

__all__ = ["Bounds", "CertifiedSpectrum", "approximate_spectrum", "memory", "operations"]

PROBES, STEPS, DELTA = 8, 64, 1e-3
_STREAM = 1992  # sets the probes apart from a matrix that was itself drawn with the same seed
_LEAK = 2.0**-20  # share of a probe that rounding may carry across the blur
_UNIT = 2.0**-53
_SETTLED = 2.0**-8  # joint residual of the leading Ritz values over the last of them
_TAIL, _BULK = 8, 48  # gaps of the tail, and points of the bulk, in which the measures get nodes

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bounds:
    """A number that is known to lie between two others."""

    lo: float
    hi: float

    def value(self, within: float) -> float:
        """Give the midpoint, or NaN where it may be off by more than some distance.

        Example:
            >>> Bounds(1.0, 1.5).value(0.25), Bounds(1.0, 1.5).value(0.1)
            (1.25, nan)
        """
        return (self.lo + self.hi) / 2 if self.hi - self.lo <= 2 * within else nan


@dataclass(frozen=True, slots=True)
class CertifiedSpectrum:
    """Bounds on all eigenvalues of W^T W that hold together with probability 1 - delta over the probes.

    Those of `norm` and `log_norm` and the lower ones of `lambda_max` and `log_spectral_norm` are certain.

    Attributes:
        N: number of rows.
        M: number of columns, and of eigenvalues.
        probes: number of random vectors.
        passes: how often the matrix was read.
        delta: probability that any of the bounds is broken.
        norm: ||W||_F^2, the sum of all eigenvalues.
        lower: (M,) lower bounds of the eigenvalues, ascending.
        upper: (M,) upper bounds of the eigenvalues, ascending.
        leading: (k,) the leading Ritz values that have settled, ascending.
        residual: their joint residual norm.
        nodes: (n,) points that stand for all eigenvalues.
        counts: (n,) for how many eigenvalues each stands, adding up to M: estimates, without a bound.
        rounding: what is allowed for rounding, an error in spectral norm (`Krylov.rounding`).
    """

    N: int
    M: int
    probes: int
    passes: int
    delta: float
    norm: Bounds
    lower: Vector
    upper: Vector
    leading: Vector
    residual: float
    nodes: Vector
    counts: Vector
    rounding: float

    def above(self, x: float) -> tuple[int, int]:
        """Give the least and the greatest number of eigenvalues above x, for any x, chosen in any way."""
        return int((self.lower > x).sum()), int((self.upper > x).sum())

    @property
    def lambda_max(self) -> Bounds:
        """Largest eigenvalue."""
        return Bounds(float(self.lower[-1]), float(self.upper[-1]))

    @property
    def log_norm(self) -> Bounds:
        """Decimal logarithm of the sum of all eigenvalues."""
        return _logarithm(self.norm)

    @property
    def log_spectral_norm(self) -> Bounds:
        """Decimal logarithm of the largest eigenvalue."""
        return _logarithm(self.lambda_max)

    @property
    def stable_rank(self) -> Bounds:
        """Sum of all eigenvalues over the largest."""
        top = self.lambda_max
        return Bounds(self.norm.lo / top.hi, self.norm.hi / top.lo) if top.lo > 0 else Bounds(nan, nan)

    def rank(self, dtype: str) -> tuple[int, int]:
        """Give the least and the greatest numerical rank, for the type that the matrix is stored in."""
        floor = self._floor(dtype)
        return self.above(floor.hi)[0], self.above(floor.lo)[1]

    def entropy(self, dtype: str) -> Bounds:
        """Bound the entropy of the normalised eigenvalues above the noise of rounding, over the log of their number.

        The function f(p) = -p log p is concave. Of all p between their bounds that add up to 1, its sum is greatest
        where all are as equal as the bounds let them be. It is at least the sum of the chords of f between the bounds,
        which is least where the p with the steepest fall are as large as can be. What is not above the noise, a share
        e at most, adds no more than its number times f, and the rest is normalised anew.
        """
        least, greatest = self.rank(dtype)
        p = self._floor(dtype).hi / self.norm.lo if self.norm.lo > 0 else inf
        lost = self.M - least
        e = lost * p
        if greatest < 2:
            return Bounds(0.0, 0.0)
        if least < 2 or e > 0.5:
            return Bounds(0.0, 1.0)
        lo, hi = self.lower / self.norm.hi, self.upper / self.norm.lo
        fewest = _least_entropy(lo, hi) - lost * float(_f(np.array(min(p, exp(-1))))) + log(1 - e)
        most = _greatest_entropy(lo, hi) / (1 - e)
        return Bounds(max(fewest, 0.0) / log(greatest), min(most / log(least), 1.0))

    def _floor(self, dtype: str) -> Bounds:
        """Bound the eigenvalue that rounding alone can reach, which is that of the exact spectrum's numerical rank."""
        unit = unit_roundoff(dtype)
        noise = (unit + 16 * min(unit, 2.0**-24)) * (1 / sqrt(self.N) + 1 / sqrt(self.M))
        top = self.lambda_max
        tolerance = [
            noise * sqrt(norm) + 2 * self.N * _UNIT * sqrt(largest)
            for norm, largest in ((self.norm.lo, top.lo), (self.norm.hi, top.hi))
        ]
        return Bounds(tolerance[0] ** 2, tolerance[1] ** 2)


def approximate_spectrum(
    rows: Blocks,
    N: int,
    M: int,
    *,
    probes: int = PROBES,
    steps: int = STEPS,
    seed: int = 0,
    delta: float = DELTA,
) -> CertifiedSpectrum:
    """Enclose all eigenvalues of W^T W, given a matrix that is only read, row by row, some times.

    Args:
        rows: the N x M matrix W, with N >= M.
        N: number of rows.
        M: number of columns.
        probes: number of random vectors: the number of eigenvalues above a value of the bulk is known to about
            sqrt(M / probes).
        steps: most passes over the matrix, at least 2: half for the leading eigenvalues and half for all others.
        seed: of the probes.
        delta: probability that any of the bounds is broken.

    Raises:
        MatrixError: if an entry is not finite, or the sum of their squares is not between 1e-150 and 1e150.

    Example:
        >>> W = np.random.default_rng(0).standard_normal((900, 300)) / 30
        >>> spectrum = approximate_spectrum(lambda r: [W], 900, 300, steps=40)
        >>> spectrum.lambda_max.hi / spectrum.lambda_max.lo < 1.05
        True
    """
    rng = np.random.default_rng((_STREAM, seed))
    krylov = block_lanczos(rows, N, M, rng.standard_normal((M, probes)), (steps + 1) // 2)
    norm, rounding, passes = krylov.norm, krylov.rounding, krylov.passes
    leading, Y, residual = _leading(krylov)
    ritz = np.linalg.eigvalsh(krylov.T)
    del krylov
    k = leading.size
    lower, upper, nodes, counts = (np.zeros(0),) * 4
    if k < M:
        rest = block_lanczos(rows, N, M, rng.standard_normal((M, probes)), max(steps // 2, 1), Y, rounding)
        passes += rest.passes
        slack = max(norm * (1 + (N + M) * _UNIT) - float(leading.sum()), 0.0) + k * rounding
        nodes, vectors = np.linalg.eigh(rest.T)
        counts = np.square(vectors.T @ rest.starts).sum(axis=1)
        counts *= (M - k) / counts.sum()
        lower, upper = _eigenvalue_bounds(rest, nodes, M - k, slack, delta)
    lower, upper = _joined(leading, lower, upper, residual, rounding)
    lower[M - ritz.size :] = np.maximum(lower[M - ritz.size :], ritz - rounding)
    lower = np.maximum.accumulate(np.maximum(lower, 0.0))
    error = (N + M) * _UNIT
    total = Bounds(norm * (1 - error), norm * (1 + error))
    upper = np.minimum(upper, lower + max(total.hi - float(lower.sum()), 0.0))
    return CertifiedSpectrum(
        N=N,
        M=M,
        probes=probes,
        passes=passes,
        delta=delta,
        norm=total,
        lower=lower,
        upper=np.minimum.accumulate(upper[::-1])[::-1],
        leading=leading,
        residual=residual,
        nodes=np.concatenate([nodes, leading]),
        counts=np.concatenate([counts, np.ones(k)]),
        rounding=rounding,
    )


def _leading(krylov: Krylov) -> tuple[Vector, Matrix, float]:
    """Give the leading Ritz values that have settled, ascending, with their vectors and joint residual norm."""
    ritz, C = np.linalg.eigh(krylov.T)
    R = krylov.E @ C
    k, residual = 0, 0.0
    while k < ritz.size:
        joint = float(np.linalg.norm(R[:, -1 - k :], 2)) if len(R) else 0.0
        if joint > max(_SETTLED * ritz[-1 - k], krylov.rounding):
            break
        k, residual = k + 1, joint
    first = ritz.size - k
    return ritz[first:], krylov.V @ C[:, first:], residual


def _joined(leading: Vector, lower: Vector, upper: Vector, residual: float, rounding: float) -> tuple[Vector, Vector]:
    """Bound the eigenvalues of [[D, R^T], [R, B]] from those of D and bounds on those of B.

    With |R| = r, the eigenvalues are off those of the two blocks by at most 2 r^2 / (gap + sqrt(gap^2 + 4 r^2)), in
    order, with the gap of each to all eigenvalues of the other block (Li and Li 2005): at most r, and
    r^2 / gap where there is a gap.
    """
    above = leading - upper.max(initial=-inf)
    below = leading.min(initial=inf) - upper
    lo = np.concatenate([lower - _off(below, residual), leading - _off(above, residual)])
    hi = np.concatenate([upper + _off(below, residual), leading + _off(above, residual)])
    return np.sort(lo) - rounding, np.sort(hi) + rounding


def _off(gap: Vector, residual: float) -> Vector:
    """Give 2 r^2 / (gap + sqrt(gap^2 + 4 r^2)) for gaps of which those below zero are none."""
    gap = np.maximum(gap, 0.0)
    with np.errstate(invalid="ignore"):
        root = gap + np.hypot(gap, 2 * residual)
        return np.asarray(np.divide(2 * residual**2, root, out=np.zeros_like(gap), where=root > 0))


def _eigenvalue_bounds(krylov: Krylov, ritz: Vector, M: int, total: float, delta: float) -> tuple[Vector, Vector]:
    """Give lower and upper bounds, ascending, of M eigenvalues that add up to no more than a total."""
    x, least, most = _shares(krylov, ritz)
    quantile_lo, quantile_hi = _quantiles(M, krylov.starts.shape[1], delta)
    # The i-th largest is at most x if the share above x is too small for i eigenvalues, and above x if it is too
    # large for i - 1. Both shares fall as x grows.
    first = np.searchsorted(-most, -quantile_lo[1:], side="right")
    last = np.searchsorted(-least, -quantile_hi[:-1], side="left") - 1
    upper = np.append(x, inf)[first]
    lower = np.where(last >= 0, x[np.maximum(last, 0)], 0.0)
    lower[: ritz.size] = np.maximum(lower[: ritz.size], ritz[::-1] - krylov.rounding)
    lower = np.maximum.accumulate(np.maximum(lower, 0.0)[::-1])
    upper = np.minimum.accumulate(np.minimum(upper, total / np.arange(1, M + 1)))[::-1]
    return lower, np.minimum(upper, lower + max(total - float(lower.sum()), 0.0))


def _shares(krylov: Krylov, ritz: Vector) -> tuple[Vector, Vector, Vector]:
    """Enclose the share of all probes above x: give ascending x, and for each the least and the greatest share."""
    blur = krylov.rounding / _LEAK
    measures = [jacobi(krylov, j) for j in range(krylov.starts.shape[1])]
    total = sum(measure.mass for measure in measures)
    grid = _grid(ritz)
    each = [enclose(measure, grid) for measure in measures]
    points = np.unique(np.concatenate([grid, *(shares.points for shares in each)]))
    least, most = np.zeros(points.size), np.zeros(points.size)
    for measure, shares in zip(measures, each, strict=True):
        # A grid point and the node that stands for it differ by rounding, which the blur covers.
        least += np.append(shares.least, 0.0)[np.searchsorted(shares.points, points - blur / 4)] * measure.mass / total
        after = np.searchsorted(shares.points, points + blur / 4, side="right")
        most += np.append(1.0, shares.most)[after] * measure.mass / total
    x = np.concatenate([points - 2 * blur, points + 2 * blur])
    order = np.argsort(x, kind="stable")
    least = np.append(_less(least), np.zeros(points.size))[order]
    most = np.append(np.ones(points.size), 1 - _less(1 - most))[order]
    return x[order], np.maximum.accumulate(least[::-1])[::-1], np.minimum.accumulate(most)


def _less(share: Vector) -> Vector:
    """Lower a share by what may have leaked into it, or out of what it leaves of 1, whichever says more."""
    from_it = np.square(np.maximum(np.sqrt(np.maximum(share, 0.0)) - _LEAK, 0.0))
    return np.asarray(np.maximum(from_it, 1 - np.square(np.sqrt(np.maximum(1 - share, 0.0)) + _LEAK)))


def _grid(ritz: Vector) -> Vector:
    """Choose where each probe's measure gets a node: in the gaps of the tail, and through the bulk."""
    top = ritz[::-1][:_TAIL]
    wide = np.append(ritz[-1] - ritz[0], top[:-1] - top[1:])  # the gap above each
    gaps = top[:, None] + wide[:, None] * 2.0 ** -np.array([1.0, 3.0, 6.0, 10.0, 16.0])
    bulk = ritz[np.linspace(0, ritz.size - 1, _BULK).astype(int)]
    return np.unique(np.concatenate([gaps.ravel(), bulk]))


def _quantiles(M: int, probes: int, delta: float) -> tuple[Vector, Vector]:
    """Give for m = 0..M what the share of the probes above m eigenvalues lies between, all at once."""
    from scipy.special import betaincinv

    m = np.arange(1, M)
    level = delta / (2 * max(M - 1, 1))
    lo = np.concatenate([[0.0], betaincinv(probes * m / 2, probes * (M - m) / 2, level), [1.0]])
    return lo, 1 - lo[::-1]


def _greatest_entropy(lo: Vector, hi: Vector) -> float:
    """Maximise the sum of -p log p over lo <= p <= hi, sum p = 1: p is one level, clipped to the bounds."""
    low, high = 0.0, 1.0
    for _ in range(60):
        level = (low + high) / 2
        low, high = (level, high) if np.clip(level, lo, hi).sum() < 1 else (low, level)
    return float(_f(np.clip(high, lo, hi)).sum())


def _least_entropy(lo: Vector, hi: Vector) -> float:
    """Bound the sum of -p log p from below over lo <= p <= hi, sum p = 1, by chords."""
    room = hi - lo
    ends = _f(lo), _f(hi)
    slopes = np.divide(ends[1] - ends[0], room, out=np.zeros_like(room), where=room > 0)
    order = np.argsort(slopes)
    left = max(1 - float(lo.sum()), 0.0)
    filled = np.clip(left - np.append(0.0, np.cumsum(room[order])[:-1]), 0.0, room[order])
    return float(ends[0].sum() + filled @ slopes[order])


def _f(p: Vector) -> Vector:
    """Give -p log p, which is 0 at 0."""
    return np.asarray(-p * np.log(np.where(p > 0, p, 1.0)))


def _logarithm(bounds: Bounds) -> Bounds:
    """Give the decimal logarithm; that of zero is NaN."""
    return Bounds(log10(bounds.lo), log10(bounds.hi)) if bounds.lo > 0 else Bounds(nan, nan)


def memory(N: int, M: int, probes: int = PROBES, steps: int = STEPS) -> int:
    """Give the most bytes that `approximate_spectrum` holds at a time, without what the rows' reader does.

    Two bases of half the passes each, or one and the leading vectors made of it; some blocks of vectors; two blocks of
    rows in float64, and what is solved within a basis.
    """
    d = min(M, probes * ((steps + 1) // 2))
    rows = min(block_rows(M), N)
    inner = 6 * d * d + 6 * probes * (5 * _TAIL + _BULK) * (steps // 2 + 2)
    return 8 * (2 * M * d + 8 * M * probes + rows * (2 * M + probes) + 16 * M + inner)


def operations(N: int, M: int, probes: int = PROBES, steps: int = STEPS) -> int:
    """Give the floating-point operations of `approximate_spectrum` at most: products with W, orthogonalisation, rules.

    Example:
        >>> N, M = 53248, 16384
        >>> exact = N * M**2 + 4 * M**3 // 3
        >>> exact / operations(N, M) > 5
        True
    """
    d = min(M, probes * ((steps + 1) // 2))
    rules = probes * (5 * _TAIL + _BULK) * 10 * (steps // 2 + 1) ** 3
    return 4 * N * M * probes * steps + 16 * M * d * d + 40 * d**3 + rules
