import io
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heavytail.weights.formats.onnx.protobuf import Wire, signed, varints


def encoded(value):
    """A varint, as the specification has it: seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number, data):
    return encoded(number << 3 | 2) + encoded(len(data)) + data


def walked(data):
    wire = Wire(io.BytesIO(data), len(data))
    return wire, list(wire.fields(0, len(data)))


@given(st.lists(st.integers(0, (1 << 64) - 1)))
def test_any_numbers_come_back(values):
    assert varints(b"".join(map(encoded, values))).tolist() == values


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_a_negative_number_is_one_of_ten_bytes(value):
    assert signed(value & (1 << 64) - 1) == value


@given(st.lists(st.tuples(st.integers(1, 5000), st.binary(max_size=40)), max_size=20))
def test_fields_stand_where_they_are_said_to_stand(fields):
    data = b"".join(field(number, content) for number, content in fields)
    wire, found = walked(data)
    assert [(f.number, data[f.start : f.end]) for f in found] == fields
    assert [wire.content(f) for f in found] == [content for _, content in fields]


def test_a_message_of_a_library_is_walked_as_that_library_reads_it():
    onnx = pytest.importorskip("onnx")
    proto = onnx.TensorProto(name="näme", dims=[3, -1, 1 << 40], data_type=7, int64_data=[1, -2, 300])
    wire, found = walked(proto.SerializeToString())
    by_number = {}
    for f in found:
        by_number.setdefault(f.number, []).append(f)
    assert [n for f in by_number[1] for n in wire.integers(f)] == [3, -1, 1 << 40]
    assert [n for f in by_number[7] for n in wire.integers(f)] == [1, -2, 300]
    assert wire.text(by_number[8][0]) == "näme"
    assert by_number[2][0].value == 7


def test_a_long_value_is_passed_over_without_being_read():
    class Counting(io.BytesIO):
        taken = 0

        def read(self, count=-1):
            data = super().read(count)
            self.taken += len(data)
            return data

    data = b"".join(field(9, bytes(10_000_000)) for _ in range(5))
    stream = Counting(data)
    found = list(Wire(stream, len(data)).fields(0, len(data)))
    assert len(found) == 5
    assert stream.taken < 1_000_000


LIES = {
    "a varint that ends with the file": (b"\x08\xff\xff", "does not end"),
    "a varint of eleven bytes": (b"\x08" + b"\xff" * 10 + b"\x01", "does not end"),
    "a tag that does not end": (b"\x80", "does not end"),
    "a length past the end": (b"\x0a\x05abc", "needs 5 bytes, 3 are left"),
    "a huge length": (b"\x0a" + b"\xff" * 9 + b"\x01", "bytes, 0 are left"),
    "eight bytes cut": (b"\x09abc", "needs 8 bytes, 3 are left"),
    "four bytes cut": (b"\x0dabc", "needs 4 bytes, 3 are left"),
    "field zero": (b"\x00\x00", "a field is numbered 0"),
    "a huge field number": (b"\xff" * 9 + b"\x01", "a field is numbered"),
    "a group": (b"\x0b\x0c", "the wire type 3"),
    "the end of a group": (b"\x0c", "the wire type 4"),
    "wire type 6": (b"\x0e", "the wire type 6"),
    "wire type 7": (b"\x0f", "the wire type 7"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_message_is_one_clear_clause(lie):
    data, expected = LIES[lie]
    with pytest.raises(ValueError, match=expected):
        walked(data)


def test_a_nested_length_past_its_own_message_is_refused():
    data = field(1, b"\x0a\x05abc") + bytes(20)
    wire, (outer, *_) = Wire(io.BytesIO(data), len(data)), walked(data[:7])[1]
    with pytest.raises(ValueError, match="needs 5 bytes, 3 are left"):
        list(wire.fields(outer.start, outer.end))


@pytest.mark.parametrize("data", [b"\x80", b"\x01\xff", b"\xff" * 10 + b"\x01"])
def test_a_damaged_run_of_numbers_is_refused(data):
    with pytest.raises(ValueError, match="does not end"):
        varints(data)


def test_texts_are_utf8_and_no_longer_than_a_name():
    wire, (bad, long, number) = walked(field(1, b"\xff") + field(1, bytes(70_000)) + b"\x08\x01")
    for item, expected in ((bad, "utf-8"), (long, "has 70000 bytes"), (number, "a number stands at byte")):
        with pytest.raises(ValueError, match=expected):
            wire.text(item)


def test_a_million_empty_fields_take_seconds():
    data = b"\x0a\x00" * 1_000_000
    start = time.perf_counter()
    assert sum(1 for _ in Wire(io.BytesIO(data), len(data)).fields(0, len(data))) == 1_000_000
    assert time.perf_counter() - start < 30


@given(st.binary(max_size=60))
def test_any_bytes_are_fields_or_a_clear_error(data):
    try:
        found = walked(data)[1]
    except ValueError:
        pass  # anything else would fail the test
    else:
        ends = [0, *(f.end for f in found)]
        assert all(f.start <= f.end for f in found)
        assert np.all(np.diff(ends) > 0)
        assert ends[-1] == len(data)
