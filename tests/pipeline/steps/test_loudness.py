"""Loudness in windows is that of the models, whatever the length and the rate."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.pipeline_inputs import noise_like
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.models.behaviour.audio import loudness
from vampnet_onnx.pipeline.steps.loudness import measure
from vampnet_onnx.pipeline.steps.streaming import pieces

LENGTHS = (0.0, 0.2, 0.399, 0.4, 0.401, 0.499, 0.5, 0.77, 9.97, 10.05, 10.41, 11.05, 20.3)


@pytest.mark.parametrize("rate", [8000, 11025, 44100])
def test_it_is_what_the_models_measure(rate: int) -> None:
    """Also where nothing is whole: blocks, windows, and what is shorter than a block."""
    for seconds in LENGTHS:
        samples = max(1, round(seconds * rate))
        audio = noise_like(5, samples)
        audio[0] *= np.linspace(0, 1, samples) ** 4  # both gates matter
        audio[1, : samples // 2] = 0
        audio[2] *= 1e-3
        audio[3] = 0
        audio[4] += 0.3  # which the high pass takes away
        expected = loudness(torch.from_numpy(audio)[:, None], rate)
        found = measure(pieces(audio, 7777), rate)
        np.testing.assert_allclose(found.loudness, expected, rtol=0, atol=1e-4)
        np.testing.assert_array_equal(found.peak, np.abs(audio).max(axis=-1))


def test_silence_is_at_the_floor() -> None:
    for samples in (1, 3200, 90_000):
        found = measure([np.zeros((2, samples), np.float32)], 8000)
        assert found.loudness.tolist() == [-70, -70] and not found.peak.any()


def test_nothing_cannot_be_measured() -> None:
    with pytest.raises(InputError, match="no audio to measure"):
        measure([], 8000)
