"""Inputs, outputs and facts of a file, and the check that the graph is what it should be."""

import numpy as np
import onnx
import onnx_ir as ir

from vampnet_onnx.configs.manifest import TensorSignature
from vampnet_onnx.export.passes.base import GraphPass, PassError, PassResult

from .module_paths import MODULE_KEY

_FORBIDDEN_PARTS = ("weight_g", "weight_v", "lora_A", "lora_B", "film")
_RANDOM_OPERATORS = (
    *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
    *("Multinomial", "Bernoulli", "Dropout"),
)


class SetSignature(GraphPass):
    """Name the axes of inputs and outputs.

    Rules:
        symbolic axes -> the names of the component's signature;
        fixed axes must already be what the signature says.
    """

    def __init__(
        self, inputs: tuple[TensorSignature, ...], outputs: tuple[TensorSignature, ...]
    ) -> None:
        self._wanted = (*inputs, *outputs)

    def requires(self, model: ir.Model) -> None:
        """Names, types and fixed axes are those of the signature already."""
        found, wanted = (*model.graph.inputs, *model.graph.outputs), self._wanted
        if [v.name for v in found] != [w.name for w in wanted]:
            raise PassError(f"graph has {[v.name for v in found]}, not the signature's names")
        for value, signature in zip(found, wanted, strict=True):
            _require_fits(value, signature)

    def call(self, model: ir.Model) -> PassResult:
        """Set the axes in place."""
        found = (*model.graph.inputs, *model.graph.outputs)
        for value, signature in zip(found, self._wanted, strict=True):
            value.shape = ir.Shape(signature.shape)
        return PassResult(len(found), ", ".join(str(w) for w in self._wanted))

    def ensures(self, model: ir.Model) -> None:
        """Names, types and axes are those of the signature."""
        self.requires(model)
        found = (*model.graph.inputs, *model.graph.outputs)
        for value, signature in zip(found, self._wanted, strict=True):
            if value.shape != signature.shape:
                raise PassError(f"{value.name} has axes {value.shape}, not {signature.shape}")


def _require_fits(value: ir.Value, signature: TensorSignature) -> None:
    dtype = value.dtype.numpy().name if value.dtype else "unknown"
    if dtype != signature.dtype:
        raise PassError(f"{value.name} is {dtype}, should be {signature.dtype}")
    shape = value.shape
    if shape is None or len(shape) != len(signature.shape):
        raise PassError(f"{value.name} has shape {shape}, should be {signature.shape}")
    for found, wanted in zip(shape.dims, signature.shape, strict=True):
        if isinstance(found, int) != isinstance(wanted, int):
            raise PassError(
                f"{value.name} has axis {found}, should be {wanted}: an axis was frozen"
                " during export or left free"
            )
        if isinstance(found, int) and found != wanted:
            raise PassError(f"{value.name} has axis {found}, should be {wanted}")


def ir_version_of(opset: int) -> int:
    """Return the lowest version of the file format that an opset asks for.

    A runtime refuses what is newer than itself, whatever operators are in it.
    """
    imports = [onnx.helper.make_opsetid("", opset)]
    return int(onnx.helper.find_min_ir_version_for(imports))


def check_graph(model: ir.Model, opset: int, domains: frozenset[str] = frozenset()) -> None:
    """Check that nothing is in the graph that has no place there.

    Args:
        domains: of operators that may be there beside the standard ones.

    Raises:
        PassError: another opset, another domain, a random operator, a nested function, a
            leftover of weight norm, LoRA or FiLM, a non-finite weight, an unused weight or a
            node without module path.
    """
    if model.opset_imports != {"": opset, **dict.fromkeys(domains, 1)}:
        raise PassError(f"opsets are {model.opset_imports}, should be the default at {opset}")
    if model.functions:
        raise PassError(f"functions left in the model: {list(model.functions)}")
    for node in model.graph.all_nodes():
        if node.domain not in {"", *domains} or node.op_type in _RANDOM_OPERATORS:
            raise PassError(f"node {node.name} is a {node.domain}::{node.op_type}")
        if MODULE_KEY not in node.metadata_props:
            raise PassError(f"node {node.name} has lost its module path")
    for name, value in model.graph.initializers.items():
        if any(part.lower() in name.lower() for part in _FORBIDDEN_PARTS):
            raise PassError(f"leftover in the file: {name}")
        if not value.uses():
            raise PassError(f"unused weight in the file: {name}")
        if value.const_value is None:
            raise PassError(f"weight without a value: {name}")
        if isinstance(value.const_value, ir.LazyTensor):
            continue  # is looked at where it is computed
        array = value.const_value.numpy()
        # A scalar infinity is what an excluded entry is set to, not a weight.
        forbidden = np.isnan if array.ndim == 0 else lambda x: ~np.isfinite(x)
        if np.issubdtype(array.dtype, np.floating) and forbidden(array).any():
            raise PassError(f"non-finite weight in the file: {name}")
