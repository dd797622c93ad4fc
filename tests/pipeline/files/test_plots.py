"""Pictures of a variation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from vampnet_onnx.pipeline.files.plots import (
    _levels,
    plot_codes,
    plot_spectrograms,
    plot_steps,
)
from vampnet_onnx.pipeline.steps.settled import Settled
from vampnet_onnx.pipeline.version.components import Codec

CODEC = Codec(8000, 64, 5, 16)


def sine(hertz: float, rate: int, samples: int) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(samples) / rate).astype(np.float32)


def test_a_level_stands_at_its_frequency_and_time() -> None:
    audio = np.concatenate([sine(500, 8000, 8000), sine(2000, 8000, 8000)])
    starts, levels = _levels(audio, 512)
    loudest = levels.argmax(0) * 8000 / 512
    assert (loudest[starts < 7000] == 500).all() and (loudest[starts > 8600] == 2000).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("samples", [1, 37, 5000, 150_000])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_audio_of_any_length_and_rate_is_drawn(
    tmp_path: Path, samples: int, rate: int
) -> None:
    quiet = np.zeros(samples, np.float32)
    tone = sine(440, rate, samples) + 0.1
    anew = np.ones((3, -(-samples // 64)), bool)
    for before, anew[0] in ((quiet, True), (tone, False)):
        plot_spectrograms(
            tmp_path / "a.png",
            codec=Codec(rate, 64, 3, 16),
            before=before,
            after=tone,
            anew=anew,
            title="x",
        )
        assert imread(tmp_path / "a.png").std() > 0.05


def panel(path: Path, top: float, bottom: float) -> np.ndarray:
    """Return the middle columns of a picture between two heights, [rows, columns, 3]."""
    image = imread(path)[..., :3]
    high, wide = image.shape[:2]
    return image[int(top * high) : int(bottom * high), wide // 4 : wide // 2]


def test_what_was_kept_is_not_veiled(tmp_path: Path) -> None:
    anew = np.ones((4, 100), bool)
    tone = sine(440, 8000, 6400)
    lightness = []
    for kept in (0, 1):  # no codebook, or one of them all along, which is the usual
        anew[:kept] = False
        plot_spectrograms(
            tmp_path / "a.png",
            codec=Codec(8000, 64, 4, 16),
            before=tone,
            after=tone,
            anew=anew,
            title="x",
        )
        lightness.append(panel(tmp_path / "a.png", 0.15, 0.4).mean())
    assert lightness[0] > lightness[1] + 0.4


def test_codes_have_the_colour_of_their_book_and_kept_ones_are_told(tmp_path: Path) -> None:
    codes = np.random.default_rng(0).integers(0, 16, (5, 40))
    anew = np.ones(codes.shape, bool)

    def shades() -> list[float]:
        """Return the greys of the middle panel."""
        plot_codes(
            tmp_path / "a.png",
            codec=CODEC,
            codes=codes,
            mask=np.ones_like(codes),
            anew=anew,
            tokens=codes,
            title="x",
        )
        found = panel(tmp_path / "a.png", 0.38, 0.5).round(1).reshape(-1, 3)
        values, counts = np.unique(found[:, 0], return_counts=True)
        return values[counts > len(found) / 20].tolist()

    assert shades() == pytest.approx([0.1])
    anew[:, ::2] = False  # as a chunk's edges are
    assert shades() == pytest.approx([0.1, 0.7])
    upper = panel(tmp_path / "a.png", 0.08, 0.25).reshape(-1, 3)
    hues = {tuple(np.argsort(colour)) for colour in upper if np.ptp(colour) > 0.2}
    assert len(hues) >= 4


@pytest.mark.filterwarnings("error")
def test_steps_are_drawn_also_where_nothing_was_settled(tmp_path: Path) -> None:
    step = np.arange(40).reshape(4, 10) % 4 - 1
    some = Settled(3, step, np.where(step < 0, np.nan, -1).astype(np.float32))
    none = Settled(2, np.full((1, 10), -1), np.full((1, 10), np.nan, np.float32))
    for parts in ({"coarse": some, "c2f": none}, {"coarse": none}):
        plot_steps(
            tmp_path / "a.png",
            codec=CODEC,
            parts=parts,
            frames=10,
            title="many words " * 30,
        )
        assert imread(tmp_path / "a.png").std() > 0.05
