"""Masks: a seed is a mask, and what they keep."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.pipeline_inputs import codes_for
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.settings import beat_settings, mask_settings
from vampnet_onnx.pipeline.steps.masks import Beats
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


FRAME = 0.008  # seconds


def at(frames: tuple[int, ...]) -> list[float]:
    """Return times that lie within a frame: times are rounded up, and so is their rounding."""
    return [max((frame - 0.5) * FRAME, 0) for frame in frames]


def beats_at(
    *frames: int, downbeats: tuple[int, ...] | None = None, **choices: object
) -> Beats:
    firsts = None if downbeats is None else at(downbeats)
    chosen = beat_settings(**{"after_beat_s": FRAME, **choices})
    return Beats(at(frames), firsts, chosen)


def test_beats_are_kept_whatever_dropout_masks_and_upper_codebooks_are_not(
    pipeline_a: VampPipeline,
) -> None:
    codes = codes_for(pipeline_a)
    chosen = mask_settings(periodic_prompt=2, dropout=0.9)
    plain = pipeline_a.build_mask(codes, chosen, seed=5)
    found = pipeline_a.build_mask(codes, chosen, seed=5, beats=beats_at(*range(5, 35)))
    assert (plain[0, 0, 5:35] == 1).sum() > 15  # dropout was at work
    expected = plain.copy()
    expected[:, :3, 5:35] = 0
    np.testing.assert_array_equal(found, expected)


def test_what_lies_between_beats_is_kept_on_request(pipeline_a: VampPipeline) -> None:
    chosen = mask_settings(periodic_prompt=0, upper_codebook_mask=99)
    beats = beats_at(10, 20, beat_invert=False)
    mask = pipeline_a.build_mask(codes_for(pipeline_a), chosen, seed=5, beats=beats)
    assert np.flatnonzero(mask[0, 0]).tolist() == [10, 20]


def test_dropout_of_beats_is_drawn_from_the_seed(pipeline_a: VampPipeline) -> None:
    chosen = mask_settings(periodic_prompt=0, upper_codebook_mask=99)
    beats = beats_at(*range(40), beat_dropout=0.5)
    first, again, other = (
        pipeline_a.build_mask(codes_for(pipeline_a), chosen, seed=seed, beats=beats)
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other) and 8 < (first[0, 0] == 0).sum() < 32


@pytest.mark.parametrize(
    ("choices", "frames"),
    [
        ({}, [4, 6, 8, 12, 14, 2, 10]),
        ({"mask_upbeats": False}, [2, 10]),
        ({"mask_downbeats": False}, [4, 6, 8, 12, 14]),
        ({"beat_downsample_factor": 2}, [4, 8, 14, 2, 10]),
        ({"downbeat_downsample_factor": 2}, [4, 6, 8, 12, 14, 2]),
    ],
)
def test_up_and_downbeats_are_taken_by_the_published_options(
    pipeline_a: VampPipeline, choices: dict[str, object], frames: list[int]
) -> None:
    beats = beats_at(2, 4, 6, 8, 10, 12, 14, downbeats=(2, 10), **choices)
    assert beats.frames(pipeline_a.codec) == frames


def test_options_of_beats_that_can_do_nothing_are_refused(pipeline_a: VampPipeline) -> None:
    with pytest.raises(InputError, match="the beat's number in its bar"):
        beats_at(2, 4, mask_downbeats=False).frames(pipeline_a.codec)
    with pytest.raises(InputError, match="of 0 upbeats and 1 downbeats the options take none"):
        beats_at(2, downbeats=(2,), mask_downbeats=False).frames(pipeline_a.codec)
    for choices in ({"after_beat_s": 0}, {"mask_upbeats": False, "mask_downbeats": False}):
        with pytest.raises(InputError, match="no effect"):
            beat_settings(**choices)
