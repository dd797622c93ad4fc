"""Styles of the music source, as data."""

from __future__ import annotations

from dataclasses import dataclass

FRAME_S = 0.024  # of the demo codec


def _tempered(*semitones: int) -> tuple[float, ...]:
    return tuple(2.0 ** (n / 12) for n in semitones)


MAJOR = _tempered(0, 2, 4, 5, 7, 9, 11)
MINOR = _tempered(0, 2, 3, 5, 7, 8, 10)
JUST = (1.0, 9 / 8, 5 / 4, 3 / 2, 15 / 8)


@dataclass(frozen=True)
class Style:
    """What pieces of a style choose from.

    Attributes:
        number: part of every seed, so that styles share no piece.
        ticks_s: seconds of a tick, the shortest note.  All are multiples of a frame
            of the demo codec, so that a repeated note is a repeated code.
        bar: ticks in a bar.
        beat: ticks of a beat.
        scales: frequency of each degree above the root, as a ratio.
        roots: Hz, in the bass register.
        progressions: degrees (from 0) of the chords, one a bar.
        chords: timbres of the accompaniment; empty for none, as below.
        chord_rhythms: ticks at which the chord of a bar is struck.
        bass: timbres of the bass.
        bass_lines: tick, length and scale steps above the chord's root.
        melody: timbres of the melody.
        melody_rhythms: lengths in ticks that fill a bar; a negative one is a rest.
        drums: tick lists of kick, snare and hat for a bar.
        kits: how many drum kits there are.
    """

    number: int
    ticks_s: tuple[float, ...]
    bar: int
    beat: int
    scales: tuple[tuple[float, ...], ...]
    roots: tuple[float, ...]
    progressions: tuple[tuple[int, ...], ...]
    chords: tuple[str, ...]
    chord_rhythms: tuple[tuple[int, ...], ...]
    bass: tuple[str, ...]
    bass_lines: tuple[tuple[tuple[int, int, int], ...], ...]
    melody: tuple[str, ...]
    melody_rhythms: tuple[tuple[int, ...], ...]
    drums: tuple[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]], ...]
    kits: int


_EIGHTHS = tuple(range(0, 16, 2))
_QUARTERS = (0, 4, 8, 12)

BAND = Style(
    number=1,
    ticks_s=(0.120, 0.144, 0.168, 0.192),
    bar=16,
    beat=4,
    scales=(MAJOR, MINOR),
    roots=tuple(440.0 * 2.0 ** (step / 24 - 3) for step in range(6, 25)),  # any tuning
    progressions=((0, 4, 5, 3), (0, 5, 3, 4), (0, 3, 4, 3), (5, 3, 0, 4), (0, 3, 0, 4)),
    chords=("organ", "strings", "piano", "reed"),
    chord_rhythms=((0,), (0, 8), (0, 6, 8, 14), (4, 12), _QUARTERS),
    bass=("round bass", "bright bass"),
    bass_lines=(
        ((0, 8, 0), (8, 8, 0)),
        ((0, 4, 0), (4, 4, 0), (8, 4, 0), (12, 4, 4)),
        ((0, 6, 0), (6, 2, 0), (8, 4, 4), (12, 4, 0)),
        tuple((tick, 2, 0 if tick % 4 == 0 else 7) for tick in _EIGHTHS),
        ((0, 3, 0), (3, 3, 0), (6, 2, 4), (8, 8, 0)),
    ),
    melody=("flute", "pluck", "piano", "reed"),
    melody_rhythms=(
        (4, 4, 4, 4),
        (3, 3, 2, 4, 4),
        (2, 2, 4, 2, 2, 4),
        (6, 2, 4, -4),
        (8, 4, 4),
        (2, 2, 2, 2, 4, -4),
        (-4, 4, 2, 2, 4),
        (4, -2, 2, 4, -2, 2),
        (12, -4),
    ),
    drums=(
        ((0, 8), (4, 12), _EIGHTHS),
        ((0, 6, 8), (4, 12), _QUARTERS),
        (_QUARTERS, (4, 12), (2, 6, 10, 14)),
        ((0, 10), (8,), _EIGHTHS),
        ((0, 3, 8, 11), (4, 12), tuple(range(16))),
    ),
    kits=3,
)

# Two cycles a frame.  In the just scale every tone above it repeats within four frames at
# most, and most within one: a sustained tone is a repeated code.
_TUNED = 2 / FRAME_S

ENSEMBLE = Style(
    number=3,
    ticks_s=(0.120, 0.168),
    bar=16,
    beat=4,
    scales=(JUST,),
    roots=(_TUNED,),
    progressions=((0, 3, 0, 3), (0, 0, 3, 3), (0, 2, 3, 0)),
    chords=("organ", "strings"),
    chord_rhythms=((0,), (0, 8), (4, 12)),
    bass=("round bass",),
    bass_lines=(
        ((0, 8, 0), (8, 8, 0)),
        ((0, 4, 0), (4, 4, 0), (8, 4, 0), (12, 4, 0)),
        ((0, 6, 0), (6, 2, 0), (8, 8, 0)),
    ),
    melody=("flute", "reed", "pluck"),
    melody_rhythms=(
        (4, 4, 4, 4),
        (8, 4, 4),
        (2, 2, 4, 2, 2, 4),
        (6, 2, 4, -4),
        (12, -4),
        (-4, 4, 4, 4),
    ),
    drums=(
        ((0, 8), (4, 12), _EIGHTHS),
        ((0, 6, 8), (4, 12), _QUARTERS),
        (_QUARTERS, (4, 12), (2, 6, 10, 14)),
    ),
    kits=2,
)

MUSIC_BOX = Style(
    number=2,
    ticks_s=(0.168, 0.216),
    bar=12,
    beat=3,
    scales=(JUST,),
    roots=(2 * _TUNED,),
    progressions=((0, 2, 3, 4), (0, 3, 0, 3), (3, 3, 0, 0)),
    chords=("bell",),
    chord_rhythms=((0,), (0, 6)),
    bass=("bell",),
    bass_lines=(((0, 12, 0),), ((0, 6, 0), (6, 6, 3))),
    melody=("music box",),
    melody_rhythms=((2, 2, 2, 2, 2, 2), (3, 3, 3, 3), (2, 1, 3, 2, 1, 3), (4, 2, 4, 2)),
    drums=(),
    kits=0,
)

STYLES: dict[str, Style] = {"band": BAND, "ensemble": ENSEMBLE, "music-box": MUSIC_BOX}
