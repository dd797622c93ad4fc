"""What surrounds the products, rearranged so that less is moved and runtimes can fuse it.

It serves the quantised forms, where the products are no longer what takes the time; in float32
it gains nothing.
"""

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from vampnet_onnx.export.graph import MODULE_KEY
from vampnet_onnx.export.passes.base import GraphPass, PassError, PassResult

from .rewriting import (
    Rewriter,
    add_weight,
    lazy,
    module_nodes,
    products,
    take_place,
    weight_of,
)

_ATTENTION = Counter(Reshape=4, Transpose=4, MatMul=2, Div=1, Add=1, Softmax=1)


class DivideInNorms(GraphPass):
    """Write norms so that runtimes know them as one operator.

    Rules:
        weight * (x * Reciprocal(Sqrt(y))) -> (x / Sqrt(y)) * weight.
    """

    def requires(self, model: ir.Model) -> None:
        """Every reciprocal is that of a norm."""
        for node in _reciprocals(model):
            uses = list(node.outputs[0].uses())
            after = [user.node.op_type for user in uses]
            if after != ["Mul"] or len(list(uses[0].node.outputs[0].uses())) != 1:
                raise PassError(f"{node.name} is not the reciprocal of a norm")

    def call(self, model: ir.Model) -> PassResult:
        """Replace the two products of every norm."""
        found = _reciprocals(model)
        for node in found:
            scaled = next(iter(node.outputs[0].uses())).node
            weighted = next(iter(scaled.outputs[0].uses())).node
            (x,) = (v for v in scaled.inputs if v is not node.outputs[0])
            (weight,) = (v for v in weighted.inputs if v is not scaled.outputs[0])
            root = node.inputs[0]
            assert x is not None and weight is not None and root is not None
            add = Rewriter(model.graph, weighted, node.metadata_props[MODULE_KEY])
            normed = add.one("Mul", add.one("Div", x, root), weight)
            take_place(model.graph, weighted.outputs[0], normed)
            model.graph.remove([weighted, scaled, node], safe=True)
        return PassResult(len(found), f"wrote {len(found)} norms as quotients")

    def ensures(self, model: ir.Model) -> None:
        """No reciprocal is left."""
        self.refuse_left([node.name for node in _reciprocals(model)])


class QuantiseScores(GraphPass):
    """Compute the scores of attention from 8-bit queries and keys, values in float32.

    Queries and keys are quantised before they are laid out by heads, so that a quarter of the
    bytes is moved, and the root of the width goes into their scales.

    Rules:
        Div(MatMul(q, k), root) -> Mul(Cast(MatMulInteger(q8, k8)), scale of q * scale of k
        / root), q8 and k8 of DynamicQuantizeLinear.
    """

    def requires(self, model: ir.Model) -> None:
        """Every attention is as the exporter writes it."""
        if not _attentions(model):
            raise PassError("the graph has no attention")
        for path in _attentions(model):
            kinds = Counter(node.op_type for node in module_nodes(model.graph, path))
            if kinds != _ATTENTION:
                raise PassError(f"{path} is of {dict(kinds)}, not as it is exported")

    def call(self, model: ir.Model) -> PassResult:
        """Replace the scores."""
        paths = _attentions(model)
        for path in paths:
            _quantise_scores(model.graph, path)
        return PassResult(len(paths), f"8-bit queries and keys in {len(paths)} attentions")

    def ensures(self, model: ir.Model) -> None:
        """No quotient is left in an attention."""
        self.refuse_left([node.name for node in _quotients(model)])


class SplitGates(GraphPass):
    """Make two products of the first one of a feed-forward network, not two parts of one.

    Rules:
        Slice(MatMul(x, W), columns) -> MatMul(x, columns of W), of both halves.
    """

    def requires(self, model: ir.Model) -> None:
        """Anything will do: a product that something else uses, too, stays whole."""

    def call(self, model: ir.Model) -> PassResult:
        """Replace the products, and their halves."""
        found = [node for node in products(model.graph) if _halves(node)]
        for node in found:
            _split(model.graph, node)
        return PassResult(len(found), f"made two products of {len(found)}")

    def ensures(self, model: ir.Model) -> None:
        """No product is left that two slices alone use."""
        self.refuse_left([node.name for node in products(model.graph) if _halves(node)])


