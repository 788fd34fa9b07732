"""What noise of a layer's shape would show, and how far the layer is from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import exp, expm1, log1p, nan, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heavytail.diagnosis.shuffles import Shuffles
from heavytail.rmt.edges import largest_eigenvalue
from heavytail.rmt.noise_bulk import MAX_SPIKES, MIN_SIZE, NoiseBulk, fit_noise_bulk
from heavytail.rmt.scaled_noise import count_beyond, fit_scaled_bulk
from heavytail.spectra.entries import Blocks, Entries, leading_vectors, measure_entries
from heavytail.spectra.exact import block_rows
from heavytail.spectra.spectrum import Spectrum
from heavytail.weights.tensor import Array

__all__ = ["HELD", "LEVEL", "Noise", "find_noise", "sampling_step", "spacing_ratio"]

LEVEL = 0.01
"""Chance that a layer of pure noise shows a spike."""

_NEGLIGIBLE = 0.05  # share of the edge's width by which the kurtosis may move it without a new fit
_TURNS = 4  # at most so often scales and spikes are told apart: by then they change little
_FENCE, _FEW = 3.0, 0.02  # Tukey's outer fence, in distances of quartiles; and the share of lines that may be beyond it
_ROWS = 4096  # at least so many rows, evenly spread, tell scales and kurtosis where there are more
HELD = 32 << 20
"""Bytes of rows that are held in float64; what takes more is read again as often as needed."""
_DEFLATED = 16  # at most so many spikes are taken out of a matrix before the kurtosis of its noise is measured

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Noise:
    """The noise of one row of the table.

    Attributes:
        bulks: the best noise bulk of each of the row's matrices; none where the row cannot have one.
        reason: why the row has no bulk; empty if each of its matrices has one.
        spacing_ratio: mean ratio of neighbouring level spacings, the smaller over the larger, of the bulk, or of all
            levels where there is none: 0.5307 where they repel as those of real random matrices, 0.3863 where they are
            independent (Atas et al. 2013).
        spacing_error: standard error of that mean.
        shuffles: what shuffled copies show, where they were asked for.
    """

    bulks: tuple[NoiseBulk, ...]
    reason: str
    spacing_ratio: float
    spacing_error: float
    shuffles: Shuffles | None = None

    @property
    def p_value(self) -> float:
        """Chance that noise has a largest eigenvalue like one of the row's, corrected for their number."""
        if not self.bulks:
            return nan
        smallest = min(bulk.p_value for bulk in self.bulks)
        return -expm1(len(self.bulks) * log1p(-min(smallest, 1 - 1e-16)))

    def columns(self, spectrum: Spectrum) -> dict[str, Any]:
        """Give the columns of the table."""
        found: dict[str, Any] = {}
        if self.shuffles is not None:
            found |= {"num_traps": self.shuffles.num_traps, "rand_distance": self.shuffles.distance}
        if self.reason:
            return found
        edge = max(bulk.edge for bulk in self.bulks)
        variance = sum(bulk.sigma**2 * bulk.N * bulk.M for bulk in self.bulks)
        return found | {
            "sigma_mp": sqrt(variance / float(spectrum.evals.sum())),
            "bulk_edge": edge,
            "mp_softrank": min(
                bulk.edge / float(evals[-1]) for bulk, evals in zip(self.bulks, spectrum.by_matrix, strict=True)
            ),
            "num_spikes": sum(bulk.num_spikes for bulk in self.bulks),
        }

    def as_dict(self) -> dict[str, Any]:
        """Give the evidence as plain values, for JSON."""
        return {
            "reason": self.reason,
            "p_value": self.p_value,
            "spacing_ratio": self.spacing_ratio,
            "spacing_error": self.spacing_error,
            "bulks": [_bulk_dict(bulk) for bulk in self.bulks],
            "shuffles": None if self.shuffles is None else self.shuffles.as_dict(),
        }


def _bulk_dict(bulk: NoiseBulk) -> dict[str, Any]:
    half = 0.98 * bulk.error  # of sigma, whose relative error is half of that of its square
    return {
        "sigma": bulk.sigma,
        "sigma_lo": bulk.sigma * max(0.0, 1 - half),
        "sigma_hi": bulk.sigma * (1 + half),
        "edge": bulk.edge,
        "threshold": bulk.threshold,
        "num_spikes": bulk.num_spikes,
        "p_value": bulk.p_value,
        "misfit": bulk.misfit,
        "allowance": bulk.allowance,
        "kurtosis": bulk.kurtosis,
        "row_spread": bulk.row_spread,
        "column_spread": bulk.column_spread,
        "problem": bulk.problem,
    }


