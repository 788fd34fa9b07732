"""What a monitor keeps: one record a look, and the tables that are made of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np

from heavytail.diagnosis.row import COLUMNS, Row
from heavytail.errors import RequestError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Look", "check_names", "left_out_table", "look_of", "look_table", "plain_look", "values_of"]

_logger = logging.getLogger(__name__)

_EVALS = "evals"
_RESERVED = frozenset(["step", "seconds", *COLUMNS, _EVALS])


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a model that is trained, or one that was due and not taken, which has no rows.

    Attributes:
        step: number of optimiser steps made.
        seconds: since the monitor began, without what lay between an interruption and its resumption.
        rows: of the layers that were looked at.
        left_out: names of the rows that were not.
        reason: why these were left out.
        scalars: what the training gave beside; more may come after the look.
        evals: eigenvalues by row, ascending, where they are kept.
    """

    step: int
    seconds: float
    rows: tuple[Row, ...] = ()
    left_out: tuple[str, ...] = ()
    reason: str = ""
    scalars: dict[str, float] = field(default_factory=dict)
    evals: Mapping[str, list[float]] = field(default_factory=dict)


def check_names(scalars: Mapping[str, Any]) -> None:
    """Check that no scalar has the name of a column.

    Raises:
        RequestError: if one has.
    """
    if taken := _RESERVED.intersection(scalars):
        raise RequestError(f"scalar {min(taken)!r} has the name of a column of the table; give it another")


def values_of(scalars: Mapping[str, Any]) -> dict[str, float]:
    """Read numbers, and tensors of one number; what is neither is NaN and said in one line, for it ends no training."""
    return {name: _value(name, scalar) for name, scalar in scalars.items()}


def _value(name: str, scalar: Any) -> float:
    try:
        return float(scalar.item() if hasattr(scalar, "item") else scalar)
    except (TypeError, ValueError, RuntimeError) as error:
        _logger.warning("scalar %r is missing in the table: %s", name, error)
        return nan


def look_table(looks: Iterable[Look], spectra: bool) -> pd.DataFrame:
    """Make the table of what was seen: one row a step and layer; a scalar that was not given there is NaN."""
    import pandas as pd

    looks = [look for look in looks if look.rows]
    scalars = dict.fromkeys(name for look in looks for name in look.scalars)
    kept = {_EVALS: np.array([], dtype=np.float64)} if spectra else {}
    missing = dict.fromkeys(scalars, np.nan)
    rows = [
        {"step": look.step, "seconds": look.seconds, **row.as_dict(), **_evals(look, row, kept), **missing}
        | look.scalars
        for look in looks
        for row in look.rows
    ]
    return pd.DataFrame(rows, columns=["step", "seconds", *COLUMNS, *kept, *scalars])


def _evals(look: Look, row: Row, kept: Mapping[str, Any]) -> Mapping[str, Any]:
    return {_EVALS: np.array(look.evals[row.name])} if kept and row.name in look.evals else kept


def left_out_table(looks: Iterable[Look]) -> pd.DataFrame:
    """Make the table of what was due and not seen: one row a step and layer, with the reason."""
    import pandas as pd

    rows = [(look.step, name, look.reason) for look in looks for name in look.left_out]
    return pd.DataFrame(rows, columns=["step", "name", "reason"])


def plain_look(look: Look) -> dict[str, Any]:
    """Write a look in plain values, as JSON and torch.load(weights_only=True) have them."""
    values = asdict(look)
    scalars = [[name, value] for name, value in look.scalars.items()]  # in their order, which JSON may sort
    rows = [_plain(row) for row in values["rows"]]
    return values | {"rows": rows, "left_out": list(look.left_out), "scalars": scalars}


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {column: value.item() if isinstance(value, np.generic) else value for column, value in row.items()}


def look_of(values: Mapping[str, Any]) -> Look:
    """Read what `plain_look` wrote; a column that is no more is left out, one that was not yet is missing."""
    rows = tuple(Row(**{c: v for c, v in row.items() if c in COLUMNS}) for row in values["rows"])
    return Look(**{**values, "rows": rows, "left_out": tuple(values["left_out"]), "scalars": dict(values["scalars"])})
