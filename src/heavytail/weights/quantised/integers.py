"""GPTQ, AWQ and compressed-tensors: integers packed into 32-bit words."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from heavytail.weights.bits import period, unpack
from heavytail.weights.quantised.found import Config, Decoded, Found, Misfit
from heavytail.weights.quantised.grid import Dequantised, Grid, Numbers, Step, floats, grid, stated_sides, tile
from heavytail.weights.quantised.scaled import decode_float4
from heavytail.weights.tensor import Array, Tensor

__all__ = ["decode_packed", "decode_qweight"]

_GPTQ_BITS = (2, 3, 4, 8)
# AWQ packs eight columns into a word in the order 0 2 4 6 1 3 5 7; this is where each column then stands.
_AWQ_PLACES = np.array([0, 4, 1, 5, 2, 6, 3, 7])


def decode_qweight(found: Found, config: Config) -> Decoded:
    """Decode GPTQ, W[i, o] = s[g(i), o] (q[i, o] - z[g(i), o]), or AWQ, the same with g(i) = i // group size.

    With scales of shape (groups, out) and zeros packed along the outputs, `qzeros` tells the bits; a `qweight` that is
    packed along the inputs is GPTQ's, and one that is packed along the outputs AWQ's.

    Raises:
        Misfit: the shapes are neither's.
    """
    found.only(".scales", ".qzeros", ".g_idx")
    words = found.check(found.main, "iu", 2)
    scales, zeros = found.part(".scales", "f", 2), found.part(".qzeros", "iu", 2)
    _words(words, zeros)
    (groups, out), width = scales.shape, zeros.shape[1]
    bits = 32 * width // out
    if bits in _GPTQ_BITS and (groups, 32 * width) == (zeros.shape[0], bits * out):
        if words.shape[1] == out:
            return _gptq(found, config, bits)
        if words.shape[1] == width and bits == 4 and ".g_idx" not in found.parts:
            return _awq(words, scales, zeros, config)
    raise Misfit(
        f"qweight {words.shape}, scales {scales.shape} and qzeros {zeros.shape} are packed neither as GPTQ's "
        "(in x bits / 32, out), (groups, out), (groups, out x bits / 32) nor as AWQ's (in, out / 8), (groups, out), "
        "(groups, out / 8)"
    )


def _gptq(found: Found, config: Config, bits: int) -> Decoded:
    words, scales, zeros = found.main, found.parts[".scales"], found.parts[".qzeros"]
    span, count = period(bits)
    if words.shape[0] % span:
        raise Misfit(f"'{words.name}' has {words.shape[0]} rows; {bits} bits need a multiple of {span}")
    shape = (words.shape[0] // span * count, scales.shape[1])
    order = found.part(".g_idx", "iu") if ".g_idx" in found.parts else None
    if order is not None and order.shape != shape[:1]:
        raise Misfit(f"'{order.name}' has shape {order.shape}, {shape[:1]} expected")
    side = 1 if order is not None else _group(shape[0], scales.shape[0], config)
    stated = config.get("checkpoint_format")
    offset = {"gptq": 1, "gptq_v2": 0}.get(stated) if isinstance(stated, str) else None
    zero = Grid(zeros, scales.shape, (side, 1), partial(_gptq_zeros, bits, offset), rows=order)
    scale = Grid(scales, scales.shape, (side, 1), rows=order)
    steps = ((np.subtract, zero), (np.multiply, scale))
    return Decoded(shape, Dequantised(words, partial(_along_rows, bits), steps, span, count), f"GPTQ {bits} bit")


def _group(inputs: int, groups: int, config: Config) -> int:
    """Give the number of inputs in a group."""
    side = tile(inputs, groups, *stated_sides(config)[-1:])
    if not side:
        raise Misfit(f"{groups} groups do not cover {inputs} inputs")
    return side


def _awq(words: Tensor, scales: Tensor, zeros: Tensor, config: Config) -> Decoded:
    shape = (words.shape[0], scales.shape[1])
    side = _group(shape[0], scales.shape[0], config)
    zero = Grid(zeros, scales.shape, (side, 1), _awq_numbers)
    steps = ((np.subtract, zero), (np.multiply, Grid(scales, scales.shape, (side, 1))))
    return Decoded(shape, Dequantised(words, _awq_numbers, steps), "AWQ 4 bit")


def decode_packed(found: Found, config: Config) -> Decoded:
    """Decode what compressed-tensors packs into 32-bit words along the inputs: W = s (q - z), q and z signed.

    Words of bytes hold 4-bit floats instead, in blocks of 16 (NVFP4) or 32 (MXFP4) inputs.

    Raises:
        Misfit: the shapes disagree, or several numbers of bits fit.
    """
    if found.main.dtype == "uint8":
        return decode_float4(found)
    found.only(".weight_scale", ".weight_shape", ".weight_zero_point", ".weight_g_idx")
    words, scales = found.check(found.main, "iu", 2), found.part(".weight_scale", "f")
    _words(words)
    shape = _stated_shape(found)
    fit = [bits for bits in range(1, 9) if -(-shape[1] * bits // 32) == words.shape[1]]
    if shape[0] != words.shape[0] or len(fit) != 1:
        raise Misfit(f"'{words.name}' of shape {words.shape} holds no weight of the stated shape {shape}")
    bits = fit[0]
    scale = replace(grid(scales, shape, stated=stated_sides(config)), columns=_columns(found, shape[1]))
    steps: list[Step] = [(np.multiply, scale)]
    if ".weight_zero_point" in found.parts:
        steps.insert(0, (np.subtract, _zero_points(found, shape, bits, scale)))
    blocks = Dequantised(words, partial(_along_columns, bits, shape[1]), tuple(steps))
    return Decoded(shape, blocks, f"compressed-tensors int{bits}")


def _stated_shape(found: Found) -> tuple[int, int]:
    stated = found.part(".weight_shape", "iu", 1)
    if stated.size != 2:
        raise Misfit(f"'{stated.name}' has {stated.size} numbers, 2 expected")
    rows, columns = stated.read().tolist()
    if min(rows, columns) < 1:
        raise Misfit(f"the stated shape {(rows, columns)} is empty")
    return rows, columns


def _columns(found: Found, width: int) -> Tensor | None:
    """Give the group of each input, where the groups are not in order."""
    if ".weight_g_idx" not in found.parts:
        return None
    order = found.part(".weight_g_idx", "iu", 1)
    if order.size != width:
        raise Misfit(f"'{order.name}' has {order.size} numbers, {width} expected")
    return order


def _zero_points(found: Found, shape: tuple[int, int], bits: int, scale: Grid) -> Grid:
    """Lay the zeros where the scales are: as they are, or packed along the outputs."""
    zeros = found.part(".weight_zero_point", "if")
    packed = (-(-shape[0] * bits // 32), scale.shape[1])
    if zeros.dtype == "int32" and zeros.shape == packed and scale.shape[0] == shape[0]:
        return replace(scale, tensor=zeros, decode=partial(_packed_zeros, bits, shape[0]))
    if zeros.shape == scale.tensor.shape:
        return replace(scale, tensor=zeros)
    raise Misfit(
        f"'{zeros.name}' is {zeros.dtype} of shape {zeros.shape}; {scale.tensor.shape} or int32 {packed} expected"
    )


def _words(*tensors: Tensor) -> None:
    for tensor in tensors:
        if tensor.dtype not in ("int32", "uint32"):
            raise Misfit(f"'{tensor.name}' is {tensor.dtype}, int32 expected")


# What turns stored numbers into float32: plain functions, so that a tensor can be pickled.


def _along_rows(bits: int, words: Array) -> Numbers:
    return floats(unpack(words, bits))


def _along_columns(bits: int, width: int, words: Array) -> Numbers:
    """Unpack signed values along the last axis; they are stored plus half their range."""
    missing = -words.shape[1] % period(bits)[0]
    padded = np.pad(words, ((0, 0), (0, missing))) if missing else words
    values = floats(unpack(padded.T, bits)[:width].T)
    values -= 1 << (bits - 1)
    return values


def _packed_zeros(bits: int, rows: int, words: Array) -> Numbers:
    return np.ascontiguousarray(_along_columns(bits, rows, words.T).T)


def _gptq_zeros(bits: int, offset: int | None, words: Array) -> Numbers:
    """Unpack zeros along the outputs, stored minus `offset`; see `join_quantised` for what None means."""
    zeros = unpack(words.T, bits).T
    if offset is None:
        offset = 0 if (zeros == 1 << (bits - 1)).all() else 1
    return floats(zeros) + np.float32(offset)


def _awq_numbers(words: Array) -> Numbers:
    """Unpack values along the outputs and put them in order."""
    stored = unpack(words.T, 4).T.reshape(len(words), -1, 8)
    return floats(stored[:, :, _AWQ_PLACES]).reshape(len(words), -1)
