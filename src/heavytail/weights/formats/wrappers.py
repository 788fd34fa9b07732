"""Finding the weights in what a training script saved: under wrapper keys, beside optimizer state, in nested trees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from heavytail.weights.faults import one_line, quoted
from heavytail.weights.formats.naming import Unique

__all__ = ["Found", "children", "find_weights", "numbered"]

_WRAPPERS = frozenset(
    [
        "state_dict",
        "model",
        "model_state_dict",
        "model_state",
        "module",
        "ema",
        "ema_state_dict",
        "model_ema",
        "state_dict_ema",
        "generator",
        "params",
        "params_ema",
        "net",
        "network",
        "weights",
    ]
)
# What is left out, by the beginning of its key; only containers that stand beside weights are meant.
_LEFT_OUT = {
    "optimizer state": ("optim", "opt_state", "adam"),
    "scheduler state": ("lr_sched", "scheduler", "lr_scheduler"),
    "gradient scaler state": ("scaler", "grad_scaler", "amp"),
    "training loop state": ("loops", "callbacks", "rng_state", "rng_states", "cuda_rng", "torch_rng", "random_state"),
}
# Prefixes that DataParallel and torch.compile put before every name.
_NOISE = ("module.", "_orig_mod.")
_DEEPEST = 50
_CONTAINERS = (Mapping, list, tuple)

Items = list[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Found:
    """The weights in a saved object.

    Attributes:
        items: name and tensor, in order, names unique.
        notes: sentences about what was left out or renamed.
    """

    items: tuple[tuple[str, Any], ...]
    notes: tuple[str, ...]


def find_weights(root: object, is_tensor: Callable[[object], bool]) -> Found:
    """Find all tensors in a saved object, however deeply its training script wrapped them.

    A wrapper key ("state_dict", "model", ...) that holds all the weights is dropped from their names; keys that stand
    side by side become prefixes. Optimizer and training state is left out and said so.

    Args:
        root: nested mappings, lists and tuples; they may be shared and may hold themselves.
        is_tensor: says what counts as a tensor.
    """
    search = _Search(is_tensor)
    items = search.walk(root, ())
    return numbered(items, search.notes)


def numbered(items: Iterable[tuple[str, Any]], notes: Iterable[str] = ()) -> Found:
    """Make the names of tensors unique: the second `w` becomes `w#2`, and a note says so.

    Args:
        items: name and tensor, in order.
        notes: sentences about what was left out or renamed before.
    """
    unique = Unique()
    named = tuple((unique(name), tensor) for name, tensor in items)
    return Found(named, (*notes, *unique.notes))


class _Search:
    """One walk over a saved object; every container is entered once, so that shared ones cannot multiply."""

    def __init__(self, is_tensor: Callable[[object], bool]) -> None:
        self.is_tensor = is_tensor
        self.notes: list[str] = []
        self.entered: dict[int, tuple[str, ...] | None] = {}  # where a container with tensors was met first

    def walk(self, node: object, path: tuple[str, ...]) -> Items:
        if self.is_tensor(node):
            return [(path[-1] if path else "tensor", node)]
        if not isinstance(node, _CONTAINERS) or len(path) >= _DEEPEST:
            return []
        if id(node) in self.entered:
            first = self.entered[id(node)]
            if first is not None:
                self.notes.append(f"left out: {_dotted(path)}, which is the same object as {_dotted(first)}")
            return []
        self.entered[id(node)] = None
        found = self._inside(node, path)
        if found:
            self.entered[id(node)] = path
        return found

    def _inside(self, node: object, path: tuple[str, ...]) -> Items:
        direct: Items = []
        nested: list[tuple[str, Items]] = []
        direct_first = False
        for key, child in children(node):
            if self.is_tensor(child):
                direct.append((key, child))
                direct_first = direct_first or not nested
            elif isinstance(child, _CONTAINERS) and not self._leave_out(key, child, path):
                found = self.walk(child, (*path, key))
                if found:
                    nested.append((key, found))
        return _joined(_without_noise(direct), nested, direct_first)

    def _leave_out(self, key: str, child: object, path: tuple[str, ...]) -> bool:
        """Say whether a container is training state; if it holds tensors, a note says that they were left out."""
        state = _training_state(key, child)
        if state is None:
            return False
        count = sum(1 for _ in _tensors(child, self.is_tensor))
        if count:
            self.notes.append(f"left out: {state}, {count} tensors under {_dotted((*path, key))}")
        return True


def _dotted(path: tuple[str, ...]) -> str:
    return quoted(".".join(path))


def _joined(direct: Items, nested: list[tuple[str, Items]], direct_first: bool) -> Items:
    """Join the tensors that stand in a mapping and those under its keys."""
    if len(nested) == 1 and nested[0][0] in _WRAPPERS:
        under = nested[0][1]
        if {name for name, _ in under} & {name for name, _ in direct}:
            under = _prefixed(nested)
    else:
        under = _prefixed(nested)
    return direct + under if direct_first else under + direct


def _prefixed(nested: list[tuple[str, Items]]) -> Items:
    return [(f"{key}.{name}", tensor) for key, found in nested for name, tensor in found]


def children(node: object) -> Iterator[tuple[str, Any]]:
    """Name what a mapping, a list or a tuple holds; anything else holds nothing."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield _text(key), value
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield str(index), value


def _text(key: object) -> str:
    text = key if isinstance(key, str) else str(getattr(key, "name", key))
    return text if text.isprintable() else one_line(text)


def _training_state(key: str, child: object) -> str | None:
    """Say what kind of training state a container is; None if it may hold weights."""
    if not isinstance(child, Mapping | list | tuple):
        return None
    if isinstance(child, Mapping) and {"state", "param_groups"} <= set(child):
        return "optimizer state"
    lowered = key.lower()
    return next((kind for kind, starts in _LEFT_OUT.items() if lowered.startswith(starts)), None)


def _tensors(root: object, is_tensor: Callable[[object], bool]) -> Iterator[object]:
    """Go through the tensors below `root`, each container once even if it is shared or holds itself."""
    seen: set[int] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        if is_tensor(node):
            yield node
        elif isinstance(node, _CONTAINERS) and id(node) not in seen:
            seen.add(id(node))
            stack.extend(child for _, child in children(node))


def _without_noise(items: Items) -> Items:
    for noise in _NOISE:
        if items and all(name.startswith(noise) and name != noise for name, _ in items):
            items = [(name.removeprefix(noise), tensor) for name, tensor in items]
    return items
