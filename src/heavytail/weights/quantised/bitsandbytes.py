"""bitsandbytes: int8 rows, and 4-bit floats (NF4, FP4) whose scales may be quantised in their turn."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from heavytail.weights.faults import one_line
from heavytail.weights.quantised.found import Config, Decoded, Found, Misfit
from heavytail.weights.quantised.grid import Dequantised, Grid, Numbers, floats
from heavytail.weights.quantised.packing import pairs, regroup
from heavytail.weights.ranges import shape_problem
from heavytail.weights.tensor import Array, Tensor, numpy_dtype

__all__ = ["decode_bitsandbytes4", "decode_bitsandbytes8"]

_MOST_STATE = 1 << 16  # bytes of JSON that state a shape and a few numbers
_MOST_OFFSET = float(np.finfo(np.float32).max)
_STATES = {kind: f".weight.quant_state.bitsandbytes__{kind}" for kind in ("nf4", "fp4")}


def decode_bitsandbytes8(found: Found, config: Config) -> Decoded:
    """Decode W[o, i] = q[o, i] SCB[o] / 127.

    Raises:
        Misfit: it is of another type or shape, or in the order of an old GPU kernel.
    """
    main, scales = found.check(found.main, "i", 2), found.part(".SCB", "f")
    if main.dtype != "int8" or scales.size != main.shape[0]:
        raise Misfit(f"{main.dtype} {main.shape} with SCB {scales.shape}; int8 (out, in) with (out,) expected")
    order = found.parts.get(".weight_format")
    if order is not None and (order.size != 1 or found.check(order, "iu").read().item() != 0):
        raise Misfit(f"'{order.name}' is not 0: only weights stored row by row can be read")
    scale = Grid(scales, (main.shape[0], 1), (1, main.shape[1]), _by_127)
    return Decoded(main.shape, Dequantised(main, floats, ((np.multiply, scale),)), "bitsandbytes int8")


def _by_127(array: Array) -> Numbers:
    """Divide in double precision, so that the scale is rounded once."""
    return floats(array.astype(np.float64) / 127)


def decode_bitsandbytes4(found: Found, config: Config) -> Decoded:
    """Decode W = code[q] absmax[i // blocksize], i counting the numbers of the weight row by row.

    Two numbers stand in a byte, the first one in the high bits. Where `absmax` is of bytes, it is itself
    code2[absmax] nested_absmax[j // nested_blocksize] + nested_offset (Dettmers et al. 2023, double quantisation).

    Raises:
        Misfit: the state is not readable or the sizes do not fit it.
    """
    main, kind, state = found.main, *_state(found)
    shape = _shape(state)
    n = prod(shape)
    itemsize = numpy_dtype(main.dtype).itemsize
    if not 0 <= 2 * main.nbytes - n < 2 * itemsize:
        raise Misfit(f"'{main.name}' has {main.nbytes} bytes, {-(-n // 2)} expected for the stated shape {shape}")
    code = _sized(found, ".weight.quant_map", 16)
    return Decoded(shape, _Blocks(main, code, _scales(found, state, n), shape), f"bitsandbytes {kind}")


def _state(found: Found) -> tuple[str, Mapping[str, Any]]:
    kind = next((kind for kind, ending in _STATES.items() if ending in found.parts), "nf4")
    stated = found.part(_STATES[kind], "u", 1)
    if stated.dtype != "uint8" or stated.size > _MOST_STATE:
        raise Misfit(f"'{stated.name}' has {stated.size} numbers of {stated.dtype}; a short text is expected")
    try:
        state = json.loads(stated.read().tobytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Misfit(f"'{stated.name}' is no JSON: {one_line(error)}") from error
    if not isinstance(state, dict):
        raise Misfit(f"'{stated.name}' is no JSON object")
    return kind, state


def _shape(state: Mapping[str, Any]) -> tuple[int, ...]:
    shape = state.get("shape")
    if not isinstance(shape, list) or not shape or not all(type(n) is int and n > 0 for n in shape):
        raise Misfit(f"its state has the shape {one_line(shape)}; a list of sizes is expected")
    problem = shape_problem(tuple(shape), 4)
    if problem is not None:
        raise Misfit(problem)
    return tuple(shape)


def _whole(state: Mapping[str, Any], key: str) -> int:
    value = state.get(key)
    if type(value) is not int or value < 1:
        raise Misfit(f"its state has the {key} {one_line(value)}; a whole number is expected")
    return value


def _sized(found: Found, ending: str, size: int, kinds: str = "f") -> Tensor:
    part = found.part(ending, kinds)
    if part.size != size:
        raise Misfit(f"'{part.name}' has {part.size} numbers, {size} expected")
    return part


@dataclass(frozen=True, slots=True)
class _Scales:
    """One number for each run of numbers of the weight; `of` is what they are a code for, if they are."""

    stored: Tensor
    run: int
    code: Tensor | None = None
    of: _Scales | None = None
    offset: float = 0.0

    def read(self) -> Numbers:
        """Read them; they are a small part of the weight."""
        stored = self.stored.read().reshape(-1)
        if self.code is None or self.of is None:
            return floats(stored)
        numbers = floats(self.code.read()).reshape(-1)[stored]
        _scale(numbers, 0, self.of.read(), self.of.run)
        return numbers + np.float32(self.offset)


def _scales(found: Found, state: Mapping[str, Any], n: int) -> _Scales:
    run = _whole(state, "blocksize")
    count = -(-n // run)
    if ".weight.nested_absmax" not in found.parts:
        return _Scales(_sized(found, ".weight.absmax", count), run)
    absmax = _sized(found, ".weight.absmax", count, "u")
    if absmax.dtype != "uint8":
        raise Misfit(f"'{absmax.name}' is {absmax.dtype}, uint8 expected")
    code = _sized(found, ".weight.nested_quant_map", 256)
    outer = _whole(state, "nested_blocksize")
    of = _Scales(_sized(found, ".weight.nested_absmax", -(-count // outer)), outer)
    offset = state.get("nested_offset")
    if not isinstance(offset, int | float) or not abs(offset) <= _MOST_OFFSET:
        raise Misfit(f"its state has the nested_offset {one_line(offset)}; a number is expected")
    return _Scales(absmax, run, code, of, float(offset))


def _scale(numbers: Numbers, first: int, scales: Numbers, run: int) -> None:
    """Multiply in place the numbers from the one at `first` on by the scales of their runs."""
    head = min(-first % run, len(numbers))
    if head:
        numbers[:head] *= scales[first // run]
    whole = (len(numbers) - head) // run
    at, end = (first + head) // run, head + whole * run
    numbers[head:end].reshape(whole, run)[...] *= scales[at : at + whole, None]
    if end < len(numbers):
        numbers[end:] *= scales[at + whole]


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Reads the weight as float32, as `Tensor.blocks` does; the bytes may be stored as any type."""

    main: Tensor
    code: Tensor
    scales: _Scales
    shape: tuple[int, ...]

    def __call__(self, rows: int) -> Iterator[Array]:
        """Give the weight as blocks of `rows` rows, the last one of what is left."""
        wanted = max(1, rows) * prod(self.shape[1:])
        for flat in regroup(self._pieces(wanted), wanted):
            yield flat.reshape(-1, *self.shape[1:])

    def _pieces(self, wanted: int) -> Iterator[Array]:
        """Give the numbers as flat arrays of about `wanted`."""
        code, scales = pairs(self.code.read().reshape(-1), low_first=False), self.scales.read()
        row = prod(self.main.shape[1:]) * numpy_dtype(self.main.dtype).itemsize
        first, n = 0, prod(self.shape)
        for stored in self.main.blocks(-(-wanted // (2 * row))):
            numbers = code[np.ascontiguousarray(stored).view(np.uint8).reshape(-1)].reshape(-1)[: n - first]
            with np.errstate(over="ignore", invalid="ignore"):
                _scale(numbers, first, scales, self.scales.run)
            yield numbers
            first += len(numbers)
