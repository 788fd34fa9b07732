from dataclasses import replace

import numpy as np
import pytest
from cases import gaussian, student
from trends.model_rows import report, row

import heavytail
from heavytail.errors import RequestError
from heavytail.report.model_report import summarise
from heavytail.trends.metrics import METRICS, USUAL, metric_named, metric_values, model_metrics, row_metrics


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(0)
    return {
        "a.weight": student(80, 60, seed=1),
        "b.weight": 0.1 * gaussian(50, 40),
        "conv.weight": rng.standard_normal((12, 10, 3, 3)),
        "b.bias": np.ones(50),
    }


@pytest.fixture(scope="module")
def analysed(weights):
    return heavytail.analyze(weights)


def test_products_are_those_of_the_norms_of_the_weights(weights, analysed):
    found = model_metrics(analysed)
    frobenius = [np.linalg.norm(W) for W in weights.values() if W.ndim > 1]
    spectral = [
        np.linalg.norm(weights["a.weight"], 2),
        np.linalg.norm(weights["b.weight"], 2),
        max(np.linalg.norm(weights["conv.weight"][:, :, i, j], 2) for i in range(3) for j in range(3)),
    ]
    np.testing.assert_allclose(found["log_frobenius_product"], np.log10(np.prod(frobenius)), rtol=1e-12)
    np.testing.assert_allclose(found["log_spectral_product"], np.log10(np.prod(spectral)), rtol=1e-12)
    np.testing.assert_allclose(found["log10_parameters"], np.log10(80 * 60 + 50 * 40 + 12 * 10 * 9), rtol=1e-12)


def test_means_are_those_of_the_summary(analysed):
    found = model_metrics(analysed)
    shared = [name for name in found if name in analysed.summary]
    assert {"log_norm", "log_spectral_norm", "alpha", "alpha_weighted", "log_alpha_norm", "mp_softrank"} <= set(shared)
    for name in shared:
        np.testing.assert_equal(found[name], analysed.summary[name])
    ok = analysed.table[analysed.table.status == "ok"]
    np.testing.assert_allclose(found["spectral_norm"], ok.lambda_max.mean(), rtol=1e-12)
    np.testing.assert_allclose(found["norm"], ok.norm.mean(), rtol=1e-12)
    np.testing.assert_allclose(found["log_stable_rank"], np.log10(ok.stable_rank).mean(), rtol=1e-12)


def test_the_product_of_slices_is_a_lower_bound_of_that_of_the_operator():
    weights = {"conv.weight": np.random.default_rng(1).standard_normal((8, 6, 3, 3))}
    slices, operator = (model_metrics(heavytail.analyze(weights, conv=conv)) for conv in ("slices", "operator"))
    assert slices["log_spectral_product"] < operator["log_spectral_product"]
    assert np.isnan([operator["log_frobenius_product"], operator["log10_parameters"]]).all()


def test_a_product_that_lacks_a_factor_is_missing_and_a_mean_is_not():
    ok = row()
    failed = heavytail.diagnosis.row.Row(name="bad", kind="linear", dtype="float32", status="failed", reason="NaN")
    unsupported = replace(failed, status="unsupported")
    for lacking in (failed, unsupported):
        found = row_metrics([ok, lacking])
        assert np.isnan([found["log_frobenius_product"], found["log_spectral_product"]]).all()
        assert found["alpha"] == ok.alpha
    found = row_metrics([ok, replace(failed, status="skipped")])
    assert np.isfinite([found["log_frobenius_product"], found["log_spectral_product"]]).all()
    zero = row("zero", norm=1.0, lambda_max=1.0, log_norm=np.nan, log_spectral_norm=np.nan)
    assert np.isnan(row_metrics([ok, zero])["log_spectral_product"])


def test_a_model_without_matrices_has_no_metric():
    assert np.isnan(list(row_metrics([]).values())).all()


def test_metrics_have_the_direction_of_the_theory():
    assert {name for name, metric in METRICS.items() if metric.direction == 0} == {
        "stable_rank",
        "log_stable_rank",
        "entropy",
        "log10_parameters",
    }
    assert all(metric.direction == -1 for metric in METRICS.values() if metric.direction)
    assert set(USUAL) <= set(METRICS)
    assert metric_named("ln(spectral_norm)").direction == -1
    assert metric_named("log10(params)").direction == metric_named("params").direction == 0


def test_every_metric_of_a_report_has_a_name_of_its_own():
    found = model_metrics(report("a", row()))
    assert set(found) == set(METRICS) - {"log_path_norm"}
    assert summarise([row()])["alpha"] == found["alpha"]


def test_a_logarithm_of_what_is_not_positive_is_missing():
    columns = {"x": np.array([1.0, np.e, 0.0, -1.0, np.nan, np.inf]), "ln(y)": np.ones(6)}
    np.testing.assert_allclose(metric_values("ln(x)", columns), [0, 1, np.nan, np.nan, np.nan, np.inf])
    np.testing.assert_allclose(metric_values("log10(x)", columns)[:2], [0, np.log10(np.e)])
    np.testing.assert_equal(metric_values("ln(y)", columns), np.ones(6))


@pytest.mark.parametrize("name", ["y", "ln(y)", "log(x)", "ln(x", ""])
def test_an_unknown_metric_is_an_error_that_lists_what_there_is(name):
    with pytest.raises(RequestError, match=r"no column of numbers .*, but x, z; .* ln\(COLUMN\) or log10\(COLUMN\)"):
        metric_values(name, {"x": np.ones(2), "z": np.ones(2)})
