"""Modules to graphs, without weights.

What a graph depends on is the structure of a component, the opset and the tools.  It is made
of tensors that have shapes but no values, so nothing can look at one: two weights that happen
to be equal stay two.  The weights of a checkpoint are put in afterwards (`export.exporter`).
"""

import contextlib
import gc
from collections.abc import Iterator
from dataclasses import dataclass

import onnx
import onnx_ir as ir
import torch
from torch import nn

from vampnet_onnx.configs.manifest import PassRecord
from vampnet_onnx.models import LAC, VampNet, WaveBeat

from .components.component import Structure, TracedComponent
from .components.registry import component_of
from .deferred import deferred, weightless
from .graph import (
    CanonicalNames,
    FoldCasts,
    KeepModulePaths,
    PlainReshapes,
    SetSignature,
    Simplify,
)
from .graph.weights import take_out
from .passes.base import apply_passes
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
    component = _without_checkpoint(request.structure)
    module = deferred(component.module)
    apply_passes(module, component.passes)
    return traced_graph(component, module, request.opset)


def weight_shapes(structure: Structure) -> tuple[list[tuple[int, int]], int]:
    """Return the shapes [in, out] of the weights of products, and how many values others have.

    Nothing is traced for it.
    """
    component = _without_checkpoint(structure)
    module = deferred(component.module)
    apply_passes(module, component.passes)
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
    passes = (
        KeepModulePaths(),
        FoldCasts(),
        PlainReshapes(),
        Simplify(weights),
        SetSignature(component.inputs, component.outputs),
        CanonicalNames(weights),
    )
    records = apply_passes(model, passes)
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


def opened(graph: OpenGraph) -> ir.Model:
    """Return a graph as a model, its weights still inputs."""
    model: ir.Model = ir.from_proto(onnx.ModelProto.FromString(graph.model))
    return model


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


def _without_checkpoint(structure: Structure) -> TracedComponent:
    with torch.device("meta"):
        codec = None if structure.codec is None else LAC(structure.codec).eval()
        transformer = None
        if structure.transformer is not None:
            transformer = VampNet(structure.transformer, rank=0).eval()
        tracker = None if structure.tracker is None else WaveBeat(structure.tracker).eval()
    return component_of(structure, codec, transformer, tracker)
