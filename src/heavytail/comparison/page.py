"""One comparison, one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10
from typing import TYPE_CHECKING, Any

from heavytail.comparison.payload import payload
from heavytail.comparison.remarks import attention, in_short, percent
from heavytail.comparison.row import KINDS_OF_CHANGE, ChangeRow
from heavytail.diagnosis.row import DEFINITIONS as OF_A_LAYER
from heavytail.report.html import LAYERS, human, page, plain_items, plain_text, plural, two_decimals
from heavytail.report.payload import clean, printable

if TYPE_CHECKING:
    from heavytail.comparison.report import Comparison

__all__ = ["render"]

_STATUSES = ("ok", "unmatched", "failed", "unsupported", "skipped")
_VECTORS = 12  # at most so many are listed
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_FIGURES = {
    "alpha": "α",
    "alpha_weighted": "α̂",
    "log_norm": "log₁₀ ‖W‖²",
    "log_spectral_norm": "log₁₀ λmax",
    "stable_rank": "stable rank",
    "entropy": "entropy",
}


@dataclass(frozen=True, slots=True)
class _Figure:
    """The mean change of a metric over the layers that have it in both models."""

    metric: str
    label: str
    change: str
    error: str
    means: str
    layers: int
    definition: str


@dataclass(frozen=True, slots=True)
class _Vector:
    """A vector that changed; `width` is its change over the largest, in percent."""

    name: str
    reason: str
    change: str
    width: float


def render(comparison: Comparison) -> str:
    """Write a comparison as one self-contained HTML page (see `heavytail.report.html.page`).

    Args:
        comparison: two models, layer by layer.

    Returns:
        The page, to be encoded as UTF-8.
    """
    rows = tuple(clean(row) for row in comparison.rows)
    findings = attention(rows)
    base, tuned = _short_names(comparison.base["name"], comparison.tuned["name"])
    vectors = _vectors(rows)
    return page(
        "compare.html.j2",
        payload(comparison, rows, findings),
        styles=("compare.css",),
        scripts=(*LAYERS, "compare_depth.js", "compare_panel.js", "compare.js"),
        base=base,
        tuned=tuned,
        facts=_facts(comparison.summary),
        sources=_source("base", comparison.base) + _source("tuned", comparison.tuned),
        settings=plain_items(comparison.settings),
        matched=[printable(note) for note in comparison.notes],
        notes=_notes(comparison),
        in_short=in_short(rows, comparison.summary),
        findings=findings,
        figures=_figures(comparison.summary["metrics"]),
        kinds=_kinds(rows),
        statuses=[(status, comparison.summary[status]) for status in _STATUSES],
        vectors=vectors[:_VECTORS],
        more_vectors=len(vectors) - len(vectors[:_VECTORS]),
        all_vectors=comparison.summary["vectors"],
        version=comparison.version,
    )


def _short_names(*names: str) -> list[str]:
    """Give the last parts of two names, as many of them as tell the one from the other."""
    parts = [printable(name).rstrip("/").split("/") for name in names]
    for depth in range(1, max(map(len, parts)) + 1):
        short = ["/".join(part[-depth:]) for part in parts]
        if short[0] != short[1]:
            return short
    return [part[-1] for part in parts]


def _facts(summary: Mapping[str, Any]) -> list[str]:
    compared = plural(summary["ok"], "matrix", "matrices")
    facts = [f"{compared} compared, {human(summary['parameters'])} parameters"]
    if unchanged := summary["changes"]["none"]:
        facts.append(f"{unchanged} unchanged")
    if isfinite(summary["relative_change"]) and unchanged < summary["ok"]:
        facts.append(f"relative change {percent(summary['relative_change'])}")
    return facts


def _source(side: str, source: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(f"{side}: {key}", text) for key, text in plain_items(source, leave_out=("notes",))]


def _notes(comparison: Comparison) -> list[tuple[str, str]]:
    sides = (("base", comparison.base), ("tuned", comparison.tuned))
    return [(side, plain_text(note)) for side, source in sides for note in source.get("notes") or ()]


def _figures(metrics: Mapping[str, Mapping[str, float]]) -> list[_Figure]:
    return [
        _Figure(
            metric,
            label,
            *_measured(found["change"], found["error"]),
            f"{two_decimals(found['base'])} → {two_decimals(found['tuned'])}" if found["layers"] else "",
            int(found["layers"]),
            OF_A_LAYER[metric],
        )
        for metric, label in _FIGURES.items()
        if (found := metrics[metric])
    ]


def _kinds(rows: Iterable[ChangeRow]) -> list[tuple[str, int, str]]:
    """Give each kind of change with the number of its layers and what it means."""
    found = [row.change for row in rows if row.status == "ok"]
    kinds = [(kind, found.count(kind), meaning) for kind, meaning in KINDS_OF_CHANGE.items()]
    narrow = found.count("")
    return [*kinds, ("too small to tell", narrow, "a matrix too narrow for a bulk of noise")] if narrow else kinds


def _vectors(rows: Sequence[ChangeRow]) -> list[_Vector]:
    """Give the vectors that changed, the largest relative change first; those that were zero in the base lead."""
    changed = [row for row in rows if row.status == "skipped" and row.relative_change > 0]
    changed.sort(key=lambda row: -row.relative_change)
    finite = [row.relative_change for row in changed if isfinite(row.relative_change)]
    largest = max(finite, default=1.0)
    return [
        _Vector(
            row.name,
            row.reason,
            percent(row.relative_change) if isfinite(row.relative_change) else "from zero",
            round(100 * min(1.0, row.relative_change / largest), 1),
        )
        for row in changed
    ]


def _measured(change: float, error: float) -> tuple[str, str]:
    """Write a change with its sign, and its standard error to two digits, both to the same decimals.

    Small ones are written as a number times a power of ten, which stands behind the error too.
    """
    if not isfinite(change):
        return "–", ""
    size = max(abs(change), error if isfinite(error) else 0.0)
    power = floor(log10(size)) if 0 < size < 1e-3 else 0
    least = error if isfinite(error) and error > 0 else abs(change)
    decimals = max(0, power + 1 - floor(log10(least))) if least > 0 else 0
    unit = f"×10{str(power).translate(_SUPERSCRIPTS)}" if power else ""
    texts = (f"{x / 10.0**power:{sign}.{decimals}f}" for x, sign in ((change, "+" if change else ""), (error, "")))
    number, plus_minus = (text.replace("-", "−") + unit for text in texts)
    return number, f"± {plus_minus}" if isfinite(error) else ""
