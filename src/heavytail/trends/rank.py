"""Models of one family in the order that a metric gives them, and how sure that order is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from math import hypot, isfinite, log10, nan, sqrt
from os import PathLike
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from heavytail.diagnosis.row import Row
from heavytail.errors import RequestError
from heavytail.report.model_report import ModelReport
from heavytail.report.writing import json_text, plain
from heavytail.trends.choices import listed
from heavytail.trends.evidence import ACROSS, OVERCONFIDENT, PUBLISHED, Evidence
from heavytail.trends.families import ALIKE, least_alike, shared
from heavytail.trends.matching import match
from heavytail.trends.metrics import metric_named, metric_values
from heavytail.trends.models import Model, distinct, read_model
from heavytail.trends.own_evidence import own_evidence

__all__ = ["Ranked", "Ranking", "rank"]

_USUAL = "alpha_weighted"  # of the published metrics, that which orders most pairs rightly; log_alpha_norm ties with it
_PUBLISHED_UNITS = (
    "the evidence is of metrics as WeightWatcher 0.2.7 computed them; the differences here are heavytail's own, which "
    "may be larger or smaller"
)
_IN_SAMPLE = (
    "the share of pairs in the right order is of the evidence's own models (in sample); of others it may be smaller"
)
_QUANTILES = np.array([NormalDist().inv_cdf((k + 0.5) / 400) for k in range(400)])
_WIDTH = 2 * NormalDist().inv_cdf(0.975)  # of a 95 % interval, in standard deviations


@dataclass(frozen=True, slots=True)
class Ranked:
    """A model in its place.

    Attributes:
        place: from 1, the best.
        model: its name.
        value: of the metric.
        standard_error: of the value, from the intervals of alpha in each layer; 0 where the metric has no alpha.
        gap: how far the metric puts the model ahead of the next one; NaN for the last.
        better: the probability that it is better than the next one; NaN for the last.
    """

    place: int
    model: str
    value: float
    standard_error: float
    gap: float
    better: float


@dataclass(frozen=True)
class Ranking:
    """Models in the order that a metric gives them, best first.

    Attributes:
        metric: by which they are ordered.
        direction: -1 if the smaller value is the better one, +1 if the larger.
        models: in their places.
        first: the probability that the first is the best of all.
        evidence: how often the metric ordered two models rightly.
        similarity: of the two models that share least, 0 to 1.
        one_family: whether even these are of one family.
        notes: what was left out, and why.
        version: version of heavytail that made the ranking.
    """

    metric: str
    direction: int
    models: tuple[Ranked, ...]
    first: float
    evidence: Evidence
    similarity: float
    one_family: bool
    notes: tuple[str, ...]
    version: str

    @property
    def sentence(self) -> str:
        """What the ranking says and how far it can be trusted, in a sentence or two."""
        title, evidence = metric_named(self.metric).title, self.evidence
        seen = f"{evidence.by_series:.0%} of pairs rightly"
        if isfinite(evidence.worst):
            seen += f" in the mean over series (worst series {evidence.worst:.0%}; all pairs {evidence.right:.0%})"
        said = (
            f"By {title}, {self.models[0].model} is the best of {len(self.models)} with a probability of about "
            f"{self.first:.0%}: among {evidence.source} {title} ordered {seen}."
        )
        to = "tasks" if evidence is PUBLISHED.get(self.metric) else "models"
        if evidence is not ACROSS.get(self.metric):
            said += f" How far that carries to other {to} is not known."
        if not self.one_family:
            said += " These models are not of one family, and across families the metrics tell next to nothing."
        return said + (" Two models show no trend: take it as a hint." if len(self.models) == 2 else "")

    def as_dict(self) -> dict[str, Any]:
        """Give the ranking as plain values, a missing number as None."""
        return {"heavytail": self.version, "sentence": self.sentence} | {
            name: value for name, value in plain(asdict(self)).items() if name != "version"
        }

    def to_json(self, path: str | PathLike[str] | None = None) -> str:
        """Give the ranking as JSON text, and write it to `path` if one is given."""
        return json_text(self.as_dict(), ("models",), path)


def rank(
    sources: Sequence[str | PathLike[str] | ModelReport],
    metric: str | None = None,
    evidence: str | PathLike[str] | None = None,
    across_families: bool = False,
    *,
    jobs: int | None = None,
    cache: str | PathLike[str] | None = None,
    progress: Callable[[str, float, float], None] | None = None,
) -> Ranking:
    """Order models by a metric, best first, and say how sure the order is.

    The metric of each model is taken as normally distributed, with the variance that the 95 % intervals of alpha in its
    layers give, the layers independent of each other. The probability that one model is better than another is the
    mean, over the difference so distributed, of the share of pairs with such a difference that the evidence shows in
    the right order (`Evidence.sure`). The probability p that the first is the best follows from those that it is better
    than each other one, by Luce's choice axiom: 1/p = 1 + sum of (1 - p_j)/p_j (Luce 1959; Bradley and Terry 1952).

    On the published series this is on the side of caution: told of each by the others, alpha-hat orders its pairs
    rightly with a mean probability of 0.76 and does so in 0.81 of them, and its first is the best with one of 0.38 and
    is so in 0.55 of the series. How far the evidence carries beyond them, only one's own can tell: that on image
    classifiers orders ResNet-20/32/56 and EfficientNet-Lite0/1 rightly, and the pitch trackers CREPE tiny and full
    wrongly, as it does CHGNet 0.2.0 and 0.3.0, potentials of atoms.

    Args:
        sources: at least two models, each a checkpoint or anything else that `analyze` reads, a report, or the JSON,
            CSV or Parquet that a report wrote.
        metric: by which to order; by default the one that the evidence supports best.
        evidence: the JSON of trends, of models that were measured as these are; by default the published series, whose
            metrics are WeightWatcher 0.2.7's.
        across_families: whether to order models that are not of one family.
        jobs: threads of the analyses.
        cache: folder where the analyses keep finished results.
        progress: of the analyses.

    Raises:
        SourceError: if a model or the evidence cannot be read.
        RequestError: if the models are not of one family, or the evidence does not support the metric, or any.
    """
    from heavytail import __version__

    chosen, told = (_published(metric), ()) if evidence is None else own_evidence(Path(evidence), metric)
    if len(sources) < 2:
        raise RequestError(f"rank needs at least two models; there are {len(sources)}")
    models = distinct(read_model(source, jobs=jobs, cache=cache, progress=progress) for source in sources)
    similarity = _alikeness(models, across_families)
    one_family = similarity >= ALIKE
    if not one_family and evidence is None:
        chosen = ACROSS[chosen.metric]
    columns = {name: np.array([model.metrics[name] for model in models]) for name in models[0].metrics}
    values = metric_values(chosen.metric, columns)
    errors = [_standard_error(chosen.metric, model.rows) for model in models]
    notes = tuple(
        f"left out, without {chosen.metric}: {model.name}"
        for model, value in zip(models, values, strict=True)
        if not isfinite(value)
    )
    notes += (_PUBLISHED_UNITS,) if evidence is None else (_IN_SAMPLE, *_circular(models, told, Path(evidence)))
    order = [int(k) for k in np.argsort(-chosen.direction * values, kind="stable") if isfinite(values[k])]
    if len(order) < 2:
        raise RequestError(f"fewer than two of the models have {chosen.metric}")
    better = [_better(chosen, values[order[0]] - values[k], hypot(errors[order[0]], errors[k])) for k in order[1:]]
    return Ranking(
        metric=chosen.metric,
        direction=chosen.direction,
        models=tuple(_places([(models[k].name, float(values[k]), errors[k]) for k in order], chosen)),
        first=1 / (1 + sum((1 - p) / p for p in better)),
        evidence=chosen,
        similarity=similarity,
        one_family=one_family,
        notes=notes,
        version=__version__,
    )


def _published(metric: str | None) -> Evidence:
    if metric is not None and metric in OVERCONFIDENT:
        raise RequestError(
            f"the published series do not support {metric!r}: {OVERCONFIDENT[metric]}; it can be "
            f"{', '.join(PUBLISHED)}, and --evidence takes that of your own models"
        )
    if metric is not None and metric not in PUBLISHED:
        raise RequestError(
            f"there is no published evidence on {metric!r}, but on {', '.join(PUBLISHED)}; "
            "--evidence takes that of your own models"
        )
    return PUBLISHED[metric or _USUAL]


def _circular(models: Sequence[Model], told: Sequence[str], path: Path) -> tuple[str, ...]:
    """Say which models the evidence itself is of, by their names."""
    lowered = [name.lower() for name in told]
    known = [model.name for model in models if any(match(name.lower(), lowered) for name in (model.name, model.also))]
    if not known:
        return ()
    return (f"by their names {path.name} knows the quality of {listed(known)}: for these its evidence is no forecast",)


def _alikeness(models: Sequence[Model], across_families: bool) -> float:
    i, j, similarity = least_alike(models)
    if similarity < ALIKE and not across_families:
        both, either = shared(models[i], models[j])
        raise RequestError(
            f"{models[i].name} and {models[j].name} are not of one family: they share {both} of {either} kinds of "
            f"layers, less than {ALIKE:.0%}; --across-families ranks them nevertheless"
        )
    return similarity


def _places(models: Sequence[tuple[str, float, float]], evidence: Evidence) -> Iterable[Ranked]:
    """Say of each model, given by name, value and standard error, how far it is ahead of the next one."""
    for place, ((name, value, error), following) in enumerate(zip_longest(models, models[1:]), 1):
        gap = better = nan
        if following is not None:
            difference = value - following[1]
            gap, better = evidence.direction * difference, _better(evidence, difference, hypot(error, following[2]))
        yield Ranked(place, name, value, error, gap, better)


def _better(evidence: Evidence, difference: float, error: float) -> float:
    """Give the probability that a model is better than another, given how their metrics differ and how surely."""
    return float(evidence.sure(evidence.direction * (difference + error * _QUANTILES)).mean())


def _standard_error(metric: str, rows: Sequence[Row]) -> float:
    """Give the standard error of a mean over rows from those of alpha; norms have none.

    The derivative of log10 sum(evals^alpha) by alpha is a mean of log10 of the eigenvalues, for which the largest
    stands, that weighs most.
    """
    weights: dict[str, Callable[[Row], float]] = {
        "alpha": lambda row: 1.0,
        "alpha_weighted": lambda row: log10(row.lambda_max),
        "log_alpha_norm": lambda row: log10(row.lambda_max),
    }
    if metric not in weights:
        return 0.0
    fitted = [row for row in rows if row.status == "ok" and isfinite(row.alpha)]
    deviations = [weights[metric](row) * _deviation(row) for row in fitted]
    return sqrt(sum(x * x for x in deviations)) / max(len(fitted), 1)


def _deviation(row: Row) -> float:
    """Give the standard deviation of alpha: from its interval, or where it has none from the fit alone."""
    width = row.alpha_hi - row.alpha_lo
    return width / _WIDTH if isfinite(width) else row.sigma if isfinite(row.sigma) else 0.0
