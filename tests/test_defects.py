"""The demonstrated defects of WeightWatcher 0.7.7 that concern loading, matrices, norms, ranks, spectra and fits.

Each test is one of them, seen from outside: a model goes in, a table comes out. The numbers of the cases are those of
the collection of defects that the design refers to.
"""

from math import isfinite, log10

import numpy as np
import pytest
import torch
from torch import nn

import heavytail as ht

SHAPE = ("alpha", "sigma", "D", "num_pl_spikes", "alpha_hill", "stable_rank", "matrix_rank", "entropy")


def only(state, **options):
    return {row.name: row for row in ht.analyze(state, **options).rows if row.status != "skipped"}


def heavy(n=300, m=200, seed=0):
    return np.random.default_rng(seed).standard_t(2.5, (n, m)).astype(np.float32)


@pytest.mark.parametrize("scale", [1e20, 1.0, 1e-3, 1e-4, 1e-12, 1e-20])
def test_case_1_alpha_is_the_same_at_every_scale(scale):
    W = heavy().astype(np.float64)
    ours, theirs = only({"a": W * scale})["a"], only({"a": W})["a"]
    for column in SHAPE:
        assert getattr(ours, column) == pytest.approx(getattr(theirs, column), rel=1e-9), column
    assert ours.log_norm == pytest.approx(theirs.log_norm + 2 * log10(scale), abs=1e-9)


def test_case_2_a_failed_fit_is_missing_has_a_reason_and_enters_no_mean():
    report = ht.analyze({"good": heavy(), "flat": np.eye(100, dtype=np.float32)})
    good, flat = report.rows
    assert not isfinite(flat.alpha)
    assert "no tail" in flat.reason
    assert report.summary["alpha"] == good.alpha


def test_case_8_a_tail_has_at_least_ten_points():
    for seed in range(30):
        row = only({"a": heavy(40, 25, seed)})["a"]
        assert row.num_pl_spikes >= 10


def test_case_9_a_rank_one_float32_matrix_has_rank_one():
    rng = np.random.default_rng(0)
    W = np.outer(rng.standard_normal(200), rng.standard_normal(100)).astype(np.float32)
    row = only({"a": W})["a"]
    assert (row.matrix_rank, row.rank_loss) == (1, 99)


def test_case_9_a_constant_matrix_has_entropy_within_its_range():
    row = only({"a": np.full((300, 200), 0.1, np.float32)})["a"]
    assert row.matrix_rank == 1
    assert row.entropy == 0


@pytest.mark.parametrize("make", [np.eye, lambda n: np.linalg.qr(np.random.default_rng(0).standard_normal((n, n)))[0]])
def test_case_9_identity_and_orthogonal_matrices_have_no_tail(make):
    row = only({"a": make(300).astype(np.float32)})["a"]
    assert not isfinite(row.alpha)
    assert "equal to within rounding" in row.reason
    assert row.entropy == pytest.approx(1)
    assert row.matrix_rank == 300


def test_a_zero_matrix_has_norms_and_no_more():
    row = only({"a": np.zeros((30, 20), np.float32)})["a"]
    assert (row.status, row.norm, row.matrix_rank, row.reason) == ("ok", 0, 0, "every entry is zero")
    assert not isfinite(row.log_norm)


def test_case_16_a_depthwise_convolution_is_never_read_across_its_groups():
    stem, depthwise = nn.Conv2d(3, 32, 3), nn.Conv2d(32, 32, 3, groups=32)
    for model in (nn.Sequential(stem, depthwise), nn.Sequential(stem, depthwise).state_dict()):
        row = only(model)["1"]
        filters = depthwise.weight.detach().double().flatten(1)
        assert row.kind == "depthwise"
        assert row.num_matrices == 32
        assert not isfinite(row.alpha)
        assert row.lambda_max == pytest.approx(float((filters**2).sum(1).max()), rel=1e-6)


def test_case_17_a_patch_embedding_is_one_matrix():
    row = only({"patch.weight": np.random.default_rng(0).standard_normal((768, 3, 16, 16)).astype(np.float32)})["patch"]
    assert (row.kind, row.N, row.M, row.num_matrices) == ("patch_embedding", 768, 768, 1)


def test_case_18_shapes_that_are_lost_or_mangled_there():
    rng = np.random.default_rng(0)
    state = {
        "even.weight": rng.standard_normal((64, 128, 2, 2)),
        "audio.weight": rng.standard_normal((64, 48, 10)),
        "video.weight": rng.standard_normal((64, 48, 3, 3, 3)),
    }
    found = only(state)
    assert [(r.N, r.M, r.Q, r.num_matrices) for r in found.values()] == [
        (128, 64, 2, 4),
        (64, 48, 64 / 48, 10),
        (64, 48, 64 / 48, 27),
    ]


