"""Pictures of a variation: its codes and mask, and spectrograms before and after."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from configs.files import replacing

from .components import Codec
from .noise import Floats, Integers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WINDOW = 1024  # samples a spectrum is taken of
_COLUMNS = 1600  # spectra a picture, about its pixels
_RANGE_DB = 90.0
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

    Args:
        path: of the ``.png``.
        codec: for the axes.
        codes: int64 [C, T].
        mask: int64 [C, T].
        start: int64 [C, T'], with the mask token, which is left white.
        tokens: int64 [C, T'].
    """
    rows = (
        ("codes of the input", codes), ("mask (black: generated anew)", mask),
        ("what generation started from (white: masked)", start),
        ("codes of the result", tokens),
    )  # fmt: skip
    figure, axes = _figure(len(rows))
    for axis, (title, values) in zip(axes, rows, strict=True):
        if values is mask:
            shown: Any = {"cmap": "Greys", "vmin": 0, "vmax": 1}
        else:
            shown = {"cmap": "viridis", "vmin": 0, "vmax": codec.codebook_size - 1}
        image = np.ma.masked_equal(values, codec.codebook_size)
        seconds = values.shape[1] * codec.hop_length / codec.sample_rate
        axis.imshow(image, aspect="auto", interpolation="nearest", origin="lower",
                    extent=(0, seconds, -0.5, len(values) - 0.5), **shown)  # fmt: skip
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_ylabel("codebook")
        axis.locator_params(axis="y", integer=True)
    axes[-1].set_xlabel("seconds")
    _save(figure, path)


def plot_spectrograms(path: Path, *, sample_rate: int, before: Floats, after: Floats) -> None:
    """Draw the spectrograms of two pieces of audio, float32 [samples] each, on one scale."""
    figure, axes = _figure(2)
    levels = [_levels(audio) for audio in (before, after)]
    top = max(float(level.max()) for level in levels)
    for axis, audio, level, title in zip(
        axes, (before, after), levels, ("before (prepared)", "after"), strict=True
    ):
        shown = axis.imshow(
            level, aspect="auto", origin="lower", cmap="magma", vmin=top - _RANGE_DB, vmax=top,
            extent=(0, len(audio) / sample_rate, 0, sample_rate / 2000),
        )  # fmt: skip
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_ylabel("kHz")
        figure.colorbar(shown, ax=axis, pad=0.01, label="dB")
    axes[-1].set_xlabel("seconds")
    _save(figure, path)


def _levels(audio: Floats) -> Floats:
    """Return levels in dB, float32 [bins, up to `_COLUMNS`], of audio of any length."""
    padded = np.pad(audio, (0, max(0, _WINDOW - len(audio))))
    last = len(padded) - _WINDOW
    starts = np.linspace(0, last, min(_COLUMNS, last // (_WINDOW // 4) + 1)).astype(int)
    frames = np.stack([padded[start : start + _WINDOW] for start in starts])
    power = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW), axis=1)) ** 2
    return (10 * np.log10(power.T + 1e-12)).astype(np.float32)


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
