"""What was found of the trends of a table of models, and how it is written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heavytail.report.writing import json_text, plain
from heavytail.trends.association import Association
from heavytail.trends.table import ModelTable
from heavytail.trends.within import Within

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LEAST_MODELS", "POOLED", "WITHIN", "Trend", "TrendsReport", "Within"]

POOLED, WITHIN = "(pooled)", "(within)"
SCHEMA_VERSION = 1
LEAST_MODELS = 4
"""Models of a group from which its sign error counts: of two, half are in the wrong order by chance."""

_COLUMNS = (
    *("group", "metric", "direction", "verdict", "adjusted"),
    *(field.name for field in fields(Association)),
    *("robust_sign_error", "opposed", "groups", "negative", "positive"),
)


@dataclass(frozen=True, slots=True)
class Trend:
    """One metric against quality: by group, over all models, and within groups.

    Attributes:
        metric: its name.
        direction: -1 where the theory expects a better model to have the smaller value, +1 the larger, 0 where it does
            not say.
        groups: by group, those with at least 2 models, those that lack the metric among them.
        verdicts: by group, "supported", "reversed", "open" or "too few": see `verdict.verdict`.
        adjusted: by group, the p-value of Kendall's tau adjusted for all that was looked at.
        pooled: all models together, groups ignored.
        within: all groups together, their differences removed.
        verdict: of `within`.
        opposed: whether the pooled slope and the one within groups differ in sign (Simpson's paradox).
        sign_error: mean over the groups that have one, of at least `LEAST_MODELS` models.
        robust_sign_error: of the worst such group (Dziugaite et al. 2020).
    """

    metric: str
    direction: int
    groups: Mapping[str, Association]
    verdicts: Mapping[str, str]
    adjusted: Mapping[str, float]
    pooled: Association
    within: Within
    verdict: str
    opposed: bool
    sign_error: float
    robust_sign_error: float


@dataclass(frozen=True)
class TrendsReport:
    """What `trends` found.

    Attributes:
        table: the models.
        settings: the options that shaped the numbers.
        trends: one `Trend` a metric, in the order of the table.
        warnings: what keeps these models from telling more, in sentences.
        version: version of heavytail that made the report.
    """

    table: ModelTable
    settings: Mapping[str, Any]
    trends: tuple[Trend, ...]
    warnings: tuple[str, ...]
    version: str

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row a group and metric, then those of group "(pooled)" and "(within)"; missing values are NaN or None."""
        import pandas as pd

        return pd.DataFrame([row for trend in self.trends for row in _rows(trend)], columns=list(_COLUMNS))

    def __repr__(self) -> str:
        """Count the models, groups and metrics."""
        counts = (len(self.table.models), len(set(self.table.groups)), len(self.trends))
        return "<TrendsReport of {} models in {} groups by {} metrics>".format(*counts)

    def as_dict(self) -> dict[str, Any]:
        """Give the report as plain values, a missing number as None."""
        table = self.table
        found: dict[str, Any] = plain(
            {
                "schema_version": SCHEMA_VERSION,
                "heavytail": self.version,
                "settings": self.settings,
                "quality": {"name": table.quality_name, "higher_is_better": table.higher_is_better},
                "models": [
                    {
                        "model": model,
                        "group": table.groups[k],
                        "quality": float(table.quality[k]),
                        "metrics": {name: float(values[k]) for name, values in table.metrics.items()},
                    }
                    for k, model in enumerate(table.models)
                ],
                "notes": table.notes,
                "warnings": self.warnings,
                "trends": [asdict(trend) for trend in self.trends],
            }
        )
        return found

    def to_json(self, path: str | PathLike[str] | None = None) -> str:
        """Give the report as JSON text, one model or metric a line, and write it to `path` if one is given."""
        return json_text(self.as_dict(), ("models", "trends"), path)

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write the frame as CSV; a missing value is empty."""
        self.frame.to_csv(path, index=False, errors="backslashreplace")

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write the report as one HTML page that needs nothing else."""
        from heavytail.trends.page import render

        Path(path).write_text(render(self), encoding="utf-8")


def _rows(trend: Trend) -> list[dict[str, Any]]:
    about = {"metric": trend.metric, "direction": trend.direction}
    rows = [
        about | {"group": group, "verdict": trend.verdicts[group], "adjusted": trend.adjusted[group]} | asdict(found)
        for group, found in trend.groups.items()
    ]
    within = asdict(trend.within)
    within |= {"n": within.pop("models"), "p_kendall": within.pop("p_value"), "verdict": trend.verdict}
    errors = {"sign_error": trend.sign_error, "robust_sign_error": trend.robust_sign_error, "opposed": trend.opposed}
    rows += [about | {"group": POOLED} | asdict(trend.pooled), about | {"group": WITHIN} | within | errors]
    return rows
