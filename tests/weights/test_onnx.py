import pickle
import time
import tracemalloc
import warnings

import numpy as np
import pytest
from models import model as package_file
from weights.cases import opened

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from weights.onnx_models import array, constant, graph, initializer, model, node, saved  # noqa: E402

from heavytail.errors import SourceError  # noqa: E402
from heavytail.weights.layout import plan  # noqa: E402
from heavytail.weights.source import open_source  # noqa: E402
from heavytail.weights.tensor import Hint  # noqa: E402

SHAPES = ((), (1,), (7,), (0,), (0, 3), (3, 0), (5, 4), (1, 6), (4, 3, 2), (2, 3, 1, 2))
TYPES = (
    "FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "INT8", "UINT8", "INT16", "UINT16", "INT32", "INT64", "UINT32", "UINT64",
    "BOOL", "COMPLEX64", "COMPLEX128", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ",
)  # fmt: skip


def matrices(source):
    """The rows of a source: the tensor, the rows of it that make a block, the part."""
    return [(item.tensor, item.rows, part) for item in plan(open_source(source).tensors) for part in item.parts]


def tensors(path):
    return {tensor.name: tensor for tensor in open_source(path).tensors}


def same(tensor, expected):
    """Compare shape, type and every byte, in blocks of several heights."""
    assert tensor.problem is None
    assert tensor.shape == expected.shape
    assert tensor.dtype == expected.dtype.name
    for rows in (1, 2, 3, 1000):
        blocks = list(tensor.blocks(rows))
        if tensor.shape:
            assert all(len(block) <= rows for block in blocks)
            assert all(block.shape[1:] == tensor.shape[1:] for block in blocks)
        assert all(block.dtype == expected.dtype for block in blocks)
        assert b"".join(np.ascontiguousarray(b).tobytes() for b in blocks) == np.ascontiguousarray(expected).tobytes()


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("kind", TYPES)
def test_every_type_and_shape_comes_back_byte_for_byte(kind, raw, tmp_path):
    number = getattr(TensorProto, kind)
    dtype = helper.tensor_dtype_to_np_dtype(number)
    protos = []
    for shape in SHAPES:
        values = np.random.default_rng(1).integers(-3 if np.dtype(dtype).kind in "ifc" else 0, 4, shape).astype(dtype)
        content = values.tobytes() if raw else values.reshape(-1)
        protos.append(helper.make_tensor(f"t{shape}", number, shape, content, raw=raw))
    found = tensors(saved(tmp_path, [], protos))
    assert list(found) == [proto.name for proto in protos]
    for proto in protos:
        same(found[proto.name], numpy_helper.to_array(proto))


def test_numbers_that_are_not_packed_are_read(tmp_path):
    # A writer may put each number of a repeated field behind a tag of its own.
    floats = b"".join(b"\x25" + np.float32(v).tobytes() for v in (1.5, -2, 3))
    whole = b"\x08\x03\x10\x01\x42\x01w" + floats
    graph_bytes = b"\x2a" + bytes([len(whole)]) + whole
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x08\x08\x3a" + bytes([len(graph_bytes)]) + graph_bytes)
    expected = numpy_helper.to_array(onnx.load(path).graph.initializer[0])
    same(tensors(path)["w"], expected)


def test_a_long_list_is_decoded_in_pieces(tmp_path):
    values = np.random.default_rng(0).integers(-(1 << 31), 1 << 31, (500, 700)).astype(np.int32)
    proto = TensorProto(name="w", dims=values.shape, data_type=6, int32_data=values.reshape(-1).tolist())
    path = saved(tmp_path, [], [proto])
    assert path.stat().st_size > 2 << 20
    assert np.array_equal(tensors(path)["w"].read(), values)


@pytest.mark.parametrize("kind", ["STRING", "INT4", "FLOAT4E2M1", "FLOAT8E8M0"])
def test_a_type_without_numbers_of_its_own_is_a_problem_of_the_tensor(kind, tmp_path):
    values = [b"a"] * 4 if kind == "STRING" else [1, 2, 1, 2]
    path = saved(tmp_path, [], [helper.make_tensor("t", getattr(TensorProto, kind), (2, 2), values)])
    tensor = tensors(path)["t"]
    assert "cannot be read as numbers" in tensor.problem or "needs scales" in tensor.problem
    with pytest.raises(SourceError, match="tensor 't' cannot be read"):
        tensor.read()


def test_tensors_can_be_sent_to_another_process(tmp_path):
    listed = helper.make_tensor("listed", TensorProto.INT32, (2, 2), [1, -2, 3, -4])
    path = saved(tmp_path, [], [initializer("w", array(4, 3)), listed])
    for tensor in open_source(path).tensors:
        assert np.array_equal(pickle.loads(pickle.dumps(tensor)).read(), tensor.read())


# Where weights stand.


def test_constant_nodes_hold_weights_under_the_names_of_their_outputs(tmp_path):
    w = array(5, 4)
    path = saved(tmp_path, [constant("w", w), node("MatMul", ["x", "w"])])
    same(tensors(path)["w"], w)


