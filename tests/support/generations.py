"""Generations of the nano set on both sides."""

from __future__ import annotations

import numpy as np

from tests.support.records import matrix
from tests.support.sets import NETWORKS
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.models import ModelSet
from vampnet_onnx.verify.sides.models import Reference
from vampnet_onnx.verify.subjects.case import Computed
from vampnet_onnx.verify.subjects.generation.both_sides import exported_generation
from vampnet_onnx.verify.subjects.registry import subject_of

GENERATION = subject_of("generation")
PARTS = (*NETWORKS, "sampler", "mask_generator")


def both_sides(
    artifacts: Artifacts, models: ModelSet, setting: int = 0
) -> tuple[Computed, dict[str, np.ndarray]]:
    record = GENERATION.whole(artifacts.manifest)
    assert record is not None
    case = GENERATION.cases(record, matrix(seeds=[0, 1, 2]))[setting]
    inputs = GENERATION.inputs(record, case)
    reference = Reference(models).run(record, case)
    return reference, exported_generation(artifacts, record, runtime=Runtime(threads=1))(
        inputs
    )
