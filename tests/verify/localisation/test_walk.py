"""Localisation names the module that introduces an error, and no module of a sound export."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.edited import scaled
from vampnet_onnx.models import ModelSet
from vampnet_onnx.verify.localisation.request import locate, locate_between, reference_source


def test_no_module_of_a_sound_export_is_named(tiny: ModelSet, sound_c2f: dict) -> None:
    found = locate(tiny, sound_c2f["record"], sound_c2f["path"], sound_c2f["inputs"])
    assert found.culprits == ()
    assert len(found.findings) > 20
    assert all(finding.error < 1e-5 for finding in found.findings)


def test_a_walk_in_small_stages_finds_what_one_in_a_single_stage_finds(
    tiny: ModelSet, sound_c2f: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "transformer.layers.1.feed_forward.w_1"
    edited = scaled(sound_c2f["path"], f"{name}.weight", 1.001, tmp_path)
    whole = locate(tiny, sound_c2f["record"], edited, sound_c2f["inputs"])
    monkeypatch.setattr(
        "vampnet_onnx.verify.localisation.torch_source.STAGE_BYTES", 30_000
    )  # a layer has 47 kB
    with reference_source(tiny, sound_c2f["record"], sound_c2f["inputs"]) as source:
        seen: list[int] = []
        source.stream(lambda trace: seen.append(len(trace.modules)))
        assert len(source.stages) > 8 and max(seen) <= 6
    staged = locate(tiny, sound_c2f["record"], edited, sound_c2f["inputs"])
    assert staged.culprits == whole.culprits == (name,)
    assert {f.path for f in staged.findings} == {f.path for f in whole.findings}
    assert (
        locate(tiny, sound_c2f["record"], sound_c2f["path"], sound_c2f["inputs"]).culprits
        == ()
    )
    between = locate_between(sound_c2f["path"], edited, sound_c2f["inputs"])
    assert between.culprits == (name,)
