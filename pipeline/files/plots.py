"""Pictures of a variation: its codes, what each step settled, and its spectrograms."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vampnet_onnx.configs.files import replacing
from vampnet_onnx.pipeline.steps.noise import Floats, Integers
from vampnet_onnx.pipeline.steps.settled import Settled
from vampnet_onnx.pipeline.version.components import Codec

from .mel_scale import to_hertz, to_mel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WINDOW_S = 0.05  # a spectrum is taken of about so much
_COLUMNS = 1600  # spectra a picture, about its pixels
_RANGE_DB = 70.0
_TICKS_HZ = (100, 250, 500, 1000, 2000, 4000, 8000, 16000)
# Letters that are still read where the picture is shown 400 pixels wide.
_WIDTH, _DPI, _LETTERS = 7.0, 200, 11  # inches, pixels an inch, points
_TITLE = 78  # letters a line
_VEIL = 0.75  # how much of white lies over what is all made anew
_LIGHTEST = 0.25  # of a codebook's colour in its first code
_SQUARE: dict[str, Any] = {"aspect": "auto", "interpolation": "nearest", "origin": "lower"}

Flags = NDArray[np.bool_]


def plot_codes(
    path: Path,
    *,
    codec: Codec,
    codes: Integers,
    mask: Integers,
    anew: Flags,
    tokens: Integers,
    title: str,
) -> None:
    """Draw the codes of a clip, what of them was made anew, and the codes of the result.

    Each codebook has a colour, and its last code the full one.

    Args:
        codes: int64 [C, T], as the mask.
        anew: what was made anew, bool [C, T'].
        tokens: of the result, int64 [C, T'].
    """
    figure, axes = _figure(3, title)
    colours = _colours(len(codes))
    for axis, name, values in (
        (axes[0], "codes of the input", codes),
        (axes[2], "codes of the result", tokens),
    ):
        share = _LIGHTEST + (1 - _LIGHTEST) * values / (codec.codebook_size - 1)
        _draw_books(axis, 1 - share[..., None] * (1 - colours[:, None]), codec, name)
    asked = mask.repeat(anew.shape[1] // mask.shape[1], axis=1) == 1
    shade = np.where(anew, 0.1, np.where(asked, 0.7, 1.0))[..., None].repeat(3, axis=2)
    kept = "; grey: masked, and kept all the same" if (asked & ~anew).any() else ""
    _draw_books(axes[1], shade, codec, f"black: made anew{kept}")
    _name_books(figure, colours)
    axes[-1].set_xlabel("seconds")
    _save(figure, path)


def plot_steps(
    path: Path, *, codec: Codec, parts: Mapping[str, Settled], frames: int, title: str
) -> None:
    """Draw when each code was settled, how many by when, and how probable they were.

    Args:
        parts: what each model settled, coarse first; the last codebooks are the last one's.
        frames: of the result.
    """
    figure, _ = _figure(0, title, rows_high=2.4)
    axes = figure.subplot_mosaic([["when", "when"], ["many", "sure"]])
    share = np.full((codec.n_codebooks, frames), np.nan)
    for name, part in parts.items():
        books = len(part.step)
        first = 0 if name == "coarse" else codec.n_codebooks - books
        when = np.where(part.step < 0, np.nan, (part.step + 1) / part.steps)
        share[first : first + books] = when
    shown = axes["when"].imshow(
        share,
        **_SQUARE,
        extent=_extent(share, codec),
        cmap="viridis_r",
        vmin=0,
        vmax=1,
    )
    _name_axis(axes["when"], "when each code was settled (white: kept)")
    axes["when"].set_xlabel("seconds")
    bar = figure.colorbar(shown, ax=axes["when"], pad=0.01, label="share of\nthe steps")
    bar.set_ticks([0, 0.5, 1])
    for name, part in parts.items():
        _plot_part(axes["many"], axes["sure"], part, name)
    for axis, name in (
        (axes["many"], "share settled so far"),
        (axes["sure"], "their probability (middle half)"),
    ):
        axis.set_title(name, loc="left", fontsize=_LETTERS)
        axis.set_xlabel("step")
        axis.set_ylim(0, 1.05)
        axis.grid(alpha=0.3)
        axis.locator_params(axis="x", integer=True, nbins=6)
    axes["many"].legend(loc="lower right")
    _save(figure, path)


def _plot_part(many: Axes, sure: Axes, part: Settled, name: str) -> None:
    """Draw lines over the steps; the probability's band holds the middle half."""
    numbers, counts = np.arange(part.steps) + 1, []
    quartiles = np.full((3, part.steps), np.nan)
    for step in range(part.steps):
        found = np.exp(part.log_probability[part.step == step])
        counts.append(len(found))
        if len(found):
            quartiles[:, step] = np.quantile(found, (0.25, 0.5, 0.75))
    many.plot(numbers, np.cumsum(counts) / max(1, sum(counts)), "o-", label=name)
    sure.plot(numbers, quartiles[1], "o-", label=name)
    sure.fill_between(numbers, quartiles[0], quartiles[2], alpha=0.2)


def plot_spectrograms(
    path: Path, *, codec: Codec, before: Floats, after: Floats, anew: Flags, title: str
) -> None:
    """Draw the spectrograms of two pieces of audio, float32 [samples] each, on one scale.

    Over the first lies what was made anew, bool [C, T]: a veil where nothing was kept.
    """
    figure, axes = _figure(2, title)
    sample_rate = codec.sample_rate
    window = 2 ** round(math.log2(_WINDOW_S * sample_rate))
    drawn = [_levels(audio, window) for audio in (before, after)]
    top = max(float(level.max()) for _, level in drawn)
    hertz = np.arange(window // 2 + 1) * sample_rate / window
    ticks = [tick for tick in _TICKS_HZ if tick <= sample_rate / 2]
    names = ("before (veiled: made anew)", "after")
    for axis, (starts, level), name in zip(axes, drawn, names, strict=True):
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
        axis.set_title(name, loc="left", fontsize=_LETTERS)
        axis.set_ylabel("kHz, mel scale")
        figure.colorbar(shown, ax=axis, pad=0.01, label="dB")
    _veil(axes[0], anew, codec)
    axes[-1].set_xlabel("seconds")
    _save(figure, path)


def _veil(axis: Axes, anew: Flags, codec: Codec) -> None:
    """Lay white over a spectrogram, the more the more of a time step was made anew."""
    kept = 1 - anew.mean(axis=0)
    usual = (
        float(np.median(kept[kept > 0])) if kept.any() else 1.0
    )  # not that of chunks' edges
    image = np.ones((1, len(kept), 4))
    image[0, :, 3] = _VEIL * (1 - np.minimum(kept / usual, 1))
    seen, (low, high) = axis.get_xlim(), axis.get_ylim()
    extent = (0, codec.seconds_of(len(kept)), low, high)
    axis.imshow(image, aspect="auto", extent=extent, zorder=2)
    axis.set_xlim(seen)
    axis.set_ylim(low, high)


def _colours(books: int) -> Floats:
    """Return a colour for each codebook, [books, 3]."""
    from matplotlib import colormaps

    found = [*colormaps["tab10"](range(10)), *colormaps["Dark2"](range(8))]
    return np.array([found[book % len(found)][:3] for book in range(books)], np.float32)


def _draw_books(axis: Axes, image: NDArray[np.floating], codec: Codec, name: str) -> None:
    """Draw a row a codebook, [C, T, 3] of colours."""
    axis.imshow(image, **_SQUARE, extent=_extent(image, codec))
    _name_axis(axis, name)


def _extent(image: NDArray[np.floating], codec: Codec) -> tuple[float, float, float, float]:
    books, frames = image.shape[:2]
    return 0, codec.seconds_of(frames), -0.5, books - 0.5


def _name_axis(axis: Axes, name: str) -> None:
    axis.set_title(name, loc="left", fontsize=_LETTERS)
    axis.set_ylabel("codebook")
    axis.locator_params(axis="y", integer=True, nbins=5)


def _name_books(figure: Figure, colours: Floats) -> None:
    from matplotlib.patches import Patch

    patches = [Patch(color=colour, label=str(book)) for book, colour in enumerate(colours)]
    figure.legend(
        handles=patches,
        title="codebook (darker: a higher code)",
        loc="outside lower center",
        ncols=min(len(patches), 7),
        handlelength=1,
        columnspacing=1,
    )


def _levels(audio: Floats, window: int) -> tuple[Integers, Floats]:
    """Return where spectra start, int64 [T], and their levels in dB, float32 [bins, T]."""
    padded = np.pad(audio, (0, max(0, window - len(audio))))
    last = len(padded) - window
    starts = np.linspace(0, last, max(2, min(_COLUMNS, last // (window // 8) + 1))).astype(int)
    frames = np.stack([padded[start : start + window] for start in starts])
    power = np.abs(np.fft.rfft(frames * np.hanning(window), axis=1)) ** 2
    return starts, (10 * np.log10(power.T + 1e-12)).astype(np.float32)


def _figure(
    rows: int, title: str, *, rows_high: float | None = None
) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    high = 1.9 * (rows_high or rows) + 0.8
    figure = Figure(figsize=(_WIDTH, high), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    figure.suptitle(textwrap.fill(title, _TITLE), fontsize=_LETTERS, x=0.01, ha="left")
    axes = list(figure.subplots(rows, 1, squeeze=False)[:, 0]) if rows else []
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)
