"""Variations: a seed is one, and progress is told of every step."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.pipeline_inputs import codes_for
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.settings import generation_settings, vamp_settings
from vampnet_onnx.pipeline.steps.noise import PhiloxNoise
from vampnet_onnx.pipeline.vamp import VampPipeline


def test_a_seed_is_a_variation(pipeline_a: VampPipeline) -> None:
    codes = codes_for(pipeline_a)
    mask = np.ones_like(codes)
    first, again, other = (
        pipeline_a.vamp(codes, mask, noise=PhiloxNoise(seed)).tokens for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_reseeding_gives_every_coarse_chunk_the_same_noise(pipeline_a: VampPipeline) -> None:
    codes = codes_for(pipeline_a, frames=40)
    codes[..., 20:] = codes[..., :20]
    mask = np.ones_like(codes)
    mask[:, :, 3::20] = 0
    chunk = 20 * pipeline_a.codec.hop_length / pipeline_a.codec.sample_rate

    def halves(reseed: bool, rounds: int = 1) -> list[np.ndarray]:
        settings = vamp_settings(
            coarse_chunk_s=chunk, feedback_steps=rounds, reseed=reseed, c2f_chunk_s=chunk
        )
        made = pipeline_a.vamp(codes, mask, settings, noise=PhiloxNoise(3))
        return np.split(made.tokens, 2, axis=-1)

    n = pipeline_a.components.transformer("coarse").n_codebooks
    first, second = halves(reseed=True)
    np.testing.assert_array_equal(first[:, :n], second[:, :n])
    assert not np.array_equal(first[:, n:], second[:, n:])  # coarse to fine goes on
    first_on, second_on = halves(reseed=False)
    assert not np.array_equal(first_on[:, :n], second_on[:, :n])
    # Every round is given the same noise, under the same mask.
    np.testing.assert_array_equal(halves(reseed=True, rounds=2)[0][:, :n], first[:, :n])


def test_coarse_alone_is_a_request_and_keeps_the_fine_codes(pipeline_a: VampPipeline) -> None:
    codes = codes_for(pipeline_a)
    made = pipeline_a.vamp(codes, np.ones_like(codes), noise=PhiloxNoise(0), coarse_only=True)
    n = pipeline_a.components.transformer("coarse").n_codebooks
    np.testing.assert_array_equal(made.tokens[:, n:], codes[:, n:])
    assert not np.array_equal(made.tokens[:, :n], codes[:, :n])


def test_fine_codes_alone_keep_the_coarse_ones_and_what_a_mask_keeps(
    pipeline_a: VampPipeline,
) -> None:
    codes = codes_for(pipeline_a)
    mask = np.ones_like(codes)
    mask[..., ::3] = 0
    made = pipeline_a.coarse_to_fine(codes, mask, noise=PhiloxNoise(0)).tokens
    n = pipeline_a.components.transformer("c2f").n_conditioning_codebooks
    np.testing.assert_array_equal(made[:, :n], codes[:, :n])
    np.testing.assert_array_equal(made[..., ::3], codes[..., ::3])
    assert not np.array_equal(made, codes)


def test_fine_codes_alone_are_refused_where_codes_or_mask_do_not_fit(
    pipeline_a: VampPipeline,
) -> None:
    codes, noise = codes_for(pipeline_a), PhiloxNoise(0)
    n = pipeline_a.components.transformer("c2f").n_conditioning_codebooks
    for few in (codes[:, : n - 1], codes[0]):
        with pytest.raises(InputError, match=rf"\[batch, {n} to 5, steps\]"):
            pipeline_a.coarse_to_fine(few, noise=noise)
    with pytest.raises(InputError, match="codes must be"):
        pipeline_a.coarse_to_fine(codes[:, :n], np.ones_like(codes), noise=noise)


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
