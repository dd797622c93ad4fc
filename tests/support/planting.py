"""Planting mistakes in exports, for tests of what finds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.export.components.component import TracedComponent
from vampnet_onnx.export.components.registry import build_component
from vampnet_onnx.export.export_set import component_record
from vampnet_onnx.export.exporter import export_component
from vampnet_onnx.export.onnx_file import save_graph
from vampnet_onnx.models import ModelSet
from vampnet_onnx.verify.self_test.defects import GraphDefect, ModuleDefect


@dataclass(frozen=True)
class Sound:
    """A sound export, its record and an input."""

    record: ComponentRecord
    path: Path
    inputs: dict[str, np.ndarray]


def planted(
    models: ModelSet,
    component: str,
    folder: Path,
    modules: Sequence[ModuleDefect] = (),
    graph: Sequence[GraphDefect] = (),
) -> tuple[ComponentRecord, Path]:
    """Export a component with defects in it, or a sound one."""
    built = build_component(component, models)
    for defect in modules:
        assert isinstance(built, TracedComponent)
        defect.plant(built.module)
    with torch.no_grad():
        exported = export_component(built)
    for change in graph:
        change.plant(exported.model)
    path = folder / f"{component}.onnx"
    return component_record(exported, *save_graph(exported.model, path)), path
