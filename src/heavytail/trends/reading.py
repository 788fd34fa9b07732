"""From tables, checkpoints and saved analyses to models with their metrics and their quality."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, cast

import numpy as np
from numpy.typing import NDArray

from heavytail.errors import RequestError, SourceError
from heavytail.report.model_report import ModelReport
from heavytail.trends.cells import cell_text
from heavytail.trends.choices import (
    COARSER,
    NAMES,
    choose_groups,
    choose_metrics,
    choose_models,
    choose_target,
    is_loss,
    listed,
    unused,
)
from heavytail.trends.matching import ALSO, join
from heavytail.trends.metrics import LACKING
from heavytail.trends.models import Model, distinct, has_layers, of_layers, read_frame, read_model, tidy_frame
from heavytail.trends.table import ModelTable

if TYPE_CHECKING:
    import pandas as pd

    Source = str | PathLike[str] | ModelReport | pd.DataFrame

__all__ = ["read_table"]

Place = tuple[str, int]

_FRAME = "the DataFrame"
_TABLES = {".csv", ".tsv", ".parquet"}
_SHAPING = ("conv", "convention", "layers")  # settings of an analysis that change what its numbers mean


def read_table(
    sources: Source | Sequence[Source],
    quality: str | PathLike[str] | None = None,
    *,
    target: str | None = None,
    higher_is_better: bool | None = None,
    group: Sequence[str] = (),
    metrics: Sequence[str] = (),
    where: Sequence[str] = (),
    jobs: int | None = None,
    cache: str | PathLike[str] | None = None,
    progress: Callable[[str, float, float], None] | None = None,
) -> ModelTable:
    """Read models with their metrics and their quality.

    Args:
        sources: each a table with a row a model (CSV, Parquet, or a DataFrame), or one model: a checkpoint or anything
            else that `analyze` reads, a report, or the JSON, CSV or Parquet that a report wrote.
        quality: a table with figures of quality, a row a model, where the sources have none. A model is found there by
            its name, that of its file (see `matching.match`).
        target: the column of quality; by default the first that is recognised (see `choices.QUALITIES`).
        higher_is_better: whether the larger quality is the better; by default what its name says.
        group: the columns that make the groups (see `choices.choose_groups`); by default `series`, and before it
            those of `collection` and `dataset` that a series would mix.
        metrics: columns, or ln(COLUMN) and log10(COLUMN); by default those of `metrics.USUAL` that are there.
        where: conditions COLUMN=GLOB or COLUMN!=GLOB; only models that meet all are read.
        jobs: threads of the analyses.
        cache: folder where the analyses keep finished results.
        progress: of the analyses.

    Returns:
        The models that have a quality and at least one of the metrics, each of them once in its group; the notes say
        what was left out.

    Raises:
        SourceError: if a file cannot be read.
        RequestError: if an argument is not one of those above, or it is not clear which quality is a model's.
    """
    chosen: list[Source] = list(sources) if isinstance(sources, (list, tuple)) else [cast("Source", sources)]
    if quality is None and chosen and all(_is_there(source) and not _is_table(source) for source in chosen):
        raise RequestError("a model does not tell its quality; --quality FILE (quality=) gives a table that does")
    frame, places, notes = _frame(chosen, {"jobs": jobs, "cache": cache, "progress": progress})
    if quality is None:
        frame = choose_models(frame.drop(columns=ALSO, errors="ignore"), where)
        column, said = choose_target(frame, target, _called(chosen))
    else:
        figures = _named(read_frame(quality), quality)
        columns = [str(name) for name in frame.columns]
        frame = choose_models(frame, where, figures.columns)
        figures = choose_models(figures, where, columns)
        column, said = choose_target(figures, target, str(quality))
        frame, joined = join(frame, figures, column, str(quality))
        notes += joined
    frame, dropped = _with_quality(frame, column)
    if higher_is_better is None:
        loss = is_loss(column)
        higher_is_better = not loss
        if loss is None:
            said += (f"{column} is taken as higher is better; --lower-is-better says otherwise",)
    found = choose_metrics(frame, metrics, column)
    some = np.any([np.isfinite(values) for values in found.values()], axis=0)
    if not some.all():
        none = frame["model"][~some]
        dropped += (f"left out, without a metric: {listed(none)}",)
        frame, found = frame[some], {name: values[some] for name, values in found.items()}
    if not metrics:
        said += unused(frame, found, column)
    groups, mixed = choose_groups(frame, group)
    first, twice = _once(frame, groups, np.stack([frame[column].to_numpy(np.float64), *found.values()]), places)
    frame, groups = frame[first], tuple(one for one, kept in zip(groups, first, strict=True) if kept)
    return ModelTable(
        models=tuple(frame["model"]),
        groups=groups,
        metrics={name: values[first] for name, values in found.items()},
        quality=frame[column].to_numpy(np.float64),
        quality_name=column,
        higher_is_better=higher_is_better,
        notes=(*notes, *said, *dropped, *mixed, *twice, *_several(list(frame["model"]), groups)),
    )


def _is_path(source: Source) -> TypeGuard[str | PathLike[str]]:
    return isinstance(source, (str, PathLike))


def _is_table(source: Source) -> bool:
    return Path(source).suffix.lower() in _TABLES if _is_path(source) else not isinstance(source, ModelReport)


def _is_there(source: Source) -> bool:
    return not _is_path(source) or Path(source).exists()


def _called(sources: Sequence[Source]) -> str:
    return str(sources[0]) if len(sources) == 1 and _is_path(sources[0]) else "the models' table"


def _frame(sources: Sequence[Source], how: Mapping[str, Any]) -> tuple[pd.DataFrame, list[Place], tuple[str, ...]]:
    """Read all sources into one table with a row a model, its name in `model`; and say where each row stands."""
    import pandas as pd

    if not sources:
        raise RequestError("there are no models; give a table of models, or checkpoints")
    tables: list[pd.DataFrame] = []
    places: list[Place] = []
    models: list[Model] = []
    for source in sources:
        if isinstance(source, pd.DataFrame):
            tables.append(_named(tidy_frame(source), _FRAME))
            places += [(_FRAME, k) for k in range(len(source))]
        elif isinstance(source, ModelReport) or not _is_table(source):
            models.append(read_model(source, **how))
        elif has_layers((frame := read_frame(source)).columns):
            models.append(of_layers(Path(source), frame))
        else:
            tables.append(_named(frame, source))
            places += [(Path(source).name, k + 2) for k in range(len(frame))]
    notes = _differing(models)
    for model in distinct(models):
        counts = {status: sum(row.status == status for row in model.rows) for status in LACKING}
        if lacking := [f"{count} {status}" for status, count in counts.items() if count]:
            notes += (f"{model.name}: rows that are not in its metrics: {' and '.join(lacking)}",)
    if models:
        tables.append(pd.DataFrame([{"model": model.name, ALSO: model.also} | model.metrics for model in models]))
        places += [("the models", k + 1) for k in range(len(models))]
    return pd.concat(tables, ignore_index=True), places, notes


def _named(frame: pd.DataFrame, path: str | PathLike[str]) -> pd.DataFrame:
    """Give a table with the names of its models in `model`, the first that a row has."""
    columns = [name for wanted in NAMES for name in frame.columns if str(name).lower() == wanted]
    if not columns:
        raise SourceError(path, f"has no column {', '.join(NAMES[:-1])} or {NAMES[-1]}, but {listed(frame, 40)}")
    if frame.empty:
        raise SourceError(path, "has no rows")
    names = frame[columns].astype(object).bfill(axis=1).iloc[:, 0]
    if names.isna().any():
        raise SourceError(path, f"row {int(np.flatnonzero(names.isna())[0]) + 2} has no name of a model")
    return frame.assign(model=names.map(str))


def _differing(models: Sequence[Model]) -> tuple[str, ...]:
    """Say where analyses were made in different ways, which gives numbers that cannot be compared."""
    notes = []
    for setting in _SHAPING:
        values = {str(model.settings[setting]): model.name for model in models if setting in model.settings}
        if len(values) > 1:
            said = " and ".join(f"{value} ({name})" for value, name in values.items())
            notes.append(f"the analyses differ in {setting}, so their metrics cannot be compared: {said}")
    return tuple(notes)


def _with_quality(frame: pd.DataFrame, column: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Keep the models that have a quality, as a number."""
    import pandas as pd

    values = pd.to_numeric(frame[column], errors="coerce")
    if (odd := frame[column].map(cell_text).ne("") & values.isna()).any():
        name, seen = frame.loc[odd, ["model", column]].iloc[0]
        raise RequestError(f"{column} of {name!r} is {seen!r}; it must be a number")
    there = np.isfinite(values.to_numpy(np.float64))
    if not there.any():
        raise RequestError(f"no model has a number in the column {column}")
    infinite = ~there & values.notna()
    notes = [
        f"left out, {how}: {listed(frame['model'][which])}"
        for how, which in ((f"without {column}", values.isna()), (f"their {column} not finite", infinite))
        if which.any()
    ]
    return frame.assign(**{column: values})[there], tuple(notes)


