"""Beats and onsets."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.pipeline_inputs import codes_for, noise_like
from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.configs.settings import beat_settings, mask_settings
from vampnet_onnx.models.behaviour import masks
from vampnet_onnx.pipeline.steps.masks import Beats
from vampnet_onnx.pipeline.steps.prompts import onset_frames, read_beats
from vampnet_onnx.pipeline.vamp import VampPipeline


def test_beats_are_read_from_a_file_and_kept(pipeline_a: VampPipeline, tmp_path: Path) -> None:
    file = tmp_path / "beats.txt"
    file.write_text("# seconds\n0.08\n\n0.16, 2\n")
    around = beat_settings(before_beat_s=0.008, after_beat_s=0.02)
    beats = read_beats(file, 0.32, around)
    assert beats == Beats([0.08, 0.16], None, around)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())  # as editors on Windows write it
    assert read_beats(file, 0.32, around) == beats
    mask = pipeline_a.build_mask(
        codes_for(pipeline_a),
        mask_settings(periodic_prompt=0, upper_codebook_mask=99),
        seed=0,
        beats=beats,
    )
    assert np.flatnonzero(mask[0, 0] == 0).tolist() == [9, 10, 11, 12, 19, 20, 21, 22]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0.1 -1\n", "txt:1: '-1' behind the time is no number of a beat in its bar"),
        ("0.1 1\n0.2 0\n", "txt:2: '0' behind"),
        ("0.1 1.5\n", "'1.5' behind"),
        ("0.1 nan\n", "'nan' behind"),
        ("0.1\t0.1\tan Audacity label\n", "'0.1 an Audacity label' behind"),
        ("0.1 1 2\n", "'1 2' behind"),
        ("", "holds no beats"),
        ("0.1\nsoon\n", ":2: 'soon'"),
        ("-1", "outside the clip"),
        ("0.5", "outside the clip, which lasts 0.32 s"),
        ("nan", "outside"),
        ("0.2\n0.1\n", ":2: 0.1 s is before the beat above"),
        ("#" * 16_000_001, "is no file of beats"),
    ],
    ids=[
        *("before", "zero", "half", "no-number", "label", "two"),
        *("empty", "word", "negative", "beyond", "nan", "unsorted", "endless"),
    ],
)
def test_beats_that_are_none_are_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "beats.txt").write_text(text)
    with pytest.raises(InputError, match=says):
        read_beats(tmp_path / "beats.txt", 0.32, beat_settings())


def test_a_second_column_says_which_beats_are_downbeats(tmp_path: Path) -> None:
    (tmp_path / "beats.txt").write_text("0.1 1\n0.2 2\n0.3,10\n0.4 1.0\n0.5 a 2nd beat\n")
    beats = read_beats(tmp_path / "beats.txt", 1.0, beat_settings())
    assert beats.times == [0.1, 0.2, 0.3, 0.4, 0.5] and beats.downbeats == [0.1, 0.4]


def clicks() -> np.ndarray:
    """Return 2 s of faint noise at 8 kHz with a burst at each half second."""
    audio = noise_like(16000, scale=1e-3)
    for start in range(4000, 16000, 4000):
        audio[start : start + 400] += noise_like(400, scale=0.5)
    return audio


def test_onsets_are_those_of_the_models(pipeline_a: VampPipeline) -> None:
    audio, codec = clicks(), pipeline_a.codec
    found = onset_frames(audio, codec)
    assert len(found) >= 3
    assert found == masks.onset_frames(
        torch.from_numpy(audio), codec.sample_rate, codec.hop_length
    )


def test_onsets_are_kept(pipeline_a: VampPipeline) -> None:
    chosen = mask_settings(periodic_prompt=0, upper_codebook_mask=99, onset_mask_width=2)
    _, made = pipeline_a.process_audio(clicks(), 8000, seed=0, mask=chosen)
    onsets = onset_frames(pipeline_a.prepare(clicks(), 8000).audio[0, 0], pipeline_a.codec)
    kept = sorted({step for onset in onsets for step in range(onset - 2, onset + 2)})
    assert kept and np.flatnonzero(made.mask[0, 0] == 0).tolist() == kept


def test_onset_masks_without_onsets_or_librosa_are_refused(
    pipeline_a: VampPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = mask_settings(onset_mask_width=2)
    with pytest.raises(InputError, match="needs the onsets"):
        pipeline_a.build_mask(codes_for(pipeline_a), chosen, seed=0)
    monkeypatch.setitem(sys.modules, "librosa", None)
    with pytest.raises(EnvironmentLacksError, match="librosa"):
        pipeline_a.process_audio(clicks(), 8000, seed=0, mask=chosen)
