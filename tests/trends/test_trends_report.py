"""A report of trends has a row for everything, says what is missing, and reads back."""

import json
import subprocess
import sys
from dataclasses import fields
from math import isfinite, isnan, nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from models import ROOT

from heavytail.errors import RequestError
from heavytail.trends import Association, ModelTable, TrendsReport, associate, trends

PUBLISHED = ROOT.parent / "shared" / "published"


def models(sizes: tuple[int, ...] = (5, 8, 3, 1), higher: bool = True) -> ModelTable:
    rng = np.random.default_rng(0)
    n = sum(sizes)
    quality = rng.uniform(60, 80, n)
    metrics = {"alpha_weighted": rng.standard_normal(n), "stable_rank": -quality + rng.standard_normal(n)}
    groups = tuple(chr(65 + k) for k, size in enumerate(sizes) for _ in range(size))
    return ModelTable(tuple(f"model {k}" for k in range(n)), groups, metrics, quality, "top1_accuracy", higher, ("a",))


@pytest.fixture(scope="module")
def report() -> TrendsReport:
    return trends(models())


def test_frame_has_a_row_a_group_and_metric_and_those_of_all_groups(report: TrendsReport) -> None:
    groups = ["A", "B", "C", "(pooled)", "(within)"]
    assert report.frame[["metric", "group"]].values.tolist() == [
        [metric, group] for metric in ("alpha_weighted", "stable_rank") for group in groups
    ]
    row = report.frame[(report.frame.metric == "stable_rank") & (report.frame.group == "B")].iloc[0]
    found = report.trends[1].groups["B"]
    for field in fields(Association):
        assert row[field.name] == getattr(found, field.name) or isnan(row[field.name])
    assert row.verdict == report.trends[1].verdicts["B"]
    assert row.adjusted == report.trends[1].adjusted["B"]
    within = report.frame[report.frame.group == "(within)"].iloc[1]
    assert (within.slope, within.p_kendall, within.n, within.groups) == (
        report.trends[1].within.slope,
        report.trends[1].within.p_value,
        16,
        3,
    )


def test_numbers_of_a_group_are_those_of_its_models_alone(report: TrendsReport) -> None:
    table, found = report.table, report.trends[0]
    rows = np.array(table.groups) == "B"
    alone = associate(table.metrics["alpha_weighted"][rows], table.quality[rows], -1)
    assert found.groups["B"] == alone  # 8 models: nothing is drawn
    assert found.pooled.n == 17
    assert found.pooled.slope == pytest.approx(np.polyfit(table.metrics["alpha_weighted"], table.quality, 1)[0])


def test_within_counts_groups_by_the_sign_of_their_slopes(report: TrendsReport) -> None:
    for trend in report.trends:
        slopes = [found.slope for found in trend.groups.values()]
        assert trend.within.negative == sum(slope < 0 for slope in slopes)
        assert trend.within.positive == sum(slope > 0 for slope in slopes)


def test_r2_and_tau_within_are_those_of_groups_as_columns_and_of_pairs_of_one_group(report: TrendsReport) -> None:
    table, found = report.table, report.trends[0]
    frame = pd.DataFrame({"group": table.groups, "x": table.metrics["alpha_weighted"], "y": table.quality})
    centred = frame[["x", "y"]] - frame.groupby("group")[["x", "y"]].transform("mean")
    assert found.within.r2 == pytest.approx(np.corrcoef(centred.x, centred.y)[0, 1] ** 2)
    signs = [
        np.sign(a.x - b.x) * np.sign(a.y - b.y)
        for _, part in frame.groupby("group")
        for k, a in enumerate(part.itertuples())
        for b in list(part.itertuples())[:k]
    ]
    assert found.within.kendall_tau == pytest.approx(np.mean(signs))


def test_error_instead_of_accuracy_turns_the_expected_sign() -> None:
    table = models()
    errors = ModelTable(table.models, table.groups, table.metrics, 100 - table.quality, "top1_error", False)
    one, other = trends(table, resamples=39).trends, trends(errors, resamples=39).trends
    for accuracy, error in zip(one, other, strict=True):
        assert error.groups["B"].kendall_tau == -accuracy.groups["B"].kendall_tau
        assert error.verdicts == accuracy.verdicts
        assert error.verdict == accuracy.verdict
    assert one[0].sign_error == pytest.approx(other[0].sign_error)
    assert isnan(one[1].sign_error)  # the theory has no sign for the stable rank


def test_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    table = models((9, 21))
    one, same, other = trends(table, 1).to_json(), trends(table, 1).to_json(), trends(table, 2).to_json()
    assert one == same
    assert one != other


