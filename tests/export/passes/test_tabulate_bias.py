"""The bias of positions as a table."""

from __future__ import annotations

import torch

from vampnet_onnx.export.components.registry import build_component
from vampnet_onnx.export.passes import TabulatePositionBias
from vampnet_onnx.models import ModelSet
from vampnet_onnx.models.networks.vampnet import RelativePositionBias


def test_the_position_table_is_the_bucket_formula_at_any_length(models: ModelSet) -> None:
    bias = models.transformers["coarse"].transformer.layers[0].self_attn
    original = bias.relative_attention_bias
    assert isinstance(original, RelativePositionBias)
    component = build_component("coarse", models)
    TabulatePositionBias().call(component.module)
    layer = component.module.get_submodule("transformer.layers.0.self_attn")
    for frames in (1, 2, 127, 128, 129, 400):
        found = layer.relative_attention_bias(frames)
        assert torch.equal(found, original(frames)), frames
