"""The claims of published trends, where the published tables are; no part of them is in this project."""

import csv
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from math import log, sqrt

import numpy as np
import pytest
from models import ROOT
from scipy import stats

from heavytail.cli import main
from heavytail.reproduce import Verdict, claims, reproduce
from heavytail.reproduce.claim import OWN

PUBLISHED = ROOT.parent / "shared" / "published"
WITH_DATA = [claim.id for claim in claims() if claim.data]

pytestmark = pytest.mark.skipif(not PUBLISHED.is_dir(), reason="there are no published tables beside this checkout")


def rows(name, **cells):
    with (PUBLISHED / name).open() as file:
        return [row for row in csv.DictReader(file) if all(row[key] == cell for key, cell in cells.items())]


def ours(name):
    [outcome] = reproduce([name], data=PUBLISHED)
    return {row.name: row.ours for row in outcome.rows}


def column(rows, name):
    return np.array([float(row[name]) for row in rows])


def osmr(**cells):
    found = rows("model_metrics.csv", collection="osmr-2020-01-16", **cells)
    return [row for row in found if row["model"] not in ("efficientnet_b0", "efficientnet_b1")]


@pytest.mark.parametrize("name", WITH_DATA)
def test_a_claim_with_data_comes_out_as_the_ledger_expects(name):
    [outcome] = reproduce([name], data=PUBLISHED)
    assert not outcome.surprising, [row for row in outcome.rows if row.surprising]
    assert all(np.isfinite(row.ours) for row in outcome.rows)
    expected = Verdict.PUBLISHED_WRONG if name == "OSMR-within" else Verdict.REPRODUCED
    assert outcome.verdict is expected


def test_the_command_reproduces_them_all(capsys):
    assert main(["reproduce", *WITH_DATA, "--data", str(PUBLISHED)]) == 0
    assert "!" not in capsys.readouterr().out


def test_the_targets_of_the_ledger_are_the_42_of_the_published_table():
    checks = {claim.id: {check.name: check for check in claim.checks} for claim in claims()}
    targets = rows("targets_series.csv")
    assert len(targets) == 14
    seen = 0
    for target in targets:
        for what, name in (("RMSE", "rmse"), ("R2", "r2"), ("tau", "kendall_tau_vs_accuracy")):
            check = checks[f"G1-{target['series']}"][f"{what} of {target['metric']}"]
            assert check.published == float(target[name])
            assert check.tolerance <= 0.05 * (1 + 1e-8)
            seen += 1
        assert checks[f"G1-{target['series']}"]["models"].published == int(target["n"])
    assert seen == 42
    assert sum(len(checks[name]) for name in ("G1-VGG", "G1-ResNet")) == 42 + 2


@pytest.mark.parametrize("series", ["VGG", "ResNet"])
def test_the_fits_of_a_series_are_those_of_another_library(series):
    found, models = ours(f"G1-{series}"), rows("model_metrics.csv", collection="ww-trends-2020", series=series)
    y = column(models, "top1_accuracy")
    for metric in ("log_norm", "alpha", "alpha_weighted", "log_spectral_norm", "mp_softrank", "log_alpha_norm"):
        x = column(models, metric)
        line = stats.linregress(x, y)
        residual = y - line.slope * x - line.intercept
        assert found[f"R2 of {metric}"] == pytest.approx(line.rvalue**2, abs=1e-12)
        assert found[f"RMSE of {metric}"] == pytest.approx(sqrt(np.mean(residual**2)), abs=1e-12)
        assert found[f"tau of {metric}"] == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-12)


def exact_r2(x, y):
    """Square of the correlation of numbers as they are written, in fractions."""
    x, y = [Fraction(v) for v in x], [Fraction(v) for v in y]
    dx, dy = [v - sum(x) / len(x) for v in x], [v - sum(y) / len(y) for v in y]
    return sum(a * b for a, b in zip(dx, dy, strict=True)) ** 2 / (sum(a * a for a in dx) * sum(b * b for b in dy))


def test_the_pooled_shares_of_variance_are_right_to_six_decimals():
    found, models = ours("OSMR-pooled"), osmr(dataset="imagenet-1k")
    assert len(models) == found["models"] == 175
    error = [row["top1_error"] for row in models]
    metrics = {name: [row[name] for row in models] for name in ("alpha", "log_norm", "log_stable_rank")}
    metrics |= {name: [row[name] for row in models] for name in ("alpha_weighted", "log_alpha_norm")}
    metrics["ln(spectral_norm)"] = [Fraction(log(float(row["spectral_norm"]))) for row in models]
    for metric, values in metrics.items():
        exact = exact_r2(values, error)
        assert found[f"R2 of {metric}, pooled"] == pytest.approx(float(exact), abs=1e-12)
        assert f"{found[f'R2 of {metric}, pooled']:.6f}" == f"{float(exact):.6f}"


def by_series(models):
    groups = {}
    for row in models:
        groups.setdefault((row["dataset"], row["series"].split("/")[0]), []).append(row)
    return {key: group for key, group in groups.items() if len(group) >= 4}


