"""Narrow floats and integers with scales: float8, int8, NVFP4 and MXFP4."""

from __future__ import annotations

import numpy as np

from heavytail.weights.quantised.found import Config, Decoded, Found, Misfit
from heavytail.weights.quantised.grid import Dequantised, Grid, Numbers, Step, exponents, floats, grid, stated_sides
from heavytail.weights.quantised.packing import E2M1, pairs
from heavytail.weights.tensor import Array, Tensor

__all__ = ["decode_float4", "decode_mxfp4", "decode_scaled"]

_ONE_SCALE = (".weight_scale_inv", ".weight_scale", ".scale_weight", ".scale")
_PAIRS = pairs(E2M1, low_first=True)


def decode_scaled(found: Found, config: Config) -> Decoded:
    """Decode W = s (w - z) for a scale for the tensor, a row, or a tile of any sides.

    So store DeepSeek (`weight_scale_inv`, which multiplies, for tiles of 128 x 128; `scale` in its own files), ComfyUI
    (`scale_weight`), fbgemm, modelopt and compressed-tensors float8, compressed-tensors int8 with or without zeros, and
    MXFP8 by exponents. Bytes with two scales are NVFP4.

    Raises:
        Misfit: the scales do not cover the weight, or the packing is not known.
    """
    main = found.main
    if main.dtype == "uint8" and ".weight_scale_2" in found.parts:
        return decode_float4(found)
    if main.dtype != "int8" and not main.dtype.startswith("float8"):
        raise Misfit(f"{main.dtype} beside '{next(iter(found.parts.values())).name}' is no packing that is decoded")
    found.check(main, "if")
    if len(main.shape) < 2:
        raise Misfit(f"shape {main.shape} is no matrix")
    scale = _scale(found, main.shape, stated_sides(config))
    steps: list[Step] = [(np.multiply, scale)]
    if ".weight_zero_point" in found.parts:
        zeros = found.part(".weight_zero_point", "if")
        if zeros.shape != scale.tensor.shape:
            raise Misfit(f"'{zeros.name}' has shape {zeros.shape}, its scales have {scale.tensor.shape}")
        steps.insert(0, (np.subtract, Grid(zeros, scale.shape, scale.sides)))
    name = "MXFP8" if scale.decode is exponents else f"{main.dtype} with scales"
    return Decoded(main.shape, Dequantised(main, floats, tuple(steps)), name)


def _scale(found: Found, shape: tuple[int, ...], stated: tuple[int, ...]) -> Grid:
    """Lay the only scales over the weight."""
    ending = next((name for name in _ONE_SCALE if name in found.parts), ".weight_scale")
    found.only(ending, ".weight_zero_point", ".comfy_quant")
    if found.main.dtype != "int8":
        return _floats_or_exponents(found.part(ending, "fu"), shape, stated)
    scales = found.part(ending, "f")
    if ending != ".weight_scale" or scales.shape == shape[:1] != (1,):
        # `scale` may be the output's, and beside a 1-D scale int8 may be two numbers of 4 bits, as in ChatGLM's int4.
        raise Misfit(f"int8 {shape} with '{scales.name}' of shape {scales.shape} may be of several packings")
    return grid(scales, shape, stated=stated)


def _floats_or_exponents(scales: Tensor, shape: tuple[int, ...], stated: tuple[int, ...]) -> Grid:
    """Lay scales over a weight of floats; as bytes they are exponents (OCP MX v1.0)."""
    if scales.dtype != "uint8" and "float" not in scales.dtype:
        raise Misfit(f"'{scales.name}' is {scales.dtype}, floats or uint8 expected")
    return grid(scales, shape, exponents if scales.dtype == "uint8" else floats, stated)


def decode_float4(found: Found) -> Decoded:
    """Decode two E2M1 numbers a byte, the first one in the low bits, with scales for runs of inputs.

    NVFP4 has float8 scales for 16 inputs and a second scale for the tensor, by which modelopt multiplies
    (`weight_scale_2`) and compressed-tensors divides (`weight_global_scale`); MXFP4 has exponents for 32 inputs.
    ComfyUI's NVFP4, which `comfy_quant` marks, has the numbers of a byte the other way round and is refused.

    Raises:
        Misfit: the scales do not cover the weight.
    """
    found.only(".weight_scale", ".weight_scale_2", ".weight_global_scale")
    main = found.check(found.main, "u")
    if len(main.shape) < 2:
        raise Misfit(f"shape {main.shape} is no matrix")
    shape = (*main.shape[:-1], 2 * main.shape[-1])
    scales = found.part(".weight_scale", "fu")
    run = 32 if scales.dtype in ("uint8", "float8_e8m0fnu") else 16
    expected = (*shape[:-1], -(-shape[-1] // run))
    if scales.shape != expected:
        raise Misfit(f"'{scales.name}' has shape {scales.shape}, {expected} expected")
    scale = _floats_or_exponents(scales, shape, (run,))
    steps: list[Step] = [(np.multiply, scale)]
    for ending, step in ((".weight_scale_2", np.multiply), (".weight_global_scale", np.divide)):
        if ending in found.parts:
            steps.append((step, grid(found.part(ending, "f"), shape)))
    if run == 16 and len(steps) != 2:
        raise Misfit("NVFP4 has two scales, of runs of 16 inputs and of the tensor")
    return Decoded(shape, Dequantised(main, _float4, tuple(steps)), "MXFP4" if run == 32 else "NVFP4")


def decode_mxfp4(found: Found, config: Config) -> Decoded:
    """Decode gpt-oss's experts: E2M1 numbers in blocks (experts, out, in / 32, 16), exponents (experts, out, in / 32).

    Raises:
        Misfit: the shapes disagree.
    """
    main, scales = found.check(found.main, "u"), next(iter(found.parts.values()))
    found.check(scales, "u")
    if {main.dtype, scales.dtype} != {"uint8"} or main.shape != (*scales.shape, 16) or len(scales.shape) < 2:
        raise Misfit(
            f"{main.dtype} blocks {main.shape} and {scales.dtype} scales {scales.shape}; "
            "uint8 (..., out, in / 32, 16) and (..., out, in / 32) expected"
        )
    shape = (*scales.shape[:-1], 32 * scales.shape[-1])
    steps = ((np.multiply, grid(scales, shape, exponents, (32,))),)
    return Decoded(shape, Dequantised(main, _float4_blocks, steps), "MXFP4")


def _float4(array: Array) -> Numbers:
    return _PAIRS[array].reshape(*array.shape[:-1], -1)


def _float4_blocks(array: Array) -> Numbers:
    return _PAIRS[array].reshape(*array.shape[:-2], -1)
