"""Weights and most activations in half precision, float16."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.export.graph import MODULE_KEY
from vampnet_onnx.export.passes.base import GraphPass, PassError, PassResult

from .quantise import Floats
from .rewriting import Rewriter, add_weight, lazy, weight_names

# Sums, squares and exponentials lose too much in half precision, or leave it.
_EXACT = frozenset({"Pow", "ReduceMean", "Sqrt", "Reciprocal", "Softmax", "Tanh"})
_ELEMENTWISE = frozenset({"Add", "Sub", "Mul", "Div"})
_OTHERS = frozenset(
    {
        "MatMul",
        "Gelu",
        "Gather",
        "Reshape",
        "Transpose",
        "Slice",
        "RMSNormalization",  # of opset 23: by its stash_type the mean is one of float32
    }
)

# Share of itself that a weight may lose: 2.4e-4 is half a step; more is lost by values so
# small that half precision has none, or few, of them.
_LOST = 0.01


class HalfPrecision(GraphPass):
    """Compute in half precision, but for norms and softmax.

    Inputs and outputs stay float32, so that whoever runs the graph sees no difference.

    Rules:
        weights and constants -> float16;
        squares, means, roots and softmax, with what is added to, multiplied with or divided by
        their results, but for weights -> float32;
        everything else that is float -> float16, with a Cast where the two meet.
    """

    def __init__(self, left: frozenset[str]) -> None:
        """Remember the weights whose products stay in float32, by name."""
        self.left = left

    def requires(self, model: ir.Model) -> None:
        """Every operator that takes floats is one whose precision is known."""
        floats = _floats(model.graph)
        for node in model.graph:
            known = _EXACT | _ELEMENTWISE | _OTHERS | {"Shape"}
            if node.op_type not in known and any(value in floats for value in node.inputs):
                raise PassError(f"{node.name} takes floats and is a {node.op_type}")

    def call(self, model: ir.Model) -> PassResult:
        """Rewrite every node that takes floats."""
        graph, floats = model.graph, _floats(model.graph)
        casts = _Casts(graph, self.left)
        for node in [n for n in graph if n.op_type != "Shape"]:
            taken = [i for i, value in enumerate(node.inputs) if value in floats]
            if taken:
                casts.use(node, taken)
        for value in [value for value in graph.outputs if value in floats]:
            casts.give(value)
        kept = f", {len(self.left)} left in float32: {', '.join(sorted(self.left))}"
        details = f"half precision in {casts.halved} nodes{kept if self.left else ''}"
        return PassResult(casts.halved, details)

    def ensures(self, model: ir.Model) -> None:
        """Every weight is in half precision, but for what is left in float32."""
        left = [
            name
            for name in weight_names(model.graph) - self.left
            if model.graph.initializers[name].dtype == ir.DataType.FLOAT
            and not model.graph.initializers[name].is_graph_input()  # of an adapter
        ]
        self.refuse_left(left)


class _Casts:
    """Puts floats into the precision in which a node takes them."""

    def __init__(self, graph: ir.Graph, left: frozenset[str]) -> None:
        self._graph, self._left = graph, left
        self._weights = weight_names(graph)
        self._exact = {value for value in graph.inputs if value.dtype == ir.DataType.FLOAT}
        self._spread = set[ir.Value]()  # results that make others exact
        self._made = dict[tuple[ir.Value, bool], ir.Value]()
        self.halved = 0

    def use(self, node: ir.Node, taken: list[int]) -> None:
        """Let a node take its floats, at these places, in one precision."""
        inputs = [value for i in taken if (value := node.inputs[i]) is not None]
        names = {value.name for value in inputs if value.is_initializer()}
        spreads = node.op_type in _EXACT or (
            node.op_type in _ELEMENTWISE
            and not names & self._weights
            and any(value in self._spread for value in inputs)
        )
        exact = spreads or bool(names & self._left)
        for i, value in zip(taken, inputs, strict=True):
            node.replace_input_with(i, self._in(value, node, exact=exact))
        if exact:
            self._exact.update(node.outputs)
        if spreads:
            self._spread.update(node.outputs)
        self.halved += not exact

    def give(self, value: ir.Value) -> None:
        """Let the graph give a value in float32."""
        node = value.producer()
        if value in self._exact or node is None:
            return
        add = Rewriter(self._graph, None, node.metadata_props[MODULE_KEY])
        made = add.one("Cast", value, to=ir.DataType.FLOAT.value)
        made.name, made.type, made.shape = value.name, value.type, value.shape
        value.name, value.type = f"{value.name} in half precision", None
        self._graph.outputs[self._graph.outputs.index(value)] = made

    def _in(self, value: ir.Value, node: ir.Node, *, exact: bool) -> ir.Value:
        if (value, exact) not in self._made:
            self._made[value, exact] = self._cast(value, node, exact=exact)
        return self._made[value, exact]

    def _cast(self, value: ir.Value, node: ir.Node, *, exact: bool) -> ir.Value:
        add = Rewriter(self._graph, node, node.metadata_props[MODULE_KEY])
        if value.const_value is not None and not value.is_graph_input():
            if exact:
                return value
            name, tensor = str(value.name), value.const_value
            if name not in self._weights:
                return add.constant(_halved(name, tensor.numpy()), np.float16)
            shape = tensor.shape.numpy()
            del self._graph.initializers[name]  # every user of a weight takes it in half
            return add_weight(self._graph, lazy(name, np.float16, shape, _half(name, tensor)))
        if (value in self._exact) == exact:
            return value
        to = ir.DataType.FLOAT if exact else ir.DataType.FLOAT16
        return add.one("Cast", value, to=to.value)


def half_product(x: Floats, weight: Floats) -> Floats:
    """Return what a product in half precision computes, float32 [rows, out].

    Products are added up in float32, as runtimes do, and the sum is rounded.

    Args:
        x: float32 [rows, in].
        weight: float32 [in, out].
    """
    with np.errstate(over="ignore", invalid="ignore"):  # the caller sees what is not finite
        a, b = (each.astype(np.float16).astype(np.float32) for each in (x, weight))
        product: Floats = (a @ b).astype(np.float16).astype(np.float32)
    return product


def _half(name: str, tensor: ir.TensorProtocol) -> Callable[[], np.ndarray]:
    return lambda: _halved(name, tensor.numpy())


def _halved(name: str, weight: np.ndarray) -> np.ndarray:
    """Return a weight in half precision.

    Raises:
        InputError: it has values that half precision has not.
    """
    with np.errstate(over="ignore"):
        half = weight.astype(np.float16)
    lost = np.linalg.norm(half.astype(np.float64) - weight)
    if not lost <= _LOST * np.linalg.norm(weight.astype(np.float64)):
        small, large = np.abs(weight).min(), np.abs(weight).max()
        raise InputError(
            f"fp16: {name} has values from {small:.3g} to {large:.3g}; half precision holds"
            " 6e-8 to 65504, so leave fp16 out of --variants"
        )
    return half


def _floats(graph: ir.Graph) -> set[ir.Value | None]:
    """Return the values that are floats: types of inner ones are not kept in graphs."""
    found = {
        value
        for value in (*graph.inputs, *graph.initializers.values())
        if value.dtype == ir.DataType.FLOAT
    }
    for node in graph:
        if node.op_type != "Shape" and any(value in found for value in node.inputs):
            found.update(node.outputs)
    return set(found)
