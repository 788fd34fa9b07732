"""Mappings and live modules: nothing is copied, and nothing is changed."""

import collections
import copy
import warnings

import ml_dtypes
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize
from weights.cases import DTYPES, SHAPES, check_equal, check_same_state, sample, small_state

from heavytail.errors import SourceError
from heavytail.weights.source import open_source
from heavytail.weights.tensor import Hint


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_tensors_in_a_mapping_come_back(dtype):
    state = {f"t{shape}": sample(dtype, shape) for shape in SHAPES}
    check_same_state(open_source(state), state)


def test_a_state_dict_with_ties_and_views_comes_back():
    state = small_state()
    source = open_source(state)
    check_same_state(source, state)
    storage = {t.name: t.storage for t in source.tensors}
    assert storage["a.weight"] == storage["tied"]
    assert storage["a.weight"] != storage["transposed"]


def test_numpy_arrays_of_every_kind_come_back():
    arrays = {
        "f4": np.arange(6, dtype="f4").reshape(2, 3),
        "big": np.arange(6, dtype=">f8").reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "bf16": np.ones((2, 2), ml_dtypes.bfloat16),
        "fp8": np.ones((2, 2), ml_dtypes.float8_e4m3fn),
        "scalar": np.array(3.0),
        "empty": np.zeros((0, 4)),
        "sliced": np.arange(20.0).reshape(4, 5)[::2, ::-1],
        "list": [[1, 2], [3, 4]],
    }
    tensors = {t.name: t for t in open_source(arrays).tensors}
    assert list(tensors) == list(arrays)
    for name, array in arrays.items():
        assert np.array_equal(tensors[name].read(), array), name
        assert tensors[name].dtype == np.asarray(array).dtype.name
        assert all(len(b) <= 1 for b in tensors[name].blocks(1) if b.ndim)


def test_blocks_are_views_that_cannot_be_written():
    array, tensor = np.ones((4, 4)), torch.ones(4, 4)
    for ours in open_source({"a": array, "t": tensor}).tensors:
        for block in ours.blocks(2):
            with pytest.raises(ValueError, match="read-only"):
                block[0, 0] = 5
    assert np.shares_memory(open_source({"a": array}).tensors[0].read(), array)
    array[0, 0] = 2  # the user's own array stays writable


def test_the_same_array_twice_is_tied_and_a_copy_is_not():
    array = np.ones((3, 3))
    a, b, c, d = open_source({"a": array, "b": array.view(), "c": array.copy(), "d": array.T}).tensors
    assert a.storage == b.storage
    assert len({a.storage, c.storage, d.storage}) == 3


def test_what_is_no_array_is_left_out_or_has_a_problem():
    source = open_source({"w": np.ones(2), "o": np.array([None]), 3: np.ones(1), "epoch": 7, "ragged": [[1], [1, 2]]})
    tensors = {t.name: t for t in source.tensors}
    assert set(tensors) == {"w", "o", "3"}
    assert "is no number" in tensors["o"].problem
    assert source.notes == ("left out: 'ragged', which is no array of numbers",)


def test_an_empty_mapping_says_so():
    with pytest.raises(SourceError, match="mapping: holds no tensors"):
        open_source({})


def tower():
    model = nn.Sequential(
        collections.OrderedDict(
            conv=nn.Conv2d(4, 8, 3, groups=2, stride=(2, 1)),
            up=nn.ConvTranspose1d(4, 6, 2, stride=2),
            deep=nn.Conv3d(2, 3, 1),
            norm=nn.BatchNorm2d(8),
            emb=nn.Embedding(5, 4),
            lin=nn.Linear(4, 5),
            lstm=nn.LSTM(4, 3, proj_size=2),
            gru=nn.GRUCell(4, 3),
            rnn=nn.RNN(4, 3),
            att=nn.MultiheadAttention(4, 2),
            bil=nn.Bilinear(2, 3, 4),
        )
    )
    model.lin.weight = model.emb.weight
    return model


