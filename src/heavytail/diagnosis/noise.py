"""What noise of a layer's shape would show, and how far the layer is from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import nan, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heavytail.diagnosis.shuffles import Shuffles
from heavytail.rmt.edges import largest_eigenvalue
from heavytail.rmt.noise_bulk import MIN_SIZE, NoiseBulk, fit_noise_bulk
from heavytail.spectra.entries import Blocks, excess_kurtosis, leading_vectors
from heavytail.spectra.exact import block_rows
from heavytail.spectra.spectrum import Spectrum

__all__ = ["LEVEL", "Noise", "find_noise", "spacing_ratio"]

LEVEL = 0.01
"""Chance that a layer of pure noise shows a spike."""

_NEGLIGIBLE = 0.05  # share of the edge's width by which the kurtosis may move it without a new fit
_DEFLATED = 32  # at most so many spikes are taken out of a matrix before the kurtosis of its noise is measured

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
        return 1 - (1 - min(bulk.p_value for bulk in self.bulks)) ** len(self.bulks)

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
            "mp_softrank": edge / float(spectrum.evals[-1]),
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
        "problem": bulk.problem,
    }


def find_noise(spectrum: Spectrum, matrices: Sequence[Blocks], shuffles: Shuffles | None = None) -> Noise:
    """Find the noise under a row's spectrum.

    Args:
        spectrum: the row's spectrum.
        matrices: its matrices, N x M each, read only where their spectrum has a bulk of noise.
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


def spacing_ratio(evals: Iterable[Vector], floor: float = 0.0) -> tuple[float, float]:
    """Give the mean ratio of neighbouring level spacings and its standard error; it needs no unfolding.

    Args:
        evals: eigenvalues of one matrix after the other, each ascending.
        floor: eigenvalues at or below it are left out.

    Example:
        >>> spacing_ratio(np.array([[1.0, 2.0, 4.0, 5.0]]))[0]
        0.5
    """
    ratios = []
    for x in evals:
        gaps = np.diff(x[x > floor])
        larger = np.maximum(gaps[1:], gaps[:-1])
        ratios.append((np.minimum(gaps[1:], gaps[:-1])[larger > 0]) / larger[larger > 0])
    r = np.concatenate(ratios)
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
        bulks.append(_bulk(evals[spectrum.M - rank :], spectrum.N, rank, rows, spectrum.M, level))
    problems = [bulk.problem for bulk in bulks if bulk.problem]
    if problems and len(bulks) > 1:
        return tuple(bulks), f"{problems[0]} ({len(problems)} of {len(bulks)} matrices)"
    return tuple(bulks), problems[0] if problems else ""


def _bulk(evals: Vector, N: int, rank: int, rows: Blocks, M: int, level: float) -> NoiseBulk:
    """Fit a bulk as if its entries were Gaussian; if there is one, measure their kurtosis and fit again."""
    bulk = fit_noise_bulk(evals, N, rank, level=level)
    if bulk.problem:
        return bulk
    step = block_rows(M)
    k = min(bulk.num_spikes, _DEFLATED)
    spikes = leading_vectors(rows, step, M, k) if k else None
    kurtosis = excess_kurtosis(rows, step, bulk.sigma * (N * M) ** 0.25, spikes)
    edge = largest_eigenvalue(N, rank)
    if abs(kurtosis) / sqrt(N * rank) * edge.location < _NEGLIGIBLE * edge.scale:
        return replace(bulk, kurtosis=kurtosis)
    return fit_noise_bulk(evals, N, rank, kurtosis=kurtosis, level=level)
