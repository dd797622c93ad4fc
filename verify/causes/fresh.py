"""What a checkpoint gives today for a component of an artifact version."""

from pathlib import Path

import onnx_ir as ir

from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.export.components.registry import build_component
from vampnet_onnx.export.exporter import export_component
from vampnet_onnx.export.onnx_file import read_graph
from vampnet_onnx.models import ModelSet
from vampnet_onnx.verify.localisation.changes import Change, graph_changes


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
    return export_component(
        component, opset=record.opset, adaptable=adaptable, left=record.left
    ).model


def file_changes(models: ModelSet, record: ComponentRecord, path: Path) -> tuple[Change, ...]:
    """Return in what a component's file differs from what its checkpoint gives now."""
    found = read_graph(path)
    own = {item.name for item in record.inputs}
    adaptable = any(value.name not in own for value in found.graph.inputs)
    return graph_changes(fresh_export(models, record, adaptable=adaptable), found)
