"""One component to one ONNX model.

A network goes through passes, torch's dynamo exporter and graph passes; the graph of what has
no weights is built.
Nothing is caught and nothing falls back: a pass that does not hold, an axis that froze or a
weight left over stops the export.
"""

from dataclasses import dataclass

import onnx_ir as ir
import torch

from vampnet_onnx.configs.manifest import PassRecord

from .adapters import OpenForAdapters
from .components.component import BuiltComponent, Component, TracedComponent
from .graph import (
    CanonicalNames,
    FoldCasts,
    GraphBuilder,
    KeepModulePaths,
    PlainReshapes,
    SetSignature,
    Simplify,
    check_graph,
    ir_version_of,
)
from .passes.base import run_graph_passes, run_module_passes
from .runtime import require_runtime
from .with_paths import quiet_exporter

DEFAULT_OPSET = 20
PRODUCER = "vampnet-onnx"

# Largest extent a free axis is declared for; only the exporter's solver reads it.
_LARGEST_EXTENT = 1 << 40


@dataclass(frozen=True)
class Exported:
    """A graph in memory and the passes that made it."""

    component: Component
    model: ir.Model
    opset: int
    passes: tuple[PassRecord, ...]


def export_component(
    component: Component, *, opset: int = DEFAULT_OPSET, adaptable: bool = False
) -> Exported:
    """Export one component.

    Args:
        component: if it has a module, that is changed by the passes and of no use
            afterwards.
        opset: of the default domain, 18 to 23.
        adaptable: give the layers that LoRA reaches inputs for adapters.

    Raises:
        PassError: a transform did not hold what it promises.
        EnvironmentLacksError: the runtime is too old for the opset.
    """
    require_runtime(opset)
    if isinstance(component, BuiltComponent):
        model, records = _build(component, opset)
    elif isinstance(component, TracedComponent):
        model, records = _trace_and_transform(component, opset)
    else:
        raise TypeError(f"{component.id} is neither traced nor built")
    if adaptable:
        records += run_graph_passes(model, [OpenForAdapters()])
    check_graph(model, opset)
    model.ir_version = ir_version_of(opset)
    model.producer_name = PRODUCER
    model.producer_version = None
    return Exported(component, model, opset, tuple(records))


def _build(component: BuiltComponent, opset: int) -> tuple[ir.Model, list[PassRecord]]:
    builder = GraphBuilder()
    inputs = {item.name: builder.input(item) for item in component.inputs}
    model = builder.finish(component.outputs, component.build(builder, inputs), opset)
    count = sum(1 for _ in model.graph.all_nodes())
    # The names that manifests have had from the start.
    return model, [PassRecord(name="DrawGraph", changed=count, details=f"drew {count} nodes")]


def _trace_and_transform(
    component: TracedComponent, opset: int
) -> tuple[ir.Model, list[PassRecord]]:
    with torch.no_grad():
        records = run_module_passes(component.module, component.passes, component.example)
        model = _trace(component, opset)
    parameters = frozenset(name for name, _ in component.module.named_parameters())
    passes = (
        KeepModulePaths(),
        FoldCasts(),
        PlainReshapes(),
        Simplify(parameters),
        SetSignature(component.inputs, component.outputs),
        CanonicalNames(parameters),
    )
    return model, records + run_graph_passes(model, passes)


def _trace(component: TracedComponent, opset: int) -> ir.Model:
    shapes = tuple(
        {
            axis: torch.export.Dim(extent, min=1, max=_LARGEST_EXTENT)
            for axis, extent in enumerate(item.shape)
            if isinstance(extent, str)
        }
        for item in component.inputs
    )
    with quiet_exporter():
        program = torch.onnx.export(
            component.module.eval(),
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
