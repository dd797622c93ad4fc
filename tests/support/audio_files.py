"""Audio files of a tone, for the tests of what reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch

from vampnet_onnx.models.behaviour.audio import loudness

RATE, HOP = 8000, 64  # of golden set a


def tone(seconds: float = 1.0, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """Return a tone with a little noise, float [samples, channels]."""
    time = np.arange(int(seconds * rate)) / rate
    draw = np.random.default_rng(0)
    wave = 0.3 * np.sin(2 * np.pi * 440 * time) + draw.normal(0, 0.01, len(time))
    return np.stack([wave / (1 + i) for i in range(channels)], axis=1)


def wav(name: str, audio: np.ndarray, rate: int = RATE, **options: str) -> Path:
    soundfile.write(name, audio, rate, **options)
    return Path(name)


def loudness_of(path: Path | str) -> list[float]:
    """Return the loudness of each channel of a file by itself, LUFS."""
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return loudness(torch.from_numpy(audio.T.copy())[:, None], rate).tolist()
