"""Stand-in for ``audiotools``; see the README beside it."""

from __future__ import annotations

from vampnet_onnx.models.behaviour import audio

from . import ml as ml


class AudioSignal:
    def __init__(self, audio_data, sample_rate):
        assert audio_data.ndim == 3
        self.audio_data = audio_data
        self.sample_rate = sample_rate

    def clone(self):
        return AudioSignal(self.audio_data.clone(), self.sample_rate)

    def loudness(self):
        return audio.loudness(self.audio_data, self.sample_rate)
