"""What the code of a TorchScript archive says of its tensors: read as text, followed call by call, never run.

TorchScript is printed as a subset of Python, one statement a line, in which a name has one value, but for those that an
if or a loop gives (PyTorch's serialization format, torch/csrc/jit/docs/serialization.md). A method is followed with the
archive's own object as `self` and with arguments that nobody knows: all that can be seen is where a weight goes, which
is enough.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from heavytail.weights.formats.torch.refs import TensorRef
from heavytail.weights.tensor import Hint

__all__ = ["Code", "Instance"]

_DEEPEST_CALL = 16
_MOST_STEPS = 1 << 20
_MOST_TEXT = 1 << 22
# Parsing takes memory, and of f-strings, which TorchScript has not, quadratic time: a line at a time is little.
_LONGEST_LINE = 1 << 14
_CHARACTERS_A_STEP = 16

# Arguments of the operators that take a kernel, in order (torch/aten/src/ATen/native/native_functions.yaml).
_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_TRANSPOSED = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
_GENERAL = ("input", "weight", "bias", "stride", "padding", "dilation", "transposed", "output_padding", "groups")
_FUSED_SUM = ("input", "weight", "z", "alpha", "bias", "stride", "padding", "dilation", "groups")
_CONVOLUTIONS = {
    **{f"torch.conv{d}d": _CONV for d in (1, 2, 3)},
    **{f"torch.conv_transpose{d}d": _TRANSPOSED for d in (1, 2, 3)},
    "torch._convolution": _GENERAL,
    "torch.convolution": _GENERAL,
    "torch._convolution_mode": _CONV,
    "torch.cudnn_convolution_relu": _CONV,
    "torch.cudnn_convolution_add_relu": _FUSED_SUM,
}
# Operators with one matrix, or stack of matrices: its place among the arguments, its axes, its kind.
_TABLES = {
    "torch.embedding": (0, 2, "embedding"),
    "torch.embedding_bag": (0, 2, "embedding"),
    "torch.bilinear": (2, 3, "bilinear"),
}
_RECURRENT = {"lstm": "ifgo", "gru": "rzn", "rnn_tanh": "", "rnn_relu": ""}
_LAYERS = {f"torch.{name}": (name.partition("_")[0], gates) for name, gates in _RECURRENT.items()}
_CELLS = {f"torch.{name}_cell": (name.partition("_")[0], gates) for name, gates in _RECURRENT.items()}
# What gives a tensor with the axes of its first argument.
_SAME = frozenset(f"torch.{n}" for n in ("to", "detach", "contiguous", "clone", "alias", "type_as", "_weight_norm"))
_CASTS = frozenset(["annotate", "unchecked_cast"])
_LIBRARY = "__torch__.torch.classes."  # classes without code in the archive
_PACKED_AWAY = "ops.prim.ConstantMKLDNNTensor"


@dataclass(slots=True, eq=False)
class Instance:
    """An object of a class that the archive defines: what it was given as its state, and nothing else."""

    name: str
    state: object = None

    def accept_state(self, state: object) -> None:
        """Take the state that a pickle sets."""
        self.state = state


@dataclass(frozen=True, slots=True)
class _Global:
    """A dotted name that is no variable: an operator, a function or a class."""

    name: str


@dataclass(frozen=True, slots=True)
class _Method:
    """A method of an object of the archive."""

    owner: Instance
    name: str


_UNKNOWN = object()


@dataclass(frozen=True, slots=True)
class _Function:
    """A function as text: its parameters, the lines of its body, and how many values each of its names has."""

    home: str
    parameters: tuple[str, ...]
    lines: tuple[str, ...]
    values: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Class:
    methods: dict[str, _Function] = field(default_factory=dict)
    constants: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Module:
    """One member of code: its functions and its classes by name."""

    functions: dict[str, _Function] = field(default_factory=dict)
    classes: dict[str, _Class] = field(default_factory=dict)


class _TooLongError(Exception):
    """The code takes more steps than it may."""


class Code:
    """The code of an archive, and what it says of the tensors.

    Args:
        text: gives the text of a member, by the dotted name of its module ("__torch__.net"); None if there is none
            or it cannot be read.
        constants: the archive's constants, as CONSTANTS.c0 and so on.

    Attributes:
        hints: what is known of a tensor, by the id of its description; its first use counts.
        vague: ids of the kernels of convolutions whose groups are not known.
        unread: modules whose text cannot be read.
        absent: how many weights the code uses that the archive has not: those that torch.jit.optimize_for_inference
            made oneDNN's own.
    """

    def __init__(self, text: Callable[[str], str | None], constants: Sequence[object]) -> None:
        self.hints: dict[int, Hint] = {}
        self.vague: set[int] = set()
        self.unread: set[str] = set()
        self.absent = 0
        self._text = text
        self._constants = {f"c{i}": constant for i, constant in enumerate(constants)}
        self._modules: dict[str, _Module] = {}
        self._room = _MOST_TEXT
        self._steps = _MOST_STEPS

    def follow(self, instances: Iterable[Instance]) -> None:
        """Follow the methods of the archive's objects."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in strings
            for instance in instances:
                for method in self._class(instance).methods.values():
                    try:
                        self._call(method, [instance], {}, 0)
                    except _TooLongError:
                        self.unread.add(method.home)
                        return

    def constants(self, instance: Instance) -> Mapping[str, object]:
        """Give what the class of an object declares as its constants: 'groups : Final[int] = 2'."""
        return self._class(instance).constants

    def _class(self, instance: Instance) -> _Class:
        module, _, name = instance.name.rpartition(".")
        found = self._module(module).classes.get(name)
        if found is None and not module.startswith(_LIBRARY):
            self.unread.add(module)
        return found or _Class()

    def _module(self, name: str) -> _Module:
        if name not in self._modules:
            text = self._text(name)
            if text is not None:
                self._room -= len(text)
            readable = text is not None and self._room >= 0
            if not readable and not name.startswith(_LIBRARY):
                self.unread.add(name)
            self._modules[name] = _divided(name, text) if text is not None and readable else _Module()
        return self._modules[name]

    def _call(self, function: _Function, given: Sequence[object], named: Mapping[str, object], depth: int) -> Any:
        """Follow a function; give what it returns, if that can be known."""
        scope: dict[str, object] = dict.fromkeys(function.values, _UNKNOWN)

        def bind(pairs: Iterable[tuple[str, object]]) -> None:
            # A name with two values has either: one of an if, or one of each turn of a loop.
            scope.update((name, value) for name, value in pairs if function.values.get(name) == 1)

        bind(zip(function.parameters, given, strict=False))
        bind(named.items())
        returned = []
        for line in function.lines:
            self._spend(1 + len(line) // _CHARACTERS_A_STEP)
            try:
                for statement in _parsed(line):
                    value = self._value(statement.value, scope, depth)
                    if isinstance(statement, ast.Assign):
                        bind(_bound(statement.targets[0], value))
                    elif isinstance(statement, ast.Return):
                        returned.append(value)
            except (SyntaxError, ValueError, MemoryError, RecursionError):
                self.unread.add(function.home)
        return returned[0] if len(returned) == 1 else _UNKNOWN

    def _spend(self, steps: int) -> None:
        self._steps -= steps
        if self._steps < 0:
            raise _TooLongError

    def _value(self, node: ast.expr, scope: Mapping[str, object], depth: int) -> Any:
        """Give the value of an expression, if it can be known, and note what its calls say."""
        self._spend(1)
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return scope.get(node.id, _Global(node.id))
            case ast.Attribute():
                return self._attribute(self._value(node.value, scope, depth), node.attr)
            case ast.Call():
                return self._called(node, scope, depth)
        parts = [self._value(part, scope, depth) for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)]
        match node, parts:
            case ast.List() | ast.Tuple(), _:
                return parts
            case ast.Subscript(), [list() | tuple() as items, int() as index] if -len(items) <= index < len(items):
                return items[index]
        return _UNKNOWN

    def _attribute(self, owner: object, name: str) -> object:
        if isinstance(owner, _Global):
            known = self._constants if owner.name == "CONSTANTS" else {}
            return known.get(name, _Global(f"{owner.name}.{name}"))
        if not isinstance(owner, Instance):
            return _UNKNOWN
        if isinstance(owner.state, Mapping) and name in owner.state:
            return owner.state[name]
        found = self._class(owner)
        return _Method(owner, name) if name in found.methods else found.constants.get(name, _UNKNOWN)

    def _called(self, node: ast.Call, scope: Mapping[str, object], depth: int) -> Any:
        callee = self._value(node.func, scope, depth)
        given = [self._value(argument, scope, depth) for argument in node.args]
        named = {k.arg: self._value(k.value, scope, depth) for k in node.keywords if k.arg}
        if isinstance(callee, _Method):
            function = self._class(callee.owner).methods[callee.name]
            return self._entered(function, [callee.owner, *given], named, depth)
        if not isinstance(callee, _Global):
            return _UNKNOWN
        match callee.name, given:
            case "getattr", [owner, str() as name]:
                return self._attribute(owner, name)
            case name, [_, value] if name in _CASTS:
                return value
            case name, [TensorRef() as ref, *_] if name in _SAME:
                return ref
        if callee.name.startswith("__torch__."):
            home, _, name = callee.name.rpartition(".")
            return self._entered(self._module(home).functions.get(name), given, named, depth)
        self._operator(callee.name, given, named)
        return _UNKNOWN

    def _entered(self, function: _Function | None, given: list[object], named: Mapping[str, object], depth: int) -> Any:
        """Follow a call that hands on a weight or may fetch one; others say nothing that their own turn does not."""
        handed = len(given) < 2 or any(
            isinstance(v, TensorRef) for value in (*given, *named.values()) for v in _flat(value)
        )
        if function is None or not handed or depth >= _DEEPEST_CALL:
            return _UNKNOWN
        return self._call(function, given, named, depth + 1)

    def _operator(self, name: str, given: Sequence[Any], named: Mapping[str, Any]) -> None:
        """Note what an operator says of the weights that it is given."""
        if name in _CONVOLUTIONS:
            self._convolution(name, {**dict(zip(_CONVOLUTIONS[name], given, strict=False)), **named})
        elif name in _TABLES:
            place, axes, kind = _TABLES[name]
            for ref in _matrices(given[place : place + 1], axes):
                self.hints.setdefault(id(ref), Hint(kind))
        elif name in _LAYERS:
            # The weights are the last list; before it may stand that of the states, behind it numbers.
            lists = [value for value in given[:4] if isinstance(value, list | tuple)]
            self._recurrent(*_LAYERS[name], lists[-1] if lists else ())
        elif name in _CELLS:
            self._recurrent(*_CELLS[name], given[2:4])
        elif name == _PACKED_AWAY:
            self.absent += 1

    def _convolution(self, name: str, arguments: Mapping[str, Any]) -> None:
        ref = arguments.get("weight")
        stated = re.search(r"(\d)d$", name)
        if not isinstance(ref, TensorRef) or len(ref.shape) - 2 not in ((int(stated[1]),) if stated else (1, 2, 3)):
            return
        axes = len(ref.shape) - 2
        groups, stride = arguments.get("groups", 1), arguments.get("stride", 1)
        transposed = arguments.get("transposed", "transpose" in name)
        known = type(groups) is int and 0 < groups <= ref.shape[0] and type(transposed) is bool
        if not known or ref.shape[0] % groups:
            self.vague.add(id(ref))
            return
        strides = tuple(stride) if isinstance(stride, list) else (stride,)
        strides *= axes if len(strides) == 1 else 1
        if len(strides) != axes or any(type(step) is not int for step in strides):
            strides = ()
        self.hints.setdefault(id(ref), Hint(f"conv{axes}d", groups, transposed, strides))

    def _recurrent(self, kind: str, gates: str, weights: Sequence[object]) -> None:
        matrices = list(_matrices(weights, 2))
        if len(matrices) < 2 or (gates and any(ref.shape[0] % len(gates) for ref in matrices[:2])):
            return
        # Where the state is projected (Sak et al. 2014), weight_hh is narrower, and each third matrix is weight_hr.
        into, back = (ref.shape for ref in matrices[:2])
        turn = 2 if into[0] == max(1, len(gates)) * back[1] else 3
        for i, ref in enumerate(matrices):
            split = i % turn < 2 and not (gates and ref.shape[0] % len(gates))
            self.hints.setdefault(id(ref), Hint(kind, gates=gates if split else ""))


