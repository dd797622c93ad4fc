"""The failing piece by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.edited import scaled
from tests.support.planting import Sound
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.models import ModelSet
from vampnet_onnx.verify.causes.bundle import replay, write_bundle
from vampnet_onnx.verify.causes.locate import Located, locate
from vampnet_onnx.verify.localisation.nonfinite import NEITHER, Birth


def walked(tiny: ModelSet, sound: Sound, path: Path) -> Located:
    found = locate(tiny, sound.record, path, sound.inputs)
    return Located("c2f", found, Birth(NEITHER), (), "some case")


def test_a_bundle_replays_the_culprit_by_itself(
    tiny: ModelSet, sound: Sound, tmp_path: Path
) -> None:
    name = "transformer.layers.0.self_attn.w_vs"
    edited = scaled(sound.path, f"{name}.weight", 1.01, tmp_path)
    assert write_bundle(tmp_path / "bundle", walked(tiny, sound, edited))
    replayed = replay(tmp_path / "bundle")
    assert (replayed.facts.module, replayed.facts.case) == (name, "some case")
    assert replayed.same
    assert replayed.error == replayed.facts.error == pytest.approx(0.01, rel=1e-3)


def test_nothing_is_written_where_nothing_is_wrong(
    tiny: ModelSet, sound: Sound, tmp_path: Path
) -> None:
    assert not write_bundle(tmp_path / "bundle", walked(tiny, sound, sound.path))
    assert not (tmp_path / "bundle").exists()


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a bundle"):
        replay(tmp_path)
