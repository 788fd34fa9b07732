import collections
import io
import warnings
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from weights.cases import DTYPES, SHAPES, check_equal, check_same_state, sample, small_state

from heavytail.errors import SourceError
from heavytail.weights.source import open_source

NEW = pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])


def save(obj, path, new=True, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(obj, path, _use_new_zipfile_serialization=new, **options)
    return path


@NEW
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_shape_comes_back_byte_for_byte(dtype, new, tmp_path):
    state = {f"t{shape}": sample(dtype, shape) for shape in SHAPES}
    source = open_source(save(state, tmp_path / "m.pt", new))
    assert source.format == ("torch zip" if new else "torch legacy")
    check_same_state(source, state)


@NEW
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol_is_read(protocol, new, tmp_path):
    state = small_state()
    check_same_state(open_source(save(state, tmp_path / "m.pt", new, pickle_protocol=protocol)), state)


@NEW
def test_views_come_back_as_torch_loads_them(new, tmp_path):
    base = torch.arange(120.0).reshape(2, 3, 4, 5)
    state = {
        "permuted": base.permute(3, 1, 0, 2),
        "steps": base[:, ::2, 1::2],
        "offset": base[1, 2],
        "diagonal": base[0, 0].diagonal(),
        "expanded": torch.arange(3.0).expand(4, 3),
        "flipped rows": base.flip(0),
        "channels last": base.contiguous(memory_format=torch.channels_last),
        "one row": base[:1, :1].transpose(0, 1),
    }
    path = save(state, tmp_path / "m.pt", new)
    check_same_state(open_source(path), torch.load(path))


@given(st.data())
def test_any_view_comes_back(tmp_path_factory, data):
    base = torch.arange(4 * 5 * 6).reshape(4, 5, 6)
    view = base.permute(data.draw(st.permutations(range(3))))
    for axis in range(3):
        first = data.draw(st.integers(0, view.shape[axis] - 1))
        step = data.draw(st.integers(1, 3))
        view = view[(slice(None),) * axis + (slice(first, None, step),)]
    path = save({"v": view}, tmp_path_factory.mktemp("v") / "m.pt", data.draw(st.booleans()))
    check_equal(open_source(path).tensors[0], view)


@NEW
def test_tied_tensors_share_their_storage_and_no_others_do(new, tmp_path):
    source = open_source(save(small_state(), tmp_path / "m.pt", new))
    storage = {t.name: t.storage for t in source.tensors}
    assert storage["a.weight"] == storage["tied"]
    others = [s for name, s in storage.items() if name != "tied" and s is not None]
    assert len(set(others)) == len(others)


@NEW
def test_parameters_containers_and_numpy_are_understood(new, tmp_path):
    array = np.arange(6, dtype="f4").reshape(2, 3)
    obj = collections.OrderedDict(
        p=torch.nn.Parameter(torch.ones(2, 2)),
        b=torch.nn.Parameter(torch.ones(2), requires_grad=False),
        np=array,
        fortran=np.asfortranarray(array),
        big=array.astype(">f4"),
        number=np.float32(3),
        size=torch.Size((1, 2)),
        dtype=torch.bfloat16,
        device=torch.device("cpu"),
        kinds={1, 2},
        counted=collections.Counter("aab"),
        text="x",
        raw=b"",
        array=bytearray(b"ab"),
        nothing=None,
        flag=True,
    )
    for protocol in (2, 5):
        source = open_source(save(obj, tmp_path / "m.pt", new, pickle_protocol=protocol))
        tensors = {t.name: t for t in source.tensors}
        assert set(tensors) == {"p", "b", "np", "fortran", "big"}
        for name in ("np", "fortran", "big"):
            assert np.array_equal(tensors[name].read(), array)
            assert tensors[name].dtype == "float32"


def test_tensors_that_are_no_plain_numbers_have_a_problem(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        state = {
            "coo": torch.eye(3).to_sparse(),
            "csr": torch.eye(3).to_sparse_csr(),
            "quantised": torch.quantize_per_tensor(torch.zeros(3, 2), 0.1, 0, torch.qint8),
            "meta": torch.empty(4, 5, device="meta"),
            "scales": torch.zeros(3, 2).to(torch.float8_e8m0fnu),
            "complex32": torch.zeros(2, dtype=torch.complex32),
            "conjugate": torch.zeros(2, 3, dtype=torch.complex64).conj(),
            "objects": np.array([None, "x"]),
            "fine": torch.ones(2),
        }
    tensors = {t.name: t for t in open_source(save(state, tmp_path / "m.pt")).tensors}
    assert set(tensors) == set(state)
    assert tensors.pop("fine").problem is None
    for name, word in {"coo": "sparse", "csr": "sparse", "quantised": "quantised", "meta": "meta"}.items():
        assert word in tensors[name].problem
        assert tensors[name].shape == tuple(state[name].shape)
    for name, tensor in tensors.items():
        assert tensor.problem, name
        with pytest.raises(SourceError, match=f"tensor '{name}' cannot be read"):
            tensor.read()


def test_an_expanded_tensor_that_would_fill_the_memory_is_a_problem(tmp_path):
    source = open_source(save({"x": torch.zeros(1).expand(1 << 40)}, tmp_path / "m.pt"))
    assert "repeats" in source.tensors[0].problem


def test_a_big_endian_file_is_swapped(tmp_path):
    path = save({"x": torch.arange(6.0).reshape(2, 3), "c": torch.tensor([1 + 2j])}, tmp_path / "m.pt")
    out = tmp_path / "big.pt"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("byteorder"):
                data = b"big"
            elif "/data/" in name:
                data = np.frombuffer(data, "<f4").astype(">f4").tobytes()
            new.writestr(name, data)
    x, c = open_source(out).tensors
    assert np.array_equal(x.read(), np.arange(6.0).reshape(2, 3))
    assert c.read()[0] == 1 + 2j


def test_deflated_storages_are_streamed(tmp_path):
    state = small_state()
    path, out = save(state, tmp_path / "m.pt"), tmp_path / "packed.pt"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    check_same_state(open_source(out), state)


@NEW
def test_content_decides_and_not_the_extension(new, tmp_path):
    for name in ("m.safetensors", "m.npz", "m.pth.tar", "m", "m.onnx"):
        state = {"w": torch.ones(2, 2)}
        check_same_state(open_source(save(state, tmp_path / name, new)), state)


def test_files_saved_on_a_gpu_are_read(tmp_path):
    stream = io.BytesIO()
    torch.save({"w": torch.arange(4.0)}, stream)
    with zipfile.ZipFile(stream) as old, zipfile.ZipFile(tmp_path / "m.pt", "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("data.pkl"):
                assert b"X\x03\x00\x00\x00cpu" in data
                data = data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
            new.writestr(name, data)
    assert open_source(tmp_path / "m.pt").tensors[0].read().tolist() == [0, 1, 2, 3]


@NEW
def test_a_list_of_tensors_is_named_by_index(new, tmp_path):
    source = open_source(save([torch.ones(1), [torch.ones(2)]], tmp_path / "m.pt", new))
    assert [t.name for t in source.tensors] == ["0", "1.0"]
    assert open_source(save(torch.ones(3), tmp_path / "one.pt", new)).tensors[0].shape == (3,)


def test_a_tensor_subclass_and_a_parameter_with_state_are_read(tmp_path):
    parameter = torch.nn.Parameter(torch.ones(2, 2))
    parameter.note = "mine"
    assert open_source(save({"w": parameter}, tmp_path / "m.pt")).tensors[0].shape == (2, 2)


def test_the_memory_of_a_large_storage_is_never_taken_at_opening(tmp_path):
    import tracemalloc

    path = save({"x": torch.zeros(1000, 1000)}, tmp_path / "m.pt")
    open_source(path)
    tracemalloc.start()
    open_source(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