def test_json_has_everything_and_no_nan(report: TrendsReport, tmp_path: Path) -> None:
    text = report.to_json(tmp_path / "trends.json")
    assert (tmp_path / "trends.json").read_text() == text
    plain = json.loads(text, parse_constant=pytest.fail)
    assert plain["quality"] == {"name": "top1_accuracy", "higher_is_better": True}
    assert plain["notes"] == ["a"]
    assert len(plain["models"]) == 17
    assert plain["models"][0]["metrics"]["alpha_weighted"] == report.table.metrics["alpha_weighted"][0]
    assert [trend["metric"] for trend in plain["trends"]] == ["alpha_weighted", "stable_rank"]
    assert plain["trends"][0]["groups"]["C"]["slope_lo"] is None
    assert plain["trends"][0]["within"]["groups"] == 3
    assert plain["warnings"] == list(report.warnings)


def test_csv_reads_back(report: TrendsReport, tmp_path: Path) -> None:
    report.to_csv(tmp_path / "trends.csv")
    read = pd.read_csv(tmp_path / "trends.csv")
    assert list(read) == list(report.frame)
    for column in ("slope", "r2", "adjusted", "p_kendall"):
        assert np.array_equal(read[column], report.frame[column].astype(float), equal_nan=True)


def test_warnings_say_what_few_models_cannot(report: TrendsReport) -> None:
    assert report.warnings[:2] == (
        "series D has 1 model: it takes 2 to see a trend",
        "series C has 3 models: even a perfect order of 3 comes by chance in 1 of 3",
    )


def test_warnings_name_what_is_missing_constant_or_alone() -> None:
    table = models((5, 4))
    gaps, flat = table.metrics["alpha_weighted"].copy(), table.metrics["stable_rank"].copy()
    gaps[:2], flat[:5] = nan, 2.0
    quality = table.quality.copy()
    quality[8] = nan
    metrics = {"alpha_weighted": gaps, "stable_rank": flat, "alpha": np.full(9, nan)}
    report = trends(ModelTable(table.models, table.groups, metrics, quality, "top1_accuracy", True), resamples=39)
    assert set(report.warnings) >= {
        "top1_accuracy is missing for model 8: left out",
        "alpha_weighted is missing for model 0 and model 1, and known of the 6 others",
        "alpha is missing for every model",
        "stable_rank is the same for all models of A, so no quality can go with it",
    }
    assert report.trends[0].groups["A"].n == 3
    assert report.trends[0].pooled.n == 6
    assert isnan(report.trends[2].pooled.slope)
    alone = trends(models((8,)), resamples=39)
    assert "all models are of one series, A: nothing is known of how others would do" in alone.warnings
    assert alone.trends[0].within.p_value == alone.trends[0].groups["A"].p_kendall


def test_a_metric_that_some_models_lack_is_tested_on_the_others() -> None:
    """Its test within groups is exact over the orders of all models: a gap takes no part in any pair."""
    table = models((6,))
    gaps = table.metrics["alpha_weighted"].copy()
    gaps[0] = nan
    metrics = {"alpha_weighted": gaps}
    report = trends(ModelTable(table.models, table.groups, metrics, table.quality, "top1_accuracy", True))
    assert report.trends[0].groups["A"] == associate(gaps[1:], table.quality[1:], -1)
    # without ties each of the 6 choices of five qualities has the same orders, so the p-values are equal
    assert report.trends[0].within.p_value == pytest.approx(report.trends[0].groups["A"].p_kendall)


def test_requests_that_cannot_be_met_are_refused_in_a_line() -> None:
    table = models()
    with pytest.raises(RequestError, match="at least one metric"):
        trends(ModelTable(table.models, table.groups, {}, table.quality, "top1_accuracy", True))
    with pytest.raises(RequestError, match="at least 2 models with a top1_accuracy; the table has 0"):
        trends(ModelTable(table.models, table.groups, table.metrics, np.full(17, nan), "top1_accuracy", True))
    with pytest.raises(RequestError, match="at least 39; got 38"):
        trends(table, resamples=38)


