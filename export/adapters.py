"""Low-rank updates that are switched at run time: one graph, and an adapter file for each.

An adapter is a file of ONNX Runtime (``.onnx_adapter``) that holds values for inputs of the
graph which have defaults.  The graph is the merged export with a branch beside every linear
layer that LoRA reaches: y = x W + (x down) up, where down is [in, rank] and up is [rank, out].
The defaults have rank 0, so without an adapter the graph computes what the merged one does.

A LoRA file takes the place of the checkpoint's own low-rank update, which is in W already.
An adapter therefore adds the new update and takes the own one away:
down up = (B_new A_new - B_own A_own)^T alpha / rank.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor

from vampnet_onnx.configs.errors import InputError, said
from vampnet_onnx.models import VampNet
from vampnet_onnx.models.networks.layers import LoRALinear

from .graph import MODULE_KEY
from .passes.base import GraphPass, PassError, PassResult

_DOWN, _UP = "adapter_down", "adapter_up"
_FLOAT_BYTES = 4
_ADAPTED = ("w_qs", "w_vs", "fc", "w_1", "w_2")  # the layers that LoRA reaches


@dataclass(frozen=True)
class Adapter:
    """A LoRA file to make an adapter of.

    Attributes:
        name: what it is asked for by at run time.
        component: transformer that it belongs to.
    """

    name: str
    component: str
    path: Path

    @property
    def file_name(self) -> str:
        """Name of the adapter's file."""
        return f"{self.component}.{self.name}.onnx_adapter"


class OpenForAdapters(GraphPass):
    """Give every linear layer that LoRA reaches a branch of low rank.

    Rules:
        MatMul(x, W) of such a layer -> Add(MatMul(x, W), MatMul(MatMul(x, down), up)), where
        down and up are inputs with defaults of rank 0.
    """

    def requires(self, model: ir.Model) -> None:
        """There is such a layer, a product of an activation and a weight."""
        layers = [node for node in model.graph if _is_adapted(node)]
        if not layers:
            raise PassError("the graph has no linear layer that LoRA reaches")
        for node in layers:
            if node.inputs[1] is None or node.inputs[1].const_value is None:
                raise PassError(f"{node.name} is no product of an activation and a weight")

    def call(self, model: ir.Model) -> PassResult:
        """Add the branches."""
        opened = [node for node in model.graph if _is_adapted(node)]
        for node in opened:
            _add_branch(model.graph, node)
        return PassResult(len(opened), f"opened {len(opened)} linear layers for adapters")

    def ensures(self, model: ir.Model) -> None:
        """Every such layer has its two inputs, with defaults of rank 0."""
        inputs = {value.name: value for value in model.graph.inputs}
        for path in {n.metadata_props[MODULE_KEY] for n in model.graph if _is_adapted(n)}:
            for name in (f"{path}.{_DOWN}", f"{path}.{_UP}"):
                default = inputs[name].const_value if name in inputs else None
                if default is None or 0 not in default.shape:
                    raise PassError(f"{name} is no input with a default of rank 0")


def adapter_values(
    base: VampNet, overlay: Mapping[str, Tensor]
) -> dict[str, NDArray[np.float32]]:
    """Return what an adapter gives the inputs of an opened graph.

    Args:
        base: the model of the graph, with the low-rank update of its own, if it has one.
        overlay: tensors of a LoRA file.

    Returns:
        By name of the input, float32 [in, rank] and [rank, out].
    """
    values = {}
    for path, layer in base.named_modules():
        if not isinstance(layer, LoRALinear) or f"{path}.lora_A" not in overlay:
            continue
        down, up = overlay[f"{path}.lora_A"], overlay[f"{path}.lora_B"]
        up = up * (layer.alpha / down.shape[0])
        if layer.rank:
            down = torch.cat([down, layer.lora_A])
            up = torch.cat([up, layer.lora_B * (-layer.alpha / layer.rank)], dim=1)
        values[f"{path}.{_DOWN}"] = down.t().contiguous().numpy()
        values[f"{path}.{_UP}"] = up.t().contiguous().numpy()
    return values


def write_adapter(values: Mapping[str, NDArray[np.float32]], path: Path) -> None:
    """Write an adapter file of ONNX Runtime."""
    file = ort.AdapterFormat()
    file.set_adapter_version(1)
    file.set_model_version(1)
    file.set_parameters(
        {name: ort.OrtValue.ortvalue_from_numpy(value) for name, value in values.items()}
    )
    file.export_adapter(str(path))


def adapter_tensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return what an adapter file gives the inputs of its graph, by name.

    Raises:
        InputError: ONNX Runtime cannot read the file, or it holds less than it says.
    """
    try:
        file = ort.AdapterFormat.read_adapter(str(path))  # which owns the memory of its values
    except Exception as error:  # ONNX Runtime's errors share no other base
        raise InputError(f"{path}: ONNX Runtime cannot read it: {said(error)}") from error
    values = file.get_parameters()
    size = path.stat().st_size
    for name, value in values.items():
        if (
            math.prod(value.shape()) * _FLOAT_BYTES > size
        ):  # which ONNX Runtime 1.20 does not look at
            raise InputError(
                f"{path}: {name} is of shape {value.shape()}, but the file has {size} bytes"
            )
    return {name: value.numpy().copy() for name, value in values.items()}


def _is_adapted(node: ir.Node) -> bool:
    layer = node.metadata_props[MODULE_KEY].rpartition(".")[2]
    return node.op_type == "MatMul" and layer in _ADAPTED


def _add_branch(graph: ir.Graph, node: ir.Node) -> None:
    path = node.metadata_props[MODULE_KEY]
    x, weight = node.inputs
    assert x is not None and weight is not None and weight.const_value is not None
    width, out = weight.const_value.shape.numpy()
    down = _default(graph, f"{path}.{_DOWN}", (width, 0), (width, "rank"))
    up = _default(graph, f"{path}.{_UP}", (0, out), ("rank", out))
    narrow = _node(graph, node, "MatMul", [x, down], "down")
    wide = _node(graph, narrow, "MatMul", [narrow.outputs[0], up], "up")
    uses = list(node.outputs[0].uses())
    total = _node(graph, wide, "Add", [node.outputs[0], wide.outputs[0]], "adapted")
    for user, index in uses:
        user.replace_input_with(index, total.outputs[0])


def _default(
    graph: ir.Graph, name: str, held: tuple[int, int], declared: tuple[int | str, int | str]
) -> ir.Value:
    """Add an input with a default."""
    value = ir.Value(
        name=name,
        shape=ir.Shape(declared),
        type=ir.TensorType(ir.DataType.FLOAT),
        const_value=ir.tensor(np.zeros(held, np.float32), name=name),
    )
    graph.inputs.append(value)
    graph.register_initializer(value)
    return value


def _node(
    graph: ir.Graph, after: ir.Node, kind: str, inputs: list[ir.Value], name: str
) -> ir.Node:
    path = after.metadata_props[MODULE_KEY]
    made = ir.node(kind, inputs, name=f"{path}/{name}", metadata_props={MODULE_KEY: path})
    made.outputs[0].name = made.name
    graph.insert_after(after, made)
    return made
