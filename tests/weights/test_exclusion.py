"""What is no weight says so: masks, buffers, quantised weights and their scales."""

import ml_dtypes
import numpy as np
import pytest
from cases import gaussian

import heavytail as ht
from heavytail.weights.formats.mapping import read_mapping
from heavytail.weights.layout import plan
from heavytail.weights.quantised import join_quantised
from heavytail.weights.source import open_source


def rows(state):
    return {row.name: row for row in ht.analyze(state).rows}


def plans(state):
    return {p.name or p.parts[0].name: p for p in plan(join_quantised(read_mapping(state)[0])[0])}


def test_the_causal_masks_of_gpt_2_are_no_convolutions():
    state = {"h.0.attn.c_proj.weight": np.eye(40), "h.0.attn.bias": np.tril(np.ones((1, 1, 64, 64), np.float32))}
    found = rows(state)
    assert found["h.0.attn.bias"].status == "skipped"
    assert "a mask" in found["h.0.attn.bias"].reason


def test_buffers_are_known_by_their_names():
    W = np.ones((64, 64))
    names = ["rotary.cos_cached", "rotary.sin", "attn_mask", "bn.running_cov", "attn.masked_bias"]
    found = rows({"fc.weight": W} | {name: W for name in names})
    assert {name: found[name].status for name in names} == dict.fromkeys(names, "skipped")
    assert rows({"mask_head.weight": W, "relative_position_bias_table": W[:9]})["mask_head"].status == "ok"


def test_quantised_weights_are_weights_and_their_scales_no_layers():
    W = np.random.default_rng(0).standard_normal((256, 256)).astype(ml_dtypes.float8_e4m3fn)
    state = {
        "fc.weight": W,
        "fc.weight_scale_inv": np.ones((2, 2), np.float32),
        "out.weight": W,
        "q.qweight": np.ones((32, 64), np.int32),
        "q.scales": np.ones((4, 64), np.float16),
        "q.qzeros": np.ones((4, 8), np.int32),
    }
    found = plans(state)
    assert {name: p.status for name, p in found.items()} == {"fc": "ok", "out": "ok", "q": "ok"}
    assert [(part.N, part.M) for part in found["q"].parts] == [(256, 64)]


def test_a_quantised_layer_that_does_not_fit_is_unsupported_with_the_reason_and_its_scales_are_no_layers():
    state = {
        "q.qweight": np.ones((32, 64), np.int32),
        "q.scales": np.ones((4, 64), np.float16),
        "q.qzeros": np.ones((5, 8), np.int32),
        "q.g_idx": np.zeros(256, np.int32),
        "fc.weight": np.ones((64, 64), ml_dtypes.float8_e4m3fn),
        "fc.weight_scale": np.ones((64, 7, 2), np.float32),
        "v.codes": np.ones((64, 8, 1), np.int16),
        "v.codebooks": np.ones((1, 256, 1, 8), np.float16),
    }
    found = plans(state)
    unsupported = {"q.qweight": "(5, 8)", "fc": "(64, 7, 2)", "v.codes": "AQLM"}
    for name, word in unsupported.items():
        assert (found[name].status, found[name].kind) == ("unsupported", "quantised")
        assert word in found[name].reason
    others = {name: p for name, p in found.items() if name not in unsupported}
    assert {p.status for p in others.values()} == {"skipped"}
    assert others["q.scales"].reason == "belongs to the quantised 'q.qweight'"
    assert len(found) == len(state)


def test_integers_are_never_analysed_where_nothing_was_joined():
    tensors, _ = read_mapping({"q.qweight": np.ones((32, 64), np.int32), "q.scales": np.ones((4, 64), np.float16)})
    first, second = plan(tensors)
    assert (first.status, second.status) == ("unsupported", "skipped")
    assert "q.scales" in first.reason


def test_a_full_precision_weight_with_a_learned_scale_is_a_weight():
    W = np.random.default_rng(0).standard_normal((30, 30))
    assert rows({"fc.weight": W, "fc.weight_scale": np.ones((30, 1))})["fc"].status == "ok"


def test_the_rows_of_a_safetensors_file_are_in_a_person_s_order(tmp_path):
    from safetensors.numpy import save_file

    W = np.random.default_rng(0).standard_normal((30, 30))
    save_file({f"h.{i}.w.weight": W * (i + 1) for i in range(12)}, tmp_path / "m.safetensors")
    report = ht.analyze(tmp_path / "m.safetensors")
    assert [row.name for row in report.rows] == [f"h.{i}.w" for i in range(12)]


@pytest.mark.parametrize(
    "name",
    [
        "_model.stft.forward_basis_buffer",
        "If_0_then_branch__Inline_0__stft.forward_basis_buffer",
        "model_1/cq_t2010v2_1/conv1d_3",
        "spec.mel_basis",
        "stft_conv.basis",
    ],
)
def test_a_transform_that_is_not_learned_is_left_out_by_its_name(name):
    other = name.replace("basis", "layer").replace("cq_t2010", "dense").replace("stft_conv", "conv")
    found = rows({name: gaussian(258, 1, 256), other + ".weight": gaussian(60, 50)})
    assert (found[name].kind, found[name].status) == ("transform", "skipped")
    assert found[name].reason == "by its name a fixed transform of the input, not learned"
    assert found[other].status == "ok"


def test_small_tables_of_int32_are_indices_and_large_ones_integers_without_scales():
    found = rows({"pads": np.zeros((4, 2), np.int32), "packed": np.zeros((40, 50), np.int32), "w": gaussian(9, 9)})
    assert [found[name].status for name in ("pads", "packed")] == ["skipped", "unsupported"]


@pytest.mark.parametrize("shape", [(1, 1, 9), (9, 1, 1), (1, 9, 1, 1), (1, 1, 1, 9), (1, 9, 1, 1, 1), (1,) * 4])
def test_a_tensor_of_three_or_more_axes_of_which_one_is_long_is_a_vector(shape):
    found = rows({"gain": np.ones(shape), "w": gaussian(9, 9)})["gain"]
    size = int(np.prod(shape))
    assert (found.kind, found.status, found.reason) == ("vector", "skipped", f"a vector of {size}")


def test_what_is_a_vector_does_not_depend_on_the_container(tmp_path):
    onnx_models = pytest.importorskip("weights.onnx_models", reason="writing ONNX needs the onnx package")
    gain = {"gain": np.ones((1, 9, 1, 1), np.float32)}
    np.savez(tmp_path / "m.npz", **gain)
    nodes = [onnx_models.node("Mul", ["x", "gain"])]
    onnx_models.saved(tmp_path, nodes, [onnx_models.initializer("gain", gain["gain"])])
    described = []
    for source in (gain, tmp_path / "m.npz", tmp_path / "m.onnx"):
        (item,) = plan(open_source(source).tensors)
        described.append((item.name, item.kind, item.status, item.reason))
    assert described == [("gain", "vector", "skipped", "a vector of 9")] * 3
