from types import SimpleNamespace

import numpy as np
import pytest
from pages import Page, needs_nothing_else
from scipy import stats
from trends import page_sample as sample

from heavytail.trends import ModelTable, trends
from heavytail.trends.page import VERDICTS, band, payload, render


@pytest.fixture(scope="module")
def report():
    return trends(sample.table())


@pytest.fixture(scope="module")
def text(report):
    return render(report)


@pytest.fixture(scope="module")
def data(text):
    return Page(text).data


def metric(data, name):
    return next(found for found in data["metrics"] if found["name"] == name)


def close(value):
    """What a number becomes that is rounded to four digits, and null where it is missing."""
    return None if np.isnan(value) else pytest.approx(value, rel=5.1e-4, abs=1e-300)


@pytest.mark.parametrize("n", [3, 5, 40])
def test_the_band_is_that_of_the_normal_equations(n):
    rng = np.random.default_rng(n)
    x, at = rng.normal(3, 2, n), np.linspace(-5, 9, 7)
    y = 4 - 2 * x + rng.normal(size=n)
    design, wanted = np.column_stack((np.ones(n), x)), np.column_stack((np.ones(7), at))
    inverse = np.linalg.inv(design.T @ design)
    coefficients = inverse @ design.T @ y
    residual = y - design @ coefficients
    variance = residual @ residual / (n - 2)
    half = stats.t(n - 2).ppf(0.975) * np.sqrt(variance * np.einsum("ij,jk,ik->i", wanted, inverse, wanted))
    line = stats.linregress(x, y)
    rmse = np.sqrt(np.mean((y - line.intercept - line.slope * x) ** 2))
    found = SimpleNamespace(n=n, slope=line.slope, intercept=line.intercept, rmse=rmse)
    low, high = band(x, found, at)
    assert low == pytest.approx(wanted @ coefficients - half, rel=1e-10)
    assert high == pytest.approx(wanted @ coefficients + half, rel=1e-10)


def test_the_band_covers_the_true_mean_as_often_as_it_says():
    rng, at, covered = np.random.default_rng(11), np.array([1.5]), 0
    for _ in range(4000):
        x = rng.uniform(0, 1, 6)
        y = 2 + x + rng.normal(size=6)
        slope, intercept = np.polyfit(x, y, 1)
        rmse = np.sqrt(np.mean((y - intercept - slope * x) ** 2))
        low, high = band(x, SimpleNamespace(n=6, slope=slope, intercept=intercept, rmse=rmse), at, level=0.9)
        covered += bool(low[0] <= 3.5 <= high[0])
    assert stats.binomtest(covered, 4000, 0.9).pvalue > 1e-3


def test_models_series_and_quality_arrive(report, data):
    table = report.table
    assert data["models"] == list(table.models)
    assert [data["series"][k] for k in data["of"]] == list(table.groups)
    assert data["y"] == pytest.approx(table.quality, rel=5e-6)
    assert (data["quality"], data["better"]) == ("top1_accuracy", "higher")


def test_the_largest_series_come_first(data):
    assert data["series"] == ["Wide", "Deep", "Small", "Pair", "Lone"]


def test_missing_values_are_null_and_the_others_are_those_of_the_table(report, data):
    for name, values in report.table.metrics.items():
        expected = [None if np.isnan(value) else pytest.approx(value, rel=5e-6) for value in values]
        assert metric(data, name)["x"] == expected


def test_every_number_of_a_panel_is_the_reports(report, data):
    for trend in report.trends:
        found = metric(data, trend.metric)
        panels = {data["series"][panel["series"]]: panel for panel in found["panels"]}
        for name, panel in [*panels.items(), ("(pooled)", found["pooled"])]:
            known = trend.pooled if name == "(pooled)" else trend.groups[name]
            assert panel["n"] == known.n
            assert panel["slope"] == [close(known.slope), close(known.slope_lo), close(known.slope_hi)]
            assert panel["r2"] == [close(known.r2), close(known.r2_lo), close(known.r2_hi)]
            assert panel["tau"] == [close(known.kendall_tau), close(known.kendall_lo), close(known.kendall_hi)]
            assert panel["rho"] == [close(known.spearman_rho), close(known.spearman_lo), close(known.spearman_hi)]
            assert (panel["rmse"], panel["loo_rmse"]) == (close(known.rmse), close(known.loo_rmse))
            assert (panel["loo_r2"], panel["p"]) == (close(known.loo_r2), close(known.p_kendall))
            assert panel["sign_error"] == close(known.sign_error)
        for name, panel in panels.items():
            assert panel["verdict"] == trend.verdicts[name]
            assert panel["adjusted"] == close(trend.adjusted[name])


def test_every_number_of_a_metric_is_the_reports(report, data):
    for trend in report.trends:
        found, within = metric(data, trend.metric), trend.within
        assert (found["verdict"], found["opposed"], found["direction"]) == (
            trend.verdict,
            trend.opposed,
            trend.direction,
        )
        assert (found["sign_error"], found["robust"]) == (close(trend.sign_error), close(trend.robust_sign_error))
        assert found["within"]["slope"] == [close(within.slope), close(within.slope_lo), close(within.slope_hi)]
        assert found["within"]["r2"] == close(within.r2)
        assert found["within"]["tau"] == close(within.kendall_tau)
        assert found["within"]["adjusted"] == close(within.adjusted)
        counts = [found["within"][key] for key in ("groups", "models", "negative", "positive")]
        assert counts == [within.groups, within.models, within.negative, within.positive]


