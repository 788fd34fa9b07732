"""How results are written down: JSON with an item a line, and Parquet."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heavytail.errors import RequestError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["json_text", "plain", "write_parquet"]


def json_text(parts: Mapping[str, Any], by_line: Collection[str], path: str | PathLike[str] | None = None) -> str:
    """Write plain values as JSON, and to a file if one is given.

    Args:
        parts: the values by their keys.
        by_line: keys of lists and mappings that have one item a line.
        path: where to write.

    Example:
        >>> print(json_text({"a": [1, 2]}, ["a"]), end="")
        {
          "a": [
            1,
            2
          ]
        }
    """
    texts = [
        f"{json.dumps(key)}: {_lines(value) if key in by_line else _indented(value)}" for key, value in parts.items()
    ]
    text = "{\n  " + ",\n  ".join(texts) + "\n}\n"
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text


def write_parquet(table: pd.DataFrame, path: str | PathLike[str]) -> None:
    """Write a table as Parquet.

    Raises:
        RequestError: if pyarrow is not installed.
    """
    try:
        table.to_parquet(path, engine="pyarrow", index=False)
    except ImportError as error:
        raise RequestError("Parquet needs pyarrow: pip install 'heavytail[parquet]'") from error


def plain(value: Any) -> Any:
    """Give a value as JSON knows it: a number that is not finite is None."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _indented(value: Any) -> str:
    return json.dumps(value, indent=2, allow_nan=False).replace("\n", "\n  ")


def _lines(value: Any) -> str:
    """Write a list or a mapping with one item a line."""
    if isinstance(value, Mapping):
        items = [f"{json.dumps(key)}: {json.dumps(item, allow_nan=False)}" for key, item in value.items()]
    else:
        items = [json.dumps(item, allow_nan=False) for item in value]
    opening, closing = "{}" if isinstance(value, Mapping) else "[]"
    return f"{opening}\n    " + ",\n    ".join(items) + f"\n  {closing}" if items else opening + closing