def test_case_18_the_fused_projection_of_attention_is_three_matrices():
    layer = nn.MultiheadAttention(48, 4)
    q, k, v = layer.in_proj_weight.detach().double().chunk(3)
    for model in (layer, layer.state_dict()):
        found = only(model)
        for name, W in (("q", q), ("k", k), ("v", v)):
            row = found[f"in_proj_weight:{name}"]
            assert row.norm == pytest.approx(float((W**2).sum()), rel=1e-9)
            assert row.lambda_max == pytest.approx(float(torch.linalg.matrix_norm(W, 2)) ** 2, rel=1e-9)


def test_case_18_an_lstm_is_read_gate_by_gate():
    layer = nn.LSTM(30, 40, bidirectional=True)
    for model in (layer, layer.state_dict()):
        found = only(model)
        assert len(found) == 2 * 2 * 4
        forget = layer.weight_hh_l0.detach().double()[40:80]
        assert found["weight_hh_l0:f"].norm == pytest.approx(float((forget**2).sum()), rel=1e-9)


def test_case_19_one_normalisation_everywhere():
    layer = nn.Conv2d(40, 64, 3)
    total = float((layer.weight.detach().double() ** 2).sum())
    for conv in ("slices", "unfold"):
        report = ht.analyze(layer, conv=conv)
        assert report.rows[0].norm == pytest.approx(total, rel=1e-9)
        assert report.spectra["weight"].evals.sum() == pytest.approx(total, rel=1e-9)


def test_case_20_a_vocabulary_of_128256_has_its_row():
    W = np.random.default_rng(0).standard_normal((128_256, 16)).astype(np.float32)
    row = only({"lm_head.weight": W})["lm_head"]
    assert (row.status, row.N, row.M) == ("ok", 128_256, 16)
    assert row.norm == pytest.approx(float(np.square(W.astype(np.float64)).sum()), rel=1e-12)


def test_case_20_tied_weights_count_once():
    table = nn.Embedding(50, 40)
    head = nn.Linear(40, 50, bias=False)
    head.weight = table.weight
    rows = ht.analyze(nn.Sequential(table, head)).rows
    assert [row.status for row in rows] == ["ok", "skipped"]
    assert "tied to '0'" in rows[1].reason


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_case_robustness_one_bad_layer_fails_alone(value):
    bad = heavy()
    bad[3, 7] = value
    report = ht.analyze({"bad": bad, "good": heavy()})
    assert [row.status for row in report.rows] == ["failed", "ok"]
    assert f"1 {'NaN' if value != value else 'infinite'} among 60000 entries" in report.rows[0].reason
    assert not report.complete


def test_case_robustness_the_state_dict_of_a_bare_layer():
    assert set(only(nn.Linear(40, 30).state_dict())) == {"weight"}
    assert len(only(nn.GRU(20, 24).state_dict())) == 6


@pytest.mark.parametrize("wrap", ["state_dict", "model", "model_state_dict", "model_state"])
def test_case_robustness_nested_state_dicts(wrap, tmp_path):
    state = nn.Sequential(nn.Linear(40, 30)).state_dict()
    torch.save({wrap: state, "epoch": 3}, tmp_path / "a.pt")
    torch.save(
        {"model": {wrap: state}, "optimizer": {"state": {0: {"exp_avg": torch.ones(30, 40)}}}}, tmp_path / "b.pt"
    )
    assert set(only(tmp_path / "a.pt")) == set(only(tmp_path / "b.pt")) == {"0"}
    assert any("optimizer" in note for note in ht.analyze(tmp_path / "b.pt").source["notes"])


def test_case_robustness_a_layer_named_like_a_type():
    W = heavy()
    plain = only({"a.weight": W})["a"]
    for name in ("linear_attention.LayerNorm", "conv_lstm.embed", "norm.conv2d", "embedding.rnn"):
        row = only({f"{name}.weight": W})[name]
        assert all(getattr(row, column) == getattr(plain, column) for column in SHAPE)


def test_case_robustness_a_parametrised_weight():
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(40, 30))
    expected = float((layer.weight.detach().double() ** 2).sum())
    assert only(layer)["weight"].norm == pytest.approx(expected, rel=1e-6)


def test_case_robustness_integers_are_not_analysed_as_weights():
    row = ht.analyze({"a": np.ones((40, 30), np.int8), "b": heavy()}).rows[0]
    assert row.status == "unsupported"
    assert "int8 without scales" in row.reason
