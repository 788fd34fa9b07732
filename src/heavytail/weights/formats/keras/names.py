"""Which layer each array of a Keras file belongs to, what the layer calls it, and the order of the model.

Three kinds of files: up to Keras 2 (and `.h5` of Keras 3) with `layer_names` and `weight_names`; of the Keras 3 format
with `layers/<class>_<number>/vars/<number>`; and HDF5 files of other programs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from heavytail.weights.formats.keras.layers import Layer, known, unnumbered, variables
from heavytail.weights.order import natural

__all__ = ["Variable", "legacy", "modern", "needed", "text", "unique"]

Attributes = Mapping[tuple[str, str], Any]

_LISTS = re.compile(r"(layer_names|weight_names)\d*")
_CONTAINERS = ("layers", "_layer_checkpoint_dependencies", "cells")
_WRAPPED = ("layer", "forward_layer", "cell", "backward_layer")
_SORTED = ("forward_layer", "backward_layer", "query_dense", "key_dense", "value_dense", "output_dense")
_CELLS = ("LSTM", "GRU", "SimpleRNN")
_LEAF = re.compile(r"((?:\w+_)?kernel|bias|gamma|beta|moving_mean|moving_variance|embeddings|[Wb])_\d+")


@dataclass(frozen=True, slots=True)
class Variable:
    """An array of a Keras file, and whose it is.

    Attributes:
        path: where it stands in the file.
        owner: path of the layer in the file.
        route: names of the layers that lead to it, its own layer last.
        name: what its layer calls it; empty if unknown.
        layer: its layer, as far as it is known.
        leaf: how it is named where `name` is unknown.
    """

    path: str
    owner: str
    route: tuple[str, ...]
    name: str
    layer: Layer | None
    leaf: str = ""

    @property
    def full(self) -> str:
        """Name of the layers and of the variable."""
        return "/".join((*self.route, self.name or self.leaf))


def needed(path: str, attribute: str) -> bool:
    """Say which attributes of an HDF5 file tell about layers: their paths and names."""
    if attribute == "name":
        return path.rpartition("/")[2] == "vars"
    return _LISTS.fullmatch(attribute) is not None or (not path and attribute == "model_config")


def unique(variables: Sequence[Variable]) -> list[str]:
    """Name variables by their layers; by their paths in the file where that is ambiguous."""
    many = Counter(variable.full for variable in variables)
    names = [variable.full if many[variable.full] == 1 else variable.path for variable in variables]
    return names if len(set(names)) == len(names) else [variable.path for variable in variables]


def legacy(base: str, paths: Iterable[str], attributes: Attributes, top: Layer | None) -> list[Variable]:
    """Find the layers of arrays in a file with `layer_names`.

    Args:
        base: path of the group that lists the layers.
        paths: paths of the arrays.
        attributes: the lists of names.
        top: the model's configuration, if there is one.

    Returns:
        The variables in the order of the model; those that no list names come last.
    """
    left = dict.fromkeys(sorted(paths, key=natural))
    found = []
    for layer in _names(attributes, base, "layer_names"):
        group = _join(base, layer)
        for weight in _names(attributes, group, "weight_names"):
            path = _join(group, weight)
            if path in left:
                del left[path]
                found.append(_listed(path, layer, weight, top))
    for path in left:
        layer, _, weight = path.removeprefix(f"{base}/").partition("/")
        found.append(_listed(path, layer, weight or layer, top))
    return found


def _join(base: str, name: str) -> str:
    return f"{base}/{name}" if base else name


def _names(attributes: Attributes, path: str, what: str) -> list[str]:
    """Give a list of names; Keras splits a long one in numbered parts."""
    parts = [attributes[path, what]] if (path, what) in attributes else []
    for i in count():
        if (path, f"{what}{i}") not in attributes:
            break
        parts.append(attributes[path, f"{what}{i}"])
    names = [name for part in parts for name in (part.ravel().tolist() if hasattr(part, "ravel") else [])]
    return [text(name) for name in names if isinstance(name, str | bytes)]


def text(value: str | bytes) -> str:
    """Give the text of an attribute, which is kept as text or as bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _listed(path: str, layer: str, weight: str, top: Layer | None) -> Variable:
    """Clear a weight's name of noise: 'x/x/kernel_1:0' of layer 'x' is its kernel."""
    route = weight.split("/")
    if layer in route:
        route = route[route.index(layer) :]
    elif layer != "top_level_model_weights":
        route = [layer, *route]
    leaf = route.pop().partition(":")[0]
    if route and leaf.startswith(f"{route[-1]}_"):  # Keras 1: 'dense_1_W'
        leaf = leaf.removeprefix(f"{route[-1]}_")
    match = _LEAF.fullmatch(leaf)
    leaf = match[1] if match else leaf
    owner = path.rpartition("/")[0]
    return Variable(path, owner, tuple(route), leaf, _by_names(top, route))


