"""Localisation against recorded activations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from tests.support.exports import record_of
from tests.support.sets import GoldenSet
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.export.onnx_file import save_graph
from vampnet_onnx.verify.localisation.locate import Located, localise_error
from vampnet_onnx.verify.localisation.nonfinite import NEITHER


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
