import re
from dataclasses import replace
from math import isfinite
from statistics import fmean, median

import numpy as np
import pytest
from pages import Page, needs_nothing_else
from report import sample

from heavytail.diagnosis.row import COLUMNS, Row
from heavytail.report.page import render
from heavytail.report.phase_payload import MEANINGS


@pytest.fixture(scope="module")
def report():
    return sample.make()


@pytest.fixture(scope="module")
def text(report):
    return render(report)


@pytest.fixture(scope="module")
def data(text):
    return Page(text).data


def test_the_same_report_gives_the_same_page(report, text):
    assert render(sample.make()) == text


def test_the_page_needs_nothing_else(text):
    assert needs_nothing_else(text)


def test_a_hostile_name_stays_text(text, data):
    assert sample.HOSTILE not in text
    assert "img" not in Page(text).tags
    assert data["columns"]["name"][-1] == sample.HOSTILE


@pytest.mark.parametrize("place", ["name", "kind", "dtype", "reason"])
@pytest.mark.parametrize("status", ["failed", "unsupported", "skipped", "ok"])
def test_every_text_of_a_row_is_escaped(report, place, status):
    row = Row(**({"name": "x", "kind": "linear", "dtype": "f", "status": status} | {place: sample.HOSTILE}))
    page = Page(render(replace(report, rows=(row,))))
    assert "img" not in page.tags


def test_source_settings_and_version_are_escaped(report):
    evil = sample.HOSTILE
    bad = {evil: [evil], "name": evil, "format": evil, "notes": [evil]}
    page = Page(render(replace(report, source=bad, settings=bad, version=evil)))
    assert "img" not in page.tags


def test_half_a_surrogate_pair_in_a_name_does_not_stop_the_page(report):
    rows = (replace(report.rows[1], name="bad\udc80name", status="failed", reason="\ud800"),)
    text = render(replace(report, rows=rows, source={"name": "m\udc80"}))
    assert "bad\ufffdname".encode() in text.encode("utf-8")


def test_missing_numbers_are_null_and_missing_columns_are_null(data):
    alphas = data["columns"]["alpha"]
    assert any(value is None for value in alphas)
    assert data["columns"]["num_traps"] is None
    assert set(data["columns"]) == set(COLUMNS)


def test_rows_and_curves_are_aligned(report, data):
    assert data["count"] == len(report.rows) == len(data["curves"])
    for row, curves in zip(report.rows, data["curves"], strict=True):
        assert (curves is not None) == (row.name in report.spectra)


def test_eigenvalues_at_the_floor_are_counted_not_drawn(report, data):
    index = [row.name for row in report.rows].index("adapter.merged")
    assert data["curves"][index]["below"] == 128


def test_findings_of_groups_reach_each_row(data, report):
    broken = [row.status for row in report.rows].index("failed")
    assert data["findings"][str(broken)][0][0] == "problem"


def test_the_summary_of_the_report_is_shown_and_computed_where_it_is_silent(report):
    page = render(replace(report, summary={"alpha": 3.1415}))
    assert ">3.14<" in page
    values = [row.log_norm for row in report.rows if row.status == "ok"]
    assert f">{np.mean(values):.2f}<" in page


def test_what_was_left_out_is_counted_by_its_reason(text):
    assert re.search(r"<b>8</b> a vector", text)
    assert "8 tensors left out, 1 note<" in text


def test_nothing_to_report_is_said(report):
    calm = sample.ok_row("a", "linear", sample.spectrum(np.random.default_rng(0), 384, 3.0))
    assert "Nothing to report" in render(replace(report, rows=(replace(calm, warning="", D=0.01, entropy=0.9),)))


def test_bulks_spikes_and_traps_are_counted_at_the_head(text):
    page = render(sample.noisy(vectors=False))
    assert "<b>5</b> of 7 layers with a noise bulk" in page
    assert "<b>6</b> spikes beyond it" in page
    assert "<b>3</b> traps" in page
    assert "noise bulk</span>" not in text


def test_the_mean_alpha_stands_with_its_median():
    report = sample.tailed(0)
    alphas = [row.alpha for row in report.rows if isfinite(row.alpha)]
    assert f">{fmean(alphas):.2f}<small>median {median(alphas):.2f}</small>" in render(report)


