import json

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from weights.cases import DTYPES, SHAPES, check_equal, opened, sample

from heavytail.errors import SourceError
from heavytail.weights.source import open_source

STORED = [d for d in DTYPES if d != "complex128"]


@pytest.mark.parametrize("dtype", STORED)
def test_every_dtype_and_shape_comes_back_byte_for_byte(dtype, tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({f"t{shape}": sample(dtype, shape) for shape in SHAPES}, path)
    expected = load_file(path)
    source = open_source(path)
    assert source.format == "safetensors"
    assert source.files == (str(path),)
    assert {t.name for t in source.tensors} == set(expected)
    for tensor in source.tensors:
        check_equal(tensor, expected[tensor.name])


@given(st.data())
def test_any_shape_comes_back(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("s") / "m.safetensors"
    shape = data.draw(st.lists(st.integers(0, 5), max_size=5).map(tuple))
    tensor = sample(data.draw(st.sampled_from(STORED)), shape)
    save_file({"x": tensor}, path)
    check_equal(open_source(path).tensors[0], tensor)


def test_bfloat16_has_the_type_of_ml_dtypes(tmp_path):
    save_file({"x": sample("bfloat16", (2, 2))}, tmp_path / "m.safetensors")
    assert open_source(tmp_path / "m.safetensors").tensors[0].read().dtype == ml_dtypes.bfloat16


def test_tensors_come_in_the_order_of_the_file(tmp_path):
    write(tmp_path / "m.safetensors", {"b": entry("U8", [1], 0, 1), "a": entry("U8", [2], 1, 3)}, b"abc")
    assert [t.name for t in open_source(tmp_path / "m.safetensors").tensors] == ["b", "a"]


def test_no_handle_stays_open_when_reading_stops_early(tmp_path):
    save_file({"x": sample("float32", (9, 9))}, tmp_path / "m.safetensors")
    tensor = open_source(tmp_path / "m.safetensors").tensors[0]
    blocks = tensor.blocks(2)
    assert next(blocks).shape == (2, 9)
    blocks.close()  # an unclosed file would be a ResourceWarning, which is an error here


def test_a_file_cut_after_opening_is_an_error_of_one_line(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"x": sample("float32", (9, 9))}, path)
    tensor = open_source(path).tensors[0]
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(SourceError, match="10 bytes early; did the file change"):
        tensor.read()


def test_types_without_numbers_are_a_problem_of_the_tensor(tmp_path):
    path = tmp_path / "m.safetensors"
    header = {"q": entry("F4", [4], 0, 2), "s": entry("F4", [2, 2], 2, 4), "w": entry("F32", [1], 4, 8)}
    write(path, header, bytes(8))
    q, s, w = open_source(path).tensors
    assert "F4" in q.problem
    assert "F4" in s.problem
    assert (q.shape, w.problem) == ((4,), None)
    with pytest.raises(SourceError, match="tensor 'q' cannot be read: its type F4"):
        q.read()


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def write(path, header, data, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)


GOOD = {"x": entry("F32", [2, 2], 0, 16)}
LIES = {
    "header longer than the file": (GOOD, bytes(16), 10_000, "states a header of 10000 bytes, the file has"),
    "header longer than allowed": (GOOD, bytes(16), 1 << 60, "at most 100000000 are allowed"),
    "header cut": (GOOD, bytes(16), 20, "damaged, the safetensors header cannot be read"),
    "not an object": (b"[1, 2]  ", b"", None, "not a JSON object"),
    "not JSON": (b'{"x": ', b"", None, "damaged, the safetensors header"),
    "not UTF-8": (b'{"\xff": 1}', b"", None, "damaged, the safetensors header"),
    "a key twice": (b'{"x": {}, "x": {}}', b"", None, "the key 'x' stands twice"),
    "NaN in the header": (b'{"x": NaN}', b"", None, "NaN is not a number of JSON"),
    "deep nesting": (b'{"x":' + b"[" * 100_000, b"", None, "damaged, the safetensors header"),
    "metadata of numbers": ({"__metadata__": {"a": 1}} | GOOD, bytes(16), None, "__metadata__"),
    "no offsets": ({"x": {"dtype": "F32", "shape": [1]}}, b"", None, "not described by dtype, shape and data_offsets"),
    "more than asked": ({"x": GOOD["x"] | {"extra": 1}}, bytes(16), None, "not described by"),
    "unknown dtype": ({"x": entry("F33", [4], 0, 16)}, bytes(16), None, "tensor 'x' has the unknown dtype 'F33'"),
    "dtype is a list": ({"x": entry(["F32"], [4], 0, 16)}, bytes(16), None, "unknown dtype"),
    "negative size": ({"x": entry("F32", [-4], 0, 16)}, bytes(16), None, "a list of sizes is expected"),
    "size is a bool": ({"x": entry("F32", [True], 0, 4)}, bytes(4), None, "a list of sizes is expected"),
    "size is a float": ({"x": entry("F32", [4.0], 0, 16)}, bytes(16), None, "a list of sizes is expected"),
    "size overflows": ({"x": entry("F32", [1 << 63], 0, 16)}, bytes(16), None, "a list of sizes is expected"),
    "product overflows": (
        {"x": entry("F32", [1 << 62, 1 << 62], 0, 16)},
        bytes(16),
        None,
        "has 16 bytes; F32 of shape",
    ),
    "end before begin": ({"x": entry("F32", [4], 16, 0)}, bytes(16), None, "[begin, end] is expected"),
    "three offsets": ({"x": GOOD["x"] | {"data_offsets": [0, 1, 2]}}, bytes(16), None, "[begin, end] is expected"),
    "too few bytes": (
        {"x": entry("F32", [5], 0, 16)},
        bytes(16),
        None,
        "has 16 bytes; F32 of shape [5] needs 20 bytes",
    ),
    "half a byte": ({"x": entry("F4", [3], 0, 2)}, bytes(2), None, "12 bits, no whole number of bytes"),
    "past the end": (GOOD, bytes(10), None, "ends at byte 16 of a buffer of 10; it may be cut short"),
    "overlap": ({"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 2, 6)}, bytes(6), None, "'a' and 'b' overlap"),
    "gap": ({"a": entry("U8", [2], 0, 2), "b": entry("U8", [2], 4, 6)}, bytes(6), None, "2 bytes before tensor 'b'"),
    "late beginning": ({"a": entry("U8", [2], 2, 4)}, bytes(4), None, "the first 2 bytes of the buffer"),
    "trailing bytes": (GOOD, bytes(20), None, "4 bytes after the last tensor belong to no tensor"),
    "newline in a name": ({"a\nb\x1b[2J": entry("F33", [4], 0, 16)}, bytes(16), None, "unknown dtype"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_header_is_one_clear_line(lie, tmp_path):
    header, data, length, expected = LIES[lie]
    path = tmp_path / "m.safetensors"
    write(path, header, data, length)
    error = opened(path)
    assert isinstance(error, SourceError)
    assert expected in str(error)


def test_a_zero_size_tensor_of_any_width_is_read(tmp_path):
    path = tmp_path / "m.safetensors"
    write(path, {"x": entry("F32", [0, 1 << 40], 0, 0), "y": entry("F32", [3, 0], 0, 0)}, b"")
    x, y = open_source(path).tensors
    assert x.read().shape == (0, 1 << 40)
    assert [b.shape for b in y.blocks(2)] == [(2, 0), (1, 0)]


def test_rows_without_numbers_do_not_keep_a_reader_busy(tmp_path):
    path = tmp_path / "m.safetensors"
    write(path, {"x": entry("F32", [1 << 40, 0], 0, 0)}, b"")
    assert "rows without numbers" in open_source(path).tensors[0].problem


def test_a_file_without_tensors_says_so(tmp_path):
    write(tmp_path / "m.safetensors", {}, b"")
    assert "holds no tensors" in str(opened(tmp_path / "m.safetensors"))


def test_reading_a_tall_tensor_keeps_one_block_in_memory(tmp_path):
    import tracemalloc

    path = tmp_path / "m.safetensors"
    save_file({"x": torch.ones(100_000, 16)}, path)
    tensor = open_source(path).tensors[0]
    tracemalloc.start()
    total = sum(float(np.sum(block)) for block in tensor.blocks(1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 1_600_000
    assert peak < 4 * 1000 * 16 * 4 + 100_000
