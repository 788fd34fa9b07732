"""The monitor as a callback of Hugging Face's Trainer and of Lightning's.

A framework is imported when its callback is first asked for. Both callbacks take the options of
`heavytail.lab.Monitor`, make a monitor when training begins, in the first process alone, and have it as `monitor`
from then on.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from os import PathLike, fspath
from typing import Any

from heavytail.errors import RequestError
from heavytail.lab._followed import check_options
from heavytail.lab._tensorboard import numbers_of
from heavytail.lab.monitor import Monitor
from heavytail.report.model_report import ModelReport

__all__: list[str] = []  # its names are classes of frameworks, which may not be there


class _Holder:
    """What both callbacks are: options, and the monitor that is made of them.

    Attributes:
        monitor: the monitor, from the beginning of training on; None before, and in all processes but the first.
    """

    def __init__(
        self,
        every: int = 500,
        *,
        layers: str | Iterable[str] | None = None,
        budget: float = 0.01,
        log: str | PathLike[str] | Any | None = None,
        nulls: int = 0,
        spectra: bool = False,
        seed: int = 0,
        jobs: int = 1,
    ) -> None:
        super().__init__()
        check_options(every, budget, seed, jobs)
        self._options: dict[str, Any] = {
            "every": every,
            "layers": layers if isinstance(layers, str) or layers is None else list(layers),
            "budget": budget,
            "log": fspath(log) if isinstance(log, PathLike) else log,
            "nulls": nulls,
            "spectra": spectra,
            "seed": seed,
            "jobs": jobs,
        }
        self.monitor: Monitor | None = None

    def _begin(self, model: Any, number: int, state: Mapping[str, Any] | None) -> ModelReport | None:
        """Make the monitor of a training that begins, or goes on after a step; give what it sees then."""
        self.monitor = Monitor(model, initial=False, **self._options)
        if state is None:
            return self.monitor.look(number)
        self.monitor.load_state_dict(state)
        return None

    def _end(self) -> ModelReport | None:
        return None if self.monitor is None else self.monitor.close()


class _TrainerHooks(_Holder):
    """Follows the spectra of a model that Hugging Face's Trainer trains; a step is one of the optimiser.

    It looks before training, every so many steps, and at the end as far as the budget allows. What the trainer logs at
    a step at which there was a look (loss, learning rate, evaluations) stands beside it in the table. The monitor is
    saved in each checkpoint, within trainer_state.json, and a training that is resumed from there goes on with its
    table. A trainer takes one such callback.

    Args:
        every: steps of the optimiser from one look to the next.
        layers: glob patterns of layers; all weight matrices by default.
        budget: share of the time that the monitor may take, above 0; 1 for no limit.
        log: folder for TensorBoard, or a SummaryWriter that is there already; None to write nothing.
        nulls: number of shuffled copies of each matrix, for the columns num_traps and rand_distance.
        spectra: whether the table keeps the eigenvalues too, in a column `evals`.
        seed: of the shuffles.
        jobs: number of threads of a look.

    Raises:
        RequestError: if an argument is not one of those above; when training begins, if no layer matches.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Look for the first time, or take up what the checkpoint holds."""
        if state.is_world_process_zero:
            # A checkpoint made without this callback has no place for it, which the trainer would not forgive.
            held = state.stateful_callbacks.setdefault(type(self).__name__, {})
            saved = held.get("attributes", {}).get("saved") if state.global_step else None
            self._begin(model, state.global_step, saved)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count a step, and look if a look is due."""
        if self.monitor is not None:
            self.monitor.step(state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Put what the trainer logs beside what was seen at this step."""
        if self.monitor is not None:
            self.monitor.note(**{name: value for name, value in (logs or {}).items() if _is_noted(name, value)})

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look at the end, as far as the budget allows."""
        self._end()

    def state(self) -> dict[str, Any]:
        """Give what a checkpoint keeps."""
        options = {name: value for name, value in self._options.items() if name != "log" or isinstance(value, str)}
        saved = None if self.monitor is None else self.monitor.state_dict()
        return {"args": options, "attributes": {"saved": saved}}


def _is_noted(name: str, value: Any) -> bool:
    return isinstance(value, int | float) and (
        name in ("loss", "grad_norm", "learning_rate") or name.startswith("eval_")
    )


class _LightningHooks(_Holder):
    """Follows the spectra of a module that Lightning's Trainer trains; a step is one of the optimiser.

    It looks before training, every so many steps, and at the end as far as the budget allows. The loss of the last
    batch stands beside each look, and the loggers of the trainer get the numbers that TensorBoard would. The monitor is
    saved in each checkpoint, and a training that is resumed from there goes on with its table.

    Args:
        every: steps of the optimiser from one look to the next.
        layers: glob patterns of layers; all weight matrices by default.
        budget: share of the time that the monitor may take, above 0; 1 for no limit.
        log: folder for TensorBoard, or a SummaryWriter, for spectra and phases beside the trainer's own loggers.
        nulls: number of shuffled copies of each matrix, for the columns num_traps and rand_distance.
        spectra: whether the table keeps the eigenvalues too, in a column `evals`.
        seed: of the shuffles.
        jobs: number of threads of a look.

    Raises:
        RequestError: if an argument is not one of those above; when training begins, if no layer matches.
    """

    _saved: Mapping[str, Any] | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Look for the first time, or take up what the checkpoint holds."""
        if trainer.is_global_zero:
            saved, self._saved = self._saved, None
            if saved is None and self.monitor is not None and trainer.global_step:  # the same trainer trains on
                saved = self.monitor.state_dict()
            self._tell(trainer, self._begin(pl_module, trainer.global_step, saved))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the steps that the batch has made, and look if a look is due."""
        if self.monitor is not None:
            loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
            if loss is not None and trainer.accumulate_grad_batches > 1:
                loss = loss * trainer.accumulate_grad_batches  # Lightning has divided it
            given = {} if loss is None else {"loss": loss}
            self._tell(trainer, self.monitor.step(trainer.global_step, **given))

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Look at the end, as far as the budget allows."""
        self._tell(trainer, self._end())

    def state_dict(self) -> dict[str, Any]:
        """Give what a checkpoint keeps."""
        return {} if self.monitor is None else self.monitor.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what a checkpoint kept, for when training begins."""
        self._saved = state_dict or None

    def _tell(self, trainer: Any, report: ModelReport | None) -> None:
        """Give the trainer's loggers what was seen."""
        if report is None or self.monitor is None:
            return
        with self.monitor._meter.watching():  # this counts as well
            numbers = {name: value for row in report.rows for name, value in numbers_of(row).items()}
            for logger in trainer.loggers:
                logger.log_metrics(numbers, step=trainer.global_step)


@cache
def _trainer_callback() -> type:
    try:
        base = import_module("transformers.trainer_callback")
    except ImportError as error:
        raise RequestError("SpectralTrainerCallback needs transformers: pip install transformers") from error
    return _woven("SpectralTrainerCallback", _TrainerHooks, base.TrainerCallback, base.ExportableState)


@cache
def _lightning_callback() -> type:
    names = ("lightning.pytorch", "pytorch_lightning")
    for name in sorted(names, key=lambda name: name not in sys.modules):  # the one that the host uses, if it uses one
        try:
            base = import_module(f"{name}.callbacks")
        except ImportError:
            continue
        return _woven("SpectralCallback", _LightningHooks, base.Callback)
    raise RequestError("SpectralCallback needs Lightning: pip install lightning")


def _woven(name: str, hooks: type, *bases: type) -> type:
    """Make a callback of a framework, whose own hooks come first."""
    return type(name, (hooks, *bases), {"__module__": __name__, "__doc__": hooks.__doc__})


_MAKERS = {"SpectralTrainerCallback": _trainer_callback, "SpectralCallback": _lightning_callback}


def __getattr__(name: str) -> type:
    """Make a callback when it is first asked for, so that no framework is imported before."""
    if name not in _MAKERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _MAKERS[name]()


def __dir__() -> list[str]:
    return sorted(_MAKERS)
