"""Pictures of a variation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from vampnet_onnx.pipeline.files.plots import _levels, plot_spectrograms


def sine(hertz: float, rate: int, samples: int) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(samples) / rate).astype(np.float32)


def test_a_level_stands_at_its_frequency_and_time() -> None:
    audio = np.concatenate([sine(500, 8000, 8000), sine(2000, 8000, 8000)])
    starts, levels = _levels(audio, 512)
    loudest = levels.argmax(0) * 8000 / 512
    assert (loudest[starts < 7000] == 500).all() and (loudest[starts > 8600] == 2000).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("samples", [1, 37, 5000, 150_000])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_audio_of_any_length_and_rate_is_drawn(
    tmp_path: Path, samples: int, rate: int
) -> None:
    quiet = np.zeros(samples, np.float32)
    tone = sine(440, rate, samples) + 0.1
    for before in (quiet, tone):
        plot_spectrograms(tmp_path / "a.png", sample_rate=rate, before=before, after=tone)
        assert imread(tmp_path / "a.png").std() > 0.05
