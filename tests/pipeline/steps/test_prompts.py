"""Beats and onsets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.pipeline_inputs import codes_for, noise_like
from tests.support.sets import GoldenSet
from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.configs.settings import beat_settings, mask_settings
from vampnet_onnx.pipeline.steps.prompts import onset_frames, read_beats
from vampnet_onnx.pipeline.vamp import VampPipeline


def test_beats_are_read_from_a_file_and_kept(pipeline_a: VampPipeline, tmp_path: Path) -> None:
    file = tmp_path / "beats.txt"
    file.write_text("# seconds\n0.08\n\n0.16, 2\n")
    beats = read_beats(file, pipeline_a.codec, 40)
    assert beats == [10, 20]
    mask = pipeline_a.build_mask(
        codes_for(pipeline_a),
        mask_settings(periodic_prompt=0, upper_codebook_mask=99),
        seed=0,
        beats=beats,
        around_beats=beat_settings(before_beat_s=0.008, after_beat_s=0.02),
    )
    assert np.flatnonzero(mask[0, 0] == 0).tolist() == [9, 10, 11, 12, 19, 20, 21, 22]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no beats"),
        ("0.1\nsoon\n", ":2: 'soon'"),
        ("-1", "outside the clip"),
        ("0.5", "outside the clip, which lasts 0.32 s"),
        ("nan", "outside"),
    ],
)
def test_beats_that_are_none_are_refused(
    pipeline_a: VampPipeline, tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "beats.txt").write_text(text)
    with pytest.raises(InputError, match=says):
        read_beats(tmp_path / "beats.txt", pipeline_a.codec, 40)


def test_onsets_are_what_librosa_says(
    golden_a: GoldenSet, pipeline_a: VampPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "librosa", None)
    with pytest.raises(EnvironmentLacksError, match="librosa"):
        onset_frames(noise_like(1000), pipeline_a.codec)
    with pytest.raises(InputError, match="needs the onsets"):
        pipeline_a.build_mask(codes_for(pipeline_a), mask_settings(onset_mask_width=2), seed=0)
