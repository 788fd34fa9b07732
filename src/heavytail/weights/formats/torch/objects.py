"""What the pickle of a checkpoint may name, and the descriptions of tensors and arrays that are built from it."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from heavytail.weights.faults import quoted
from heavytail.weights.formats.torch.pickles import Opaque, Symbol
from heavytail.weights.formats.torch.refs import (
    ODD_SIZES,
    ArrayRef,
    DtypeRef,
    StorageRef,
    TensorRef,
    count,
    dtype_problem,
    sizes,
)
from heavytail.weights.tensor import numpy_dtype

__all__ = ["Forbidden", "find_global", "storage_of"]


class Forbidden(Exception):  # noqa: N818  it is a refusal, not a fault of the file
    """The pickle names an object that is not on the list."""


_PLAIN = [
    "float64",
    "float32",
    "float16",
    "bfloat16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint64",
    "uint32",
    "uint16",
    "uint8",
    "bool",
    "complex64",
    "complex128",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
]
_ALIASES = {"half": "float16", "float": "float32", "double": "float64", "long": "int64", "int": "int32"}
_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
    "QUInt4x2Storage": "quint4x2",
    "QUInt2x4Storage": "quint2x4",
    "UntypedStorage": "uint8",
    "_UntypedStorage": "uint8",
}
_MARKERS = [
    "strided",
    "sparse_coo",
    "sparse_csr",
    "sparse_csc",
    "sparse_bsr",
    "sparse_bsc",
    "_mkldnn",
    "jagged",
    "per_tensor_affine",
    "per_channel_affine",
    "per_tensor_symmetric",
    "per_channel_symmetric",
    "per_channel_affine_float_qparams",
    "contiguous_format",
    "channels_last",
    "channels_last_3d",
    "preserve_format",
]


def find_global(name: str) -> object:
    """Give what stands for a dotted name in a checkpoint's pickle.

    Raises:
        Forbidden: the name is not on the list.
    """
    try:
        return _GLOBALS[name]
    except KeyError:
        advice = "; save the state dict alone" if name.startswith(("torch.nn.", "__main__.")) else ""
        raise Forbidden(
            f"asks for the Python object {quoted(name)}, which is not a tensor, number, string or container; "
            f"nothing was executed{advice}"
        ) from None


def storage_of(identity: object) -> StorageRef:
    """Read a persistent id of torch: ("storage", type, key, device, count[, view])."""
    if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[0] not in ("storage", b"storage"):
        raise ValueError("the pickle refers to data outside itself in a way that torch does not")
    _, kind, key, _, numel, *view = identity
    if not isinstance(kind, Symbol) or kind.value is None:
        raise ValueError("the pickle refers to a storage of no type")
    count(numel)
    first, size = 0, numel
    if view and view[0] is not None:
        _, first, size = view[0]
        if count(first) + count(size) > numel:
            raise ValueError("a view of a storage reaches past its end")
    return StorageRef(str(key) if isinstance(key, str | int) else "?", kind.value, numel, first, size)


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any, dtype: str | None = None) -> TensorRef:
    if not isinstance(storage, StorageRef):
        raise ValueError("a tensor has no storage")
    shape, stride = sizes(shape), sizes(stride)
    if len(shape) != len(stride):
        raise ValueError(f"a tensor has {len(shape)} sizes and {len(stride)} strides")
    dtype = dtype or storage.dtype
    problem = dtype_problem(dtype)
    views = rest[2] if len(rest) > 2 and isinstance(rest[2], dict) else {}
    if problem is None and (views.get("conj") or views.get("neg")):
        problem = "it is stored as the conjugate or the negative of its numbers"
    return TensorRef(shape, dtype, storage, count(offset), stride, problem)


def _tensor_v3(storage: Any, offset: Any, shape: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *m: Any) -> Any:
    return _tensor(storage, offset, shape, stride, grad, hooks, *m, dtype=_dtype_name(dtype))


def _dtype_name(dtype: Any) -> str:
    if not isinstance(dtype, Symbol) or dtype.value is None:
        raise ValueError("a tensor has no dtype")
    return dtype.value


def _first(data: Any, *_: Any) -> Any:
    """Give a parameter's data."""
    return data