def bodies(then, other, **attributes):
    branch = {"then_branch": then, "else_branch": other}
    return node("If", ["c"], ["y"], **branch, **attributes)


def test_weights_in_the_bodies_of_if_loop_and_scan_are_found_at_any_depth(tmp_path):
    w = [array(3, 4, seed=i) for i in range(4)]
    inner = bodies(
        graph([constant("a", w[0]), node("MatMul", ["x", "a"])], name="t", inputs=()),
        graph([node("MatMul", ["x", "b"])], [initializer("b", w[1])], name="e", inputs=()),
        name="inner",
    )
    loop = node("Loop", ["n", "c", "x"], ["z"], name="loop", body=graph([inner], name="body", inputs=("i", "k", "x")))
    scan = graph([node("MatMul", ["s", "d"], ["t"])], [initializer("d", w[3])], "scan", ("s",), ("t",))
    last = node("Scan", ["z"], ["y"], name="scan", body=scan, num_scan_inputs=1)
    path = saved(tmp_path, [loop, last], [initializer("c", w[2])])
    found = tensors(path)
    assert list(found) == ["c", "b", "a", "d"]  # attributes are written in alphabetical order
    for name, expected in zip("abcd", (w[0], w[1], w[2], w[3]), strict=True):
        same(found[name], expected)
    assert found["a"].hint == found["b"].hint == found["d"].hint == Hint("linear")


def test_names_that_stand_in_several_graphs_are_preceded_by_their_paths(tmp_path):
    first, second = array(3, 4), array(3, 4, seed=1)
    branch = [node("MatMul", ["x", "w"])]
    choice = bodies(
        graph(branch, [initializer("w", first)], inputs=()),
        graph(branch, [initializer("w", second)], inputs=()),
        name="choice",
    )
    found = tensors(saved(tmp_path, [choice]))
    assert list(found) == ["choice.else_branch/w", "choice.then_branch/w"]
    same(found["choice.then_branch/w"], first)
    same(found["choice.else_branch/w"], second)


def test_the_same_name_in_many_functions_of_one_name_is_made_unique_quickly(tmp_path):
    def function(i):
        return helper.make_function("own", "f", [], ["y"], [constant("w", array(2, 2, seed=i))], [])

    found = tensors(saved(tmp_path, [], [initializer("f/w#2", array(2))], functions=[function(i) for i in range(3000)]))
    assert len(found) == 3001
    same(found["f/w"], array(2, 2, seed=0))
    same(found["f/w#3"], array(2, 2, seed=1))
    same(found["f/w#3001"], array(2, 2, seed=2999))


def test_functions_that_multiply_the_uses_of_a_tensor_are_refused_in_seconds(tmp_path):
    body = [node("Add", ["v", "v"], [f"y{i}"]) for i in range(3000)]
    function = helper.make_function("own", "f", ["v"], ["y0"], body, [helper.make_opsetid("", 21)])
    calls = [helper.make_node("f", [f"w{i}"], [f"z{i}"], domain="own") for i in range(3000)]
    path = saved(tmp_path, calls, [initializer(f"w{i}", array(2, 2)) for i in range(3000)], functions=[function])
    assert "called too often" in str(opened(path))


def test_weights_of_functions_are_found_and_those_given_to_them_are_followed(tmp_path):
    body = [constant("own", array(4, 3)), node("Transpose", ["v"], ["vt"]), node("MatMul", ["x", "vt"], ["h"]),
            node("MatMul", ["h", "own"], ["y"])]  # fmt: skip
    function = helper.make_function("own", "Block", ["x", "v"], ["y"], body, [helper.make_opsetid("", 21)])
    call = helper.make_node("Block", ["x", "w"], ["y"], domain="own")
    found = tensors(saved(tmp_path, [call], [initializer("w", array(4, 5))], functions=[function]))
    assert list(found) == ["w", "own"]
    assert [t.hint for t in found.values()] == [Hint("linear")] * 2


@pytest.mark.parametrize("table", [False, True])
def test_a_sparse_initializer_is_read_as_the_whole(table, tmp_path):
    dense = np.zeros((6, 5), np.float32)
    dense[[0, 2, 5], [1, 4, 0]] = [1.5, -2, 3]
    at = np.argwhere(dense) if table else np.flatnonzero(dense)
    values = initializer("s", dense[dense != 0])
    sparse = helper.make_sparse_tensor(values, initializer("", at.astype(np.int64)), dense.shape)
    found = tensors(saved(tmp_path, [node("MatMul", ["x", "s"])], sparse=[sparse]))
    same(found["s"], dense)
    assert found["s"].hint == Hint("linear")


def test_a_sparse_tensor_far_larger_than_what_is_stored_is_refused_by_name(tmp_path):
    sparse = helper.make_sparse_tensor(
        initializer("s", np.ones(1, np.float32)), initializer("", np.zeros(1, np.int64)), (1 << 20, 1 << 20)
    )
    found = tensors(saved(tmp_path, [node("MatMul", ["x", "s"])], sparse=[sparse]))["s"]
    assert "1 of 1099511627776 numbers stored" in found.problem
    assert found.hint == Hint("linear")


