"""Simplification by onnxsim, with the weights left outside."""

from __future__ import annotations

import onnx_ir as ir
import onnxsim
from onnx_ir.passes import common

from vampnet_onnx.export.passes import PassResult

from .module_paths import paths_by_output, restore_paths

# Rules that merge nodes of several modules into one.  A person who looks for the layer that
# broke needs one node a layer; runtimes do these fusions themselves when they load a file.
_SKIPPED_RULES = ["fuse_qkv", "fuse_matmul_add_bias_into_gemm", "fuse_transpose_into_gemm"]


class Simplify:
    """Fold constants and remove what is not needed.

    onnxsim never sees a weight: it would hold several copies of it, and what it makes of a
    small one it does not make of a large one, so a small model would prove nothing about the
    graph of a large one.  What must be folded into weights is folded by passes over modules.

    Rules:
        Constant nodes -> initializers; equal subexpressions and equal initializers -> one;
        the rules of onnxsim but `_SKIPPED_RULES`, on everything but the weights;
        nodes and initializers nothing uses -> removed.
    """

    def __init__(self, parameters: frozenset[str]) -> None:
        """Remember which initializers are weights.

        Args:
            parameters: names in the exported module's state dict.
        """
        self.parameters = parameters

    def call(self, model: ir.Model) -> tuple[ir.Model, PassResult]:
        """Return the simplified model and what changed."""
        before = len(model.graph)
        common.CommonSubexpressionEliminationPass()(model)
        paths = paths_by_output(model)
        outside = _take_out(model, self.parameters)
        proto, valid = onnxsim.simplify(
            ir.to_proto(model), skipped_optimizers=_SKIPPED_RULES, certify=False
        )
        if not valid:
            raise RuntimeError("onnxsim says its result is not valid")
        simplified = ir.from_proto(proto)
        _put_back(simplified, outside)
        made = restore_paths(simplified, paths)
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(
            simplified
        )
        common.DeduplicateInitializersPass()(simplified)
        common.CommonSubexpressionEliminationPass()(simplified)
        common.RemoveUnusedNodesPass()(simplified)
        common.RemoveUnusedOpsetsPass()(simplified)
        simplified.graph.sort()
        after = len(simplified.graph)
        return simplified, PassResult(
            before - after, f"{before} to {after} nodes, {made} of them made by onnxsim"
        )


def _take_out(model: ir.Model, names: frozenset[str]) -> dict[str, ir.TensorProtocol]:
    outside = {}
    for name, value in list(model.graph.initializers.items()):
        tensor = value.const_value
        if name in names and tensor is not None:
            outside[name] = tensor
            del model.graph.initializers[name]
            value.const_value = None
            model.graph.inputs.append(value)
    return outside


def _put_back(model: ir.Model, outside: dict[str, ir.TensorProtocol]) -> None:
    for value in [v for v in model.graph.inputs if v.name in outside]:
        model.graph.inputs.remove(value)
        if value.uses():
            value.const_value = outside[str(value.name)]
            model.graph.register_initializer(value)
