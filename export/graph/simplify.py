"""Simplification by onnxsim, with the weights left outside."""

import onnx_ir as ir
import onnxsim
from onnx_ir.passes import common

from vampnet_onnx.export.passes.base import GraphPass, PassError, PassResult

from .module_paths import MODULE_KEY, paths_by_output, restore_paths
from .weights import put_back, take_out

# Rules that merge nodes of several modules into one.  A person who looks for the layer that
# broke needs one node a layer; runtimes do these fusions themselves when they load a file.
_SKIPPED_RULES = ["fuse_qkv", "fuse_matmul_add_bias_into_gemm", "fuse_transpose_into_gemm"]


class Simplify(GraphPass):
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
        """Remember which initializers are weights, by their names in the state dict."""
        self.parameters = parameters
        self._weights: dict[str, tuple[ir.TensorProtocol | None, set[str]]] = {}

    def requires(self, model: ir.Model) -> None:
        """Every node has its module path."""
        if any(MODULE_KEY not in node.metadata_props for node in model.graph):
            raise PassError("Simplify must run after KeepModulePaths")
        self._weights = self._found(model)

    def call(self, model: ir.Model) -> PassResult:
        """Simplify in place."""
        before = len(model.graph)
        common.CommonSubexpressionEliminationPass()(model)
        paths = paths_by_output(model)
        outside = take_out(model, self.parameters)
        proto, valid = onnxsim.simplify(
            ir.to_proto(model), skipped_optimizers=_SKIPPED_RULES, certify=False
        )
        if not valid:
            raise PassError("onnxsim says its result is not valid")
        simplified = ir.from_proto(proto)
        made = restore_paths(simplified, paths)
        for item in (
            common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
            common.DeduplicateInitializersPass(),
            common.CommonSubexpressionEliminationPass(),
            common.RemoveUnusedNodesPass(),
            common.RemoveUnusedOpsetsPass(),
        ):
            item(simplified)
        put_back(simplified, outside)
        simplified.graph.sort()
        model.graph = simplified.graph
        after = len(model.graph)
        return PassResult(
            before - after, f"{before} to {after} nodes, {made} of them made by onnxsim"
        )

    def ensures(self, model: ir.Model) -> None:
        """Every weight is there as it was, used by the modules that used it before."""
        for node in model.graph:
            if MODULE_KEY not in node.metadata_props:
                raise PassError(f"Simplify lost the module path of {node.name}")
        found = self._found(model)
        for name, (tensor, users) in self._weights.items():
            if name not in found or found[name][0] is not tensor:
                raise PassError(f"Simplify changed or inlined the weight {name}")
            if found[name][1] != users:
                raise PassError(
                    f"Simplify moved the weight {name} from {sorted(users)} to"
                    f" {sorted(found[name][1])}"
                )

    def _found(self, model: ir.Model) -> dict[str, tuple[ir.TensorProtocol | None, set[str]]]:
        """Return the weights in use, each with the module paths of its users."""
        return {
            name: (value.const_value, {n.metadata_props[MODULE_KEY] for n, _ in value.uses()})
            for name, value in model.graph.initializers.items()
            if name in self.parameters and value.uses()
        }
