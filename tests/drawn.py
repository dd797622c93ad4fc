"""Running drawn components on ONNX Runtime, without files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import torch

from export.component import Component
from export.exporter import export_component
from models import CodecDims
from models.mask_plan import MaskNoise, MaskPlan

Run = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]

# No dimension is another's, and none is the released model's.
DIMS = CodecDims(4, (2, 4), 32, (4, 2), 5, 12, (6,) * 5, 8000)


def run_model(model: ir.Model) -> Run:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 4
    session = ort.InferenceSession(
        ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [item.name for item in session.get_outputs()]

    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(None, inputs), strict=True))

    return run


def run_component(component: Component) -> Run:
    return run_model(export_component(component).model)


@cache
def cached_run(make: Callable[..., Component], dims: CodecDims, **options: object) -> Run:
    return run_component(make(dims, **options))


def mask_inputs(
    codes: torch.Tensor, plan: MaskPlan, noise: MaskNoise
) -> dict[str, np.ndarray]:
    """Return the inputs of the mask generator."""
    dtypes = {"rand_mask_intensity": np.float32, "dropout": np.float64,
              "rand_mask_cosine": np.bool_, "combine_or": np.bool_}  # fmt: skip
    values = dataclasses.asdict(plan)
    return {
        "codes": codes.numpy(),
        **{name: np.asarray(v, dtypes.get(name, np.int64)) for name, v in values.items()},
        "uniform": noise.uniform.numpy(),
        "roll": np.asarray(noise.roll, np.int64),
        "dropped_frames": noise.dropped.numpy(),
    }


def dims_like(dims: CodecDims, **changes: object) -> CodecDims:
    return replace(dims, **changes)
