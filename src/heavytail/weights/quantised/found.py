"""How quantised weights and what they need to become numbers are named and typed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from heavytail.weights.tensor import Array, Tensor, numpy_dtype

__all__ = ["Config", "Decode", "Decoded", "Found", "Misfit", "recognise"]

Config = Mapping[str, Any]


class Misfit(Exception):  # noqa: N818  (it is caught where it is raised for, and never a user's error)
    """Why parts that look like a quantised weight are none, as a clause."""


class Decoded(NamedTuple):
    """A dequantised weight: its shape, what reads it as float32, and what its stored type is called."""

    shape: tuple[int, ...]
    blocks: Callable[[int], Iterator[Array]]
    stored: str


@dataclass(frozen=True, slots=True)
class Found:
    """A quantised weight by its parts.

    Attributes:
        scheme: what packed it.
        weight: name that the layer gives the weight.
        main: the tensor that holds the integers or narrow floats.
        parts: the tensors beside it, by the ending that the scheme gives their names.
        base: what the names of all parts begin with.
    """

    scheme: str
    weight: str
    main: Tensor
    parts: Mapping[str, Tensor]
    base: str

    def part(self, ending: str, kinds: str, axes: int | None = None) -> Tensor:
        """Give a part that must be there.

        Args:
            ending: ending of its name.
            kinds: kinds of numbers that it may hold: "f" floats, "i" signed and "u" unsigned integers.
            axes: number of its axes, if it matters.

        Raises:
            Misfit: it is missing, or of another type.
        """
        part = self.parts.get(ending)
        if part is None:
            raise Misfit(f"'{self.base}{ending}' is missing")
        return self.check(part, kinds, axes)

    def only(self, *endings: str) -> None:
        """Check that no other part stands there, which would change the numbers.

        Raises:
            Misfit: one does.
        """
        for ending, part in self.parts.items():
            if ending not in endings:
                raise Misfit(f"'{part.name}' is not expected beside '{self.main.name}'")

    def check(self, part: Tensor, kinds: str, axes: int | None = None) -> Tensor:
        """Give the part back.

        Raises:
            Misfit: it is of another type, has other axes or is empty.
        """
        if _kind(part.dtype) not in kinds:
            expected = " or ".join({"f": "floats", "i": "signed integers", "u": "unsigned integers"}[k] for k in kinds)
            raise Misfit(f"'{part.name}' is {part.dtype}, {expected} expected")
        if not part.size or (axes is not None and len(part.shape) != axes):
            expected = "" if axes is None else f" with {axes} axes"
            raise Misfit(f"'{part.name}' has shape {part.shape}, numbers{expected} expected")
        return part


Decode = Callable[[Found, Config], Decoded]


class _Scheme(NamedTuple):
    """A scheme by the endings of its names; `weight` replaces the main one in the layer's name for the weight.

    The main tensor alone is no sign, and one of full precision with a scale beside it is a weight; it must be of a
    narrow type unless `sure` says that the names are the scheme's own.
    """

    name: str
    main: str
    parts: tuple[str, ...]
    weight: str = ".weight"
    sure: bool = False


_STATE = ".weight.quant_state.bitsandbytes__"
_SCHEMES = (
    _Scheme("GPTQ or AWQ", ".qweight", (".scales", ".qzeros", ".g_idx", ".zeros", ".scaled_zeros")),
    _Scheme("SVDQuant", ".qweight", (".wscales", ".wzeros", ".wcscales", ".wtscale")),
    _Scheme(
        "bitsandbytes 4 bit",
        ".weight",
        (
            ".weight.absmax",
            ".weight.quant_map",
            ".weight.nested_absmax",
            ".weight.nested_quant_map",
            f"{_STATE}nf4",
            f"{_STATE}fp4",
        ),
        sure=True,
    ),
    _Scheme("bitsandbytes int8", ".weight", (".SCB", ".weight_format")),
    _Scheme("EETQ", ".weight", (".weight_scales",)),
    _Scheme(
        "scaled",
        ".weight",
        (
            ".weight_scale_inv",
            ".weight_scale",
            ".scale_weight",
            ".scale",
            ".weight_zero_point",
            ".weight_scale_2",
            ".comfy_quant",
        ),
    ),
    _Scheme(
        "compressed-tensors",
        ".weight_packed",
        (".weight_scale", ".weight_shape", ".weight_zero_point", ".weight_g_idx", ".weight_global_scale"),
    ),
    _Scheme("MXFP4", "_blocks", ("_scales",), weight=""),
    _Scheme("MXFP4", ".blocks", (".scales",), weight=""),
    _Scheme("HQQ", ".W_q", (".scale", ".zero", ".meta", ".shape", ".nbits", ".group_size"), sure=True),
    _Scheme("AQLM", ".codes", (".codebooks", ".scales")),
    _Scheme("QuIP#", ".Qidxs", (".SU", ".SV", ".Wscale", ".codebook_id")),
    _Scheme("QTIP or EXL3", ".trellis", (".SU", ".SV", ".suh", ".svh")),
    _Scheme("EXL2", ".q_weight", (".q_scale", ".q_scale_max", ".q_groups", ".q_group_map", ".q_perm", ".q_invperm")),
    _Scheme("VPTQ", ".indices", (".centroids.weight", ".centroids")),
    _Scheme("quanto", ".weight._data", (".weight._scale", ".weight._shift")),
    _Scheme("quanto", ".weight._data._data", (".weight._scale", ".weight._shift")),
    _Scheme("torchao", ".weight_qdata", (".weight_scale", ".weight_zero_point")),
    _Scheme("torchao", "._weight_qdata", ("._weight_scale", "._weight_zero_point")),
    _Scheme("Marlin", ".B", (".s", ".s_channel", ".s_group", ".B_meta")),
    _Scheme("compressed-tensors sparse", ".compressed", (".bitmask", ".row_offsets", ".shape")),
)


def recognise(tensors: Iterable[Tensor]) -> tuple[Found, ...]:
    """Find the quantised weights of a source by the names and types of their parts; nothing is read."""
    named = {tensor.name: tensor for tensor in tensors}
    return tuple(found for tensor in named.values() if (found := _recognise(tensor, named)))


def _recognise(tensor: Tensor, named: Mapping[str, Tensor]) -> Found | None:
    for scheme in _SCHEMES:
        if tensor.name.endswith(scheme.main) and (scheme.sure or _narrow(tensor.dtype)):
            base = tensor.name.removesuffix(scheme.main)
            parts = {ending: named[base + ending] for ending in scheme.parts if base + ending in named}
            if parts:
                return Found(scheme.name, base + scheme.weight, tensor, parts, base)
    return None


def _narrow(dtype: str) -> bool:
    """Say whether a type is an integer or a float of at most eight bits."""
    return _kind(dtype) in "iu" or dtype.startswith(("float8_", "float6_", "float4_"))


def _kind(dtype: str) -> str:
    """Give numpy's letter of a type's kind, "f" for every float; "?" for a type that numpy cannot hold."""
    try:
        return "f" if "float" in dtype else numpy_dtype(dtype).kind
    except TypeError:
        return "?"
