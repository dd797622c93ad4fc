"""Nodes put in the place of others, under the module path that they had."""

import re
from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from vampnet_onnx.export.graph import MODULE_KEY

# What `CanonicalNames` calls a constant that is no weight.
_CONSTANT = re.compile(r"(.*/)?constant_\d+")


class Rewriter:
    """Puts nodes before a node of a graph, or at its end, under a module path."""

    def __init__(self, graph: ir.Graph, before: ir.Node | None, path: str) -> None:
        self._graph, self._before, self._path = graph, before, path

    def node(
        self,
        kind: str,
        *inputs: ir.Value | None,
        outputs: int = 1,
        domain: str = "",
        **attributes: int | Sequence[int],
    ) -> list[ir.Value]:
        """Add a node and return its outputs."""
        made = ir.node(
            kind,
            inputs,
            attributes=attributes,
            domain=domain,
            num_outputs=outputs,
            metadata_props={MODULE_KEY: self._path},
        )
        made.name = self._free(f"{self._path}/{kind}")
        for i, value in enumerate(made.outputs):
            value.name = f"{made.name}:{i}"
        if self._before is None:
            self._graph.append(made)
        else:
            self._graph.insert_before(self._before, made)
        return list(made.outputs)

    def one(
        self, kind: str, *inputs: ir.Value, domain: str = "", **attributes: int | Sequence[int]
    ) -> ir.Value:
        """Add a node of one output and return that."""
        return self.node(kind, *inputs, outputs=1, domain=domain, **attributes)[0]

    def constant(self, value: object, dtype: type[np.generic]) -> ir.Value:
        """Return a constant; equal ones are one."""
        array = np.array(value, dtype)
        name = f"constant of {array.dtype} {array.tolist()}"
        held = self._graph.initializers.get(name)
        return held or add_weight(self._graph, ir.tensor(array, name=name))

    def _free(self, stem: str) -> str:
        return f"{stem}#{len(self._graph)}"


def add_weight(graph: ir.Graph, tensor: ir.TensorProtocol) -> ir.Value:
    """Add a tensor to a graph under its own name."""
    value = ir.Value(
        name=tensor.name,
        type=ir.TensorType(tensor.dtype),
        shape=ir.Shape(tensor.shape.numpy()),
        const_value=tensor,
    )
    graph.register_initializer(value)
    return value


def lazy(
    name: str, dtype: type[np.generic], shape: Sequence[int], compute: Callable[[], np.ndarray]
) -> ir.LazyTensor:
    """Return a tensor that is computed when it is asked for, since all do not fit at once."""
    return ir.LazyTensor(
        lambda: ir.tensor(np.ascontiguousarray(compute()), name=name),
        dtype=ir.DataType.from_numpy(np.dtype(dtype)),
        shape=ir.Shape(shape),
        name=name,
    )


def take_place(graph: ir.Graph, old: ir.Value, new: ir.Value) -> None:
    """Let every user of a value, and the graph itself, use another."""
    for user, index in list(old.uses()):
        user.replace_input_with(index, new)
    for index, value in enumerate(graph.outputs):
        if value is old:
            new.name, new.type, new.shape = old.name, old.type, old.shape
            old.name = f"{old.name} before"
            graph.outputs[index] = new


def products(graph: ir.Graph) -> list[ir.Node]:
    """Return the products of an activation and a weight; those of adapters are none."""
    return [
        node
        for node in graph
        if node.op_type == "MatMul"
        and node.inputs[1] is not None
        and node.inputs[1].const_value is not None
        and not node.inputs[1].is_graph_input()
    ]


def weight_of(node: ir.Node) -> tuple[str, Callable[[], np.ndarray], tuple[int, int]]:
    """Return the name of a product's weight, what gives it, and its shape [in, out]."""
    value = node.inputs[1]
    assert value is not None and value.const_value is not None
    tensor = value.const_value
    width, out = tensor.shape.numpy()
    return str(value.name), tensor.numpy, (width, out)


def module_nodes(graph: ir.Graph, path: str) -> list[ir.Node]:
    """Return the nodes of a module itself, those of its parts left out."""
    return [node for node in graph if node.metadata_props[MODULE_KEY] == path]


def weight_names(graph: ir.Graph) -> frozenset[str]:
    """Return the names of the initializers that are weights, not constants of the graph."""
    return frozenset(name for name in graph.initializers if not _is_constant(name))


def _is_constant(name: str) -> bool:
    return name.startswith("constant of ") or _CONSTANT.fullmatch(name) is not None