def _quantised(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> TensorRef:
    ref = _tensor(storage, offset, shape, stride)
    return replace(ref, problem=f"it is quantised ({ref.dtype}) with scales of its own")


def _sparse(layout: Any, data: Any) -> TensorRef:
    name = layout.name.removeprefix("torch.") if isinstance(layout, Symbol) else "sparse"
    parts = data if isinstance(data, tuple) else ()
    shape = next((p for p in reversed(parts) if isinstance(p, tuple)), ())
    dtype = next((p.dtype for p in reversed(parts) if isinstance(p, TensorRef)), "unknown")
    return TensorRef(sizes(shape), dtype, problem=f"it is sparse ({name})")


def _meta(dtype: Any, shape: Any, *_: Any) -> TensorRef:
    return TensorRef(sizes(shape), _dtype_name(dtype), problem="it is a meta tensor: a shape without numbers")


def _nested(*_: Any) -> TensorRef:
    return TensorRef((), "unknown", problem="it is a nested tensor")


def _wrapper(cls: Any, dtype: Any, shape: Any, *_: Any) -> TensorRef:
    return TensorRef(sizes(shape), _dtype_name(dtype), problem="it is a tensor subclass without plain numbers")


def _from_type(build: Any, cls: Any, arguments: Any, *_: Any) -> object:
    if not isinstance(build, Symbol) or build.build is None or not isinstance(arguments, tuple):
        raise ValueError("a tensor subclass is rebuilt by no known function")
    return build.build(*arguments)


def _layout(name: Any) -> object:
    return find_global(name) if isinstance(name, str) else Opaque("layout")


def _numpy_dtype(kind: Any = None, *_: Any) -> DtypeRef:
    if isinstance(kind, Symbol):
        return DtypeRef(kind.value)
    if isinstance(kind, bytes):
        kind = kind.decode("ascii")
    if isinstance(kind, str) and re.fullmatch(r"[<>|=]?[biufc](1|2|4|8|16|32)", kind):
        return DtypeRef(np.dtype(kind).name, kind[0] == ">")
    return DtypeRef(None)


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any) -> ArrayRef:
    array = ArrayRef()
    array.accept_state((1, shape, dtype, order == "F", data))
    return array


def _scalar(dtype: Any, data: Any = b"") -> object:
    if not isinstance(dtype, DtypeRef) or dtype.name is None:
        return Opaque("numpy scalar")
    data = data.encode("latin-1") if isinstance(data, str) else data
    kind = numpy_dtype(dtype.name)
    if not isinstance(data, bytes) or len(data) != kind.itemsize:
        raise ValueError("a numpy scalar has the wrong number of bytes")
    return np.frombuffer(data[::-1] if dtype.swap else data, kind)[0].item()


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError("the pickle encodes text in a way that bytes are not")
    return text.encode("latin-1")


def _ordered(items: Any = ()) -> OrderedDict[Any, Any]:
    made: OrderedDict[Any, Any] = OrderedDict()
    if not isinstance(items, list | tuple):
        raise ValueError("an OrderedDict is made of no list")
    for pair in items:
        key, value = pair
        if not isinstance(key, str | int):
            raise ValueError("an OrderedDict has a key that is no string")
        made[key] = value
    return made


def _items(kind: type, items: Any = ()) -> Any:
    if not isinstance(items, list | tuple | set | frozenset):
        raise ValueError(f"a {kind.__name__} is made of no list")
    if kind in (set, frozenset) and not all(isinstance(i, str | int | float | bytes | None) for i in items):
        raise ValueError(f"a {kind.__name__} holds what is no number and no string")
    return kind(items)


