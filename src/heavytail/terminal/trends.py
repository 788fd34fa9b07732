"""Trends and rankings in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from textwrap import wrap

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from heavytail.errors import visible
from heavytail.terminal.texts import escaped, width_of
from heavytail.trends.association import Association
from heavytail.trends.metrics import metric_named
from heavytail.trends.rank import Ranking
from heavytail.trends.report import LEAST_MODELS, Trend, TrendsReport

__all__ = ["print_ranking", "print_trends"]

_SHORTEST = 17  # cells of a name before a column has room: of log_spectral_norm
_FITTED = 3  # models of which a line need not go through every one
_MANY = 12  # groups above which those of too few models are left to the files
_ROUNDING = 1e-9  # what is less is the rounding of nothing
_TOO_FEW = "too few"
_STYLES = {"supported": "green", "reversed": "red"}
_EXPECTED = {
    -1: "smaller is better by the theory",
    0: "the theory does not say which is better",
    1: "larger is better by the theory",
}
_TEXTS = ("verdict", "")
_OPPOSITE = "opposite"
_TOGETHER = ("", "slope", "R²", "τ", "adj. p", "verdict", "−/+", "pooled", "", "R²", "sign error")
_HEADERS = ("n", "slope", "R²", "RMSE", "τ (95 %)", "ρ", "p", "adj. p", "LOO", "verdict")
_GIVEN_UP = (9, 6, 4, 7, 3, 2, 1, 5, 8)  # columns of a group's line in the order in which they go for want of room
_GIVEN_UP_TOGETHER = (9, 2, 6, 10, 1, 7, 8, 3, 4)
_POOLED_R2 = 9
_GIVEN_UP_RANKED = (2,)
_MEANINGS = {
    "p": "p: of τ, by permutation",
    "adj. p": "adj. p: adjusted for all that is looked at here",
    "LOO": "LOO: RMSE of models left out of the fit",
    "verdict": "supported, reversed: adj. p at most 0.05, with or against the theory",
}
_MEANINGS_TOGETHER = {
    "−/+": "−/+: groups with a slope of that sign",
    "sign error": "sign error: share of pairs of models ordered against the theory, mean (and worst) of the groups of "
    f"at least {LEAST_MODELS}",
}


def print_trends(report: TrendsReport, console: Console) -> None:
    """Print a block a metric with a line a group, or the other way round where there are fewer groups than metrics.

    Then, of every metric, what all groups together say beside what the pooled models say, the notes and the warnings.
    """
    table = report.table
    trends, groups, hidden = report.trends, list(dict.fromkeys(g for t in report.trends for g in t.groups)), []
    if len(groups) > _MANY:
        hidden = [g for g in groups if all(t.verdicts.get(g, _TOO_FEW) == _TOO_FEW for t in trends)]
        groups = [g for g in groups if g not in hidden]
    names = _shortened(groups)
    better = "higher" if table.higher_is_better else "lower"
    console.print(
        f"{_count(len(table.models), 'model')} in {_count(len(set(table.groups)), 'group')}; quality: "
        f"[bold]{escaped(table.quality_name)}[/], {better} is better",
        highlight=False,
    )
    absent: dict[str, None] = {}  # columns that there was no room for
    if len(groups) <= len(trends):
        for group in groups:
            absent |= _block(
                f"[bold]{escaped(group)}[/]", {t.metric: (t, group) for t in trends if _models(t, group)}, console
            )
    else:
        for trend in trends:
            lines = {names[group]: (trend, group) for group in groups if _models(trend, group)}
            absent |= _block(_titled(trend), lines, console)
    if hidden:
        few = f"{len(hidden)} groups of too few models to say anything are not shown"
        console.print(f"\n{few}; --csv and --json have them", highlight=False)
    meanings = {header: text for header, text in _MEANINGS.items() if header not in absent}
    if len(set(table.groups)) > 1:
        left_out = _print_together(trends, console)
        meanings |= {header: text for header, text in _MEANINGS_TOGETHER.items() if header not in left_out}
        absent |= left_out
    _print_legend(meanings, absent, console)
    _print_notes(table.notes, report.warnings, console)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _titled(trend: Trend) -> str:
    title = metric_named(trend.metric).title
    named = f"[bold]{escaped(title)}[/]" + (f" ({escaped(trend.metric)})" if title != trend.metric else "")
    return f"{named}: {_EXPECTED[trend.direction]}"


def _models(trend: Trend, group: str) -> int:
    """Give how many models of a group have a metric."""
    return trend.groups[group].n if group in trend.groups else 0


def _block(title: str, lines: Mapping[str, tuple[Trend, str]], console: Console) -> dict[str, None]:
    console.print(f"\n{title}", highlight=False)
    rows, styles = [], []
    for name, (trend, group) in lines.items():
        verdict = trend.verdicts[group]
        rows.append((name, *_association(trend.groups[group], trend.adjusted[group]), verdict))
        styles.append(_STYLES.get(verdict, ""))
    return {_HEADERS[k - 1]: None for k in _print_table(("", *_HEADERS), rows, styles, _GIVEN_UP, console)}


def _association(found: Association, adjusted: float) -> tuple[str, ...]:
    low, high = _number(found.kendall_lo), _number(found.kendall_hi)
    fit = (_number(found.r2), _error(found.rmse)) if found.n >= _FITTED else ("–", "–")  # any two are on a line
    return (
        str(found.n),
        _significant(found.slope),
        *fit,
        _number(found.kendall_tau) + (f" [{low} {high}]" if isfinite(found.kendall_lo) else ""),
        _number(found.spearman_rho),
        _probability(found.p_kendall),
        _probability(adjusted),
        _error(found.loo_rmse),
    )


def _print_together(trends: Sequence[Trend], console: Console) -> dict[str, None]:
    console.print(
        "\n[bold]All groups together[/]: within them, their differences removed, beside pooled, groups ignored",
        highlight=False,
    )
    rows = []
    for trend in trends:
        within, pooled = trend.within, trend.pooled
        worst = f"{_number(trend.sign_error)} ({_number(trend.robust_sign_error)})"
        rows.append(
            (
                trend.metric,
                *(_significant(within.slope), _number(within.r2), _number(within.kendall_tau)),
                *(_probability(within.adjusted), trend.verdict, f"{within.negative}/{within.positive}"),
                *(_significant(pooled.slope), _OPPOSITE if trend.opposed else "", _number(pooled.r2)),
                worst if isfinite(trend.sign_error) else "–",
            )
        )
    styles = [_STYLES.get(trend.verdict, "") for trend in trends]
    left_out = _print_table(_TOGETHER, rows, styles, _GIVEN_UP_TOGETHER, console)
    return {("pooled R²" if k == _POOLED_R2 else _TOGETHER[k]): None for k in left_out}


def _print_legend(meanings: Mapping[str, str], absent: Iterable[str], console: Console) -> None:
    console.print("", *wrap("; ".join(meanings.values()), console.width), sep="\n", style="dim", highlight=False)
    if names := ", ".join(filter(None, absent)):
        text = f"no room for {names}: a wider terminal, --csv and --json have them"
        console.print(*wrap(text, console.width), sep="\n", style="dim", highlight=False)


def _print_notes(notes: Iterable[str], warnings: Iterable[str], console: Console) -> None:
    for kind, style, texts in (("note", "", notes), ("warning", "yellow", warnings)):
        for text in texts:
            console.print(f"[{style or 'default'}]{kind}:[/] {escaped(text)}", highlight=False)


def print_ranking(ranking: Ranking, console: Console) -> None:
    """Print the models in their places, and the sentence that says how far that can be trusted."""
    title = metric_named(ranking.metric).title
    headers = ("model", f"{title} ± s.e.", "ahead by", "better than the next")
    rows = [
        (
            f"{one.place} {one.model}",
            f"{one.value:.3f} ± {one.standard_error:.3f}" if isfinite(one.standard_error) else f"{one.value:.3f}",
            f"{one.gap:.3f}" if isfinite(one.gap) else "–",
            f"{one.better:.0%}" if isfinite(one.better) else "–",
        )
        for one in ranking.models
    ]
    _print_table(headers, rows, [""] * len(rows), _GIVEN_UP_RANKED, console)
    console.print("", *wrap(visible(ranking.sentence), console.width), sep="\n", highlight=False, markup=False)
    _print_notes(ranking.notes, (), console)


def _print_table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    styles: Sequence[str],
    given_up: Sequence[int],
    console: Console,
) -> list[int]:
    """Print a table whose first column, of names, has the room that the others leave; give the columns not in it.

    Where names would have too little room, columns are given up whole, in the order of `given_up`: no number is cut.
    """
    widths = [width_of(cells) + 1 for cells in zip(headers, *rows, strict=True)]
    least = min(widths[0] - 1, _SHORTEST)
    shown = set(range(1, len(headers)))
    for column in given_up:
        if console.width - sum(widths[k] for k in shown) >= least:
            break
        shown.remove(column)
    room = max(console.width - sum(widths[k] for k in shown), 1)
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim", pad_edge=False)
    kept = sorted(shown)
    for k in (0, *kept):
        left = k == 0 or headers[k] in _TEXTS
        table.add_column(headers[k], justify="left" if left else "right", no_wrap=True)
    for (name, *cells), style in zip(rows, styles, strict=True):
        text = visible(name)
        short = text if cell_len(text) <= room else set_cell_size(text, room - 1) + "…"
        table.add_row(*(escape(cell) for cell in (short, *(cells[k - 1] for k in kept))), style=style)
    console.print(table)
    return sorted(set(range(1, len(headers))) - shown)


def _shortened(groups: Sequence[str]) -> dict[str, str]:
    """Name groups without what they all begin with."""
    parts = [group.split(" · ") for group in groups]
    common = 0
    while groups and all(len(one) > common + 1 for one in parts) and len({one[common] for one in parts}) == 1:
        common += 1
    return {group: " · ".join(one[common:]) for group, one in zip(groups, parts, strict=True)}


def _number(value: float) -> str:
    return f"{value:.2f}" if isfinite(value) else "–"


def _significant(value: float) -> str:
    return f"{value:.3g}" if isfinite(value) else "–"


def _error(value: float) -> str:
    return "0" if abs(value) < _ROUNDING else _significant(value)


def _probability(value: float) -> str:
    return "–" if not isfinite(value) else "<.001" if value < 0.001 else f"{value:.3f}"
