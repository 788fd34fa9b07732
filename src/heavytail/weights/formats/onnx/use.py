"""What an ONNX graph does with each of its constants: who takes it, through which steps, and what that makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from heavytail.weights.formats.onnx.graph import Graph, Model, Node, Proto, Sparse
from heavytail.weights.tensor import Hint

__all__ = ["GATES", "RESHAPES", "Constant", "End", "Survey", "Use", "Value", "hint_of", "part", "role", "survey"]

Value = tuple[int, str]  # the graph in which it is made, and its name there

# The order along axis 0 of W and R that ONNX prescribes, in torch's letters: the cell's input is g or n, not c or h.
GATES = {"LSTM": "iofg", "GRU": "zrn", "RNN": ""}
RESHAPES = {"Expand", "Flatten", "Reshape", "Slice", "Squeeze", "Unsqueeze"}
_TURNS = {"Transpose", *RESHAPES}
_SAME = {"Cast", "CastLike", "DequantizeLinear", "Dropout", "Identity", "QuantizeLinear", *_TURNS}
_MOST_STEPS = 100  # from a constant to what uses it; a weight takes a handful
_MOST_WORK = 5_000_000  # uses looked at in all; functions could multiply those of a small file without end

# Which input of an operator is a weight, and what it then is. com.microsoft's operators stand beside ONNX's own.
_WEIGHTS: dict[str, tuple[str, tuple[int, ...]]] = {
    "Attention": ("linear", (1,)),
    "Conv": ("conv", (1,)),
    "ConvInteger": ("conv", (1,)),
    "ConvTranspose": ("transposed", (1,)),
    "DynamicQuantizeMatMul": ("linear", (1,)),
    "Einsum": ("linear", (0, 1, 2)),
    "EmbedLayerNormalization": ("embedding", (2, 3, 4)),
    "FusedConv": ("conv", (1,)),
    "FusedGemm": ("linear", (0, 1)),
    "FusedMatMul": ("linear", (0, 1)),
    "GRU": ("gru", (1, 2)),
    "Gather": ("embedding", (0,)),
    "Gemm": ("linear", (0, 1)),
    "LSTM": ("lstm", (1, 2)),
    "MatMul": ("linear", (0, 1)),
    "MatMulInteger": ("linear", (0, 1)),
    "MatMulIntegerToFloat": ("linear", (1,)),
    "MatMulNBits": ("linear", (1,)),
    "QAttention": ("linear", (1,)),
    "QGemm": ("linear", (3,)),
    "QLinearConv": ("conv", (3,)),
    "QLinearMatMul": ("linear", (0, 3)),
    "RNN": ("rnn", (1, 2)),
}
_AFFINE = ("Conv", "ConvTranspose", "FusedConv", "FusedGemm", "Gemm")


class Use(NamedTuple):
    """A node that takes a value, the place of that among its inputs, and the graph in which the node stands."""

    node: Node
    place: int
    scope: int


class End(NamedTuple):
    """Where a constant ends up: the node that uses it, and the steps on the way that change its shape."""

    use: Use
    steps: tuple[Node, ...]


class Constant(NamedTuple):
    """A tensor of the model: the value that it is in the graph, its description, and the path of its graph."""

    value: Value
    tensor: Proto | Sparse
    path: str


@dataclass(slots=True)
class Survey:
    """All constants of a model in the order of the file, and who makes and takes each value.

    Attributes:
        constants: initializers and the tensors of Constant nodes, those of inner graphs and functions included.
        users: the nodes that take a value.
        makers: the node that gives a value.
    """

    constants: dict[Value, Constant] = field(default_factory=dict)
    users: dict[Value, list[Use]] = field(default_factory=dict)
    makers: dict[Value, Node] = field(default_factory=dict)
    _parents: list[int | None] = field(default_factory=list)
    _names: list[set[str]] = field(default_factory=list)
    _functions: dict[tuple[str, str], tuple[int, list[str]]] = field(default_factory=dict)
    _work: int = 0

    def value(self, scope: int, name: str) -> Value:
        """Give the value that a name means in a graph: its own, else that of a graph around it."""
        at: int | None = scope
        while at is not None:
            if name in self._names[at]:
                return at, name
            at = self._parents[at]
        return scope, name

    def uses(self, value: Value) -> Iterator[Use]:
        """Give the nodes that take a value; for one that calls a function of the model, those within it.

        Raises:
            ValueError: the model's functions are too entangled to be followed.
        """
        stack, seen = [value], {value}
        while stack:
            for use in self.users.get(stack.pop(), ()):
                self._work += 1
                if self._work > _MOST_WORK:
                    raise ValueError("its functions are called too often for the uses of its tensors to be followed")
                called = self._functions.get((use.node.domain, use.node.op))
                if called is None:
                    yield use
                elif use.place < len(called[1]) and len(seen) < _MOST_STEPS:
                    inner = called[0], called[1][use.place]
                    if inner not in seen:
                        seen.add(inner)
                        stack.append(inner)

    def ends(self, value: Value) -> list[End]:
        """Follow a value to the nodes that do something with it."""
        found: list[End] = []
        stack: list[tuple[Value, tuple[Node, ...]]] = [(value, ())]
        seen = {value}
        while stack:
            at, steps = stack.pop()
            for use in self.uses(at):
                output = use.scope, next(iter(use.node.outputs), "")
                if use.place or use.node.op not in _SAME:
                    found.append(End(use, steps))
                elif output not in seen and len(seen) < _MOST_STEPS:
                    seen.add(output)
                    stack.append((output, (*steps, use.node) if use.node.op in _TURNS else steps))
        return found


def survey(model: Model) -> Survey:
    """Survey a model.

    Raises:
        ValueError: a name stands for two values of one graph.
    """
    found = Survey()
    pending: list[tuple[int, Node]] = []
    _enter(found, pending, model.graph, None, "")
    for function in model.functions:
        scope = _enter(found, pending, function, None, f"{function.name}/")
        found._functions[function.domain, function.name] = scope, function.inputs
    for scope, node in pending:
        for index, name in enumerate(node.inputs):
            if name:
                found.users.setdefault(found.value(scope, name), []).append(Use(node, index, scope))
    return found


def _enter(found: Survey, pending: list[tuple[int, Node]], graph: Graph, parent: int | None, path: str) -> int:
    """Add a graph and those in it; gives its number."""
    scope = len(found._parents)
    names = set(graph.inputs)
    found._parents.append(parent)
    found._names.append(names)
    for tensor in graph.initializers:
        _add(found, Constant((scope, tensor.name), tensor, path))
        names.add(tensor.name)
    for node in graph.nodes:
        names.update(node.outputs)
        pending.append((scope, node))
        for name in node.outputs:
            found.makers[scope, name] = node
        if node.value is not None and node.outputs:
            _add(found, Constant((scope, node.outputs[0]), node.value, path))
        for attribute, body in node.graphs:
            title = node.name or next(iter(node.outputs), node.op)
            _enter(found, pending, body, scope, f"{path}{title}.{attribute}/")
    return scope


def _add(found: Survey, constant: Constant) -> None:
    if constant.value in found.constants:
        raise ValueError(f"two tensors of one graph are named '{constant.value[1]}'")
    found.constants[constant.value] = constant


def role(end: End) -> str:
    """Say what a tensor is to the node that uses it: "conv", "linear", ...; empty where it is no weight."""
    kind, inputs = _WEIGHTS.get(end.use.node.op, ("", ()))
    if end.use.place not in inputs or (kind == "embedding" and end.use.node.integer("axis", 0)):
        return ""
    return kind


def part(end: End) -> str:
    """Name the part that a tensor has in the node that uses it: "weight", "bias", "W", "R", "B"; empty if none."""
    op, index = end.use.node.op, end.use.place
    if op in GATES and index < 4:
        return "XWRB"[index]
    if op in _AFFINE and index == 2:
        return "bias"
    return "weight" if role(end) else ""


def hint_of(ends: Iterable[End], shape: tuple[int, ...]) -> Hint | None:
    """Say what the graph knows about a tensor of this shape; None if it knows nothing, or two things.

    A tensor that is both looked up and multiplied by is an embedding; one that several convolutions use with different
    strides is a convolution of no stated stride.
    """
    hints = {_hint(end, shape) for end in ends if role(end)}
    if len(hints) > 1:
        hints = {hint and Hint(hint.kind, hint.groups, hint.transposed, (), hint.gates) for hint in hints}
    if hints == {Hint("embedding"), Hint("linear")}:
        return Hint("embedding")
    return hints.pop() if len(hints) == 1 else None


def _hint(end: End, shape: tuple[int, ...]) -> Hint | None:
    node, kind = end.use.node, role(end)
    if kind not in ("conv", "transposed"):
        if len(shape) != 2:
            return None
        gates = GATES.get(node.op, "")
        return None if gates and shape[0] % len(gates) else Hint(kind, gates=gates)
    groups, d = node.integer("group", 1), len(shape) - 2
    if d not in (1, 2, 3) or "group" in node.open or groups < 1 or shape[0] % groups:
        return None
    if any(step.op in RESHAPES for step in end.steps):
        return None
    strides = () if "strides" in node.open else node.integers.get("strides") or (1,) * d
    return Hint(f"conv{d}d", groups, kind == "transposed", strides)