def _bytes(kind: type, data: Any = b"", encoding: Any = "latin-1") -> Any:
    if isinstance(data, str):
        data = _encode(data, encoding)
    if not isinstance(data, bytes | bytearray):  # a number would ask for so many bytes
        raise ValueError(f"a {kind.__name__} is made of what is no bytes")
    return kind(data)


def _empty_dict(*_: Any) -> dict[Any, Any]:
    """Make what a defaultdict, a Counter or a dict begins as; its items follow in the pickle."""
    return {}


def _opaque(name: str, *_: Any) -> Opaque:
    return Opaque(name)


_INERT = [
    "argparse.Namespace",
    "types.SimpleNamespace",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "pathlib.PurePosixPath",
    "pathlib.PureWindowsPath",
    "datetime.datetime",
    "datetime.date",
    "datetime.timedelta",
    "torch.device",
    "uuid.UUID",
    "torch._C.Generator",
    "torch.torch_version.TorchVersion",
]

# Dicts with attribute access, in which training frameworks keep hyperparameters beside the weights.
_DICTS = [
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
]

_BUILDERS: dict[str, Callable[..., object]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._utils._rebuild_device_tensor_from_numpy": _first,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _first,
    "torch._utils._rebuild_xla_tensor": _first,
    "torch._utils._rebuild_qtensor": _quantised,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_sparse_csr_tensor": _sparse,
    "torch._utils._rebuild_meta_tensor_no_storage": _meta,
    "torch._utils._rebuild_nested_tensor": _nested,
    "torch._utils._rebuild_wrapper_subclass": _wrapper,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch._tensor._rebuild_from_type": _from_type,
    "torch.nn.parameter.Parameter": _first,
    "torch.nn.parameter.Buffer": _first,
    "torch.Tensor": _first,
    "torch.serialization._get_layout": _layout,
    "torch.Size": partial(_items, tuple),
    "collections.OrderedDict": _ordered,
    "collections.defaultdict": _empty_dict,
    "collections.Counter": _empty_dict,
    "_codecs.encode": _encode,
    "numpy.dtype": _numpy_dtype,
    **{f"{b}.{k.__name__}": partial(_items, k) for b in ("builtins", "__builtin__") for k in (list, tuple, set)},
    **{f"{b}.frozenset": partial(_items, frozenset) for b in ("builtins", "__builtin__")},
    **{f"{b}.{k.__name__}": partial(_bytes, k) for b in ("builtins", "__builtin__") for k in (bytes, bytearray)},
    **{f"{b}.dict": _empty_dict for b in ("builtins", "__builtin__")},
    **{f"{b}.{n}": partial(_opaque, n) for b in ("builtins", "__builtin__") for n in ("complex", "slice", "range")},
    **{f"numpy.{core}.multiarray._reconstruct": lambda *_: ArrayRef() for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _frombuffer for core in ("core", "_core")},
    **{name: partial(_opaque, name) for name in _INERT},
    **dict.fromkeys(_DICTS, _empty_dict),
}
_VALUES: dict[str, str | None] = {
    "numpy.ndarray": None,
    **{f"torch.{name}": None for name in _MARKERS},
    **{f"torch.{name}": name for name in (*_PLAIN, *ODD_SIZES)},
    **{f"torch.{alias}": name for alias, name in _ALIASES.items()},
    **{f"ml_dtypes.{name}": name for name in _PLAIN if name.startswith(("bfloat", "float8"))},
    **{f"{home}.{kind}": name for home in ("torch", "torch.cuda", "torch.storage") for kind, name in _STORAGES.items()},
    **dict.fromkeys(("builtins.int", "builtins.float", "builtins.str", "builtins.bool", "builtins.object"), None),
}
_GLOBALS: dict[str, object] = {
    **{name: Symbol(name, build=build) for name, build in _BUILDERS.items()},
    **{name: Symbol(name, value=value) for name, value in _VALUES.items()},
}
