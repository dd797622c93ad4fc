"""Distance of two sounds as heard: mean difference of their mel spectra in decibels."""

import numpy as np

from vampnet_onnx.pipeline.files.mel_scale import mel_triangles

_BANDS = 64
_WINDOW_S = 0.046
_FLOOR = 1e-10  # power, 100 dB below full scale: what is silent on both sides is equal


def mel_distance(reference: np.ndarray, other: np.ndarray, sample_rate: int) -> float:
    """Return the mean absolute difference of two log mel spectrograms in dB.

    Args:
        reference: float [..., samples].

    Returns:
        mean |10 log10 (m_r + floor) - 10 log10 (m_o + floor)| over frames and bands; NaN for
        values that are not finite.
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
    filters = mel_triangles(size // 2 + 1, _BANDS, sample_rate)
    decibels: np.ndarray = 10 * np.log10(power @ filters.T + _FLOOR)
    return decibels
