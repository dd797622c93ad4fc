"""Constants in place of what torch's exporter has computed at every run."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from vampnet_onnx.export.passes.base import GraphPass, PassError, PassResult

from .module_paths import MODULE_KEY


class FoldCasts(GraphPass):
    """Cast constants at export, not at every run.

    torch's exporter writes numbers as constants of a type that it guesses and casts them to
    the type of what they meet.

    Rules:
        CastLike(constant, x) -> constant of x's type.
    """

    def requires(self, model: ir.Model) -> None:
        """The type of every CastLike's second input is known."""
        for node in _casts(model):
            if node.inputs[1] is None or node.inputs[1].dtype is None:
                raise PassError(f"FoldCasts does not know the type that {node.name} casts to")

    def call(self, model: ir.Model) -> PassResult:
        """Replace every cast of a constant."""
        folded = 0
        for node in _casts(model):
            value, like = node.inputs
            number = ir.convenience.get_const_tensor(value) if value is not None else None
            if number is None or like is None or like.dtype is None:
                continue
            array = number.numpy().astype(like.dtype.numpy())
            constant = ir.node(
                "Constant", [], {"value": ir.tensor(array)}, metadata_props=node.metadata_props
            )
            ir.convenience.replace_nodes_and_values(
                model.graph, node, [node], [constant], node.outputs, constant.outputs
            )
            folded += 1
        return PassResult(folded, f"cast {folded} constants")

    def ensures(self, model: ir.Model) -> None:
        """No CastLike is left."""
        self.refuse_left([node.name for node in _casts(model)])


class PlainReshapes(GraphPass):
    """Say new shapes by constants, with 0 for an axis that stays and -1 for one that follows.

    torch's exporter reads every free axis off the graph's input and joins the numbers to the
    shape that a Reshape takes.

    Rules:
        Reshape(x, computed shape) -> Reshape(x, constant) where no more than one axis of the
        result is neither fixed nor the axis of x at its place.
    """

    def requires(self, model: ir.Model) -> None:
        """The exporter's notes of shapes are there."""
        for node in _computed(model):
            if node.outputs[0].shape is None:
                raise PassError(f"PlainReshapes does not know the shape of {node.name}")

    def call(self, model: ir.Model) -> PassResult:
        """Replace the shapes; what computed them is removed by `Simplify`."""
        made = 0
        for node in _computed(model):
            shape = _plain(node)
            if shape is None:
                continue
            constant = ir.node(
                "Constant",
                [],
                {"value": ir.tensor(np.array(shape, np.int64))},
                metadata_props={MODULE_KEY: node.metadata_props[MODULE_KEY]},
            )
            constant.outputs[0].name = f"{node.name}_plain"
            model.graph.insert_before(node, constant)
            node.replace_input_with(1, constant.outputs[0])
            node.attributes["allowzero"] = ir.AttrInt64("allowzero", 0)
            made += 1
        return PassResult(made, f"made {made} shapes constant")

    def ensures(self, model: ir.Model) -> None:
        """No shape is computed that a constant could say."""
        self.refuse_left([n.name for n in _computed(model) if _plain(n) is not None])


def _casts(model: ir.Model) -> list[ir.Node]:
    return [node for node in model.graph if node.op_type == "CastLike"]


def _computed(model: ir.Model) -> list[ir.Node]:
    """Return the reshapes of tensors with axes by a shape that is computed."""
    found = []
    for node in model.graph:
        if node.op_type == "Reshape":
            x, shape = node.inputs
            computed = shape is not None and ir.convenience.get_const_tensor(shape) is None
            if computed and x is not None and x.shape is not None and len(x.shape) > 0:
                found.append(node)
    return found


def _plain(node: ir.Node) -> list[int] | None:
    x, result = node.inputs[0], node.outputs[0]
    if x is None or x.shape is None or result.shape is None:
        return None
    before = x.shape.dims
    shape = [_axis(before[i : i + 1], axis) for i, axis in enumerate(result.shape.dims)]
    return shape if shape.count(-1) <= 1 else None


def _axis(before: Sequence[int | ir.SymbolicDim], axis: int | ir.SymbolicDim) -> int:
    if isinstance(axis, int):
        return axis
    return 0 if axis.value is not None and axis in before else -1
