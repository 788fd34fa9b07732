import json
import tracemalloc
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from hashlib import blake2b
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from cases import gaussian, spiked, student
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, complex_number_dtypes, floating_dtypes, integer_dtypes

import heavytail
from heavytail.analysis.records import decode, encode
from heavytail.diagnosis.layer import Measured, Wanted, measure
from heavytail.rmt.noise_bulk import NoiseBulk
from heavytail.spectra.exact import spectrum_of_stack
from heavytail.spectra.spectrum import Spectrum

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters())
DTYPES = st.sampled_from(["?", ">u2"]) | integer_dtypes() | floating_dtypes() | complex_number_dtypes(sizes=(64, 128))
ARRAYS = arrays(DTYPES, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
VALUES = st.recursive(SCALARS | ARRAYS, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=8)


def same(a, b):
    """Whether two values are the same to the last bit, and of the same types."""
    if isinstance(a, np.generic):
        a = a.item()
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    return repr(a) == repr(b)


def record(tree, data=b""):
    """A record with a checksum that is right, whatever it holds."""
    text = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    body = len(text).to_bytes(8, "little") + text + data
    return b"heavytail record 1\n" + blake2b(body, digest_size=32).digest() + body


def measured(W, **wanted):
    spectrum = spectrum_of_stack(W[None], "float64")
    rows = [lambda r: (W[i : i + r] for i in range(0, len(W), r))]
    return measure(spectrum, rows, Wanted(farms=True, **wanted), name="x", dtype="float64")


RESULTS = {
    "noise": measured(gaussian(120, 80)),
    "spikes": measured(spiked(150, 60, [40.0, 30.0]), vectors=True),
    "traps": measured(np.where(np.eye(90, 60) * (np.arange(60) == 3) > 0, 1e3, gaussian(90, 60)), nulls=3),
    "heavy": measured(student(200, 100, df=1), nulls=2, vectors=True),
    "zero": measured(np.zeros((30, 20))),
    "narrow": measured(gaussian(30, 1)),
}


# ------------------------------------------------------------------------------------------------------- exact


@given(VALUES)
@example((-0.0, float("nan"), float("inf"), -float("inf"), 5e-324, 2**80, "\ud83d\ude00", "\udfff", ""))
@example((np.float32(0.1), np.int8(-3), np.bool_(True), np.complex64))
def test_what_is_read_is_what_was_written_to_the_last_bit(value):
    if isinstance(value, tuple) and any(item is np.complex64 for item in value):
        value = (np.zeros((0, 3), "<f2"), np.array(-0.0), np.array([[1, np.nan]], ">f8"), np.ones((2, 3)).T)
    assert same(value, decode(encode(value)))


@pytest.mark.parametrize("name", RESULTS)
def test_results_are_read_as_they_were(name):
    again = decode(encode(RESULTS[name]))
    assert same(RESULTS[name], again)
    assert isinstance(again, Measured)


def test_the_results_hold_every_class_that_a_measurement_is_made_of():
    def classes(value):
        if isinstance(value, tuple):
            return {c for item in value for c in classes(item)}
        if is_dataclass(value):
            return {type(value).__name__}.union(*(classes(getattr(value, f.name)) for f in fields(value)))
        return set()

    found = set().union(*map(classes, RESULTS.values()))
    assert found >= {"Measured", "Spectrum", "Noise", "NoiseBulk", "Shuffles", "Trap", "TailEntries", "TailScore"}
    assert "Localisation" in found


def test_arrays_that_are_read_can_be_written_to_and_share_nothing():
    data = encode(np.arange(3.0))
    a, b = decode(data), decode(data)
    a[0] = 7
    assert b[0] == 0


# ------------------------------------------------------------------------------------------------------- refused


@dataclass
class Spectrum2:
    evals: int


Namesake = type("Spectrum", (), {})


ODD = [[1], {"a": 1}, {1}, b"bytes", object(), 1j, Spectrum, Spectrum2(3), Namesake(), Path(), range(3)]
TYPES = ("U1", "O", "M8[s]", "S3", "i4,f8", ml_dtypes.bfloat16)


@pytest.mark.parametrize("value", [*ODD, *(np.zeros(2, d) for d in TYPES)], ids=lambda value: type(value).__name__)
def test_anything_else_is_not_written(value):
    with pytest.raises(TypeError, match="record holds no"):
        encode((1, value))


def test_no_flipped_byte_is_missed():
    data = encode(RESULTS["noise"])
    for i in (*range(200), *np.random.default_rng(0).integers(200, len(data), 300)):
        for flip in (1, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[i] ^= flip
            with pytest.raises(ValueError, match="damaged"):
                decode(bytes(damaged))


def test_no_truncation_is_missed():
    data = encode((1.5, np.arange(20.0), "text"))
    for length in range(len(data)):
        with pytest.raises(ValueError, match="damaged"):
            decode(data[:length])
    with pytest.raises(ValueError, match="damaged"):
        decode(data + b"\0")


SMALL = {"is": "Trap", "of": {"kind": "row", "matrix": 0, "row": 1, "column": None, "excess": 2.0}}
HOSTILE = {
    "a shape larger than any memory": {"array": ["<f8", [1 << 40, 1 << 40]]},
    "a product of sizes that overflows": {"array": ["<f8", [1 << 32, 1 << 32]]},
    "a size of more than 64 bits": {"array": ["<f8", [1 << 70]]},
    "a large size beside nothing": {"array": ["<f8", [0, 1 << 62, 1 << 62]]},
    "a large array": {"array": ["<f8", [1 << 27]]},
    "a size below zero": {"array": ["<f8", [-1]]},
    "a size that is no number": {"array": ["<f8", ["3"]]},
    "a size that is a fraction": {"array": ["<f8", [1.5]]},
    "a size that is true": {"array": ["<f8", [True]]},
    "no shape": {"array": ["<f8", None]},
    "a shape that is a number": {"array": ["<f8", 2]},
    "too many axes": {"array": ["<f8", [1] * 100]},
    "a type of objects": {"array": ["|O", [1]]},
    "a type of texts": {"array": ["<U1000000000", [0]]},
    "a type of no size": {"array": ["|V0", [1 << 60]]},
    "a type of several": {"array": ["i4,f8", [1]]},
    "a type written out": {"array": [[["a", "<f8"]], [1]]},
    "a type that numpy has not": {"array": ["<f3", [1]]},
    "a type of absurd size": {"array": ["<f99999999999999999999", [1]]},
    "a type that is none": {"array": [None, [1]]},
    "an array without parts": {"array": []},
    "an array that is a number": {"array": 3},
    "a class that is not kept": {"is": "Path", "of": {}},
    "a class of Python's": {"is": "__import__", "of": {"name": "os"}},
    "a class that is a list": {"is": [], "of": {}},
    "fields that are none": {"is": "Trap", "of": None},
    "a field too few": {"is": "Trap", "of": {}},
    "a field too many": {"is": "Trap", "of": {**SMALL["of"], "more": 1}},
    "an object that is nothing": {},
    "depth": b"[" * 100_000,
    "closed depth": b"[" * 100_000 + b"]" * 100_000,
    "a number of many digits": b"1" * 100_000,
    "no JSON": b"{",
    "no text": b"\xff\xfe",
    "nothing": b"",
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("data", [b"", b"\0" * 64])
def test_a_record_that_lies_is_a_value_error_and_takes_no_memory(what, data):
    hostile = record(HOSTILE[what], data)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r".") as caught:
            decode(hostile)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert type(caught.value) in (ValueError, json.JSONDecodeError, UnicodeDecodeError)
    assert peak < 100_000 + 50 * len(hostile)


def test_a_record_of_more_than_it_names_is_refused():
    assert decode(record({"array": ["<f8", [1]]}, b"\0" * 8)) == 0
    with pytest.raises(ValueError, match="more than it names"):
        decode(record({"array": ["<f8", [1]]}, b"\0" * 9))
    with pytest.raises(ValueError, match="more than it names"):
        decode(record({"array": ["<f8", [0]]}, b"\0" * 8))


def test_a_length_past_the_end_is_a_value_error():
    body = (1 << 60).to_bytes(8, "little") + b"[1"
    with pytest.raises(ValueError, match="Expecting"):
        decode(b"heavytail record 1\n" + blake2b(body, digest_size=32).digest() + body)


def trees(inner):
    return st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["is", "of", "array", "x"]), inner)


@given(st.recursive(st.none() | st.integers() | st.floats() | st.text(max_size=5), trees), st.binary(max_size=40))
def test_any_tree_is_a_value_or_a_value_error(tree, data):
    with suppress(ValueError):
        decode(record(tree, data))


def test_nothing_that_a_cache_holds_is_unpickled():
    for name in ("cache.py", "records.py"):
        text = (Path(heavytail.__file__).parent / "analysis" / name).read_text()
        assert "pickle.load" not in text
        assert "Unpickler" not in text
        assert "eval(" not in text


def test_a_noise_bulk_is_written_by_its_fields():
    (bulk,) = RESULTS["noise"].noise.bulks
    assert isinstance(decode(encode(bulk)), NoiseBulk)