def test_verdicts_are_counted_at_the_head():
    report = sample.tailed()
    page, verdicts = render(report), [row.tail for row in report.rows if row.tail]
    assert f"<b>{verdicts.count('power law')}</b> of 4 tails are power laws" in page
    assert f"<b>{verdicts.count('undecided')}</b> undecided" in page
    evidence = [tail.evidence for tail in report.tails.values() if tail.evidence is not None]
    assert f"<b>{sum(found.verdict.rejected for found in evidence)}</b> where the power law is rejected" in page
    assert "undecided</span>" not in render(sample.tailed(0))


def test_each_phase_has_a_button_with_its_word_and_its_number():
    report = sample.phased()
    page = render(report)
    assert report.summary["phases"]["undecided"] == 2
    for i, (name, count) in enumerate(report.summary["phases"].items()):
        (button,) = re.findall(rf'<button type="button" class="phase{i}" value="{re.escape(name)}".*?</button>', page)
        assert f"</i>{name} <small>{count}</small>" in button
        assert 'aria-pressed="false"' in button
    assert list(report.summary["phases"]) == list(MEANINGS)
    assert "1 without a phase" in page


def test_phases_are_counted_where_the_summary_is_silent():
    report = sample.phased()
    assert "</i>random-like <small>3</small>" in render(replace(report, summary={}))


def test_a_phase_of_no_layer_cannot_be_pressed():
    report = sample.phased()
    rows = tuple(row for row in report.rows if row.phase == "bulk-decay")
    page = render(replace(report, rows=rows, summary={}))
    assert page.count('aria-disabled="true"') == len(MEANINGS) - 1


def test_a_report_without_phases_does_not_speak_of_them(text):
    assert 'id="phases"' not in text
    assert 'id="strip"' not in text
    assert "Filter by name or phase" not in text
    report = sample.phased()
    small = replace(report, rows=report.rows[-1:], summary={})
    assert 'id="phases"' not in render(small)


def test_a_hostile_name_and_reason_of_a_phase_stay_text():
    report, evil = sample.phased(), sample.HOSTILE
    rows = (replace(report.rows[0], name=evil), replace(report.rows[-1], name="b", reason=evil))
    phases = {evil: report.phases["random-like"], "b": replace(report.phases["small"], reason=evil)}
    page = render(replace(report, rows=rows, phases=phases, spectra={}))
    assert evil not in page
    assert "img" not in Page(page).tags


def test_the_phase_of_a_layer_takes_less_than_half_a_kb():
    report = sample.phased()
    bare = replace(report, phases={})
    assert len(render(report).encode()) - len(render(bare).encode()) < 500 * len(report.rows)


def test_traps_are_not_counted_where_nothing_was_shuffled():
    page = render(sample.noisy(nulls=0, vectors=False))
    assert "</b> spikes beyond it" in page
    assert "</b> traps" not in page


def test_a_hostile_name_and_reason_of_noise_stay_text():
    evil = sample.HOSTILE
    report = sample.noisy(nulls=1)
    rows = (replace(report.rows[0], name=evil), *report.rows[1:])
    noise = {evil: replace(report.noise["pure"], reason=evil)}
    page = render(replace(report, rows=rows, noise=noise, spectra={evil: report.spectra["pure"]}))
    assert evil not in page
    assert "img" not in Page(page).tags


def test_an_empty_report_makes_a_page(report):
    assert "0 layers" in render(replace(report, rows=(), spectra={}, source={}, settings={}))


def test_a_hundred_layers_take_less_than_400_kb():
    assert len(render(sample.make(layers=94, n=1024)).encode()) < 400_000


def test_noise_and_shuffles_of_a_layer_take_less_than_two_kb():
    report = sample.noisy(vectors=False)
    bare = replace(report, noise={})
    assert len(render(report).encode()) - len(render(bare).encode()) < 2000 * len(report.rows)


@pytest.mark.parametrize(("replicates", "most"), [(0, 600), (39, 1700)])
def test_the_tail_of_a_layer_takes_little(replicates, most):
    report = sample.tailed(replicates)
    long = [name for name, tail in report.tails.items() if tail.profile is not None]
    bare = len(render(replace(report, tails={})).encode())
    findings = 200 * len(long)
    assert len(render(report).encode()) - bare < most * len(long) + findings


@pytest.mark.slow
def test_six_hundred_layers_take_less_than_two_and_a_half_megabytes():
    assert len(render(sample.make(layers=594, n=4096)).encode()) < 2_500_000