def _once(
    frame: pd.DataFrame, groups: Sequence[str], numbers: NDArray[np.float64], places: Sequence[Place]
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Choose the first row of every model in its group, and of its collection and data set, and note the others.

    Args:
        frame: a row a model, labelled by its position among `places`.
        groups: of each row.
        numbers: (K, rows) the quality and the metrics.
        places: file and row of all that was read.

    Raises:
        RequestError: if two rows of one model differ.
    """
    apart = [frame[name].map(cell_text) for name in COARSER if name in frame.columns]
    first: dict[tuple[str, ...], int] = {}
    for k, key in enumerate(zip(frame["model"], groups, *apart, strict=True)):
        if not np.array_equal(numbers[:, j := first.setdefault(key, k)], numbers[:, k], equal_nan=True):
            (file, row), (other, second) = places[frame.index[j]], places[frame.index[k]]
            where = f"rows {row} and {second} of {file}"
            if file != other:
                where = f"row {row} of {file} and row {second} of {other}"
            series = f" in series {key[1]}" if len(set(groups)) > 1 else ""
            raise RequestError(f"{key[0]} stands twice{series}, with different numbers: {where}")
    kept = np.zeros(len(frame), dtype=bool)
    kept[list(first.values())] = True
    twice = list(dict.fromkeys(frame["model"][~kept]))
    return kept, (f"counted once, their rows being the same: {listed(twice)}",) if twice else ()


def _several(names: Sequence[str], groups: Sequence[str]) -> tuple[str, ...]:
    """Say which models stand in one group more than once, of different collections or data sets."""
    counts = Counter(zip(names, groups, strict=True))
    several = [f"{name} ({count} times in {group})" for (name, group), count in counts.items() if count > 1]
    return (f"models that count more than once in a group: {listed(several)}",) if several else ()
