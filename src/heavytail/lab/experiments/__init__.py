"""The experiments of the literature, each with what was published of it."""

from __future__ import annotations

from heavytail.errors import RequestError
from heavytail.lab.experiments.batches import EXPERIMENTS as BATCHES
from heavytail.lab.experiments.experiment import Experiment, Finding, Judgement, Measured, Published, Size
from heavytail.lab.experiments.grokking import EXPERIMENTS as GROKKING
from heavytail.lab.experiments.history import EXPERIMENTS as HISTORY
from heavytail.lab.experiments.labels import EXPERIMENTS as LABELS
from heavytail.lab.experiments.minima import EXPERIMENTS as MINIMA
from heavytail.lab.experiments.regularisers import EXPERIMENTS as REGULARISERS
from heavytail.lab.experiments.steps import EXPERIMENTS as STEPS

__all__ = [
    "Experiment",
    "Finding",
    "Judgement",
    "Measured",
    "Published",
    "Size",
    "experiment_of",
    "experiments",
]

_ALL = (*BATCHES, *HISTORY, *LABELS, *REGULARISERS, *MINIMA, *STEPS, *GROKKING)


def experiments() -> tuple[Experiment, ...]:
    """Give all experiments.

    Example:
        >>> "E21" in [experiment.id for experiment in experiments()]
        True
    """
    return _ALL


def experiment_of(name: str) -> Experiment:
    """Give the experiment of a name, in any case of letters.

    Raises:
        RequestError: if there is none.
    """
    known = {experiment.id.lower(): experiment for experiment in _ALL}
    if name.lower() not in known:
        raise RequestError(f"no experiment {name!r}; there are {', '.join(e.id for e in _ALL)}")
    return known[name.lower()]
