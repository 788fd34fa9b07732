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
        by_matrix: (num_matrices, M) float64, the same of each matrix, ascending.
        positive: (rank,) float64, those of them that stand above the rounding noise of their own matrix, ascending.
        floor: the highest such noise level of any of the matrices.
        error: bound on the absolute error of any of the eigenvalues.
        method: how it was computed: "gram" (eigenvalues of W^T W), "svd" (squared singular values of W, of all matrices
            or of some), "gram, rank open" (as gram, and the rank is a lower bound), "factors" (of a product, from its
            factors) or "operator" (a convolution's frequencies, whose eigenvalues come in equal pairs).
    """

    N: int
    M: int
    evals: NDArray[np.float64]
    by_matrix: NDArray[np.float64]
    positive: NDArray[np.float64]
    floor: float
    error: float
    method: str

    @property
    def rank(self) -> int:
        """Sum of the numerical ranks of the matrices."""
        return self.positive.size

    @property
    def num_matrices(self) -> int:
        """Number of matrices whose eigenvalues are pooled."""
        return len(self.by_matrix)

    @property
    def sv_min(self) -> NDArray[np.float64]:
        """Smallest singular value of each matrix, shape (num_matrices,)."""
        return np.sqrt(self.by_matrix[:, 0])
