"""The spectra of a model while it is trained, at a stated share of the time of its training.

A look costs what `heavytail.analyze` of the layers costs. When one is due, the monitor predicts that cost and compares
it with what its budget leaves; layers that do not fit are left out, said to be, and come first the next time. A row is
what `heavytail.analyze` gives of the model at that step, or there is none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from glob import escape
from itertools import islice, takewhile
from os import PathLike
from typing import TYPE_CHECKING, Any

from heavytail.analysis import analyze, measure_rate
from heavytail.analysis.jobs import reason_of
from heavytail.lab._followed import Followed, check_options, failed_report, followed, gone
from heavytail.lab._looks import Look, check_names, left_out_table, look_of, look_table, plain_look, values_of
from heavytail.lab._meter import Meter
from heavytail.lab._tensorboard import Log, Spectra
from heavytail.report.model_report import ModelReport
from heavytail.report.writing import write_parquet

if TYPE_CHECKING:
    import pandas as pd
    import torch

__all__ = ["Monitor"]


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
        check_options(every, budget, seed, jobs)
        self._meter = Meter(budget)
        with self._meter.watching():
            self._model, self._every, self._keep_spectra = model, every, spectra
            self._analyze = partial(analyze, nulls=nulls, seed=seed, jobs=jobs)
            began = self._meter.own
            self._layers = followed(model, layers, nulls)
            self._planning = self._meter.own - began  # what an analysis takes besides its work
            self._pace: float | None = None  # seconds that a unit of work takes
            self._number = 0
            self._looks: list[Look] = []
            self._seen: dict[str, int] = {}  # rows by name: the step at which they were seen last
            self._log = Log(log)
            if initial:
                self._look(self._layers, {}, hold=True)

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
        with self._meter.watching():
            self._number = number
            check_names(scalars)
            self._log.release()
            return self._look_within_budget(scalars) if due else None

    def look(self, number: int | None = None, /, **scalars: Any) -> ModelReport | None:
        """Look now, whatever the budget, at all layers that were not seen at this step.

        Args:
            number: how many steps have been made; as many as at the last call by default.
            **scalars: as of `step`.

        Returns:
            What was seen; None if there was nothing left to see.

        Raises:
            RequestError: if a scalar has the name of a column.
        """
        with self._meter.watching():
            self._number = self._number if number is None else number
            check_names(scalars)
            self._log.release()
            unseen = [layer for layer in self._layers if self._last_seen(layer) != self._number]
            return self._look(unseen, scalars) if unseen else None

    def note(self, **scalars: Any) -> None:
        """Put scalars beside what was seen at the last step, such as an error on test data that is measured after it.

        Where nothing was seen they are not kept.

        Raises:
            RequestError: if a scalar has the name of a column.
        """
        with self._meter.watching():
            check_names(scalars)
            for look in self._looks_now():
                look.scalars.update(values_of(scalars))

    def close(self) -> ModelReport | None:
        """End with a look at the last step, as far as the budget allows, and close a log that was opened here.

        Returns:
            What was seen; None if nothing was, or a look was due at that step already.
        """
        with self._meter.watching():
            self._log.release()
            report = None if self._looks_now() else self._look_within_budget({})
            if self._looks_now() and not self._looks[-1].rows:
                self._write(self._looks[-1], {})
            self._log.close()
            return report

    @property
    def table(self) -> pd.DataFrame:
        """What was seen: one row a step and layer.

        Columns: `step`; `seconds` since the monitor began; all columns of `heavytail.analyze`; the scalars given.
        """
        return look_table(self._looks, self._keep_spectra)

    @property
    def skipped(self) -> pd.DataFrame:
        """What was due and not seen: one row a step and layer, columns `step`, `name` and `reason`."""
        return left_out_table(self._looks)

    @property
    def cost(self) -> float:
        """The share of the time that the monitor took until now, as measured."""
        return self._meter.share

    def to_parquet(self, path: str | PathLike[str]) -> None:
        """Write the table as Parquet.

        Raises:
            RequestError: if pyarrow is not installed.
        """
        write_parquet(self.table, path)

    def state_dict(self) -> dict[str, Any]:
        """Give all that was seen and spent, in plain values that JSON and torch.save know."""
        with self._meter.watching():
            looks = [plain_look(look) for look in self._looks]
            training, own = self._meter.training, self._meter.own
        return {"step": self._number, "training": training, "own": own, "pace": self._pace, "looks": looks}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another monitor was: with its table, its step and its times; a first look of this one is lost."""
        with self._meter.watching():
            self._number = state["step"]
            self._meter.add(state["training"], state["own"])
            self._pace = self._pace if state["pace"] is None else state["pace"]
            self._looks = [look_of(values) for values in state["looks"]]
            self._seen = {row.name: look.step for look in self._looks for row in look.rows}
            self._log.resume(self._number)

    def __repr__(self) -> str:
        """Name the model, and count what was seen, what was left out, and the cost."""
        seen = sum(len(look.rows) for look in self._looks)
        left = sum(len(look.left_out) for look in self._looks)
        return (
            f"<Monitor of {type(self._model).__name__!r} at step {self._number}: {seen} rows, {left} left out, "
            f"cost {self.cost:.2%} of a budget of {self._meter.budget:g}>"
        )

    def _look_within_budget(self, scalars: Mapping[str, Any]) -> ModelReport | None:
        """Look at the layers that fit, those seen longest ago first, up to the first that does not fit.

        A smaller one after it would fit often, but then its turn would never come.
        """
        budget = f"the budget of {self._meter.budget:g}"
        if self._meter.budget == 1:
            return self._look(self._layers, scalars)
        if self._meter.room <= self._planning:
            return self._look((), scalars, self._layers, f"nothing is left of {budget}")
        if self._pace is None:
            self._pace = 1 / measure_rate()
        room, takes = self._meter.room, self._planning
        order = sorted(self._layers, key=self._last_seen)
        for count, layer in enumerate(order):
            takes += self._pace * layer.work
            if takes > room:
                reason = f"it would make the look one of about {takes:.3g} s, and {room:.3g} s are left of {budget}"
                return self._look(order[:count], scalars, order[count:], reason)
        return self._look(order, scalars)

    def _look(
        self,
        layers: Sequence[Followed],
        scalars: Mapping[str, Any],
        left_out: Sequence[Followed] = (),
        reason: str = "",
        hold: bool = False,
    ) -> ModelReport | None:
        """Look at some layers, and keep what was seen and what was left out."""
        if layers:
            self._wait_for_devices()
        seconds, began = self._meter.training + self._meter.own, self._meter.own
        report = self._report(layers) if layers else None
        rows = report.rows + gone(layers, report.rows) if report else ()
        spectra = {name: spectrum.evals for name, spectrum in report.spectra.items()} if report else {}
        kept = {name: evals.tolist() for name, evals in spectra.items()} if self._keep_spectra else {}
        names = tuple(name for layer in left_out for name in layer.names)
        look = Look(self._number, seconds, rows, names, reason, values_of(scalars) if rows else {}, kept)
        self._looks.append(look)
        self._seen |= {row.name: self._number for row in rows}
        if rows:
            self._write(look, spectra, hold)
        good = {row.name for row in rows if row.status == "ok"}
        if work := sum(layer.work for layer in layers if good.issuperset(layer.names)):
            self._pace = max(0.0, self._meter.own - began - self._planning) / work
        return report

    def _write(self, look: Look, spectra: Spectra, hold: bool = False) -> None:
        """Write the last look to the log, with the number of rows that were left out since the one before."""
        before = takewhile(lambda earlier: not earlier.rows, islice(reversed(self._looks), 1, None))
        left_out = sum(len(each.left_out) for each in (look, *before))
        (self._log.hold if hold else self._log.write)(look, spectra, self._meter.share, left_out)

    def _report(self, layers: Sequence[Followed]) -> ModelReport:
        """Analyse layers, whatever comes of it."""
        try:
            return self._analyze(self._model, layers=[escape(name) for layer in layers for name in layer.names])
        except Exception as error:  # none of them is there any more, or not the memory
            return failed_report(layers, reason_of(error))

    def _last_seen(self, layer: Followed) -> int:
        return min(self._seen.get(name, -1) for name in layer.names)

    def _looks_now(self) -> list[Look]:
        """Give the looks of this step; they are the last ones."""
        return [look for look in self._looks[-2:] if look.step == self._number]

    def _wait_for_devices(self) -> None:
        """Let devices finish what the training gave them, so that it counts as training and not as part of a look."""
        torch = sys.modules["torch"]
        for kind in {parameter.device.type for parameter in self._model.parameters()}:
            wait = getattr(getattr(torch, kind, None), "synchronize", None)
            if wait is not None:
                with self._meter.waiting():
                    wait()
