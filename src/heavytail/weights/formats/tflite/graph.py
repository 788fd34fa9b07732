"""What TensorFlow Lite's operators know of the constants that they read: layers, layouts, groups, strides.

The numbers of operators, inputs and options are those of TensorFlow Lite's schema (schema.fbs, version 3) and of its
kernels' documentation; they never change, new ones are added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from heavytail.weights.formats.tflite.flatbuffer import Table
from heavytail.weights.tensor import Hint

__all__ = ["Use", "operator_codes", "uses"]

_CONV_2D, _DEPTHWISE_CONV_2D, _TRANSPOSE_CONV, _CONV_3D, _CONV_3D_TRANSPOSE = 3, 4, 67, 132, 141
_FULLY_CONNECTED, _EMBEDDING_LOOKUP, _GATHER, _BATCH_MATMUL = 9, 7, 36, 126
_LSTM, _SEQUENCE_LSTM, _BIDIRECTIONAL_LSTM = 16, 44, 52
_RNN, _SEQUENCE_RNN, _BIDIRECTIONAL_RNN = 24, 35, 46
_DEQUANTIZE, _CAST, _DENSIFY = 6, 53, 124
# These give the tensor that they are given, in another type or form: what reads their output reads the constant.
_PASSING = (_DEQUANTIZE, _CAST, _DENSIFY)
_BASIC_LSTM = 1

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Use:
    """How an operator reads a constant.

    Attributes:
        hint: what the operator knows about it.
        axes: for each axis in torch's order, the axis of the file.
        problem: why the numbers are not the weights, as a clause; empty if they are.
    """

    hint: Hint
    axes: tuple[int, ...]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Operator:
    """An operator that is looked at.

    Attributes:
        code: its number in the schema.
        options: its options.
        shapes: shapes of its inputs; empty where one is absent or unknown.
    """

    code: int
    options: Table | None
    shapes: tuple[Shape, ...]

    def option(self, field: int, code: str = "i") -> int:
        """Read an option, 0 where it is absent."""
        return self.options.number(field, code) if self.options else 0

    def groups(self, image: int, inputs: int, filters: int) -> int:
        """Derive the groups of a convolution from its image's channels; 1 where they are unknown."""
        shape = self.shapes[image] if image < len(self.shapes) else ()
        channels = shape[-1] if shape else 0
        groups = channels // inputs if inputs > 0 and channels > 0 and channels % inputs == 0 else 1
        return groups if filters % groups == 0 else 1


def operator_codes(model: Table) -> list[int]:
    """Give the numbers of the operators that a model uses; old files have them in a field of one byte."""
    return [max(code.number(0, "b"), code.number(3, "i")) for code in model.tables(1)]


def uses(graph: Table, codes: Sequence[int], shapes: Sequence[Shape]) -> dict[int, Use]:
    """Find how the operators of a subgraph read its tensors.

    Args:
        graph: the SubGraph.
        codes: numbers of the model's operators.
        shapes: shapes of the subgraph's tensors.

    Returns:
        For each tensor whose use is known, by its index, the first use; of several strides of a filter, none.
    """
    found: dict[int, Use] = {}
    origin: dict[int, int] = {}  # operators stand in the order in which they run, so one pass resolves chains
    for table in graph.tables(3):
        code = codes[table.number(0, "I")]
        inputs = [origin.get(i, i) for i in table.numbers(1, "int32").tolist()]
        if code in _PASSING:
            origin |= dict.fromkeys(table.numbers(2, "int32").tolist(), inputs[0])
        elif code in _READS:
            operator = _Operator(code, table.table(4), tuple(shapes[i] if 0 <= i < len(shapes) else () for i in inputs))
            for position, use in _known(operator):
                found[inputs[position]] = _agreed(found.get(inputs[position], use), use)
    return found


def _agreed(first: Use, other: Use) -> Use:
    """Give the first use of a constant; without the stride, where a filter is used with several."""
    if first.hint.stride == other.hint.stride or replace(first.hint, stride=other.hint.stride) != other.hint:
        return first
    return replace(first, hint=replace(first.hint, stride=()))


def _known(operator: _Operator) -> Iterable[tuple[int, Use]]:
    """Give the inputs whose use is known, by position."""
    positions, rank, read = _READS[operator.code]
    for position in positions:
        if position < len(operator.shapes) and len(operator.shapes[position]) == rank:
            use = read(operator, position)
            if use:
                yield position, use


