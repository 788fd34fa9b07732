"""An ONNX model as its file describes it: graphs, nodes, and where the numbers of each tensor stand.

The field numbers are those of `onnx.proto` (ONNX intermediate representation, version 14; 2025). Numbers are never
read here, so that a model of any size takes the memory of its graph alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from heavytail.weights.formats.onnx.protobuf import Field, Wire

__all__ = ["Graph", "Model", "Node", "Proto", "Span", "Sparse", "parse"]

_DEEPEST = 50  # graphs within graphs; exporters nest If and Loop a handful of times
_TYPED = {4, 5, 7, 10, 11}  # float_data, int32_data, int64_data, double_data, uint64_data
_INTEGERS = {  # the attributes that tell how a tensor is used
    "axis", "bits", "block_size", "gather_axis", "group", "K", "N", "perm", "quantize_axis", "strides",
}  # fmt: skip

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Proto:
    """A tensor as its header describes it.

    Attributes:
        name: its name, which may be empty.
        shape: sizes of the axes.
        type: number of the type, as TensorProto.DataType has it.
        message: where the whole description stands in the file.
        raw: where its numbers stand in the file, as little-endian bytes; None if they do not.
        typed: number of the field that holds its numbers one by one; 0 if none does.
        packed: where these stand, if all of them stand in one run.
        held: bytes of the numbers of that field.
        external: where its numbers stand in another file: location, offset, length and the like, as texts.
        split: whether only a segment of it stands here.
    """

    name: str
    shape: tuple[int, ...]
    type: int
    message: Span
    raw: Span | None = None
    typed: int = 0
    packed: Span | None = None
    held: int = 0
    external: tuple[tuple[str, str], ...] | None = None
    split: bool = False


@dataclass(frozen=True, slots=True)
class Sparse:
    """A sparse tensor: the values that are not zero, their indices, and the shape of the whole."""

    values: Proto
    indices: Proto
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name of the whole, which stands with its values."""
        return self.values.name


@dataclass(frozen=True, slots=True)
class Node:
    """An operation: what it takes, what it gives, and those of its attributes that concern weights.

    Attributes:
        op: the operator's name.
        domain: the set of operators that it belongs to; empty for ONNX's own.
        name: the node's name, which may be empty.
        inputs: names of the values it takes, "" for one that is left out.
        outputs: names of the values it gives.
        integers: attributes that are integers, by name.
        value: the tensor of a Constant.
        graphs: its bodies, by the attribute's name.
        open: names of attributes that the caller of the function around it gives.
        equation: which axes of an Einsum are summed over.
    """

    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    integers: dict[str, tuple[int, ...]]
    value: Proto | Sparse | None = None
    graphs: tuple[tuple[str, Graph], ...] = ()
    open: frozenset[str] = frozenset()
    equation: str = ""

    def integer(self, name: str, default: int) -> int:
        """Give an attribute that is one integer."""
        return (self.integers.get(name) or (default,))[0]


@dataclass(slots=True)
class Graph:
    """A graph, or the body of a function, with its domain and formal inputs."""

    name: str = ""
    domain: str = ""
    initializers: list[Proto | Sparse] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Model:
    """The main graph, the functions that its nodes may call, and how many graphs of training stand beside it."""

    graph: Graph
    functions: list[Graph]
    training: int = 0


def parse(wire: Wire) -> Model:
    """Parse a model.

    Raises:
        ValueError: the bytes are no ONNX model.
    """
    graph, functions, training = None, [], 0
    for item in wire.fields(0, wire.size):
        if item.number == 7:
            if graph is not None:
                raise ValueError("it has two main graphs")
            graph = _graph(wire, _message(item), 0)
        elif item.number == 25:
            functions.append(_function(wire, _message(item)))
        elif item.number == 20:
            training += 1
    if graph is None:
        raise ValueError("it holds no graph")
    return Model(graph, functions, training)


def _message(item: Field) -> Span:
    if item.wire != 2:
        raise ValueError(f"a number stands at byte {item.start} in place of a message")
    return item.start, item.end


def _graph(wire: Wire, span: Span, depth: int) -> Graph:
    if depth > _DEEPEST:
        raise ValueError(f"graphs are nested more than {_DEEPEST} deep")
    graph = Graph()
    for item in wire.fields(*span):
        match item.number:
            case 1:
                graph.nodes.append(_node(wire, _message(item), depth))
            case 2:
                graph.name = wire.text(item)
            case 5:
                graph.initializers.append(_named(_proto(wire, _message(item))))
            case 15:
                graph.initializers.append(_named(_sparse(wire, _message(item))))
            case 11:
                graph.inputs += [wire.text(part) for part in wire.fields(*_message(item)) if part.number == 1]
            case _:
                pass
    return graph


