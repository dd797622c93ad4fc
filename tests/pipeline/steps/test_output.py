"""The output is as loud as was asked for, and its peak never above 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.support.pipeline_inputs import noise_like
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.settings import vamp_settings
from vampnet_onnx.pipeline.steps.loudness import measure
from vampnet_onnx.pipeline.steps.noise import Floats
from vampnet_onnx.pipeline.steps.output import (
    AudioFacts,
    Levelled,
    OutputSettings,
    level,
    read_loudness,
)
from vampnet_onnx.pipeline.steps.streaming import joined, pieces

RATE = 8000
LOUDNESS = np.array([-20.5, -31.0], np.float32)
BALANCE = np.array([1.0, 0.25], np.float32)
AUDIO = noise_like(2, 21 * RATE)


def levelled(audio: Floats, settings: OutputSettings, dry: Floats | None = None) -> Levelled:
    def reading(array: Floats, size: int) -> Callable[[], object]:
        return lambda: pieces(array, size)

    return level(
        reading(audio, 5000),
        RATE,
        settings=settings,
        loudness=LOUDNESS,
        balance=BALANCE,
        dry=None if dry is None else reading(dry, 7000),
    )


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("input", LOUDNESS), (-16.0, LOUDNESS + 4.5), ("codec", None)],
)
def test_every_channel_has_the_loudness_that_was_asked_for(
    asked: float, expected: Floats | None
) -> None:
    made = levelled(AUDIO, OutputSettings(asked))
    audio = joined(made.pieces())
    np.testing.assert_allclose(made.loudness, measure([audio], RATE).loudness, atol=1e-4)
    assert made.limited_db == 0
    if expected is None:
        np.testing.assert_array_equal(audio, AUDIO * BALANCE[:, None])
    else:
        np.testing.assert_allclose(made.loudness, expected, atol=1e-4)
        np.testing.assert_allclose(
            audio, AUDIO * 10 ** (made.gain_db / 20)[:, None], rtol=1e-5
        )


def test_a_peak_is_held_at_one_and_the_channels_keep_their_proportions() -> None:
    audio = AUDIO.copy()
    audio[0, 4444] = 3  # alone at -20.5 LUFS it would be at 2.8 or so
    made = levelled(audio, OutputSettings())
    found = joined(made.pieces())
    assert np.abs(found).max() == pytest.approx(1, abs=1e-6) and np.abs(found).max() <= 1
    assert 1 < made.limited_db < 12
    np.testing.assert_allclose(made.loudness, LOUDNESS - made.limited_db, atol=1e-4)
    np.testing.assert_allclose(measure([found], RATE).loudness, made.loudness, atol=1e-4)
    said = f"{made.limited_db:.1f} dB below the input, as its peak is held at 1"
    assert said in str(AudioFacts(RATE, OutputSettings(), made))


@pytest.mark.parametrize("samples", [1, 37, 1000])
def test_clips_shorter_than_a_block_and_silent_ones_are_levelled(samples: int) -> None:
    for audio in (AUDIO[:, :samples], np.zeros((2, samples), np.float32)):
        found = joined(levelled(audio, OutputSettings()).pieces())
        assert np.isfinite(found).all() and np.abs(found).max() <= 1
        assert found.shape == audio.shape and found.any() == audio.any()


def test_a_mix_is_of_equally_loud_parts_and_as_loud_as_asked() -> None:
    dry = noise_like(2, AUDIO.shape[-1], seed=3, scale=0.03)
    made = levelled(AUDIO, OutputSettings(mix=0.5), dry)
    audio = joined(made.pieces())
    np.testing.assert_allclose(measure([audio], RATE).loudness, LOUDNESS, atol=1e-4)
    for one, other, found in zip(AUDIO, dry, audio, strict=True):
        parts = [float(np.dot(part, found) / np.dot(part, part)) for part in (one, other)]
        loud = [20 * np.log10(parts[0] * 0.1), 20 * np.log10(parts[1] * 0.03)]
        assert loud[0] == pytest.approx(loud[1], abs=0.3)
    only = joined(levelled(AUDIO, OutputSettings(mix=0), dry).pieces())
    assert np.corrcoef(only[0], dry[0])[0, 1] == pytest.approx(1)
    kept = joined(levelled(AUDIO, OutputSettings("codec", 0.25), dry).pieces())
    np.testing.assert_allclose(kept, (0.25 * AUDIO + 0.75 * dry) * BALANCE[:, None], atol=1e-6)


def test_settings_that_cannot_be_are_refused() -> None:
    for loudness in ("loud", 3.0, -71.0, float("nan")):
        with pytest.raises(InputError, match=f"output_loudness = {loudness} is neither"):
            OutputSettings(loudness)
    with pytest.raises(InputError, match="output_loudness = louder is neither"):
        read_loudness("louder")
    for mix in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="outside 0 to 1"):
            OutputSettings(mix=mix)
    with pytest.raises(InputError, match="leave one out"):
        OutputSettings(mix=0.5).require_fit(vamp_settings(time_stretch_factor=2))
    assert [read_loudness(text) for text in ("input", "codec", "-14")] == [
        "input",
        "codec",
        -14.0,
    ]
