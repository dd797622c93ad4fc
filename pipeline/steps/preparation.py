"""Audio of any kind to what the codec's encoder takes, on the audio processor's graph.

A clip in memory goes through the graph whole (`prepare`).  A file of any length is read twice
(`prepare_stream`): once to measure its loudness and peak, once to level it.  Both times the
graph runs on windows: it resamples them with what the interpolation needs on each side, and
gives the power of their gating blocks, for which each window has a second of audio in front.
The K-weighting's longest memory is that of its high pass at 38 Hz, which fades by
exp(-2 pi 38) in a second, 1e-104.  What is left to do here is the gating of all blocks at
the end, and two multiplications.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.pipeline.version.components import Codec, Components

from .loudness import FADED, gated_level
from .noise import Floats
from .streaming import joined, windows

_NAME = "audio_processor"
_BATCH = ("batch", "channels", "samples")

_TARGET = -24.0  # LUFS, the published one
_WINDOW_S = 10.0


@dataclass(frozen=True)
class Prepared:
    """Audio ready for the codec: at its rate, mono, -24 LUFS, peak at most 1, whole frames.

    Attributes:
        pieces: gives the audio, as often as it is called: float32 [B, 1, n] pieces, together
            a multiple of the hop long.
        loudness: of each item before, LUFS, float32 [B], at least -70.
    """

    pieces: Callable[[], Iterable[Floats]] = field(repr=False)
    loudness: Floats

    @property
    def audio(self) -> Floats:
        """All of the audio, float32 [B, 1, samples]."""
        return joined(self.pieces())

    def channels(self) -> Iterator[Floats]:
        """Give the audio of items that are the channels of one clip, float32 [B, n] pieces."""
        for piece in self.pieces():
            yield piece[:, 0]

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


def rates_taken(components: Components) -> list[int]:
    """Return the rates in Hz that audio may come at: the codec's, and those of variants."""
    ids = [record.id for record in components.artifacts.manifest.components]
    variants = [name.partition(f"{_NAME}.from_")[2] for name in ids]
    own = components.codec.sample_rate
    return sorted({own, *(int(rate) for rate in variants if rate.isdecimal())})


def as_clip(audio: ArrayLike) -> Floats:
    """Return the audio of one clip as float32 [channels, samples].

    Args:
        audio: floats of any width in [-1, 1]: [samples] of mono, or [channels, samples].

    Raises:
        InputError: it is none: whole numbers, of which nobody says what is full scale;
            more channels than samples, which is soundfile's order; empty; or not finite.
    """
    return _floats(np.atleast_2d(audio), axes=("channels", "samples"))


def prepare(components: Components, audio: ArrayLike, sample_rate: int) -> Prepared:
    """Prepare audio that is in memory, at a rate in Hz.

    Args:
        audio: one clip (see `as_clip`), or floats [B, channels, samples] in [-1, 1].

    Raises:
        InputError: as `as_clip`, less than a sample is left at the codec's rate, or there is
            no audio processor for its rate.
    """
    audio = as_clip(audio)[None] if np.ndim(audio) < 3 else _floats(audio, axes=_BATCH)
    codec = components.codec
    if audio.shape[-1] * codec.sample_rate < sample_rate:
        raise InputError(
            f"{audio.shape[-1]} samples at {sample_rate} Hz are less than one sample at"
            f" {codec.sample_rate} Hz"
        )
    session = components.session(processor_for(codec, sample_rate))
    made = session.run({"audio": audio}, only=("prepared", "loudness"))
    return Prepared(lambda: [made["prepared"]], made["loudness"])


def prepare_stream(
    components: Components, read: Callable[[], Iterable[Floats]], sample_rate: int
) -> Prepared:
    """Prepare audio of any length at a rate in Hz, a window at a time.

    Args:
        components: with the audio processors for the rate and for the codec's own.
        read: gives the audio as often as it is called, here twice: float32
            [B, channels, n] pieces.

    Raises:
        InputError: there is no audio processor for the rate.
    """
    codec = components.codec
    session = components.session(_NAME)
    stride = components.number(_NAME, "loudness_stride")

    def mono() -> Iterator[Floats]:
        return _mono(components, read(), sample_rate)

    powers, peaks = [], []
    size = round(_WINDOW_S * codec.sample_rate / stride) * stride
    for window in windows(mono(), size=size, context=FADED * stride):
        power = session.run({"audio": window.data}, only=("block_power",))["block_power"]
        powers.append(power[:, window.start // stride : -(-window.stop // stride)])
        peaks.append(np.abs(window.data[..., window.start : window.stop]).max(axis=-1))
    loudness = gated_level(np.concatenate(powers, axis=-1))
    gain = np.exp((np.float32(_TARGET) - loudness) * np.float32(math.log(10) / 20))[:, None]
    peak = np.max(peaks, axis=0) * gain
    limit = np.where(peak > 1, 1 / np.maximum(peak, 1), 1).astype(np.float32)

    def pieces() -> Iterator[Floats]:
        length = 0
        for piece in mono():
            length += piece.shape[-1]
            yield piece * gain[..., None] * limit[..., None]
        missing = -length % codec.hop_length
        if missing:
            yield np.zeros((len(gain), 1, missing), np.float32)

    return Prepared(pieces, loudness)


def _mono(
    components: Components, stream: Iterable[Floats], sample_rate: int
) -> Iterator[Floats]:
    """Mix down and resample: float32 [B, channels, n] pieces to float32 [B, 1, n] pieces."""
    name = processor_for(components.codec, sample_rate)
    session = components.session(name)
    old, new, width = 1, 1, 0
    if name != _NAME:
        ((old, new, width),) = components.triples(name, "resampling")
    size = math.ceil(_WINDOW_S * sample_rate / old) * old
    context = (math.ceil(width / old) + 1) * old
    for window in windows(stream, size=size, context=context):
        found = session.run({"audio": window.data}, only=("mono",))["mono"]
        # The last window's end need be no multiple of the reduced rate.
        yield found[..., window.start // old * new : window.stop * new // old]


def _floats(given: ArrayLike, *, axes: Sequence[str]) -> Floats:
    """Return audio of these axes as float32."""
    audio = np.asarray(given)
    shape = list(audio.shape)
    if audio.ndim != len(axes):
        raise InputError(f"audio must be [{', '.join(axes)}], not {shape}")
    if not np.issubdtype(audio.dtype, np.floating):
        raise InputError(
            f"audio must be floats in [-1, 1], not {audio.dtype}; soundfile.read(file,"
            " dtype='float32') gives them, and 16-bit samples are divided by 32768"
        )
    if not audio.size:
        raise InputError(f"the audio is empty: {shape}")
    if shape[-2] > shape[-1]:
        raise InputError(
            f"audio must be [{', '.join(axes)}], and {shape} has more channels than samples:"
            " soundfile's order is the other one, hand over the transpose (audio.T)"
        )
    with np.errstate(over="ignore"):  # beyond float32 is infinite
        audio = np.ascontiguousarray(audio, np.float32)
    if not np.isfinite(audio).all():
        raise InputError("the audio holds NaN or infinite samples; repair the file first")
    return audio
