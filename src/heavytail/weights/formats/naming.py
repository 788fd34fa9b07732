"""Names of tensors, each given once."""

from __future__ import annotations

from collections.abc import Iterable

from heavytail.weights.faults import quoted

__all__ = ["Unique"]


class Unique:
    """Gives names that differ from all before: the second `w` becomes `w#2`.

    Args:
        taken: names that are not to be given.

    Example:
        >>> unique = Unique(["w#2"])
        >>> [unique(name) for name in ("w", "w", "v", "w")]
        ['w', 'w#3', 'v', 'w#4']
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._counts: dict[str, int] = {}

    def __call__(self, name: str) -> str:
        """Give the name itself, or numbered."""
        given = name
        while given in self._taken:
            self._counts[name] = self._counts.get(name, 1) + 1
            given = f"{name}#{self._counts[name]}"
        self._taken.add(given)
        return given

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence about the names that were numbered, if any were."""
        if not self._counts:
            return ()
        first = quoted(next(iter(self._counts)))
        return (f"{len(self._counts)} names stand more than once and were numbered, for example {first}",)