def test_the_80_errors_are_those_of_another_library_and_of_the_published_table():
    columns = {"lognorm": "log_norm", "alpha_weighted": "alpha_weighted", "logpnorm": "log_alpha_norm"}
    groups, apart = by_series(osmr()), []
    for target in rows("targets_osmr_mse.csv"):
        group = groups[target["dataset"], target["series"]]
        assert len(group) == int(target["n"])
        spectral = target["metric"] == "spectralnormlog"
        x = np.log(column(group, "spectral_norm")) if spectral else column(group, columns[target["metric"]])
        residual = np.polynomial.Polynomial.fit(x, y := column(group, "top1_error"), 1)(x) - y
        apart.append(abs(np.mean(residual**2) - float(target["mse"])))
    assert len(apart) == 80
    found = ours("OSMR")
    assert found["largest difference"] == pytest.approx(max(apart), abs=1e-9)
    assert found["errors that agree to 0.01"] == sum(value <= 0.01 for value in apart) == 80


def test_one_published_deviation_was_rounded_twice():
    sd = Decimal(ours("OSMR-within")["MSE of log_alpha_norm, sd"])
    four = sd.quantize(Decimal("0.0001"), ROUND_HALF_UP)
    assert four.quantize(Decimal("0.001"), ROUND_HALF_UP) == Decimal("5.549")
    assert sd.quantize(Decimal("0.001"), ROUND_HALF_UP) == Decimal("5.548")
    rounded = [float(row["mse"]) for row in rows("targets_osmr_mse.csv", metric="logpnorm")]
    assert f"{np.std(rounded, ddof=1):.3f}" == "5.548"  # nor does it come of the printed errors


def test_of_the_pooled_metrics_alpha_alone_has_slopes_of_opposite_sign():
    models = osmr(dataset="imagenet-1k")
    opposite = []
    for metric in ("alpha", "alpha_weighted", "log_stable_rank", "log_norm", "log_alpha_norm", "spectral_norm"):

        def take(rows, metric=metric):
            x = column(rows, metric)
            return (np.log(x) if metric == "spectral_norm" else x), column(rows, "top1_error")

        pooled = stats.linregress(*take(models)).slope
        centred = [np.array(take(group)) for group in by_series(models).values()]
        x, y = np.hstack([pair - pair.mean(axis=1, keepdims=True) for pair in centred])
        if (x @ y) * pooled < 0:
            opposite.append(metric)
    assert opposite == ["alpha"]


def test_the_norms_of_the_slices_follow_from_their_stable_ranks():
    """The table of layers has norms of its own scale, 4.5 times the square of the weights' for 3 x 3 kernels."""
    twins = rows("layer_metrics.csv", model="vgg11", layer_type="CONV2D", level="SLICE")
    mean_width = (column(twins, "N") + column(twins, "M")) / 2
    log_square = 2 * column(twins, "log_norm") + np.log10(mean_width / 4.5)
    found = ours("F6")
    assert found["least log ||W||_F^2"] == pytest.approx(log_square.min(), abs=1e-5)
    assert found["largest log ||W||_F^2"] == pytest.approx(log_square.max(), abs=1e-5)
    slices = rows("mm19_vgg_conv_slices.csv", model="vgg11")
    scaled = column(twins, "spectral_norm") * mean_width / 4.5 / column(slices, "lambda_max_glorot_X")
    np.testing.assert_allclose(scaled / column(twins, "M"), 1, atol=1e-5)  # X = W^T W / M, M the smaller
    assert (scaled / column(twins, "N")).min() < 0.51  # and not / N


def test_a_number_that_no_paper_prints_is_not_called_published():
    """The fits of F2 and F3, the excesses and correlations of G1-layers, the means over groups: worked out since."""
    by_id = {claim.id: claim for claim in claims()}
    own = {name: {check.name for check in by_id[name].checks if OWN in check.note} for name in WITH_DATA}
    metrics = ("alpha_weighted", "log_norm")
    fits = {f"{what} of {metric}" for what in ("RMSE", "R2", "tau") for metric in metrics}
    assert own["F2"] == fits
    assert own["F3"] == {name for name in fits if not name.startswith("RMSE")}
    assert own["G1-layers"] == {check.name for check in by_id["G1-layers"].checks}
    assert own["OSMR-within"] == {check.name for check in by_id["OSMR-within"].checks}
    assert own["OSMR-pooled"] == {check.name for check in by_id["OSMR-pooled"].checks if "within" in check.name}
    for series in ("VGG", "ResNet"):
        assert not own[f"G1-{series}"]
    for name in ("F2", "F3", "G1-layers", "G2", "OSMR-within", "OSMR-pooled"):
        assert own[name]
        assert "the reference's own" in by_id[name].what


def test_a_mean_may_be_summed_in_any_order():
    [check] = [
        check for claim in claims() if claim.id == "G1-layers" for check in claim.checks if "alpha," in check.name
    ]
    assert check.tolerance == 1e-12