def _conv2d(operator: _Operator, position: int) -> Use:
    filters, _, _, inputs = operator.shapes[position]
    stride = (operator.option(2), operator.option(1))
    return Use(Hint("conv2d", operator.groups(0, inputs, filters), stride=stride), (0, 3, 1, 2))


def _depthwise(operator: _Operator, position: int) -> Use:
    """Each of the C inputs has filters of its own, which stand together: (1, h, w, filters)."""
    filters = operator.shapes[position][3]
    multiplier = operator.option(3)
    known = bool(operator.shapes[0]) or multiplier < 1 or filters % multiplier
    groups = operator.groups(0, 1, filters) if known else filters // multiplier
    stride = (operator.option(2), operator.option(1))
    return Use(Hint("conv2d", max(1, groups), stride=stride), (3, 0, 1, 2))


def _transposed2d(operator: _Operator, position: int) -> Use:
    stride = (operator.option(2), operator.option(1))
    return Use(Hint("conv2d", transposed=True, stride=stride), (3, 0, 1, 2))


def _conv3d(operator: _Operator, position: int) -> Use:
    """Read (d, h, w, in, out), or (d, h, w, out, in) if it is transposed: torch's order is the reverse of either."""
    stride = (operator.option(1), operator.option(3), operator.option(2))
    axes = (4, 3, 0, 1, 2)
    if operator.code == _CONV_3D_TRANSPOSE:
        return Use(Hint("conv3d", transposed=True, stride=stride), axes)
    *_, inputs, filters = operator.shapes[position]
    return Use(Hint("conv3d", operator.groups(0, inputs, filters), stride=stride), axes)


def _fully_connected(operator: _Operator, position: int) -> Use:
    shuffled = operator.option(1, "b") != 0
    problem = "its rows are shuffled for one kind of processor (SHUFFLED4x16INT8)" if shuffled else ""
    return Use(Hint("linear"), (0, 1), problem)


def _embedding(operator: _Operator, position: int) -> Use | None:
    along = operator.option(0) if operator.code == _GATHER else 0
    return Use(Hint("embedding"), (0, 1)) if along == 0 else None


def _matmul(operator: _Operator, position: int) -> Use:
    """A product x y: a constant y is (in, out) and a constant x is (out, in), unless the option turns it."""
    turned = operator.option(position, "B") != 0
    return Use(Hint("linear"), (0, 1) if turned == (position == 1) else (1, 0))


def _recurrent(operator: _Operator, position: int) -> Use | None:
    """Each gate has a matrix of its own, but for the basic LSTM, which stacks them: input, cell, forget, output."""
    if operator.code in (_RNN, _SEQUENCE_RNN, _BIDIRECTIONAL_RNN):
        return Use(Hint("rnn"), (0, 1))
    if operator.code == _LSTM and operator.option(3, "b") == _BASIC_LSTM:
        stacked = position == 2 and operator.shapes[2][0] % 4 == 0
        return Use(Hint("lstm", gates="igfo"), (0, 1)) if stacked else None
    return Use(Hint("lstm"), (0, 1))


_LSTM_WEIGHTS = (*range(1, 9), 16)
# By operator: where its weights stand among the inputs, how many axes they have, how they are read.
_READS: Mapping[int, tuple[Sequence[int], int, Callable[[_Operator, int], Use | None]]] = {
    _CONV_2D: ((1,), 4, _conv2d),
    _DEPTHWISE_CONV_2D: ((1,), 4, _depthwise),
    _TRANSPOSE_CONV: ((1,), 4, _transposed2d),
    _CONV_3D: ((1,), 5, _conv3d),
    _CONV_3D_TRANSPOSE: ((1,), 5, _conv3d),
    _FULLY_CONNECTED: ((1,), 2, _fully_connected),
    _EMBEDDING_LOOKUP: ((1,), 2, _embedding),
    _GATHER: ((0,), 2, _embedding),
    _BATCH_MATMUL: ((0, 1), 2, _matmul),
    _LSTM: (_LSTM_WEIGHTS, 2, _recurrent),
    _SEQUENCE_LSTM: (_LSTM_WEIGHTS, 2, _recurrent),
    _BIDIRECTIONAL_LSTM: ((*_LSTM_WEIGHTS, *range(18, 26), 33, *range(40, 48)), 2, _recurrent),
    _RNN: ((1, 2), 2, _recurrent),
    _SEQUENCE_RNN: ((1, 2), 2, _recurrent),
    _BIDIRECTIONAL_RNN: ((1, 2, 5, 6, 10, 11), 2, _recurrent),
}
