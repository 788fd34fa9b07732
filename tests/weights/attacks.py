"""Pickles written by hand, opcode by opcode; each would do something that a file of weights must not do."""

import pickle

TOUCH = "touch canary"


def text(value):
    """Push a string."""
    data = value.encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def named(module, name, *, stack=False):
    """Push a global."""
    return text(module) + text(name) + b"\x93" if stack else f"c{module}\n{name}\n".encode()


def call(module, name, *arguments, stack=False):
    """Call a global with arguments that are opcodes already."""
    return named(module, name, stack=stack) + b"(" + b"".join(arguments) + b"tR"


def whole(body, protocol=4):
    """Make a pickle of a body."""
    return b"\x80" + bytes([protocol]) + body + b"."


class _Nested:
    def __reduce__(self):
        return (list, ([_Inner()],))


class _Inner:
    def __reduce__(self):
        import os

        return (os.system, (TOUCH,))


OPEN = text("canary") + text("w")
CODE = text("open('canary', 'w')")
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"

# Pickles that name what is not on the list: name, pickle.
FORBIDDEN = {
    "os.system": whole(call("os", "system", text(TOUCH))),
    "posix.system": whole(call("posix", "system", text(TOUCH), stack=True)),
    "builtins.eval": whole(call("builtins", "eval", CODE)),
    "builtins.exec": whole(call("builtins", "exec", CODE, stack=True)),
    "builtins.open": whole(call("builtins", "open", OPEN)),
    "builtins.getattr": whole(call("builtins", "getattr", named("builtins", "dict"), text("get"))),
    "builtins.__import__": whole(call("builtins", "__import__", text("os"))),
    "subprocess.Popen": whole(call("subprocess", "Popen", text(TOUCH))),
    "torch.load": whole(call("torch", "load", text("canary"))),
    "torch.serialization.load": whole(call("torch.serialization", "load", text("canary"))),
    "torch.storage._load_from_bytes": whole(call("torch.storage", "_load_from_bytes", b"C\x01x")),
    "torch.hub.load_state_dict_from_url": whole(call("torch.hub", "load_state_dict_from_url", text("http://x"))),
    "torch._utils._rebuild_tensor_v2.__globals__": whole(
        named("torch._utils", "_rebuild_tensor_v2.__globals__", stack=True)
    ),
    "torch.os.system": whole(call("torch", "os.system", text(TOUCH), stack=True)),
    "collections.OrderedDict.__init__": whole(named("collections", "OrderedDict.__init__", stack=True)),
    "numpy.frompyfunc": whole(call("numpy", "frompyfunc", named("numpy", "add"))),
    "numpy.testing._private.utils.runstring": whole(
        call("numpy.testing._private.utils", "runstring", CODE, b"}", stack=True)
    ),
    "numpy.load": whole(call("numpy", "load", text("canary"))),
    "numpy.f2py.compile": whole(call("numpy.f2py", "compile", CODE)),
    "pickle.loads": whole(call("pickle", "loads", b"C\x01.")),
    "_pickle.loads": whole(call("_pickle", "loads", b"C\x01.")),
    "functools.partial": whole(call("functools", "partial", named("os", "system"))),
    "operator.attrgetter": whole(call("operator", "attrgetter", text("system"))),
    "copyreg._reconstructor": whole(call("copyreg", "_reconstructor", named("builtins", "object"))),
    "importlib.import_module": whole(call("importlib", "import_module", text("os"))),
    "webbrowser.open": whole(call("webbrowser", "open", text("http://x"))),
    "nt.system": whole(call("nt", "system", text(TOUCH))),
    "commands.getoutput": whole(call("commands", "getoutput", text(TOUCH)), 2),
    "__main__.Net": whole(named("__main__", "Net") + b")\x81}b"),
}

