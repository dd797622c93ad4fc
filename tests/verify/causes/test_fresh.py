"""What a checkpoint gives today is what the version holds."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tests.support.exports import record_of
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.models import ModelSet
from vampnet_onnx.verify.causes.fresh import fresh_export


@pytest.mark.parametrize("name", ["codec_decoder", "coarse.latents"])
def test_a_fresh_export_has_the_weights_of_the_file(
    name: str, nano_artifacts: Artifacts, models: ModelSet
) -> None:
    record = record_of(nano_artifacts, name)
    made = fresh_export(models, record, adaptable=False).graph
    held = ir.load(nano_artifacts.path(record)).graph
    assert list(made.initializers) == list(held.initializers)
    for weight, value in held.initializers.items():
        fresh = made.initializers[weight].const_value
        assert fresh is not None and value.const_value is not None
        assert np.array_equal(fresh.numpy(), value.const_value.numpy()), weight


def test_an_adaptable_one_has_inputs_for_adapters(
    nano_artifacts: Artifacts, models: ModelSet
) -> None:
    record = record_of(nano_artifacts, "coarse")
    made = fresh_export(models, record, adaptable=True)
    assert any("adapter_down" in str(value.name) for value in made.graph.inputs)