_BLOCK = re.compile(r"^(?P<indent>(?:  )?)(?P<what>class|def) (?P<name>\w+)\(", re.MULTILINE)
_PARAMETER = re.compile(r"[(,]\s*(\w+) ?:")
_CONSTANT = re.compile(r"^  (\w+) : Final\[[^=\n]{1,200}\] = ([\d(), \w]{1,64})$", re.MULTILINE)
_SETS = re.compile(r"([\w, ()]{1,4096}) = |for (\w+) in |with .* as (\w+):")


def _divided(home: str, text: str) -> _Module:
    """Divide the text of a module into its classes and functions."""
    module, owner = _Module(), _Class()
    starts = list(_BLOCK.finditer(text))
    for match, following in zip_longest(starts, starts[1:]):
        block = text[match.end() - 1 : following.start() if following else None]
        if match["what"] == "class":
            owner = module.classes[match["name"]] = _Class(constants=_literals(block))
        elif match["indent"]:
            owner.methods[match["name"]] = _function(home, block)
        else:
            module.functions[match["name"]] = _function(home, block)
    return module


def _literals(text: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in _CONSTANT.findall(text):
        try:
            found[name] = ast.literal_eval(value)
        except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
            continue
    return found


def _function(home: str, text: str) -> _Function:
    # Parameters stand one a line; the last ends in the colon of the head.
    head, _, body = text.partition(":\n")
    parameters = tuple(_PARAMETER.findall(f"{head}:"))
    lines = tuple(line.strip() for line in body.split("\n"))
    values = Counter(parameters)
    for line in lines:
        if sets := _SETS.match(line):
            values.update(re.findall(r"\w+", next(filter(None, sets.groups()))))
    return _Function(home, parameters, lines, values)


def _parsed(line: str) -> list[Any]:
    """Take the statement of a line apart: an assignment, a return or a call; nothing else hands on a weight.

    Raises:
        SyntaxError, ValueError, MemoryError, RecursionError: that cannot be done.
    """
    if line.endswith(":") or line in ("", "pass"):
        return []
    if len(line) > _LONGEST_LINE:
        raise ValueError
    body = ast.parse(line).body
    return [node for node in body if isinstance(node, ast.Assign | ast.Return | ast.Expr) and node.value is not None]


def _bound(target: ast.expr, value: Any) -> Iterator[tuple[str, object]]:
    """Pair the names of a target with their values."""
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple) and isinstance(value, list | tuple) and len(target.elts) == len(value):
        for part, one in zip(target.elts, value, strict=True):
            if isinstance(part, ast.Name):
                yield part.id, one


def _flat(value: object) -> Iterable[object]:
    return value if isinstance(value, list | tuple) else (value,)


def _matrices(values: Iterable[object], axes: int) -> Iterator[TensorRef]:
    return (value for value in values if isinstance(value, TensorRef) and len(value.shape) == axes)
