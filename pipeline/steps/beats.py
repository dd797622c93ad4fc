"""Beats heard: prepared audio to the times of beats and downbeats, by the beat tracker."""

import math
from collections.abc import Iterator

import numpy as np

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.settings import BeatSettings
from vampnet_onnx.pipeline.version.components import Components

from .masks import Beats
from .noise import Floats, Integers

BEAT_TRACKER = "beat_tracker"

_LEAST = 0.5  # of a peak, of the largest activation
_APART = (1 / 4, 1 / 2)  # seconds between beats, and between downbeats, at least

# As `models.behaviour.audio.resample`.
_ZEROS = 24  # zero crossings of the sinc on each side
_ROLLOFF = 0.945  # cut-off as a fraction of the lower Nyquist frequency
_AT_ONCE = 1 << 16  # steps of the rates' common divisor; keeps a copy of the input small


def track_beats(components: Components, audio: Floats, settings: BeatSettings) -> Beats:
    """Find beats and downbeats.

    The activations are the sigmoid of the logits, divided by the largest of each kind; beats
    are their peaks.  A frame lasts exactly as long as the samples that it was made of.

    Args:
        audio: prepared, float32 [samples]: mono, at the codec's rate.
        settings: what a mask keeps of the beats.

    Raises:
        InputError: the artifacts hold no beat tracker, the audio is too short for it, or it
            hears no beat.
    """
    record = components.record(BEAT_TRACKER)
    rate = record.dim("audio_sample_rate")
    heard = resample(audio, components.codec.sample_rate, rate)
    if not len(heard):
        raise InputError(f"{len(audio)} samples are too few for the beat tracker")
    logits = components.session(BEAT_TRACKER).run({"audio": heard[None, None]})["logits"][0]
    beats, downbeats = beat_times(logits, rate / (1 << len(record.dim_list("channels"))))
    if not beats and not downbeats:
        raise InputError("the beat tracker hears no beat; leave out --follow-beats")
    return Beats(beats, downbeats, settings)


def beat_times(logits: Floats, frame_rate: float) -> tuple[list[float], list[float]]:
    """Return when beats and downbeats are, in seconds, of logits (float32 [2, frames])."""
    beats, downbeats = (
        (peaks(activations(row), least=_LEAST, apart=frame_rate * seconds) / frame_rate)
        for row, seconds in zip(logits, _APART, strict=True)
    )
    return beats.tolist(), downbeats.tolist()


def activations(logits: Floats) -> Floats:
    """Return how likely a beat is, as a share of the likeliest one; float32 [frames]."""
    likely = 1 / (1 + np.exp(-logits))
    return np.asarray(likely / likely.max(), np.float32)


def peaks(values: Floats, *, least: float, apart: float) -> Integers:
    """Return where values [n] have a peak, int64: what ``scipy.signal.find_peaks`` finds.

    Args:
        least: of a peak.
        apart: places between two peaks, at least; rounded up.  Of two that are nearer the
            higher one stays.
    """
    steps = np.flatnonzero(np.diff(values))
    starts, ends = np.r_[0, steps + 1], np.r_[steps, len(values) - 1]
    level = values[starts]
    is_peak = (level[1:-1] > level[:-2]) & (level[1:-1] > level[2:])
    found = ((starts + ends) // 2)[1:-1][is_peak]
    found = found[values[found] >= least]
    stays = np.ones(len(found), bool)
    for one in np.argsort(values[found])[::-1]:
        if stays[one]:
            near = np.abs(found - found[one]) < math.ceil(apart)
            near[one] = False
            stays &= ~near
    return np.asarray(found[stays], np.int64)


def resample(audio: Floats, old_rate: int, new_rate: int) -> Floats:
    """Change the sample rate, in Hz, of audio (float32 [n]) as the codec's preparation does.

    Returns:
        float32 [floor(new_rate * n / old_rate)].
    """
    if old_rate == new_rate:
        return audio
    common = math.gcd(old_rate, new_rate)
    old, new = old_rate // common, new_rate // common
    cutoff = min(old, new) * _ROLLOFF
    width = math.ceil(_ZEROS * old / cutoff)
    position = np.arange(-width, width + old, dtype=np.float32) / np.float32(old)
    phase = np.arange(0, -new, -1, dtype=np.float32)[:, None] / np.float32(new)
    crossing = np.clip((phase + position) * np.float32(cutoff), -_ZEROS, _ZEROS)
    crossing = crossing * np.float32(math.pi)
    sinc = np.sinc(crossing / np.float32(math.pi))
    kernels = sinc * np.cos(crossing / (2 * _ZEROS)) ** 2  # Hann
    kernels = (kernels / kernels.sum(axis=1, keepdims=True)).astype(np.float32)
    padded = np.pad(audio, (width, width + old), mode="edge")

    def pieces() -> Iterator[Floats]:
        for first in range(0, len(audio) // old + 1, _AT_ONCE):
            last = min(first + _AT_ONCE, len(audio) // old + 1)
            own = padded[first * old : (last - 1) * old + 2 * width + old]
            windows = np.lib.stride_tricks.sliding_window_view(own, 2 * width + old)[::old]
            yield (windows @ kernels.T).reshape(-1)

    return np.concatenate(list(pieces()))[: new * len(audio) // old]
