"""Bundles replay a culprit by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.edited import scaled
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.models import ModelSet
from vampnet_onnx.verify.localisation.bundle import Facts, replay, write_bundle
from vampnet_onnx.verify.localisation.request import locate


def test_a_bundle_replays_the_culprit_by_itself(
    tiny: ModelSet, sound_c2f: dict, tmp_path: Path
) -> None:
    edited = scaled(
        sound_c2f["path"], "transformer.layers.0.self_attn.w_vs.weight", 1.01, tmp_path
    )
    found = locate(tiny, sound_c2f["record"], edited, sound_c2f["inputs"])
    assert found.culprits[0] == "transformer.layers.0.self_attn.w_vs"
    assert found.cut_out is not None
    write_bundle(tmp_path / "bundle", Facts("c2f", found.culprits[0], "", 0.01), found.cut_out)
    replayed = replay(tmp_path / "bundle")
    assert replayed.same
    assert replayed.error == pytest.approx(0.01, rel=1e-3)


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a bundle"):
        replay(tmp_path)
