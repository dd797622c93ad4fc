"""The failing piece by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from tests.support.edited import replanted, scaled
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


def test_a_bundle_with_nan_gives_at_once_what_was_recorded_of_it(
    tiny: ModelSet, sound: Sound, tmp_path: Path
) -> None:
    edited = scaled(sound.path, "embedding.tables.1", np.nan, tmp_path)
    assert write_bundle(tmp_path / "bundle", walked(tiny, sound, edited))
    replayed = replay(tmp_path / "bundle")
    assert replayed.same and replayed.error == replayed.facts.error == np.inf


def test_a_bundle_records_what_its_file_gives_where_the_walk_rounds_otherwise(
    tiny: ModelSet, sound: Sound, tmp_path: Path
) -> None:
    """A walk has no fusions and no packed weights: large modules differ in their last bits."""
    name = "transformer.layers.0.self_attn.w_vs"
    found = walked(tiny, sound, scaled(sound.path, f"{name}.weight", 1.01, tmp_path))
    lone = found.localisation.cut_out
    assert lone is not None
    outputs = {n: np.nextafter(a, np.float32(np.inf)) for n, a in lone.outputs.items()}
    rounded = replace(found.localisation, cut_out=replace(lone, outputs=outputs))
    assert write_bundle(tmp_path / "bundle", replace(found, localisation=rounded))
    replayed = replay(tmp_path / "bundle")
    assert replayed.same and replayed.error == replayed.facts.error


def test_nothing_is_written_where_nothing_is_wrong(
    tiny: ModelSet, sound: Sound, tmp_path: Path
) -> None:
    assert not write_bundle(tmp_path / "bundle", walked(tiny, sound, sound.path))
    assert not (tmp_path / "bundle").exists()


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a bundle"):
        replay(tmp_path)


def test_a_bundle_is_of_the_first_culprit_that_can_be_cut_out(
    tiny: ModelSet, sound: Sound, tmp_path: Path
) -> None:
    first, second = (f"transformer.layers.{i}.self_attn.w_vs" for i in (0, 1))

    def spoil(model: ir.Model) -> None:
        for name, factor in ((second, 1.5), (first, 1.01)):
            weight = model.graph.initializers[f"{name}.weight"]
            assert weight.const_value is not None
            changed = weight.const_value.numpy() * np.float32(factor)
            weight.const_value = ir.tensor(changed)

    found = walked(tiny, sound, replanted(sound.path, spoil, tmp_path))
    assert found.localisation.culprits == (first, second)
    assert write_bundle(tmp_path / "bundle", found)
    assert replay(tmp_path / "bundle").facts.module == first
    # What the export lacks cannot be cut out: the next culprit can.
    lacking = replace(found.localisation, culprits=("missing", first, second))
    assert write_bundle(tmp_path / "other", replace(found, localisation=lacking))
    assert replay(tmp_path / "other").facts.module == first
