"""Masks: a seed is a mask, and what they keep."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.pipeline_inputs import codes_for
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.settings import mask_settings
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
