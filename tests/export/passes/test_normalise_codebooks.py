"""Codebooks normalised once."""

from __future__ import annotations

import torch

from tests.support.modules import outputs
from vampnet_onnx.export.components.registry import build_component
from vampnet_onnx.export.passes import NormaliseCodebooks
from vampnet_onnx.models import ModelSet
from vampnet_onnx.models.networks.quantize import VectorQuantize


def test_normalised_codebooks_choose_the_same_entries(models: ModelSet) -> None:
    component = build_component("codec_encoder", models)
    codes = outputs(component)[0]
    kinds = [type(module) for module in component.module.modules()]
    assert kinds.count(VectorQuantize) == 3
    NormaliseCodebooks().call(component.module)
    NormaliseCodebooks().ensures(component.module)
    assert not any(isinstance(m, VectorQuantize) for m in component.module.modules())
    assert torch.equal(outputs(component)[0], codes)
