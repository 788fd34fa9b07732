"""The change of a layer as a matrix of its own, and what rounding alone could have made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan, sqrt

import numpy as np

from heavytail.comparison.difference import difference, together
from heavytail.diagnosis.layer import Layer, Wanted, diagnose_layer, measure
from heavytail.rmt.noise_bulk import MIN_SIZE
from heavytail.spectra.entries import Blocks, whole
from heavytail.spectra.exact import LARGE, block_rows, pool, spectrum_of_rows, spectrum_of_stack, unit_roundoff

__all__ = ["Delta", "find_delta", "storage_floor"]

_EXACT = "float64"
_SLACK = 2.0  # the noise of a change and of its storing are told apart from about twice the variance on


@dataclass(frozen=True, slots=True)
class Delta:
    """The change of a layer.

    Attributes:
        layer: the difference, analysed as a matrix of its own. The numbers of both models are exact as they are stored,
            and so is their difference, but for the rounding of float64.
        floor: the largest eigenvalue that storing makes where there is no other change (`storage_floor`).
    """

    layer: Layer
    floor: float

    @property
    def rank(self) -> int:
        """Eigenvalues beyond what storing makes."""
        spectrum = self.layer.spectrum
        return 0 if spectrum is None else int((spectrum.evals > self.floor).sum())

    @property
    def kind(self) -> str:
        """What the change is (see `row.KINDS_OF_CHANGE`); empty where nothing tells.

        Noise that storing alone could have made is nothing beside directions that stand out of it: what a merged
        adapter is.
        """
        spectrum = self.layer.spectrum
        if spectrum is None or spectrum.M < MIN_SIZE:
            return ""
        if self._made_of_few:
            return "low rank"
        if self._has_bulk:
            stored = self.layer.row.bulk_edge <= _SLACK * self.floor
            return "noise" if not self._directions else "low rank" if stored else "spiked"
        if 2 * self.rank < spectrum.evals.size:
            return "low rank" if self.rank else "noise"
        noise = self.layer.noise
        return "dense" if noise is not None and noise.bulks else ""

    @property
    def suggested_rank(self) -> float:
        """Rank of what stands out of noise and of storing; NaN where nothing tells, and for several matrices."""
        spectrum = self.layer.spectrum
        if spectrum is None or spectrum.num_matrices > 1 or self.kind in ("", "dense"):
            return nan
        return float(self._directions)

    @property
    def _directions(self) -> int:
        """Eigenvalues beyond both the noise bulk, where there is one, and storing."""
        return min(int(self.layer.row.num_spikes), self.rank) if self._has_bulk else self.rank

    @property
    def _made_of_few(self) -> bool:
        """Whether few eigenvalues are all there is, but for the rounding of float64."""
        spectrum = self.layer.spectrum
        return spectrum is not None and 0 < 2 * spectrum.rank < spectrum.evals.size

    @property
    def _has_bulk(self) -> bool:
        noise = self.layer.noise
        return noise is not None and not noise.reason and bool(noise.bulks)


def find_delta(
    base: Sequence[Blocks],
    tuned: Sequence[Blocks],
    N: int,
    M: int,
    *,
    name: str,
    kind: str,
    stored: tuple[str, str] | None,
    svd: bool = True,
) -> Delta:
    """Analyse the difference of the matrices of a layer.

    Args:
        base: its matrices in the base, N x M each.
        tuned: in the other model.
        N: rows of each.
        M: columns of each.
        name: name of the row.
        kind: what the matrices are.
        stored: names of the types that base and other model are stored in; None where nothing was rounded.
        svd: whether there is memory for singular values where rounding leaves the rank open.

    Example:
        >>> W = np.random.default_rng(0).standard_normal((300, 100))
        >>> names = {"name": "fc", "kind": "linear", "stored": ("float64", "float64")}
        >>> find_delta([lambda r: [W]], [lambda r: [1.01 * W]], 300, 100, **names).kind
        'noise'
    """
    deltas = [difference(one, other) for one, other in zip(base, tuned, strict=True)]
    norm = max(_norm(matrix, M) for matrix in (*base, *tuned))
    if len(deltas) == 1 or M >= LARGE:
        spectrum = pool([spectrum_of_rows(delta, N, M, _EXACT, svd, norm=norm) for delta in deltas])
    else:
        spectrum = spectrum_of_stack(np.stack([whole(delta) for delta in deltas]), _EXACT, norm, svd)
    measured = measure(spectrum, deltas, Wanted(), name=name, dtype=_EXACT)
    layer = diagnose_layer(measured, Wanted(), name=name, kind=kind, dtype=_EXACT)
    floor = spectrum.floor
    if stored is not None:
        # What was trained further starts from the base as it is stored: it is rounded once, to the coarser type.
        turned = unit_roundoff(stored[0]) > unit_roundoff(stored[1])
        pairs = zip(*((base, tuned) if turned else (tuned, base)), strict=True)
        dtype = max(stored, key=unit_roundoff)
        floor = max(floor, *(storage_floor(rounded, other, M, dtype) for rounded, other in pairs))
    return Delta(layer, floor)


def storage_floor(rounded: Blocks, other: Blocks, M: int, dtype: str) -> float:
    r"""Give the largest eigenvalue that rounding makes of the difference of two matrices.

    The error of an entry is uniform within half a unit in its last place, of variance v_ij = ulp^2 / 12, and as good as
    independent of the others; where both matrices have the same number there is none. The spectral norm of a matrix of
    such errors is at most

    .. math:: \max_i \Big(\sum_j v_{ij}\Big)^{1/2} + \max_j \Big(\sum_i v_{ij}\Big)^{1/2}

    but for small terms (Bandeira and van Handel 2016, Corollary 3.9), which is the edge of Marchenko and Pastur where
    all entries are of one size, and follows the large entries where they are not.

    Args:
        rounded: the matrix whose numbers were rounded, in blocks of rows of M.
        other: the other matrix.
        M: number of columns.
        dtype: name of the type that they were rounded to.

    Example:
        >>> W = np.full((100, 100), 1.5)  # where a bfloat16 has steps of 2^-7
        >>> round(storage_floor(lambda r: [W], lambda r: [0 * W], 100, "bfloat16") / (4 * 100 * 2.0**-14 / 12), 6)
        1.0
    """
    spacing = 2 * unit_roundoff(dtype)
    rows, columns = 0.0, np.zeros(M)
    for block, same in together(rounded, other, block_rows(M)):
        W = block.astype(np.float64)
        _, exponents = np.frexp(W)  # a number is between 2^(e-1) and 2^e
        moved = (W != 0) & (same != W)
        variances = np.where(moved, np.square(np.ldexp(spacing, exponents - 1)) / 12, 0.0)
        rows = max(rows, float(variances.sum(axis=1).max(initial=0)))
        columns += variances.sum(axis=0)
    return (sqrt(rows) + sqrt(float(columns.max()))) ** 2


def _norm(matrix: Blocks, M: int) -> float:
    """Give the Frobenius norm of a matrix."""
    return sqrt(sum(float(np.square(block.astype(np.float64)).sum()) for block in matrix(block_rows(M))))
