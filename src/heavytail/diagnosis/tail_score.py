"""How heavy a layer's tail is against noise of its own shape, so that layers of any aspect ratio compare.

Measured is the mean log excess of the upper tenth of the eigenvalues over the next one, 1 / (alpha_hill - 1). Noise has
one too, larger for a square matrix than for a tall one, and what it is follows from N, M and the kurtosis of the
entries (`heavytail.rmt.linear_statistics`); nothing is simulated. The layer's over the noise's is `excess`, an effect
of a size that does not depend on the shape; its distance from the noise's in standard deviations is `score`, which for
the same effect grows in proportion to M.

It is the tenth since a tail is heavy or not at its end. The upper half of square noise reaches from its edge down to
two thirds of its mean and has the exponent 2.1 of many a power law: there a power law with alpha = 2.5 is the lighter.
Within the upper tenth noise ends at its edge, and power laws with alpha from 2 to 4 are heavier at any aspect ratio.
A smaller share would leave too few eigenvalues of a small matrix.

The kurtosis matters since heavy-tailed entries widen the spectrum of a small matrix all by themselves, no matter where
they stand. From the kurtosis alone this is known as long as it is small beside M. Where it is not, shuffled copies of
the layer are the noise: slow, and exact for entries of any law.

What is compared is one number of the upper tenth: a few eigenvalues far beyond the noise raise it as a power law does
(spikes: see `heavytail.diagnosis.noise`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, nan, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc

from heavytail.rmt.linear_statistics import log_excess, log_excess_of_noise
from heavytail.spectra.entries import Blocks, whole
from heavytail.spectra.exact import block_rows
from heavytail.spectra.spectrum import Spectrum
from heavytail.weights.tensor import Array

__all__ = ["MAX_KURTOSIS", "MIN_RANK", "TailScore", "entry_kurtosis", "shuffled_tail_score", "tail_score"]

MIN_RANK = 20
"""Fewest eigenvalues above rounding that each matrix of a row must have."""

MAX_KURTOSIS = 0.75
"""Largest effective kurtosis of the entries, in units of M, for which the noise is known without shuffled copies."""

_NORMAL = 1.959964  # two-sided 95 % point of the normal law


@dataclass(frozen=True, slots=True)
class TailScore:
    """How heavy a row's tail is against noise.

    Attributes:
        score: distance of the mean log excess from that of noise, in the noise's standard deviations: standard normal
            for noise, positive for a heavier tail.
        p_value: chance that noise has a tail at least as heavy; one-sided, and aware that noise is slightly skewed.
        excess: mean log excess over that of noise: 1 for noise, larger for a heavier tail.
        excess_lo: lower end of its 95 % interval, as far as noise of this shape scatters.
        excess_hi: upper end.
        hill: the exponent 1 + 1 / (mean log excess), of the average over the row's matrices; it depends on the shape.
        reason: why there is no score; empty if there is one. Without a score all numbers are NaN.
    """

    score: float = nan
    p_value: float = nan
    excess: float = nan
    excess_lo: float = nan
    excess_hi: float = nan
    hill: float = nan
    reason: str = ""


def tail_score(spectrum: Spectrum, kurtosis: Sequence[float]) -> TailScore:
    """Hold a row's tail against that of noise of the same shape.

    The matrices of a row are scored together: their mean log excess is averaged, and the noise is that of as many
    independent matrices. A matrix of rank below M is held against noise of as many columns as its rank.

    On independent entries p_value is below 0.05 in about 5 of 100 matrices, for Gaussian, uniform, Student's t(5) and
    sparse ones with every second or only every tenth entry not zero, M from 64, N/M from 1 to 32. The least share seen
    in one shape is 3 of 100, for t(5) and M = 64; the greatest is 7, for M = 128 and nine tenths zero. At
    M = 20 it is 2 of 100 for t(5) and 6 for uniform entries. `benchmarks/tail_score.py` measures it.

    Args:
        spectrum: the row's spectrum.
        kurtosis: effective kurtosis of the entries of each matrix, from `entry_kurtosis`; zeros stand for Gaussian
            ones.

    Example:
        >>> from heavytail.spectra.exact import spectrum_of_stack
        >>> W = np.random.default_rng(6).standard_normal((300, 100))
        >>> noise = tail_score(spectrum_of_stack(W[None], "float64"), [0.0])
        >>> trained = tail_score(spectrum_of_stack(W[None] * np.linspace(0.2, 2, 100), "float64"), [0.0])
        >>> print(f"{noise.excess:.2f} {noise.p_value:.2f}, {trained.excess:.2f} {trained.p_value:.0e}")
        1.01 0.45, 1.72 1e-10
    """
    ranks, reason = _ranks(spectrum)
    if not reason:
        reason = _too_heavy(spectrum.M, kurtosis)
    if reason:
        return TailScore(reason=reason)
    noise = [log_excess_of_noise(spectrum.N, rank) for rank in ranks]
    mean = float(np.mean([law.mean(kappa) for law, kappa in zip(noise, kurtosis, strict=True)]))
    stds = np.array([law.std(kappa) for law, kappa in zip(noise, kurtosis, strict=True)])
    std = float(np.sqrt(stds @ stds))
    skewness = float(stds**3 @ [law.skewness for law in noise]) / std**3
    std /= len(noise)
    found = _measure(spectrum.by_matrix, ranks)
    score = (found - mean) / std
    return _scored(found, mean, std, score, _exceeded(score, skewness))


def shuffled_tail_score(
    spectrum: Spectrum, matrices: Sequence[Blocks], count: int, seed: int | np.random.Generator
) -> TailScore:
    """Hold a row's tail against that of shuffled copies of its matrices: exact noise for entries of any law.

    What makes the tail heavy by single large entries is in the copies as well, and does not count.

    Args:
        spectrum: the row's spectrum.
        matrices: its matrices, N x M each.
        count: number of copies, at least 2. p_value is a multiple of 1 / (count + 1).
        seed: of the shuffles, or a generator.

    Raises:
        ValueError: if count is below 2.

    Example:
        >>> from heavytail.spectra.exact import spectrum_of_stack
        >>> W = np.random.default_rng(0).standard_normal((300, 100)) * np.linspace(0.2, 2, 100)
        >>> shuffled_tail_score(spectrum_of_stack(W[None], "float64"), [lambda r: [W]], 19, seed=0).p_value
        0.05
    """
    if count < 2:
        raise ValueError(f"a score needs at least 2 shuffled copies; got {count}")
    ranks, reason = _ranks(spectrum)
    if not reason and min(ranks) < spectrum.M:
        reason = f"no tail score: the rank is {min(ranks)} of {spectrum.M}, and that of a shuffled copy is not"
    if reason:
        return TailScore(reason=reason)
    rng = np.random.default_rng(seed)
    copies = np.zeros(count)
    for rows in matrices:
        W = whole(rows)
        entries = W.reshape(-1)
        for copy in range(count):
            rng.shuffle(entries)
            copies[copy] += log_excess(np.linalg.eigvalsh(W.T @ W)) / len(matrices)
    found = _measure(spectrum.by_matrix, ranks)
    mean, std = float(copies.mean()), float(copies.std(ddof=1)) * sqrt(1 + 1 / count)
    score = (found - mean) / std if std > 0 else nan
    return _scored(found, mean, std, score, (1 + int((copies >= found).sum())) / (count + 1))


def entry_kurtosis(spectrum: Spectrum, matrices: Sequence[Blocks]) -> tuple[float, ...]:
    """Measure the effective excess kurtosis of the entries of each of a row's matrices, about zero.

    It is that of as light entries as would move the mean log excess as much. An entry beyond sigma (N M)^(1/4) makes an
    eigenvalue of its own (Baik, Ben Arous and Peche 2005): around that size it counts for more than its fourth power,
    and far beyond it for less, see `heavytail.rmt.linear_statistics.LogExcess.kurtosis`.

    Args:
        spectrum: the row's spectrum.
        matrices: its matrices, N x M each.

    Returns:
        One number a matrix; NaN for a matrix of zeros and where M is below MIN_RANK.

    Example:
        >>> from heavytail.spectra.exact import spectrum_of_stack
        >>> W = np.random.default_rng(0).choice([-1.0, 1.0], (300, 200))
        >>> print(f"{entry_kurtosis(spectrum_of_stack(W[None], 'float64'), [lambda r: [W]])[0]:.0f}")
        -2
    """
    N, M = spectrum.N, spectrum.M
    if M < MIN_RANK:
        return (nan,) * len(matrices)
    law, found = log_excess_of_noise(N, M), []
    for evals, rows in zip(spectrum.by_matrix, matrices, strict=True):
        size = float(evals.sum()) / (N * M)
        found.append(law.kurtosis(_squares(rows(block_rows(M)), size)) if size > 0 else nan)
    return tuple(found)


def _squares(blocks: Iterable[Array], size: float) -> Iterator[NDArray[np.float64]]:
    for block in blocks:
        x = block.astype(np.float64)
        x *= 1 / sqrt(size)
        yield np.square(x, out=x)


def _ranks(spectrum: Spectrum) -> tuple[list[int], str]:
    """Give the rank of each matrix, or say why the row has no score."""
    if spectrum.method == "operator":
        return [], "no tail score: a convolution's operator has no noise law here"
    ranks = [int(rank) for rank in (spectrum.by_matrix > spectrum.floor).sum(axis=1)]
    least = min(ranks)
    if spectrum.M < MIN_RANK:
        return [], f"no tail score: it needs {MIN_RANK} eigenvalues in each matrix, and M = {spectrum.M}"
    if least < max(MIN_RANK, spectrum.M / 2):
        return [], f"no tail score: the rank is {least} of {spectrum.M}"
    return ranks, ""


def _too_heavy(M: int, kurtosis: Sequence[float]) -> str:
    largest = max(kurtosis)
    if largest <= MAX_KURTOSIS * M:
        return ""
    return (
        f"no tail score: entries of kurtosis {largest:.3g} need M >= {largest / MAX_KURTOSIS:.0f}, or shuffled copies"
    )


def _exceeded(score: float, skewness: float) -> float:
    """Chance of a greater score under the gamma law of this skewness (Pearson's type III)."""
    shape = (2 / skewness) ** 2
    return float(gammaincc(shape, max(0.0, shape + sqrt(shape) * score)))


def _measure(by_matrix: NDArray[np.float64], ranks: Sequence[int]) -> float:
    """Average the mean log excess of the matrices."""
    return float(np.mean([log_excess(evals[-rank:]) for evals, rank in zip(by_matrix, ranks, strict=True)]))


def _scored(found: float, mean: float, std: float, score: float, p_value: float) -> TailScore:
    return TailScore(
        score=score,
        p_value=p_value,
        excess=found / mean,
        excess_lo=max(0.0, found - _NORMAL * std) / mean,
        excess_hi=(found + _NORMAL * std) / mean,
        hill=1 + 1 / found if found > 0 else inf,
    )
