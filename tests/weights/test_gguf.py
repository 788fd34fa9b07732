import os
import pickle
import struct
import sys
import tracemalloc
import zlib

import gguf
import numpy as np
import pytest
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFEndian, LlamaFileType
from hypothesis import given
from hypothesis import strategies as st
from models import model
from weights.cases import opened

from heavytail.errors import SourceError
from heavytail.weights.formats.gguf import types as gguf_types
from heavytail.weights.source import open_source

PLAIN = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8")
QUANTIZED = [name for name in GGMLQuantizationType.__members__ if name not in PLAIN]
ROWS = (1, 2, 3, 5, 64)
G2P = {"f32": 0, "f16": 2e-4, "bf16": 1.7e-3, "q8_0": 5.3e-3, "q5_0": 0.043, "q4_0": 0.086}
SCALE = 2**-11  # a scale is rounded to half precision
LARGEST = {
    "f32": 0,
    "f16": 2**-11,
    "bf16": 2**-8,
    "q8_0": 1 / 254 + SCALE,
    "q5_0": 1 / 16 + SCALE,
    "q4_0": 1 / 8 + SCALE,
}


def decodes(name):
    """Whether the package has numbers for the type."""
    kind = GGMLQuantizationType[name]
    try:
        gguf.quants.dequantize(np.zeros((1, GGML_QUANT_SIZES[kind][1]), np.uint8), kind)
    except NotImplementedError:
        return False
    return True


DECODED = [name for name in QUANTIZED if decodes(name)]


