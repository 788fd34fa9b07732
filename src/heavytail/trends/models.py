"""A model among others: its name and the rows of its analysis, whether just made or saved before."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from math import nan
from os import PathLike, fspath
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from heavytail.diagnosis.row import SCHEMA_VERSION, Row
from heavytail.errors import RequestError, SourceError
from heavytail.report.model_report import ModelReport
from heavytail.trends.cells import tidied
from heavytail.trends.choices import COARSER, GROUPS, NAMES, QUALITIES
from heavytail.trends.metrics import METRICS, row_metrics

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Model", "distinct", "has_layers", "name_of", "of_layers", "read_frame", "read_model", "tidy_frame"]

_SUFFIXES = frozenset(
    {
        *(".pth", ".pt", ".th", ".bin", ".ckpt", ".pkl", ".tar", ".jit", ".safetensors", ".index", ".onnx", ".h5"),
        *(".hdf5", ".keras", ".gguf", ".tflite", ".npz", ".npy", ".json", ".csv", ".tsv", ".parquet"),
    }
)
_NAMELESS = frozenset({"model", "pytorch_model", "tf_model", "weights", "checkpoint", "consolidated"})
_TEXTS = frozenset(field.name for field in fields(Row) if field.type == "str")
KNOWN = (*NAMES, *GROUPS, *COARSER, *METRICS, *QUALITIES)
"""Columns that are found in whatever letters they are written."""

TEXTS = (*NAMES, *GROUPS, *COARSER)

_LAYERS = frozenset({"name", "kind", "dtype", "status"})  # what a table of layers has, and a table of models has not


@dataclass(frozen=True, slots=True)
class Model:
    """A model and the rows of its analysis.

    Attributes:
        name: the stem of its file.
        also: the stem of the checkpoint that a saved analysis was made of; empty where there is none.
        rows: one a matrix or left-out tensor.
        settings: those of the analysis that shape the rows; empty where a table does not tell.
    """

    name: str
    also: str
    rows: tuple[Row, ...]
    settings: Mapping[str, Any]

    @property
    def metrics(self) -> dict[str, float]:
        """The numbers that `row_metrics` describes."""
        return row_metrics(self.rows, operators=self.settings.get("conv") == "operator")


def name_of(path: str | PathLike[str]) -> str:
    """Name a model after its file: the stem, or the folder where the file's name says nothing.

    Example:
        >>> name_of("zoo/resnet20-12fca82f.th"), name_of("zoo/bert/model.safetensors.index.json"), name_of("zoo/net.1")
        ('resnet20-12fca82f', 'bert', 'net.1')
    """
    text = fspath(path)
    posix = PurePosixPath(urlsplit(text).path if "://" in text else Path(text).absolute().as_posix())
    stem = posix.name
    while (suffix := PurePosixPath(stem).suffix.lower()) in _SUFFIXES:
        stem = stem[: -len(suffix)]
    return posix.parent.name if stem.lower() in _NAMELESS and posix.parent.name else stem


def read_model(
    source: str | PathLike[str] | ModelReport,
    *,
    jobs: int | None = None,
    cache: str | PathLike[str] | None = None,
    progress: Callable[[str, float, float], None] | None = None,
) -> Model:
    """Read the rows of a model.

    Args:
        source: a report, a file that a report wrote (JSON, CSV or Parquet), or anything else that `analyze` reads,
            which is then analysed.
        jobs: threads of the analysis.
        cache: folder where the analysis keeps finished results.
        progress: of the analysis.

    Raises:
        SourceError: if the source cannot be read.
    """
    if isinstance(source, ModelReport):
        return _of_report(source, name_of(source.source["name"]))
    path, suffix = Path(source), Path(source).suffix.lower()
    if suffix == ".json" and path.is_file() and (saved := _saved(path)) is not None:
        return saved
    if suffix in {".csv", ".tsv", ".parquet"}:
        return of_layers(path, read_frame(path))
    from heavytail.analysis import analyze

    return _of_report(analyze(source, jobs=jobs, cache=cache, progress=progress), name_of(source))


def of_layers(path: Path, frame: pd.DataFrame) -> Model:
    """Make a model of a table that has a row a layer.

    Raises:
        SourceError: if it has not.
    """
    if not has_layers(frame.columns):
        raise SourceError(path, "is a table, but not what analyze --csv writes (a row a layer)")
    return Model(name_of(path), "", _rows(path, [dict(row) for _, row in frame.iterrows()]), {})


def distinct(models: Iterable[Model]) -> tuple[Model, ...]:
    """Give the models back if no two of them have the same name.

    Raises:
        RequestError: if two have.
    """
    models = tuple(models)
    names = [model.name for model in models]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise RequestError(f"two models are called {twice[0]!r}; a model is named after its file, so rename one")
    return models


def read_frame(path: str | PathLike[str]) -> pd.DataFrame:
    """Read a CSV or Parquet file as a table; an empty cell is missing.

    Commas, semicolons or tabs separate the cells of a CSV, whichever its first line has most of. With semicolons and
    tabs a number may have a decimal comma. A table that has not a row a layer is tidied: see `cells.tidied`.

    Raises:
        SourceError: if it cannot be read as one.
    """
    import pandas as pd

    try:
        if Path(path).suffix.lower() == ".parquet":
            return tidy_frame(pd.read_parquet(path, engine="pyarrow"))
        encoding, separator = _written(Path(path))
        # "nan" and "" are missing; a model called "NA" or "None" is one.
        frame = pd.read_csv(
            path,
            sep=separator,
            encoding=encoding,
            keep_default_na=False,
            na_values=["", "nan", "NaN"],
            low_memory=False,
            skipinitialspace=True,
        )
        return tidy_frame(frame, comma=separator != ",")
    except ImportError as error:
        raise RequestError("Parquet needs pyarrow: pip install 'heavytail[parquet]'") from error
    except OSError as error:
        raise SourceError(path, error.strerror or str(error)) from error
    except (ValueError, UnicodeError) as error:
        raise SourceError(path, f"is no table that can be read: {str(error).splitlines()[0]}") from error


def tidy_frame(frame: pd.DataFrame, *, comma: bool = False) -> pd.DataFrame:
    """Tidy a table of models, so that columns have the names they are known by; one of layers stays as it is."""
    return frame if has_layers(frame.columns) else tidied(frame, KNOWN, TEXTS, comma=comma)


def _written(path: Path) -> tuple[str, str]:
    """Tell the encoding and the separator of a CSV from how it begins."""
    with path.open("rb") as file:
        first = file.readline(1 << 16)
    if first[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16", _separator(first.replace(b"\0", b""))
    return "utf-8-sig", _separator(first)


def _separator(line: bytes) -> str:
    return max((",", ";", "\t"), key=lambda one: line.count(one.encode()))


def has_layers(columns: Iterable[str]) -> bool:
    """Tell whether a table has a row a layer, as a report writes it."""
    return set(columns) >= _LAYERS


def _of_report(report: ModelReport, name: str) -> Model:
    return Model(name, name_of(report.source["name"]), report.rows, report.settings)


def _saved(path: Path) -> Model | None:
    """Read an analysis from its JSON; None for other JSON, such as the index of a checkpoint in shards."""
    try:
        plain = json.loads(path.read_bytes())
    except (ValueError, UnicodeError) as error:
        raise SourceError(path, f"is no JSON: {error}") from error
    except OSError as error:
        raise SourceError(path, error.strerror or str(error)) from error
    if not isinstance(plain, dict) or "weight_map" in plain:
        return None
    if "layers" not in plain or "schema_version" not in plain:
        raise SourceError(path, "is JSON, but not what analyze --json writes (schema_version, layers)")
    if plain["schema_version"] != SCHEMA_VERSION:
        raise SourceError(path, f"has schema_version {plain['schema_version']!r}; this version reads {SCHEMA_VERSION}")
    settings, source = plain.get("settings", {}), plain.get("source", {})
    return Model(name_of(path), name_of(str(source.get("name", ""))), _rows(path, plain["layers"]), settings)


def _rows(path: Path, plain: Iterable[Mapping[str, Any]]) -> tuple[Row, ...]:
    """Make rows of plain values; what a row does not have is missing, what it should not have is left."""
    try:
        return tuple(
            Row(**{field.name: _value(field.name, row.get(field.name)) for field in fields(Row)}) for row in plain
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise SourceError(path, f"has a row that is none of analyze's: {error}") from error


def _value(name: str, value: Any) -> Any:
    missing = value is None or value != value  # NaN
    if name in _TEXTS:
        return "" if missing else str(value)
    return nan if missing else float(value)