def test_pooled_over_architectures_the_published_metrics_explain_almost_nothing() -> None:
    """arXiv:2002.06716's 175 ImageNet models: R2 below 0.1 pooled, while within series most metrics are supported."""
    if not PUBLISHED.is_dir():
        pytest.skip("there are no published tables beside this checkout")
    read = pd.read_csv(PUBLISHED / "model_metrics.csv")
    read = read[(read.collection == "osmr-2020-01-16") & (read.dataset == "imagenet-1k")]
    read = read[~read.model.isin(["efficientnet_b0", "efficientnet_b1"])]
    assert len(read) == 175
    published = {"alpha": 0.0152, "alpha_weighted": 0.0184, "log_stable_rank": 0.0182}
    published |= {"log_norm": 0.0104, "log_alpha_norm": 0.0194}
    metrics = {name: read[name].to_numpy(float) for name in published}
    series = tuple(read.series.str.split("/").str[0])
    table = ModelTable(tuple(read.model), series, metrics, read.top1_accuracy.to_numpy(), "top1_accuracy", True)
    found = {trend.metric: trend for trend in trends(table, resamples=39).trends}
    assert {name: round(trend.pooled.r2, 4) for name, trend in found.items()} == published
    assert {found[name].verdict for name in ("log_norm", "alpha_weighted", "log_alpha_norm")} == {"supported"}
    assert all(isfinite(trend.within.slope) for trend in found.values())


def test_trends_are_imported_without_pandas_or_scipy_stats() -> None:
    code = "import heavytail.trends, sys; print([name for name in ('pandas', 'scipy.stats') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_warnings_that_say_the_same_of_several_metrics_are_one() -> None:
    table = models((5, 5))
    gaps = {name: table.metrics["alpha_weighted"].copy() for name in ("alpha", "log_norm")}
    for values in gaps.values():
        values[3] = nan
    report = trends(ModelTable(table.models, table.groups, gaps, table.quality, "top1_accuracy", True), resamples=39)
    assert "alpha and log_norm are missing for model 3, and known of the 9 others" in report.warnings


def test_a_value_that_decides_every_fit_is_named() -> None:
    table = models((6,))
    wild = table.metrics["alpha_weighted"].copy()
    wild[2] = 4.24e11
    report = trends(
        ModelTable(table.models, table.groups, {"mp_softrank": wild}, table.quality, "top1", True), resamples=39
    )
    (said,) = [one for one in report.warnings if one.startswith("mp_softrank of model 2 is up to")]
    assert "least squares follow such values alone" in said
    calm = trends(ModelTable(table.models, table.groups, table.metrics, table.quality, "top1", True), resamples=39)
    assert not [one for one in calm.warnings if "times its median" in one]


def test_only_series_of_some_size_count_in_the_sign_error() -> None:
    # Two models in the wrong order are a coin's throw; four in the wrong order are not.
    quality = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 1.0, 2.0])
    metric = np.array([5.0, 4.0, 3.0, 2.0, 1.0, 1.0, 2.0])
    groups = ("A",) * 5 + ("B",) * 2
    names = tuple(f"m{i}" for i in range(7))
    (trend,) = trends(ModelTable(names, groups, {"alpha": metric}, quality, "accuracy", True), resamples=39).trends
    assert trend.groups["B"].sign_error == 1
    assert (trend.sign_error, trend.robust_sign_error) == (0, 0)
    few = ModelTable(names[5:], groups[5:], {"alpha": metric[5:]}, quality[5:], "accuracy", True)
    assert isnan(trends(few, resamples=39).trends[0].robust_sign_error)


def test_a_constant_quality_is_called_constant_and_not_too_few_models() -> None:
    table = models((8,))
    flat = ModelTable(table.models, table.groups, table.metrics, np.full(8, 77.0), "top1_accuracy", True)
    report = trends(flat, resamples=39)
    assert "top1_accuracy is the same for all models, so no metric can go with it" in report.warnings
    for trend in report.trends:
        assert (trend.verdict, trend.verdicts["A"]) == ("open", "open")
        assert isnan(trend.within.kendall_tau)
        assert trend.within.adjusted == trend.adjusted["A"] == 1


def test_many_series_are_counted_and_three_of_them_named() -> None:
    rng = np.random.default_rng(0)
    groups = tuple(f"s{k}" for k in range(40)) + tuple(f"t{k % 15}" for k in range(45))
    quality = np.where(np.arange(85) < 40, rng.standard_normal(85), 1.0)
    table = ModelTable(tuple(map(str, range(85))), groups, {"alpha": rng.standard_normal(85)}, quality, "score", True)
    warnings = trends(table, resamples=39).warnings
    assert warnings == (
        "40 series (s0, s1, s2, ...) have 1 model each: it takes 2 to see a trend",
        "15 series (t0, t1, t2, ...) have 3 models each: even a perfect order of 3 comes by chance in 1 of 3",
        "score is the same for all models of 15 series (t0, t1, t2, ...), so no metric can go with it",
    )