def random_blocks(name, shape, seed=0):
    """Bytes of a tensor of `shape` with nothing but chance in them, rows along the last axis."""
    block, size = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return rng.integers(0, 256, (*shape[:-1], shape[-1] // block * size), np.uint8)


def dequantized(name, data):
    with np.errstate(all="ignore"):
        return gguf.quants.dequantize(data, GGMLQuantizationType[name])


def save(path, tensors, endian=GGUFEndian.LITTLE, arch="test", **options):
    """Write with the package: names to arrays, or to pairs of bytes and a quantised type."""
    writer = gguf.GGUFWriter(path, arch, endianess=endian, **options)
    for name, value in tensors.items():
        data, kind = value if isinstance(value, tuple) else (value, None)
        writer.add_tensor(name, data, raw_dtype=kind and GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def text(value, order="<"):
    return struct.pack(order + "Q", len(value)) + value


def pair(key, kind, value, order="<"):
    return text(key.encode(), order) + struct.pack(order + "I", kind) + value


def info(name, ne, kind, offset, order="<"):
    return text(name.encode(), order) + struct.pack(f"{order}I{len(ne)}QIQ", len(ne), *ne, kind, offset)


def by_hand(infos, data, pairs=(), *, version=3, order="<", alignment=32, tensors=None, keys=None):
    """A file from its parts, by the specification; the counts may lie."""
    counts = (len(infos) if tensors is None else tensors, len(pairs) if keys is None else keys)
    head = b"GGUF" + struct.pack(order + "IQQ", version, *counts) + b"".join(pairs) + b"".join(infos)
    return head + bytes(-len(head) % alignment) + data


def numbers(count, order="<"):
    return np.arange(count, dtype=order + "f4").tobytes()


GOOD, EIGHT = [info("x", [4, 2], 0, 0)], numbers(8)


def check(tensor, expected):
    """Compare a tensor with an array bit by bit, in blocks of several heights."""
    assert tensor.problem is None
    assert tensor.shape == expected.shape
    assert tensor.dtype == expected.dtype.name
    for rows in ROWS:
        blocks = list(tensor.blocks(rows))
        assert all(len(block) <= rows for block in blocks)
        assert b"".join(block.tobytes() for block in blocks) == np.ascontiguousarray(expected).tobytes()
    assert tensor.read().shape == expected.shape


@pytest.mark.parametrize("name", G2P)
def test_real_files_equal_the_packages_numbers_bit_by_bit(name, models):
    path = models / "formats" / f"g2p_{name}.gguf"
    theirs = gguf.GGUFReader(path).tensors
    ours = open_source(path)
    assert (ours.format, ours.files) == ("gguf", (str(path),))
    assert ours.notes == ("the file states the architecture 'llama'",)
    assert [t.name for t in ours.tensors] == [t.name for t in theirs]
    for a, b in zip(ours.tensors, theirs, strict=True):
        assert a.stored == ("" if b.tensor_type.name in PLAIN else b.tensor_type.name)
        assert (a.packed or a.nbytes) == b.n_bytes
        numbers = gguf.quants.dequantize(b.data, b.tensor_type)
        assert a.shape == numbers.shape == tuple(b.shape[::-1])
        assert a.read().astype(np.float32).tobytes() == numbers.tobytes()


@pytest.mark.parametrize("name", G2P)
def test_real_files_are_as_far_from_the_original_as_their_type_allows(name, models):
    tensors = {t.name: t for t in open_source(models / "formats" / f"g2p_{name}.gguf").tensors}
    with np.load(model("g2p-en", "g2p_en/checkpoint20.npz")) as file:
        original = {key: file[key].astype(np.float64) for key in file.files if key in tensors}
    assert {key: t.shape for key, t in tensors.items()} == {key: w.shape for key, w in original.items()}
    errors = {key: np.abs(tensors[key].read().astype(np.float64) - w) for key, w in original.items()}
    for key, error in errors.items():
        matrix = error.ndim == 2
        assert matrix or not error.any()
        # Half a step, or a whole one at the end of the range of Q4_0 and Q5_0, of 32 numbers that share a scale.
        largest = np.abs(original[key]).reshape(-1, 32).max(1).repeat(32).reshape(error.shape) if matrix else 0
        assert np.all(error <= largest * LARGEST[name])
    # The figure that was published with the files.
    distance = np.linalg.norm(errors["dec_w_ih"]) / np.linalg.norm(original["dec_w_ih"])
    assert round(distance, 3 if G2P[name] > 0.01 else 4) == G2P[name]


@pytest.mark.parametrize("shape", [(5, 512), (512,), (3, 4, 256), (2, 1, 3, 512), (1, 131072 * 2 + 256), (600, 256)])
@pytest.mark.parametrize("name", DECODED)
def test_every_quantised_type_equals_the_packages_numbers_bit_by_bit(name, shape, tmp_path):
    data = random_blocks(name, shape)
    save(tmp_path / "m.gguf", {"before": np.ones(3, np.float32), "x": (data, name)})
    _, tensor = open_source(tmp_path / "m.gguf").tensors
    assert (tensor.shape, tensor.dtype, tensor.problem) == (shape, "float32", None)
    assert (tensor.stored, tensor.packed) == (name, data.nbytes)
    assert tensor.whole == (len(shape) == 1)  # a block cannot be cut
    expected = dequantized(name, data)
    for rows in ROWS:
        blocks = list(tensor.blocks(rows))
        assert all(len(block) <= rows and block.dtype == np.float32 for block in blocks)
        np.testing.assert_array_equal(np.concatenate(blocks), expected)  # NaN equals NaN here


@given(rows=st.integers(1, 40), axes=st.lists(st.integers(1, 4), max_size=2), height=st.integers(1, 50))
def test_blocks_of_any_height_make_the_whole(rows, axes, height, tmp_path_factory):
    path = tmp_path_factory.mktemp("g") / "m.gguf"
    data = random_blocks("Q8_0", (rows, *axes, 96))
    save(path, {"x": (data, "Q8_0")})
    tensor = open_source(path).tensors[0]
    np.testing.assert_array_equal(np.concatenate(list(tensor.blocks(height))), dequantized("Q8_0", data))


def test_the_package_decodes_the_types_in_use():
    in_use = {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "MXFP4"}
    assert in_use <= set(DECODED)


def test_sizes_of_blocks_are_the_packages():
    ours = {number: (t.name, t.block, t.size) for number, t in gguf_types.TYPES.items()}
    theirs = {int(kind): (kind.name, *sizes) for kind, sizes in GGML_QUANT_SIZES.items()}
    # A block of Q8_1 has two half-precision scales in ggml; it is for sums on the way and in no file.
    assert theirs | {9: ("Q8_1", 32, 2 + 2 + 32)} == {number: ours[number] for number in theirs}


def test_names_of_file_types_are_the_packages():
    theirs = {int(t): t.name.removeprefix("ALL_").removeprefix("MOSTLY_") for t in LlamaFileType if t < 1024}
    assert theirs == gguf_types.FILE_TYPES


@pytest.mark.parametrize("name", [name for name in QUANTIZED if not decodes(name)] + ["Q4_0_4_4", "IQ4_NL_8_8"])
def test_types_that_nothing_decodes_are_a_problem_of_the_tensor(name, tmp_path):
    number, stored = next((n, t) for n, t in gguf_types.TYPES.items() if t.name == name)
    data = bytes(stored.size) + bytes(-stored.size % 32) + numbers(8)
    infos = [info("q", [stored.block, 1], number, 0), info("x", [4, 2], 0, len(data) - 32)]
    (tmp_path / "m.gguf").write_bytes(by_hand(infos, data))
    q, x = open_source(tmp_path / "m.gguf").tensors
    assert q.problem == f"its type {name} cannot be read as numbers by the installed gguf package"
    assert (q.shape, q.stored, q.packed, q.nbytes) == ((1, stored.block), name, stored.size, 0)
    with pytest.raises(SourceError, match=f"tensor 'q' cannot be read: its type {name}"):
        q.read()
    check(x, np.arange(8, dtype=np.float32).reshape(2, 4))


def test_a_type_of_the_future_is_a_problem_of_the_tensor(tmp_path):
    infos = [info("q", [100, 3], 99, 0), *GOOD]
    (tmp_path / "m.gguf").write_bytes(by_hand(infos, numbers(8)))
    q, x = open_source(tmp_path / "m.gguf").tensors
    assert (q.problem, q.shape, q.nbytes) == ("its type 99 cannot be read as numbers", (3, 100), 0)
    assert x.problem is None


def plain_arrays():
    rng = np.random.default_rng(1)
    return {
        dtype: rng.integers(-100, 100, shape).astype(dtype)
        for dtype, shape in {
            "float64": (3, 5),
            "float32": (7,),
            "float16": (2, 3, 4),
            "int64": (1, 2, 1, 3),
            "int32": (4, 1),
            "int16": (3, 3),
            "int8": (5, 2),
        }.items()
    }


@pytest.mark.parametrize("endian", GGUFEndian)
def test_plain_numbers_of_either_order_come_back(endian, tmp_path):
    arrays = plain_arrays()
    save(tmp_path / "m.gguf", {name: array.copy() for name, array in arrays.items()}, endian)
    source = open_source(tmp_path / "m.gguf")
    assert [t.name for t in source.tensors] == list(arrays)
    for tensor in source.tensors:
        assert (tensor.stored, tensor.packed) == ("", 0)
        check(tensor, arrays[tensor.name])


@pytest.mark.parametrize("order", ["<", ">"])
def test_bfloat16_of_either_order_comes_back(order, tmp_path):
    values = np.array([1.5, -2, 3e30, 0, 2**-100, 7], np.float32)  # the upper halves of float32 are bfloat16
    upper = (values.view(np.uint32) >> 16).astype(order + "u2")
    (tmp_path / "m.gguf").write_bytes(by_hand([info("x", [3, 2], 30, 0, order)], upper.tobytes(), order=order))
    tensor = open_source(tmp_path / "m.gguf").tensors[0]
    assert (tensor.dtype, tensor.stored) == ("bfloat16", "")
    expected = (upper.astype(np.uint32) << 16).view(np.float32).reshape(2, 3)
    np.testing.assert_array_equal(tensor.read().astype(np.float32), expected)


def test_big_endian_blocks_are_a_problem_of_the_tensor(tmp_path):
    save(tmp_path / "m.gguf", {"q": (random_blocks("Q8_0", (2, 64)), "Q8_0"), **plain_arrays()}, GGUFEndian.BIG)
    q, *others = open_source(tmp_path / "m.gguf").tensors
    assert q.problem == "its type Q8_0 in big-endian order cannot be read as numbers"
    assert all(t.problem is None for t in others)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [2, 3])
def test_both_versions_in_both_orders(version, order, tmp_path):
    data = by_hand([info("x", [4, 2], 0, 0, order)], numbers(8, order), version=version, order=order)
    (tmp_path / "m.gguf").write_bytes(data)
    check(open_source(tmp_path / "m.gguf").tensors[0], np.arange(8, dtype=np.float32).reshape(2, 4))


@pytest.mark.parametrize("alignment", [1, 8, 64, 4096])
def test_the_alignment_of_the_file_holds(alignment, tmp_path):
    pairs = [pair("general.alignment", 4, struct.pack("<I", alignment))]
    second = -(-32 // alignment) * alignment
    data = (numbers(8) + bytes(second - 32)) + numbers(3)
    infos = [*GOOD, info("y", [3], 0, second)]
    (tmp_path / "m.gguf").write_bytes(by_hand(infos, data, pairs, alignment=alignment))
    assert [t.data.tolist() for t in gguf.GGUFReader(tmp_path / "m.gguf").tensors] == [
        [[0, 1, 2, 3], [4, 5, 6, 7]],
        [0, 1, 2],
    ]
    x, y = open_source(tmp_path / "m.gguf").tensors
    check(x, np.arange(8, dtype=np.float32).reshape(2, 4))
    check(y, np.arange(3, dtype=np.float32))


def array(kind, *values, count=None, order="<"):
    return struct.pack(order + "IQ", kind, len(values) if count is None else count) + b"".join(values)


def every_value(order="<"):
    """A pair of every type of value, arrays of arrays included."""
    number = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
    packed = {kind: struct.pack(order + code, 1) for kind, code in number.items()}
    words = array(8, text(b"", order), text("ä".encode(), order), text(b"\xff" * 70_000, order), order=order)
    deep = array(9, words, array(9, array(5, order=order), order=order), array(3, packed[3] * 3, count=3, order=order))
    pairs = [pair(f"n{kind}", kind, value, order) for kind, value in packed.items()]
    pairs += [pair(f"a{k}", 9, array(k, v * 5, count=5, order=order), order) for k, v in packed.items()]
    pairs += [pair("words", 9, words, order), pair("long", 8, text(b"x" * 300_000, order), order)]
    return [*pairs, pair("binary", 8, text(b"\xff\xfe", order), order)], deep


@pytest.mark.parametrize("order", ["<", ">"])
def test_values_of_every_type_are_passed_over(order, tmp_path):
    pairs, _ = every_value(order)
    pairs.append(pair("general.architecture", 8, text(b"test", order), order))
    (tmp_path / "m.gguf").write_bytes(by_hand([info("x", [4, 2], 0, 0, order)], numbers(8, order), pairs, order=order))
    source = open_source(tmp_path / "m.gguf")
    assert source.notes == ("the file states the architecture 'test'",)
    check(source.tensors[0], np.arange(8, dtype=np.float32).reshape(2, 4))


def test_arrays_in_arrays_are_passed_over(tmp_path):
    pairs, deep = every_value()
    (tmp_path / "m.gguf").write_bytes(by_hand(GOOD, numbers(8), [pair("deep", 9, deep), *pairs]))
    check(open_source(tmp_path / "m.gguf").tensors[0], np.arange(8, dtype=np.float32).reshape(2, 4))


def test_a_vocabulary_takes_no_memory(tmp_path):
    words = [text(b"a long word, number %d" % i) for i in range(300_000)]
    data = by_hand(GOOD, numbers(8), [pair("tokenizer.ggml.tokens", 9, array(8, *words))])
    (tmp_path / "m.gguf").write_bytes(data)
    open_source(tmp_path / "m.gguf")
    tracemalloc.start()
    tensors = open_source(tmp_path / "m.gguf").tensors
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(data) > 10_000_000
    assert peak < 3_000_000  # two windows of 1 MB, as one is read while the other stands
    check(tensors[0], np.arange(8, dtype=np.float32).reshape(2, 4))


@pytest.mark.parametrize(("number", "name"), [(0, "F32"), (15, "Q4_K_M"), (77, "77")])
def test_the_file_type_is_a_note(number, name, tmp_path):
    pairs = [pair("general.file_type", 4, struct.pack("<I", number))]
    (tmp_path / "m.gguf").write_bytes(by_hand(GOOD, numbers(8), pairs))
    assert open_source(tmp_path / "m.gguf").notes == (f"the file states the file type {name}",)


def test_reading_a_large_matrix_keeps_one_block_in_memory(tmp_path):
    data = random_blocks("Q4_K", (4096, 1024))
    save(tmp_path / "m.gguf", {"x": (data, "Q4_K")})
    tensor = open_source(tmp_path / "m.gguf").tensors[0]
    next(tensor.blocks(1)).sum()
    tracemalloc.start()
    count = sum(block.size for block in tensor.blocks(1024))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == data.size // 144 * 256
    # Two blocks, as the old one lives while the new one is made, and what one piece needs; the matrix has 16 MB.
    assert peak < 2 * 1024 * 1024 * 4 + 6_000_000


def test_bytes_of_no_tensor_are_a_note(tmp_path):
    (tmp_path / "m.gguf").write_bytes(by_hand([*GOOD, info("y", [8], 0, 32)], numbers(16), tensors=1))
    assert open_source(tmp_path / "m.gguf").notes == ("64 bytes after the last tensor of 'm.gguf' belong to no tensor",)
    (tmp_path / "m.gguf").write_bytes(by_hand([info("x", [3], 0, 0)], numbers(8)))
    assert open_source(tmp_path / "m.gguf").notes == ()


def test_tensors_can_be_pickled(tmp_path):
    data = random_blocks("Q6_K", (3, 256))
    save(tmp_path / "m.gguf", {"q": (data, "Q6_K"), "x": np.ones((2, 3), np.float16)})
    q, x = pickle.loads(pickle.dumps(open_source(tmp_path / "m.gguf").tensors))
    np.testing.assert_array_equal(q.read(), dequantized("Q6_K", data))
    check(x, np.ones((2, 3), np.float16))


def test_tensors_come_in_the_order_of_the_header(tmp_path):
    infos = [info("late", [2], 0, 32), info("early", [4, 2], 0, 0)]
    (tmp_path / "m.gguf").write_bytes(by_hand(infos, numbers(10)))
    late, early = open_source(tmp_path / "m.gguf").tensors
    assert (late.name, early.name) == ("late", "early")
    check(late, np.array([8, 9], np.float32))
    check(early, np.arange(8, dtype=np.float32).reshape(2, 4))


def test_storage_tells_tensors_apart(tmp_path):
    save(tmp_path / "m.gguf", {"a": np.ones((2, 2), np.float32), "b": (random_blocks("Q4_0", (2, 32)), "Q4_0")})
    a, b = (t.storage for t in open_source(tmp_path / "m.gguf").tensors)
    assert a != b
    assert (a, b) == tuple(t.storage for t in open_source(tmp_path / "m.gguf").tensors)


@pytest.fixture
def without_gguf(monkeypatch):
    gguf_types.can_dequantize.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "gguf"]:
        monkeypatch.setitem(sys.modules, name, None)
    yield
    gguf_types.can_dequantize.cache_clear()


def test_without_the_package_quantised_tensors_say_what_to_install(tmp_path, request):
    save(tmp_path / "m.gguf", {"q": (random_blocks("Q5_K", (2, 256)), "Q5_K"), "x": np.ones((2, 3), np.float32)})
    read_before = open_source(tmp_path / "m.gguf").tensors[0]
    request.getfixturevalue("without_gguf")
    q, x = open_source(tmp_path / "m.gguf").tensors
    assert q.problem == "its type Q5_K needs the gguf package: pip install 'heavytail[gguf]'"
    assert (q.stored, q.packed) == ("Q5_K", 2 * 176)
    check(x, np.ones((2, 3), np.float32))
    with pytest.raises(SourceError, match=r"m\.gguf: tensor 'q' .* pip install 'heavytail\[gguf\]'"):
        read_before.read()  # as on a worker that lacks it


def test_plain_files_need_no_package(tmp_path, request):
    save(tmp_path / "m.gguf", plain_arrays())
    request.getfixturevalue("without_gguf")
    assert all(t.problem is None for t in open_source(tmp_path / "m.gguf").tensors)


@pytest.fixture
def split(tmp_path):
    """A model in three parts, written by the package, and its arrays."""
    arrays = {f"w{i}": np.random.default_rng(i).normal(size=(4, 6)).astype(np.float32) for i in range(6)}
    save(tmp_path / "model.gguf", arrays, split_max_tensors=2)
    paths = sorted(tmp_path.iterdir())
    assert [p.name for p in paths] == [f"model-{i:05}-of-00003.gguf" for i in (1, 2, 3)]
    return paths, arrays


@pytest.mark.parametrize("given", range(3))
def test_any_part_of_a_split_model_stands_for_all(given, split):
    paths, arrays = split
    source = open_source(paths[given])
    assert [t.name for t in source.tensors] == list(arrays)
    assert [t.origin for t in source.tensors] == [str(paths[i // 2]) for i in range(6)]
    assert [[file.name for file in t.files] for t in source.tensors] == [
        [] if i // 2 == given else [paths[i // 2].name] for i in range(6)
    ]
    assert {file.name for file in source.opened} == {path.name for path in paths}
    assert len({t.storage for t in source.tensors}) == 6
    for tensor in source.tensors:
        check(tensor, arrays[tensor.name])
    assert source.notes[-1] == "read together as one model: 3 parts from 'model-00001-of-00003.gguf' on"


def test_a_missing_part_is_named(split):
    split[0][1].unlink()
    assert "is part 1 of 3; the part 'model-00002-of-00003.gguf' is missing" in str(opened(split[0][0]))


def test_a_renamed_part_is_read_alone_with_a_note(split):
    paths, _ = split
    alone = paths[1].rename(paths[1].with_name("renamed.gguf"))
    source = open_source(alone)
    assert [t.name for t in source.tensors] == ["w2", "w3"]
    assert source.notes == ("read part 2 of 3 alone, as the name of the file does not lead to the others",)


def test_a_part_under_the_name_of_another_is_refused(split):
    paths, _ = split
    paths[2].write_bytes(paths[1].read_bytes())
    with pytest.raises(
        SourceError, match=r"00003\.gguf: states split\.no .* \(1, 3\); \(2, 3\) is expected by its name"
    ):
        open_source(paths[0])


def test_parts_that_hold_too_few_tensors_are_refused(split):
    paths, _ = split
    data = paths[0].read_bytes()
    at = data.index(b"split.tensors.count") + len("split.tensors.count") + 4
    paths[0].write_bytes(data[:at] + struct.pack("<i", 9) + data[at + 4 :])
    assert "states 9 tensors in 3 parts, which hold 6" in str(opened(paths[0]))


def one(*pairs, infos=GOOD, data=EIGHT, **lies):
    return by_hand(infos, data, pairs, **lies)


ALIGN = "general.alignment"
LIES = {
    "version 1": (one(version=1), "is GGUF version 1; versions 2 and 3 can be read"),
    "version 4": (one(version=4), "is GGUF version 4"),
    "version 0": (one(version=0), "is GGUF version 0"),
    "magic only": (b"GGUF", "does not begin with GGUF and a version"),
    "no counts": (b"GGUF\3\0\0\0", "needs bytes up to 16, the file has 8"),
    "too many tensors": (one(tensors=1 << 63), "9223372036854775808 tensors are stated at byte 8"),
    "one tensor too many": (one(tensors=2), "tensors '' and 'x' overlap"),
    "too many keys": (one(keys=1 << 40), "1099511627776 key-value pairs are stated at byte 16"),
    "long key": (one(struct.pack("<Q", 1 << 62)), "a name of 4611686018427387904 bytes stands at byte 32"),
    "long name": (one(infos=[struct.pack("<Q", 1 << 16) + bytes(1 << 17)]), "at most 65535 are allowed"),
    "long text": (one(pair("a", 8, struct.pack("<Q", 1 << 62))), "needs bytes up to"),
    "many texts": (one(pair("a", 9, array(8, count=1 << 60))), "1152921504606846976 texts are stated"),
    "a text in an array too long": (one(pair("a", 9, array(8, text(b"a"), struct.pack("<Q", 1 << 64 - 1)))), "needs"),
    "many numbers": (one(pair("a", 9, array(12, count=1 << 61))), "2305843009213693952 numbers are stated"),
    "many arrays": (one(pair("a", 9, array(9, count=1 << 50))), "1125899906842624 arrays are stated"),
    "deep arrays": (one(pair("a", 9, array(9, count=1) * 100_000)), "more than 8 deep"),
    "unknown value": (one(pair("a", 13, b"")), "a value has the unknown type 13"),
    "unknown array": (one(pair("a", 9, array(77, count=0))), "an array holds values of the unknown type 77"),
    "a key twice": (one(pair("a", 0, b"1"), pair("a", 0, b"1")), "the key 'a' stands twice"),
    "key not UTF-8": (one(text(b"\xff\xfe") + struct.pack("<IB", 0, 1)), "damaged, the GGUF header"),
    "name not UTF-8": (one(infos=[text(b"\xff") + struct.pack("<IIQ", 0, 0, 0)]), "damaged, the GGUF header"),
    "alignment 0": (one(pair(ALIGN, 4, bytes(4))), "general.alignment is 0; a power of two"),
    "alignment 24": (one(pair(ALIGN, 4, struct.pack("<I", 24))), "general.alignment is 24"),
    "alignment of text": (one(pair(ALIGN, 8, text(b"32"))), "general.alignment is 32"),
    "huge alignment": (one(pair(ALIGN, 4, struct.pack("<I", 1 << 31))), "ends at byte 2147483680 of a file of"),
    "many axes": (one(infos=[info("x", [1] * 33, 0, 0)]), "tensor 'x' has 33 axes"),
    "four billion axes": (one(infos=[text(b"x") + b"\xff" * 40]), "tensor 'x' has 4294967295 axes"),
    "negative axis": (one(infos=[info("x", [1 << 63], 0, 0)]), "an axis of 9223372036854775808 numbers"),
    "overflowing product": (one(infos=[info("x", [1 << 62, 1 << 62], 0, 0)]), "tensor 'x' ends at byte"),
    "beyond the end": (one(infos=[info("x", [4, 3], 0, 0)]), "ends at byte 144 of a file of 128; it may be cut short"),
    "offset beyond the end": (one(infos=[info("x", [4, 2], 0, 1 << 40)]), "it may be cut short"),
    "unknown type beyond the end": (one(infos=[info("x", [4, 2], 99, 1 << 40)]), "it may be cut short"),
    "odd offset": (one(infos=[info("x", [4], 0, 4)]), "begins at byte 4; multiples of 32 are expected"),
    "overlap": (one(infos=[*GOOD, info("y", [1], 0, 0)]), "tensors 'y' and 'x' overlap"),
    "names twice": (one(infos=[*GOOD, info("x", [4], 0, 32)], data=numbers(12)), "tensor 'x' stands twice"),
    "half a block": (one(infos=[info("x", [48, 2], 2, 0)]), "has rows of 48 numbers; Q4_0 has blocks of 32"),
    "blocks of a scalar": (one(infos=[info("x", [], 12, 0)]), "has rows of 1 numbers; Q4_K has blocks of 256"),
    "no tensors": (one(infos=[], data=b""), "holds no tensors"),
    "newline in a name": (one(infos=[info("a\nb\x1b[2J", [1 << 40], 0, 0)]), "ends at byte"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_header_is_one_clear_line(lie, tmp_path):
    data, expected = LIES[lie]
    (tmp_path / "m.gguf").write_bytes(data)
    tracemalloc.start()
    error = opened(tmp_path / "m.gguf")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(error, SourceError)
    assert expected in str(error)
    assert peak < 4 * len(data) + 2_000_000


def test_tensors_without_numbers_are_read(tmp_path):
    infos = [info("a", [0, 3], 0, 0), info("b", [256, 0], 12, 0), info("c", [], 0, 0)]
    (tmp_path / "m.gguf").write_bytes(by_hand(infos, numbers(1)))
    a, b, c = (t.read() for t in open_source(tmp_path / "m.gguf").tensors)
    assert (a.shape, b.shape, c.shape, float(c)) == ((3, 0), (0, 256), (), 0.0)


def test_rows_without_numbers_do_not_keep_a_reader_busy(tmp_path):
    (tmp_path / "m.gguf").write_bytes(by_hand([info("x", [0, 1 << 40], 12, 0)], b""))
    assert "rows without numbers" in open_source(tmp_path / "m.gguf").tensors[0].problem


def test_a_file_cut_after_opening_is_an_error_of_one_line(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(by_hand([info("x", [32, 4], 8, 0)], bytes(34 * 4)))
    tensor = open_source(path).tensors[0]
    os.truncate(path, path.stat().st_size - 10)
    with pytest.raises(SourceError, match="10 bytes early; did the file change"):
        tensor.read()


def test_no_handle_stays_open_when_reading_stops_early(tmp_path):
    save(tmp_path / "m.gguf", {"x": (random_blocks("Q8_0", (9, 32)), "Q8_0")})
    blocks = open_source(tmp_path / "m.gguf").tensors[0].blocks(2)
    assert next(blocks).shape == (2, 32)
    blocks.close()  # an unclosed file would be a ResourceWarning, which is an error here


def small():
    """A file with a bit of everything; it ends with its last number."""
    pairs, deep = every_value()
    pairs = [p for p in pairs if len(p) < 1000]
    pairs += [pair("deep", 9, deep[:0] + array(9, array(8, text(b"abc")), array(4, bytes(8), count=2)))]
    pairs += [pair("general.alignment", 4, struct.pack("<I", 64)), pair("general.architecture", 8, text(b"test"))]
    rng = np.random.default_rng(2)
    data = numbers(12) + bytes(16) + rng.bytes(34 * 3) + bytes(26) + rng.bytes(144)
    infos = [info("a", [4, 3], 0, 0), info("blk.0.w", [32, 3], 8, 64), info("b", [256], 12, 192)]
    return by_hand(infos, data, pairs, alignment=64)


def test_a_file_cut_anywhere_is_refused(tmp_path):
    data, path = small(), tmp_path / "cut.gguf"
    path.write_bytes(data)
    assert [t.name for t in opened(path).tensors] == ["a", "blk.0.w", "b"]
    for length in range(len(data) - 1, -1, -1):
        os.truncate(path, length)
        assert isinstance(opened(path), SourceError), length


@pytest.mark.parametrize("name", ["f16", "q4_0"])
def test_a_real_file_cut_at_every_kilobyte_is_refused(name, models, tmp_path):
    original = models / "formats" / f"g2p_{name}.gguf"
    last = max(t.data_offset + t.n_bytes for t in gguf.GGUFReader(original).tensors)  # padding may follow
    path = tmp_path / "cut.gguf"
    path.write_bytes(original.read_bytes())
    for length in range((last - 1) // 1024 * 1024, -1, -1024):
        os.truncate(path, length)
        assert isinstance(opened(path), SourceError), length


HUGE = (0, 1, 255, 1 << 31, 1 << 40, 1 << 62, (1 << 64) - 1)


def mutated(data, rng):
    """Change a few places, most of them in the header."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, len(data)))
        match rng.integers(0, 5):
            case 0:
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                data[at : at + 8] = HUGE[int(rng.integers(len(HUGE)))].to_bytes(8, "little")
            case 2:
                data[at:at] = rng.bytes(int(rng.integers(1, 20)))
            case 3:
                del data[at : at + int(rng.integers(1, 20))]
            case 4:
                data[at : at + 4] = HUGE[int(rng.integers(4))].to_bytes(4, "little")
    return bytes(data)


def torture(folder, count):
    original, path, read = small(), folder / "mutant.gguf", 0
    for i in range(count):
        data = mutated(original, np.random.default_rng([7, i]))
        path.write_bytes(data)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        result = opened(path)
        assert tracemalloc.get_traced_memory()[1] - before < 3_000_000, i
        read += not isinstance(result, SourceError)
    return read


@pytest.fixture
def traced():
    tracemalloc.start()
    yield
    tracemalloc.stop()


def test_mutants_are_refused_or_read(tmp_path, traced):
    assert 0 < torture(tmp_path, 400) < 400


@pytest.mark.slow
def test_many_mutants_are_refused_or_read(tmp_path, traced):
    count = max(5000, int(os.environ.get("HEAVYTAIL_MUTATIONS", "0")))
    read = torture(tmp_path, count)
    print(f"gguf: {count} mutants, {read} were read, {count - read} refused")  # noqa: T201  the result to report
    assert 0 < read < count
