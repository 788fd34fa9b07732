"""What is chosen of a table of models: which of them, which quality, which groups, which metrics."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from heavytail.errors import RequestError
from heavytail.trends.cells import cell_text, column_like, numbers
from heavytail.trends.metrics import METRICS, USUAL, metric_values

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COARSER",
    "GROUPS",
    "NAMES",
    "QUALITIES",
    "choose_groups",
    "choose_metrics",
    "choose_models",
    "choose_target",
    "is_loss",
    "listed",
    "unused",
]

QUALITIES = (
    *("top1_accuracy", "accuracy", "acc", "test_accuracy", "val_accuracy", "balanced_accuracy"),
    *("top1_error", "error", "test_error", "val_error", "top5_accuracy", "top5_error"),
    *("roc_auc", "auc", "pr_auc", "f1", "map", "miou", "bleu", "quality", "score"),
    *("perplexity", "ppl", "loss", "test_loss", "val_loss", "nll", "bits_per_byte", "bpb", "bpc"),
    *("mae", "mape", "rmse", "rmsd", "mse", "wer", "cer", "eer", "fid"),
)
"""Columns that are recognised as a quality, the first of which is taken."""

_LOSSES = frozenset(
    {
        *("error", "errors", "err", "errs", "loss", "losses", "nll", "perplexity", "perplexities", "ppl", "xent"),
        *("mae", "mape", "rmse", "rmsd", "rmsle", "mse", "msd", "wer", "cer", "eer", "fid", "bpb", "bpc", "bpd"),
        *("brier", "ece"),
    }
)
_COMPOUND_LOSS = re.compile(r"(^|_)((bits|nats)_?per_|cross_?entropy|neg(ative)?_?log_?lik)")
_NEGATED = ("neg", "negative")  # "neg_mean_squared_error" is better when higher
_SCORES = frozenset(
    {
        *("accuracy", "accuracies", "acc", "auc", "auroc", "roc", "f", "map", "ap", "iou", "miou", "dice", "bleu"),
        *("rouge", "meteor", "precision", "recall", "sensitivity", "specificity", "score", "scores", "quality"),
        *("correlation", "pearson", "spearman", "kappa", "mcc", "psnr", "ssim", "elo", "reward", "likelihood", "top"),
    }
)
NAMES = ("model", "name", "model_label")
GROUPS = ("series", "family", "group")
COARSER = ("collection", "dataset")  # what a group should not mix: other measurements, other figures of quality
_METRIC_WORDS = frozenset({"alpha", "norm", "rank", "softrank", "entropy", "spectral"})
_SHOWN = 8

Columns = Mapping[str, NDArray[np.float64]]


def listed(names: Iterable[object], most: int = _SHOWN) -> str:
    """List some names, and say how many more there are.

    Example:
        >>> listed("abcd", most=2)
        'a, b and 2 more'
    """
    texts = [str(name) for name in names]
    return ", ".join(texts) if len(texts) <= most + 1 else f"{', '.join(texts[:most])} and {len(texts) - most} more"


def is_loss(name: str) -> bool | None:
    """Tell from the name of a quality whether the smaller is the better; None if the name does not say.

    Example:
        >>> is_loss("top1_error"), is_loss("bits_per_byte"), is_loss("top1_accuracy"), is_loss("closs")
        (True, True, False, None)
    """
    words = re.split(r"[^a-z]+", name.lower())
    if _COMPOUND_LOSS.search("_".join(words)):
        return True
    if _LOSSES.intersection(words):
        return words[0] not in _NEGATED
    return False if _SCORES.intersection(words) else None


def choose_models(frame: pd.DataFrame, where: Sequence[str], others: Iterable[str] = ()) -> pd.DataFrame:
    """Keep the rows that meet every condition.

    Args:
        frame: a row a model.
        where: conditions COLUMN=GLOB and COLUMN!=GLOB on the text of a cell; a missing cell is an empty text.
        others: columns of another table, whose conditions are not of this one.

    Raises:
        RequestError: if a condition is none, names no column, or leaves nothing.
    """
    for condition in where:
        wanted, sign, glob = _condition(condition)
        if (column := column_like(wanted, frame.columns)) is None:
            if column_like(wanted, others) is not None:
                continue
            columns = [*frame.columns, *(name for name in others if name not in frame.columns)]
            raise RequestError(f"--where {condition}: there is no column {wanted!r}, but {listed(columns, 40)}")
        texts = frame[column].map(_text)
        kept = frame[texts.map(lambda text, glob=glob: fnmatchcase(text, glob)) == (sign == "=")]
        if kept.empty:
            there = listed(dict.fromkeys(texts))
            raise RequestError(f"--where {condition} leaves no model: {column} is {there}")
        frame = kept
    return frame


def _condition(text: str) -> tuple[str, str, str]:
    found = re.fullmatch(r"(?P<column>[^=!]+)(?P<sign>!?=)(?P<glob>.*)", text)
    if not found:
        raise RequestError(f"--where {text!r}: it must be COLUMN=GLOB or COLUMN!=GLOB")
    return found["column"].strip(), found["sign"], found["glob"].strip()


def _text(value: Any) -> str:
    if value is None or value != value:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def choose_target(frame: pd.DataFrame, target: str | None, where: str) -> tuple[str, tuple[str, ...]]:
    """Choose the column of quality: the one that was asked for, or the first that is recognised.

    Args:
        frame: with the column.
        target: the one that was asked for.
        where: the file to name in an error.

    Returns:
        Its name, and a note where there was a choice.

    Raises:
        RequestError: if there is none.
    """
    if target is not None:
        if (named := column_like(target, frame.columns)) is None:
            raise RequestError(f"--target {target}: {where} has no such column, but {listed(frame.columns, 40)}")
        return named, ()
    lowered = {str(column).lower(): str(column) for column in frame.columns if frame[column].notna().any()}
    found = [lowered[name] for name in QUALITIES if name in lowered]
    if not found:
        raise RequestError(
            f"{where} has no column that is known as a quality (such as {listed(QUALITIES[:2])}), but "
            f"{listed(frame.columns, 40)}; --target COLUMN chooses one, --quality FILE gives a file that has one"
        )
    if len(found) == 1:
        return found[0], ()
    return found[0], (f"the quality is {found[0]}; --target chooses another: {listed(found[1:])}",)


def choose_groups(frame: pd.DataFrame, group: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give each model its group: the text of some columns, joined by " · ".

    Args:
        frame: a row a model.
        group: the columns; by default the first there is of `series`, `family` and `group`, and before it those of
            `collection` and `dataset` that some of its groups would mix.

    Returns:
        The groups, and notes on what was chosen and what a group mixes.

    Raises:
        RequestError: if a column is not there.
    """
    columns = []
    for wanted in group:
        if (column := column_like(wanted, frame.columns)) is None:
            raise RequestError(f"--group {','.join(group)}: there is no column {wanted!r}, but {listed(frame, 40)}")
        columns.append(column)
    columns = columns or [name for name in GROUPS if name in frame.columns and frame[name].notna().any()][:1]
    if not columns:
        note = f"all models are taken as one group: there is no column {', '.join(GROUPS[:-1])} or {GROUPS[-1]}"
        return ("all",) * len(frame), (f"{note}; --group chooses one",)
    groups = _groups(frame, columns)
    coarser = [name for name in COARSER if name in frame.columns and name not in columns]
    mixed = [name for name in coarser if frame[name].groupby(np.array(groups)).nunique().max() > 1]
    if not mixed:
        return groups, ()
    both, apart = " and ".join(mixed), ",".join([*mixed, *columns])
    if group:
        return groups, (f"some groups mix models of several {both}: --group {apart} keeps them apart",)
    note = f"a group is one {', '.join([*mixed, *columns])}, for some {columns[0]} have several {both}"
    return _groups(frame, [*mixed, *columns]), (f"{note}; --group chooses",)