def test_the_same_bytes_are_the_same_storage_and_others_are_not(tmp_path):
    path = external(tmp_path, [("a", array(3, 4)), ("b", array(3, 4))])
    proto = onnx.load(path, load_external_data=False)
    proto.graph.initializer.append(proto.graph.initializer[0])
    proto.graph.initializer[2].name = "tied"
    path.write_bytes(proto.SerializeToString())
    a, b, tied = open_source(path).tensors
    assert a.storage == tied.storage != b.storage


# External data.


def external(folder, named, location="m.data"):
    path = folder / "m.onnx"
    nodes = [node("MatMul", ["x", name], [f"y{name}"]) for name, _ in named]
    proto = model(nodes, [initializer(name, values) for name, values in named])
    onnx.save_model(proto, path, save_as_external_data=True, location=location, size_threshold=0)
    return path


def test_external_data_is_read_where_it_stands(tmp_path):
    weights = {name: array(6, 5, seed=i) for i, name in enumerate("abc")}
    found = tensors(external(tmp_path, list(weights.items())))
    assert list(found) == list("abc")
    for name, expected in weights.items():
        same(found[name], expected)
        assert found[name].origin == str(tmp_path / "m.data")


def test_the_files_beside_the_model_that_its_numbers_depend_on_are_told(tmp_path):
    path = external(tmp_path, [("a", array(6, 5)), ("b", array(6, 5))])
    source = open_source(path)
    assert [[file.name for file in tensor.files] for tensor in source.tensors] == [["m.data"]] * 2
    assert [file.name for file in source.opened] == ["m.onnx", "m.data"]
    before = [file.stamp for file in source.opened]
    (tmp_path / "m.data").write_bytes(bytes(240))  # and the model itself stays as it is
    assert [file.stamp == stamp for file, stamp in zip(open_source(path).opened, before, strict=True)] == [True, False]


def test_the_files_of_a_sparse_tensor_are_told(tmp_path):
    at, values = np.array([1, 4], np.int64), np.array([1.5, -2], np.float32)
    (tmp_path / "v.bin").write_bytes(values.tobytes())
    (tmp_path / "i.bin").write_bytes(at.tobytes())
    parts = [initializer("s", values), initializer("", at)]
    for part, name in zip(parts, ("v.bin", "i.bin"), strict=True):
        part.ClearField("raw_data")
        part.data_location = TensorProto.EXTERNAL
        part.external_data.add(key="location", value=name)
    sparse = helper.make_sparse_tensor(*parts, (2, 3))
    found = tensors(saved(tmp_path, [node("MatMul", ["x", "s"])], sparse=[sparse]))["s"]
    same(found, np.array([[0, 1.5, 0], [0, -2, 0]], np.float32))
    assert [file.name for file in found.files] == ["v.bin", "i.bin"]
    assert (found.origin, found.whole) == (str(tmp_path / "v.bin"), True)


@pytest.mark.parametrize("listed", [False, True])
def test_a_turned_or_a_listed_tensor_is_read_as_a_whole(listed, tmp_path):
    w = array(3, 2, 5, 4)
    proto = (
        helper.make_tensor("w", TensorProto.INT32, w.shape, w.astype(int).ravel()) if listed else initializer("w", w)
    )
    assert bool(proto.int32_data) == listed
    nodes = [node("Transpose", ["w"], ["t"], perm=[3, 2, 0, 1]), node("Conv", ["x", "t"])]
    assert tensors(saved(tmp_path, nodes, [proto]))["w"].whole
    assert tensors(saved(tmp_path, [node("Conv", ["x", "w"])], [proto]))["w"].whole == listed


def test_the_gates_of_any_container_have_the_names_of_torch(tmp_path):
    import torch

    order = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}  # torch's gates in the order of ONNX
    for op, places in order.items():
        layer = getattr(torch.nn, op)(5, 7)
        known = {name: value.detach().numpy() for name, value in layer.named_parameters() if "weight" in name}
        moved = [np.concatenate([np.split(value, len(places))[i] for i in places]) for value in known.values()]
        given = [initializer(name, value[None]) for name, value in zip(known, moved, strict=True)]
        path = saved(tmp_path, [node(op, ["x", *known], hidden_size=7)], given)
        assert gates(path) == gates(layer)


def gates(source):
    """The numbers of each gate under the name of its row."""
    return {part.name: rows_of(tensor, rows, part).tolist() for tensor, rows, part in matrices(source)}


def rows_of(tensor, rows, part):
    return part.stack(list(tensor.blocks(rows))[part.block])[0]


def test_external_data_may_stand_in_a_folder_below(tmp_path):
    (tmp_path / "sub").mkdir()
    path = external(tmp_path, [("a", array(3, 4))], "sub/m.data")
    same(tensors(path)["a"], array(3, 4))


def changed(path, **entries):
    proto = onnx.load(path, load_external_data=False)
    for entry in proto.graph.initializer[0].external_data:
        entry.value = entries.get(entry.key, entry.value)
    path.write_bytes(proto.SerializeToString())
    return str(opened(path))


