"""Exported files with a weight changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir

from vampnet_onnx.export.onnx_file import save_graph


def edited(
    source: Path, name: str, change: Callable[[np.ndarray], np.ndarray], folder: Path
) -> Path:
    """Save a file with one weight changed, as ``edited.onnx`` in a folder."""
    model = ir.load(source)
    weight = model.graph.initializers[name]
    weight.const_value = ir.tensor(change(weight.const_value.numpy()))
    save_graph(model, folder / "edited.onnx")
    return folder / "edited.onnx"


def scaled(source: Path, name: str, factor: float, folder: Path) -> Path:
    """Save a file with one weight scaled."""
    return edited(source, name, lambda weight: weight * np.float32(factor), folder)
