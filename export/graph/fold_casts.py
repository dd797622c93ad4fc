"""Constants of the right type from the start."""

import onnx_ir as ir

from vampnet_onnx.export.passes.base import GraphPass, PassError, PassResult


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


def _casts(model: ir.Model) -> list[ir.Node]:
    return [node for node in model.graph if node.op_type == "CastLike"]
