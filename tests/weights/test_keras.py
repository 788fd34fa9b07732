"""Keras and HDF5 files, read without keras: the arrays of h5py, torch's convolutions and numpy's einsum are the truth.

The synthetic files have the structure that Keras 2.2, 2.12 and 3.15 write.
"""

import io
import json
import os
import pickle
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass

import h5py
import ml_dtypes
import numpy as np
import pytest
import torch
from models import shared
from torch.nn import functional
from weights.cases import opened

import heavytail as ht
from heavytail.errors import SourceError
from heavytail.weights.formats.archive import members
from heavytail.weights.formats.keras.archive import read_keras
from heavytail.weights.formats.keras.hdf5 import read_hdf5
from heavytail.weights.formats.keras.heap import GuardedStream
from heavytail.weights.formats.keras.slices import Inflated, Slice
from heavytail.weights.layout import plan
from heavytail.weights.places.files import LocalFile
from heavytail.weights.ranges import Deflated
from heavytail.weights.source import open_source
from heavytail.weights.tensor import Hint

RNG = np.random.default_rng(20200101)


def numbers(*shape, dtype="float32"):
    return RNG.standard_normal(shape).astype(dtype)


def legacy(group, layers):
    """Write a {layer: {weight: array}} as Keras 1 and 2 do."""
    group.attrs["layer_names"] = [name.encode() for name in layers]
    for name, weights in layers.items():
        inner = group.create_group(name)
        inner.attrs["weight_names"] = [weight.encode() for weight in weights]
        for weight, array in weights.items():
            inner[weight] = array


def modern(group, layers, names=None):
    """Write a {path: [arrays]} as Keras 3 does."""
    for path, arrays in layers.items():
        inner = group.create_group(f"{path}/vars")
        if names and path in names:
            inner.attrs["name"] = names[path]
        for i, array in enumerate(arrays):
            inner[str(i)] = array


def model(*layers, kind="Functional"):
    """The configuration of a model of (class, name, arguments)."""
    inner = [{"class_name": c, "config": {"name": name, **config}, "name": name} for c, name, config in layers]
    return {"class_name": kind, "config": {"name": "model", "layers": inner}}


