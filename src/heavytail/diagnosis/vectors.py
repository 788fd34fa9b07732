"""Are the singular vectors of bulk, spikes and tail spread over all coordinates, as random ones are, or localised?

A vector without structure is a random direction (Haar). Spikes that were learned, and traps, sit on few coordinates.
The measures are those of Martin and Mahoney (2021, section 5.4); the entropy is Shannon's, of the squared components,
since the entropy of a histogram of components depends on its bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import log, sqrt
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from heavytail.spectra.entries import Blocks, whole

__all__ = ["MEASURES", "Localisation", "Measures", "haar", "localisation", "measure"]

_DRAWS = 400
_HELD = 1 << 23  # numbers of random directions that are held at once

Matrix = NDArray[np.float64]


class Measures(NamedTuple):
    """Measures of vectors, each an array with a value a vector.

    Attributes:
        localisation_ratio: sum of the components' magnitudes over the largest of them; 1 for a unit vector.
        participation_ratio: Euclidean norm over the 4-norm; 1 for a unit vector, n^(1/4) for equal components.
        entropy: Shannon entropy of the squared components over log n, 0 to 1.
    """

    localisation_ratio: Matrix
    participation_ratio: Matrix
    entropy: Matrix


MEASURES = Measures._fields


@dataclass(frozen=True, slots=True)
class Localisation:
    """One measure of the vectors of one part of the spectrum.

    Attributes:
        side: "left" vectors have N components, "right" ones M.
        part: "bulk", "spikes" (beyond the noise edge) or "tail" (from xmin on); the last two overlap.
        count: number of vectors.
        measure: one of `MEASURES`.
        mean: mean over the vectors.
        haar: mean of random directions of the same dimension.
        z: standard errors by which the first lies above the second; negative where the vectors are localised.
    """

    side: Literal["left", "right"]
    part: Literal["bulk", "spikes", "tail"]
    count: int
    measure: str
    mean: float
    haar: float
    z: float


def measure(vectors: Matrix) -> Measures:
    """Measure (n, k) vectors.

    Example:
        >>> [float(value[0]) for value in measure(np.array([[1.0], [0.0], [0.0]]))]
        [1.0, 1.0, 0.0]
    """
    magnitude = np.abs(vectors)
    ratio = magnitude.sum(axis=0) / magnitude.max(axis=0)
    p = np.square(magnitude, out=magnitude)
    p /= p.sum(axis=0)
    with np.errstate(invalid="ignore"):  # in one dimension
        entropy = entr(p).sum(axis=0) / log(len(vectors))
    return Measures(ratio, (p**2).sum(axis=0) ** -0.25, entropy)


@lru_cache(maxsize=256)
def haar(n: int) -> tuple[tuple[float, float], ...]:
    """Give mean and standard deviation of each measure over random directions in n dimensions (seeded draws)."""
    rng, step = np.random.default_rng(n), max(1, min(_DRAWS, _HELD // n))
    parts = [measure(rng.standard_normal((n, min(step, _DRAWS - i)))) for i in range(0, _DRAWS, step)]
    drawn = [np.concatenate(values) for values in zip(*parts, strict=True)]
    return tuple((float(values.mean()), float(values.std(ddof=1))) for values in drawn)


def localisation(
    matrices: Sequence[Blocks], thresholds: Sequence[float], xmin: float, floor: float
) -> tuple[Localisation, ...]:
    """Measure the singular vectors of a row's matrices, by a symmetric eigensolver.

    Vectors that are arbitrary are left out: those of the null space, and those whose eigenvalue equals a neighbour's to
    within rounding, as all of an orthogonal matrix do.

    Args:
        matrices: the matrices, N x M each.
        thresholds: for each matrix the eigenvalue beyond which they count as spikes; NaN where it has no bulk, and the
            tail is told from the rest.
        xmin: eigenvalue from which they are the tail; NaN where there is none.
        floor: eigenvalues at or below it are rounding noise, as `Spectrum.floor`.

    Returns:
        A value for each side, part and measure that has vectors.

    Example:
        >>> W = np.random.default_rng(0).standard_normal((200, 100))
        >>> W[0] += 5 * W[1]  # a heavy row
        >>> found = localisation([lambda r: [W]], [600.0], float("nan"), 0.0)
        >>> [(one.part, one.z < -5) for one in found if one.side == "left" and one.measure == "entropy"]
        [('bulk', False), ('spikes', True)]
    """
    parts: dict[tuple[str, str], list[Measures]] = {}
    size = {}
    for rows, threshold in zip(matrices, thresholds, strict=True):
        W = whole(rows)
        size = {"left": W.shape[0], "right": W.shape[1]}
        evals, right = np.linalg.eigh(W.T @ W)
        known = _known(evals, floor)
        evals, right = evals[known], right[:, known]
        left = W @ right
        left /= np.sqrt(evals)
        start = xmin if np.isnan(threshold) else threshold
        chosen = {"spikes": evals > threshold, "tail": evals >= xmin, "bulk": ~(evals >= start)}
        for side, vectors in (("left", left), ("right", right)):
            for part, which in chosen.items():
                if which.any():
                    parts.setdefault((side, part), []).append(measure(vectors[:, which]))
    found = []
    for side in ("left", "right"):
        for part in ("bulk", "spikes", "tail"):
            if (side, part) in parts:
                found += _against_haar(side, part, parts[side, part], size[side])  # type: ignore[arg-type]
    return tuple(found)


def _known(evals: Matrix, floor: float) -> NDArray[np.bool_]:
    """Tell the eigenvalues whose vectors are determined: beyond rounding, and farther than it from their neighbours."""
    rounding = evals[-1] * len(evals) * 2e-16
    apart = np.diff(evals) > rounding
    return np.asarray((evals > max(floor, rounding)) & np.append(True, apart) & np.append(apart, True))


def _against_haar(
    side: Literal["left", "right"], part: Literal["bulk", "spikes", "tail"], measured: list[Measures], n: int
) -> list[Localisation]:
    found = []
    for i, (mean, deviation) in enumerate(haar(n)):
        values = np.concatenate([one[i] for one in measured])
        error = deviation * sqrt(1 / values.size + 1 / _DRAWS)
        ours = float(values.mean())
        z = (ours - mean) / error if error > 0 else 0.0
        found.append(Localisation(side, part, values.size, MEASURES[i], ours, mean, z))
    return found
