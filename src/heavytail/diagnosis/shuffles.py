"""Shuffled copies of a layer: what its entries show when they stand anywhere, and which of them show it alone.

Shuffling keeps the entries and destroys every correlation between them. What is left beyond the edge of the shuffled
noise is carried by single entries: correlation traps (Martin and Mahoney 2021; Prakash and Martin 2026). A row or a
column that is far heavier than the others is a trap too, though shuffling scatters it. An entry a, a row or a column of
noise of scale s makes an eigenvalue of its own from a threshold on (Baik, Ben Arous and Peche 2005):

    entry     |a| > s (N M)^(1/4)
    row       its mean square > s^2 (1 + sqrt(N / M))
    column    its mean square > s^2 (1 + sqrt(M / N))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import exp, log1p, nan, sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainccinv, gammaincinv, ndtri, stdtrit

from heavytail.rmt.noise_bulk import MIN_SIZE, fit_noise_bulk
from heavytail.spectra.entries import Blocks, whole
from heavytail.spectra.exact import spectrum_of_stack
from heavytail.spectra.spectrum import Spectrum

__all__ = ["Shuffles", "Trap", "density_distance", "find_carriers", "shuffle"]

_CHANCE = 0.01  # that a delocalised spike alone makes a line stand out
_NORMAL = 1.349  # distance of the quartiles of a normal law, in standard deviations
_LISTED = 100  # at most so many entries are named

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trap:
    """A part of a matrix that makes an eigenvalue beyond the noise all by itself.

    Attributes:
        kind: "entry", "row" or "column".
        matrix: which of the row's matrices it is in.
        row: index along the matrix's larger dimension N; None for a column.
        column: index along its smaller dimension M; None for a row.
        excess: its size over the threshold: magnitude of an entry, root mean square of a row or a column.
    """

    kind: Literal["entry", "row", "column"]
    matrix: int
    row: int | None
    column: int | None
    excess: float


@dataclass(frozen=True, slots=True)
class Shuffles:
    """What shuffled copies of a row's matrices show.

    Attributes:
        count: number of copies of each matrix, its trap rows and columns left out.
        evals: eigenvalues of the copies, ascending, averaged in order of size.
        num_traps: eigenvalues of the copies beyond their noise edge (the median copy's), and rows and columns that are
            traps; NaN where the entries are so heavy-tailed that the copies have no edge.
        traps: the parts that carry them, the largest first.
        p_edge: chance that noise has a largest eigenvalue like that of the median copy.
        p_largest: share of copies, this one included, whose largest eigenvalue is at least the layer's.
        distance: Jensen-Shannon distance, 0 to 1, between the densities of the layer and of its copies.
        distance_lo: lower end of the 95 % interval of that mean over copies; NaN for a single copy.
        distance_hi: its upper end.
        distance_null: the same distance between a copy and the other copies, on average; NaN for a single copy.
    """

    count: int
    evals: Matrix
    num_traps: float
    traps: tuple[Trap, ...]
    p_edge: float
    p_largest: float
    distance: float
    distance_lo: float
    distance_hi: float
    distance_null: float

    def as_dict(self) -> dict[str, Any]:
        """Give plain values for JSON; the eigenvalues are left out."""
        skipped = ("evals", "traps")
        plain = {name: getattr(self, name) for name in self.__slots__ if name not in skipped}
        return plain | {"traps": [asdict(trap) for trap in self.traps]}


def shuffle(
    spectrum: Spectrum, matrices: Sequence[Blocks], dtype: str, count: int, level: float, rng: np.random.Generator
) -> Shuffles:
    """Shuffle each matrix `count` times and compare.

    Args:
        spectrum: the row's spectrum.
        matrices: its matrices; one after the other is read whole.
        dtype: name of the stored type.
        count: number of copies, at least 1.
        level: chance that a row of noise shows a trap.
        rng: source of the shuffles.

    Example:
        >>> W = np.random.default_rng(0).standard_normal((200, 100))
        >>> W[7, 3] = 30
        >>> found = shuffle(spectrum_of_stack(W[None], "float64"), [lambda r: [W]], "float64", 3, 0.01,
        ...                 np.random.default_rng(1))
        >>> found.num_traps, [(trap.kind, trap.row, trap.column) for trap in found.traps]
        (1.0, [('entry', 7, 3)])
    """
    level = 1 - (1 - level) ** (1 / len(matrices))
    beyond = np.zeros((count, len(matrices)))
    p_values = np.ones((count, len(matrices)))
    copies: list[Matrix] = []
    traps: list[Trap] = []
    for i, rows in enumerate(matrices):
        W = whole(rows)
        carriers, kurtosis = find_carriers(W, i)
        traps += carriers
        W = np.delete(W, [trap.row for trap in carriers if trap.row is not None and trap.column is None], axis=0)
        W = np.delete(W, [trap.column for trap in carriers if trap.column is not None and trap.row is None], axis=1)
        flat = W.ravel() if dtype == "float64" else W.astype(np.float32).ravel()
        for j in range(count):
            rng.shuffle(flat)
            copies.append(spectrum_of_stack(flat.reshape(W.shape)[None], dtype).evals)
            beyond[j, i], p_values[j, i] = _beyond(copies[-1], W.shape, kurtosis, level)
    lines = sum(trap.kind != "entry" for trap in traps)
    pooled = np.sort(np.stack([np.concatenate(copies[j::count]) for j in range(count)]), axis=1)
    return Shuffles(
        count=count,
        evals=pooled.mean(axis=0),
        num_traps=lines + float(np.median(beyond.sum(axis=1))),
        traps=tuple(sorted(traps, key=lambda trap: -trap.excess)[:_LISTED]),
        p_edge=float(np.median(1 - (1 - p_values.min(axis=1)) ** len(matrices))),
        p_largest=float((1 + (pooled[:, -1] >= spectrum.evals[-1]).sum()) / (1 + count)),
        **_distances(spectrum.evals, pooled),
    )


def _beyond(evals: Matrix, shape: tuple[int, ...], kurtosis: float, level: float) -> tuple[float, float]:
    """Count the eigenvalues beyond the noise edge; NaN where there is none."""
    N, M = max(shape), min(shape)
    if M < MIN_SIZE or evals[-1] == 0:
        return nan, nan
    bulk = fit_noise_bulk(evals, N, M, kurtosis=kurtosis, level=level)
    return (nan if bulk.problem else float(bulk.num_spikes)), bulk.p_value


def find_carriers(W: Matrix, index: int = 0) -> tuple[list[Trap], float]:
    """Find the entries, rows and columns that are beyond their threshold by themselves.

    Args:
        W: (N, M) matrix, N >= M.
        index: which matrix of its row it is.

    Returns:
        The traps, those entries left out that stand in a row or a column that is one, and the excess kurtosis of the
        entries that are none.
    """
    N, M = W.shape
    squares = np.square(W)
    small = rest = np.ones(W.shape, bool)
    variance, kurtosis = float(squares.mean()), 0.0
    rows = columns = np.zeros(0, np.intp)
    by_row, by_column = squares.mean(axis=1), squares.mean(axis=0)
    for _ in range(3):  # what is too heavy must not count in what it is measured by
        small = squares <= variance * sqrt(N * M)
        by_row, by_column = _mean_squares(squares, small, 1), _mean_squares(squares, small, 0)
        rows = _heavy(by_row / variance, N / M, (kurtosis + 2) / M)
        columns = _heavy(by_column / variance, M / N, (kurtosis + 2) / N)
        rest = small.copy()
        rest[rows], rest[:, columns] = False, False
        if not rest.any():
            break
        kept = squares[rest]
        variance = float(kept.mean())
        kurtosis = float(kept @ kept) / kept.size / variance**2 - 3 if variance > 0 else 0.0
    alone = ~small
    alone[rows], alone[:, columns] = False, False
    traps = [Trap("row", index, int(r), None, _excess(by_row[r], variance, N / M)) for r in rows]
    traps += [Trap("column", index, None, int(c), _excess(by_column[c], variance, M / N)) for c in columns]
    for r, c in zip(*np.nonzero(alone), strict=True):
        traps.append(Trap("entry", index, int(r), int(c), sqrt(squares[r, c] / variance) / (N * M) ** 0.25))
    return traps, kurtosis


def _mean_squares(squares: Matrix, small: NDArray[np.bool_], axis: int) -> Matrix:
    """Average over rows or columns without the entries that are traps themselves, unless most of a line is."""
    count = small.sum(axis=axis)
    total = np.where(small, squares, 0).sum(axis=axis)
    most = 2 * count < squares.shape[axis]
    return np.asarray(np.where(most, squares.mean(axis=axis), total / np.maximum(count, 1)))


def _heavy(mean_squares: Matrix, ratio: float, sampling: float) -> NDArray[np.intp]:
    """Give the lines beyond their threshold that also stand out among their like.

    Mean squares of lines differ by chance, about as a lognormal law of variance `sampling`, and because a spike spread
    over all lines does not spread evenly: at most as chi-squared of one degree of freedom. A line stands out if it is
    heavier than the heaviest of so many is likely to be for both reasons. All is in units of the noise's variance.
    """
    lower, middle, upper = np.quantile(mean_squares, [0.25, 0.5, 0.75])
    chance = _CHANCE / mean_squares.size
    spread = sqrt(max(0.0, ((upper - lower) / _NORMAL) ** 2 - sampling))
    first, second, third = 2 * gammaincinv(0.5, np.array([0.25, 0.5, 0.75]))
    uneven = spread * _NORMAL * (2 * gammainccinv(0.5, chance) - second) / (third - first)
    beyond = max(1 + sqrt(ratio), middle * exp(-ndtri(chance) * sqrt(log1p(sampling))) + uneven)
    return np.flatnonzero(mean_squares > beyond)


def _excess(mean_square: float, variance: float, ratio: float) -> float:
    return sqrt(mean_square / (variance * (1 + sqrt(ratio))))


def _distances(evals: Matrix, copies: Matrix) -> dict[str, float]:
    distances = np.array([density_distance(evals, copy) for copy in copies])
    mean, n = float(distances.mean()), distances.size
    if n == 1:
        return {"distance": mean, "distance_lo": nan, "distance_hi": nan, "distance_null": nan}
    half = float(stdtrit(n - 1, 0.975) * distances.std(ddof=1) / sqrt(n))
    null = np.mean([density_distance(copy, other) for copy, other in zip(copies[1:], copies[:-1], strict=True)])
    return {
        "distance": mean,
        "distance_lo": max(0.0, mean - half),
        "distance_hi": min(1.0, mean + half),
        "distance_null": float(null),
    }


def density_distance(x: Matrix, y: Matrix) -> float:
    """Give the Jensen-Shannon distance between the densities of two samples, from 0 (equal) to 1 (no overlap).

    The densities are histograms whose bins hold equal shares of both samples together, so the distance does not
    depend on the unit, nor on whether eigenvalues or singular values are compared.

    Args:
        x: (n,) sample, ascending.
        y: (n,) sample, ascending.

    Example:
        >>> x = np.arange(1.0, 101.0)
        >>> density_distance(x, x), density_distance(x, 1000 * x)
        (0.0, 1.0)
    """
    both = np.sort(np.concatenate([x, y]))
    bins = 2 * int(np.clip(x.size**0.4, 2, 32))  # even, so that samples that do not overlap share no bin
    inner = np.unique(both[np.linspace(0, both.size - 1, bins + 1).astype(np.intp)[1:-1]])
    p = np.bincount(np.searchsorted(inner, x, side="left"), minlength=inner.size + 1) / x.size
    q = np.bincount(np.searchsorted(inner, y, side="left"), minlength=inner.size + 1) / y.size
    m = (p + q) / 2
    return sqrt(max(0.0, (_divergence(p, m) + _divergence(q, m)) / 2))


def _divergence(p: Matrix, m: Matrix) -> float:
    some = p > 0
    return float((p[some] * np.log2(p[some] / m[some])).sum())
