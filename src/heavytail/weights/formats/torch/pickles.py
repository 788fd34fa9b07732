"""A pickle machine that cannot run code: it builds numbers, strings and containers, and calls only our own functions.

The standard library decodes the opcodes (`pickletools.genops`); this module keeps the stack. A global in the pickle is
looked up in an allow-list that the caller gives, so that no name in a file ever reaches `import`. What stands in the
place of a callable is a `Symbol`, and only its `build` function, which is ours, is called.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from heavytail.weights.faults import quoted

__all__ = ["Opaque", "Symbol", "load_pickle"]

_MOST_STEPS = 20_000_000
_MOST_DIGITS = 4096  # bits of an integer; hashing longer ones again and again would take for ever
_LONGEST_KEY = 16


@dataclass(frozen=True, slots=True, eq=False)
class Symbol:
    """What stands for a global that a pickle names.

    Attributes:
        name: dotted name in the pickle.
        build: makes the object from the arguments in the pickle; None for a plain value such as a dtype.
        value: for a dtype or a storage type, our name of the dtype.
    """

    name: str
    build: Callable[..., object] | None = None
    value: str | None = None


@dataclass(slots=True, eq=False)
class Opaque:
    """An object that is allowed in a file and means nothing to us."""

    name: str


def load_pickle(
    stream: BinaryIO, find: Callable[[str], object], persistent: Callable[[object], object] | None = None
) -> object:
    """Read one pickle; the stream is left behind its last byte.

    Args:
        stream: gives no more bytes in one read than it holds, whatever number is asked for.
        find: gives what stands for a dotted name, or raises.
        persistent: gives what stands for a persistent id; None where the format has none.

    Raises:
        ValueError: the pickle is damaged, or asks for what a file of weights does not need.
    """
    machine = _Machine(find, persistent)
    for steps, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if steps > _MOST_STEPS:
            raise ValueError(f"the pickle has more than {_MOST_STEPS} steps")
        if opcode.name in _VALUES:
            machine.push_value(argument)
        else:
            operation = _OPERATIONS.get(opcode.name)
            if operation is None:
                raise ValueError(f"the pickle uses {opcode.name}, which no file of weights needs")
            operation(machine, argument)
    return machine.pop()


class _Machine:
    """The stack, the marks and the memo."""

    def __init__(self, find: Callable[[str], object], persistent: Callable[[object], object] | None) -> None:
        self.find, self.persistent = find, persistent
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under the marks
        self.memo: dict[int, Any] = {}

    def push_value(self, value: Any) -> None:
        if type(value) is int and value.bit_length() > _MOST_DIGITS:
            raise ValueError(f"the pickle holds an integer of {value.bit_length()} bits")
        self.stack.append(value)

    def push(self, item: Any) -> None:
        # A method, so that the stack is looked up after a mark was popped on the way to the item.
        self.stack.append(item)

    def pop(self) -> Any:
        if not self.stack:
            raise ValueError("the pickle takes from an empty stack")
        return self.stack.pop()

    def top(self, kind: type | tuple[type, ...]) -> Any:
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise ValueError("the pickle adds items to what is no container")
        return self.stack[-1]

    def mark(self, _: object) -> None:
        self.below.append(self.stack)
        self.stack = []

    def pop_mark(self, _: object = None) -> list[Any]:
        if not self.below:
            raise ValueError("the pickle takes a mark that it did not set")
        items, self.stack = self.stack, self.below.pop()
        return items

    def drop_mark(self, _: object) -> None:
        self.pop_mark()

    def pop_one(self, _: object) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def duplicate(self, _: object) -> None:
        self.stack.append(self.pop())
        self.stack.append(self.stack[-1])

    def put(self, index: int | None) -> None:
        if not self.stack:
            raise ValueError("the pickle remembers the top of an empty stack")
        self.memo[len(self.memo) if index is None else index] = self.stack[-1]

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise ValueError(f"the pickle recalls item {index}, which it did not remember")
        self.stack.append(self.memo[index])

    def tuple_of(self, count: int) -> None:
        items = [self.pop() for _ in range(count)]
        self.stack.append(tuple(reversed(items)))

    def append(self, _: object) -> None:
        item = self.pop()
        self.top(list).append(item)

    def extend(self, _: object) -> None:
        items = self.pop_mark()
        self.top(list).extend(items)

    def set_item(self, _: object) -> None:
        value, key = self.pop(), self.pop()
        self.top(dict)[_hashable(key)] = value

    def set_items(self, _: object) -> None:
        items = _pairs(self.pop_mark())
        self.top(dict).update(items)

    def add_items(self, _: object) -> None:
        items = self.pop_mark()
        self.top(set).update(map(_hashable, items))

    def global_(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self.stack.append(self.find(f"{module}.{name}"))

    def stack_global(self, _: object) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("the pickle names an object by what is no string")
        self.stack.append(self.find(f"{module}.{name}"))

    def call(self, callee: object, arguments: object) -> None:
        if not isinstance(callee, Symbol) or callee.build is None:
            raise ValueError(f"the pickle calls {quoted(getattr(callee, 'name', type(callee).__name__))}")
        if not isinstance(arguments, tuple):
            raise ValueError(f"the pickle calls {quoted(callee.name)} with no tuple of arguments")
        self.stack.append(callee.build(*arguments))

    def reduce(self, _: object) -> None:
        arguments, callee = self.pop(), self.pop()
        self.call(callee, arguments)

    def new_with_names(self, _: object) -> None:
        names = self.pop()
        if names != {}:
            raise ValueError("the pickle calls an object with named arguments")
        self.reduce(None)

    def object_(self, _: object) -> None:
        items = self.pop_mark()
        if not items:
            raise ValueError("the pickle makes an object of no class")
        self.call(items[0], tuple(items[1:]))

    def instance(self, argument: str) -> None:
        items = self.pop_mark()
        self.global_(argument)
        self.call(self.pop(), tuple(items))

    def build(self, _: object) -> None:
        state = self.pop()
        if not self.stack:
            raise ValueError("the pickle sets the state of nothing")
        # Only our own stand-ins take a state; that of a dict or a tensor (hooks, version counters) means nothing here.
        accept = getattr(self.stack[-1], "accept_state", None)
        if accept is not None:
            accept(state)

    def persistent_id(self, _: object) -> None:
        identity = self.pop()
        if self.persistent is None:
            raise ValueError("the pickle refers to data outside itself")
        self.stack.append(self.persistent(identity))


def _hashable(key: object) -> Any:
    """Check that hashing `key` is cheap: a tuple of tuples of tuples, shared, would take for ever."""
    flat = key if type(key) is tuple else (key,)
    if len(flat) > _LONGEST_KEY or not all(isinstance(k, _SCALARS) for k in flat):
        raise ValueError(f"the pickle uses a {type(key).__name__} as a key")
    return key


def _pairs(items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        raise ValueError("the pickle gives a dict a key without a value")
    return {_hashable(key): value for key, value in zip(items[::2], items[1::2], strict=True)}


_SCALARS = (str, bytes, int, float, complex, bool, type(None), Symbol, Opaque)

# Opcodes that push their own argument.
_VALUES = frozenset(
    [
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "UNICODE",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "BYTEARRAY8",
    ]
)

_OPERATIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda m, a: None,
    "FRAME": lambda m, a: None,
    "STOP": lambda m, a: None,
    "MARK": _Machine.mark,
    "POP": _Machine.pop_one,
    "POP_MARK": _Machine.drop_mark,
    "DUP": _Machine.duplicate,
    "NONE": lambda m, a: m.push(None),
    "NEWTRUE": lambda m, a: m.push(True),
    "NEWFALSE": lambda m, a: m.push(False),
    "EMPTY_LIST": lambda m, a: m.push([]),
    "EMPTY_DICT": lambda m, a: m.push({}),
    "EMPTY_SET": lambda m, a: m.push(set()),
    "EMPTY_TUPLE": lambda m, a: m.push(()),
    "LIST": lambda m, a: m.push(m.pop_mark()),
    "TUPLE": lambda m, a: m.push(tuple(m.pop_mark())),
    "DICT": lambda m, a: m.push(_pairs(m.pop_mark())),
    "FROZENSET": lambda m, a: m.push(frozenset(map(_hashable, m.pop_mark()))),
    "TUPLE1": lambda m, a: m.tuple_of(1),
    "TUPLE2": lambda m, a: m.tuple_of(2),
    "TUPLE3": lambda m, a: m.tuple_of(3),
    "APPEND": _Machine.append,
    "APPENDS": _Machine.extend,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "ADDITEMS": _Machine.add_items,
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.put,
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "GLOBAL": _Machine.global_,
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.reduce,
    "NEWOBJ_EX": _Machine.new_with_names,
    "OBJ": _Machine.object_,
    "INST": _Machine.instance,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persistent_id,
}
