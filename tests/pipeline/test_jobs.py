"""pipeline/ does what is asked of it: masks, seeds, channels, progress."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.pipeline_inputs import codes_for, noise_like
from tests.support.sets import GoldenSet
from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.configs.settings import (
    beat_settings,
    generation_settings,
    mask_settings,
    vamp_settings,
)
from vampnet_onnx.pipeline.steps.noise import PhiloxNoise
from vampnet_onnx.pipeline.steps.prompts import onset_frames, read_beats
from vampnet_onnx.pipeline.vamp import VampPipeline


def test_the_published_mask_keeps_every_seventh_step(pipeline_a: VampPipeline) -> None:
    mask = pipeline_a.build_mask(codes_for(pipeline_a), seed=3)
    assert mask.dtype == np.int64
    assert (mask[:, 3:] == 1).all()
    kept = np.flatnonzero(mask[0, 0] == 0)
    assert len(kept) in (5, 6, 7)
    assert set(np.diff(kept)) <= {5, 7}  # 40 steps rolled round: 35 to 40 are 5 apart
    np.testing.assert_array_equal(mask[0, 1], mask[0, 0])


def test_a_seed_is_a_mask(pipeline_a: VampPipeline) -> None:
    codes = codes_for(pipeline_a)
    chosen = mask_settings(rand_mask_intensity=0.5, dropout=0.2)
    first, again, other = (
        pipeline_a.build_mask(codes, chosen, seed=seed) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_prefix_is_kept_and_one_beyond_the_clip_is_refused(pipeline_a: VampPipeline) -> None:
    codes = codes_for(pipeline_a)  # 40 frames of 8 ms
    chosen = mask_settings(prefix_s=0.08, periodic_prompt=0, upper_codebook_mask=99)
    mask = pipeline_a.build_mask(codes, chosen, seed=0)
    np.testing.assert_array_equal(mask[0, 0], np.arange(40) >= 10)
    for choices in ({"prefix_s": 0.33}, {"suffix_s": 1}, {"prefix_s": 0.2, "suffix_s": 0.2}):
        with pytest.raises(InputError, match=r"longer than the clip, which lasts 0\.32 s"):
            pipeline_a.build_mask(codes, mask_settings(**choices), seed=0)


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


def test_a_seed_is_a_variation(pipeline_a: VampPipeline) -> None:
    codes = codes_for(pipeline_a)
    mask = np.ones_like(codes)
    first, again, other = (
        pipeline_a.vamp(codes, mask, noise=PhiloxNoise(seed)).tokens for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_coarse_alone_is_a_request_and_keeps_the_fine_codes(pipeline_a: VampPipeline) -> None:
    codes = codes_for(pipeline_a)
    made = pipeline_a.vamp(codes, np.ones_like(codes), noise=PhiloxNoise(0), coarse_only=True)
    n = pipeline_a.components.transformer("coarse").n_codebooks
    np.testing.assert_array_equal(made.tokens[:, n:], codes[:, n:])
    assert not np.array_equal(made.tokens[:, :n], codes[:, :n])


def test_progress_counts_every_sampling_step(pipeline_a: VampPipeline) -> None:
    codes, told = codes_for(pipeline_a, frames=300), []
    chosen = vamp_settings(
        generation_settings(steps=3), coarse_chunk_s=1.0, c2f_chunk_s=1.0, feedback_steps=2
    )
    pipeline_a.vamp(
        codes,
        np.ones_like(codes),
        chosen,
        noise=PhiloxNoise(0),
        progress=lambda *args: told.append(args),
    )
    coarse = [("coarse", done, 18) for done in range(1, 19)]  # 3 steps, 3 chunks, 2 rounds
    assert told == coarse + [("c2f", done, 6) for done in range(1, 7)]


def test_equal_channels_stay_equal_and_their_balance_is_kept(pipeline_a: VampPipeline) -> None:
    left = noise_like(6400)
    audio, made = pipeline_a.process_audio(
        np.stack([left, 0.5 * left]), 8000, seed=1, keep_stereo=True
    )
    assert audio.shape == (1, 2, 6400)
    assert made.tokens.shape[:2] == (1, 2) and made.mask.shape[0] == 1
    np.testing.assert_array_equal(made.tokens[0, 0], made.tokens[0, 1])
    np.testing.assert_allclose(audio[0, 1], 0.5 * audio[0, 0], rtol=1e-4, atol=1e-6)
    mixed, _ = pipeline_a.process_audio(np.stack([left, left]), 8000, seed=1)
    np.testing.assert_allclose(mixed[0, 0], audio[0, 0], rtol=0, atol=1e-4)