def _reciprocals(model: ir.Model) -> list[ir.Node]:
    return [node for node in model.graph if node.op_type == "Reciprocal"]


def _quotients(model: ir.Model) -> list[ir.Node]:
    return [
        node
        for path in _attentions(model)
        for node in module_nodes(model.graph, path)
        if node.op_type == "Div"
    ]


def _attentions(model: ir.Model) -> list[str]:
    """Return the paths of modules that have a softmax."""
    return [n.metadata_props[MODULE_KEY] for n in model.graph if n.op_type == "Softmax"]


def _quantise_scores(graph: ir.Graph, path: str) -> None:
    (quotient,) = (node for node in module_nodes(graph, path) if node.op_type == "Div")
    product, root = _maker(quotient.inputs[0]), quotient.inputs[1]
    queries, keys = (_maker(value) for value in product.inputs)
    assert root is not None and root.const_value is not None
    add = Rewriter(graph, product, path)
    parts, zeros, scales = list[ir.Value](), list[ir.Value](), list[ir.Value]()
    for laid_out in (queries, keys):
        reshaped = _maker(laid_out.inputs[0])
        x, shape = reshaped.inputs
        assert shape is not None
        rounded, scale, zero = add.node("DynamicQuantizeLinear", x, outputs=3)
        axes = laid_out.attributes["perm"].as_ints()
        parts.append(
            add.one("Transpose", add.one("Reshape", rounded, shape, allowzero=0), perm=axes)
        )
        zeros.append(zero)
        scales.append(scale)
    inverse = add.constant(1 / float(root.const_value.numpy()), np.float32)
    summed = add.one("MatMulInteger", *parts, *zeros)
    scale = add.one("Mul", add.one("Mul", scales[0], inverse), scales[1])
    scores = add.one("Mul", add.one("Cast", summed, to=ir.DataType.FLOAT.value), scale)
    take_place(graph, quotient.outputs[0], scores)
    old = [quotient, product, queries, keys, _maker(queries.inputs[0]), _maker(keys.inputs[0])]
    graph.remove(old, safe=True)


def _maker(value: ir.Value | None) -> ir.Node:
    found = None if value is None else value.producer()
    if found is None:
        raise PassError(f"nothing makes {value}")
    return found


def _halves(node: ir.Node) -> tuple[ir.Node, ir.Node] | None:
    """Return the slices that take the first and the last columns of a product, if all do."""
    users = [user.node for user in node.outputs[0].uses()]
    if [user.op_type for user in users] != ["Slice", "Slice"]:
        return None
    starts = [_number(user.inputs[1]) for user in users]
    first, last = users if starts[0] == 0 else users[::-1]
    return first, last


def _number(value: ir.Value | None) -> int:
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    if tensor is None:
        raise PassError(f"{value} is no constant")
    return int(tensor.numpy().item())


def _split(graph: ir.Graph, node: ir.Node) -> None:
    halves = _halves(node)
    assert halves is not None
    name, whole, (width, out) = weight_of(node)
    middle = _number(halves[1].inputs[1])
    add = Rewriter(graph, node, node.metadata_props[MODULE_KEY])
    for part, half, columns in zip(
        ("value", "gate"), halves, (slice(None, middle), slice(middle, None)), strict=True
    ):
        count = len(range(out)[columns])
        tensor = lazy(f"{name}.{part}", np.float32, (width, count), _columns(whole, columns))
        x = node.inputs[0]
        assert x is not None
        made = add.one("MatMul", x, add_weight(graph, tensor))
        take_place(graph, half.outputs[0], made)
    graph.remove([*halves, node], safe=True)
    del graph.initializers[name]


def _columns(whole: Callable[[], np.ndarray], columns: slice) -> Callable[[], np.ndarray]:
    return lambda: whole()[:, columns]
