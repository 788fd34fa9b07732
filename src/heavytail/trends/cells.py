"""What people write into tables: names of columns in their own letters, numbers with a percent sign or a comma."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MISSING", "cell_text", "column_like", "numbers", "plain_name", "tidied"]

MISSING = frozenset({"", "-", "–", "—", "n/a", "na", "nan"})
"""Texts, in small letters, of a cell without a number."""

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?inf(inity)?", re.IGNORECASE)


def cell_text(value: Any) -> str:
    """Give the text of a cell, empty where it has none."""
    text = "" if value is None or value != value else str(value).strip()
    return "" if text.lower() in MISSING else text


def plain_name(name: str) -> str:
    """Give a name without what is not a letter or digit, in small letters.

    Example:
        >>> plain_name(" Top-1 Accuracy (%) ") == plain_name("top1_accuracy")
        True
    """
    return re.sub(r"[\W_]+", "", name).casefold()


def column_like(name: str, columns: Iterable[object]) -> str | None:
    """Find the column of a name: exactly, else the first that is the same but for letter case, signs and spaces."""
    texts = [str(column) for column in columns]
    if name in texts:
        return name
    return next((one for one in texts if plain_name(one) == plain_name(name) != ""), None)


def tidied(
    frame: pd.DataFrame, known: Iterable[str], texts: Iterable[str] = (), *, comma: bool = False
) -> pd.DataFrame:
    """Give columns the known names that theirs are like, and read those of texts that hold numbers.

    Args:
        frame: any table.
        known: names.
        texts: names of columns that stay texts.
        comma: whether a comma stands for the decimal point.
    """
    import pandas as pd
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    names = [str(column).strip() for column in frame.columns]
    for wanted in known:
        if wanted not in names and (like := column_like(wanted, names)) is not None:
            names[names.index(like)] = wanted
    columns = []
    for k, name in enumerate(names):
        column = frame.iloc[:, k]
        plain = is_numeric_dtype(column) or is_bool_dtype(column) or name in set(texts)
        columns.append(column if plain or (found := numbers(column, comma=comma)) is None else found)
    return pd.concat(columns, axis=1, keys=names) if columns else frame.set_axis(names, axis=1)


def numbers(values: pd.Series[Any], *, comma: bool = False) -> pd.Series[Any] | None:
    """Read texts as numbers, which may all have a percent sign; None if one of them is no number, or all are missing.

    Args:
        values: of a column.
        comma: whether a comma stands for the decimal point.

    Example:
        >>> import pandas as pd
        >>> numbers(pd.Series(["75.1 %", "n/a", "80%"])).tolist()
        [75.1, nan, 80.0]
    """
    import pandas as pd

    texts = pd.Series([cell_text(value) for value in values], index=values.index, dtype=object)
    there = texts[texts != ""]
    percent = there.str.endswith("%")
    if there.empty or (percent.any() and not percent.all()):  # 0.75 beside 75 % are numbers of two units
        return None
    there = there.str.removesuffix("%").str.strip()
    if comma and not (there.str.contains(".", regex=False) & there.str.contains(",", regex=False)).any():
        there = there.str.replace(",", ".", regex=False)
    if not there.str.fullmatch(_NUMBER).all():
        return None
    return pd.to_numeric(there).astype(float).reindex(values.index)
