"""The spectra of a model while it is trained, at a stated share of the time of its training.

A look costs what `heavytail.analyze` of the layers costs. When one is due, the monitor predicts that cost and compares
it with what its budget leaves; layers that do not fit are left out, said to be, and come first the next time. A row is
what `heavytail.analyze` gives of the model at that step, or there is none.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from glob import escape
from math import isfinite, nan
from os import PathLike
from typing import TYPE_CHECKING, Any

from heavytail.analysis import analyze, estimate, measure_rate
from heavytail.analysis.jobs import failed, reason_of
from heavytail.diagnosis.row import Row
from heavytail.errors import RequestError
from heavytail.lab._looks import RESERVED, Look, left_out_table, look_of, look_table, plain_look
from heavytail.lab._meter import Meter
from heavytail.lab._tensorboard import check_tensorboard, open_writer, write_look
from heavytail.report.model_report import ModelReport, summarise
from heavytail.report.writing import write_parquet

if TYPE_CHECKING:
    import pandas as pd
    import torch

__all__ = ["Monitor"]

_logger = logging.getLogger(__name__)


class Monitor:
    """Looks at the spectra of a model every so many steps of its training.

    The model, its mode, its gradients and all random numbers stay as they are. Nothing that goes wrong with a layer or
    with the log ends the training: a layer that cannot be analysed has a row that says why.

    The time between two calls is the training's, the time within them the monitor's own. Own time is kept under
    `budget` of both together: where the predicted time of a look would pass it, only the layers that fit are looked
    at, those seen longest ago first, or none; `skipped` says which and why. The prediction is the work that the shapes
    of the layers take (`heavytail.analysis.Cost.work`) at the pace of the last look, and before the first one at that
    of a matrix product. A look that took longer is paid for by later ones. Only the look before training is always
    made, and so is what `look` asks for; both count.

    Args:
        model: a torch module; what torch.compile and DistributedDataParallel put around it does not show in names.
            With several processes, make a monitor in one of them.
        every: steps of the optimiser from one look to the next.
        layers: glob patterns of layers; all weight matrices by default. Tied weights are one layer.
        budget: share of the time that the monitor may take, above 0; 1 for no limit.
        log: folder for TensorBoard, or a SummaryWriter that is there already; None to write nothing.
        nulls: number of shuffled copies of each matrix, for the columns num_traps and rand_distance.
        spectra: whether the table keeps the eigenvalues too, in a column `evals`.
        initial: whether to look now, before the first step; not needed where `load_state_dict` follows.
        seed: of the shuffles.
        jobs: number of threads of a look.

    Raises:
        RequestError: if an argument is not one of those above, the model has no matrix that matches `layers`, or its
            weights are sharded; if TensorBoard is asked for and not installed.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 32))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> monitor = Monitor(model, every=2, budget=1.0)
        >>> for _ in range(4):
        ...     loss = model(torch.ones(8, 64)).square().mean()
        ...     loss.backward()
        ...     optimizer.step()
        ...     _ = monitor.step(loss=loss)
        >>> monitor.table[["step", "name", "status"]].values.tolist()[-2:]
        [[4, '0', 'ok'], [4, '2', 'ok']]
    """

    def __init__(
        self,
        model: torch.nn.Module,
        every: int = 500,
        *,
        layers: str | Iterable[str] | None = None,
        budget: float = 0.01,
        log: str | PathLike[str] | Any | None = None,
        nulls: int = 0,
        spectra: bool = False,
        initial: bool = True,
        seed: int = 0,
        jobs: int = 1,
    ) -> None:
        _check(model, every, budget, jobs)
        self._meter = Meter(budget)
        with self._meter.watching():
            self._model, self._every, self._spectra = model, every, spectra
            self._analyze = partial(analyze, nulls=nulls, seed=seed, jobs=jobs)
            self._layers = _followed(model, layers, nulls)
            self._planning = self._meter.since_turn  # what every analysis takes besides its work, or a little more
            self._pace: float | None = None  # seconds a unit of work
            self._number, self._resumed = 0, False
            self._looks: list[Look] = []
            self._waiting: Callable[[], None] | None = None  # the log of the first look, which may yet be resumed over
            self._log, self._writer = _log(log)
            if initial:
                self._look(self._layers, {}, wait=True)

    def step(self, number: int | None = None, /, **scalars: Any) -> ModelReport | None:
        """Count a step of the optimiser, and look at the model if a look is due and the budget allows it.

        Args:
            number: how many steps have been made; one more than at the last call by default.
            **scalars: numbers or tensors of one number, kept in the table beside what is seen; they are read only if
                something is.

        Returns:
            What was seen; None if nothing was.

        Raises:
            RequestError: if a scalar has the name of a column.
        """
        number = self._number + 1 if number is None else number
        due = number // self._every > self._number // self._every
        if due:
            _wait_for_devices(self._model)
        with self._meter.watching():
            self._number = number
            _check_names(scalars)
            if self._waiting is not None:
                self._flush()
            return self._look(self._fitting(), scalars) if due else None

    def look(self, number: int | None = None, /, **scalars: Any) -> ModelReport | None:
        """Look now, whatever the budget, at all layers that were not seen at this step; arguments as of `step`."""
        _wait_for_devices(self._model)
        with self._meter.watching():
            self._number = self._number if number is None else number
            _check_names(scalars)
            self._flush()
            return self._look(self._unseen(), scalars)

    def note(self, **scalars: Any) -> None:
        """Add scalars to what was seen at this step, if anything was: an error on test data, measured after the step.

        Raises:
            RequestError: if a scalar has the name of a column.
        """
        with self._meter.watching():
            _check_names(scalars)
            if any(look.step == self._number for look in self._looks[-2:]):
                values = _values(scalars)
                self._looks = [
                    replace(look, scalars={**look.scalars, **values}) if look.step == self._number else look
                    for look in self._looks
                ]

    def close(self) -> None:
        """Look at the end of training, as far as the budget allows, and close a log that the monitor has opened."""
        _wait_for_devices(self._model)
        with self._meter.watching():
            self._flush()
            if self._unseen():
                self._look([layer for layer in self._fitting() if layer in self._unseen()], {})
            if self._log is not None and self._writer is not None:
                self._writer.close()
                self._writer = None

    @property
    def table(self) -> pd.DataFrame:
        """What was seen: one row a step and layer.

        Columns: `step`; `seconds` since the monitor began; all columns of `heavytail.analyze`; the scalars given.
        """
        return look_table(self._looks, self._spectra)

    @property
    def skipped(self) -> pd.DataFrame:
        """What was due and not seen: one row a step and layer, columns `step`, `name` and `reason`."""
        return left_out_table(self._looks)

    @property
    def cost(self) -> float:
        """The share of the time that the monitor took, as measured, up to its last call."""
        return self._meter.share

    def to_parquet(self, path: str | PathLike[str]) -> None:
        """Write the table as Parquet.

        Raises:
            RequestError: if pyarrow is not installed.
        """
        write_parquet(self.table, path)

    def state_dict(self) -> dict[str, Any]:
        """Give all that was seen and spent, in plain values that JSON and torch.save know."""
        return {
            "step": self._number,
            "training": self._meter.training,
            "own": self._meter.own,
            "pace": self._pace,
            "looks": [plain_look(look) for look in self._looks],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another monitor was: with its table, its step and its times; a first look of this one is lost."""
        with self._meter.watching():
            self._number, self._resumed = state["step"], True
            self._meter.training += state["training"]
            self._meter.own += state["own"]
            self._pace = state["pace"] or self._pace
            self._looks = [look_of(values) for values in state["looks"]]
            self._waiting = None

    def __repr__(self) -> str:
        """Name the model, and count what was seen, what was left out, and the cost."""
        seen, left = (sum(len(part) for part in parts) for parts in zip(*self._counted(), strict=True))
        model, budget = type(self._model).__name__, self._meter.budget
        return f"<Monitor of {model!r}: step {self._number}, {seen} rows, {left} left out, {self.cost:.2%} of {budget:.0%}>"

    def _counted(self) -> Iterable[tuple[Sequence[Row], Sequence[str]]]:
        return [((), ()), *((look.rows, look.left_out) for look in self._looks)]
