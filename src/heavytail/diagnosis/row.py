"""The table: one row a matrix, its columns and what they mean. The schema is frozen under `SCHEMA_VERSION`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from math import nan

__all__ = ["COLUMNS", "DEFINITIONS", "GROUPS", "SCHEMA_VERSION", "Row"]

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the table; a number that is missing is NaN, a text that is missing is empty.

    Every field is defined in `DEFINITIONS`.
    """

    name: str
    kind: str
    dtype: str
    status: str
    reason: str = ""
    N: float = nan
    M: float = nan
    Q: float = nan
    num_matrices: float = nan
    num_evals: float = nan

    norm: float = nan
    log_norm: float = nan
    lambda_max: float = nan
    log_spectral_norm: float = nan
    stable_rank: float = nan
    matrix_rank: float = nan
    rank_loss: float = nan
    entropy: float = nan

    alpha: float = nan
    alpha_lo: float = nan
    alpha_hi: float = nan
    sigma: float = nan
    xmin: float = nan
    xmax: float = nan
    D: float = nan
    num_pl_spikes: float = nan
    p_value: float = nan
    tail: str = ""
    warning: str = ""
    alpha_hill: float = nan
    alpha_weighted: float = nan
    log_alpha_norm: float = nan
    tail_excess: float = nan
    tail_score: float = nan

    sigma_mp: float = nan
    bulk_edge: float = nan
    mp_softrank: float = nan
    num_spikes: float = nan
    num_traps: float = nan
    rand_distance: float = nan

    phase: str = ""
    phase_probability: float = nan

    def as_dict(self) -> dict[str, str | float]:
        """Give the row as a plain dictionary in the order of the columns."""
        return asdict(self)


COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(Row))

GROUPS: dict[str, tuple[str, ...]] = {
    "identity": COLUMNS[:10],
    "scale": COLUMNS[10:18],
    "shape": COLUMNS[18:34],
    "noise": COLUMNS[34:40],
    "phase": COLUMNS[40:],
}

DEFINITIONS: dict[str, str] = {
    "name": "The tensor's name without a trailing '.weight'; a part of a fused tensor follows a colon.",
    "kind": "What the matrix is: linear, embedding, conv2d, depthwise, qkv, lstm, expert, ...",
    "dtype": "The type the numbers are stored in.",
    "status": "ok, skipped (not a weight matrix), unsupported (cannot be read as numbers) or failed.",
    "reason": "Why the row is not ok, or why a number of it is missing.",
    "N": "The larger dimension of the matrix.",
    "M": "The smaller dimension of the matrix.",
    "Q": "Aspect ratio N / M, at least 1.",
    "num_matrices": "How many matrices are pooled in the row, for example one for each kernel position.",
    "num_evals": "How many eigenvalues of WᵀW the row has.",
    "norm": "Squared Frobenius norm: the sum of the eigenvalues.",
    "log_norm": "log10 of the squared Frobenius norm.",
    "lambda_max": "Largest eigenvalue of WᵀW: the squared spectral norm.",
    "log_spectral_norm": "log10 of the largest eigenvalue.",
    "stable_rank": "Sum of the eigenvalues over the largest one, between 1 and the rank.",
    "matrix_rank": "Number of singular values that stand above the rounding noise of the stored type.",
    "rank_loss": "Number of singular values that do not stand above it.",
    "entropy": "Entropy of the normalised eigenvalues over the log of the rank, from 0 (rank one) to 1 (all equal).",
    "alpha": "Exponent of the power law density λ^-α fitted to the tail; smaller is heavier.",
    "alpha_lo": "Lower end of alpha's 95 % interval: of all starts that fit as well, or of replicates (--bootstrap).",
    "alpha_hi": "Upper end of alpha's 95 % interval, as alpha_lo.",
    "sigma": "Standard error (alpha - 1) / sqrt(n) of the fit; it does not count that xmin was chosen.",
    "xmin": "Smallest eigenvalue of the fitted tail, chosen by the least Kolmogorov-Smirnov distance.",
    "xmax": "Largest eigenvalue of the fitted tail.",
    "D": "Kolmogorov-Smirnov distance between the tail and its fit.",
    "num_pl_spikes": "Number of eigenvalues in the fitted tail.",
    "p_value": "Goodness of fit of the power law; small values reject it. With --bootstrap.",
    "tail": "The law that the evidence prefers for the tail, or 'undecided'. With --bootstrap.",
    "warning": "'over-trained' (alpha below 2) or 'under-trained' (above 6), where the whole interval says so.",
    "alpha_hill": "Hill estimate of the exponent from the upper half of the eigenvalues.",
    "alpha_weighted": "alpha-hat: alpha times log10 of the largest eigenvalue.",
    "log_alpha_norm": "log10 of the sum of the eigenvalues to the power alpha.",
    "tail_excess": "Mean log of the upper tenth of the eigenvalues over the next, in units of noise's; 1 for noise.",
    "tail_score": "The same as a distance from noise in its standard deviations; about 1.645 is the 5 % level.",
    "sigma_mp": "Scale of the noise bulk: the square root of its share of the squared norm, 1 for pure noise.",
    "bulk_edge": "Upper edge of the noise bulk, as an eigenvalue of WᵀW.",
    "mp_softrank": "Bulk edge over the largest eigenvalue: about 1 for noise, small where spikes stand far out.",
    "num_spikes": "Number of eigenvalues beyond the noise; noise alone shows one in 1 layer of 100.",
    "num_traps": "Correlation traps: eigenvalues that shuffled copies show beyond noise, and rows or columns as heavy.",
    "rand_distance": "Jensen-Shannon distance, 0 to 1, between the eigenvalue densities of matrix and shuffled copies.",
    "phase": "Phase of training, from the spectrum alone; 'undecided' where none is likelier than all others together.",
    "phase_probability": "Probability of the likeliest phase, among ensembles of matrices that define the six.",
}