def _named(tensor: Proto | Sparse) -> Proto | Sparse:
    if not tensor.name:
        raise ValueError("an initializer has no name")
    return tensor


def _function(wire: Wire, span: Span) -> Graph:
    graph = Graph()
    for item in wire.fields(*span):
        match item.number:
            case 1:
                graph.name = wire.text(item)
            case 4:
                graph.inputs.append(wire.text(item))
            case 7:
                graph.nodes.append(_node(wire, _message(item), 0))
            case 10:
                graph.domain = wire.text(item)
            case _:
                pass
    return graph


def _node(wire: Wire, span: Span, depth: int) -> Node:
    texts = {3: "", 4: "", 7: ""}
    inputs, outputs, found = [], [], _Attributes()
    for item in wire.fields(*span):
        if item.number == 1:
            inputs.append(wire.text(item))
        elif item.number == 2:
            outputs.append(wire.text(item))
        elif item.number == 5:
            found.add(wire, _message(item), depth)
        elif item.number in texts:
            texts[item.number] = wire.text(item)
    if not texts[4]:
        raise ValueError(f"the node at byte {span[0]} has no operator")
    return Node(
        texts[4],
        texts[7],
        texts[3],
        tuple(inputs),
        tuple(outputs),
        found.integers,
        found.value if texts[4] == "Constant" else None,
        tuple(found.graphs),
        frozenset(found.open),
        found.equation,
    )


@dataclass(slots=True)
class _Attributes:
    """What a node's attributes say, as far as it is of use."""

    integers: dict[str, tuple[int, ...]] = field(default_factory=dict)
    value: Proto | Sparse | None = None
    graphs: list[tuple[str, Graph]] = field(default_factory=list)
    open: set[str] = field(default_factory=set)
    equation: str = ""

    def add(self, wire: Wire, span: Span, depth: int) -> None:
        """Add the attribute at a place of the file."""
        items = list(_useful(wire, span))
        name = next((wire.text(item) for item in items if item.number == 1), "")
        if any(item.number == 21 for item in items):
            self.open.add(name)
        if name in _INTEGERS:
            self.integers[name] = tuple(n for item in items if item.number in (3, 8) for n in wire.integers(item))
        for item in items:
            if item.number == 4 and name == "equation":
                self.equation = wire.text(item)
            elif item.number == 5 and name == "value":
                self.value = _proto(wire, _message(item))
            elif item.number == 22 and name == "sparse_value":
                self.value = _sparse(wire, _message(item))
            elif item.number in (6, 11):
                self.graphs.append((name, _graph(wire, _message(item), depth + 1)))


def _useful(wire: Wire, span: Span) -> Iterator[Field]:
    """Give an attribute's fields that may be of use: name, i, s, t, g, ints, graphs, ref_attr_name, sparse_tensor."""
    return (item for item in wire.fields(*span) if item.number in (1, 3, 4, 5, 6, 8, 11, 21, 22))


def _sparse(wire: Wire, span: Span) -> Sparse:
    parts: dict[int, Proto] = {}
    shape: list[int] = []
    for item in wire.fields(*span):
        if item.number in (1, 2):
            parts[item.number] = _proto(wire, _message(item))
        elif item.number == 3:
            shape += wire.integers(item)
    if len(parts) < 2:
        raise ValueError(f"a sparse tensor at byte {span[0]} is without values or indices")
    return Sparse(parts[1], parts[2], _sizes(parts[1].name, shape))


def _proto(wire: Wire, span: Span) -> Proto:
    name, kind, shape, raw, split = "", 0, [], None, False
    external: list[tuple[str, str]] = []
    elsewhere = False
    typed: list[Field] = []
    held = 0
    for item in wire.fields(*span):
        match item.number:
            case 1:
                shape += wire.integers(item)
            case 2:
                kind = item.value
            case 3:
                split = True
            case 8:
                name = wire.text(item)
            case 9:
                raw = _message(item)
            case 13:
                external.append(_pair(wire, _message(item)))
            case 14:
                elsewhere = item.value == 1
            case number if number in _TYPED:
                typed = [*typed[:1], item]
                held += item.end - item.start
            case _:
                pass
    whole = len(typed) == 1 and typed[0].wire == 2
    return Proto(
        name,
        _sizes(name, shape),
        kind,
        span,
        raw,
        typed[0].number if typed else 0,
        (typed[0].start, typed[0].end) if whole else None,
        held,
        tuple(external) if elsewhere else None,
        split,
    )


def _sizes(name: str, shape: list[int]) -> tuple[int, ...]:
    if any(n < 0 for n in shape):
        raise ValueError(f"tensor '{name}' has a negative size")
    return tuple(shape)


def _pair(wire: Wire, span: Span) -> tuple[str, str]:
    texts = {item.number: wire.text(item) for item in wire.fields(*span)}
    return texts.get(1, ""), texts.get(2, "")