def test_lines_run_through_the_outermost_models_of_the_fit(report, data):
    table, found = report.table, metric(data, "alpha")
    for panel in found["panels"]:
        inside = np.array(table.groups) == data["series"][panel["series"]]
        x, y = table.metrics["alpha"][inside], table.quality[inside]
        if panel["n"] < 3:
            assert panel["line"] is None
            continue
        line, ends = panel["line"], np.array([x.min(), x.max()])
        assert line["x"] == pytest.approx(ends, rel=5e-6)
        assert line["y"] == pytest.approx(np.polyval(np.polyfit(x, y, 1), ends), rel=5e-6)
        at = np.linspace(*ends, len(line["low"]))
        assert line["low"][0] < line["y"][0] < line["high"][0]
        assert (np.array(line["low"]) + line["high"]) / 2 == pytest.approx(
            np.polyval(np.polyfit(x, y, 1), at), rel=1e-4
        )


def test_only_lines_that_could_be_evidence_are_firm(data):
    firm = {data["series"][panel["series"]]: panel["firm"] for panel in metric(data, "alpha")["panels"]}
    assert firm == {"Wide": True, "Deep": True, "Small": False, "Pair": False}


def test_a_constant_metric_has_no_line(data):
    found = metric(data, "entropy")
    assert [panel["line"] for panel in found["panels"]] == [None] * len(found["panels"])
    assert found["pooled"]["slope"] == [None] * 3


def test_a_series_is_as_large_as_the_models_that_have_the_metric(data):
    found = metric(data, "log_norm")
    assert {data["series"][panel["series"]]: panel["n"] for panel in found["panels"]}["Wide"] == 2
    assert [[data["series"][place], count] for place, count in found["small"]] == [["Lone", 1]]


def test_among_many_series_the_small_ones_have_no_panel():
    data = payload(trends(sample.large(metrics=1), resamples=100))
    for found in data["metrics"]:
        assert [panel["n"] for panel in found["panels"]] == sorted(
            [panel["n"] for panel in found["panels"]], reverse=True
        )
        assert min(panel["n"] for panel in found["panels"]) == 3
        assert sorted(count for _, count in found["small"]) == [1] * 7 + [2] * 9


def test_the_best_supported_metric_comes_first(data):
    order = list(VERDICTS)
    ranks = [(order.index(found["verdict"]), found["within"]["adjusted"] or 2) for found in data["metrics"]]
    assert ranks == sorted(ranks)
    assert data["metrics"][0]["verdict"] == "supported"
    assert [found["name"] for found in data["metrics"] if found["verdict"] == "reversed"] == ["alpha_hill"]
    assert data["metrics"][-1]["name"] == "alpha_hill"


@pytest.mark.parametrize("higher", [True, False])
def test_the_expected_sign_follows_the_theory_and_what_is_better(higher):
    rng = np.random.default_rng(0)
    values = {"alpha": rng.normal(size=6), "stable_rank": rng.normal(size=6)}
    table = ModelTable(tuple("abcdef"), ("s",) * 6, values, rng.normal(size=6), "score", higher)
    data = payload(trends(table))
    assert metric(data, "alpha")["expected"] == (-1 if higher else 1)
    assert metric(data, "stable_rank")["expected"] == 0
    assert f"score, {'higher' if higher else 'lower'} is better" in render(trends(table))


def test_the_paradox_is_told_before_any_chart(report, text):
    assert metric(payload(report), "alpha")["opposed"]
    said = [warning for warning in report.warnings if "alpha" in warning]
    assert said
    assert text.index(said[0]) < text.index('id="panels"')


def test_notes_and_facts_are_told(report, text):
    assert report.table.notes[0] in text
    for fact in ("22 models", "5 series", "6 metrics", "top1_accuracy, higher is better"):
        assert f"<span>{fact}</span>" in text


def test_every_column_is_explained(data, text):
    for _, label, meaning in [*data["overview"].values(), *data["columns"].values()]:
        assert label
        assert meaning.endswith(".")
        assert meaning.replace("'", "&#39;") in text


def test_hostile_texts_stay_texts():
    text = render(trends(sample.hostile()))
    page = Page(text)
    assert sample.HOSTILE not in text
    assert "img" not in page.tags
    assert page.tags.count("script") == 2
    assert page.data["quality"] == sample.HOSTILE
    assert sample.HOSTILE in page.data["series"]
    assert text.encode("utf-8")


def test_the_page_needs_nothing_else(text):
    assert needs_nothing_else(text)


def test_the_same_report_gives_the_same_page(text):
    assert render(trends(sample.table())) == text


@pytest.mark.slow
def test_the_page_of_the_largest_published_table_is_small():
    report = trends(sample.large(), resamples=100)
    assert len(render(report).encode()) < 500_000
