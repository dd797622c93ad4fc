"""Audio of any kind to what the codec's encoder takes, on the audio processor's graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from configs.errors import InputError

from .components import Codec, Components
from .noise import Floats

_NAME = "audio_processor"


@dataclass(frozen=True)
class Prepared:
    """Audio ready for the codec.

    Attributes:
        audio: float32 [B, 1, samples]: at the codec's rate, mono, -24 LUFS unless the peak had
            to be scaled down to 1, padded to a multiple of the hop.
        loudness: of each item before, LUFS, float32 [B], at least -70.
    """

    audio: Floats
    loudness: Floats

    @property
    def balance(self) -> Floats:
        """Factors that bring equally loud items back to their proportions, float32 [B].

        The loudest item's factor is 1.
        """
        level = self.loudness - self.loudness.max()
        return np.asarray(np.float32(10) ** (level / np.float32(20)), np.float32)


def processor_for(codec: Codec, sample_rate: int) -> str:
    """Return the audio processor for audio of a rate in Hz: the component or its variant."""
    return _NAME if sample_rate == codec.sample_rate else f"{_NAME}.from_{sample_rate}"


def prepare(components: Components, audio: Floats, sample_rate: int) -> Prepared:
    """Prepare audio.

    Args:
        components: with the audio processor for the rate.
        audio: float32 [B, channels, samples] in [-1, 1], at least one sample.
        sample_rate: its rate in Hz.

    Raises:
        InputError: the audio is empty, not finite or misshapen, or there is no audio
            processor for its rate.
    """
    _require_audio(audio)
    codec = components.codec
    if audio.shape[-1] * codec.sample_rate < sample_rate:
        raise InputError(
            f"{audio.shape[-1]} samples at {sample_rate} Hz are less than one sample at"
            f" {codec.sample_rate} Hz"
        )
    session = components.session(processor_for(codec, sample_rate))
    made = session.run({"audio": np.ascontiguousarray(audio, np.float32)})
    return Prepared(made["prepared"], made["loudness"])


def _require_audio(audio: Floats) -> None:
    if audio.ndim != 3 or not np.issubdtype(audio.dtype, np.floating):
        raise InputError(
            f"audio must be float [batch, channels, samples], not {audio.dtype}"
            f" {list(audio.shape)}"
        )
    if not audio.size:
        raise InputError(f"the audio is empty: {list(audio.shape)}")
    if not np.isfinite(audio).all():
        raise InputError("the audio holds NaN or infinite samples; repair the file first")
