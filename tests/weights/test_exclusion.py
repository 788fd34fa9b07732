"""What is no weight says so: masks, buffers, quantised weights and their scales."""

import ml_dtypes
import numpy as np

import heavytail as ht


def rows(state):
    return {row.name: row for row in ht.analyze(state).rows}


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


def test_float8_with_scales_is_unsupported_and_its_scales_are_no_layer():
    W = np.random.default_rng(0).standard_normal((256, 256)).astype(ml_dtypes.float8_e4m3fn)
    found = rows({"fc.weight": W, "fc.weight_scale_inv": np.ones((2, 2), np.float32), "out.weight": W})
    assert found["fc"].status == "unsupported"
    assert "fc.weight_scale_inv" in found["fc"].reason
    assert found["fc.weight_scale_inv"].status == "skipped"
    assert found["out"].status == "ok"


def test_a_gptq_layer_is_unsupported_with_the_reason_and_its_scales_are_no_layer():
    state = {
        "q.qweight": np.ones((32, 64), np.int32),
        "q.scales": np.ones((4, 64), np.float16),
        "q.qzeros": np.ones((4, 8), np.int32),
    }
    report = ht.analyze(state)
    found = {row.name: row for row in report.rows}
    assert found["q.qweight"].status == "unsupported"
    assert "q.scales" in found["q.qweight"].reason
    assert found["q.scales"].status == found["q.qzeros"].status == "skipped"
    assert not report.complete


def test_a_full_precision_weight_with_a_learned_scale_is_a_weight():
    W = np.random.default_rng(0).standard_normal((30, 30))
    assert rows({"fc.weight": W, "fc.weight_scale": np.ones((30, 1))})["fc"].status == "ok"


def test_the_rows_of_a_safetensors_file_are_in_a_person_s_order(tmp_path):
    from safetensors.numpy import save_file

    W = np.random.default_rng(0).standard_normal((30, 30))
    save_file({f"h.{i}.w.weight": W * (i + 1) for i in range(12)}, tmp_path / "m.safetensors")
    report = ht.analyze(tmp_path / "m.safetensors")
    assert [row.name for row in report.rows] == [f"h.{i}.w" for i in range(12)]