# Pickles that use allowed names, or the machine itself, in ways that must not work.
ATTACKS = {
    "os.system": whole(call("os", "system", text(TOUCH))),
    "nested reduce": pickle.dumps(_Nested()),
    "reduce in a dict": whole(b"}" + text("w") + call("os", "system", text(TOUCH)) + b"s"),
    "inst": whole(b"(" + text(TOUCH) + b"ios\nsystem\n"),
    "obj": whole(b"(" + named("os", "system") + text(TOUCH) + b"o"),
    "newobj": whole(named("os", "system") + text(TOUCH) + b"\x85\x81"),
    "newobj_ex": whole(named("collections", "OrderedDict") + b")}" + text("a") + b"K\x01s\x92"),
    "extension": whole(b"\x82\x01"),
    "out-of-band buffer": whole(b"\x97", 5),
    "call of a string": whole(text("os.system") + text(TOUCH) + b"\x85R"),
    "call of a dtype": whole(named("torch", "float32") + b")R"),
    "call of a result": whole(call("collections", "OrderedDict") + b")R"),
    "arguments in a list": whole(named("collections", "OrderedDict") + b"]R"),
    "subclass rebuilt by a forbidden function": whole(
        call("torch._tensor", "_rebuild_from_type_v2", named("os", "system"), named("torch", "Tensor"), text(TOUCH))
    ),
    "subclass rebuilt by a string": whole(
        call("torch._tensor", "_rebuild_from_type_v2", text("os.system"), named("torch", "Tensor"), b")", b"}")
    ),
    "too many arguments": whole(TENSOR + b"(" + b"N" * 50 + b"tR"),
    "too few arguments": whole(TENSOR + b")R"),
    "tensor without a storage": whole(TENSOR + b"(NK\x00)))NtR"),
    "global named by a number": whole(b"K\x01K\x02\x93"),
    "global with a newline": whole(text("os\n\x1b[2J") + text("system") + b"\x93"),
    "module of a whole legacy file": whole(b"(" + text("module") + named("os", "system") + b"NNtQ"),
    "storage of no type": whole(b"(" + text("storage") + text("x") + text("0") + text("cpu") + b"K\x01tQ"),
    "state of an array": whole(call("numpy.core.multiarray", "_reconstruct", b"N") + b"K\x01b"),
    "array with too few bytes": whole(
        call("numpy.core.multiarray", "_reconstruct", b"N")
        + b"(K\x01K\x64\x85"
        + call("numpy", "dtype", text("f8"))
        + b"\x89C\x01xtb"
    ),
    "state that sets attributes": whole(
        call("collections", "OrderedDict") + b"}" + text("__class__") + named("os", "system") + b"sb"
    ),
    "dotted name": whole(call("torch", "nn.Module.__init__.__globals__", stack=True)),
    "persistent id of an object": whole(b"NQ"),
    "text persistent id": whole(b"P0\n"),
}


def _laughs(depth, wrap):
    body = b"]"
    for _ in range(depth):
        body += b"2" + wrap
    return body


# Pickles that ask for much memory or time with few bytes.
BOMBS = {
    "four gigabytes of text": whole(b"X\xff\xff\xff\xff"),
    "an exabyte of bytes": whole(b"\x8e" + (1 << 60).to_bytes(8, "little")),
    "an exabyte in a bytearray": whole(b"\x96" + (1 << 60).to_bytes(8, "little"), 5),
    "a huge frame": whole(b"\x95" + (1 << 62).to_bytes(8, "little")),
    "a negative length": whole(b"T\xff\xff\xff\xff"),
    "a long integer": whole(b"\x8b" + (1 << 16).to_bytes(4, "little") + b"\x7f" * (1 << 16)),
    "a long decimal": whole(b"L" + b"9" * 100_000 + b"L\n"),
    "deep lists": whole(b"]" * 100_000 + b"a" * 99_999),
    "deep tuples as a key": whole(b"}" + b")" + b"\x85" * 100_000 + b"Ns"),
    "a million laughs": whole(_laughs(60, b"\x86")),
    "laughs in dicts": whole(b"}" + (b"q\x00}" + text("a") + b"h\x00s" + text("b") + b"h\x00s") * 60),
    "laughs as a key": whole(b"})" + b"2\x86" * 60 + b"Ns"),
    "a list in itself": whole(b"]q\x00h\x00a"),
    "a dict in itself": whole(b"}q\x00" + text("model") + b"h\x00s"),
    "a large memo": whole(b"Nr\xff\xff\xff\xff"),
    "marks only": whole(b"(" * 100_000),
    "an array larger than any memory": whole(
        call("numpy.core.multiarray", "_reconstruct", b"N")
        + b"(K\x01"
        + b"\x8a\x08"
        + b"\xff" * 7
        + b"\x0f\x85"
        + call("numpy", "dtype", text("f8"))
        + b"\x89C\x01xtb"
    ),
    "a set of a huge range": whole(call("builtins", "set", call("builtins", "range", b"J\xff\xff\xff\x7f"))),
    "bytes of a huge count": whole(call("builtins", "bytearray", b"J\xff\xff\xff\x7f")),
}
