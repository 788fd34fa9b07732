import json
from dataclasses import replace
from math import isnan, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import heavytail as ht
from heavytail.diagnosis.noise import _quartiles, find_noise, spacing_ratio
from heavytail.rmt import ensembles
from heavytail.spectra.exact import spectrum_of_stack


def noise_of(W, dtype="float64"):
    stack = W[None] if W.ndim == 2 else W
    tall = [matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T for matrix in stack]
    return find_noise(spectrum_of_stack(stack, dtype), [lambda r, matrix=matrix: [matrix] for matrix in tall])


def row_of(W, **options):
    return ht.analyze({"a": W}, **options).rows[0]


# -------------------------------------------------------------------------------------------------------- the columns


def test_pure_noise_is_explained_by_noise():
    row = row_of(np.random.default_rng(3).standard_normal((600, 300)))
    assert row.num_spikes == 0
    assert row.sigma_mp == pytest.approx(1, abs=0.005)
    assert row.bulk_edge == pytest.approx((sqrt(600) + sqrt(300)) ** 2, rel=0.01)
    assert row.mp_softrank == pytest.approx(1, abs=0.03)


def test_sigma_mp_is_the_share_of_the_norm_that_is_noise():
    rng = np.random.default_rng(0)
    W = rng.standard_normal((400, 300))
    u, v = (x / np.linalg.norm(x) for x in (rng.standard_normal(400), rng.standard_normal(300)))
    signal = 200 * np.outer(u, v)
    row = row_of(W + signal)
    assert row.num_spikes == 1
    assert row.sigma_mp**2 == pytest.approx(400 * 300 / (400 * 300 + 200**2), rel=0.01)


@settings(max_examples=10, deadline=None)
@given(exponent=st.integers(-12, 12))
def test_only_the_edge_depends_on_scale(exponent):
    W = ensembles.spiked(120, 80, [3.0, 4.0], 1)
    one, other = row_of(W), row_of(W * 2.0**exponent)
    assert other.bulk_edge == pytest.approx(one.bulk_edge * 4.0**exponent, rel=1e-9)
    for column in ("sigma_mp", "mp_softrank", "num_spikes"):
        assert getattr(other, column) == pytest.approx(getattr(one, column), rel=1e-9)


def test_transposing_and_permuting_change_nothing():
    rng = np.random.default_rng(5)
    W = ensembles.spiked(150, 100, [3.0], 1)
    shuffled = W[rng.permutation(150)][:, rng.permutation(100)]
    rows = [row_of(W), row_of(W.T.copy()), row_of(shuffled)]
    for column in ("sigma_mp", "bulk_edge", "num_spikes"):
        values = [getattr(row, column) for row in rows]
        # The kurtosis, an estimate that is good to 0.04 here, is of what is left when the spike's direction is taken
        # out, which is found by iteration.
        assert values == pytest.approx([values[0]] * 3, rel=1e-6)


@pytest.mark.parametrize("law", ["laplace", "uniform"])
def test_the_kurtosis_of_the_entries_is_no_spike(law):
    # 400 matrices at 1 %: four expected, ten have a chance of 1 %. Laplace without its kurtosis: about 16 %.
    draws = getattr(ensembles, law)(400 * 60, 60, 2).reshape(400, 60, 60)
    assert sum(noise_of(W).bulks[0].num_spikes > 0 for W in draws) <= 10


def test_noise_that_is_stored_in_bfloat16_is_noise():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    row = row_of(np.random.default_rng(1).standard_normal((256, 128)).astype(ml_dtypes.bfloat16))
    assert row.num_spikes == 0
    assert row.sigma_mp == pytest.approx(1, abs=0.02)


def test_a_heavy_tailed_layer_has_no_edge_and_says_so():
    row = row_of(ensembles.pareto(300, 300, 1.0, 0))
    assert isnan(row.sigma_mp)
    assert isnan(row.bulk_edge)
    assert isnan(row.num_spikes)
    assert "no noise bulk" in row.reason
    assert row.status == "ok"


def test_a_product_of_low_rank_has_no_bulk_of_rounding():
    rng = np.random.default_rng(0)
    row = row_of((rng.standard_normal((200, 30)) @ rng.standard_normal((30, 100))).astype(np.float32))
    assert isnan(row.sigma_mp)
    assert "the rank is 30 of 100" in row.reason


