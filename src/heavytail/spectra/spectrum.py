"""The eigenvalues of a layer, with what is known about their error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Spectrum"]


@dataclass(frozen=True, slots=True)
class Spectrum:
    """All eigenvalues of W^T W of the matrices that are pooled in one row of the table.

    Attributes:
        N: larger dimension of each matrix.
        M: smaller dimension of each matrix.
        evals: (num_evals,) float64, the eigenvalues of all matrices, ascending, not negative.
        rank: sum of the numerical ranks of the matrices.
        floor: eigenvalues at or below it cannot be told from the rounding noise of the stored type.
        error: bound on the absolute error of any of the eigenvalues.
        sv_min: (num_matrices,) float64, smallest singular value of each matrix.
        method: how it was computed: "gram" (eigenvalues of W^T W) or "svd" (squared singular values of W).
    """

    N: int
    M: int
    evals: NDArray[np.float64]
    rank: int
    floor: float
    error: float
    sv_min: NDArray[np.float64]
    method: str

    @property
    def positive(self) -> NDArray[np.float64]:
        """The eigenvalues that stand above rounding: the largest ones, as many as the rank."""
        return self.evals[self.evals.size - self.rank :]

    @property
    def num_matrices(self) -> int:
        """Number of matrices whose eigenvalues are pooled."""
        return self.sv_min.size
