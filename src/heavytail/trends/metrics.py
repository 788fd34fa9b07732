"""The metrics of a model: means and products over its matrices, and what the theory expects of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite, log10, nan
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from heavytail.diagnosis.row import Row
from heavytail.errors import RequestError
from heavytail.report.model_report import summarise

if TYPE_CHECKING:
    from heavytail.report.model_report import ModelReport

__all__ = [
    "FUNCTIONS",
    "LACKING",
    "METRICS",
    "USUAL",
    "Metric",
    "metric_named",
    "metric_values",
    "model_metrics",
    "row_metrics",
]


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that a model has.

    Attributes:
        name: the column it stands in.
        title: what people read.
        direction: -1 where the theory expects a better model to have the smaller value, +1 the larger; 0 where it does
            not say.
    """

    name: str
    title: str
    direction: int


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        # Norms bound the capacity of the network (Neyshabur, Tomioka and Srebro 2015; Bartlett, Foster and Telgarsky
        # 2017); heavier tails mean stronger correlations (Martin and Mahoney 2019; Martin, Peng and Mahoney 2021).
        Metric("log_norm", "log norm", -1),
        Metric("log_spectral_norm", "log λmax", -1),
        Metric("alpha", "α", -1),
        Metric("alpha_weighted", "α̂", -1),
        Metric("log_alpha_norm", "log α-norm", -1),
        # Over depth the stable rank goes either way (Martin, Peng and Mahoney 2021 find no trend).
        Metric("stable_rank", "stable rank", 0),
        Metric("log_stable_rank", "log stable rank", 0),
        # The bulk of noise over the largest eigenvalue: 1 of a random matrix, less with every phase of training
        # (Martin and Mahoney 2018, arXiv:1810.01075). The published series of VGG and ResNet run against it.
        Metric("mp_softrank", "MP soft rank", -1),
        Metric("alpha_hill", "Hill α", -1),
        Metric("entropy", "entropy", 0),
        # Capacity of the normalised network (Liao et al. 2018, arXiv:1807.09659; Poggio et al. 2018,
        # arXiv:1806.11379), its spectral kin (Bartlett, Foster and Telgarsky 2017), and the path norm (Neyshabur,
        # Tomioka and Srebro 2015), which only a live network has.
        Metric("log_frobenius_product", "log ∏norm", -1),
        Metric("log_spectral_product", "log ∏σmax", -1),
        Metric("log_path_norm", "log path norm", -1),
        Metric("norm", "norm", -1),
        Metric("spectral_norm", "λmax", -1),
        Metric("log10_parameters", "log parameters", 0),
    )
}
"""Those with a name of their own, in the order in which they are shown."""

USUAL = (
    *("log_norm", "log_spectral_norm", "alpha", "alpha_weighted", "log_alpha_norm", "log_stable_rank", "mp_softrank"),
    *("log_frobenius_product", "log_spectral_product", "log_path_norm"),
)
"""Those that the papers compare; every further one that is looked at makes the others less sure."""

LACKING = ("failed", "unsupported")
"""Status of a row that is a matrix, or may be, of which there are no numbers."""

FUNCTIONS = ("ln", "log10")
"""What can be taken of a metric: `ln(spectral_norm)`."""

_OF = re.compile(rf"(?P<function>{'|'.join(FUNCTIONS)})\((?P<name>.+)\)")


def metric_named(name: str) -> Metric:
    """Give the metric of a name; of one that the theory does not know, or a function of it, one without direction.

    Example:
        >>> metric_named("ln(spectral_norm)")
        Metric(name='ln(spectral_norm)', title='ln λmax', direction=-1)
    """
    if name in METRICS:
        return METRICS[name]
    if found := _OF.fullmatch(name):
        inner = metric_named(found["name"])
        return Metric(name, f"{found['function']} {inner.title}", inner.direction)
    return Metric(name, name, 0)


def metric_values(name: str, columns: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Take a metric, or the logarithm of one, from the columns there are.

    Args:
        name: a column, ln(COLUMN) or log10(COLUMN).
        columns: by name, numbers of (n,).

    Returns:
        (n,) numbers, NaN where one is missing or has no logarithm; an infinite one stays so.

    Raises:
        RequestError: if there is no such column.
    """
    function = None if name in columns else _OF.fullmatch(name)
    column = function["name"] if function else name
    if column not in columns:
        raise RequestError(
            f"there is no column of numbers {column!r}, but {', '.join(columns) or 'none'}; "
            f"a metric is a column, or {' or '.join(f'{one}(COLUMN)' for one in FUNCTIONS)}"
        )
    values = np.asarray(columns[column], np.float64)
    if function:
        positive = np.where(values > 0, values, np.nan)
        values = np.log(positive) if function["function"] == "ln" else np.log10(positive)
    return values


def model_metrics(report: ModelReport) -> dict[str, float]:
    """Compute the metrics of a model from its report.

    Where convolutions were read as operators, whose norm and number of entries grow with the grid of frequencies, the
    product of Frobenius norms and the number of parameters are NaN.

    Args:
        report: of an analysis.

    Returns:
        By name, the numbers that `row_metrics` describes.

    Example:
        >>> import numpy as np
        >>> import heavytail as ht
        >>> report = ht.analyze({"a": 3 * np.eye(60), "b": np.eye(60) / 3})
        >>> round(model_metrics(report)["log_spectral_product"], 12) + 0
        0.0
    """
    return row_metrics(report.rows, operators=report.settings.get("conv") == "operator")


def row_metrics(rows: Iterable[Row], *, operators: bool = False) -> dict[str, float]:
    """Compute the metrics of a model from the rows of its table.

    A mean is over the ok rows that have the number, each row once whatever its size, embeddings included: the same as
    in the report's summary. `norm` and `spectral_norm` are means of squares, as in the table.

    A product is over all ok rows, as a log10 of norms that are not squared. The norm of a convolution is that of its
    whole kernel; its spectral norm is the largest of its slices', a lower bound of the operator's (which
    `analyze --conv operator` computes). An embedding is a factor like any other: it is a linear map of one-hot inputs.
    A product that lacks a factor would be that of another network, so it is NaN where a row failed or is
    unsupported, or where a matrix is zero.

    Args:
        rows: of the table, of any status.
        operators: whether convolutions were read as operators.

    Returns:
        The numbers by name, those of METRICS that weights alone have; NaN where there is none.
    """
    rows = tuple(rows)
    ok = [row for row in rows if row.status == "ok"]
    summary = summarise(rows)
    found = {name: float(summary[name]) for name in METRICS if name in summary}
    found["norm"] = _mean(row.norm for row in ok)
    found["spectral_norm"] = _mean(row.lambda_max for row in ok)
    found["log_stable_rank"] = _mean(log10(row.stable_rank) for row in ok if row.stable_rank > 0)
    whole = bool(ok) and all(row.status not in LACKING for row in rows)
    found["log_frobenius_product"] = sum(row.log_norm for row in ok) / 2 if whole and not operators else nan
    found["log_spectral_product"] = sum(row.log_spectral_norm for row in ok) / 2 if whole else nan
    found["log10_parameters"] = log10(summary["parameters"]) if summary["parameters"] and not operators else nan
    return {name: found[name] for name in METRICS if name in found}


def _mean(values: Iterable[float]) -> float:
    finite = [value for value in values if isfinite(value)]
    return sum(finite) / len(finite) if finite else nan
