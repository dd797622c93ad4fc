"""What a checkpoint gives today for a component of an artifact version."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import onnx_ir as ir

from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.export.components.component import Component, network_of
from vampnet_onnx.export.components.registry import build_component
from vampnet_onnx.export.exporter import Exported, export_component
from vampnet_onnx.export.graphs import Graphs
from vampnet_onnx.export.onnx_file import read_graph
from vampnet_onnx.export.trace import GraphRequest, OpenGraph, graph_of
from vampnet_onnx.models import ModelSet
from vampnet_onnx.verify.localisation.changes import Change, graph_changes

# Graphs that were made since this process began, none of them kept by an earlier one: what
# makes them stays the same that long.
_MADE: dict[GraphRequest, OpenGraph] = {}


def left_to_make(requests: Iterable[GraphRequest]) -> list[GraphRequest]:
    """Return the graphs that this process did not make."""
    return [request for request in dict.fromkeys(requests) if request not in _MADE]


def fresh_graph(request: GraphRequest, graphs: Graphs | None = None) -> OpenGraph:
    """Return a graph that was made afresh, by this process or one that it started.

    Args:
        graphs: without a cache; makes several at once.
    """
    if request not in _MADE:
        _MADE[request] = graph_of(request) if graphs is None else graphs.of(request)
    return _MADE[request]


def exported_afresh(
    component: Component,
    record: ComponentRecord,
    *,
    adaptable: bool,
    graphs: Graphs | None = None,
) -> Exported:
    """Export a component as its record says, of a graph that was made afresh.

    Args:
        graphs: as of `fresh_graph`.
    """
    graph, network = None, network_of(component)
    if network is not None:
        request = GraphRequest(network.structure, record.opset)
        graph = partial(fresh_graph, request, graphs)
    return export_component(
        component, opset=record.opset, adaptable=adaptable, graph=graph, left=record.left
    )


def fresh_export(models: ModelSet, record: ComponentRecord, *, adaptable: bool) -> ir.Model:
    """Export a component again, as a record says: its variant and its opset.

    The facts that a version writes into its files (whose checkpoint, which toolchain) are
    left out.  The models stay as they are.

    Args:
        models: of the checkpoint; a LoRA update that the file has in it must be in them.
        adaptable: the layers that LoRA reaches have inputs for adapters.

    Raises:
        InputError: the checkpoints it is made from are not there.
        PassError: a transform does not hold what it promises.
    """
    component = build_component(record.name, models, variant=record.variant)
    return exported_afresh(component, record, adaptable=adaptable).model


def file_changes(models: ModelSet, record: ComponentRecord, path: Path) -> tuple[Change, ...]:
    """Return in what a component's file differs from what its checkpoint gives now."""
    found = read_graph(path)
    own = {item.name for item in record.inputs}
    adaptable = any(value.name not in own for value in found.graph.inputs)
    return graph_changes(fresh_export(models, record, adaptable=adaptable), found)
