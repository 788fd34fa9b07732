import io
import struct

import flatbuffers
import numpy as np
import pytest
import tflite

from heavytail.weights.formats.tflite.flatbuffer import Bytes, Table, root


def table(fields):
    """A flatbuffer of one Tensor table of TensorFlow Lite's schema."""
    b = flatbuffers.Builder(64)
    shape = b.CreateNumpyVector(np.array(fields.get("shape", [2, 3]), np.int32))
    name = b.CreateString(fields.get("name", "n"))
    tflite.TensorStart(b)
    tflite.TensorAddShape(b, shape)
    tflite.TensorAddName(b, name)
    tflite.TensorAddType(b, fields.get("type", 9))
    b.Finish(tflite.TensorEnd(b), b"TFL3")
    return bytes(b.Output())


def opened(data):
    return root(io.BytesIO(data), len(data))


def test_fields_are_what_the_generated_functions_read():
    data = table({"shape": [7, -1, 2**31 - 1], "name": "gewicht/ü", "type": -3})
    theirs, ours = tflite.Tensor.GetRootAs(data), opened(data)
    assert ours.numbers(0, "int32").tolist() == theirs.ShapeAsNumpy().tolist() == [7, -1, 2**31 - 1]
    assert ours.text(3) == theirs.Name().decode() == "gewicht/ü"
    assert ours.number(1, "b") == theirs.Type() == -3


def test_absent_fields_are_empty_or_the_default():
    ours = opened(table({}))
    assert ours.number(2, "I", 5) == 5
    assert ours.number(200, "I") == 0
    assert ours.table(4) is None
    assert ours.vector(7, 4) is None
    assert ours.tables(7) == []
    assert ours.text(7) == ""
    assert ours.numbers(7, "int64").size == 0


def test_bytes_are_the_same_in_pages_and_past_them():
    data = np.random.default_rng(0).bytes(70 * (1 << 16) + 5)
    ours = Bytes(io.BytesIO(data), len(data))
    for start in (0, 1, (1 << 16) - 2, 69 * (1 << 16), len(data) - 4, 3):
        for count in (0, 1, 4, 1 << 17):
            if start + count <= len(data):
                assert ours.at(start, count) == data[start : start + count]
    for page in range(70):
        assert ours.at(page << 16, 2) == data[page << 16 :][:2]
    assert len(ours.pages) == 64


@pytest.mark.parametrize(("start", "count"), [(-1, 2), (9, 2), (10, 1), (11, 0), (0, 11)])
def test_bytes_outside_the_file_are_refused(start, count):
    with pytest.raises(ValueError, match="of 10 are referred to"):
        Bytes(io.BytesIO(bytes(10)), 10).at(start, count)


def test_a_vtable_before_the_file_is_refused():
    with pytest.raises(ValueError, match="referred to"):
        Table(Bytes(io.BytesIO(struct.pack("<i", 100) + bytes(20)), 24), 0).number(0, "I")


@pytest.mark.parametrize("length", [100, 2**32 - 1])
def test_a_vector_longer_than_the_file_is_refused(length):
    data = bytearray(table({"shape": [1, 2, 3]}))
    at = data.index(struct.pack("<iiii", 3, 1, 2, 3))
    struct.pack_into("<I", data, at, length)
    with pytest.raises(ValueError, match="a vector of"):
        opened(bytes(data)).numbers(0, "int32")


def test_reading_the_same_part_forever_is_refused():
    ours = opened(table({"name": "n" * 10_000}))
    for _ in range(6):
        ours.text(3)
    with pytest.raises(ValueError, match="larger than the file"):
        [ours.text(3) for _ in range(5)]
