"""A graph in half precision, computed in float32.

On a processor without half precision ONNX Runtime computes in float32 and rounds where it
leaves a Cast standing, which depends on what it merges: no two parts of a graph round alike.
"""

import numpy as np
import onnx_ir as ir

_TO = "to"  # attribute of a Cast


def widen(graph: ir.Graph) -> list[ir.Node]:
    """Let a graph compute in float32 what it computes in half precision, in place.

    Returns:
        The nodes whose outputs were in half precision, in order.
    """
    half = set[ir.Value | None]()
    for value in graph.initializers.values():
        if value.dtype == ir.DataType.FLOAT16 and value.const_value is not None:
            value.const_value = _in_float32(value.const_value)
            value.dtype = ir.DataType.FLOAT
            half.add(value)
    found = []
    for node in graph:
        if node.op_type == "Cast":
            in_half = node.attributes[_TO].as_int() == ir.DataType.FLOAT16
            if in_half:
                node.attributes[_TO] = ir.AttrInt64(_TO, ir.DataType.FLOAT)
        else:
            in_half = any(value in half for value in node.inputs)
        if in_half:
            half.update(node.outputs)
            found.append(node)
    return found


def _in_float32(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    name = tensor.name
    return ir.LazyTensor(
        lambda: ir.tensor(tensor.numpy().astype(np.float32), name=name),
        dtype=ir.DataType.FLOAT,
        shape=ir.Shape(tensor.shape.numpy()),
        name=name,
    )
