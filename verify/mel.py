"""Distance of two sounds as heard: mean difference of their mel spectra in decibels."""

from __future__ import annotations

import numpy as np

_BANDS = 64
_WINDOW_S = 0.046
_FLOOR = 1e-10  # power, 100 dB below full scale: what is silent on both sides is equal


def mel_distance(reference: np.ndarray, other: np.ndarray, sample_rate: int) -> float:
    """Return the mean absolute difference of two log mel spectrograms in dB.

    Args:
        reference: float [..., samples].
        other: of the same shape.
        sample_rate: Hz.

    Returns:
        mean |10 log10 (m_r + floor) - 10 log10 (m_o + floor)| over frames and bands; NaN for
        values that are not finite.

    Source of the scale: O'Shaughnessy, "Speech Communication" (1987): 2595 log10(1 + f / 700).
    """
    if reference.shape != other.shape:
        raise ValueError(f"shapes differ: {reference.shape} and {other.shape}")
    if not (np.isfinite(reference).all() and np.isfinite(other).all()):
        return float("nan")
    spectra = [mel_spectrogram(audio, sample_rate) for audio in (reference, other)]
    return float(np.abs(spectra[0] - spectra[1]).mean())


def mel_spectrogram(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return a log mel spectrogram.

    Args:
        audio: float [..., samples]; zeros are added to fill the last window.
        sample_rate: Hz.

    Returns:
        float64 [..., frames, bands], dB of power over full scale; windows of 46 ms, a
        quarter of that apart.
    """
    size = 1 << int(np.ceil(np.log2(_WINDOW_S * sample_rate)))
    hop = size // 4
    samples = audio.shape[-1]
    missing = size - samples if samples < size else -(samples - size) % hop
    padded = np.pad(audio.astype(np.float64), [(0, 0)] * (audio.ndim - 1) + [(0, missing)])
    framed = np.lib.stride_tricks.sliding_window_view(padded, size, axis=-1)[..., ::hop, :]
    window = np.hanning(size + 1)[:size]
    power = np.abs(np.fft.rfft(framed * window, axis=-1) / window.sum()) ** 2
    decibels: np.ndarray = 10 * np.log10(power @ _filters(size, sample_rate) + _FLOOR)
    return decibels


def _filters(size: int, sample_rate: int) -> np.ndarray:
    """Return triangular filters on the mel scale, float64 [size // 2 + 1, bands]."""
    top = 2595 * np.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, _BANDS + 2) / 2595) - 1)
    frequencies = np.arange(size // 2 + 1)[:, None] * sample_rate / size
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (
        (frequencies - low) / (middle - low),
        (high - frequencies) / (high - middle),
    )
    filters: np.ndarray = np.minimum(rising, falling).clip(min=0)
    return filters
