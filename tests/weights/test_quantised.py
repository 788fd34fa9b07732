"""Quantised weights and their scales give the numbers that the schemes define, element by element."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from heavytail.errors import SourceError
from heavytail.weights.formats.mapping import read_mapping
from heavytail.weights.places.files import LocalFile
from heavytail.weights.quantised import join_quantised
from heavytail.weights.source import open_source
from heavytail.weights.tensor import Hint

F8 = ml_dtypes.float8_e4m3fn


def join(state, config=None):
    tensors, notes = join_quantised(read_mapping(state)[0], config)
    return {tensor.name: tensor for tensor in tensors}, notes


def check(tensor, expected):
    """Compare every number, in blocks of several heights; each block but the last has the height asked for."""
    assert tensor.problem is None
    assert (tensor.shape, tensor.dtype) == (expected.shape, "float32")
    for rows in (1, 3, 7, 32, 1000):
        blocks = list(pickle.loads(pickle.dumps(tensor.blocks))(rows))
        assert [len(block) for block in blocks[:-1]] == [rows] * (len(blocks) - 1)
        assert 0 < len(blocks[-1]) <= rows
        read = np.concatenate(blocks)
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, expected)


def refused(state, *words, name):
    """Check that a weight is unsupported and says why, and that nothing of it is gone."""
    found, notes = join(state)
    assert set(found) == set(state)
    assert notes == ()
    for word in words:
        assert word in found[name].problem
    with pytest.raises(SourceError, match="cannot be read"):
        found[name].read()


def packed(values, bits, axis):
    """Pack unsigned integers into 32-bit words along an axis, as one stream of bits that begins with the lowest."""
    values = np.moveaxis(np.asarray(values), axis, 0)
    stream = (values[:, None] >> np.arange(bits).reshape(-1, *[1] * (values.ndim - 1))) & 1
    stream = stream.reshape(-1, *values.shape[1:])
    stream = np.concatenate([stream, np.zeros((-len(stream) % 32, *stream.shape[1:]), stream.dtype)])
    words = np.tensordot(stream.reshape(-1, 32, *stream.shape[1:]), 2 ** np.arange(32, dtype=np.uint64), ([1], [0]))
    return np.moveaxis(words.astype(np.uint32).view(np.int32), 0, axis).copy()


# GPTQ and AWQ


def gptq(bits, rng, zeros=None, order=None, size=(96, 64), groups=3, offset=1):
    """Give a GPTQ layer `q` and its weight (in, out), formed element by element."""
    q = rng.integers(0, 1 << bits, size)
    stored = rng.integers(0, 1 << bits, (groups, size[1])) if zeros is None else zeros
    scales = rng.uniform(0.001, 0.1, (groups, size[1])).astype(np.float16)
    group = np.arange(size[0]) // (size[0] // groups) if order is None else order
    expected = np.empty(size)
    for i in range(size[0]):
        for o in range(size[1]):
            expected[i, o] = float(scales[group[i], o]) * (q[i, o] - (stored[group[i], o] + offset))
    layer = {"q.qweight": packed(q, bits, 0), "q.qzeros": packed(stored, bits, 1), "q.scales": scales}
    if order is not None:
        layer["q.g_idx"] = order.astype(np.int32)
    return layer, expected


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("order", ["none", "sorted", "act-order"])
def test_gptq_is_dequantised_by_its_definition(bits, order):
    rng = np.random.default_rng(bits)
    group = np.arange(96) // 32
    group = {"none": None, "sorted": group, "act-order": rng.permutation(group)}[order]
    layer, expected = gptq(bits, rng, order=group)
    found, notes = join(layer | {"q.bias": np.ones(64)})
    assert set(found) == {"q.weight", "q.bias"}
    check(found["q.weight"], expected.astype(np.float32))
    assert found["q.weight"].stored == f"GPTQ {bits} bit"
    assert found["q.weight"].packed == sum(a.nbytes for a in layer.values())
    assert notes == (f"1 quantised weights were dequantised: 1 of GPTQ {bits} bit",)


def test_three_bits_cross_the_ends_of_the_words_as_autogptq_packs_them():
    """Value 10 has two bits at the end of the first word, value 21 one at the end of the second."""
    words = np.zeros((3, 32), np.int32)
    words[0] = 0b01 << 30  # value 10 is 0b101
    words[1] = 1
    words[2] = 0b11  # value 21 is 0b110
    ones = np.ones((1, 32), np.float16)
    found, _ = join(
        {"q.qweight": words, "q.scales": ones, "q.qzeros": np.zeros((1, 3), np.int32)}, {"checkpoint_format": "gptq_v2"}
    )
    column = found["q.weight"].read()[:, 5]
    assert column.tolist() == [{10: 5.0, 21: 6.0}.get(i, 0.0) for i in range(32)]


@pytest.mark.parametrize(("inputs", "groups", "size"), [(96, 2, 48), (96, 2, 64), (96, 2, 56), (160, 3, 64)])
def test_the_group_size_is_the_stated_one_and_is_never_a_choice_between_two(inputs, groups, size):
    rng = np.random.default_rng(0)
    order = np.arange(inputs) // size
    layer, expected = gptq(4, rng, order=order, groups=groups, size=(inputs, 64))
    del layer["q.g_idx"]
    check(join(layer, {"group_size": size})[0]["q.weight"], expected.astype(np.float32))
    for config in ({}, {"group_size": -1}, {"group_size": "64"}, {"group_size": 16}):
        found, _ = join(layer, config)
        if inputs == 160:  # three groups do not divide it, and 64 is the only power of two
            check(found["q.weight"], expected.astype(np.float32))
        else:
            assert "2 groups of 96 numbers may have 48 or 64 each" in found["q.qweight"].problem


def test_the_group_size_of_awq_is_the_stated_one():
    layer, expected = awq(np.random.default_rng(0), groups=2)
    check(join(layer, {"group_size": 48})[0]["q.weight"], expected.astype(np.float32))
    assert "may have 48 or 64 each" in join(layer)[0]["q.qweight"].problem


def test_gptq_v2_is_known_by_the_config_or_by_symmetric_zeros():
    rng = np.random.default_rng(0)
    layer, expected = gptq(4, rng, offset=0)
    check(join(layer, {"checkpoint_format": "gptq_v2"})[0]["q.weight"], expected.astype(np.float32))
    for zero, offset in ((8, 0), (7, 1)):
        layer, expected = gptq(4, rng, zeros=np.full((3, 64), zero), offset=offset)
        check(join(layer)[0]["q.weight"], expected.astype(np.float32))
    layer, expected = gptq(4, rng, zeros=np.full((3, 64), 8), offset=1)
    check(join(layer, {"checkpoint_format": "gptq"})[0]["q.weight"], expected.astype(np.float32))


def awq(rng, size=(96, 64), groups=3):
    q, zeros = rng.integers(0, 16, size), rng.integers(0, 16, (groups, size[1]))
    scales = rng.uniform(0.001, 0.1, (groups, size[1])).astype(np.float16)
    expected = np.empty(size)
    for i in range(size[0]):
        for o in range(size[1]):
            g = i // (size[0] // groups)
            expected[i, o] = float(scales[g, o]) * (q[i, o] - zeros[g, o])

    def interleaved(values):
        words = np.zeros((len(values), size[1] // 8), np.uint32)
        for column in range(size[1] // 8):
            for place, other in enumerate([0, 2, 4, 6, 1, 3, 5, 7]):
                words[:, column] |= values[:, 8 * column + other].astype(np.uint32) << np.uint32(4 * place)
        return words.view(np.int32)

    return {"q.qweight": interleaved(q), "q.qzeros": interleaved(zeros), "q.scales": scales}, expected


def test_awq_is_dequantised_by_its_definition():
    layer, expected = awq(np.random.default_rng(0))
    found, _ = join(layer)
    check(found["q.weight"], expected.astype(np.float32))
    assert found["q.weight"].stored == "AWQ 4 bit"


def test_a_square_layer_is_gptq_or_awq_by_its_shapes_alone():
    rng = np.random.default_rng(0)
    for make, stored in ((lambda: gptq(4, rng, size=(64, 64), groups=2), "GPTQ 4 bit"),):
        layer, expected = make()
        assert join(layer)[0]["q.weight"].stored == stored
        check(join(layer)[0]["q.weight"], expected.astype(np.float32))
    layer, expected = awq(rng, size=(64, 64), groups=2)
    check(join(layer)[0]["q.weight"], expected.astype(np.float32))


# bitsandbytes


def test_bitsandbytes_int8_is_rows_times_scb_over_127():
    rng = np.random.default_rng(0)
    q = rng.integers(-127, 128, (40, 30)).astype(np.int8)
    scb = rng.uniform(0.01, 1, 40).astype(np.float32)
    scale = np.array([np.float32(float(s) / 127) for s in scb])
    expected = q.astype(np.float32) * scale[:, None]
    np.testing.assert_allclose(expected, q * scb[:, None].astype(float) / 127, rtol=2e-7)
    layer = {"l.weight": q, "l.SCB": scb, "l.weight_format": np.uint8(0)}
    check(join(layer)[0]["l.weight"], expected)
    refused(layer | {"l.weight_format": np.uint8(2)}, "row by row", name="l.weight")
    refused(layer | {"l.SCB": scb[:-1]}, "(40, 30)", "(39,)", name="l.weight")


def four_bit(rng, shape, blocksize=64, nested=True, kind="nf4", blocks2=16):
    """Give a 4-bit layer of bitsandbytes and its weight, formed element by element."""
    n = int(np.prod(shape))
    code = np.sort(rng.standard_normal(16)).astype(np.float32)
    q = rng.integers(0, 16, n)
    count = -(-n // blocksize)
    state = {"quant_type": kind, "blocksize": blocksize, "dtype": "bfloat16", "shape": list(shape)}
    parts = {"quant_map": code}
    if nested:
        code2 = np.sort(rng.uniform(-1, 1, 256)).astype(np.float32)
        stored = rng.integers(0, 256, count).astype(np.uint8)
        outer = rng.uniform(0.1, 1, -(-count // blocks2)).astype(np.float32)
        offset = np.float32(1.25)
        absmax = np.array([code2[a] * outer[j // blocks2] + offset for j, a in enumerate(stored)], np.float32)
        parts |= {"absmax": stored, "nested_absmax": outer, "nested_quant_map": code2}
        state |= {"nested_blocksize": blocks2, "nested_dtype": "float32", "nested_offset": float(offset)}
    else:
        absmax = rng.uniform(0.1, 1, count).astype(np.float32)
        parts["absmax"] = absmax
    weight = np.array([code[q[i]] * absmax[i // blocksize] for i in range(n)], np.float32).reshape(shape)
    even = np.append(q, 0) if n % 2 else q
    layer = {"l.weight": (even[::2] << 4 | even[1::2]).astype(np.uint8)[:, None]}
    layer |= {f"l.weight.{name}": part for name, part in parts.items()}
    layer[f"l.weight.quant_state.bitsandbytes__{kind}"] = np.frombuffer(json.dumps(state).encode(), np.uint8).copy()
    return layer, weight


@pytest.mark.parametrize("shape", [(48, 64), (45, 33), (7, 5, 3), (1, 129)])
@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_four_bits_of_bitsandbytes_are_dequantised_by_their_definition(shape, nested, kind):
    layer, expected = four_bit(np.random.default_rng(0), shape, nested=nested, kind=kind)
    found, _ = join(layer)
    assert set(found) == {"l.weight"}
    check(found["l.weight"], expected)
    assert found["l.weight"].stored == f"bitsandbytes {kind}"


def test_four_bits_may_be_stored_as_another_type_or_as_one_row():
    layer, expected = four_bit(np.random.default_rng(0), (48, 64))
    raw = layer["l.weight"]
    for stored in (raw.reshape(-1).view(ml_dtypes.bfloat16)[:, None], raw.reshape(1, -1), raw.view(np.int8)):
        check(join(layer | {"l.weight": stored})[0]["l.weight"], expected)


@pytest.mark.parametrize("part", ["absmax", "quant_map", "nested_quant_map", "quant_state.bitsandbytes__nf4"])
def test_a_missing_part_of_four_bits_is_named(part):
    layer, _ = four_bit(np.random.default_rng(0), (48, 64))
    del layer[f"l.weight.{part}"]
    refused(layer, f"'l.weight.{part}' is missing", name="l.weight")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("shape", [48, 65]),
        ("shape", [1 << 40, 1 << 40]),
        ("shape", [-48, -64]),
        ("shape", [48.0, 64]),
        ("shape", None),
        ("blocksize", 0),
        ("blocksize", 10**30),
        ("blocksize", "64"),
        ("nested_blocksize", 1),
        ("nested_offset", None),
        ("nested_offset", 10**400),
        ("nested_offset", float("nan")),
    ],
)
def test_a_state_that_does_not_fit_is_refused(key, value):
    layer, _ = four_bit(np.random.default_rng(0), (48, 64))
    name = "l.weight.quant_state.bitsandbytes__nf4"
    state = json.loads(layer[name].tobytes()) | {key: value}
    layer[name] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    refused(layer, "bitsandbytes 4 bit: ", name="l.weight")


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff", b"[" * 50_000, b"1" * 60_000, b" " * 70_000])
def test_a_state_that_is_no_short_json_is_refused(text):
    layer, _ = four_bit(np.random.default_rng(0), (48, 64))
    layer["l.weight.quant_state.bitsandbytes__nf4"] = np.frombuffer(text, np.uint8)
    refused(layer, "quant_state", name="l.weight")


# Narrow floats with scales


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize("shape", [(300, 200), (256, 128), (1, 129)])
def test_float8_in_tiles_of_128_is_deepseeks(dtype, shape):
    rng = torch.Generator().manual_seed(0)
    w = torch.randn(shape, generator=rng).to(getattr(torch, dtype))
    tiles = [-(-n // 128) for n in shape]
    scales = torch.rand(tiles, generator=rng)
    expected = torch.empty(shape)
    for i in range(shape[0]):
        for j in range(tiles[1]):
            piece = w[i, 128 * j : 128 * j + 128].float()
            expected[i, 128 * j : 128 * j + 128] = piece * scales[i // 128, j]
    array = w.view(torch.uint8).numpy().view(getattr(ml_dtypes, dtype))
    found, _ = join({"l.weight": array, "l.weight_scale_inv": scales}, {"weight_block_size": [128, 128]})
    check(found["l.weight"], expected.numpy())
    assert found["l.weight"].stored == f"{dtype} with scales"


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (40,), (40, 1), (1, 96), (40, 3), (40, 96), (5, 12)])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_scales_are_of_the_tensor_a_row_a_column_or_a_tile(shape, dtype):
    rng = np.random.default_rng(0)
    w = rng.standard_normal((40, 96)).astype(F8)
    scales = rng.uniform(0.1, 2, shape).astype(dtype)
    grid = scales.astype(np.float32).reshape(-1, 1) if shape == (40,) else scales.astype(np.float32)
    expected = w.astype(np.float32).copy()
    if grid.size == 1:
        expected *= grid.reshape(())
    else:
        for i in range(40):
            for j in range(96):
                expected[i, j] *= grid[i * grid.shape[0] // 40, j * grid.shape[1] // 96]
    check(join({"l.weight": w, "l.weight_scale": scales})[0]["l.weight"], expected)


@pytest.mark.parametrize("name", ["weight_scale_inv", "weight_scale", "scale_weight", "scale"])
def test_a_scale_multiplies_whatever_its_name(name):
    w = np.random.default_rng(0).standard_normal((40, 96)).astype(F8)
    layer = {"l.weight": w, f"l.{name}": np.array(0.3, np.float32)}
    check(join(layer)[0]["l.weight"], w.astype(np.float32) * np.float32(0.3))
    check(join(layer | {"l.comfy_quant": np.ones(9, np.uint8)})[0]["l.weight"], w.astype(np.float32) * np.float32(0.3))
    alone = {"l.weight": w, "l.weight_zero_point": np.ones((40, 1), np.float32)}
    refused(alone, "'l.weight_scale' is missing", name="l.weight")
    refused(layer | {"l.weight_scale_2": np.array(2.0)}, "'l.weight_scale_2' is not expected", name="l.weight")


@pytest.mark.parametrize("shape", [(39,), (20,), (0,), (41, 1), (40, 97), (40, 90), (3, 40, 1), (40, 1, 1)])
def test_scales_that_do_not_cover_the_weight_are_refused(shape):
    layer = {"l.weight": np.ones((40, 96), F8), "l.weight_scale": np.ones(shape, np.float32)}
    refused(layer, "'l.weight_scale'", str(shape), name="l.weight")


def test_experts_have_scales_of_their_own():
    rng = np.random.default_rng(0)
    w = rng.standard_normal((4, 150, 130)).astype(F8)
    per_expert = rng.uniform(0.1, 2, 4).astype(np.float32)
    check(
        join({"e.weight": w, "e.weight_scale": per_expert})[0]["e.weight"],
        w.astype(np.float32) * per_expert[:, None, None],
    )
    tiles = rng.uniform(0.1, 2, (4, 2, 2)).astype(np.float32)
    spread = np.repeat(np.repeat(tiles, 128, 1)[:, :150], 128, 2)[:, :, :130]
    experts = join({"e.weight": w, "e.weight_scale_inv": tiles}, {"weight_block_size": [128, 128]})[0]
    check(experts["e.weight"], w.astype(np.float32) * spread)


def test_int8_of_compressed_tensors_has_zeros_where_it_is_not_symmetric():
    rng = np.random.default_rng(0)
    q = rng.integers(-128, 128, (40, 30)).astype(np.int8)
    scales = rng.uniform(0.01, 1, (40, 1)).astype(ml_dtypes.bfloat16)
    zeros = rng.integers(-128, 128, (40, 1)).astype(np.int8)
    wide = scales.astype(np.float32)
    check(join({"l.weight": q, "l.weight_scale": scales})[0]["l.weight"], q * wide)
    layer = {"l.weight": q, "l.weight_scale": scales, "l.weight_zero_point": zeros}
    check(join(layer)[0]["l.weight"], (q.astype(np.float32) - zeros) * wide)
    refused(layer | {"l.weight_zero_point": zeros[:-1]}, "weight_zero_point", "(39, 1)", name="l.weight")


@pytest.mark.parametrize(
    "beside", [{"l.weight_scale": np.ones(40, np.float16)}, {"l.scale": np.array(0.1)}, {"l.scale": np.ones((40, 1))}]
)
def test_int8_that_may_be_another_packing_is_refused(beside):
    """ChatGLM's int4 is int8 of two numbers each beside a 1-D scale; a `scale` may be that of a layer's output."""
    layer = {"l.weight": np.ones((40, 30), np.int8)} | beside
    refused(layer, "several packings", next(iter(beside)), name="l.weight")


def e2m1(codes):
    """The 4-bit floats by ml_dtypes, which knows the format by itself."""
    return codes.astype(np.uint8).view(ml_dtypes.float4_e2m1fn).astype(np.float32)


def e8m0(bytes_):
    return bytes_.view(ml_dtypes.float8_e8m0fnu).astype(np.float32)


@pytest.mark.parametrize("shape", [(40, 64), (3, 10, 96)])
def test_nvfp4_has_a_scale_for_16_inputs_and_one_for_the_tensor(shape):
    rng = np.random.default_rng(0)
    q = rng.integers(0, 16, shape)
    runs = rng.uniform(0.1, 400, (*shape[:-1], shape[-1] // 16)).astype(F8)
    whole = np.array(rng.uniform(1e-4, 1e-2), np.float32)
    exact = e2m1(q) * np.repeat(runs.astype(np.float32), 16, -1)
    stored = (q[..., ::2] | q[..., 1::2] << 4).astype(np.uint8)
    modelopt = {"l.weight": stored, "l.weight_scale": runs, "l.weight_scale_2": whole}
    check(join(modelopt)[0]["l.weight"], exact * whole)
    theirs = {"l.weight_packed": stored, "l.weight_scale": runs, "l.weight_global_scale": whole.reshape(1)}
    check(join(theirs)[0]["l.weight"], exact / whole)
    assert join(theirs)[0]["l.weight"].stored == "NVFP4"
    refused(modelopt | {"l.weight_scale": runs[..., :-1]}, str(runs.shape), name="l.weight")
    refused({"l.weight": stored, "l.weight_scale": runs}, "uint8", name="l.weight")
    refused(modelopt | {"l.weight_zero_point": runs}, "'l.weight_zero_point' is not expected", name="l.weight")
    refused(modelopt | {"l.comfy_quant": np.ones(9, np.uint8)}, "'l.comfy_quant' is not expected", name="l.weight")
    both = theirs | {"l.weight_zero_point": runs}
    refused(both, "'l.weight_zero_point' is not expected", name="l.weight_packed")


@pytest.mark.parametrize("names", [("e.gate_up_proj_blocks", "e.gate_up_proj_scales"), ("m.w.blocks", "m.w.scales")])
@pytest.mark.parametrize("lead", [(3, 40), (40,)])
def test_mxfp4_of_gpt_oss_has_an_exponent_for_32_inputs(names, lead):
    rng = np.random.default_rng(0)
    q = rng.integers(0, 16, (*lead, 3, 32))
    exponents = rng.integers(0, 255, (*lead, 3)).astype(np.uint8)
    blocks = (q[..., ::2] | q[..., 1::2] << 4).astype(np.uint8)
    with np.errstate(over="ignore"):
        expected = (e2m1(q) * e8m0(exponents)[..., None]).reshape(*lead, 96)
    weight = names[0][: -len("_blocks")]
    found, _ = join(dict(zip(names, (blocks, exponents), strict=True)))
    check(found[weight], expected)
    assert found[weight].stored == "MXFP4"
    refused(dict(zip(names, (blocks, exponents[..., :-1]), strict=True)), str(blocks.shape), name=names[0])


def test_an_exponent_of_255_is_not_a_number():
    blocks = np.zeros((2, 1, 16), np.uint8)
    found, _ = join({"w_blocks": blocks, "w_scales": np.array([[255], [127]], np.uint8)})
    assert np.isnan(found["w"].read()).all(axis=1).tolist() == [True, False]


def test_microscaling_of_compressed_tensors_has_exponents_for_32_inputs():
    rng = np.random.default_rng(0)
    exponents = rng.integers(100, 140, (40, 3)).astype(np.uint8)
    spread = np.repeat(e8m0(exponents), 32, 1)
    q = rng.integers(0, 16, (40, 96))
    four = {"l.weight_packed": (q[:, ::2] | q[:, 1::2] << 4).astype(np.uint8), "l.weight_scale": exponents}
    check(join(four)[0]["l.weight"], e2m1(q) * spread)
    eight = {"l.weight": rng.standard_normal((40, 96)).astype(F8), "l.weight_scale": exponents}
    check(join(eight)[0]["l.weight"], eight["l.weight"].astype(np.float32) * spread)
    assert [join(layer)[0]["l.weight"].stored for layer in (four, eight)] == ["MXFP4", "MXFP8"]


# compressed-tensors, packed


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("zeros", ["none", "packed", "plain"])
@pytest.mark.parametrize("order", ["none", "unused", "act-order"])
def test_packed_integers_of_compressed_tensors_are_dequantised_by_their_definition(bits, zeros, order):
    rng = np.random.default_rng(bits)
    half, shape, groups = 1 << (bits - 1), (44, 96), 3
    q, z = rng.integers(-half, half, shape), rng.integers(-half, half, (44, groups))
    scales = rng.uniform(0.001, 0.1, (44, groups)).astype(np.float16)
    group = np.arange(96) // 32
    layer = {
        "l.weight_packed": packed(q + half, bits, 1),
        "l.weight_scale": scales,
        "l.weight_shape": np.array(shape, np.int64),
    }
    if order == "unused":
        layer["l.weight_g_idx"] = np.full(96, -1, np.int32)
    elif order == "act-order":
        group = rng.permutation(group)
        layer["l.weight_g_idx"] = group.astype(np.int32)
    if zeros == "none":
        z = np.zeros_like(z)
    else:
        layer["l.weight_zero_point"] = packed(z + half, bits, 0) if zeros == "packed" else z.astype(np.int8)
    expected = np.empty(shape)
    for o in range(shape[0]):
        for i in range(shape[1]):
            expected[o, i] = float(scales[o, group[i]]) * (q[o, i] - z[o, group[i]])
    found, _ = join(layer)
    assert set(found) == {"l.weight"}
    check(found["l.weight"], expected.astype(np.float32))
    assert found["l.weight"].stored == f"compressed-tensors int{bits}"


def test_the_group_size_of_compressed_tensors_is_the_stated_one():
    rng = np.random.default_rng(0)
    q, scales = rng.integers(-8, 8, (44, 96)), rng.uniform(0.001, 0.1, (44, 2)).astype(np.float32)
    layer = {
        "l.weight_packed": packed(q + 8, 4, 1),
        "l.weight_scale": scales,
        "l.weight_shape": np.array([44, 96], np.int64),
    }
    expected = (q * np.repeat(scales, 64, 1)[:, :96]).astype(np.float32)
    group = {"targets": ["Linear"], "weights": {"group_size": 64, "num_bits": 4, "strategy": "group"}}
    other = {"weights": {"group_size": 48}}
    check(join(layer, {"config_groups": {"group_0": group}})[0]["l.weight"], expected)
    for groups in ({}, {"group_0": group, "group_1": other}, {"group_0": None}, [group], {"group_0": {"weights": 3}}):
        problem = join(layer, {"config_groups": groups})[0]["l.weight_packed"].problem
        assert "may have 48 or 64 each, and no group size is stated" in problem


def test_what_cannot_be_joined_keeps_the_hint_of_its_module():
    layer = {"l.weight": np.ones((40, 96), F8), "l.weight_scale": np.ones((7, 7), np.float32)}
    tensors = [replace(t, hint=Hint("linear")) for t in read_mapping(layer)[0]]
    found = {t.name: t for t in join_quantised(tensors)[0]}["l.weight"]
    assert found.problem
    assert (found.shape, found.hint) == ((40, 96), Hint("linear"))


def test_a_joined_weight_depends_on_the_files_of_all_its_parts():
    layer = {"l.weight": np.ones((40, 96), F8), "l.weight_scale": np.ones((40, 1), np.float32)}
    a, b, c = (LocalFile(Path(name)) for name in "abc")
    files = {"l.weight": (a, b), "l.weight_scale": (b, c)}
    tensors = [replace(t, files=files[t.name], whole=t.name == "l.weight") for t in read_mapping(layer)[0]]
    (found,) = join_quantised(tensors)[0]
    assert (found.files, found.whole) == ((a, b, c), True)


def test_the_zeros_of_a_single_row_are_packed():
    q, zero = np.random.default_rng(0).integers(-8, 8, (1, 64)), np.array([[-3, 5]])
    layer = {
        "l.weight_packed": packed(q + 8, 4, 1),
        "l.weight_scale": np.ones((1, 2), np.float32),
        "l.weight_shape": np.array([1, 64]),
        "l.weight_zero_point": packed(zero + 8, 4, 0),
    }
    check(join(layer)[0]["l.weight"], (q - np.repeat(zero, 32, 1)).astype(np.float32))


def test_a_stated_shape_that_the_words_do_not_hold_is_refused():
    layer = {"l.weight_packed": np.zeros((40, 12), np.int32), "l.weight_scale": np.ones((40, 1), np.float32)}
    for stated in ([40, 100], [41, 96], [0, 96], [-40, 96], [40, 1 << 40], [40, 8]):
        refused(layer | {"l.weight_shape": np.array(stated)}, "shape", name="l.weight_packed")
    refused(layer | {"l.weight_shape": np.array([40, 96, 1])}, "3 numbers", name="l.weight_packed")
    refused(layer, "'l.weight_shape' is missing", name="l.weight_packed")


# What is not decoded or does not fit


@pytest.mark.parametrize(
    ("scheme", "state"),
    [
        ("HQQ", {"l.W_q": np.ones((8, 8), np.uint8), "l.scale": np.ones((64, 1)), "l.zero": np.ones((64, 1))}),
        (
            "AQLM",
            {"l.codes": np.ones((4, 4, 1), np.int16), "l.codebooks": np.ones((1, 4, 1, 8)), "l.scales": np.ones(4)},
        ),
        ("QuIP#", {"l.Qidxs": np.ones((8, 8), np.int64), "l.SU": np.ones(8), "l.SV": np.ones(8)}),
        ("EETQ", {"l.weight": np.ones((8, 8), np.int8), "l.weight_scales": np.ones(8, np.float16)}),
        ("SVDQuant", {"l.qweight": np.ones((8, 8), np.int8), "l.wscales": np.ones((2, 8))}),
        ("quanto", {"l.weight._data": np.ones((8, 8), np.int8), "l.weight._scale": np.ones((8, 1))}),
        ("Marlin", {"l.B": np.ones((8, 8), np.int32), "l.s": np.ones((1, 8), np.float16)}),
        ("EXL2", {"l.q_weight": np.ones((8, 8), np.int32), "l.q_scale": np.ones((1, 1), np.int32)}),
        ("torchao", {"l._weight_qdata": np.ones((8, 8), np.int8), "l._weight_scale": np.ones((8, 1))}),
        ("VPTQ", {"l.indices": np.ones((1, 8, 8), np.int32), "l.centroids.weight": np.ones((1, 64))}),
    ],
)
def test_schemes_that_are_not_decoded_are_named(scheme, state):
    refused(state, scheme, list(state)[1], "not decoded", name=next(iter(state)))


def damaged_gptq():
    layer, _ = gptq(4, np.random.default_rng(0), order=np.arange(96) // 32)
    words, zeros, scales, order = (layer[f"q.{part}"] for part in ("qweight", "qzeros", "scales", "g_idx"))
    yield {"q.qweight": words[:, :-1]}, "(12, 63)"
    yield {"q.qzeros": zeros[:, :-1]}, "(3, 7)"
    yield {"q.qzeros": zeros[:-1]}, "(2, 8)"
    yield {"q.scales": scales[:, :-1]}, "(3, 63)"
    yield {"q.g_idx": order[:-1]}, "(95,)"
    yield {"q.g_idx": order.astype(np.float32)}, "q.g_idx"
    yield {"q.qweight": words.astype(np.int64)}, "int32"
    yield {"q.scales": scales.astype(np.int32)}, "q.scales"
    yield {"q.scales": scales[0]}, "q.scales"
    yield {"q.qweight": words[:0]}, "(0, 64)"
    yield {"q.zeros": scales}, "'q.zeros' is not expected"
    yield {"q.weight": np.ones((64, 96), np.float32)}, "'q.weight'"


@pytest.mark.parametrize(("change", "word"), list(damaged_gptq()))
def test_gptq_parts_that_disagree_are_refused(change, word):
    layer, _ = gptq(4, np.random.default_rng(0), order=np.arange(96) // 32)
    refused(layer | change, word, name="q.qweight")


def test_a_layer_that_is_stored_twice_is_joined_once():
    layer, expected = gptq(4, np.random.default_rng(0))
    again = {
        "q.weight_packed": np.zeros((8, 4), np.int32),
        "q.weight_scale": np.ones((8, 1), np.float32),
        "q.weight_shape": np.array([8, 32]),
    }
    found, _ = join(layer | again)
    assert set(found) == {"q.weight", *again}
    check(found["q.weight"], expected.astype(np.float32))
    assert "'q.weight' stands beside" in found["q.weight_packed"].problem


@pytest.mark.parametrize("part", ["q.scales", "q.qzeros"])
def test_a_missing_part_of_gptq_is_named(part):
    layer, _ = gptq(4, np.random.default_rng(0))
    del layer[part]
    refused(layer, f"'{part}' is missing", name="q.qweight")


@pytest.mark.parametrize("group", [-1, 3, 2**31 - 1])
def test_a_group_that_does_not_exist_is_a_source_error(group):
    layer, _ = gptq(4, np.random.default_rng(0), order=np.arange(96) // 32)
    layer["q.g_idx"][5] = group
    with pytest.raises(SourceError, match=f"'q.g_idx' names the groups .*{group}"):
        join(layer)[0]["q.weight"].read()


def test_a_part_that_cannot_be_read_is_the_reason():
    layer = {"l.weight": np.ones((40, 64), F8), "l.scale": np.ones((40, 1), np.float32)}
    tensors = [replace(t, problem="it is lost") if t.name == "l.scale" else t for t in read_mapping(layer)[0]]
    found = {t.name: t for t in join_quantised(tensors)[0]}
    assert "'l.scale' cannot be read: it is lost" in found["l.weight"].problem


def test_scales_that_are_powers_of_two_alone_are_applied(tmp_path):
    exponents = torch.tensor([[2.0], [0.25]]).repeat(20, 2)[:40]
    scales = exponents.to(torch.float8_e8m0fnu)
    ones = torch.ones(40, 64).to(torch.float8_e4m3fn)
    save_file({"l.weight": ones, "l.weight_scale": scales}, tmp_path / "m.safetensors")
    (tensor,) = open_source(tmp_path / "m.safetensors").tensors
    assert np.array_equal(tensor.read(), np.repeat(exponents.numpy(), 32, axis=1))


def test_weights_of_full_precision_are_left_alone():
    W = np.random.default_rng(0).standard_normal((30, 30))
    state = {
        "a.weight": W,
        "a.weight_scale": np.ones((30, 1)),
        "b_blocks": W,
        "b_scales": W,
        "c.weight": W.astype(F8),
        "d.weight": (9 * W).astype(np.int8),
        "e.scales": W,
    }
    tensors = read_mapping(state)[0]
    assert join_quantised(tensors) == (tensors, ())


# Files


def as_torch(array):
    if array.dtype == F8:
        return torch.from_numpy(array.view(np.uint8)).view(torch.float8_e4m3fn)
    return torch.from_numpy(np.array(array))


def test_a_file_gives_what_its_arrays_give_and_jobs_can_be_pickled(tmp_path):
    rng = np.random.default_rng(0)
    q, expected_q = gptq(3, rng, order=rng.permutation(np.arange(96) // 32))
    b, expected_b = four_bit(rng, (48, 64))
    w = rng.standard_normal((60, 50)).astype(F8)
    state = q | b | {"f.weight": w, "f.weight_scale": np.array(0.5, np.float32), "n.weight": np.ones(5, np.float32)}
    save_file({name: as_torch(array) for name, array in state.items()}, tmp_path / "m.safetensors")
    source = open_source(tmp_path / "m.safetensors")
    tensors, notes = source.tensors, source.notes
    found = {tensor.name: pickle.loads(pickle.dumps(tensor)) for tensor in tensors}
    assert set(found) == {"q.weight", "l.weight", "f.weight", "n.weight"}
    check(found["q.weight"], expected_q.astype(np.float32))
    check(found["l.weight"], expected_b)
    check(found["f.weight"], w.astype(np.float32) * np.float32(0.5))
    assert {tensor.origin for tensor in tensors} == {str(tmp_path / "m.safetensors")}
    assert len({tensor.storage for tensor in tensors}) == 4
    assert notes[0].startswith("3 quantised weights were dequantised: ")


def test_rows_are_read_without_holding_the_matrix(tmp_path):
    """A block of few rows reads few words: the largest array that is asked for stays far below the weight."""
    words = np.zeros((4096 // 8, 2048), np.int32)
    state = {"q.qweight": words, "q.scales": np.ones((32, 2048), np.float16), "q.qzeros": np.zeros((32, 256), np.int32)}
    save_file({name: torch.from_numpy(array) for name, array in state.items()}, tmp_path / "m.safetensors")
    tensor = join_quantised(open_source(tmp_path / "m.safetensors").tensors)[0][0]
    import tracemalloc

    tracemalloc.start()
    for _ in tensor.blocks(64):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert tensor.shape == (4096, 2048)
    assert peak < tensor.nbytes / 10


def test_random_damage_gives_numbers_a_reason_or_one_error():
    """Types, shapes and contents of random parts are changed; nothing but a SourceError may come out."""
    rng = np.random.default_rng(0)
    q, _ = gptq(4, rng, order=np.arange(96) // 32, size=(96, 32))
    b, _ = four_bit(rng, (12, 16))
    p = {
        "p.weight_packed": np.zeros((20, 8), np.int32),
        "p.weight_scale": np.ones((20, 2), np.float32),
        "p.weight_shape": np.array([20, 64]),
        "p.weight_g_idx": np.zeros(64, np.int32),
        "p.weight_zero_point": np.zeros((3, 2), np.int32),
    }
    m = {"m_blocks": np.zeros((4, 6, 2, 16), np.uint8), "m_scales": np.zeros((4, 6, 2), np.uint8)}
    v = {
        "v.weight": np.zeros((6, 16), np.uint8),
        "v.weight_scale": np.ones((6, 2), F8),
        "v.weight_scale_2": np.ones((), np.float32),
    }
    whole = q | b | p | m | v
    outcomes = set()
    for _ in range(600):
        state = dict(whole)
        for name in rng.choice(list(whole), 2):
            state[name] = _damage(rng, state[name])
        for tensor in join(state)[0].values():
            if tensor.shape:
                try:
                    read = [tensor.read(), *tensor.blocks(3)]
                    outcomes.add("read")
                    assert read[0].shape == tensor.shape
                except SourceError:
                    outcomes.add("refused" if tensor.problem else "error")
    assert outcomes == {"read", "refused", "error"}


def _damage(rng, array):
    match rng.integers(5):
        case 0:
            return array[: len(array) // 2] if array.ndim else array
        case 1:
            return array.T.copy()
        case 2:
            return array.astype(rng.choice(["float32", "int8", "int32", "uint8", "int64", "bool"]))
        case 3:
            flat = bytearray(array.tobytes())
            for at in rng.integers(0, len(flat), 3 if flat else 0):
                flat[at] = rng.integers(256)
            return np.frombuffer(bytes(flat), array.dtype).reshape(array.shape)
        case _:
            return np.stack([array, array])
