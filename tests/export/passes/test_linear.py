"""LoRA merged into weights."""

from __future__ import annotations

from tests.support.modules import parameters
from vampnet_onnx.export.components.registry import build_component
from vampnet_onnx.export.passes import MergeLoRA
from vampnet_onnx.models import ModelSet


def test_lora_is_merged_whether_or_not_a_layer_has_one(models: ModelSet) -> None:
    component = build_component("coarse", models)
    result = MergeLoRA().call(component.module)
    MergeLoRA().ensures(component.module)
    assert result.changed == 6 and "into 5 of 6" in result.details
    assert not parameters(component.module) & {"lora_A", "lora_B"}
