"""The experiments of the literature, each with what was published of it."""

from __future__ import annotations

from heavytail.errors import RequestError
from heavytail.lab.experiments.batches import EXPERIMENTS as BATCHES
from heavytail.lab.experiments.experiment import Experiment, Finding, Judgement, Measured, Size, Statement

__all__ = ["Experiment", "Finding", "Judgement", "Measured", "Size", "Statement", "experiment_of", "experiments"]

_ALL = (*BATCHES,)


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
