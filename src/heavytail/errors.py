"""The errors a user can meet: one line that says what was seen, what was expected, and where."""

from __future__ import annotations

__all__ = ["ConvergenceError", "HeavytailError", "MatrixError", "RequestError", "SourceError", "visible"]


class HeavytailError(Exception):
    """Any error that heavytail raises on purpose; its text is one line that a person can act on."""


class SourceError(HeavytailError):
    """A model that cannot be read: the text names the file, what was seen and what was expected."""

    def __init__(self, where: object, problem: str) -> None:
        super().__init__(f"{where}: {problem}")
        self._parts = str(where), problem

    def __reduce__(self) -> tuple[type[SourceError], tuple[str, str]]:
        """Go to other processes with both parts."""
        return type(self), self._parts


class RequestError(HeavytailError):
    """A request that cannot be understood, for example an unknown option value."""


class ConvergenceError(HeavytailError):
    """An equation without a solution there, or one that was not reached: the text says which, where, by how much."""


class MatrixError(HeavytailError):
    """A matrix that has no spectrum, for example because it holds NaN; it fails its row, never the run."""


def visible(text: object) -> str:
    r"""Give a text with every character that a terminal would obey, or not show, written out as its escape.

    Example:
        >>> visible("layer\x1b[2J.weight")
        'layer\\x1b[2J.weight'
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))
