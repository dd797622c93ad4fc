"""The exported beat tracker holds every gate, and a broken one is found and named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import vampnet_onnx
from tests.support.built_components import failed_gates, run_model, verified
from vampnet_onnx.export.components.beat_tracker import beat_tracker
from vampnet_onnx.export.exporter import export_component
from vampnet_onnx.models import Checkpoints, ModelSet
from vampnet_onnx.models.checkpoints.random_checkpoint import write_random_set
from vampnet_onnx.models.networks.wavebeat import BatchNorm


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("with-beats")
    write_random_set(folder, like="tiny", seed=2, beats=True)
    return folder


@pytest.fixture(scope="module")
def models(folder: Path) -> ModelSet:
    return Checkpoints(folder).models_for(("wavebeat",))


def test_it_holds_every_gate_at_any_level_and_of_silence(models: ModelSet) -> None:
    component = beat_tracker(models)
    assert not any(isinstance(m, BatchNorm) for m in _after_passes(component).modules())
    exported = export_component(component)
    run = run_model(exported.model)
    assert failed_gates(verified(component, models, run)) == set()
    audio = np.random.default_rng(0).normal(size=(1, 1, 300)).astype(np.float32)
    quiet = run({"audio": audio * np.float32(2**-10)})["logits"]
    np.testing.assert_array_equal(quiet, run({"audio": audio})["logits"])
    assert np.isfinite(run({"audio": 0 * audio})["logits"]).all()


def _after_passes(component):  # type: ignore[no-untyped-def]
    from vampnet_onnx.export.deferred import deferred
    from vampnet_onnx.export.passes.base import apply_passes

    module = deferred(component.module)
    apply_passes(module, component.passes)
    return module


@pytest.mark.parametrize("name", ["blocks.2.conv1.weight", "blocks.1.res_norm.scale"])
def test_a_weight_that_is_off_is_found_and_named(
    folder: Path, tmp_path: Path, name: str
) -> None:
    made = vampnet_onnx.export_checkpoints(folder, tmp_path, components="beat_tracker")
    path = made.folder / "beat_tracker.onnx"
    graph = onnx.load(path)
    weight = next(item for item in graph.graph.initializer if item.name == name)
    changed = np.float32(1.01) * numpy_helper.to_array(weight)
    weight.CopyFrom(numpy_helper.from_array(changed, name))
    onnx.save(graph, path)
    found = vampnet_onnx.localise_error(path, folder, component="beat_tracker")
    assert name.rpartition(".")[0] in str(found)
