"""A walk names the module that introduces an error, and no module of a sound export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.edited import scaled
from tests.support.planting import Sound
from tests.support.records import matrix
from vampnet_onnx.models import ModelSet
from vampnet_onnx.verify.causes.locate import locate, reference_source
from vampnet_onnx.verify.localisation.culprit import Localisation
from vampnet_onnx.verify.localisation.graph import GraphModules
from vampnet_onnx.verify.localisation.source import GraphSource
from vampnet_onnx.verify.localisation.walk import localise
from vampnet_onnx.verify.self_test.defects.transformer import LayerDropped
from vampnet_onnx.verify.self_test.run import export_with
from vampnet_onnx.verify.subjects.case import Case
from vampnet_onnx.verify.subjects.registry import subject_of

STAGE_BYTES = "vampnet_onnx.verify.localisation.source.STAGE_BYTES"


def between(old: Path, new: Path, inputs: dict[str, np.ndarray]) -> Localisation:
    return localise(GraphSource(GraphModules(old), inputs), GraphModules(new))


def test_no_module_of_a_sound_export_is_named(tiny: ModelSet, sound: Sound) -> None:
    found = locate(tiny, sound.record, sound.path, sound.inputs)
    assert found.culprits == ()
    assert len(found.findings) > 20
    assert all(finding.error < 1e-5 for finding in found.findings)


def test_two_versions_of_a_graph_are_compared_module_by_module(
    sound: Sound, tmp_path: Path
) -> None:
    name = "transformer.layers.0.feed_forward.w_2"
    edited = scaled(sound.path, f"{name}.weight", 1.001, tmp_path)
    assert between(sound.path, sound.path, sound.inputs).culprits == ()
    assert between(sound.path, edited, sound.inputs).culprits == (name,)


@pytest.mark.parametrize("name", ["sampler", "mask_generator", "audio_processor"])
def test_what_is_built_agrees_with_itself(tiny: ModelSet, name: str, tmp_path: Path) -> None:
    record, path = export_with(tiny, name, tmp_path)
    subject = subject_of(record)
    cases = subject.cases(record, matrix(seeds=[0], frames=[7], batches=[2]))
    for case in cases:
        assert between(path, path, subject.inputs(record, case)).culprits == (), case.id


def test_a_walk_in_small_stages_finds_what_one_in_a_single_stage_finds(
    tiny: ModelSet, sound: Sound, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "transformer.layers.1.feed_forward.w_1"
    edited = scaled(sound.path, f"{name}.weight", 1.001, tmp_path)
    whole = locate(tiny, sound.record, edited, sound.inputs)
    monkeypatch.setattr(STAGE_BYTES, 30_000)  # a layer has 47 kB
    with reference_source(tiny, sound.record, sound.inputs) as source:
        seen: list[int] = []
        source.stream(lambda trace: seen.append(len(trace)))
        assert len(source.stages) > 8 and max(seen) <= 6
    staged = locate(tiny, sound.record, edited, sound.inputs)
    assert staged.culprits == whole.culprits == (name,)
    assert {f.path for f in staged.findings} == {f.path for f in whole.findings}
    assert locate(tiny, sound.record, sound.path, sound.inputs).culprits == ()
    assert between(sound.path, edited, sound.inputs).culprits == (name,)


def test_a_layer_left_out_is_named_whatever_the_stages(
    tiny: ModelSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, path = export_with(tiny, "coarse", tmp_path, [LayerDropped()])
    inputs = subject_of(record).inputs(record, Case("coarse", 0, 2, 23))
    whole = locate(tiny, record, path, inputs)
    monkeypatch.setattr(STAGE_BYTES, 100_000)
    staged = locate(tiny, record, path, inputs)
    assert whole.culprits == staged.culprits == (LayerDropped.culprit,)