@pytest.mark.parametrize(
    "location", ["../m.data", "a/../../m.data", "/etc/passwd", "", "..\\m.data", "C:m.data", "m.data\0"]
)
def test_external_data_out_of_the_folder_is_refused(location, tmp_path):
    text = changed(external(tmp_path, [("a", array(3, 4))]), location=location)
    assert "is not a path within its folder" in text


LIES = {
    "offset past the end": ({"offset": "40"}, "keeps tensor 'a' up to byte 88 of 'm.data', which has 48 bytes"),
    "a huge offset": ({"offset": "9" * 19}, "of 'm.data', which has 48 bytes"),
    "a negative offset": ({"offset": "-4"}, "has the offset and length"),
    "no number": ({"offset": "1e3"}, "has the offset and length"),
    "another length": ({"length": "44"}, "has 44 bytes; float32 of shape [3, 4] needs 48"),
    "another file": ({"location": "other.data"}, "'other.data', which is missing"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_on_external_data_is_one_clear_line(lie, tmp_path):
    entries, expected = LIES[lie]
    assert expected in changed(external(tmp_path, [("a", array(3, 4))]), **entries)


@pytest.mark.parametrize("inside", [True, False])
def test_a_tall_tensor_keeps_one_block_in_memory(inside, tmp_path):
    values = np.ones((200_000, 16), np.float32)
    path = saved(tmp_path, [], [initializer("w", values)]) if inside else external(tmp_path, [("w", values)])
    tracemalloc.start()
    tensor = open_source(path).tensors[0]
    total = sum(float(np.sum(block)) for block in tensor.blocks(1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == values.size
    assert peak < 4 * 1000 * 16 * 4 + 400_000


# What the graph tells.


def hinted(folder, nodes, **weights):
    return tensors(saved(folder, nodes, [initializer(name, values) for name, values in weights.items()]))


@pytest.mark.parametrize(
    ("op", "shape", "attributes", "expected"),
    [
        ("Conv", (8, 4, 3), {}, Hint("conv1d", 1, False, (1,))),
        ("Conv", (8, 4, 3, 3), {"strides": [2, 1]}, Hint("conv2d", 1, False, (2, 1))),
        ("Conv", (8, 1, 3, 3), {"group": 8}, Hint("conv2d", 8, False, (1, 1))),
        ("Conv", (8, 4, 3, 3, 3), {}, Hint("conv3d", 1, False, (1, 1, 1))),
        ("ConvTranspose", (8, 2, 3, 3), {"group": 4}, Hint("conv2d", 4, True, (1, 1))),
        ("Gemm", (8, 4), {"transB": 1}, Hint("linear")),
        ("MatMul", (8, 4), {}, Hint("linear")),
        ("Conv", (8, 4, 3, 3), {"group": 3}, None),
        ("Conv", (8, 4), {}, None),
    ],
)
def test_a_node_tells_what_its_weight_is(op, shape, attributes, expected, tmp_path):
    found = hinted(tmp_path, [node(op, ["x", "w"], **attributes)], w=array(*shape))["w"]
    assert (found.hint, found.shape) == (expected, shape)


def test_a_table_that_is_looked_up_is_an_embedding_even_if_it_is_the_last_layer_too(tmp_path):
    nodes = [node("Gather", ["w", "x"], ["h"]), node("Transpose", ["w"], ["wt"]), node("MatMul", ["h", "wt"], ["y"])]
    assert hinted(tmp_path, nodes, w=array(9, 4))["w"].hint == Hint("embedding")


def test_a_kernel_that_convolutions_share_has_no_stated_stride_if_theirs_differ(tmp_path):
    nodes = [node("Conv", ["x", "w"], ["h"], strides=[2]), node("Conv", ["h", "w"], ["y"], strides=[4])]
    assert hinted(tmp_path, nodes, w=array(8, 8, 4))["w"].hint == Hint("conv1d", 1, False, ())


def test_a_use_is_followed_through_steps_that_keep_the_numbers(tmp_path):
    nodes = [node("Cast", ["w"], ["a"], to=1), node("Identity", ["a"], ["b"]), node("Transpose", ["b"], ["c"]),
             node("Gemm", ["x", "c"])]  # fmt: skip
    assert hinted(tmp_path, nodes, w=array(8, 4, dtype=np.float16))["w"].hint == Hint("linear")


def test_a_weight_of_the_main_graph_is_followed_into_a_branch(tmp_path):
    branch = graph([node("Conv", ["x", "w"], strides=[2])], inputs=())
    choice = bodies(branch, graph([node("Identity", ["x"])], inputs=()))
    assert hinted(tmp_path, [choice], w=array(8, 4, 3))["w"].hint == Hint("conv1d", 1, False, (2,))


def test_a_kernel_in_another_order_of_axes_is_seen_in_the_order_of_the_convolution(tmp_path):
    w = array(3, 5, 4, 8)  # (k, k, in, out), as TensorFlow has it
    nodes = [node("Transpose", ["w"], ["t"], perm=[3, 2, 0, 1]), node("Conv", ["x", "t"])]
    found = hinted(tmp_path, nodes, w=w)["w"]
    same(found, w.transpose(3, 2, 0, 1))
    assert found.hint == Hint("conv2d", 1, False, (1, 1))


def test_a_product_s_leading_axes_of_length_one_are_left_out(tmp_path):
    w = array(1, 1, 6, 5)
    found = hinted(tmp_path, [node("MatMul", ["x", "w"])], w=w)["w"]
    same(found, w[0, 0])
    assert found.hint == Hint("linear")


@pytest.mark.parametrize(
    ("equation", "shape", "seen"),
    [
        ("abc,cde->abde", (6, 3, 4), (6, 12)),  # a head's queries from the features
        ("abde, dec -> abc", (3, 4, 6), (12, 6)),
        ("abde,cde->abc", (6, 3, 4), (6, 12)),
        ("bij,bjk->bik", (5, 3, 4), None),  # a matrix for each b
        ("abc,dce->abde", (6, 3, 4), None),
    ],
)
def test_an_einsum_s_tensor_is_the_matrix_that_its_equation_says(equation, shape, seen, tmp_path):
    w = array(*shape)
    found = hinted(tmp_path, [node("Einsum", ["x", "w"], equation=equation)], w=w)["w"]
    same(found, w.reshape(seen or shape))
    assert found.hint == (Hint("linear") if seen else None)


def test_a_stack_of_matrices_stays_a_stack_and_a_single_one_is_a_matrix_however_it_is_reshaped(tmp_path):
    nodes = [node("Squeeze", ["one"], ["a"]), node("MatMul", ["x", "a"], ["b"]), node("MatMul", ["b", "many"], ["c"]),
             node("Reshape", ["cut", "shape"], ["d"]), node("MatMul", ["c", "d"])]  # fmt: skip
    found = hinted(tmp_path, nodes, one=array(1, 6, 5), many=array(2, 2, 5, 4), cut=array(2, 3, 4))
    assert [(t.shape, t.hint) for t in found.values()] == [
        ((6, 5), Hint("linear")), ((4, 5, 4), None), ((2, 3, 4), None)
    ]  # fmt: skip


def test_what_nothing_multiplies_by_is_a_vector_if_only_one_axis_is_long(tmp_path):
    bias, gain, table = array(1, 6), array(1, 6, 1, 1), array(7, 6)
    nodes = [node("Add", ["x", "bias"], ["a"]), node("Mul", ["a", "gain"], ["b"]), node("Add", ["b", "table"])]
    found = hinted(tmp_path, nodes, bias=bias, gain=gain, table=table)
    same(found["bias"], bias.reshape(-1))
    same(found["gain"], gain)
    same(found["table"], table)
    assert [item.status for item in plan(found.values())] == ["skipped", "skipped", "ok"]
    assert all(tensor.hint is None for tensor in found.values())


@pytest.mark.parametrize(("op", "gates"), [("LSTM", "iofg"), ("GRU", "zrn"), ("RNN", "")])
@pytest.mark.parametrize("directions", [1, 2])
def test_recurrent_weights_are_one_tensor_for_each_direction_and_gates_are_named(op, gates, directions, tmp_path):
    count, hidden, into = len(gates) or 1, 5, 3
    w, r = array(directions, count * hidden, into), array(directions, count * hidden, hidden, seed=1)
    b = array(directions, 2 * count * hidden, seed=2)
    direction = "forward" if directions == 1 else "bidirectional"
    found = hinted(tmp_path, [node(op, ["x", "w", "r", "b"], hidden_size=hidden, direction=direction)], w=w, r=r, b=b)
    endings = [""] if directions == 1 else [".forward", ".reverse"]
    assert list(found) == [n + e for n in "wr" for e in endings] + ["b"]
    for i, ending in enumerate(endings):
        same(found["w" + ending], w[i])
        same(found["r" + ending], r[i])
        assert found["w" + ending].hint == found["r" + ending].hint == Hint(op.lower(), gates=gates)
    same(found["b"], b.reshape(-1))
    rows = [p.name for item in plan(found.values()) for p in item.parts]
    assert rows == [n + e + g for n in "wr" for e in endings for g in ([f":{x}" for x in gates] or [""])]


def test_the_tensors_of_two_directions_are_named_differently_from_all_others(tmp_path):
    weights = {"w": array(2, 20, 3), "r": array(2, 20, 5), "w.forward": array(3, 3), "w.forward#": array(3, 3)}
    recurrent = node("LSTM", ["x", "w", "r"], hidden_size=5, direction="bidirectional")
    path = saved(tmp_path, [recurrent], [initializer(name, values) for name, values in weights.items()])
    names = [tensor.name for tensor in open_source(path).tensors]
    assert names == ["w.forward#2", "w.reverse", "r.forward", "r.reverse", "w.forward", "w.forward#"]


def test_the_initial_state_of_a_recurrent_layer_is_a_vector(tmp_path):
    state = array(2, 1, 5)
    nodes = [
        node("Expand", ["h", "shape"], ["e"]),
        node("LSTM", ["x", "w", "r", "", "", "e", "e"], hidden_size=5, direction="bidirectional"),
    ]
    found = hinted(tmp_path, nodes, h=state, w=array(2, 20, 3), r=array(2, 20, 5))
    same(found["h"], state.reshape(-1))


def test_a_module_that_torch_exports_has_the_same_matrices_as_the_module(tmp_path):
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(50, 12)
            self.conv = torch.nn.Conv1d(12, 16, 3, groups=4)
            self.up = torch.nn.ConvTranspose1d(16, 8, 4, stride=2)
            self.lstm = torch.nn.LSTM(8, 10, bidirectional=True, batch_first=True)
            self.gru = torch.nn.GRU(20, 6, batch_first=True)
            self.last = torch.nn.Linear(6, 7)

        def forward(self, x):
            x = self.up(self.conv(self.embed(x).transpose(1, 2))).transpose(1, 2)
            return self.last(self.gru(self.lstm(x)[0])[0])

    net = Net().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (torch.randint(0, 50, (1, 20)),), tmp_path / "m.onnx", dynamo=False)
    ours, theirs = (sorted(map(described, matrices(source))) for source in (tmp_path / "m.onnx", net))
    assert len(ours) == len(theirs) == 4 + 8 * 2 + 3 * 2
    for (*kind, values), (*expected, numbers) in zip(ours, theirs, strict=True):
        assert kind == expected
        assert np.allclose(values, numbers, rtol=1e-12, atol=0)


def described(item):
    """A row's kind, its sizes, and the singular values of its matrices."""
    tensor, rows, part = item
    block = list(tensor.blocks(rows or max(1, tensor.shape[0])))[part.block]
    stack = part.stack(block).astype(np.float64)
    values = np.linalg.svd(stack.reshape(-1, *stack.shape[-2:]), compute_uv=False)
    return part.kind, part.N, part.M, part.count, np.sort(values, axis=None).tolist()


def test_made_up_names_give_way_to_the_node_s_if_it_has_one(tmp_path):
    nodes = [
        node("MatMul", ["x", "onnx::MatMul_12"], ["a"], name="/query/MatMul"),
        node("Conv", ["a", "onnx::Conv_3", "onnx::Conv_4"], ["b"], name="/conv/Conv"),
        node("LSTM", ["b", "55", "56"], ["c"], name="/lstm/LSTM", hidden_size=2),
        node("MatMul", ["c", "77"], ["d"]),
        node("MatMul", ["d", "named"], ["e"], name="/other/MatMul"),
        node("MatMul", ["e", "onnx::MatMul_90"], ["f"], name="twice"),
        node("MatMul", ["f", "onnx::MatMul_91"], ["g"], name="twice"),
        node("Reshape", ["g", "onnx::Reshape_9"], name="/reshape"),
    ]
    shapes = {"onnx::MatMul_12": (3, 3), "onnx::Conv_3": (3, 3, 1), "onnx::Conv_4": (3,), "55": (1, 8, 3),
              "56": (1, 8, 2), "77": (2, 2), "named": (2, 2), "onnx::MatMul_90": (2, 2),
              "onnx::MatMul_91": (2, 2), "onnx::Reshape_9": (2,)}  # fmt: skip
    found = hinted(tmp_path, nodes, **{name: array(*shape) for name, shape in shapes.items()})
    assert list(found) == ["/query/MatMul.weight", "/conv/Conv.weight", "/conv/Conv.bias", "/lstm/LSTM.W",
                           "/lstm/LSTM.R", "77", "named", "onnx::MatMul_90", "onnx::MatMul_91",
                           "onnx::Reshape_9"]  # fmt: skip


# Damage.


def test_an_html_page_is_one_clear_line(tmp_path):
    path = tmp_path / "bvlcalexnet-9.onnx"
    path.write_text("<!DOCTYPE html>\n<html><head><title>onnx/models</title></head></html>" * 50)
    assert str(opened(path)) == f"{path}: looks like an HTML page, not a model"


HEAD = b"\x08\x08"
DAMAGE = {
    "no graph": (HEAD, "it holds no graph"),
    "two graphs": (HEAD + b"\x3a\x00" * 2, "it has two main graphs"),
    "graph is a number": (HEAD + b"\x38\x01", "in place of a message"),
    "graph is cut": (HEAD + b"\x3a\x7f", "needs 127 bytes, 0 are left"),
    "empty nodes": (HEAD + b"\x3a\x02\x0a\x00", "has no operator"),
    "empty initializers": (HEAD + b"\x3a\x02\x2a\x00", "an initializer has no name"),
    "a group": (HEAD + b"\x3b\x3c", "wire type 3"),
    "a sparse tensor of nothing": (HEAD + b"\x3a\x02\x7a\x00", "without values or indices"),
    "nothing in it": (HEAD + b"\x3a\x00", "holds no tensors"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_model_is_one_clear_line(damage, tmp_path):
    data, expected = DAMAGE[damage]
    (tmp_path / "m.onnx").write_bytes(data)
    assert expected in str(opened(tmp_path / "m.onnx"))


def test_a_million_empty_fields_take_seconds(tmp_path):
    # Names of no inputs: a node may leave out any number of them.
    entry = b"\x22\x01A" + b"\x0a\x00" * 1_000_000
    inner = b"\x0a" + onnx_varint(len(entry)) + entry
    (tmp_path / "m.onnx").write_bytes(HEAD + b"\x3a" + onnx_varint(len(inner)) + inner)
    start = time.perf_counter()
    assert "holds no tensors" in str(opened(tmp_path / "m.onnx"))
    assert time.perf_counter() - start < 30


def onnx_varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


@pytest.mark.parametrize("depth", [40, 60, 5000])
def test_deep_nesting_is_read_or_refused(depth, tmp_path):
    inner = b"\x2a" + bytes([len(w := b"\x08\x01\x10\x03\x42\x01w\x4a\x01\x05")]) + w
    for _ in range(depth):
        attribute = b"\x0a\x04body" + b"\x32" + onnx_varint(len(inner)) + inner
        step = b"\x22\x04Loop" + b"\x2a" + onnx_varint(len(attribute)) + attribute
        inner = b"\x0a" + onnx_varint(len(step)) + step
    (tmp_path / "m.onnx").write_bytes(HEAD + b"\x3a" + onnx_varint(len(inner)) + inner)
    result = opened(tmp_path / "m.onnx")
    if depth == 40:
        assert [int(t.read()[0]) for t in result.tensors] == [5]
    else:
        assert "nested more than 50 deep" in str(result)


SIZES = {
    "too few bytes": ([3, 4], "tensor 'w' has 24 bytes; float32 of shape [3, 4] needs 48"),
    "too many bytes": ([2], "tensor 'w' has 24 bytes; float32 of shape [2] needs 8"),
    "a negative size": ([-2, -3], "has a negative size"),
    "sizes that overflow": ([1 << 62, 1 << 62], None),
    "too many axes": ([1] * 40 + [6], None),
}


@pytest.mark.parametrize("lie", SIZES)
def test_a_shape_that_does_not_fit_is_one_clear_line(lie, tmp_path):
    dims, expected = SIZES[lie]
    proto = TensorProto(name="w", dims=dims, data_type=1, raw_data=bytes(24))
    result = opened(saved(tmp_path, [], [proto]))
    if expected is None:
        assert result.tensors[0].problem
    else:
        assert expected in str(result)


@pytest.mark.parametrize("count", [3, 5])
def test_a_list_of_another_length_than_stated_is_one_clear_line(count, tmp_path):
    proto = TensorProto(name="w", dims=[4], data_type=6, int32_data=[-1] * count)
    assert f"{count} numbers stand where 4 are stated" in str(opened(saved(tmp_path, [], [proto])))


def test_a_list_in_the_field_of_another_type_is_one_clear_line(tmp_path):
    proto = TensorProto(name="w", dims=[4], data_type=1, int32_data=[1] * 4)
    assert "keeps float32 in a field of another type" in str(opened(saved(tmp_path, [], [proto])))


def varied(folder):
    """A model with most of what a file may hold."""
    listed = helper.make_tensor("listed", TensorProto.FLOAT16, (2, 3), [1.0, 2, 3, 4, 5, 6])
    codes, scale, zero = array(6, 4, dtype=np.uint8), array(4), array(4, dtype=np.uint8)
    sparse = helper.make_sparse_tensor(
        initializer("s", np.ones(2, np.float32)), initializer("", np.array([1, 5], np.int64)), (3, 4)
    )
    choice = bodies(
        graph([constant("w", array(3, 4)), node("MatMul", ["x", "w"])], inputs=()),
        graph([constant("w", array(3, 4)), node("MatMul", ["x", "w"])], inputs=()),
        name="choice",
    )
    nodes = [
        choice,
        node("DequantizeLinear", ["q", "q_scale", "q_zero"], ["d"], axis=1),
        node("MatMul", ["x", "d"], ["z"]),
        node("LSTM", ["x", "W", "R"], ["l"], hidden_size=2),
        node("MatMulNBits", ["x", "n", "n_scale"], ["m"], domain="com.microsoft", K=20, N=3, bits=4, block_size=16),
    ]
    weights = {"q": codes, "q_scale": scale, "q_zero": zero, "W": array(2, 8, 3), "R": array(2, 8, 2),
               "n": array(3, 2, 8, dtype=np.uint8), "n_scale": array(6)}  # fmt: skip
    initializers = [listed, *(initializer(name, values) for name, values in weights.items())]
    return saved(folder, nodes, initializers, sparse=[sparse])


def test_a_model_cut_anywhere_is_refused(tmp_path):
    data = varied(tmp_path).read_bytes()
    path = tmp_path / "cut.onnx"
    for length in range(0, len(data), 3):
        path.write_bytes(data[:length])
        result = opened(path)
        if not isinstance(result, SourceError):  # what stands behind the graph is not needed
            assert data[length:].startswith(b"\x42")


def mutants(data, count, seed):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        changed = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(len(changed)))
            match rng.integers(5):
                case 0:
                    changed[at] ^= 1 << int(rng.integers(8))
                case 1:
                    changed[at] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF]))
                case 2:
                    changed[at:at] = rng.bytes(int(rng.integers(1, 12)))
                case 3:
                    del changed[at : at + int(rng.integers(1, 12))]
                case 4:
                    changed[at : at + 10] = b"\xff" * 9 + b"\x01"
        yield bytes(changed)


def torture(data, path, count, seed):
    outcomes = {"read": 0, "refused": 0}
    tracemalloc.start()
    for mutant in mutants(data, count, seed):
        path.write_bytes(mutant)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        outcomes["refused" if isinstance(opened(path), SourceError) else "read"] += 1
        assert tracemalloc.get_traced_memory()[1] - before < 4_000_000 + 1100 * len(mutant)
    tracemalloc.stop()
    return outcomes


def test_mutants_are_refused_or_read(tmp_path):
    outcomes = torture(varied(tmp_path).read_bytes(), tmp_path / "mutant.onnx", 250, 1)
    assert all(outcomes.values()), outcomes


@pytest.mark.slow
def test_many_mutants_are_refused_or_read(tmp_path):
    outcomes = torture(varied(tmp_path).read_bytes(), tmp_path / "mutant.onnx", 5000, 2)
    assert all(outcomes.values()), outcomes


# Real models.

SILERO = "silero_vad/data/"


@pytest.mark.parametrize(
    ("name", "count", "large"),
    [("ch_PP-OCRv4_det_infer.onnx", 64, 14), ("ch_PP-OCRv4_rec_infer.onnx", 47, 30)],
)
def test_models_with_all_weights_in_constant_nodes_have_the_published_numbers_of_matrices(name, count, large):
    path = package_file("rapidocr-onnxruntime", f"rapidocr_onnxruntime/models/{name}")
    stored = onnx.load(path).graph
    expected = {n.output[0]: numpy_helper.to_array(n.attribute[0].t) for n in stored.node if n.op_type == "Constant"}
    assert not stored.initializer
    kernels = [t for t in open_source(path).tensors if t.hint]
    assert len(kernels) == count
    assert sum(min(t.shape[:2]) >= 50 for t in kernels) == large
    for tensor in kernels:
        assert np.array_equal(tensor.read(), expected[tensor.name])


def branches(proto):
    """The large constants of silero's two branches, with the onnx package."""
    choice = next(n for n in proto.graph.node if n.op_type == "If")
    return {
        n.output[0]: numpy_helper.to_array(n.attribute[0].t)
        for a in choice.attribute
        for n in a.g.node
        if n.op_type == "Constant" and len(n.attribute[0].t.dims) > 1
    }


def test_silero_s_weights_stand_in_both_branches_and_are_two_trainings():
    path = package_file("silero-vad", SILERO + "silero_vad.onnx")
    expected = branches(onnx.load(path))
    found = tensors(path)
    assert len(expected) == 16  # seven weights and an STFT basis for each sampling rate
    for name, values in expected.items():
        same(found[name], values)
    pairs = [(v, expected[n.replace("then", "else")]) for n, v in expected.items() if "then" in n]
    assert not any(a.shape == b.shape and np.array_equal(a, b) for a, b in pairs)


def test_silero_as_torchscript_and_as_onnx_are_the_same_numbers():
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit
        state = torch.jit.load(package_file("silero-vad", SILERO + "silero_vad.jit")).state_dict()
    ours = tensors(package_file("silero-vad", SILERO + "silero_vad_16k_op15.onnx"))
    names = [name for name in ours if name.replace("model.", "_model.", 1) in state and len(ours[name].shape) > 1]
    assert len(names) >= 7
    for name in names:
        assert np.array_equal(ours[name].read(), state[name.replace("model.", "_model.", 1)].numpy())


def test_the_lstm_node_of_silero_holds_the_gates_of_torch_in_another_order():
    sequence = tensors(package_file("silero-vad", SILERO + "silero_vad_16k_sequence.onnx"))
    w = sequence["/recurrent/LSTM.W"]
    assert (w.shape, w.hint) == ((512, 128), Hint("lstm", gates="iofg"))
    rows = [part.name for *_, part in matrices(package_file("silero-vad", SILERO + "silero_vad_16k_sequence.onnx"))]
    assert [f"/recurrent/LSTM.{m}:{g}" for m in "WR" for g in "iofg"] == [r for r in rows if "LSTM" in r]


def test_every_kernel_of_basic_pitch_is_a_convolution():
    path = package_file("basic-pitch", "basic_pitch/saved_models/icassp_2022/nmp.onnx")
    expected = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    found = tensors(path)
    kernels = [t for t in found.values() if t.hint]
    assert len(kernels) == 9
    assert all(t.hint.kind == "conv2d" and np.array_equal(t.read(), expected[t.name]) for t in kernels)
