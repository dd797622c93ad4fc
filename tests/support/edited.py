"""Exported files with something changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir

from vampnet_onnx.export.onnx_file import save_graph


def replanted(source: Path, change: Callable[[ir.Model], None], folder: Path) -> Path:
    """Save a file with its graph changed in place, as ``edited.onnx`` in a folder."""
    model = ir.load(source)
    change(model)
    save_graph(model, folder / "edited.onnx")
    return folder / "edited.onnx"


def edited(
    source: Path, name: str, change: Callable[[np.ndarray], np.ndarray], folder: Path
) -> Path:
    """Save a file with one weight changed."""

    def replace(model: ir.Model) -> None:
        weight = model.graph.initializers[name]
        weight.const_value = ir.tensor(change(weight.const_value.numpy().copy()))

    return replanted(source, replace, folder)


def scaled(source: Path, name: str, factor: float, folder: Path) -> Path:
    """Save a file with one weight scaled."""
    return edited(source, name, lambda weight: weight * np.float32(factor), folder)
