"""Styles: their times are whole frames and their bars are filled."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.styles import FRAME_S, STYLES, Style
from vampnet_onnx.models.checkpoints.random_checkpoint import sizes


@pytest.mark.parametrize("style", ["ensemble", "music-box"])
def test_a_sustained_tone_of_a_tuned_style_repeats_within_four_frames(style: str) -> None:
    found = STYLES[style]
    cycles = [root * ratio * FRAME_S for root in found.roots for ratio in found.scales[0]]
    assert cycles and all(4 * c == pytest.approx(round(4 * c)) for c in cycles)


def test_the_frame_is_that_of_the_demo_codec() -> None:
    codec = sizes()["demo"]["codec"]
    assert math.prod(codec["decoder_rates"]) / codec["sample_rate"] == FRAME_S


every_style = pytest.mark.parametrize("style", STYLES.values(), ids=list(STYLES))


@every_style
def test_ticks_are_whole_frames_of_the_demo_codec(style: Style) -> None:
    frames = np.array(style.ticks_s) / FRAME_S
    assert frames.size and np.allclose(frames, np.round(frames))


@every_style
def test_a_bar_is_filled_by_every_rhythm(style: Style) -> None:
    """A style may do without a bass or drums, none without a melody."""
    assert {sum(map(abs, rhythm)) for rhythm in style.melody_rhythms} == {style.bar}
    assert all(
        tick + length <= style.bar for line in style.bass_lines for tick, length, _ in line
    )
    ticks = [t for pattern in style.drums for drum in pattern for t in drum]
    assert all(0 <= tick < style.bar for tick in ticks)


def test_some_styles_have_a_bass_and_some_have_drums() -> None:
    assert any(style.bass_lines for style in STYLES.values())
    assert any(style.drums for style in STYLES.values())
