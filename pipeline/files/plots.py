"""Pictures of a variation: its codes and mask, and spectrograms before and after."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vampnet_onnx.configs.files import replacing
from vampnet_onnx.pipeline.steps.noise import Floats, Integers
from vampnet_onnx.pipeline.version.components import Codec

from .mel_scale import to_hertz, to_mel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WINDOW_S = 0.05  # a spectrum is taken of about so much
_COLUMNS = 1600  # spectra a picture, about its pixels
_RANGE_DB = 70.0
_TICKS_HZ = (100, 250, 500, 1000, 2000, 4000, 8000, 16000)
_WIDTH = 12.0  # inches


def plot_codes(
    path: Path,
    *,
    codec: Codec,
    codes: Integers,
    mask: Integers,
    start: Integers,
    tokens: Integers,
) -> None:
    """Draw the codes of a clip, the mask, what generation started from, and the result.

    Codes and mask are int64 [C, T], start and tokens [C, T']; the mask token is left white.
    """
    rows = (
        ("codes of the input", codes),
        ("mask (black: generated anew)", mask),
        ("what generation started from (white: masked)", start),
        ("codes of the result", tokens),
    )
    figure, axes = _figure(len(rows))
    for axis, (title, values) in zip(axes, rows, strict=True):
        if values is mask:
            shown: Any = {"cmap": "Greys", "vmin": 0, "vmax": 1}
        else:
            shown = {"cmap": "viridis", "vmin": 0, "vmax": codec.codebook_size - 1}
        image = np.ma.masked_equal(values, codec.codebook_size)
        seconds = codec.seconds_of(values.shape[1])
        axis.imshow(
            image,
            aspect="auto",
            interpolation="nearest",
            origin="lower",
            extent=(0, seconds, -0.5, len(values) - 0.5),
            **shown,
        )
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_ylabel("codebook")
        axis.locator_params(axis="y", integer=True)
    axes[-1].set_xlabel("seconds")
    _save(figure, path)


def plot_spectrograms(path: Path, *, sample_rate: int, before: Floats, after: Floats) -> None:
    """Draw the spectrograms of two pieces of audio, float32 [samples] each, on one scale."""
    figure, axes = _figure(2)
    window = 2 ** round(math.log2(_WINDOW_S * sample_rate))
    drawn = [_levels(audio, window) for audio in (before, after)]
    top = max(float(level.max()) for _, level in drawn)
    hertz = np.arange(window // 2 + 1) * sample_rate / window
    ticks = [tick for tick in _TICKS_HZ if tick <= sample_rate / 2]
    for axis, (starts, level), title in zip(
        axes, drawn, ("before (prepared)", "after"), strict=True
    ):
        shown = axis.pcolormesh(
            (starts + window / 2) / sample_rate,
            hertz,
            level,
            shading="nearest",
            cmap="magma",
            vmin=top - _RANGE_DB,
            vmax=top,
            rasterized=True,
        )
        axis.set_yscale("function", functions=(to_mel, to_hertz))
        axis.set_yticks(ticks, [f"{tick / 1000:g}" for tick in ticks])
        axis.minorticks_off()
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_ylabel("kHz, mel scale")
        figure.colorbar(shown, ax=axis, pad=0.01, label="dB")
    axes[-1].set_xlabel("seconds")
    _save(figure, path)


def _levels(audio: Floats, window: int) -> tuple[Integers, Floats]:
    """Return where spectra start, int64 [T], and their levels in dB, float32 [bins, T]."""
    padded = np.pad(audio, (0, max(0, window - len(audio))))
    last = len(padded) - window
    starts = np.linspace(0, last, max(2, min(_COLUMNS, last // (window // 8) + 1))).astype(int)
    frames = np.stack([padded[start : start + window] for start in starts])
    power = np.abs(np.fft.rfft(frames * np.hanning(window), axis=1)) ** 2
    return starts, (10 * np.log10(power.T + 1e-12)).astype(np.float32)


def _figure(rows: int) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, 2.4 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 1, squeeze=False)
    return figure, list(axes[:, 0])


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