def _by_names(top: Layer | None, route: Sequence[str]) -> Layer | None:
    """Go down the configuration along names; those that it does not have are parts of a layer."""
    found = None
    for name in route:
        layer = found or top
        if layer is not None and name in layer.by_name:
            found = layer.children[layer.by_name[name]]
    while found is not None and found.kind == "TimeDistributed" and found.children:
        found = found.children[0]
    return found or (known(route[-1]) if route and top is None else None)


def modern(paths: Iterable[str], attributes: Attributes, top: Layer | None) -> list[Variable]:
    """Find the layers of arrays in a file of the Keras 3 format.

    Args:
        paths: paths of the arrays.
        attributes: names of layers, where the file has them.
        top: the model's configuration, if there is one.

    Returns:
        The variables in the order of the model where the configuration tells it, else sorted by their paths.
    """
    owners: dict[str, list[str]] = {}
    for path in paths:
        group, _, leaf = path.rpartition("/")
        owners.setdefault(group.removesuffix("vars").removesuffix("/"), []).append(leaf)
    ranks = _ranks(owners)
    found = []
    for owner, leaves in owners.items():
        order, route, layer = _walk(owner, ranks, attributes, top)
        names = variables(layer, len(leaves))
        for leaf in leaves:
            known_name = leaf.isdecimal() and len(leaf) < 10 and int(leaf) < len(names)
            name = names[int(leaf)] if known_name else ""
            path = _join(owner, f"vars/{leaf}")
            found.append(((order, natural(leaf)), Variable(path, owner, route, name, layer, leaf)))
    return [variable for _, variable in sorted(found, key=lambda entry: entry[0])]


def _ranks(owners: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Rank each group among those beside it that differ in a number only; gives the rank and how many they are."""
    groups = {"/".join(parts[: i + 1]) for owner in owners for parts in [owner.split("/")] for i in range(len(parts))}
    alike: dict[str, list[str]] = {}
    for group in sorted(groups, key=natural):
        alike.setdefault(unnumbered(group), []).append(group)
    return {group: (i, len(same)) for same in alike.values() for i, group in enumerate(same)}


def _walk(
    owner: str, ranks: Mapping[str, tuple[int, int]], attributes: Attributes, top: Layer | None
) -> tuple[tuple[Any, ...], tuple[str, ...], Layer | None]:
    """Follow a path from the model to a layer; gives its place in the model's order, the names and the layer."""
    layer, at = top, ""
    order: list[Any] = []
    route: list[str] = []
    parts = owner.split("/") if owner else []
    for i, part in enumerate(parts):
        at = _join(at, part)
        if part in _CONTAINERS and i + 1 < len(parts):
            continue
        given = attributes.get((f"{at}/vars", "name"))
        name = text(given) if isinstance(given, str | bytes) else ""
        position = _position(layer, part, name, *ranks[at])
        layer = _unlisted(layer, part, name) if layer is None or position is None else layer.children[position]
        attribute = part.lstrip("_")
        late = _SORTED.index(attribute) if attribute in _SORTED else len(_SORTED)
        order.append((late, 1 << 30 if position is None else position, natural(part)))
        side = part.removesuffix("layer") if part in _SORTED[:2] else ""
        route.append(name or (f"{side}{layer.name}" if layer and layer.name else part))
    return tuple(order), tuple(route), layer


def _position(layer: Layer | None, part: str, name: str, rank: int, alike: int) -> int | None:
    """Find which child of a layer a part of a path is; None if that is not known.

    Args:
        layer: the layer.
        part: the part of the path.
        name: the child's name, if the file states it.
        rank: rank of the part among those that differ in a number only.
        alike: how many these are.
    """
    if layer is None or not layer.children:
        return None
    if name in layer.by_name:
        return layer.by_name[name]
    if part in _WRAPPED:
        return len(layer.children) - 1 if part == "backward_layer" else 0
    # Keras numbers the layers of a class in their order, some versions leaving numbers out.
    same = layer.by_class.get(unnumbered(part), [])
    return same[rank] if not name and len(same) == alike else None


def _unlisted(layer: Layer | None, part: str, name: str) -> Layer | None:
    """Tell a layer that no configuration lists by the names that Keras makes of classes."""
    if layer is not None and part == "cell" and layer.kind in _CELLS:
        return Layer(f"{layer.kind}Cell", config=layer.config)
    guess = known(part) or known(name)
    if guess is None and part.endswith("_dense") and part.lstrip("_") in _SORTED:
        return Layer("EinsumDense")
    if guess is None and part == "cell":
        return Layer("LSTMCell")  # every cell of Keras names its variables alike
    return guess
