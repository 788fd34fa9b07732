"""Small ONNX models, written with the onnx package."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def array(*shape, seed=0, dtype=np.float32):
    """Numbers that any type can hold, all different in place."""
    values = np.random.default_rng(seed).standard_normal(shape) if np.dtype(dtype).kind == "f" else None
    return np.random.default_rng(seed).integers(0, 7, shape).astype(dtype) if values is None else values.astype(dtype)


def initializer(name, values):
    return numpy_helper.from_array(np.asarray(values), name)


def node(op, inputs, outputs=("y",), **attributes):
    return helper.make_node(op, list(inputs), list(outputs), **attributes)


def constant(name, values, **attributes):
    return node("Constant", [], [name], value=initializer("", values), **attributes)


def graph(nodes, initializers=(), name="g", inputs=("x",), outputs=("y",), sparse=()):
    untyped = [helper.make_tensor_value_info(i, TensorProto.FLOAT, None) for i in inputs]
    results = [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs]
    return helper.make_graph(list(nodes), name, untyped, results, list(initializers), sparse_initializer=list(sparse))


def model(nodes, initializers=(), functions=(), **rest):
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("own", 1)]
    return helper.make_model(graph(nodes, initializers, **rest), opset_imports=opsets, functions=list(functions))


def saved(folder, nodes, initializers=(), **rest):
    """Write a model; gives its path."""
    path = folder / "m.onnx"
    path.write_bytes(model(nodes, initializers, **rest).SerializeToString())
    return path


def evaluated(path, names, x=None):
    """What onnx's own reference implementation computes for some values of the main graph."""
    from onnx.reference import ReferenceEvaluator

    proto = onnx.load(path)
    del proto.graph.output[:]
    proto.graph.output.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names)
    del proto.graph.input[:]
    wanted, keep = set(names), []
    for item in reversed(proto.graph.node):
        if wanted & set(item.output):
            keep.insert(0, item)
            wanted |= set(item.input)
    del proto.graph.node[:]
    proto.graph.node.extend(keep)
    return ReferenceEvaluator(proto).run(None, {})