def test_a_module_gives_its_state_dict_with_hints():
    model = tower()
    source = open_source(model)
    assert (source.name, source.format, source.files) == ("Sequential", "torch module", ())
    state = model.state_dict()
    tensors = {t.name: t for t in source.tensors}
    assert set(tensors) == set(state)
    for name, tensor in tensors.items():
        check_equal(tensor, state[name])
    assert tensors["conv.weight"].hint == Hint("conv2d", 2, False, (2, 1))
    assert tensors["up.weight"].hint == Hint("conv1d", 1, True, (2,))
    assert tensors["deep.weight"].hint == Hint("conv3d", 1, False, (1, 1, 1))
    kinds = {name: t.hint.kind for name, t in tensors.items() if t.hint}
    assert kinds["emb.weight"] == "embedding"
    assert kinds["lin.weight"] == kinds["att.out_proj.weight"] == "linear"
    assert kinds["lstm.weight_hr_l0"] == "lstm"
    assert kinds["gru.weight_ih"] == "gru"
    assert kinds["rnn.weight_hh_l0"] == "rnn"
    assert kinds["bil.weight"] == "bilinear"
    assert not {"norm.weight", "conv.bias", "att.in_proj_weight"} & set(kinds)
    assert tensors["lin.weight"].storage == tensors["emb.weight"].storage


def test_a_module_that_is_used_twice_is_tied():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(3, 3)
            self.b = self.a
            self.register_buffer("kept", torch.ones(2))
            self.register_buffer("fleeting", torch.ones(2), persistent=False)
            self.register_parameter("none", None)

    tensors = {t.name: t for t in open_source(Twice()).tensors}
    assert set(tensors) == {"a.weight", "a.bias", "b.weight", "b.bias", "kept"}
    assert tensors["a.weight"].storage == tensors["b.weight"].storage


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_module_of_any_precision_is_read_and_left_alone(dtype):
    model = nn.Linear(4, 3).to(dtype)
    model(torch.ones(1, 4, dtype=dtype)).sum().backward()
    before = copy.deepcopy(model.state_dict())
    grad, training = model.weight.grad.clone(), model.training
    state = torch.random.get_rng_state()
    for tensor in open_source(model).tensors:
        check_equal(tensor, before[tensor.name])
    assert model.weight.requires_grad
    assert model.training == training
    assert torch.equal(model.weight.grad, grad)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(
    "wrap", [parametrizations.weight_norm, parametrizations.spectral_norm, parametrizations.orthogonal]
)
def test_a_parametrised_weight_is_the_one_that_evaluation_uses(wrap):
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4))
    wrap(model[0])
    expected = copy.deepcopy(model).eval()[0].weight
    before = copy.deepcopy(model.state_dict())
    source = open_source(model)
    tensors = {t.name: t for t in source.tensors}
    assert set(tensors) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    check_equal(tensors["0.weight"], expected)
    assert tensors["0.weight"].hint == Hint("linear")
    assert model.training
    assert parametrize.is_parametrized(model[0], "weight")
    assert "'0.weight' is made by" in source.notes[0]
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm"])
def test_old_style_norms_give_the_effective_weight(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer = getattr(nn.utils, kind)(nn.Linear(4, 3))
    model = nn.Sequential(layer)
    model(torch.ones(2, 4))
    before = copy.deepcopy({**model.state_dict()})
    model.eval()
    with torch.no_grad():
        model(torch.ones(2, 4))
    weight = model[0].weight.detach().clone()
    model.train()
    tensors = {t.name: t for t in open_source(model).tensors}
    assert set(tensors) == {"0.weight", "0.bias"}
    assert np.allclose(tensors["0.weight"].read(), weight.numpy(), atol=1e-6)
    assert tensors["0.weight"].hint == Hint("linear")
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_compiled_and_parallel_modules_are_unwrapped():
    model = nn.Sequential(nn.Linear(3, 3))
    assert [t.name for t in open_source(torch.compile(model, backend="eager")).tensors] == ["0.weight", "0.bias"]
    assert [t.name for t in open_source(nn.DataParallel(model)).tensors] == ["0.weight", "0.bias"]
    inner = nn.Sequential(torch.compile(nn.Linear(3, 3), backend="eager"))
    assert [t.name for t in open_source(inner).tensors] == ["0.weight", "0.bias"]


def test_parameters_without_numbers_have_a_problem():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lazy = nn.LazyLinear(3)
        quantised = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 3)), {nn.Linear}, torch.qint8)
    assert "lazy" in {t.name: t for t in open_source(lazy).tensors}["weight"].problem
    meta = open_source(nn.Linear(3, 4, device="meta")).tensors[0]
    assert (meta.shape, "meta" in meta.problem) == ((4, 3), True)
    packed = open_source(quantised).tensors[0]
    assert (packed.name, packed.shape, "quantised" in packed.problem) == ("0.weight", (3, 4), True)


def test_a_half_precision_model_and_a_bare_layer_are_read():
    assert [t.name for t in open_source(nn.LSTM(3, 2).bfloat16()).tensors][:2] == ["weight_ih_l0", "weight_hh_l0"]
