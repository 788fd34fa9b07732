"""The table of a comparison: one row a matrix of either model, its columns and what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import nan

from heavytail.diagnosis.row import DEFINITIONS as OF_A_LAYER

__all__ = ["COLUMNS", "DEFINITIONS", "KINDS_OF_CHANGE", "METRICS", "SCHEMA_VERSION", "ChangeRow", "MetricChange"]

SCHEMA_VERSION = 1

METRICS = (
    *("log_norm", "log_spectral_norm", "stable_rank", "matrix_rank", "entropy"),
    *("alpha", "alpha_weighted", "log_alpha_norm"),
    *("sigma_mp", "bulk_edge", "mp_softrank", "num_spikes"),
)
"""Columns of a layer whose change is told."""

KINDS_OF_CHANGE: dict[str, str] = {
    "none": "every number is the same",
    "noise": "what noise of its shape would look like, with nothing that stands out of it",
    "spiked": "noise, and a few directions that stand out of it",
    "low rank": "few directions, and nothing beside them but what the rounding of the numbers makes",
    "dense": "many directions at once: neither noise nor a few directions beside it",
}


@dataclass(frozen=True, slots=True)
class MetricChange:
    """A metric in both models, and its change with an interval.

    Attributes:
        base: in the base.
        tuned: in the other model.
        lo: lower end of the 95 % interval of the change; the change itself where the metric is computed and not
            estimated.
        hi: upper end.
    """

    base: float
    tuned: float
    lo: float
    hi: float

    @property
    def change(self) -> float:
        """The value in the other model minus that in the base."""
        return self.tuned - self.base


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRow:
    """One row of a comparison; a number that is missing is NaN, a text that is missing is empty."""

    name: str
    tuned_name: str = ""
    kind: str = ""
    base_dtype: str = ""
    tuned_dtype: str = ""
    status: str = "ok"
    reason: str = ""
    N: float = nan
    M: float = nan
    num_matrices: float = nan

    base_phase: str = ""
    tuned_phase: str = ""

    change: str = ""
    relative_change: float = nan
    relative_spectral_change: float = nan

    delta_norm: float = nan
    delta_lambda_max: float = nan
    delta_stable_rank: float = nan
    delta_rank: float = nan
    delta_alpha: float = nan
    delta_alpha_lo: float = nan
    delta_alpha_hi: float = nan
    delta_sigma_mp: float = nan
    delta_bulk_edge: float = nan
    delta_num_spikes: float = nan
    delta_fits: float = nan
    suggested_rank: float = nan
    suggested_share: float = nan

    directions: float = nan
    overlap: float = nan
    largest_angle: float = nan
    intruders: float = nan
    undecided: float = nan

    metrics: Mapping[str, MetricChange] = field(default_factory=dict)

    def as_dict(self) -> dict[str, str | float]:
        """Give the row as a flat dictionary in the order of `COLUMNS`."""
        values: dict[str, str | float] = {name: getattr(self, name) for name in _OWN}
        missing = MetricChange(nan, nan, nan, nan)
        for name in METRICS:
            found = self.metrics.get(name, missing)
            numbers = (found.base, found.tuned, found.change, found.lo, found.hi)
            values |= dict(zip(_columns(name), numbers, strict=True))
        return values


def _columns(metric: str) -> tuple[str, ...]:
    return tuple(f"{metric}_{what}" for what in ("base", "tuned", "change", "change_lo", "change_hi"))


_OWN = tuple(f.name for f in fields(ChangeRow) if f.name != "metrics")

COLUMNS: tuple[str, ...] = (*_OWN, *(column for metric in METRICS for column in _columns(metric)))

DEFINITIONS: dict[str, str] = {
    "name": "Name of the row in the base, or in the other model where the base lacks it.",
    "tuned_name": "Its name in the other model, where it is another.",
    "kind": OF_A_LAYER["kind"],
    "base_dtype": "The type the base's numbers are stored in.",
    "tuned_dtype": "The type the other model's numbers are stored in.",
    "status": "ok, unmatched (in one model alone, or of two shapes), skipped (no matrix), unsupported or failed.",
    "reason": "Why the row is not ok, or why a number of it is missing.",
    "N": OF_A_LAYER["N"],
    "M": OF_A_LAYER["M"],
    "num_matrices": OF_A_LAYER["num_matrices"],
    "base_phase": "Phase of training of the base's matrix.",
    "tuned_phase": "Phase of training of the other model's matrix.",
    "change": "What the change Δ = W' - W is: " + "; ".join(f"{k}: {v}" for k, v in KINDS_OF_CHANGE.items()) + ".",
    "relative_change": "Frobenius norm of Δ over that of the base's matrix.",
    "relative_spectral_change": "Spectral norm of Δ over that of the base's matrix.",
    "delta_norm": "Squared Frobenius norm of Δ.",
    "delta_lambda_max": "Largest eigenvalue of ΔᵀΔ.",
    "delta_stable_rank": "Squared Frobenius norm of Δ over its largest eigenvalue.",
    "delta_rank": "Singular values of Δ above what the rounding of both stored types makes.",
    "delta_alpha": "Exponent of the power law fitted to the tail of Δ's spectrum.",
    "delta_alpha_lo": "Lower end of its 95 % interval.",
    "delta_alpha_hi": "Upper end of its 95 % interval.",
    "delta_sigma_mp": "Scale of the noise bulk of Δ: the square root of its share of the squared norm.",
    "delta_bulk_edge": "Upper edge of the noise bulk of Δ, as an eigenvalue.",
    "delta_num_spikes": "Eigenvalues of Δ beyond its noise.",
    "delta_fits": "1 where the bulk of Δ is shaped like noise, 0 where not quite.",
    "suggested_rank": "Rank of a low-rank adapter that holds what stands out of the noise of Δ; of single matrices.",
    "suggested_share": "Share of Δ's squared norm that so many directions hold.",
    "directions": "Leading singular directions of both models that are held against each other.",
    "overlap": "Mean squared cosine of the angles between the two leading subspaces of both sides, 1 for equal ones.",
    "largest_angle": "Largest of those angles, in degrees.",
    "intruders": "Leading directions of the other model that are far from every one of the base's singular vectors, on "
    "one side of the matrix at least.",
    "undecided": "Leading directions whose bounds do not tell whether they are intruders.",
    **{
        column: f"{text} {OF_A_LAYER[metric]}"
        for metric in METRICS
        for column, text in zip(
            _columns(metric),
            (
                "In the base:",
                "In the other model:",
                "Change of:",
                "Lower end of it, 95 %:",
                "Upper end of it, 95 %:",
            ),
            strict=True,
        )
    },
}