def archive(path, layers, config, names=None, packing=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        modern(file, layers, names)
    with zipfile.ZipFile(path, "w", packing) as out:
        out.writestr("metadata.json", "{}")
        out.writestr("config.json", json.dumps(config))
        out.writestr("model.weights.h5", buffer.getvalue())


def tensors(path):
    return {tensor.name: tensor for tensor in open_source(path).tensors}


def check(tensor, expected, hint=None):
    """Compare a tensor with an array, in blocks of several heights and after pickling."""
    assert tensor.problem is None
    assert tensor.shape == expected.shape
    assert tensor.dtype == expected.dtype.name
    assert tensor.hint == hint
    for blocks in (tensor.blocks, pickle.loads(pickle.dumps(tensor.blocks))):
        for rows in (1, 3, 1000):
            found = list(blocks(rows))
            assert all(len(block) <= rows for block in found if block.shape)
            joined = np.concatenate(found) if expected.shape else found[0]
            np.testing.assert_array_equal(joined, expected)
            assert joined.dtype == expected.dtype


# Real models: name, matrices, those whose smaller side is at least 50.
REAL = [("musicnn/MTT_musicnn.h5", 10, 9), ("musicnn/MTT_vgg.h5", 6, 5), ("formats/MTT_vgg.keras", 6, 5)]


def is_matrix(tensor):
    return sum(n > 1 for n in tensor.shape) > 1


@pytest.mark.parametrize(("path", "matrices", "large"), REAL)
def test_real_models_hold_the_matrices_that_the_reference_counts(path, matrices, large):
    found = [t for t in open_source(shared(path)).tensors if is_matrix(t)]
    assert len(found) == matrices
    assert sum(min(t.shape[0], t.size // t.shape[0]) >= 50 or min(t.shape[:2]) >= 50 for t in found) == large
    assert {t.hint.kind for t in found} == {"conv2d", "linear"}


def test_names_of_a_real_model_have_no_noise():
    names = [t.name for t in open_source(shared("musicnn/MTT_vgg.h5")).tensors]
    assert names[:6] == [
        "bn_input/gamma",
        "bn_input/beta",
        "bn_input/moving_mean",
        "bn_input/moving_variance",
        "1CNN/kernel",
        "1CNN/bias",
    ]
    assert names[-2:] == ["output/kernel", "output/bias"]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("path", ["musicnn/MTT_musicnn.h5", "musicnn/MTT_vgg.h5"])
def test_numbers_of_a_real_model_are_those_of_h5py(path):
    truth = {}
    with h5py.File(shared(path)) as file:
        file["model_weights"].visititems(
            lambda name, thing: truth.update({name: thing[()]} if hasattr(thing, "shape") else {})
        )
    clean = {"/".join(name.split("/")[-2:]).split(":")[0].replace("_1", ""): array for name, array in truth.items()}
    if len(clean) < len(truth):  # 'conv2d' and 'conv2d_1'
        clean = {
            name.split("/")[0] + "/" + name.split("/")[-1].split(":")[0].removesuffix("_1"): a
            for name, a in truth.items()
        }
    found = tensors(shared(path))
    assert set(found) == set(clean)
    for name, array in clean.items():
        expected = np.transpose(array, (3, 2, 0, 1)) if array.ndim == 4 else array
        np.testing.assert_array_equal(found[name].read(), expected)


def test_one_model_in_two_containers_is_the_same_to_the_bit_in_the_same_order():
    h5, keras = (open_source(shared(path)) for path in ("musicnn/MTT_vgg.h5", "formats/MTT_vgg.keras"))
    assert (h5.format, keras.format) == ("hdf5", "keras")
    assert [t.name for t in h5.tensors] == [t.name for t in keras.tensors]
    for a, b in zip(h5.tensors, keras.tensors, strict=True):
        assert (a.shape, a.dtype, a.hint) == (b.shape, b.dtype, b.hint)
        assert a.read().tobytes() == b.read().tobytes()


def test_a_real_model_gives_the_same_table_from_two_containers():
    tables = [ht.analyze(shared(path), jobs=1).rows for path in ("musicnn/MTT_vgg.h5", "formats/MTT_vgg.keras")]
    assert len(tables[0]) == len(tables[1])
    for a, b in zip(*tables, strict=True):
        assert (a.name, a.kind, a.N, a.M, a.status, a.alpha) == (b.name, b.kind, b.N, b.M, b.status, b.alpha) or (
            a.alpha != a.alpha and b.alpha != b.alpha
        )


def test_numbers_that_stand_in_the_file_as_they_are_need_no_h5py():
    source = shared("musicnn/MTT_vgg.h5")
    blocks = pickle.dumps([t.blocks for t in open_source(source).tensors])
    code = (
        "import pickle, sys; sys.modules['h5py'] = None\n"
        f"print(sum(b.size for f in pickle.loads({blocks!r}) for b in f(64)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    with h5py.File(source) as file:
        sizes = []
        file["model_weights"].visititems(lambda _, thing: sizes.append(getattr(thing, "size", 0)))
    assert int(done.stdout) == sum(sizes)


def test_keras_itself_is_never_imported():
    code = (
        "import sys; sys.modules['keras'] = sys.modules['tensorflow'] = None\n"
        f"from heavytail.weights.source import open_source; open_source({str(shared('formats/MTT_vgg.keras'))!r})"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


# Layers: what Keras computes (einsum on its own layout) is what torch computes with our tensor.


def image(*shape):
    return numbers(*shape, dtype="float64")


def torch_conv(x, tensor):
    """Apply our tensor to a channels-last image as large as the kernel, as torch does."""
    hint, kernel = tensor.hint, torch.from_numpy(np.array(tensor.read(), dtype="float64"))
    d = kernel.ndim - 2
    apply = getattr(functional, f"conv{'_transpose' if hint.transposed else ''}{d}d")
    y = apply(torch.from_numpy(np.moveaxis(x, -1, 0)[None]), kernel, groups=hint.groups)
    return np.moveaxis(y[0].numpy(), 0, -1)


KERNEL = {1: (3,), 2: (3, 2), 3: (2, 3, 4)}


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("form", ["h5", "keras"])
def test_a_convolution_is_the_one_that_keras_computes(d, groups, form, tmp_path):
    w = numbers(*KERNEL[d], 3, 8)
    config = model((f"Conv{d}D", "c", {"groups": groups, "strides": [2] * d}))
    found = written(tmp_path, form, f"conv{d}d", {"kernel": w, "bias": numbers(8)}, config)["c/kernel"]
    check(found, np.moveaxis(w, (-1, -2), (0, 1)), Hint(f"conv{d}d", groups, stride=(2,) * d))
    x = image(*KERNEL[d], 3 * groups)
    parts = [
        np.tensordot(x[..., 3 * g : 3 * g + 3], w[..., 8 // groups * g : 8 // groups * (g + 1)], d + 1)
        for g in range(groups)
    ]
    np.testing.assert_allclose(torch_conv(x, found).ravel(), np.concatenate(parts), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("form", ["h5", "keras", "names only"])
@pytest.mark.parametrize("name", ["kernel", "depthwise_kernel"])
def test_a_depthwise_convolution_is_the_one_that_keras_computes(d, form, name, tmp_path):
    w = numbers(*KERNEL[d], 5, 2)
    config = model((f"DepthwiseConv{d}D", "c", {"strides": [1] * d})) if form != "names only" else None
    found = written(tmp_path, form, f"depthwise_conv{d}d", {name: w, "bias": numbers(10)}, config)
    found = found["c/kernel" if form == "keras" else f"c/{name}"]
    x = image(*KERNEL[d], 5)
    expected = np.einsum(x, [*range(d), 8], w, [*range(d), 8, 9], [8, 9])
    np.testing.assert_allclose(torch_conv(x, found).ravel(), expected.ravel(), rtol=1e-12, atol=1e-12)
    assert found.hint.groups == 5
    assert found.shape == (10, 1, *KERNEL[d])


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("form", ["h5", "keras", "names only"])
def test_a_separable_convolution_is_the_one_that_keras_computes(d, form, tmp_path):
    deep, point = numbers(*KERNEL[d], 5, 2), numbers(*(1,) * d, 10, 7)
    config = model((f"SeparableConv{d}D", "c", {"strides": [1] * d})) if form != "names only" else None
    weights = {"depthwise_kernel": deep, "pointwise_kernel": point, "bias": numbers(7)}
    found = written(tmp_path, form, f"separable_conv{d}d", weights, config)
    x = image(*KERNEL[d], 5)
    between = np.einsum(x, [*range(d), 8], deep, [*range(d), 8, 9], [8, 9]).ravel()
    y = torch_conv(torch_conv(x, found["c/depthwise_kernel"]), found["c/pointwise_kernel"])
    np.testing.assert_allclose(y.ravel(), between @ point.reshape(10, 7), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("form", ["h5", "keras", "names only"])
def test_a_transposed_convolution_is_the_one_that_keras_computes(d, form, tmp_path):
    w = numbers(*KERNEL[d], 7, 4)
    config = model((f"Conv{d}DTranspose", "c", {"strides": [2] * d})) if form != "names only" else None
    found = written(tmp_path, form, f"conv{d}d_transpose", {"kernel": w, "bias": numbers(7)}, config)["c/kernel"]
    assert found.hint.transposed
    assert found.shape == (4, 7, *KERNEL[d])
    x = image(*(1,) * d, 4)
    np.testing.assert_allclose(torch_conv(x, found), np.tensordot(w, x.ravel(), 1), rtol=1e-12, atol=1e-12)


def written(folder, form, path, weights, config):
    """Write one layer 'c' in one of the forms; gives its tensors."""
    if form == "keras":
        archive(folder / "m.keras", {f"layers/{path}": weights.values()}, config)
        return tensors(folder / "m.keras")
    with h5py.File(folder / "m.h5", "w") as file:
        group = file
        if form == "h5":
            file.attrs["model_config"] = json.dumps(config)
            group = file.create_group("model_weights")
        legacy(group, {"c": {f"c/{name}:0": array for name, array in weights.items()}})
    return tensors(folder / "m.h5")


RECURRENT = {"LSTM": ("lstm", "ifgo"), "GRU": ("gru", "zrn"), "SimpleRNN": ("rnn", "")}


@pytest.mark.parametrize("kind", RECURRENT)
@pytest.mark.parametrize("form", ["h5", "keras", "weights"])
def test_recurrent_kernels_become_rows_of_gates(kind, form, tmp_path):
    label, gates = RECURRENT[kind]
    n = len(gates) or 1
    w, u, b = numbers(5, 4 * n), numbers(4, 4 * n), numbers(2, 4 * n)
    if form == "h5":
        weights = {"kernel": w, "recurrent_kernel": u, "bias": b}
        found = written(tmp_path, "h5", "", weights, model((kind, "c", {})))
        names = ["c/kernel", "c/recurrent_kernel", "c/bias"]
    else:
        snake = {"SimpleRNN": "simple_rnn"}.get(kind, kind.lower())
        names = ["c/cell/kernel", "c/cell/recurrent_kernel", "c/cell/bias"]
        if form == "keras":
            archive(tmp_path / "m.keras", {f"layers/{snake}/cell": [w, u, b]}, model((kind, "c", {})))
            found = tensors(tmp_path / "m.keras")
        else:
            with h5py.File(tmp_path / "m.weights.h5", "w") as file:
                modern(file, {f"layers/{snake}/cell": [w, u, b]}, {f"layers/{snake}": "c"})
                file.create_group(f"layers/{snake}/vars").attrs["name"] = "c"
            found = tensors(tmp_path / "m.weights.h5")
    check(found[names[0]], w.T, Hint(label, gates=gates))
    check(found[names[1]], u.T, Hint(label, gates=gates))
    check(found[names[2]], b.ravel())


def test_each_gate_of_an_lstm_is_a_row_with_its_own_matrix(tmp_path):
    w, u = numbers(60, 240), numbers(60, 240)
    weights = {"kernel": w, "recurrent_kernel": u, "bias": numbers(240)}
    written(tmp_path, "h5", "", weights, model(("LSTM", "c", {})))
    rows = {row.name: row for row in ht.analyze(tmp_path / "m.h5", jobs=1).rows if row.status == "ok"}
    assert set(rows) == {f"c/{name}:{gate}" for name in ("kernel", "recurrent_kernel") for gate in "ifgo"}
    for i, gate in enumerate("ifgo"):
        norm = np.linalg.norm(w[:, 60 * i : 60 * i + 60].astype("float64"))
        assert rows[f"c/kernel:{gate}"].log_norm == pytest.approx(2 * np.log10(norm), rel=1e-9)


@pytest.mark.parametrize("form", ["h5", "keras", "weights"])
def test_kernels_of_attention_are_matrices(form, tmp_path):
    q, o = numbers(12, 2, 3), numbers(2, 3, 12)
    if form == "h5":
        weights = {"query/kernel": q, "query/bias": numbers(2, 3), "attention_output/kernel": o}
        found = written(tmp_path, "h5", "", weights, model(("MultiHeadAttention", "c", {"num_heads": 2})))
    else:
        base = "layers/multi_head_attention"
        layers = {f"{base}/query_dense": [q, numbers(2, 3)], f"{base}/output_dense": [o, numbers(12)]}
        names = {f"{base}/query_dense": "query", f"{base}/output_dense": "attention_output"}
        if form == "keras":
            archive(tmp_path / "m.keras", layers, model(("MultiHeadAttention", "c", {})), names)
            found = tensors(tmp_path / "m.keras")
        else:
            with h5py.File(tmp_path / "m.weights.h5", "w") as file:
                modern(file, layers, names)
                file.create_group(f"{base}/vars").attrs["name"] = "c"
            found = tensors(tmp_path / "m.weights.h5")
    x, y = image(12), image(2, 3)
    found_q, found_o = found["c/query/kernel"], found["c/attention_output/kernel"]
    assert found_q.hint == found_o.hint == Hint("linear")
    np.testing.assert_allclose(x @ found_q.read(), np.einsum("d,dhk->hk", x, q).ravel())
    np.testing.assert_allclose(y.ravel() @ found_o.read(), np.einsum("hk,hkd->d", y, o))
    assert found["c/query/bias"].shape == (6,)


EQUATIONS = [
    ("abc,cde->abde", (4, 2, 3), (4, 6)),
    ("abcd,cde->abe", (2, 3, 4), (6, 4)),
    ("abc,dec->abde", (2, 3, 4), (6, 4)),
]


@pytest.mark.parametrize(("equation", "shape", "matrix"), EQUATIONS)
def test_an_einsum_kernel_is_a_matrix_where_its_axes_stand_in_two_runs(equation, shape, matrix, tmp_path):
    w = numbers(*shape)
    archive(tmp_path / "m.keras", {"layers/einsum_dense": [w]}, model(("EinsumDense", "c", {"equation": equation})))
    check(tensors(tmp_path / "m.keras")["c/kernel"], w.reshape(matrix), Hint("linear"))


@pytest.mark.parametrize("equation", ["abc,bcd->abd", "abc,dce->abde", "nonsense", None, 7, "abc,cdef->a"])
def test_an_einsum_kernel_of_any_other_order_is_left_as_it_is(equation, tmp_path):
    w = numbers(4, 2, 3)
    archive(tmp_path / "m.keras", {"layers/einsum_dense": [w]}, model(("EinsumDense", "c", {"equation": equation})))
    check(tensors(tmp_path / "m.keras")["c/kernel"], w)


def test_dense_and_embedding_are_named_by_the_configuration(tmp_path):
    a, b, e = numbers(4, 5), numbers(5, 6), numbers(9, 4)
    config = model(("Embedding", "words", {}), ("Dense", "first", {}), ("Dropout", "d", {}), ("Dense", "second", {}))
    layers = {"layers/dense": [a, numbers(5)], "layers/dense_1": [b], "layers/embedding": [e]}
    archive(tmp_path / "m.keras", layers, config)
    found = tensors(tmp_path / "m.keras")
    assert list(found) == ["words/embeddings", "first/kernel", "first/bias", "second/kernel"]
    check(found["words/embeddings"], e, Hint("embedding"))
    check(found["first/kernel"], a, Hint("linear"))
    check(found["second/kernel"], b, Hint("linear"))


def test_numbers_left_out_by_keras_2_do_not_change_the_layers(tmp_path):
    a, b = numbers(4, 5), numbers(5, 6)
    layers = {"_layer_checkpoint_dependencies/dense": [a], "_layer_checkpoint_dependencies/dense_2": [b]}
    archive(tmp_path / "m.keras", layers, model(("Dense", "first", {}), ("Dense", "second", {})))
    found = tensors(tmp_path / "m.keras")
    check(found["first/kernel"], a, Hint("linear"))
    check(found["second/kernel"], b, Hint("linear"))


def test_without_a_configuration_the_names_in_the_file_or_its_paths_are_used(tmp_path):
    a, b = numbers(3, 3, 4, 5), numbers(6, 7)
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        modern(file, {"layers/conv2d": [a], "layers/my_layer": [b]}, {"layers/conv2d": "stem"})
    found = tensors(tmp_path / "m.weights.h5")
    assert list(found) == ["stem/kernel", "my_layer/0"]
    check(found["stem/kernel"], np.transpose(a, (3, 2, 0, 1)), Hint("conv2d"))
    check(found["my_layer/0"], b)


def test_a_nested_model_keeps_the_names_of_its_layers(tmp_path):
    w, v = numbers(4, 5), numbers(3, 3, 2, 4)
    inner = model(("Dense", "deep", {}), ("Conv2D", "c", {"groups": 2}))
    inner["config"]["name"] = "inner"
    config = model()
    config["config"]["layers"] = [inner]
    layers = {"layers/functional/layers/dense": [w], "layers/functional/layers/conv2d": [v]}
    archive(tmp_path / "m.keras", layers, config)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        legacy(file.create_group("model_weights"), {"inner": {"deep/kernel:0": w, "c/kernel:0": v}})
    for path in ("m.keras", "m.h5"):
        found = tensors(tmp_path / path)
        assert list(found) == ["inner/deep/kernel", "inner/c/kernel"]
        check(found["inner/deep/kernel"], w, Hint("linear"))
        check(found["inner/c/kernel"], np.transpose(v, (3, 2, 0, 1)), Hint("conv2d", 2))


def test_a_layer_that_another_one_wraps_is_found(tmp_path):
    w = numbers(3, 3, 2, 4)
    wrapped = {"class_name": "Conv2D", "config": {"name": "inner", "groups": 2, "strides": [3, 3]}}
    config = model(("TimeDistributed", "c", {"layer": wrapped}))
    hint = Hint("conv2d", 2, stride=(3, 3))
    check(written(tmp_path, "h5", "", {"kernel": w}, config)["c/kernel"], np.transpose(w, (3, 2, 0, 1)), hint)
    archive(tmp_path / "m.keras", {"layers/time_distributed/layer": [w]}, config)
    check(tensors(tmp_path / "m.keras")["c/inner/kernel"], np.transpose(w, (3, 2, 0, 1)), hint)


@pytest.mark.parametrize(("kind", "places"), [("LSTM", (0, 1, 2, 3)), ("GRU", (1, 0, 2))])
def test_gates_have_the_names_that_they_have_in_torch(kind, places, tmp_path):
    layer = getattr(torch.nn, kind)(5, 7)
    known = [getattr(layer, f"weight_{way}_l0").detach().numpy() for way in ("ih", "hh")]
    moved = [np.concatenate([np.split(value, len(places))[i] for i in places]).T for value in known]
    weights = {"kernel": moved[0], "recurrent_kernel": moved[1]}
    here = written(tmp_path, "h5", "", weights, model((kind, "c", {}))).values()
    assert gates(here) == gates(open_source(layer).tensors)


def gates(found):
    """The numbers of each gate, by tensor, under the gate's letter."""
    return [
        {part.name[-1]: part.stack(list(item.tensor.blocks(item.rows))[part.block])[0].tolist() for part in item.parts}
        for item in plan(found)
        if item.parts
    ]


def test_both_directions_of_a_bidirectional_layer_come_in_order(tmp_path):
    config = model(("Bidirectional", "bi", {"layer": {"class_name": "GRU", "config": {"name": "gru"}}}))
    arrays = [[numbers(5, 12), numbers(4, 12), numbers(2, 12)] for _ in range(2)]
    base = "layers/bidirectional"
    names = {f"{base}/{way}_layer/cell": "gru_cell" for way in ("forward", "backward")}
    archive(tmp_path / "m.keras", dict(zip(names, arrays, strict=True)), config, names)
    kernels = [t for t in open_source(tmp_path / "m.keras").tensors if t.name.endswith("/kernel")]
    assert [t.name for t in kernels] == ["bi/forward_gru/gru_cell/kernel", "bi/backward_gru/gru_cell/kernel"]
    for kernel, (w, _, _) in zip(kernels, arrays, strict=True):
        check(kernel, w.T, Hint("gru", gates="zrn"))


def test_a_file_of_keras_1_is_read_in_its_own_order_of_axes(tmp_path):
    w = numbers(6, 4, 3, 3)
    for ordering, expected in (("th", w), ("tf", np.transpose(w, (3, 2, 0, 1)))):
        config = model(("Convolution2D", "conv_1", {"dim_ordering": ordering, "subsample": [2, 2]}))
        with h5py.File(tmp_path / "m.h5", "w") as file:
            file.attrs["model_config"] = json.dumps(config).encode()
            legacy(file.create_group("model_weights"), {"conv_1": {"conv_1_W": w, "conv_1_b": numbers(6)}})
        found = tensors(tmp_path / "m.h5")
        assert list(found) == ["conv_1/W", "conv_1/b"]
        check(found["conv_1/W"], expected, Hint("conv2d", stride=(2, 2)))


def test_the_state_of_the_optimizer_is_left_out_and_counted(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        legacy(file.create_group("model_weights"), {"a": {"a/kernel:0": numbers(3, 4)}})
        file["optimizer_weights/Adam/m/kernel:0"] = numbers(3, 4)
        file["optimizer_weights/Adam/v/kernel:0"] = numbers(3, 4)
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        modern(file, {"layers/dense": [numbers(3, 4)], "optimizer": [numbers(), numbers(3, 4)]})
    for path in ("m.h5", "m.weights.h5"):
        source = open_source(tmp_path / path)
        assert len(source.tensors) == 1
        assert source.notes == ("left out: 2 tensors of the optimizer's state",)


def test_long_lists_of_names_that_keras_splits_are_joined(tmp_path):
    arrays = {f"layer_{i}": numbers(2, 3) for i in (2, 0, 1)}
    with h5py.File(tmp_path / "m.h5", "w") as file:
        group = file.create_group("model_weights")
        for name, array in arrays.items():
            group[f"{name}/{name}/kernel:0"] = array
            group[name].attrs["weight_names"] = [f"{name}/kernel:0"]
        group.attrs["layer_names0"] = ["layer_2", "layer_0"]
        group.attrs["layer_names1"] = ["layer_1"]
    assert list(tensors(tmp_path / "m.h5")) == [f"{name}/kernel" for name in arrays]


def test_names_that_would_be_the_same_become_paths(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        legacy(
            file,
            {"a": {"a/kernel:0": numbers(2, 3), "a/kernel_1:0": numbers(2, 3)}, "b": {"b/kernel:0": numbers(2, 3)}},
        )
    assert list(tensors(tmp_path / "m.h5")) == ["a/a/kernel:0", "a/a/kernel_1:0", "b/kernel"]


# Plain HDF5.


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u2", "i4", "i8", "c8", "c16", "?"])
@pytest.mark.parametrize(
    "how", [{}, {"chunks": True}, {"compression": "gzip", "shuffle": True}, {"compression": "lzf"}]
)
def test_arrays_of_every_type_and_storage_come_back(order, dtype, how, tmp_path):
    array = (numbers(37, 5, 3, dtype="f8") * 50).astype(dtype)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("group/x", data=array.astype(order + dtype), **how)
    check(tensors(tmp_path / "m.h5")["group/x"], array)


@pytest.mark.parametrize("shape", [(), (1,), (0,), (0, 3), (3, 0), (7,), (2, 3, 1, 2)])
def test_arrays_of_every_shape_come_back(shape, tmp_path):
    array = numbers(*shape) if shape else np.float32(3)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["x"] = array
    check(tensors(tmp_path / "m.h5")["x"], np.asarray(array))


def test_a_compressed_kernel_is_seen_in_torchs_order(tmp_path):
    w, u = numbers(3, 3, 20, 30), numbers(50, 2, 3)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        group = file.create_group("model_weights")
        legacy(group, {"c": {}, "mha": {}})
        group.create_dataset("c/c/kernel:0", data=w, compression="gzip", chunks=(2, 2, 7, 11))
        group.create_dataset("mha/mha/query/kernel:0", data=u, compression="gzip", chunks=(7, 1, 2))
    found = tensors(tmp_path / "m.h5")
    check(found["c/kernel"], np.transpose(w, (3, 2, 0, 1)), Hint("conv2d"))
    check(found["mha/query/kernel"], u.reshape(50, 6), Hint("linear"))


def test_bfloat16_as_keras_keeps_it_comes_back(tmp_path):
    array = numbers(4, 5).astype(ml_dtypes.bfloat16)
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        modern(file, {"layers/dense": [array]})
        file["layers/dense/vars/0"].attrs["dtype"] = "bfloat16"
        file["layers/dense/vars/1"] = array
    found = tensors(tmp_path / "m.weights.h5")
    check(found["dense/kernel"], array, Hint("linear"))
    assert "2 opaque bytes" in found["dense/bias"].problem


def test_a_float_of_a_width_that_numpy_has_not_is_converted(tmp_path):
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(31, 20, 11, 0, 20)  # a float of 32 bits with 11 of exponent and 20 of mantissa
    kind.set_ebias(1023)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        data = h5py.h5d.create(file.id, b"x", kind, h5py.h5s.create_simple((2, 2)))
        data.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array([[1.5, -2], [3, 4]]))
    found = tensors(tmp_path / "m.h5")["x"]
    np.testing.assert_array_equal(found.read(), [[1.5, -2], [3, 4]])


def test_text_objects_and_records_are_no_tensors_and_are_counted(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["x"] = numbers(2, 3)
        file["text"] = "hello"
        file["records"] = np.zeros(3, [("a", "f4"), ("b", "i4")])
        file["nothing"] = h5py.Empty("f4")
    source = open_source(tmp_path / "m.h5")
    assert [t.name for t in source.tensors] == ["x"]
    assert source.notes == ("left out: 3 datasets without numbers ('nothing' the first)",)


def test_an_array_with_two_names_is_tied(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["a"] = numbers(2, 3)
        file["b"] = file["a"]
        file["c"] = numbers(2, 3)
    found = tensors(tmp_path / "m.h5")
    assert found["a"].storage == found["b"].storage != found["c"].storage


def test_a_file_within_an_archive_may_be_compressed(tmp_path):
    w = numbers(30, 40)
    archive(tmp_path / "m.keras", {"layers/dense": [w]}, model(("Dense", "a", {})), packing=zipfile.ZIP_DEFLATED)
    found = tensors(tmp_path / "m.keras")["a/kernel"]
    check(found, w, Hint("linear"))
    assert found.whole


def test_a_compressed_archive_is_inflated_once_for_all_its_tensors(tmp_path, monkeypatch):
    layers = {f"layers/dense_{i}": [numbers(30, 40)] for i in range(5)}
    config = model(*[("Dense", f"a{i}", {}) for i in range(5)])
    archive(tmp_path / "m.keras", layers, config, packing=zipfile.ZIP_DEFLATED)
    opened = []
    monkeypatch.setattr(Deflated, "open", counted(Deflated.open, opened))
    found = open_source(tmp_path / "m.keras").tensors
    before = len([region for region in opened if region.size > 10_000])
    arrays = [tensor.read() for tensor in found]
    np.testing.assert_array_equal(arrays, [w for (w,) in layers.values()])
    assert before == len([region for region in opened if region.size > 10_000]) == 1


def counted(function, calls):
    def count(region):
        calls.append(region)
        return function(region)

    return count


def test_a_compressed_archive_that_was_replaced_is_inflated_again(tmp_path):
    for value in (1, 2):
        w = np.full((300, 40), value, np.float32)
        archive(tmp_path / "m.keras", {"layers/dense": [w]}, model(("Dense", "a", {})), packing=zipfile.ZIP_DEFLATED)
        os.utime(tmp_path / "m.keras", (value, value))
        np.testing.assert_array_equal(tensors(tmp_path / "m.keras")["a/kernel"].read(), w)


def test_rows_that_interleave_in_the_file_are_told(tmp_path):
    w = numbers(3, 3, 4, 6)
    config = model(("Conv2D", "c", {}), ("Dense", "d", {}), ("Conv2D", "e", {}))
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        group = file.create_group("model_weights")
        legacy(group, {"c": {"c/kernel:0": w}, "d": {"d/kernel:0": w[0, 0]}})
        group.create_group("e").attrs["weight_names"] = [b"e/kernel:0"]
        group.create_dataset("e/e/kernel:0", data=w, compression="gzip")
        group.attrs["layer_names"] = [b"c", b"d", b"e"]
    found = tensors(tmp_path / "m.h5")
    assert {name: tensor.whole for name, tensor in found.items()} == {
        "c/kernel": True, "d/kernel": False, "e/kernel": True
    }  # fmt: skip


def test_a_kernel_that_cannot_be_read_has_its_shape_in_torchs_order_and_its_hint(secret):
    weights = {"kernel": numbers(3, 3, 4, 6), "bias": numbers(6)}
    written(secret, "h5", "", weights, model(("Conv2D", "c", {"strides": [1, 1]})))
    with h5py.File(secret / "m.h5", "a") as file:
        group = file["model_weights/c/c"]
        del group["kernel:0"]
        group.create_dataset("kernel:0", (3, 3, 4, 6), "f4", external=[(str(secret / "secret.raw"), 0, 864)])
    found = tensors(secret / "m.h5")["c/kernel"]
    assert found.problem
    assert (found.shape, found.hint) == ((6, 4, 3, 3), Hint("conv2d", stride=(1, 1)))


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_file_within_a_file_reads_as_its_bytes_do(packing, tmp_path):
    data = RNG.bytes(100_000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", packing) as out:
        out.writestr("before", "x" * 99)
        out.writestr("inner", data)
        out.writestr("after", "y" * 99)
    whole = LocalFile(tmp_path / "a.zip")
    region = members(whole)["inner"]
    packed = packing == zipfile.ZIP_DEFLATED
    file = Inflated(whole, region, "inner") if packed else Slice(whole, region.start, region.size, "inner")
    assert (str(file), file.name, file.size, file.stamp) == (str(whole), "inner", len(data), whole.stamp)
    assert file.beside("a.zip") == whole
    with pickle.loads(pickle.dumps(file)).open() as ours, io.BytesIO(data) as theirs:
        for offset, whence, count in [
            (5, 0, 10),
            (-7, 2, 20),
            (3, 1, 5),
            (90_000, 0, -1),
            (200_000, 0, 5),
            (0, 0, 70_000),
        ]:
            assert ours.seek(offset, whence) == theirs.seek(offset, whence)
            assert ours.read(count) == theirs.read(count)
            assert ours.tell() == theirs.tell()
        with pytest.raises(ValueError, match=r"before|negative"):
            ours.seek(-1)


# Links to elsewhere.


@pytest.fixture
def secret(tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = numbers(4, 4)
        file["deep/x"] = numbers(4, 4)
    (tmp_path / "secret.raw").write_bytes(bytes(range(256)))
    return tmp_path


def test_links_to_elsewhere_are_not_followed(secret):
    with h5py.File(secret / "m.h5", "w") as file:
        file["a"] = numbers(2, 3)
        file["external"] = h5py.ExternalLink("secret.h5", "/x")
        file["folder"] = h5py.ExternalLink("secret.h5", "/deep")
        file["soft"] = h5py.SoftLink("/folder/x")
        file["inside"] = h5py.SoftLink("/a")
    source = open_source(secret / "m.h5")
    assert [t.name for t in source.tensors] == ["a"]
    assert source.notes == ("left out: 4 links to other places, which are not followed ('external' the first)",)


def test_virtual_and_external_datasets_are_refused_by_name(secret):
    layout = h5py.VirtualLayout((4, 4), "f4")
    layout[:] = h5py.VirtualSource(str(secret / "secret.h5"), "x", (4, 4))
    with h5py.File(secret / "m.h5", "w") as file:
        file["a"] = numbers(2, 3)
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("raw", (8, 8), "f4", external=[(str(secret / "secret.raw"), 0, 256)])
    found = tensors(secret / "m.h5")
    assert found["virtual"].problem == "it is a virtual dataset, whose numbers stand in other files"
    assert found["raw"].problem == "its numbers stand in other files"
    assert found["virtual"].shape == (4, 4)
    with pytest.raises(SourceError, match="tensor 'raw' cannot be read: its numbers stand in other files"):
        found["raw"].read()


def test_links_in_the_lists_of_keras_are_not_followed(secret):
    with h5py.File(secret / "m.h5", "w") as file:
        group = file.create_group("model_weights")
        legacy(group, {"a": {"a/kernel:0": numbers(2, 3)}})
        group["b"] = h5py.ExternalLink("secret.h5", "/deep")
        group.attrs["layer_names"] = ["a", "b", "../..", "/a"]
        group["a"].attrs["weight_names"] = ["a/kernel:0", "../b/x"]
    assert [t.name for t in open_source(secret / "m.h5").tensors] == ["a/kernel"]


def test_groups_that_hold_themselves_end(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        group = file.create_group("g")
        group["x"] = numbers(2, 3)
        group["again"] = group
        group["root"] = file["/"]
    assert [t.name for t in open_source(tmp_path / "m.h5").tensors] == ["g/x"]


# Damage.


def test_numbers_that_are_not_stored_are_refused_before_memory_is_taken(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("plain", (1 << 20, 1 << 20), "f4")
        file.create_dataset("packed", (1 << 20, 1 << 20), "f4", chunks=(64, 64), compression="gzip")[0, 0] = 1
        file.create_dataset("none", (2, 2), "f4", chunks=(2, 2))
    for tensor in open_source(tmp_path / "m.h5").tensors:
        with pytest.raises(SourceError, match=r"needs \d+ bytes and \d+ are stored"):
            tensor.read()


def test_filters_that_would_load_code_are_refused(tmp_path):
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_chunk((4, 4))
    created.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
    with h5py.File(tmp_path / "m.h5", "w") as file:
        data = h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((4, 4)), created)
        data.write(h5py.h5s.ALL, h5py.h5s.ALL, numbers(4, 4))
    assert tensors(tmp_path / "m.h5")["x"].problem == "its compression, HDF5 filter 32015, is none that comes with h5py"


@pytest.mark.parametrize("config", [[], 7, None, "x", {"class_name": 3}, {"class_name": "A", "config": [[[]]]}])
def test_a_strange_configuration_is_no_reason_to_fail(config, tmp_path):
    w = numbers(4, 5)
    archive(tmp_path / "m.keras", {"layers/dense": [w]}, config)
    check(tensors(tmp_path / "m.keras")["dense/kernel"], w, Hint("linear"))


@pytest.mark.parametrize("value", [7, 1.5, [1.0, 2.0], np.zeros(3, [("a", "f4")]), h5py.Empty("f4")])
def test_attributes_of_keras_that_are_no_text_are_not_read(value, tmp_path):
    w = numbers(4, 5)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = value
        legacy(file, {"a": {"a/kernel:0": w}})
        file.attrs["layer_names"] = file["a"].attrs["weight_names"] = value
    check(tensors(tmp_path / "m.h5")["a/kernel"], w, Hint("linear"))


@pytest.mark.parametrize("groups", [0, -1, 3, "2", 1.0, True, None, [2]])
def test_impossible_groups_are_no_hint(groups, tmp_path):
    w = numbers(3, 3, 4, 8)
    archive(tmp_path / "m.keras", {"layers/conv2d": [w]}, model(("Conv2D", "c", {"groups": groups})))
    check(tensors(tmp_path / "m.keras")["c/kernel"], w)


@pytest.mark.parametrize("text", [b"{", b"\xff", b"[" * 100_000, b"NaN1"])
def test_a_damaged_configuration_is_one_line(text, tmp_path):
    with h5py.File(io.BytesIO(), "w") as file:
        file["x"] = 1
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as out:
        out.writestr("config.json", text)
        out.writestr("model.weights.h5", b"")
    with pytest.raises(SourceError, match=r"config\.json cannot be read"):
        read_keras(LocalFile(tmp_path / "m.keras"), members(LocalFile(tmp_path / "m.keras")))


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["x"] = numbers(2, 3)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(SourceError, match=r"pip install 'heavytail\[keras\]'"):
        read_hdf5(LocalFile(tmp_path / "m.h5"))


def small(folder, text=np.bytes_):
    """A small file with one of everything; its configuration stands in a heap if `text` is str."""
    path = folder / "small.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = text(json.dumps(model(("Dense", "a", {}), ("Conv2D", "c", {"groups": 2}))))
        group = file.create_group("model_weights")
        legacy(group, {"a": {"a/kernel:0": numbers(6, 7)}, "c": {"c/kernel:0": numbers(3, 3, 2, 4)}})
        group.create_dataset("a/a/packed", data=numbers(9, 9), compression="gzip", shuffle=True, fletcher32=True)
        file["optimizer_weights/x"] = numbers(3)
    return path


def mutants(data, count, head):
    rng = np.random.default_rng(7)
    for _ in range(count):
        changed = bytearray(data)
        for _ in range(rng.integers(1, 5)):
            at = rng.integers(0, min(head, len(changed)))
            new = (
                rng.bytes(rng.integers(1, 9))
                if rng.random() < 0.5
                else rng.choice([b"\0", b"\xff" * 8, b"\1", b"\x7f"])
            )
            changed[at : at + len(new)] = new
        yield bytes(changed)


def test_a_heap_that_the_library_would_never_return_from_is_refused(tmp_path):
    path = small(tmp_path, str)
    data = bytearray(path.read_bytes())
    start = data.index(b"GCOL")
    at, size = start + 16, int.from_bytes(data[start + 8 : start + 16], "little")
    while data[at] or data[at + 1]:  # the free space is object 0
        at += 16 + -(-int.from_bytes(data[at + 8 : at + 16], "little") // 8) * 8
        assert at < start + size
    data[at + 8 : at + 16] = bytes(8)
    path.write_bytes(data)
    with pytest.raises(SourceError, match=f"its HDF5 heap at byte {start} has an object of 0 bytes"):
        open_source(path)


@pytest.mark.parametrize("step", [1, 3, 64, 5000])
def test_a_damaged_heap_is_seen_however_it_is_read(step):
    heap = b"GCOL\1\0\0\0" + (64).to_bytes(8, "little") + bytes(48)
    good = bytearray(b"x" * 50 + heap + b"y" * 50)
    good[50 + 16 + 8] = 48  # the free space is all that follows the header
    bad = bytes(good[:74]) + b"\0" + bytes(good[75:])
    stream = GuardedStream("f", io.BytesIO(good))
    assert b"".join(iter(lambda: stream.read(step), b"")) == good
    stream = GuardedStream("f", io.BytesIO(bad))
    with pytest.raises(SourceError, match="f: damaged, its HDF5 heap at byte 50"):
        list(iter(lambda: stream.read(step), b""))


def nested_heaps(count, objects):
    """Heaps of which each one but the last holds all that follow, the last one's objects included."""
    size = 32 * count + 16 * objects
    heads = []
    for at in range(0, 32 * count, 32):
        jump = 32 * count - at - 32  # the first object leads past the heads of the others
        heads += [b"GCOL\1\0\0\0", (size - at).to_bytes(8, "little"), b"\1" + bytes(7), jump.to_bytes(8, "little")]
    return b"".join(heads) + (b"\1" + bytes(15)) * objects


def test_heaps_that_overlap_do_not_keep_a_reader_busy():
    data = nested_heaps(1000, 10_000)
    began = time.process_time()
    with pytest.raises(SourceError, match="f: damaged, its HDF5 heaps overlap"):
        GuardedStream("f", io.BytesIO(data)).read(32_000)
    assert time.process_time() - began < 1  # one by one they take ten million steps


def test_a_heap_that_is_read_again_and_again_is_walked_once():
    data = nested_heaps(1, 1000)
    stream = GuardedStream("f", io.BytesIO(data))
    for _ in range(50):
        stream.seek(0)
        assert stream.read() == data


def test_widths_that_no_writer_uses_are_refused(tmp_path):
    path = small(tmp_path)
    data = bytearray(path.read_bytes())
    data[13] = 4
    path.write_bytes(data)
    with pytest.raises(SourceError, match="offsets and lengths of 4 and 8 bytes; 8 are expected"):
        open_source(path)


@dataclass(frozen=True)
class Cut:
    """A file whose connection breaks past a byte."""

    file: LocalFile
    at: int

    def __str__(self):
        return str(self.file)

    @property
    def size(self):
        return self.file.size

    def open(self):
        return _CutStream(self.file.path.read_bytes(), self.at)


class _CutStream(io.BytesIO):
    def __init__(self, data, at):
        super().__init__(data)
        self.at = at

    def read(self, count=-1):
        data = super().read(count)
        if self.tell() > self.at:
            raise ConnectionResetError(104, "Connection reset by peer")
        return data


def test_a_connection_that_breaks_is_one_line(tmp_path):
    file = LocalFile(small(tmp_path))
    assert read_hdf5(Cut(file, file.size))[0]
    for at in (10, 100, 2000, 5000):
        with pytest.raises(SourceError, match="reset by peer") as error:
            read_hdf5(Cut(file, at))
        assert str(error.value).startswith(str(file))


def test_a_file_cut_anywhere_is_refused_or_read(tmp_path):
    data = small(tmp_path).read_bytes()
    path = tmp_path / "cut.h5"
    outcomes = []
    for end in [*range(8, 600, 37), *range(600, len(data), 997), len(data) - 1]:
        path.write_bytes(data[:end])
        outcomes.append(isinstance(opened(path), SourceError))
    assert all(outcomes)


def test_a_changed_file_is_refused_or_read(tmp_path):
    data = small(tmp_path).read_bytes()
    path = tmp_path / "mutant.h5"
    outcomes = set()
    for mutant in mutants(data, 300, len(data)):
        path.write_bytes(mutant)
        outcomes.add(isinstance(opened(path), SourceError))
    assert outcomes == {True, False}


def test_a_changed_archive_is_refused_or_read(tmp_path):
    layers = {"layers/dense": [numbers(5, 6)], "layers/lstm/cell": [numbers(5, 8), numbers(2, 8), numbers(8)]}
    archive(tmp_path / "m.keras", layers, model(("Dense", "a", {}), ("LSTM", "l", {})))
    data = (tmp_path / "m.keras").read_bytes()
    path = tmp_path / "mutant.keras"
    outcomes = set()
    for mutant in mutants(data, 300, len(data)):
        path.write_bytes(mutant)
        outcomes.add(isinstance(opened(path), SourceError))
    assert outcomes == {True, False}
