"""The distance of mel spectrograms."""

from __future__ import annotations

import numpy as np
import pytest

from vampnet_onnx.verify.numbers.mel import mel_distance


def test_mel_distance_is_in_decibels_and_never_of_nan() -> None:
    audio = np.random.default_rng(0).normal(size=(2, 1, 9000)).astype(np.float32) / 8
    assert mel_distance(audio, audio, 8000) == 0
    assert mel_distance(audio, audio * 10, 8000) == pytest.approx(20, abs=0.1)
    assert np.isnan(mel_distance(audio, np.full_like(audio, np.nan), 8000))
