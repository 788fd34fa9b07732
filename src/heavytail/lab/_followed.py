"""Which layers of a model are followed while it is trained, and what a look at each takes."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from heavytail.analysis import estimate, threads_of
from heavytail.analysis.jobs import failed
from heavytail.diagnosis.row import Row
from heavytail.errors import RequestError
from heavytail.report.model_report import ModelReport, summarise
from heavytail.weights.layout import Plan

if TYPE_CHECKING:
    import torch

__all__ = ["Followed", "check_options", "failed_report", "followed", "gone"]


@dataclass(frozen=True, slots=True)
class Followed:
    """A tensor that is followed.

    Attributes:
        names: of its rows, more than one where several matrices are fused.
        work: what a look takes, as `heavytail.analysis.Cost.work`.
        blank: its rows without numbers, for when it cannot be looked at.
    """

    names: tuple[str, ...]
    work: float
    blank: tuple[Row, ...]


def check_options(every: Any, budget: Any, seed: Any, jobs: Any) -> None:
    """Check what `analyze` would not, or too late.

    Raises:
        RequestError: if one of them is not what it must be.
    """
    for what, value, least in (("every", every, 1), ("seed", seed, 0)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise RequestError(f"{what} is {value!r}; it must be a whole number of at least {least}")
    if not isinstance(budget, int | float) or isinstance(budget, bool) or not 0 < budget <= 1:
        raise RequestError(f"budget is {budget!r}; it must be a share of the time, above 0 and at most 1")
    threads_of(jobs)


def followed(model: torch.nn.Module, layers: str | Iterable[str] | None, nulls: int) -> tuple[Followed, ...]:
    """Choose the tensors of a model that are matrices, or will not say what they are, and match one of the patterns.

    Raises:
        RequestError: if there are none, the model is no module, or its weights are not whole, or have no shape yet.
    """
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(model, torch.nn.Module):
        raise RequestError(f"model is a {type(model).__name__}; the monitor needs a torch.nn.Module")
    for name, parameter in model.named_parameters():
        if hasattr(parameter, "full_tensor"):  # reading a DTensor waits for all processes
            raise RequestError(f"{name} is sharded over processes (DTensor); the monitor needs whole weights")
        if torch.nn.parameter.is_lazy(parameter):
            raise RequestError(f"{name} is lazy and has no shape yet; run the model once before it is monitored")
    patterns = [layers] if isinstance(layers, str) else None if layers is None else list(layers)
    if any(str(pattern).startswith("phase=") for pattern in patterns or ()):
        raise RequestError(f"layers is {patterns!r}; a monitor chooses layers by name, as phases change")
    planned = estimate(model, patterns, nulls=nulls)
    found = tuple(
        Followed(tuple(part.name for part in plan.parts) or (plan.name,), cost.work, _blank(plan))
        for plan, cost in zip(planned.plans, planned.costs, strict=True)
        if plan.status != "skipped"
    )
    if not found:
        seen = "; ".join(f"{plan.name!r} is {plan.reason}" for plan in planned.plans[:2])
        raise RequestError(f"no weight matrix of {planned.source.name} matches layers={patterns!r}: {seen}")
    return found


def _blank(plan: Plan) -> tuple[Row, ...]:
    """Make the rows of a tensor as if it had failed."""
    if not plan.parts:
        return (Row(name=plan.name, kind=plan.kind, dtype=plan.tensor.dtype, status="failed"),)
    return tuple(failed(part, plan.tensor, RuntimeError()).row for part in plan.parts)


def failed_report(layers: Iterable[Followed], reason: str) -> ModelReport:
    """Make the report of layers of which nothing could be seen, as all of the analysis failed."""
    from heavytail import __version__

    rows = tuple(replace(row, reason=reason) for layer in layers for row in layer.blank)
    return ModelReport({"name": "model"}, {}, summarise(rows), rows, {}, __version__)


def gone(layers: Iterable[Followed], rows: Iterable[Row]) -> tuple[Row, ...]:
    """Make failed rows of the layers that the model no longer has, of which an analysis says nothing."""
    found = {row.name for row in rows}
    blank = [row for layer in layers for row in layer.blank if row.name not in found]
    return tuple(replace(row, reason="the model no longer has it") for row in blank)
