"""Spectral distances between audio and its reconstruction."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from vampnet_onnx.pipeline.files.mel_scale import mel_triangles

_WAVEFORM = 6.0  # weight of the waveforms' distance
_LOG_MEL = 4.0  # and of the log-mel spectra's
_RESOLUTIONS = ((128, 16), (256, 32), (512, 48), (1024, 64))  # window and mel bands
_FLOOR = 3e-4  # -70 dB of full scale: what is below does not count


def magnitudes(audio: Tensor, window: int) -> Tensor:
    """Return the magnitudes of a short-time Fourier transform with a hop of a quarter window.

    A sine of amplitude a has magnitude a; everything is lifted smoothly to a floor of -70 dB,
    since procedural music has pauses and bands with nothing in them at all, of which a
    logarithm would make the greatest differences.

    Args:
        audio: float32 [B, 1, samples].
        window: samples, of a Hann window.

    Returns:
        float32 [B, window / 2 + 1, T].
    """
    spectrum = torch.stft(
        audio[:, 0],
        window,
        hop_length=window // 4,
        window=torch.hann_window(window, device=audio.device),
        return_complex=True,
    )
    power = (spectrum.real.square() + spectrum.imag.square()) * (4 / window) ** 2
    return (power + _FLOOR**2).sqrt()


def log_mel(spectrum: Tensor, bands: int, rate: int) -> Tensor:
    """Return log10 of mel bands.

    Args:
        spectrum: magnitudes, float32 [B, bins, T].
        bands: how many.
        rate: samples a second.

    Returns:
        float32 [B, bands, T].
    """
    filters = _mel_filters(spectrum.shape[1], bands, rate).to(spectrum.device)
    return (filters @ spectrum).log10()


@lru_cache(maxsize=16)
def _mel_filters(bins: int, bands: int, rate: int) -> Tensor:
    """Return mel filters whose weights sum to 1, float32 [bands, bins]."""
    triangles = torch.from_numpy(mel_triangles(bins, bands, rate))
    return (triangles / triangles.sum(1, keepdim=True).clamp(min=1e-9)).float()


def reconstruction_loss(made: Tensor, audio: Tensor, rate: int) -> Tensor:
    """Return what the codec's decoder is trained on, scalar.

    At each of four resolutions, the L1 distance of log-mel spectra (Kumar et al., "DAC",
    2023) and the spectral convergence of magnitudes (Yamamoto et al., "Parallel WaveGAN",
    2020); and, above all, the relative distance of waveforms: in a short training spectra
    alone lead to noise of the right colour.

    Args:
        made: reconstruction, float32 [B, 1, samples].
        audio: original, of the same shape.
        rate: samples a second.
    """
    error, size = ((x.square().mean(-1) + _FLOOR**2).sqrt() for x in (made - audio, audio))
    total = _WAVEFORM * (error / size).mean()
    for window, bands in _RESOLUTIONS:
        ours, theirs = magnitudes(made, window), magnitudes(audio, window)
        distance = F.l1_loss(log_mel(ours, bands, rate), log_mel(theirs, bands, rate))
        total = total + _LOG_MEL * distance + (ours - theirs).norm() / theirs.norm()
    return total
