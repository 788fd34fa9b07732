"""LoRA adapters: the factors that a checkpoint stores, joined into what each adds to the weight of its layer.

A layer with the weight W computes with W + Delta, Delta = s B A, where A is (r, in) and B is (out, r) (Hu et al. 2022).
The scaling s is alpha / r, or alpha / sqrt(r) (Kalajdzievski 2023); alpha stands in another place for each tool:

* PEFT: `<module>.lora_A.weight` and `lora_B`, in a live model with the adapter's name before `.weight`; of an
  embedding `lora_embedding_A` (r, num_embeddings) and `lora_embedding_B` (dim, r), where Delta is s (B A)^T. Alpha is
  in adapter_config.json.
* sd-scripts and diffusers: `<module>.lora_down.weight` and `lora_up`, with a scalar `<module>.alpha`; s is 1 without.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from math import isfinite, prod, sqrt
from typing import Any, NamedTuple

import numpy as np

from heavytail.weights.adapter_config import LORA, AdapterConfig
from heavytail.weights.faults import quoted
from heavytail.weights.products import as_matrix, product_blocks, transposed
from heavytail.weights.ranges import unreadable
from heavytail.weights.tensor import Array, Factors, Tensor, numpy_dtype

__all__ = ["base_name", "has_adapters", "join_adapters", "merged"]

_NAMES = {
    "peft": re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])(?:\.(?P<adapter>[^.]+))?\.weight"),
    "embedding": re.compile(
        r"(?P<module>.+)\.lora_embedding_(?P<side>[AB])(?:\.(?P<adapter>(?!weight$)[^.]+))?(?:\.weight)?"
    ),
    "sd-scripts": re.compile(r"(?P<module>.+)\.lora_(?P<side>down|up)\.weight"),
    "diffusers": re.compile(r"(?P<module>.+?)(?:\.lora(?:_linear_layer)?|_lora)\.(?P<side>down|up)\.weight"),
}
_PEFT = ("peft", "embedding")
_LEFT = ("B", "up")
_BESIDE = ("lora_E", "lora_mid.weight")  # of AdaLoRA, and of a convolution in three factors: products of more than two
_WRAPPED = re.compile(r"^base_model\.model\.|\.base_layer(?=\.|$)|\.modules_to_save\.[^.]+(?=\.|$)")


class _Misfit(Exception):  # noqa: N818  (it never leaves this module)
    """Why factors are not joined, as a clause."""


@dataclass(slots=True)
class _Pair:
    """What stands in a source of one adapter of one layer."""

    module: str
    adapter: str
    style: str
    sides: dict[bool, Tensor] = field(default_factory=dict)  # by whether it is the left one

    @property
    def left(self) -> Tensor:
        return self.sides[True]

    @property
    def right(self) -> Tensor:
        return self.sides[False]


class _Joined(NamedTuple):
    """What an adapter adds to a layer, and what is known of it; a scaling that nothing tells is 1."""

    tensor: Tensor
    adapter: str
    rank: int
    scale: float
    scaled: bool
    dora: bool


def has_adapters(tensors: Iterable[Tensor]) -> bool:
    """Whether any tensor is, by its name, a factor of an adapter."""
    return any(_match(tensor.name) for tensor in tensors)


def base_name(name: str) -> str:
    """Give the name that a tensor of an adapter has in the base model: without what PEFT puts around its modules.

    Example:
        >>> base_name("base_model.model.lm_head.modules_to_save.default.weight")
        'lm_head.weight'
    """
    return _WRAPPED.sub("", name)


def join_adapters(
    tensors: Iterable[Tensor], config: AdapterConfig | None = None
) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    """Join the factors of LoRA adapters into what they add to the weights of the base model.

    A joined tensor has the shape of the base's weight, with the axes after the second left out where all of them are 1;
    its name there (`base_name`), with the adapter's name inside where a layer has several; and its numbers in float64,
    made block by block from its `factors`.

    Args:
        tensors: the tensors of a source. Scalars beside the factors, which tell a scaling, are read now.
        config: what adapter_config.json says, where it stands beside the weights: alpha, also by module; whether it is
            over r or over sqrt(r); whether the base stores (in, out). The rank is that of the factors.

    Returns:
        The tensors, a joined one in the place of the first of its factors, and notes: how many were joined, of which
        ranks and scalings; which were not, and why; what the configuration leaves open. Factors that are not joined
        stay as they are, as all do where the configuration is that of another kind of adapter.
    """
    told = config or AdapterConfig()
    if told.peft_type != LORA:
        kind = f"adapter_config.json says peft_type {quoted(told.peft_type)}"
        return tuple(tensors), (f"{kind}, which is not known to be a product B A: no factors are joined",)
    named = {tensor.name: tensor for tensor in tensors}
    pairs = _pairs(named.values())
    adapters = Counter(pair.module for pair in pairs)
    made: dict[str, _Joined] = {}
    gone: set[str] = set()
    taken, apart = set(named), []
    for pair in pairs:
        first = next(iter(pair.sides.values()))
        try:
            joined = _join(pair, named, told, _free_name(pair, adapters[pair.module] > 1, taken))
        except _Misfit as misfit:
            apart.append(f"{quoted(first.name)} ({misfit})")
            continue
        made[first.name] = joined
        taken.add(joined.tensor.name)
        gone |= {f"{pair.module}.alpha", *(side.name for side in pair.sides.values())}
    kept = (
        made[name].tensor if name in made else tensor
        for name, tensor in named.items()
        if name in made or name not in gone
    )
    return tuple(kept), tuple(_notes(list(made.values()), apart, config))


def merged(base: Tensor, delta: Tensor) -> Tensor:
    """Give the weight that a layer computes with: that of the base model and what an adapter adds to it.

    Args:
        base: the base model's weight.
        delta: the change, of the same shape but for axes of length 1 at its end, or of the transposed one.

    Returns:
        The sum in float64, under the name and in the shape of the base, made block by block from both. In DoRA the rows
        of the sum are given the lengths that the adapter stores. With a `problem` where it cannot be made.
    """
    delta = _laid_as(base, delta)
    magnitude = delta.factors.magnitude if delta.factors else None
    problem = base.problem or delta.problem or (magnitude.problem if magnitude else None)
    if problem is None and _trimmed(base.shape) != _trimmed(delta.shape):
        problem = f"its shape {base.shape} is not that of the change, {delta.shape}"
    if problem is not None:
        return unreadable(base.name, base.shape, base.dtype, base.origin, problem, base.hint)
    return Tensor(
        base.name,
        base.shape,
        "float64",
        partial(_merged_blocks, base, delta, magnitude),
        base.origin,
        hint=base.hint,
        stored=base.stored or base.dtype,
        packed=sum(part.packed or part.nbytes for part in (base, delta)),
        files=tuple(dict.fromkeys((*base.files, *delta.files))),
        whole=base.whole,
    )


def _match(name: str) -> tuple[str, re.Match[str]] | None:
    for style, pattern in _NAMES.items():
        match = pattern.fullmatch(name)
        if match:
            return style, match
    return None


def _pairs(tensors: Iterable[Tensor]) -> list[_Pair]:
    """Find the factors by their names, those of one adapter of one layer together."""
    pairs: dict[tuple[str, str, str], _Pair] = {}
    for tensor in tensors:
        found = _match(tensor.name)
        if found:
            style, match = found
            key = (match["module"], match.groupdict().get("adapter") or "", style)
            pairs.setdefault(key, _Pair(*key)).sides[match["side"] in _LEFT] = tensor
    return list(pairs.values())


def _free_name(pair: _Pair, several: bool, taken: set[str]) -> str:
    """Name what an adapter adds to a layer, which may itself stand in the same source."""
    # sd-scripts begins every module with "lora_", and writes its dots as "_".
    module = base_name(pair.module).removeprefix("lora_")
    inner = [pair.adapter] if several and pair.adapter else []
    names = (".".join([module, *inner, *more, "weight"]) for more in ([], ["delta"]))
    name = next((name for name in names if name not in taken), None)
    if name is None:
        raise _Misfit("its layer's name is taken")
    return name


def _join(pair: _Pair, named: Mapping[str, Tensor], told: AdapterConfig, name: str) -> _Joined:
    rank = _check(pair, named)
    if pair.style in _PEFT and (why := told.misfit(base_name(pair.module), rank)):
        raise _Misfit(why)
    A, B = pair.right, pair.left
    kernel = A.shape[2:] if prod(A.shape[2:]) > 1 else ()
    left, right = as_matrix(B), as_matrix(A)
    turned = pair.style == "embedding" or (pair.style == "peft" and told.fan_in_fan_out and len(A.shape) == 2)
    if turned:
        left, right = transposed(right), transposed(left)
    magnitude = _magnitude(pair, named, left.shape[0], turned)
    told_scale = _scale(pair, named, told, rank)
    scale = 1.0 if told_scale is None else told_scale
    shape = (left.shape[0], *A.shape[1:]) if kernel else (left.shape[0], right.shape[1])
    tensor = Tensor(
        name,
        shape,
        "float64",
        partial(product_blocks, left, right, scale, shape[1:]),
        B.origin,
        None if A.storage is None or B.storage is None else ("product", A.storage, B.storage, scale, turned),
        stored=" and ".join(sorted({B.stored or B.dtype, A.stored or A.dtype})),
        packed=sum(side.packed or side.nbytes for side in (A, B)),
        files=tuple(dict.fromkeys((*B.files, *A.files))),
        factors=Factors(left, right, scale, magnitude),
    )
    return _Joined(tensor, pair.adapter, rank, scale, told_scale is not None, magnitude is not None)


def _check(pair: _Pair, named: Mapping[str, Tensor]) -> int:
    """Check that two factors are there and fit, and give their rank."""
    if len(pair.sides) < 2:
        raise _Misfit("its other factor is missing")
    A, B = pair.right, pair.left
    for side in (A, B):
        if side.problem is not None:
            raise _Misfit(f"{quoted(side.name)} cannot be read: {side.problem}")
        if numpy_dtype(side.dtype).kind in "biuc":
            raise _Misfit(f"{quoted(side.name)} is {side.dtype}")
    for ending in _BESIDE:
        if any(f"{pair.module}.{ending}{more}" in named for more in ("", f".{pair.adapter}")):
            raise _Misfit(f"{ending.removesuffix('.weight')} beside it makes a product of more than two")
    axes = (len(A.shape), len(B.shape))
    fits = min(axes) >= 2 and max(axes) <= 5 and B.shape[1] == A.shape[0] and prod(B.shape[2:]) == 1
    if not fits or not A.size or not B.size:
        raise _Misfit(f"shapes {B.shape} and {A.shape} have no product")
    return A.shape[0]


def _magnitude(pair: _Pair, named: Mapping[str, Tensor], rows: int, turned: bool) -> Tensor | None:
    """Find the lengths that DoRA gives the rows of the merged weight; `merged` refuses those of anything else."""
    base = f"{pair.module}.lora_magnitude_vector" + (f".{pair.adapter}" if pair.adapter else "")
    scale = f"{pair.module}.dora_scale"  # of sd-scripts: of rows or of columns, as its axes tell
    found = next((named[name] for name in (base, f"{base}.weight", scale) if name in named), None)
    if found is None or found.problem is not None:
        return found
    if turned or found.size != rows or (found.name == scale and found.shape[0] != rows):
        return replace(found, problem=f"its DoRA magnitudes {found.shape} are not of its {rows} rows")
    return found


def _scale(pair: _Pair, named: Mapping[str, Tensor], told: AdapterConfig, rank: int) -> float | None:
    """Give the scaling of a product; None where nothing tells it."""
    stored = named.get(f"{pair.module}.alpha")
    if stored is not None and stored.problem is None and stored.size == 1:
        alpha: float | None = float(stored.read().astype(np.float64).reshape(-1)[0])
    elif stored is not None:
        raise _Misfit(f"{quoted(stored.name)} of shape {stored.shape} is no number")
    elif pair.style not in _PEFT:
        alpha = float(rank)
    else:
        alpha = told.alpha(base_name(pair.module))
    if alpha is None:
        return None
    root = stored is None and pair.style in _PEFT and told.use_rslora
    scale = alpha / (sqrt(rank) if root else rank)
    if not isfinite(scale):
        raise _Misfit(f"its alpha is {alpha}")
    return scale


def _notes(joined: list[_Joined], apart: list[str], config: AdapterConfig | None) -> Iterator[str]:
    if joined:
        yield _told_adapters(joined)
    if unscaled := sum(not each.scaled for each in joined):
        why = "no adapter_config.json beside them" if config is None else "adapter_config.json has no lora_alpha"
        yield f"the scaling of {_count(unscaled, 'layer')} is not known ({why}); it is taken to be 1"
    if dora := sum(each.dora for each in joined):
        yield (
            f"{_count(dora, 'layer')} of DoRA: the merged weight is W + scaling B A with its rows rescaled, "
            "so scaling B A alone is not the whole change"
        )
    if apart:
        yield f"LoRA factors that are not joined: {', '.join(apart[:3])}{_more(apart)}"
    if config and config.odd:
        yield f"patterns of adapter_config.json that are not understood: {', '.join(map(quoted, config.odd[:3]))}"


def _told_adapters(joined: Iterable[_Joined]) -> str:
    """Say of each adapter how many layers it has, of which ranks and scalings."""
    layers: dict[str, list[_Joined]] = {}
    for each in joined:
        layers.setdefault(each.adapter, []).append(each)
    sizes = {
        name: f"of {_count(len(held), 'layer')}, rank {_range([each.rank for each in held])}, "
        f"scaling {_range([each.scale for each in held])}"
        for name, held in layers.items()
    }
    if len(sizes) == 1:
        return f"a LoRA adapter {next(iter(sizes.values()))}"
    each_one = [f"{quoted(name) if name else 'one without a name'} {size}" for name, size in sizes.items()]
    return f"{len(sizes)} LoRA adapters: {'; '.join(each_one[:3])}{_more(each_one)}"


def _more(said: list[str]) -> str:
    return f" and {len(said) - 3} more" if len(said) > 3 else ""


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s' if n != 1 else ''}"


def _range(values: list[Any]) -> str:
    least, most = min(values), max(values)
    return f"{least:g}" if least == most else f"{least:g} to {most:g}"


def _trimmed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Give a shape without the axes of length 1 that follow its second."""
    return shape if prod(shape[2:]) > 1 else shape[:2]


