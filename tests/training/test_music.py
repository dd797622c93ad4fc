"""The music source: pieces that are the same everywhere and different from each other."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from training.music import beats, piece
from training.styles import STYLES, Style

RATE = 16000


@pytest.mark.parametrize("style", STYLES.values(), ids=list(STYLES))
def test_a_seed_is_a_piece(style: Style) -> None:
    first = piece(style, 5, seconds=2.0, rate=RATE)
    assert np.array_equal(first, piece(style, 5, seconds=2.0, rate=RATE))
    assert first.dtype == np.float32 and first.shape == (2 * RATE,)
    assert np.isclose(np.abs(first).max(), 0.8)


@pytest.mark.parametrize("style", STYLES.values(), ids=list(STYLES))
def test_no_two_seeds_make_the_same_piece(style: Style) -> None:
    pieces = [piece(style, seed, seconds=8.0, rate=1000).tobytes() for seed in range(30)]
    assert len(set(pieces)) > 20  # without a melody there are not that many


def test_styles_share_no_piece() -> None:
    pieces = [piece(style, 0, seconds=1.0, rate=RATE) for style in STYLES.values()]
    assert len(pieces) > 1
    assert all(not np.allclose(a, b, atol=0.1) for a, b in combinations(pieces, 2))


def test_a_longer_piece_begins_like_the_shorter_one() -> None:
    """Up to its level, which depends on the loudest moment."""
    style = STYLES["music-box"]
    short, long = (piece(style, 3, seconds=s, rate=RATE) for s in (2.0, 4.0))
    assert np.corrcoef(short, long[: len(short)])[0, 1] > 0.999


@pytest.mark.parametrize("style", STYLES.values(), ids=list(STYLES))
def test_a_piece_has_its_beats_where_its_notes_begin(style: Style) -> None:
    known, bars = beats(style, 3, seconds=6.0)
    assert known[0] == bars[0] == 0 and set(bars) < set(known) and known[-1] < 6
    assert np.allclose(np.diff(known), np.diff(known)[0])
    (bar,) = {round(step, 6) for step in np.diff(bars)}
    assert bar in {round(style.bar * tick, 6) for tick in style.ticks_s}
    assert bar * style.beat == pytest.approx(style.bar * np.diff(known)[0])


def test_a_drum_on_every_beat_is_heard_at_every_beat() -> None:
    drums = {"drums": (((0, 4, 8, 12), (), ()),), "kits": 1}
    style = replace(STYLES["band"], chords=(), bass=(), melody=(), **drums)
    samples = np.abs(piece(style, 3, seconds=6.0, rate=RATE))
    known, _ = beats(style, 3, seconds=6.0)
    width = round(0.02 * RATE)
    for start in (round(time * RATE) for time in known[1:-1]):
        assert samples[start : start + width].max() > 20 * samples[start - width : start].max()