def _groups(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[str, ...]:
    texts = [frame[column].map(_text).replace("", f"(no {column})") for column in columns]
    return tuple(" · ".join(parts) for parts in zip(*texts, strict=True))


def choose_metrics(frame: pd.DataFrame, names: Sequence[str], quality: str) -> Columns:
    """Take the metrics from their columns.

    Args:
        frame: a row a model.
        names: columns, or ln(COLUMN) and log10(COLUMN); those of `USUAL` that are there by default.
        quality: the column of quality, which is no metric.

    Returns:
        By name, an array of (n,), NaN where a number is missing or has no logarithm.

    Raises:
        RequestError: if there is no such column of numbers.
    """
    numeric = {
        str(name): frame[name].to_numpy(np.float64, na_value=np.nan)
        for name in frame.select_dtypes("number").columns
        if name != quality
    }
    if quality in names:
        raise RequestError(f"--metrics {quality}: this is the quality; --target chooses another")
    chosen = list(dict.fromkeys(column_like(name, numeric) or name for name in names)) or [
        name for name in USUAL if name in numeric and np.isfinite(numeric[name]).any()
    ]
    if not chosen:
        raise RequestError(f"there is no usual metric; --metrics can choose {listed(numeric, 60) or 'nothing'}")
    return {name: metric_values(name, numeric) for name in chosen}


def unused(frame: pd.DataFrame, taken: Iterable[str], quality: str) -> tuple[str, ...]:
    """Say which columns look like metrics or qualities by their names, and are neither here.

    Args:
        frame: a row a model.
        taken: the metrics.
        quality: the column of quality.
    """
    numeric = {str(name) for name in frame.select_dtypes("number").columns}
    notes = []
    for name in METRICS:
        if name in frame and name not in numeric and frame[name].notna().any():
            model, cell = next(
                (model, cell)
                for model, cell in zip(frame["model"], frame[name], strict=True)
                if cell_text(cell) and (numbers(frame[name][frame[name] == cell]) is None or "%" in str(cell))
            )
            notes.append(f"{name} is not taken as numbers: that of {model} is {cell!r}")
    others = numeric - {*taken, quality, *METRICS, *QUALITIES}
    if alike := [name for name in frame.columns if name in others and _is_alike(name)]:
        notes.append(f"columns of numbers that are not used: {listed(alike)}; --metrics or --target take them")
    return tuple(notes)


def _is_alike(name: str) -> bool:
    """Tell whether a name looks like a metric's or a quality's."""
    return is_loss(name) is not None or not _METRIC_WORDS.isdisjoint(re.split(r"[^a-z]+", name.lower()))
