"""Which tensors of a source are no weights, and why: vectors, masks, indices, buffers, quantised weights, scales."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from heavytail.weights.quantised import recognise
from heavytail.weights.tensor import Tensor, numpy_dtype

__all__ = ["LeftOut", "exclude"]

# Tensors that training frameworks store beside the weights.
_BUFFER = re.compile(r"(^|\.)(bias|(\w+_)?mask|masked_bias|(cos|sin)(_cached)?|inv_freq|running_\w+)$")
# Bases of Fourier, mel and constant-Q transforms, which audio models hold as convolutions.
_TRANSFORM = re.compile(
    r"(^|[._/])((forward|inverse|mel|stft|i?dft|cqt)_(basis|kernels?|filters?|conv)|cq_?t\d{4})", re.IGNORECASE
)
_FEW = 64  # int32 tables up to here hold paddings and the like


class LeftOut(NamedTuple):
    """Why a tensor gives no matrix: the kind, status and reason of its row."""

    kind: str
    status: str
    reason: str


def exclude(tensors: Iterable[Tensor]) -> dict[str, LeftOut]:
    """Find the tensors of a source that hold no weight matrix.

    Quantised weights that `join_quantised` could not join are unsupported, for the reason that it gave them.
    """
    named = {tensor.name: tensor for tensor in tensors}
    found = {name: why for name, tensor in named.items() if (why := _alone(tensor))}
    for quantised in recognise(named.values()):
        main, scales = quantised.main, [part.name for part in quantised.parts.values()]
        reason = main.problem or f"{quantised.scheme}: {main.dtype} with '{scales[0]}' beside it, not dequantised"
        found[main.name] = LeftOut("quantised", "unsupported", reason)
        found |= {scale: LeftOut("scale", "skipped", f"belongs to the quantised '{main.name}'") for scale in scales}
    return found


def _alone(tensor: Tensor) -> LeftOut | None:
    """Say why a tensor by itself holds no matrix; None if it holds some."""
    shape = tensor.shape
    # A single row or column may be a layer of one output; with further axes of length 1 a tensor is a bias or a gain.
    if len(shape) < 2 or (len(shape) > 2 and sum(n > 1 for n in shape) < 2):
        return LeftOut("vector", "skipped", f"a vector of {tensor.size}" if shape else "a scalar")
    if tensor.size == 0:
        return LeftOut("empty", "skipped", f"empty, shape {shape}")
    if tensor.problem:
        return LeftOut("tensor", "unsupported", tensor.problem)
    if len(shape) > 5:
        return LeftOut("tensor", "unsupported", f"{len(shape)} axes, shape {shape}: no known layout")
    return _not_a_weight(tensor)


def _not_a_weight(tensor: Tensor) -> LeftOut | None:
    """Say why the numbers of a tensor are no weights, by its type and its name."""
    kind = numpy_dtype(tensor.dtype).kind
    if kind == "b":
        return LeftOut("mask", "skipped", "true or false: a mask, not weights")
    if tensor.dtype in ("int64", "uint64"):
        return LeftOut("index", "skipped", f"{tensor.dtype}: indices, not weights")
    if tensor.dtype == "int32" and tensor.size <= _FEW:
        return LeftOut("index", "skipped", f"{tensor.size} integers: sizes or indices, not weights")
    if _TRANSFORM.search(tensor.name):
        return LeftOut("transform", "skipped", "by its name a fixed transform of the input, not learned")
    if tensor.hint is None and _BUFFER.search(tensor.name):
        return LeftOut("buffer", "skipped", "by its name a bias, a mask or a buffer, not a weight")
    if kind in "iu":
        reason = f"{tensor.dtype} without scales: the stored integers are not the weights"
        return LeftOut("integers", "unsupported", reason)
    if kind == "c":
        return LeftOut("complex", "unsupported", f"{tensor.dtype}: complex weights are not analysed")
    return None
