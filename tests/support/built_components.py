"""Running drawn components on ONNX Runtime, without files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import torch

from vampnet_onnx.configs.config import VerifySection, load_gates
from vampnet_onnx.configs.manifest import ComponentRecord, FileRecord
from vampnet_onnx.export.components.audio_processor import audio_processor
from vampnet_onnx.export.components.component import Component
from vampnet_onnx.export.components.mask_generator import mask_generator
from vampnet_onnx.export.components.sampler import sampler
from vampnet_onnx.export.exporter import export_component
from vampnet_onnx.models import CodecDims, ModelSet
from vampnet_onnx.models.behaviour.mask_plan import MaskNoise, MaskPlan
from vampnet_onnx.reports import Component as CheckedComponent
from vampnet_onnx.reports import Verdict
from vampnet_onnx.verify.gates.component import check_component
from vampnet_onnx.verify.sides.models import Reference
from vampnet_onnx.verify.sides.oracle import Sides

Run = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]

# No dimension is another's, and none is the released model's.
DIMS = CodecDims(4, (2, 4), 32, (4, 2), 5, 12, (6,) * 5, 8000)


def run_model(model: ir.Model) -> Run:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # idle threads that spin would slow down PyTorch
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
    dtypes = {
        "rand_mask_intensity": np.float32,
        "dropout": np.float64,
        "beat_dropout": np.float64,
        "beat_invert": np.bool_,
        "rand_mask_cosine": np.bool_,
        "combine_or": np.bool_,
    }
    values = dataclasses.asdict(plan)
    return {
        "codes": codes.numpy(),
        **{name: np.asarray(v, dtypes.get(name, np.int64)) for name, v in values.items()},
        "uniform": noise.uniform.numpy(),
        "roll": np.asarray(noise.roll, np.int64),
        "dropped_frames": noise.dropped.numpy(),
        "beat_uniform": noise.beats.numpy(),
    }


def dims_like(dims: CodecDims, **changes: object) -> CodecDims:
    return replace(dims, **changes)


def record_of(component: Component) -> ComponentRecord:
    """Return the manifest's record of a component, without a file."""
    return ComponentRecord(
        name=component.name,
        variant=component.variant,
        file=FileRecord(name=f"{component.id}.onnx", sha256="0" * 64, size=1),
        inputs=component.inputs,
        outputs=component.outputs,
        opset=20,
        dims=component.dims_record(),
        passes=(),
    )


def verified(
    component: Component, models: ModelSet, run: Run | None = None, *, seeds: int = 1
) -> CheckedComponent:
    """Verify a component as the main job does, over a small matrix."""
    matrix = VerifySection(seeds=list(range(seeds)), frames=[1, 40], batches=[2], threads=0)
    sides = Sides(record_of(component), Reference(models), run or run_component(component))
    return check_component(sides, matrix=matrix, gates=load_gates())


def failed_gates(found: CheckedComponent) -> set[str]:
    return {gate.name for gate in found.gates if gate.verdict is Verdict.FAIL}


BUILT = {
    "audio_processor": lambda: audio_processor(DIMS),
    "audio_processor.from_48000": lambda: audio_processor(DIMS, source_rate=48000),
    "mask_generator": lambda: mask_generator(DIMS),
    "sampler": lambda: sampler(DIMS),
}


def proto(name: str, opset: int = 20) -> onnx.ModelProto:
    return ir.to_proto(export_component(BUILT[name](), opset=opset).model)


def all_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    inner = [
        node
        for outer in graph.node
        for attribute in outer.attribute
        if attribute.HasField("g")
        for node in all_nodes(attribute.g)
    ]
    return [*graph.node, *inner]
