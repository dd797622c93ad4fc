"""The music source: pieces that are the same everywhere and different from each other."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from training.music import piece
from training.sounds import TIMBRES, hit, tone
from training.styles import FRAME_S, STYLES, Style
from vampnet_onnx.models.checkpoints.random_checkpoint import sizes

RATE = 16000


@pytest.mark.parametrize("style", STYLES.values(), ids=list(STYLES))
def test_a_seed_is_a_piece(style: Style) -> None:
    first = piece(style, 5, seconds=2.0, rate=RATE)
    assert np.array_equal(first, piece(style, 5, seconds=2.0, rate=RATE))
    assert first.dtype == np.float32 and first.shape == (2 * RATE,)
    assert np.isclose(np.abs(first).max(), 0.8)


@pytest.mark.parametrize("style", STYLES.values(), ids=list(STYLES))
def test_no_two_seeds_make_the_same_piece(style: Style) -> None:
    pieces = [piece(style, seed, seconds=8.0, rate=1000).tobytes() for seed in range(30)]
    assert len(set(pieces)) > 20  # without a melody there are not that many


def test_styles_share_no_piece() -> None:
    pieces = [piece(style, 0, seconds=1.0, rate=RATE) for style in STYLES.values()]
    assert all(not np.allclose(a, b, atol=0.1) for a, b in combinations(pieces, 2))


def test_a_longer_piece_begins_like_the_shorter_one() -> None:
    """Up to its level, which depends on the loudest moment."""
    style = STYLES["music-box"]
    short, long = (piece(style, 3, seconds=s, rate=RATE) for s in (2.0, 4.0))
    assert np.corrcoef(short, long[: len(short)])[0, 1] > 0.999


@pytest.mark.parametrize("timbre", TIMBRES)
def test_a_tone_stays_within_unit_amplitude_and_ends_in_silence(timbre: str) -> None:
    sound = tone(timbre, 261.6, 0.5, RATE)
    assert 0.2 < np.abs(sound).max() <= 1.0
    assert abs(sound[-1]) < 0.01 and np.isfinite(sound).all()


def test_a_tone_has_the_pitch_it_was_asked_for() -> None:
    spectrum = np.abs(np.fft.rfft(tone("flute", 440.0, 1.0, RATE)))
    assert np.argmax(spectrum) == 440


def test_no_partial_is_above_half_the_rate() -> None:
    """It would fold back to a pitch that nobody asked for."""
    spectrum = np.abs(np.fft.rfft(tone("strings", 2637.0, 1.0, 8000)))
    peaks = np.flatnonzero(spectrum > 0.2 * spectrum.max())
    assert all(abs(peak - 2637) < 40 for peak in peaks)


@pytest.mark.parametrize("drum", ["kick", "snare", "hat"])
def test_a_drum_is_the_same_at_every_stroke_and_another_in_another_kit(drum: str) -> None:
    assert np.array_equal(hit(drum, 0, RATE), hit(drum, 0, RATE))
    assert not np.array_equal(hit(drum, 0, RATE), hit(drum, 1, RATE))


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
