"""Modules to graphs, without weights.

What a graph depends on is the structure of a component, the opset and the tools.  It is made
of tensors that have shapes but no values, so nothing can look at one: two weights that happen
to be equal stay two.  The weights of a checkpoint are put in afterwards (`export.exporter`).
"""

import contextlib
import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
import torch
from torch import Tensor, nn

from vampnet_onnx.configs.manifest import PassRecord
from vampnet_onnx.models import LAC, VampNet, WaveBeat

from .components.component import Structure, TracedComponent
from .components.registry import component_of
from .deferred import Deferred, deferred, weightless
from .graph import (
    CanonicalNames,
    FoldCasts,
    KeepModulePaths,
    PlainReshapes,
    SetSignature,
    Simplify,
    check_graph,
)
from .graph.weights import put_back, take_out
from .passes.base import Pass, PassError, apply_passes
from .passes.linear import Dense, Pointwise
from .proof import prove_passes
from .with_paths import quiet_exporter

# Largest extent a free axis is declared for; only the exporter's solver reads it.
_LARGEST_EXTENT = 1 << 40


@dataclass(frozen=True)
class OpenGraph:
    """A finished graph without weights.

    Attributes:
        model: as ONNX, the weights as its last inputs.
        weights: their names, those of the module's parameters.
        passes: that the graph went through.
    """

    model: bytes
    weights: tuple[str, ...]
    passes: tuple[PassRecord, ...]


@dataclass(frozen=True)
class GraphRequest:
    """Which graph: all that decides it, but for the tools and our own source."""

    structure: Structure
    opset: int


def graph_of(request: GraphRequest) -> OpenGraph:
    """Make a graph of a structure alone, where there is no checkpoint.

    Raises:
        PassError: a pass did not hold what it promises.
    """
    component, module = _after_passes(request.structure)
    return traced_graph(component, module, request.opset)


def require_sound(graph: OpenGraph, request: GraphRequest) -> None:
    """Refuse a graph that no checkpoint's weights fit into, or that is no valid one.

    Whether it computes what would be made now, only making it tells.

    Raises:
        Exception: PassError, or one of protobuf, onnx or onnx-ir.
    """
    component, module = _after_passes(request.structure)
    onnx.checker.check_model(graph.model, full_check=True)
    model = filled(component, graph, module)
    passes = _graph_passes(component, frozenset(graph.weights))
    if [record.name for record in graph.passes] != [type(item).__name__ for item in passes]:
        raise PassError(f"it went through {[record.name for record in graph.passes]}")
    for item in passes:
        item.ensures(model)
    check_graph(model, request.opset)


def weight_shapes(structure: Structure) -> tuple[list[tuple[int, int]], int]:
    """Return the shapes [in, out] of the weights of products, and how many values others have.

    Nothing is traced for it.
    """
    _, module = _after_passes(structure)
    matrices = [m.weight for m in module.modules() if isinstance(m, (Dense, Pointwise))]
    others = sum(weight.numel() for weight in module.parameters())
    others -= sum(weight.numel() for weight in matrices)
    return [(weight.shape[0], weight.shape[1]) for weight in matrices], others


def traced_graph(component: TracedComponent, module: nn.Module, opset: int) -> OpenGraph:
    """Make the graph of a component.

    Args:
        module: the component's after its passes over modules; it is left as it is.

    Raises:
        PassError: a pass did not hold what it promises.
    """
    prove_passes(component.structure)
    with torch.no_grad():
        model = trace(component, module, opset)
    weights = frozenset(name for name, _ in module.named_parameters())
    records = apply_passes(model, _graph_passes(component, weights))
    outside = take_out(model, weights)
    proto = ir.to_proto(model).SerializeToString()
    return OpenGraph(proto, tuple(outside), tuple(records))


def trace(component: TracedComponent, module: nn.Module, opset: int) -> ir.Model:
    """Return what torch's exporter makes of a component's module, without its values."""
    shapes = tuple(
        {
            axis: torch.export.Dim(extent, min=1, max=_LARGEST_EXTENT)
            for axis, extent in enumerate(item.shape)
            if isinstance(extent, str)
        }
        for item in component.inputs
    )
    with quiet_exporter(), _no_collection():
        program = torch.onnx.export(
            weightless(module).eval(),
            component.example,
            dynamo=True,
            opset_version=opset,
            input_names=[item.name for item in component.inputs],
            output_names=[item.name for item in component.outputs],
            dynamic_shapes=shapes,
            optimize=False,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch's exporter returned no program")
    return program.model


def _graph_passes(
    component: TracedComponent, weights: frozenset[str]
) -> tuple[Pass[ir.Model], ...]:
    return (
        KeepModulePaths(),
        FoldCasts(),
        PlainReshapes(),
        Simplify(weights),
        SetSignature(component.inputs, component.outputs),
        CanonicalNames(weights),
    )


def filled(component: TracedComponent, graph: OpenGraph, module: nn.Module) -> ir.Model:
    """Put weights into a graph: what computes them.

    Args:
        module: the component's after its passes, of deferred tensors.

    Raises:
        PassError: they do not fit.
    """
    model: ir.Model = ir.from_proto(onnx.ModelProto.FromString(graph.model))
    parameters = dict(module.named_parameters())
    inputs = {str(value.name): value for value in model.graph.inputs}
    weights: dict[str, ir.TensorProtocol] = {}
    for name in graph.weights:
        value, parameter = inputs[name], parameters.get(name)
        if parameter is None:
            raise PassError(f"the graph takes {name}, which {component.id} does not have")
        if value.shape != tuple(parameter.shape) or value.dtype != ir.DataType.FLOAT:
            raise PassError(
                f"the graph takes {name} as {value.dtype} {value.shape}, {component.id} has"
                f" {list(parameter.shape)}"
            )
        weights[name] = ir.LazyTensor(
            _computed(name, parameter),
            dtype=ir.DataType.FLOAT,
            shape=ir.Shape(parameter.shape),
            name=name,
        )
    put_back(model, weights)
    left, wanted = (
        [item.name for item in side] for side in (model.graph.inputs, component.inputs)
    )
    if left != wanted:
        raise PassError(f"the graph of {component.id} takes {left}, not {wanted}")
    for name in sorted(model.graph.initializers):
        model.graph.register_initializer(model.graph.initializers.pop(name))
    return model


def _computed(name: str, parameter: Tensor) -> Callable[[], ir.TensorProtocol]:
    def compute() -> ir.TensorProtocol:
        with torch.no_grad():
            own = parameter.compute() if isinstance(parameter, Deferred) else parameter
            value = own.detach().numpy()
        if not np.isfinite(value).all():
            raise PassError(f"non-finite weight in the file: {name}")
        return ir.Tensor(value, name=name)

    return compute


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python from looking for garbage, which takes a fifth of the time of a trace.

    Millions of small objects live while it runs, and few of them go.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _after_passes(structure: Structure) -> tuple[TracedComponent, nn.Module]:
    """Return a component without weights, and its module after the passes over modules."""
    component = _without_checkpoint(structure)
    module = deferred(component.module)
    apply_passes(module, component.passes)
    return component, module


def _without_checkpoint(structure: Structure) -> TracedComponent:
    with torch.device("meta"):
        codec = None if structure.codec is None else LAC(structure.codec).eval()
        transformer = None
        if structure.transformer is not None:
            transformer = VampNet(structure.transformer, rank=0).eval()
        tracker = None if structure.tracker is None else WaveBeat(structure.tracker).eval()
    return component_of(structure, codec, transformer, tracker)
