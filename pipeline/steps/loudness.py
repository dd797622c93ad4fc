"""Loudness and peak of audio of any length and rate, a window at a time.

Integrated loudness by ITU-R BS.1770-4, as the published packages measure it and
``models.behaviour.audio.loudness`` does.  The K-weighting is two biquads (R. Bristow-Johnson,
"Audio EQ Cookbook"), applied here as what they do to a spectrum.  A spectrum goes round: what
rings on behind a window's end comes in at its start, where a second lies that does not count.
The longest memory is that of the high pass at 38 Hz, which fades by exp(-2 pi 38) in it,
1e-104.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from vampnet_onnx.configs.errors import InputError

from .noise import Floats
from .streaming import windows

FLOOR = -70.0  # LUFS; also the absolute gate
FADED = 10  # gating strides in front of a window, one second

_OFFSET = -0.691  # dB
_RELATIVE_GATE = -10.0  # LU
_SHORTEST_S = 0.5  # what is shorter is filled up with silence
_WINDOW = 100  # gating strides, ten seconds


@dataclass(frozen=True)
class Measured:
    """What was measured of channels, float32 [channels] each.

    Attributes:
        loudness: of each by itself, LUFS, at least -70.
        peak: largest absolute sample.
    """

    loudness: Floats
    peak: Floats


def measure(stream: Iterable[Floats], sample_rate: int) -> Measured:
    """Measure channels, float32 [channels, n] pieces at a rate in Hz.

    Raises:
        InputError: the stream is empty.
    """
    stride = sample_rate // 10
    powers, peaks = [], []
    for window in windows(stream, size=_WINDOW * stride, context=FADED * stride):
        power = _block_powers(window.data, FADED * stride - window.start, sample_rate)
        powers.append(power[:, window.start // stride : -(-window.stop // stride)])
        peaks.append(np.abs(window.data[:, window.start : window.stop]).max(axis=-1))
    if not powers:
        raise InputError("there is no audio to measure")
    return Measured(gated_level(np.concatenate(powers, axis=-1)), np.max(peaks, axis=0))


def gated_level(power: NDArray[np.float64]) -> Floats:
    """Return integrated loudness, float32 [B], of gating blocks' powers, float64 [B, n]."""
    level = _level(power)
    audible = level > FLOOR
    threshold = _level(_mean_where(power, audible)) + _RELATIVE_GATE
    counted = audible & (level > threshold)
    measured = _level(_mean_where(power, counted))[:, 0]
    return np.maximum(measured, FLOOR).astype(np.float32)


def _level(power: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        return np.asarray(_OFFSET + 10 * np.log10(power))


def _mean_where(power: NDArray[np.float64], counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    total = np.where(counted, power, 0).sum(axis=-1, keepdims=True)
    return np.asarray(total / np.maximum(counted.sum(axis=-1, keepdims=True), 1))


def _block_powers(audio: Floats, lead: int, sample_rate: int) -> NDArray[np.float64]:
    """Return the powers of all gating blocks, float64 [channels, blocks].

    A block is 0.4 s, the next begins 0.1 s later, and a last partial one counts.

    Args:
        audio: float32 [channels, n].
        lead: samples of silence that are put in front for the filter.
    """
    length, stride, samples = 2 * sample_rate // 5, sample_rate // 10, audio.shape[-1]
    samples += max(0, int((_SHORTEST_S - samples / sample_rate) * sample_rate))
    padded = np.zeros((len(audio), lead + samples))
    padded[:, lead : lead + audio.shape[-1]] = audio
    weighted = _k_weighted(padded, sample_rate)[:, lead:]
    count = -(-max(samples - length, 0) // stride) + 1
    whole = np.pad(weighted, ((0, 0), (0, (count - 1) * stride + length - samples)))
    blocks = sliding_window_view(np.square(whole), length, axis=-1)[:, ::stride]
    return np.asarray(blocks.sum(axis=-1) / (0.4 * sample_rate))


def _k_weighted(audio: NDArray[np.float64], sample_rate: int) -> NDArray[np.float64]:
    """Weight audio, float64 [channels, n], as if it went round."""
    samples = audio.shape[-1]
    delay = np.exp(-2j * np.pi * np.fft.rfftfreq(samples))
    spectrum = np.fft.rfft(audio)
    for b, a in _weighting(sample_rate):
        spectrum *= np.polyval(b[::-1], delay) / np.polyval(a[::-1], delay)
    return np.fft.irfft(spectrum, samples)


def _weighting(sample_rate: int) -> list[NDArray[np.float64]]:
    """Return the high shelf and the high pass: b and a of each, float64 [2, 3].

    They are rounded to float32, as the published package holds them.
    """
    c, alpha = _angle(sample_rate, 1500.0, quality=1 / math.sqrt(2))
    gain = 10 ** (4.0 / 40)
    more, less, root = gain + 1, gain - 1, 2 * math.sqrt(gain) * alpha
    shelf = (
        [more + less * c + root, -2 * (less + more * c), more + less * c - root],
        [more - less * c + root, 2 * (less - more * c), more - less * c - root],
    )
    c, alpha = _angle(sample_rate, 38.0, quality=0.5)
    high_pass = ([(1 + c) / 2, -(1 + c), (1 + c) / 2], [1 + alpha, -2 * c, 1 - alpha])
    filters = [np.array(shelf) * [[gain], [1]], np.array(high_pass)]
    return [(f / f[1, 0]).astype(np.float32).astype(np.float64) for f in filters]


def _angle(sample_rate: int, frequency: float, *, quality: float) -> tuple[float, float]:
    """Return cos(w0) and the cookbook's alpha."""
    angle = 2 * math.pi * frequency / sample_rate
    return math.cos(angle), math.sin(angle) / (2 * quality)
