"""A clock that tells the time of a training from the time of what watches it, and a budget for the latter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from time import perf_counter

__all__ = ["Meter"]


class Meter:
    """The seconds of a training, and of what watches it; what is not spent within `watching` is of the training.

    Attributes:
        budget: share of all seconds that the watching may take, above 0; at 1 it may take any.
        training: seconds of the training, up to when `watching` was last entered.
        own: seconds of the watching, up to when it was last left.
    """

    def __init__(self, budget: float) -> None:
        self.budget = budget
        self.training = 0.0
        self.own = 0.0
        self._turn = perf_counter()  # when the watching was last entered or left

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count as own what is spent within."""
        now = perf_counter()
        self.training += now - self._turn
        self._turn = now
        try:
            yield
        finally:
            now = perf_counter()
            self.own += now - self._turn
            self._turn = now

    @property
    def since_turn(self) -> float:
        """Seconds since `watching` was entered, or left."""
        return perf_counter() - self._turn

    @property
    def seconds(self) -> float:
        """Seconds of both together, up to the last turn."""
        return self.training + self.own

    @property
    def share(self) -> float:
        """Share of all seconds that the watching took, 0 before there were any."""
        return self.own / self.seconds if self.seconds else 0.0

    @property
    def room(self) -> float:
        """Seconds that the watching may take now: own + room is the budget of own + room + training."""
        return self.budget / (1 - self.budget) * self.training - self.own if self.budget < 1 else inf