def _laid_as(base: Tensor, delta: Tensor) -> Tensor:
    """Turn a change where the base is laid out as its transpose, as GPTQ's and AWQ's are (in, out)."""
    shape = _trimmed(base.shape)
    turned = base.stored.startswith(("GPTQ", "AWQ")) or shape != delta.shape
    return transposed(delta) if len(shape) == 2 and turned and shape == delta.shape[::-1] else delta


def _merged_blocks(base: Tensor, delta: Tensor, magnitude: Tensor | None, rows: int) -> Iterator[Array]:
    lengths = None if magnitude is None else magnitude.read().astype(np.float64).reshape(-1)
    changes, change = delta.blocks(rows), np.zeros((0,))
    first = 0
    for block in base.blocks(rows):
        W, done = block.astype(np.float64), 0
        while done < len(W):  # either may cut its rows in its own way
            if not len(change):
                change = next(changes)
            count = min(len(W) - done, len(change))
            W[done : done + count] += change[:count].reshape(count, *W.shape[1:])
            change, done = change[count:], done + count
        if lengths is not None:
            W = _lengthened(W, lengths[first : first + len(W)])
        yield W
        first += len(W)


def _lengthened(W: Array, lengths: Array) -> Array:
    """Give the rows of a weight other lengths."""
    seen = np.sqrt(np.square(W).sum(axis=tuple(range(1, W.ndim))))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(W * (lengths / seen).reshape(-1, *[1] * (W.ndim - 1)))
