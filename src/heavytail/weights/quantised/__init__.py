"""Weights that a checkpoint stores as integers or narrow floats with scales beside them, made numbers again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from heavytail.weights.quantised.bitsandbytes import decode_bitsandbytes4, decode_bitsandbytes8
from heavytail.weights.quantised.found import Config, Decode, Found, Misfit, recognise
from heavytail.weights.quantised.integers import decode_packed, decode_qweight
from heavytail.weights.quantised.scaled import decode_mxfp4, decode_scaled
from heavytail.weights.ranges import unreadable
from heavytail.weights.tensor import Tensor

__all__ = ["join_quantised", "recognise"]

# The schemes that are decoded; the others that `recognise` knows are unsupported by name.
_DECODERS: Mapping[str, Decode] = {
    "GPTQ or AWQ": decode_qweight,
    "bitsandbytes 4 bit": decode_bitsandbytes4,
    "bitsandbytes int8": decode_bitsandbytes8,
    "compressed-tensors": decode_packed,
    "MXFP4": decode_mxfp4,
    "scaled": decode_scaled,
}


def join_quantised(
    tensors: Iterable[Tensor], config: Mapping[str, Any] | None = None
) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    """Join quantised weights and their scales into the weights that the network computes with.

    A joined tensor has the name that the layer gives the weight, is float32 and is dequantised block by block. Its
    shape is torch's, (out, in), but for GPTQ and AWQ: these stack the inputs, so (in, out) is the one order in which
    rows can be read without holding the matrix, and a spectrum does not depend on it.

    Args:
        tensors: the tensors of a source. The few that tell a shape (`weight_shape`, `quant_state`) are read now.
        config: the `quantization_config` that stands in config.json, where it is known. It settles what the tensors
            leave open: the size of the groups that share a scale, and whether GPTQ stores its zeros minus one
            (`checkpoint_format` "gptq") or as they are ("gptq_v2"). Without it, zeros that are all the middle of the
            range are as they are, as a symmetric quantisation has them, and all others minus one; and a group is a
            power of two, or what divides the inputs, where only one of them is possible.

    Returns:
        The tensors, a joined one in the place of its integers, and a note that says how many were joined. What looks
        quantised and does not fit has its `problem` set and keeps its name, with its scales beside it.

    Sources:
        GPTQ (Frantar et al. 2023; AutoGPTQ, GPTQModel), AWQ (Lin et al. 2024; AutoAWQ), bitsandbytes (Dettmers et al.
        2022, 2023), compressed-tensors, OCP Microscaling Formats v1.0 (2023), DeepSeek-V3 (2024), gpt-oss (2025).
    """
    tensors = tuple(tensors)
    names = {tensor.name for tensor in tensors}
    replaced: dict[str, Tensor] = {}
    gone: set[str] = set()
    for found in recognise(tensors):
        main = found.main
        try:
            joined = _join(found, config or {}, names)
        except Misfit as misfit:
            replaced[main.name] = unreadable(
                main.name, main.shape, main.dtype, main.origin, f"{found.scheme}: {misfit}", main.hint
            )
        else:
            replaced[main.name] = joined
            names.add(joined.name)
            gone.update(part.name for part in found.parts.values())
    kept = tuple(replaced.get(tensor.name, tensor) for tensor in tensors if tensor.name not in gone)
    counts = Counter(tensor.stored for tensor in replaced.values() if tensor.problem is None)
    if not counts:
        return kept, ()
    what = ", ".join(f"{count} of {stored}" for stored, count in counts.items())
    return kept, (f"{counts.total()} quantised weights were dequantised: {what}",)


def _join(found: Found, config: Config, names: set[str]) -> Tensor:
    decode = _DECODERS.get(found.scheme)
    main, parts = found.main, tuple(found.parts.values())
    if decode is None:
        raise Misfit(f"weights with '{parts[0].name}' beside them are not decoded")
    for part in (main, *parts):
        if part.problem is not None:
            raise Misfit(f"'{part.name}' cannot be read: {part.problem}")
    if found.weight != main.name and found.weight in names:
        raise Misfit(f"'{found.weight}' stands beside '{main.name}', so one of them is not used")
    shape, blocks, stored = decode(found, config)
    return Tensor(
        found.weight,
        shape,
        "float32",
        blocks,
        main.origin,
        None if main.storage is None else (main.storage, *(part.storage for part in parts)),
        hint=main.hint,
        stored=stored,
        packed=main.nbytes + sum(part.nbytes for part in parts),
        files=tuple(dict.fromkeys(file for part in (main, *parts) for file in part.files)),
        whole=main.whole,
    )
