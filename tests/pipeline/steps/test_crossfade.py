"""Chunks that overlap are faded into each other, and every one is heard."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tests.support.pipeline_inputs import noise_like
from vampnet_onnx.configs.settings import generation_settings, vamp_settings
from vampnet_onnx.pipeline.steps import crossfade
from vampnet_onnx.pipeline.steps.crossfade import Overlaps, crossfaded, laid_out
from vampnet_onnx.pipeline.steps.streaming import joined, pieces
from vampnet_onnx.pipeline.vamp import VampPipeline


@pytest.mark.parametrize("frames", [1, 3, 10, 11, 17, 18, 24, 25, 60])
def test_chunks_cover_everything_and_overlap_by_the_fade(frames: int) -> None:
    chunks = Overlaps(7, 3).chunks(frames)
    assert chunks[0].start == 0 and chunks[-1].stop == frames
    for one, other in pairwise(chunks):
        assert one.stop - other.start == 3 and one.stop - one.start == 10
        assert other.stop > one.stop


def test_the_fade_goes_from_the_earlier_chunk_to_the_later_at_every_border(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crossfade, "_WINDOW", 9)
    overlaps, hop = Overlaps(7, 3), 4
    chunks = overlaps.chunks(24)
    parts = [np.full((1, c.stop - c.start), number) for number, c in enumerate(chunks)]
    sides = [side.repeat(hop, axis=1).astype(np.float32) for side in laid_out(parts, chunks)]
    heard = joined(
        crossfaded(pieces(sides[0], 5), pieces(sides[1], 11), overlaps=overlaps, hop=hop)
    )[0]
    for number, chunk in enumerate(chunks[1:], 1):
        start = chunk.start * hop
        np.testing.assert_allclose(
            heard[start : start + 3 * hop], number - 1 + np.arange(3 * hop) / (3 * hop)
        )
    assert (heard[: 7 * hop] == 0).all() and (heard[17 * hop :] == 2).all()


def test_each_chunk_is_a_variation_of_its_own_and_faded_in(pipeline_a: VampPipeline) -> None:
    audio = noise_like(1, 64 * 60)
    settings = vamp_settings(generation_settings(steps=2), coarse_chunk_s=0.16)
    plain, made = pipeline_a.process_audio(audio, 8000, seed=1, settings=settings)
    assert made.crossfade is None
    faded, made = pipeline_a.process_audio(
        audio, 8000, seed=1, settings=settings, crossfade_s=0.032, output_loudness="codec"
    )
    assert faded.shape == plain.shape and made.tokens.shape[-1] == 60
    assert made.crossfade is not None
    later, overlaps = made.crossfade.later, made.crossfade.overlaps
    assert (overlaps.every, overlaps.fade) == (16, 4)
    differs = (made.tokens != later).any(axis=(0, 1, 2))
    at = np.arange(60)
    assert set(at[differs]) <= {16, 17, 18, 19, 32, 33, 34, 35, 48, 49, 50, 51}
    assert differs.sum() > 6
    earlier = pipeline_a.decode(made.tokens[0])[0, 0]
    np.testing.assert_array_equal(faded[0, 0, : 16 * 64], earlier[: 16 * 64])
    end = 20 * 64  # where the first fade ends, the later chunk alone is heard
    np.testing.assert_allclose(
        faded[0, 0, end], pipeline_a.decode(later[0])[0, 0, end], atol=1e-6
    )
