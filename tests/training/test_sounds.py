"""Single sounds: tones of a pitch and drums of a kit."""

from __future__ import annotations

import numpy as np
import pytest

from training.sounds import TIMBRES, hit, tone

RATE = 16000


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
    assert len(peaks) and all(abs(peak - 2637) < 40 for peak in peaks)


@pytest.mark.parametrize("drum", ["kick", "snare", "hat"])
def test_a_drum_is_the_same_at_every_stroke_and_another_in_another_kit(drum: str) -> None:
    assert np.array_equal(hit(drum, 0, RATE), hit(drum, 0, RATE))
    assert not np.array_equal(hit(drum, 0, RATE), hit(drum, 1, RATE))
