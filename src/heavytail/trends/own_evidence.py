"""Evidence of one's own models: what `trends --json` wrote of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

from heavytail.errors import RequestError, SourceError
from heavytail.trends.evidence import Evidence, measure
from heavytail.trends.verdict import SUPPORTED

__all__ = ["own_evidence"]


@dataclass(frozen=True, slots=True)
class _Trend:
    """What was found of one metric: its name, the verdict, which way is better, the sign error, and its values."""

    metric: str
    verdict: str
    direction: int
    sign_error: float
    values: list[float]


@dataclass(frozen=True, slots=True)
class _Saved:
    """What a report of trends says: models, their series and quality, larger being better, and the trends."""

    models: tuple[str, ...]
    groups: tuple[str, ...]
    better: list[float]
    trends: tuple[_Trend, ...]


def own_evidence(path: Path, metric: str | None) -> tuple[Evidence, tuple[str, ...]]:
    """Take the evidence on the metric asked for, or on the supported one that errs least.

    Args:
        path: of a report of trends.
        metric: the one asked for.

    Returns:
        The evidence, and the names of its models.

    Raises:
        SourceError: if it is not what `trends --json` writes.
        RequestError: if it says nothing of the metric, or supports none.
    """
    saved = _read(path)
    known = {trend.metric: trend for trend in saved.trends}
    if metric is not None and metric not in known:
        raise RequestError(f"{path} has no trend of {metric!r}, but of {', '.join(known) or 'none'}")
    looked = saved.trends if metric is None else (known[metric],)
    found = [(trend.sign_error, k, trend) for k, trend in enumerate(looked) if trend.verdict == SUPPORTED]
    for _, _, trend in sorted(found, key=lambda one: (one[0] != one[0], *one[:2])):  # without a sign error last
        source = f"the series of {path.name}"
        if evidence := measure(trend.metric, trend.direction, trend.values, saved.better, saved.groups, source):
            return evidence, saved.models
    verdicts = ", ".join(f"{trend.metric} {trend.verdict}" for trend in looked) or "it has no trends"
    raise RequestError(f"{path} supports no metric to rank by: {verdicts}")


def _read(path: Path) -> _Saved:
    try:
        return _saved(json.loads(path.read_bytes()))
    except OSError as error:
        raise SourceError(path, error.strerror or str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(path, "is not what trends --json writes (trends, models, quality)") from error


def _saved(plain: Mapping[str, Any]) -> _Saved:
    models, sign = plain["models"], 1 if plain["quality"]["higher_is_better"] else -1
    return _Saved(
        models=tuple(str(one["model"]) for one in models),
        groups=tuple(str(one["group"]) for one in models),
        better=[sign * _number(one["quality"]) for one in models],
        trends=tuple(
            _Trend(
                metric=str(trend["metric"]),
                verdict=str(trend["verdict"]),
                direction=int(trend["direction"]) or (1 if sign * _number(trend["within"]["slope"]) > 0 else -1),
                sign_error=_number(trend["sign_error"]),
                values=[_number(one["metrics"][trend["metric"]]) for one in models],
            )
            for trend in plain["trends"]
        ),
    )


def _number(value: Any) -> float:
    return nan if value is None else float(value)
