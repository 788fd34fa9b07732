"""One report, one HTML file that needs nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from statistics import median
from typing import TYPE_CHECKING, Any

from heavytail.diagnosis.noise import LEVEL
from heavytail.diagnosis.row import DEFINITIONS, Row
from heavytail.report.attention import attention
from heavytail.report.html import LAYERS, human, page, plain_items, plain_text, plural, two_decimals
from heavytail.report.payload import clean, payload, printable
from heavytail.report.phase_payload import MEANINGS

if TYPE_CHECKING:
    from heavytail.report.model_report import ModelReport

__all__ = ["render"]

_STATUSES = ("ok", "failed", "unsupported", "skipped")
_FIGURES = {
    "alpha": "mean α",
    "alpha_weighted": "mean α̂",
    "log_norm": "mean log₁₀ ‖W‖²",
    "log_spectral_norm": "mean log₁₀ λmax",
    "stable_rank": "mean stable rank",
    "entropy": "mean entropy",
}


@dataclass(frozen=True, slots=True)
class _Figure:
    """A summary figure: the mean of a column over the rows that are ok."""

    column: str
    label: str
    value: str
    median: str
    count: int
    definition: str


def render(report: ModelReport) -> str:
    """Write a report as one self-contained HTML page (see `heavytail.report.html.page`).

    Args:
        report: the report of one model.

    Returns:
        The page, to be encoded as UTF-8.
    """
    rows = tuple(clean(row) for row in report.rows)
    tails = {printable(name): tail for name, tail in report.tails.items()}
    phases = {printable(name): phase for name, phase in report.phases.items()}
    noise = {printable(name): found for name, found in report.noise.items()}
    findings = attention(rows, tails, phases, noise)
    return page(
        "report.html.j2",
        payload(report, rows, findings),
        scripts=(*LAYERS, "report_panel.js", "report.js"),
        title=_title(report.source),
        facts=_facts(report, rows),
        source=plain_items(report.source, leave_out=("notes",)),
        settings=plain_items(report.settings),
        notes=_notes(report.source.get("notes")),
        left_out=_left_out(rows),
        findings=findings,
        figures=_figures(report.summary, rows),
        statuses=[(status, sum(row.status == status for row in rows)) for status in _STATUSES],
        tails=_tails(report, rows),
        noise=_noise(report, rows),
        phases=_phases(report.summary, rows),
        phaseless=sum(row.status == "ok" and not row.phase for row in rows),
        version=report.version,
    )


def _title(source: Mapping[str, Any]) -> str:
    """Give the last part of the source's name; the whole of it stands under "Source and settings"."""
    return printable(source.get("name") or "model").rstrip("/").rsplit("/", 1)[-1]


def _facts(report: ModelReport, rows: Sequence[Row]) -> list[str]:
    analysed = [row for row in rows if row.status == "ok"]
    pooled = sum(row.num_matrices for row in analysed if isfinite(row.num_matrices))
    counted = sum(row.N * row.M * row.num_matrices for row in analysed if isfinite(row.num_matrices))
    entries = report.summary.get("parameters", counted)
    what = "matrix entries" if report.settings.get("conv") == "operator" else "parameters"
    facts = [printable(report.source["format"])] if report.source.get("format") else []
    facts += [f"{human(entries)} {what} analysed", plural(len(analysed), "layer")]
    if pooled > len(analysed):
        facts.append(plural(int(pooled), "matrix", "matrices"))
    facts.append(plural(sum(row.num_evals for row in analysed if isfinite(row.num_evals)), "eigenvalue"))
    return facts


def _notes(notes: Any) -> list[str]:
    if not notes:
        return []
    return [printable(notes)] if isinstance(notes, str) else [plain_text(note) for note in notes]


def _left_out(rows: Iterable[Row]) -> list[tuple[str, int]]:
    """Count the skipped rows by their reason, the most frequent first."""
    return Counter(row.reason or "no reason is recorded" for row in rows if row.status == "skipped").most_common()


def _figures(summary: Mapping[str, Any], rows: Iterable[Row]) -> list[_Figure]:
    ok = [row for row in rows if row.status == "ok"]
    figures = []
    for column, label in _FIGURES.items():
        values = [value for row in ok if isfinite(value := getattr(row, column))]
        mean = summary.get(column, sum(values) / len(values) if values else None)
        middle = median(values) if values else None
        figures.append(
            _Figure(column, label, two_decimals(mean), two_decimals(middle), len(values), DEFINITIONS[column])
        )
    return figures


def _tails(report: ModelReport, rows: Iterable[Row]) -> list[tuple[str, str]]:
    """Say how many tails are power laws; nothing where no evidence was asked for."""
    judged = [row for row in rows if row.tail]
    if not judged or not isfinite(report.summary.get("power_laws", nan)):
        return []
    laws, undecided = int(report.summary["power_laws"]), int(report.summary["undecided"])
    rejected = sum(tail.evidence.verdict.rejected for tail in report.tails.values() if tail.evidence is not None)
    return [
        (str(laws), f"of {plural(len(judged), 'tail')} {'is a power law' if laws == 1 else 'are power laws'}"),
        (str(len(judged) - laws - undecided), "of another law"),
        (str(undecided), "undecided"),
        (str(rejected), "where the power law is rejected"),
    ]


def _noise(report: ModelReport, rows: Iterable[Row]) -> list[tuple[str, str]]:
    """Say how many layers have a noise bulk, spikes and traps; nothing where no noise was looked for."""
    counts = [report.summary.get(key, nan) for key in ("noise_bulks", "num_spikes", "spiked_rows", "num_traps")]
    if not report.noise or not isfinite(counts[0]):
        return []
    bulks, spikes, spiked, traps = counts
    said = [(f"{bulks:.0f}", f"of {sum(row.status == 'ok' for row in rows)} layers with a noise bulk")]
    if bulks:
        said.append((f"{spikes:.0f}", f"{'spike' if spikes == 1 else 'spikes'} beyond it"))
        layers = "layer" if spiked == 1 else "layers"
        said.append((f"{spiked:.0f}", f"{layers} with spikes at a false discovery rate of {100 * LEVEL:g} %"))
    if isfinite(traps):
        said.append((f"{traps:.0f}", "trap" if traps == 1 else "traps"))
    return said


def _phases(summary: Mapping[str, Any], rows: Iterable[Row]) -> list[tuple[str, int, str]]:
    """Give each phase with the number of its layers and what it means; nothing where no layer has one."""
    found = Counter(row.phase for row in rows if row.status == "ok" and row.phase)
    counts = summary.get("phases", found)
    return [(name, counts.get(name, 0), meaning) for name, meaning in MEANINGS.items()] if counts else []
