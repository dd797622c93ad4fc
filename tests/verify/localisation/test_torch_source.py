"""PyTorch as a source of a walk: recorded activations, and the float64 twin of a module."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

from tests.support.exports import record_of
from tests.support.planting import Sound
from tests.support.sets import GoldenSet
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.export.components.component import TracedComponent
from vampnet_onnx.export.components.registry import build_component
from vampnet_onnx.export.onnx_file import save_graph
from vampnet_onnx.models import ModelSet
from vampnet_onnx.verify.causes.locate import Located, localise_error
from vampnet_onnx.verify.localisation.nonfinite import NEITHER
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


def beside_recorded(golden: GoldenSet, artifacts: Path, component: str) -> Located:
    return localise_error(
        artifacts, golden.folder, reference="golden", component=component, seed=1
    )


@pytest.mark.parametrize("name", ["codec_encoder", "codec_decoder", "coarse", "c2f"])
def test_no_part_of_a_sound_file_departs_from_the_recorded_activations(
    golden: GoldenSet, golden_artifacts: Artifacts, name: str
) -> None:
    found = beside_recorded(golden, golden_artifacts.folder, name)
    assert found.localisation.culprits == () and found.birth.verdict == NEITHER
    assert len(found.localisation.findings) >= 2


def test_the_layer_after_which_a_file_departs_from_the_recorded_activations_is_named(
    golden: GoldenSet, golden_artifacts: Artifacts, tmp_path: Path
) -> None:
    model = ir.load(golden_artifacts.path(record_of(golden_artifacts, "coarse")))
    weight = model.graph.initializers["transformer.layers.1.norm_3.weight"]
    weight.const_value = ir.tensor(weight.const_value.numpy() * np.float32(1.001))
    save_graph(model, tmp_path / "coarse.onnx")
    found = beside_recorded(golden, tmp_path / "coarse.onnx", "coarse")
    assert found.localisation.culprits == ("transformer.layers.1",)
    assert found.unvouched == ("coarse.onnx",)
