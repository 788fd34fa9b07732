"""FARMS: the Hill exponent of windows of one fixed aspect ratio, cut out of a matrix (Hu et al. 2025).

The Hill exponent of noise depends on the aspect ratio of the matrix. FARMS (fixed-aspect-ratio matrix subsampling)
slides a window of r rows and 2 r columns over the matrix, pools the squared singular values of all windows and takes
the Hill exponent of the pool above its median. So all layers that hold a whole window are seen at one aspect ratio.

The numbers are those of the published code (HUST-AI-HYZ/FARMS, LLM pruning), with its conventions: a matrix as it is
stored, rows being outputs; starts at whole steps, so that the last rows and columns may stay outside; the tail counts
its own threshold. A matrix narrower than a window, cols < 2 r, is not cut short: there the published code counts the
start of the window from the end, and sees the last 2 r - cols columns only. That is followed here, and `whole_window`
tells of it: the aspect ratio is another one, down to a window of a single column.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from heavytail.spectra.entries import Blocks, whole
from heavytail.spectra.exact import block_rows
from heavytail.tails.power_law import fit_power_law

__all__ = ["Farms", "farms", "farms_of_blocks"]

_ROWS, _ASPECT, _STARTS = 100, 2, 10  # of a window, and windows along either dimension
_GRAM = 1e-7  # a median below this share of the largest eigenvalue is too inexact from a Gram matrix: 1e-15 / 1e-7

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Farms:
    """What the windows show.

    Attributes:
        alpha: Hill exponent of the pooled eigenvalues; NaN where they are none, zero or all equal.
        evals: (windows * min(shape),) squared singular values of all windows, ascending.
        shape: rows and columns of each window.
        windows: number of windows.
        whole_window: whether the matrix holds a whole window, so that alpha compares with that of other layers.
    """

    alpha: float
    evals: Vector
    shape: tuple[int, int]
    windows: int
    whole_window: bool


def farms(matrix: ArrayLike) -> Farms:
    """Estimate the exponent of a matrix from windows of at most 100 rows and twice as many columns.

    Args:
        matrix: (rows, cols) real and finite, rows being outputs, as torch's linear layers store them. Its transpose
            has other windows and another exponent: a matrix laid out as N x M, N >= M, is to be transposed back where
            a layer has more inputs than outputs.

    Raises:
        ValueError: if it is no such matrix.

    Example:
        >>> found = farms(np.random.default_rng(0).standard_normal((500, 400)))
        >>> found.windows, found.shape, round(found.alpha, 1)  # noise of any shape that holds a window
        (100, (100, 200), 2.7)
    """
    W = np.asarray(matrix)
    if W.ndim != 2 or W.size == 0 or not np.isfinite(W).all():
        raise ValueError(f"a matrix must be finite, with two dimensions of at least 1; got shape {W.shape}")
    rows = min(_ROWS, *W.shape)
    wanted = _ASPECT * rows
    if W.shape[1] < wanted:
        W = W[:, max(0, 2 * W.shape[1] - wanted) :]
    columns = min(wanted, W.shape[1])
    return _farms(W, rows, columns, _starts(W.shape[1] - columns + 1), columns == wanted)


def farms_of_blocks(blocks: Blocks, N: int, M: int) -> Farms:
    """Estimate the same of an N x M matrix, N >= M, laid with its shorter side as rows, and hold its windows only.

    Args:
        blocks: reads the matrix in blocks of rows.
        N: its rows.
        M: its columns.
    """
    rows = min(_ROWS, M)
    columns = _ASPECT * rows
    if columns > N:
        return farms(whole(blocks).T)
    starts = _starts(N - columns + 1)
    seen = np.zeros(N, dtype=bool)
    for start in starts:
        seen[start : start + columns] = True
    kept, read = [], 0
    for block in blocks(block_rows(M)):
        kept.append(block[seen[read : read + len(block)]])
        read += len(block)
    place = np.cumsum(seen)[starts] - 1  # of each window among the rows that were kept
    return _farms(np.concatenate(kept).T, rows, columns, place, whole_window=True)


def _farms(W: NDArray[Any], rows: int, columns: int, starts: NDArray[np.intp], whole_window: bool) -> Farms:
    """Estimate from windows of given starts along the columns, and of evenly stepped ones along the rows."""
    windows = sliding_window_view(W, (rows, columns))
    windows = windows[np.ix_(_starts(windows.shape[0]), starts)].reshape(-1, rows, columns)
    evals = np.sort(_by_gram(windows), axis=None)
    if evals[evals.size // 2] < _GRAM * evals[-1]:
        evals = np.sort(np.linalg.svd(windows.astype(np.float64), compute_uv=False) ** 2, axis=None)
    return Farms(_hill(evals), evals, (rows, columns), len(windows), whole_window)


def _hill(evals: Vector) -> float:
    """Give the published estimators' exponent, that of the tail from the middle on, which counts its threshold."""
    tail = evals[evals.size // 2 :]
    found = fit_power_law(tail, xmin=float(tail[0]), min_tail=2) if tail[0] > 0 else None
    return nan if found is None else found.alpha


def _starts(positions: int) -> NDArray[np.intp]:
    """Give the starts of the windows along a dimension, of so many possible ones from 0 on."""
    step = max(1, (positions - 1) // (_STARTS - 1))
    return np.arange(0, positions, step)[:_STARTS]


def _by_gram(windows: NDArray[np.generic]) -> Vector:
    """Eigenvalues of (windows, rows, columns) by their Gram matrices, those of the shorter side."""
    if windows.shape[1] > windows.shape[2]:
        windows = windows.swapaxes(1, 2)
    W = windows.astype(np.float64)
    return np.asarray(np.maximum(np.linalg.eigvalsh(W @ W.swapaxes(1, 2)), 0))
