"""Real files, changed at random: nothing but one clear line, or a table whose failed rows say why."""

import os
import re

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from models import model, shared
from weights.cases import opened

import heavytail as ht
from heavytail.errors import SourceError

QUICK, MANY = 60, 2000
SOURCES = {
    "safetensors": lambda: shared("formats/g2p_bf16.safetensors"),
    "torch legacy": lambda: shared("resnet_cifar10/resnet20-12fca82f.th"),
    "torch zip": lambda: model("chgnet", "chgnet/pretrained/0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar"),
    "npz": lambda: model("g2p-en", "g2p_en/checkpoint20.npz"),
    "gguf": lambda: shared("formats/g2p_q4_0.gguf"),
    "hdf5": lambda: shared("musicnn/MTT_vgg.h5"),
    "keras": lambda: shared("formats/MTT_vgg.keras"),
    "onnx": lambda: model("rapidocr-onnxruntime", "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx"),
    "tflite": lambda: model("basic-pitch", "basic_pitch/saved_models/icassp_2022/nmp.tflite"),
    "torchscript": lambda: model("silero-vad", "silero_vad/data/silero_vad.jit"),
}
HEAD = 8192  # the bytes at either end hold what says where the others belong

edits = st.lists(
    st.tuples(
        st.sampled_from(["set", "insert", "delete", "double", "cut"]),
        st.one_of(st.integers(0, HEAD), st.integers(-HEAD, -1), st.floats(0, 1, exclude_max=True)),
        st.binary(min_size=1, max_size=16),
    ),
    min_size=1,
    max_size=4,
)


def edited(data, changes):
    data = bytearray(data)
    for what, where, new in changes:
        at = int(where * len(data)) if isinstance(where, float) else where if where >= 0 else len(data) + where
        at = min(max(at, 0), len(data))
        if what == "set":
            data[at : at + len(new)] = new
        elif what == "insert":
            data[at:at] = new
        elif what == "delete":
            del data[at : at + len(new)]
        elif what == "double":
            data[at:at] = data[at : at + len(new)]
        elif where not in range(1, 64):  # a cut at the very start leaves nothing to test
            del data[at:]
    return bytes(data)


def torture(name, folder, examples):
    data = SOURCES[name]().read_bytes()
    path = folder / "mutant"
    outcomes = {"read": 0, "refused": 0}

    @seed(20190804)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(edits)
    def run(changes):
        path.write_bytes(edited(data, changes))
        if isinstance(opened(path), SourceError):
            outcomes["refused"] += 1
            return
        outcomes["read"] += 1
        for row in ht.analyze(path, jobs=1).rows:
            assert row.status != "failed" or re.search("NaN|infinite|squares", row.reason), row.reason

    run()
    return outcomes


@pytest.mark.parametrize("name", SOURCES)
def test_a_changed_real_file_is_refused_or_read(name, tmp_path):
    outcomes = torture(name, tmp_path, QUICK)
    assert all(outcomes.values()), outcomes


@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCES)
def test_two_thousand_changed_real_files_are_refused_or_read(name, tmp_path):
    outcomes = torture(name, tmp_path, int(os.environ.get("HEAVYTAIL_MUTATIONS", MANY)))
    print(f"{name}: {outcomes}")  # noqa: T201  the result to report
    assert all(outcomes.values()), outcomes
