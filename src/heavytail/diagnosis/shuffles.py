"""Shuffled copies of a layer: what its entries show when they stand anywhere, and which of them show it alone.

Shuffling keeps the entries and destroys every correlation between them. What is left beyond the edge of the shuffled
noise is carried by single entries: correlation traps (Martin and Mahoney 2021; Prakash and Martin 2026). A row or a
column that is far heavier than the others is a trap too, though shuffling scatters it. An entry a, a row or a column of
noise of scale s makes an eigenvalue of its own from a threshold on (Baik, Ben Arous and Peche 2005):

    entry     |a| > s (N M)^(1/4)
    row       its mean square > s^2 (1 + sqrt(N / M))
    column    its mean square > s^2 (1 + sqrt(M / N))

A mean of the entries survives shuffling as one large eigenvalue and is no trap: all is about the mean. Traps are few:
where many lines are heavy, lines have two scales, and none of them is a trap. Lines that are heavy in one direction
make one eigenvalue together: a spike, and no traps. A limit: strong spikes are shuffled with the rest and widen the
noise of the copies, and what they hide is not found. To take spikes out first would take the traps, which are spikes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import exp, isnan, log1p, nan, sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainccinv, gammaincinv, ndtri, stdtrit, xlog1py

from heavytail.rmt.noise_bulk import MIN_SIZE, fit_noise_bulk
from heavytail.spectra.entries import Blocks, whole
from heavytail.spectra.exact import spectrum_of_stack
from heavytail.spectra.spectrum import Spectrum

__all__ = ["Shuffles", "Trap", "density_distance", "find_carriers", "shuffle"]

_CHANCE = 0.01  # that a delocalised spike alone makes a line stand out
_NORMAL = 1.349  # distance of the quartiles of a normal law, in standard deviations
_LISTED = 100  # at most so many traps are named
_SHARE, _FEW = 0.02, 3  # traps are at most such a share of the rows, or of the columns, or so many of them

Matrix = NDArray[np.float64]
Indices = NDArray[np.intp]


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
        evals: eigenvalues of the copies, their entries' mean taken out, ascending, averaged in order of size.
        num_traps: eigenvalues of the copies beyond their noise edge (the median copy's), and rows and columns that are
            traps; NaN where the copies have no edge: they are narrow, or the entries very heavy-tailed.
        traps: the parts that carry them, the largest first; never more than `num_traps`, where that is a number. Of the
            entries beyond their threshold only as many are named as the copies show.
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
    beyond, p_values = np.zeros((2, count, len(matrices)))
    copies: list[Matrix] = []
    traps: list[Trap] = []
    for i, rows in enumerate(matrices):
        W = whole(rows)
        carriers, mean, kurtosis = find_carriers(W, i)
        traps += carriers
        W = _without_lines(W, carriers)
        W -= mean
        flat = W.ravel() if dtype == "float64" else W.astype(np.float32).ravel()
        for j in range(count):
            rng.shuffle(flat)
            copies.append(spectrum_of_stack(flat.reshape(W.shape)[None], dtype).evals)
            beyond[j, i], p_values[j, i] = _beyond(copies[-1], W.shape, kurtosis, level)
    pooled = np.sort(np.stack([np.concatenate(copies[j::count]) for j in range(count)]), axis=1)
    shown = float(np.median(beyond.sum(axis=1)))
    traps.sort(key=lambda trap: -trap.excess)
    entries = [trap for trap in traps if trap.kind == "entry"]
    hidden = set() if isnan(shown) else set(entries[int(shown) :])
    return Shuffles(
        count=count,
        evals=pooled.mean(axis=0),
        num_traps=len(traps) - len(entries) + shown,
        traps=tuple(trap for trap in traps if trap not in hidden)[:_LISTED],
        p_edge=float(np.median(-np.expm1(xlog1py(len(matrices), -p_values.min(axis=1))))),
        p_largest=float((1 + (pooled[:, -1] >= spectrum.evals[-1]).sum()) / (1 + count)),
        **_distances(spectrum.evals, pooled),
    )


def _without_lines(W: Matrix, traps: Sequence[Trap]) -> Matrix:
    for axis, kind in enumerate(("row", "column")):
        lines = [line for trap in traps if trap.kind == kind and (line := (trap.row, trap.column)[axis]) is not None]
        if lines:
            W = np.delete(W, lines, axis)
    return W


def _beyond(evals: Matrix, shape: tuple[int, ...], kurtosis: float, level: float) -> tuple[float, float]:
    """Count the eigenvalues beyond the noise edge; NaN where there is none."""
    N, M = max(shape), min(shape)
    if M < MIN_SIZE:
        return nan, nan
    if evals[-1] == 0:  # all entries are equal
        return 0.0, 1.0
    bulk = fit_noise_bulk(evals, N, M, kurtosis=kurtosis, level=level)
    return (nan if bulk.problem else float(bulk.num_spikes)), bulk.p_value


def find_carriers(W: Matrix, index: int = 0) -> tuple[list[Trap], float, float]:
    """Find the entries, rows and columns that are beyond their threshold by themselves.

    Rows and columns that are zero throughout, as those of tokens that never occur, are left out: N and M are the
    numbers of the others. Nothing is found if one of these is below `MIN_SIZE`, or if all other entries are equal.

    Args:
        W: (N, M) matrix, N >= M.
        index: which matrix of its row it is.

    Returns:
        The traps, those entries left out that stand in a row or a column that is one, and mean and excess kurtosis of
        the entries of W that are none.
    """
    used = np.flatnonzero(W.any(axis=1)), np.flatnonzero(W.any(axis=0))
    every = (used[0].size, used[1].size) == W.shape
    traps = _search(W if every else W[np.ix_(*used)], *used, index)
    rest = np.ones(W.shape, bool)
    for trap in traps:
        rest[slice(None) if trap.row is None else trap.row, slice(None) if trap.column is None else trap.column] = False
    mean, _, kurtosis = _moments(W[rest])
    return traps, mean, kurtosis


def _search(W: Matrix, row_names: Indices, column_names: Indices, index: int) -> list[Trap]:
    N, M = W.shape
    if min(N, M) < MIN_SIZE:
        return []
    row_threshold, column_threshold = 1 + sqrt(N / M), 1 + sqrt(M / N)
    rest = np.ones(W.shape, bool)
    for _ in range(8):  # at most; what is too heavy must not count in what it is measured by
        mean, sigma, kurtosis = _moments(W[rest])
        if sigma == 0:
            return []
        small, by_row, by_column = _in_units(W, mean, sigma)
        rows = _heavy(by_row, row_threshold, (kurtosis + 2) / M)
        columns = _heavy(by_column, column_threshold, (kurtosis + 2) / N)
        before, rest = rest, small.copy()
        rest[rows], rest[:, columns] = False, False
        if np.array_equal(rest, before):
            break
    alone = ~small
    alone[rows], alone[:, columns] = False, False
    rows, columns = _by_themselves(W, mean, sigma, rows), _by_themselves(W.T, mean, sigma, columns)
    traps = [Trap("row", index, int(row_names[r]), None, sqrt(by_row[r] / row_threshold)) for r in rows]
    traps += [Trap("column", index, None, int(column_names[c]), sqrt(by_column[c] / column_threshold)) for c in columns]
    for r, c in zip(*np.nonzero(alone), strict=True):
        excess = float(abs(W[r, c] - mean)) / sigma / (N * M) ** 0.25
        traps.append(Trap("entry", index, int(row_names[r]), int(column_names[c]), excess))
    return traps


def _moments(values: Matrix) -> tuple[float, float, float]:
    """Give mean, standard deviation (exactly 0 of equal values) and excess kurtosis; the array is overwritten."""
    if not values.size or values.min() == values.max():
        return float(values[:1].sum()), 0.0, 0.0
    mean = float(values.mean())
    values -= mean
    largest = float(max(values.max(), -values.min()))  # in units of it no power overflows
    values /= largest
    values *= values
    variance = float(values.mean())
    return mean, largest * sqrt(variance), float(values @ values) / values.size / variance**2 - 3


@np.errstate(over="ignore")
def _in_units(W: Matrix, mean: float, sigma: float) -> tuple[NDArray[np.bool_], Matrix, Matrix]:
    """Tell the entries that are too small to be traps, and average the squares of rows and columns over them.

    The squares are about the mean, in units of the noise's variance. If most of a line is too large, all of it counts.
    """
    squares = W - mean
    squares /= sigma
    squares *= squares
    small = squares <= sqrt(W.size)
    averages = []
    for axis in (1, 0):
        count = small.sum(axis=axis)
        some = squares.sum(axis=axis, where=small) / np.maximum(count, 1)
        averages.append(np.where(2 * count < W.shape[axis], squares.mean(axis=axis), some))
    return small, averages[0], averages[1]


def _heavy(mean_squares: Matrix, threshold: float, sampling: float) -> Indices:
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
    beyond = max(threshold, middle * exp(-ndtri(chance) * sqrt(log1p(sampling))) + uneven)
    return np.flatnonzero(mean_squares > beyond)


@np.errstate(over="ignore", invalid="ignore")
def _by_themselves(W: Matrix, mean: float, sigma: float, rows: Indices) -> Indices:
    """Keep the heavy rows that make an eigenvalue each; none if there are too many.

    A row must be heavy without what it shares with others. Where they have more in its direction v than chance gives
    them, it is along C v - N v, with their sum of products C: noise has N v for C v.
    """
    N, M = W.shape
    if not 0 < rows.size <= max(_SHARE * N, _FEW):
        return rows[:0]
    X = (W - mean) / sigma
    norms = np.linalg.norm(X[rows], axis=1)
    V = X[rows].T / norms
    along = X @ V
    along[rows, np.arange(rows.size)] = 0  # C is of the other rows
    shared = X.T @ along - N * V
    cosines = (shared * V).sum(axis=0) / np.linalg.norm(shared, axis=0)
    return np.asarray(rows[norms**2 * (1 - cosines**2) > M + sqrt(N * M)])


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
