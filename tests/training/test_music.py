"""The music source: pieces that are the same everywhere and different from each other."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from training.music import piece
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
