"""Styles: their times are whole frames and their bars are filled."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.styles import FRAME_S, STYLES
from vampnet_onnx.models.checkpoints.random_checkpoint import sizes


@pytest.mark.parametrize("style", ["ensemble", "music-box"])
def test_a_sustained_tone_of_a_tuned_style_repeats_within_four_frames(style: str) -> None:
    found = STYLES[style]
    cycles = [root * ratio * FRAME_S for root in found.roots for ratio in found.scales[0]]
    assert all(4 * c == pytest.approx(round(4 * c)) for c in cycles)


def test_the_frame_is_that_of_the_demo_codec() -> None:
    codec = sizes()["demo"]["codec"]
    assert math.prod(codec["decoder_rates"]) / codec["sample_rate"] == FRAME_S


def test_ticks_are_whole_frames_of_the_demo_codec() -> None:
    for style in STYLES.values():
        frames = np.array(style.ticks_s) / FRAME_S
        assert np.allclose(frames, np.round(frames))


def test_a_bar_is_filled_by_every_rhythm() -> None:
    for style in STYLES.values():
        assert all(sum(map(abs, r)) == style.bar for r in style.melody_rhythms)
        lines = [*style.bass_lines]
        assert all(tick + length <= style.bar for line in lines for tick, length, _ in line)
        ticks = [t for pattern in style.drums for drum in pattern for t in drum]
        assert all(0 <= tick < style.bar for tick in ticks)
