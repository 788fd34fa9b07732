"""TensorFlow Lite models written with the flatbuffers builder and the schema's own generated functions."""

from dataclasses import dataclass, field, replace

import flatbuffers
import numpy as np
import tflite

CODES = {
    np.dtype("float32"): "FLOAT32",
    np.dtype("float16"): "FLOAT16",
    np.dtype("float64"): "FLOAT64",
    np.dtype("int8"): "INT8",
    np.dtype("uint8"): "UINT8",
    np.dtype("int16"): "INT16",
    np.dtype("uint16"): "UINT16",
    np.dtype("int32"): "INT32",
    np.dtype("uint32"): "UINT32",
    np.dtype("int64"): "INT64",
    np.dtype("uint64"): "UINT64",
    np.dtype("bool"): "BOOL",
    np.dtype("complex64"): "COMPLEX64",
}


@dataclass(frozen=True)
class Node:
    """A tensor of a graph: a constant if it has data, `like` the name of one whose buffer it shares."""

    name: str
    shape: tuple
    type: str = "FLOAT32"
    data: bytes = b""
    scale: tuple = ()
    zero: tuple = ()
    along: int = 0
    details: int = 0
    sparsity: dict | None = None
    variable: bool = False
    like: str = ""
    behind: bool = False


@dataclass(frozen=True)
class Op:
    """An operator, its inputs and outputs by name ('' for an absent one), its options by the schema's names."""

    name: str
    inputs: tuple
    outputs: tuple = ()
    options: dict = field(default_factory=dict)


def constant(name, array, **more):
    """A constant of a numpy array."""
    array = np.asarray(array)
    return replace(
        Node(name, array.shape, CODES.get(array.dtype, "")),
        data=array.tobytes(),
        **{"type": CODES.get(array.dtype), **more},
    )


def made(b, table, **fields):
    """Make a table of the schema."""
    getattr(tflite, f"{table}Start")(b)
    for name, value in fields.items():
        if value is not None:
            getattr(tflite, f"{table}Add{name}")(b, value)
    return getattr(tflite, f"{table}End")(b)


def listed(b, offsets):
    """Make a vector of tables."""
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return b.EndVector()


def numbers(b, values, dtype):
    """Make a vector of numbers; an empty one where there are none."""
    values = np.asarray(values, dtype)
    if not values.size:
        b.StartVector(values.itemsize, 0, values.itemsize)
        return b.EndVector()
    return b.CreateNumpyVector(values)


_INDEX = {"int32": "Int32Vector", "uint16": "Uint16Vector", "uint8": "Uint8Vector"}


def _index(b, values, dtype):
    at = made(b, _INDEX[dtype], Values=numbers(b, values, dtype))
    return getattr(tflite.SparseIndexVector, _INDEX[dtype]), at


def sparsity(b, order, block, levels, dtype="int32"):
    """Make the SparsityParameters of levels (form, size, ends, indices)."""
    metadata = []
    for form, size, ends, indices in levels:
        more = {}
        if form:
            kind, at = _index(b, ends, dtype)
            more |= {"ArraySegmentsType": kind, "ArraySegments": at}
            kind, at = _index(b, indices, dtype)
            more |= {"ArrayIndicesType": kind, "ArrayIndices": at}
        metadata.append(made(b, "DimensionMetadata", Format=form, DenseSize=size, **more))
    dims = listed(b, metadata)
    map_ = numbers(b, block, "int32") if len(block) else None
    return made(b, "SparsityParameters", TraversalOrder=numbers(b, order, "int32"), BlockMap=map_, DimMetadata=dims)


def _quantization(b, node):
    if not node.scale and not node.details:
        return None
    scale, zero = numbers(b, node.scale, "float32"), numbers(b, node.zero, "int64") if node.zero else None
    return made(
        b,
        "QuantizationParameters",
        Scale=scale,
        ZeroPoint=zero,
        DetailsType=node.details,
        QuantizedDimension=node.along,
    )


def _tensor(b, node, buffer):
    code = getattr(tflite.TensorType, node.type) if isinstance(node.type, str) else node.type
    shape = numbers(b, node.shape, "int32")
    name = b.CreateString(node.name)
    quantization = _quantization(b, node)
    sparse = sparsity(b, **node.sparsity) if node.sparsity else None
    return made(
        b,
        "Tensor",
        Shape=shape,
        Type=code,
        Buffer=buffer,
        Name=name,
        Quantization=quantization,
        IsVariable=node.variable,
        Sparsity=sparse,
    )


def _operator(b, op, places, codes):
    options = kind = None
    if op.options:
        (table,) = {name for name in op.options}
        options = made(b, table, **op.options[table])
        kind = getattr(tflite.BuiltinOptions, table)
    inputs = numbers(b, [places.get(name, -1) for name in op.inputs], "int32")
    outputs = numbers(b, [places.get(name, -1) for name in op.outputs], "int32")
    return made(
        b,
        "Operator",
        OpcodeIndex=codes.index(op.name),
        Inputs=inputs,
        Outputs=outputs,
        BuiltinOptionsType=kind,
        BuiltinOptions=options,
    )


def model(*graphs):
    """Give the bytes of a model of graphs (nodes, ops); a node `behind` has its data behind the flatbuffer."""
    once = _model(graphs, {})
    behind, at = {}, len(once)
    for nodes, _ in graphs:
        for node in nodes:
            if node.behind:
                behind[node.name] = at
                at += len(node.data)
    data = _model(graphs, behind)
    assert len(data) == len(once)
    return data + b"".join(node.data for nodes, _ in graphs for node in nodes if node.behind)


def _model(graphs, behind):
    b = flatbuffers.Builder(1024)
    b.ForceDefaults(True)  # so that an offset of 0 takes as much room as any other
    buffers, owner = [made(b, "Buffer")], {}
    codes = sorted({op.name for _, ops in graphs for op in ops})
    subgraphs = []
    for nodes, ops in graphs:
        tensors = []
        for node in nodes:
            place = owner[node.like] if node.like else 0
            if node.data:
                place = owner[node.name] = len(buffers)
                if node.behind:
                    buffers.append(made(b, "Buffer", Offset=behind.get(node.name, 0), Size=len(node.data)))
                else:
                    buffers.append(made(b, "Buffer", Data=b.CreateByteVector(node.data)))
            tensors.append(_tensor(b, node, place))
        places = {node.name: i for i, node in enumerate(nodes)}
        operators = listed(b, [_operator(b, op, places, codes) for op in ops])
        tensors = listed(b, tensors)
        subgraphs.append(made(b, "SubGraph", Tensors=tensors, Operators=operators))
    numbers_of = [getattr(tflite.BuiltinOperator, name) for name in codes]
    made_codes = [made(b, "OperatorCode", DeprecatedBuiltinCode=min(n, 127), BuiltinCode=n) for n in numbers_of]
    made_codes, subgraphs, buffers = listed(b, made_codes), listed(b, subgraphs), listed(b, buffers)
    b.Finish(made(b, "Model", Version=3, OperatorCodes=made_codes, Subgraphs=subgraphs, Buffers=buffers), b"TFL3")
    return bytes(b.Output())