def test_a_projection_of_noise_is_noise_of_fewer_columns():
    rng = np.random.default_rng(4)
    W = rng.standard_normal((300, 200))
    W -= W.mean(axis=1, keepdims=True)  # rows of mean zero: rank 199
    row = row_of(W)
    assert (row.matrix_rank, row.num_spikes) == (199, 0)
    assert row.bulk_edge == pytest.approx((sqrt(300) + sqrt(199)) ** 2, rel=0.01)


def test_pooled_matrices_are_judged_each_by_itself():
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((80, 60, 3, 3))
    kernel[:, :, 1, 1] *= 3  # a heavier centre is no spike
    kernel[:, :, 0, 0] += 20 * np.outer(np.ones(80), np.ones(60)) / sqrt(80)
    noise = ht.analyze({"c.weight": kernel}).noise["c"]
    assert [bulk.num_spikes for bulk in noise.bulks] == [1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert noise.bulks[4].sigma == pytest.approx(3, rel=0.02)


def test_a_convolutions_operator_has_no_noise_law():
    row = row_of(np.random.default_rng(0).standard_normal((32, 32, 3, 3)), conv="operator")
    assert isnan(row.sigma_mp)
    assert "operator" in row.reason


@pytest.mark.parametrize("shape", [(40, 15), (12, 12), (100, 9)])
def test_a_narrow_matrix_has_no_bulk(shape):
    row = row_of(np.random.default_rng(0).standard_normal(shape))
    assert isnan(row.sigma_mp)
    assert row.reason


def test_weightwatchers_convention_leaves_the_noise_out():
    report = ht.analyze({"a": np.random.default_rng(0).standard_normal((60, 50))}, convention="weightwatcher")
    assert report.noise == {}
    assert isnan(report.rows[0].sigma_mp)


@pytest.mark.parametrize(("a", "b"), [(0.0, 0.1), (0.0, 0.3), (0.3, 0.0), (0.2, 0.2)])
def test_rows_and_columns_that_differ_in_scale_are_no_spikes(a, b):
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        W = np.exp(a * rng.standard_normal(300))[:, None] * rng.standard_normal((300, 150))
        noise = noise_of(W * np.exp(b * rng.standard_normal(150)))
        assert noise.reason == ""
        found.append(noise.bulks[0].num_spikes)
    assert sum(spikes > 0 for spikes in found) <= 2


def test_spikes_in_noise_of_unequal_scales_are_counted():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((400, 200)) * np.exp(0.3 * rng.standard_normal(200))
    signal = np.linalg.qr(rng.standard_normal((400, 3)))[0] @ np.linalg.qr(rng.standard_normal((200, 3)))[0].T
    (bulk,) = noise_of(noise + 100 * signal).bulks
    assert bulk.num_spikes == 3
    assert bulk.column_spread > 0.3


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_dead_neurons_are_no_noise_and_no_spikes(share):
    W = np.random.default_rng(0).standard_normal((600, 150))
    W[: int(share * 600)] = 0
    (bulk,) = noise_of(W).bulks
    assert (bulk.num_spikes, bulk.problem) == (0, "")
    assert bulk.edge == pytest.approx((sqrt(600 * (1 - share)) + sqrt(150)) ** 2, rel=0.02)


def test_a_heavy_row_is_a_spike_and_no_scale_of_the_noise():
    W = np.random.default_rng(0).standard_normal((300, 150))
    W *= np.exp(0.2 * np.random.default_rng(1).standard_normal(150))
    edge = noise_of(W).bulks[0].edge
    W[7] *= 8
    (bulk,) = noise_of(W).bulks
    assert bulk.num_spikes == 1
    assert bulk.edge == pytest.approx(edge, rel=0.03)


@pytest.mark.parametrize("scale", [1e-82, 1e76, 1e120])
def test_a_matrix_of_any_scale_keeps_its_row(scale):
    row = row_of(np.random.default_rng(0).standard_normal((60, 40)) * scale, nulls=1, vectors=True)
    assert row.status == "ok"
    assert row.num_spikes == 0
    assert row.alpha > 1


def test_a_fault_of_the_noise_leaves_the_rest_of_the_row(monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("float division by zero")

    monkeypatch.setattr("heavytail.diagnosis.layer.find_noise", broken)
    row = row_of(np.random.default_rng(0).standard_normal((60, 40)))
    assert (row.status, row.reason) == ("ok", "noise: ZeroDivisionError: float division by zero")
    assert row.alpha > 1


def test_the_p_value_of_a_far_spike_is_small_and_not_zero():
    noise = noise_of(ensembles.spiked(200, 100, [1.5], 0))
    assert 0 < noise.p_value < 1e-17


# ------------------------------------------------------------------------------------------------------- the evidence


def test_the_interval_of_sigma_holds():
    rng = np.random.default_rng(8)
    inside = 0
    for _ in range(200):
        bulk = noise_of(rng.standard_normal((80, 50))).as_dict()["bulks"][0]
        inside += bulk["sigma_lo"] <= 1 <= bulk["sigma_hi"]
    assert 0.90 <= inside / 200 <= 0.99  # 95 % within three standard errors


def test_the_p_value_of_noise_is_uniform():
    rng = np.random.default_rng(9)
    p = np.array([noise_of(rng.standard_normal((100, 60))).p_value for _ in range(400)])
    for level in (0.05, 0.25, 0.5, 0.75):
        assert abs((p < level).mean() - level) < 3.5 * sqrt(level * (1 - level) / 400)


def test_levels_of_noise_repel_and_independent_ones_do_not():
    # Atas, Bogomolny, Giraud and Roux (2013, table 1): 0.5307 and 2 ln 2 - 1.
    rng = np.random.default_rng(0)
    real, error = spacing_ratio(np.linalg.eigvalsh(ensembles.goe(1000, 0))[None])
    assert abs(real - 0.5307) < 4 * error + 1e-3
    independent, error = spacing_ratio(np.sort(rng.random((1, 5000))))
    assert abs(independent - (2 * np.log(2) - 1)) < 4 * error
    assert error == pytest.approx(0.283 / sqrt(4998), rel=0.05)


@pytest.mark.parametrize("x", [np.ones((1, 2)), np.ones((1, 5)), np.zeros((3, 10))])
def test_levels_that_have_no_spacings_have_no_ratio(x):
    assert isnan(spacing_ratio(x)[0])


def test_the_report_has_the_evidence_of_each_layer():
    W = ensembles.spiked(200, 100, [3.0], 0)
    report = ht.analyze({"a": W, "b": np.eye(50), "c": np.zeros((30, 30))}, nulls=2)
    plain = json.loads(report.to_json())
    assert list(plain["noise"]) == ["a", "b"]
    (bulk,) = plain["noise"]["a"]["bulks"]
    assert bulk["num_spikes"] == report.rows[0].num_spikes == 1
    assert bulk["edge"] == report.rows[0].bulk_edge
    assert plain["noise"]["a"]["shuffles"]["count"] == 2
    assert plain["noise"]["b"]["reason"]


def test_the_summary_controls_the_false_discoveries_of_a_model():
    # 60 layers of noise with one of 300 matrices' luck, and 5 with spikes: at 1 % the five stay.
    rng = np.random.default_rng(1)
    model = {f"noise.{i}": rng.standard_normal((60, 40)) for i in range(60)}
    model |= {f"spiked.{i}": ensembles.spiked(60, 40, [4.0], i) for i in range(5)}
    report = ht.analyze(model)
    assert report.summary["noise_bulks"] == 65
    assert report.summary["spiked_rows"] in (5, 6)
    lucky = replace(report, rows=report.rows[:60]).rows
    assert sum(row.num_spikes > 0 for row in lucky) <= 4


def test_an_identity_of_any_size_has_a_row_that_says_it_is_no_noise():
    # With its spikes set aside nothing may be left of it, not even a variation.
    report = ht.analyze({f"{n}": np.eye(n) for n in range(20, 101)})
    assert {row.status for row in report.rows} == {"ok"}
    assert all("no noise bulk" in row.reason for row in report.rows)


def test_spacings_of_several_matrices_are_taken_within_each_and_above_the_floor():
    rng = np.random.default_rng(5)
    matrices = [np.sort(rng.random(n)) for n in (30, 2, 1, 17)] + [np.zeros(5)]
    ratios = [
        min(x[i + 1] - x[i], x[i + 2] - x[i + 1]) / max(x[i + 1] - x[i], x[i + 2] - x[i + 1])
        for x in matrices
        for i in range(len(x) - 2)
        if x[i] > 0.2
    ]
    mean, error = spacing_ratio(matrices, 0.2)
    assert mean == pytest.approx(np.mean(ratios), rel=1e-12)
    assert error == pytest.approx(np.std(ratios) / sqrt(len(ratios)), rel=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 102, 1537])
def test_quartiles_are_those_of_numpy(n):
    x = np.random.default_rng(n).standard_normal(n)
    np.testing.assert_allclose(_quartiles(x), np.quantile(x, [0.25, 0.5, 0.75]), rtol=1e-13)