def find_noise(spectrum: Spectrum, matrices: Sequence[Blocks], shuffles: Shuffles | None = None) -> Noise:
    """Find the noise under a row's spectrum.

    Args:
        spectrum: the row's spectrum.
        matrices: its matrices, N x M each, for the scales and the kurtosis of their entries.
        shuffles: what shuffled copies of them show, carried along.

    Example:
        >>> from heavytail.spectra.exact import spectrum_of_stack
        >>> W = np.random.default_rng(0).standard_normal((300, 100))
        >>> noise = find_noise(spectrum_of_stack(W[None], "float64"), [lambda r: [W]])
        >>> noise.reason, noise.bulks[0].num_spikes, round(noise.bulks[0].sigma, 2)
        ('', 0, 1.0)
    """
    bulks, reason = _bulks(spectrum, matrices)
    levels = list(spectrum.by_matrix)
    if not reason:  # spikes are no levels of the bulk
        levels = [evals[: evals.size - bulk.num_spikes] for evals, bulk in zip(levels, bulks, strict=True)]
    ratio, error = spacing_ratio(levels, spectrum.floor)
    return Noise(bulks, reason, ratio, error, shuffles)


def sampling_step(N: int) -> int:
    """Give the step of the rows that tell scales and kurtosis: every one up to some thousand of them."""
    return max(1, N // _ROWS)


def spacing_ratio(evals: Iterable[Vector], floor: float = 0.0) -> tuple[float, float]:
    """Give the mean ratio of neighbouring level spacings and its standard error; it needs no unfolding.

    Args:
        evals: eigenvalues of one matrix after the other, each ascending.
        floor: eigenvalues at or below it are left out.

    Example:
        >>> spacing_ratio(np.array([[1.0, 2.0, 4.0, 5.0]]))[0]
        0.5
    """
    matrices = list(evals)
    x, matrix = np.concatenate(matrices), np.repeat(np.arange(len(matrices)), [len(levels) for levels in matrices])
    gaps = np.diff(x)
    larger, smaller = np.maximum(gaps[1:], gaps[:-1]), np.minimum(gaps[1:], gaps[:-1])
    neighbours = (matrix[2:] == matrix[:-2]) & (x[:-2] > floor) & (larger > 0)
    r = smaller[neighbours] / larger[neighbours]
    return (float(r.mean()), float(r.std() / sqrt(r.size))) if r.size > 1 else (nan, nan)


def _bulks(spectrum: Spectrum, matrices: Sequence[Blocks]) -> tuple[tuple[NoiseBulk, ...], str]:
    if spectrum.method == "operator":
        return (), "no noise bulk: a convolution's operator has no noise law here"
    if spectrum.M < MIN_SIZE:
        return (), f"no noise bulk: it needs {MIN_SIZE} eigenvalues"
    level = 1 - (1 - LEVEL) ** (1 / len(matrices))
    bulks = []
    for evals, rows in zip(spectrum.by_matrix, matrices, strict=True):
        rank = int((evals > spectrum.floor).sum())
        if rank < max(MIN_SIZE, spectrum.M / 2):
            return (), f"no noise bulk: the rank is {rank} of {spectrum.M}"
        # A projection of the rows takes eigenvalues away and leaves those of noise of fewer columns.
        bulks.append(_bulk(evals, spectrum.N, rank, rows, spectrum.M, level))
    problems = [bulk.problem for bulk in bulks if bulk.problem]
    if problems and len(bulks) > 1:
        return tuple(bulks), f"{problems[0]} ({len(problems)} of {len(bulks)} matrices)"
    return tuple(bulks), problems[0] if problems else ""


def _bulk(evals: Vector, N: int, rank: int, rows: Blocks, M: int, level: float) -> NoiseBulk:
    """Find the noise of one matrix: first as if its entries were Gaussian and alike, then as they are."""
    bulk = fit_noise_bulk(evals[M - rank :], N, rank, level=level)
    size = sqrt(float(evals.sum()) / (N * M))
    step = block_rows(M)
    k = min(bulk.num_spikes, _DEFLATED)
    every = sampling_step(N)

    def sampled(r: int) -> Iterable[Array]:
        return (block[::every] for block in rows(r))

    if 8 * M * (N // every) <= HELD:
        held = [block.astype(np.float64) for block in sampled(step)]
        sampled = lambda r: held  # noqa: E731

    @cache
    def vectors() -> Vector:
        return leading_vectors(sampled, step, M, k)

    @cache
    def deflated(without: int) -> Entries:
        largest = (N * M) ** 0.25 * min(1.0, bulk.sigma / size)
        V = vectors()[:, :without] if without else np.zeros((M, 0))
        seen = measure_entries(sampled, step, M, size, largest, V)
        return replace(seen, rows=_ordinary(seen.rows), columns=_ordinary(seen.columns))

    def entries(without: int) -> Entries:
        return deflated(min(without, k))

    seen = entries(k if bulk.fits else 0)
    if _unequal(seen):
        return _scaled_bulk(evals, N, M, entries, entries(0) if bulk.fits and k else seen, level)
    if bulk.problem:
        return bulk
    if not bulk.fits:
        seen = entries(k)
    edge = largest_eigenvalue(N, rank)
    if abs(seen.kurtosis) / sqrt(N * rank) * edge.location < _NEGLIGIBLE * edge.scale:
        return replace(bulk, kurtosis=seen.kurtosis)
    return fit_noise_bulk(evals[M - rank :], N, rank, kurtosis=seen.kurtosis, level=level)


def _scaled_bulk(
    evals: Vector, N: int, M: int, entries: Callable[[int], Entries], seen: Entries, level: float
) -> NoiseBulk:
    """Find noise whose rows and columns differ in scale; scales and spikes are told apart by turns."""
    k = 0
    for turn in range(_TURNS):
        rows = _true_scales(seen.rows, _sampling(seen, M))
        columns = _true_scales(seen.columns, _sampling(seen, seen.rows.size))
        kurtosis = (seen.kurtosis + 3) / ((1 + rows.var()) * (1 + columns.var())) - 3
        more = count_beyond(evals, N, M, rows, columns, k, kurtosis, level)
        if more <= k or more > MAX_SPIKES * M:
            break
        if turn < _TURNS - 1:
            k = more
            seen = entries(min(k, _DEFLATED))
    return fit_scaled_bulk(evals, N, M, rows, columns, k, kurtosis, level)


def _ordinary(mean_squares: Vector) -> Vector:
    """Put the middle in place of the few lines that stand out: they are no noise, and make spikes of their own."""
    logs = np.log(np.maximum(mean_squares, 1e-300))
    lower, middle, upper = _quartiles(logs)
    out = np.abs(logs - middle) > (upper - lower) / 2 + _FENCE * (upper - lower)
    return np.where(out, exp(middle), mean_squares) if out.mean() <= _FEW else mean_squares


def _quartiles(x: Vector) -> list[float]:
    """Give the quartiles, as `numpy.quantile` would after ten times as long."""
    place = np.array([0.25, 0.5, 0.75]) * (x.size - 1)
    below = place.astype(np.intp)
    x = np.sort(x)
    quartiles: list[float] = (x[below] + (place - below) * (x[np.minimum(below + 1, x.size - 1)] - x[below])).tolist()
    return quartiles


def _sampling(seen: Entries, count: int) -> float:
    """Give the variance of a mean square of so many entries, relative to its own square, that chance alone makes."""
    spread = (1 + _variation(seen.rows)) * (1 + _variation(seen.columns))
    return max((seen.kurtosis + 3) / spread - 1, 0.1) / count


def _variation(mean_squares: Vector) -> float:
    mean = float(mean_squares.mean())
    off = mean_squares - mean
    return float(off @ off) / off.size / mean**2 if mean > 0 else 0.0


def _unequal(seen: Entries) -> bool:
    """Whether rows or columns differ in scale by more than chance."""
    pairs = ((seen.rows, seen.columns.size), (seen.columns, seen.rows.size))
    return any(_variation(x) > _sampling(seen, count) * (1 + 5 * sqrt(2 / x.size)) for x, count in pairs)


def _true_scales(mean_squares: Vector, sampling: float) -> Vector:
    """Shrink mean squares to the spread that is not of chance, and to mean 1; what is zero stays so."""
    relative = mean_squares / mean_squares.mean()
    variation = float(relative.var())
    kept = sqrt(max(0.0, 1 - sampling / variation)) if variation > 0 else 0.0
    return np.where(relative > 0, np.maximum(1 + kept * (relative - 1), 0), 0.0)
