"""The one place where the many ways a damaged file can fail become one line for the user."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from heavytail.errors import SourceError, visible

__all__ = ["one_line", "quoted", "reading"]

# What parsers of the standard library and numpy raise when bytes are not what they should be.
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    Warning,  # where the host turns warnings into errors
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
_LONGEST = 160


def one_line(text: object) -> str:
    """Give `text` on one line of bounded length that any terminal can print."""
    line = str(text)
    if len(line) <= _LONGEST and line.isprintable():
        return line
    line = " ".join(line[: 8 * _LONGEST].split())
    line = visible(line)
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


def quoted(text: object) -> str:
    """Give a name found in a file, in quotes, for use in a message."""
    return f"'{one_line(text)}'"


@contextmanager
def reading(where: object, what: str) -> Iterator[None]:
    """Turn what goes wrong while `what` is read from the file `where` into a `SourceError`, the cause chained.

    Raises:
        SourceError: the file cannot be opened, or its bytes are not what its format asks for.
    """
    try:
        yield
    except OSError as error:
        raise SourceError(where, one_line(error.strerror or error).lower()) from error
    except _DAMAGE as error:
        detail = one_line(error) or type(error).__name__
        raise SourceError(where, f"damaged, {what} cannot be read: {detail}") from error
