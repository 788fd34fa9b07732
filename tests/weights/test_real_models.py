"""The real files, against independent readers."""

import json
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from weights.cases import check_equal, check_same_state, opened

from heavytail.errors import SourceError
from heavytail.weights.source import open_source


@pytest.mark.parametrize("name", ["resnet20-12fca82f", "resnet32-d509ac18", "resnet56-4bfd9763"])
def test_resnets_saved_on_a_gpu_in_the_legacy_format(models, name):
    path = models / "resnet_cifar10" / f"{name}.th"
    expected = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    source = open_source(path)
    assert source.format == "torch legacy"
    check_same_state(source, {k.removeprefix("module."): v for k, v in expected.items()})


@pytest.mark.parametrize("name", ["g2p_bf16", "g2p_fp16"])
def test_safetensors_of_half_precision(models, name):
    path = models / "formats" / f"{name}.safetensors"
    expected = load_file(path)
    for tensor in open_source(path).tensors:
        check_equal(tensor, expected[tensor.name])


def test_a_sharded_model_is_the_single_file(models):
    whole = {t.name: t.read() for t in open_source(models / "formats" / "g2p_bf16.safetensors").tensors}
    source = open_source(models / "formats" / "g2p_sharded")
    assert len(source.files) == 3
    index = json.loads((models / "formats" / "g2p_sharded" / "model.safetensors.index.json").read_text())
    assert {t.name for t in source.tensors} == set(index["weight_map"]) == set(whole)
    for tensor in source.tensors:
        assert np.array_equal(tensor.read(), whole[tensor.name])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("formats/g2p_full_module.pt", "asks for the Python object 'torch.nn.modules.container.Sequential'"),
        ("formats/g2p_numpy_dict.pkl", "is a bare Python pickle"),
    ],
)
def test_what_is_not_read_is_told(models, name, expected):
    error = opened(models / name)
    assert isinstance(error, SourceError)
    assert expected in str(error)


def test_a_real_model_saved_again_by_torch_and_numpy(models, tmp_path):
    state = load_file(models / "formats" / "g2p_fp16.safetensors")
    torch.save({"model": {"state_dict": state}}, tmp_path / "m.pt")
    check_same_state(open_source(tmp_path / "m.pt"), state)
    np.savez_compressed(tmp_path / "m.npz", **{k: v.numpy() for k, v in state.items()})
    assert zipfile.is_zipfile(tmp_path / "m.npz")
    check_same_state(open_source(tmp_path / "m.npz"), state)
