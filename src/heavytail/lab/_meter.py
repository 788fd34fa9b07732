"""A clock that tells the time of a training from the time of what watches it, and a budget for the latter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from time import perf_counter

__all__ = ["Meter"]


class Meter:
    """The seconds of a training, and of what watches it: what is not spent within `watching` is of the training.

    Attributes:
        budget: share of all seconds that the watching may take, above 0; at 1 it may take any.
    """

    def __init__(self, budget: float) -> None:
        self.budget = budget
        self._training = self._own = 0.0  # up to the last turn
        self._inside = False
        self._turn = perf_counter()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count as own what is spent within."""
        self._turn_to(True)
        try:
            yield
        finally:
            self._turn_to(False)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count as training, within the watching, what is spent within."""
        self._turn_to(False)
        try:
            yield
        finally:
            self._turn_to(True)

    def _turn_to(self, inside: bool) -> None:
        now = perf_counter()
        if self._inside:
            self._own += now - self._turn
        else:
            self._training += now - self._turn
        self._turn, self._inside = now, inside

    def add(self, training: float, own: float) -> None:
        """Add seconds that were spent before this clock began."""
        self._training += training
        self._own += own

    @property
    def training(self) -> float:
        """Seconds of the training."""
        return self._training + (0.0 if self._inside else perf_counter() - self._turn)

    @property
    def own(self) -> float:
        """Seconds of the watching."""
        return self._own + (perf_counter() - self._turn if self._inside else 0.0)

    @property
    def share(self) -> float:
        """Share of the watching in all seconds, 0 before there are any."""
        own, training = self.own, self.training
        return own / (own + training) if own else 0.0

    @property
    def room(self) -> float:
        """Seconds that the watching may take now: own + room is the budget of own + room + training."""
        return self.budget / (1 - self.budget) * self.training - self.own if self.budget < 1 else inf
