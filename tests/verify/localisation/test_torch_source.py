"""PyTorch as a source of a walk: the float64 twin of a module."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.support.planting import Sound
from vampnet_onnx.export.components.component import TracedComponent
from vampnet_onnx.export.components.registry import build_component
from vampnet_onnx.models import ModelSet
from vampnet_onnx.verify.localisation.torch_source import float64_twin


def test_a_float64_twin_computes_what_a_cast_module_does(
    tiny: ModelSet, sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    component = build_component("c2f", tiny)
    assert isinstance(component, TracedComponent)
    module = component.module.eval()
    monkeypatch.setattr("vampnet_onnx.verify.localisation.torch_source._AT_ONCE_BYTES", 2_000)
    codes = torch.from_numpy(sound.inputs["codes"])
    with torch.inference_mode():
        found = float64_twin(module)(codes)
        assert found.dtype == torch.float64
        assert torch.equal(found, copy.deepcopy(module).double()(codes))
    assert all(p.dtype == torch.float32 for p in module.parameters())
