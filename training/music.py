"""The music source: a style and a seed to a piece of music.

A piece has a tempo, a key, a progression of chords, and up to four parts: chords, bass, melody
and drums.  Rhythms and bass line stay the same from bar to bar, the melody comes back
every other bar with a change.  The draws are NumPy's PCG64, so the notes of a seed are the
same on any machine, and the samples are up to the rounding of its sine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from .sounds import Samples, hit, tone
from .styles import Style

T = TypeVar("T")

_PART_PROBABILITY = {"chords": 0.85, "bass": 0.85, "melody": 0.85, "drums": 0.75}
_GAINS = {"chords": 0.10, "bass": 0.30, "melody": 0.22, "kick": 0.5, "snare": 0.3, "hat": 0.12}
_PEAK = 0.8


@dataclass(frozen=True)
class Event:
    """One sound of a piece.

    Attributes:
        tick: when it starts.
        samples: its samples.
        gain: its amplitude.
    """

    tick: int
    samples: Samples
    gain: float


@dataclass(frozen=True)
class _Plan:
    """What all parts of a piece share."""

    style: Style
    tick_s: float
    scale: tuple[float, ...]
    root: float
    progression: tuple[int, ...]
    bars: int
    rate: int

    def pitch(self, degree: int, octaves: int = 0) -> float:
        """Return the frequency of a degree, any integer, above the root."""
        octave, step = divmod(degree, len(self.scale))
        return self.root * self.scale[step] * 2.0 ** (octave + octaves)

    def degree(self, bar: int) -> int:
        """Return the degree on which the chord of a bar stands."""
        return self.progression[bar % len(self.progression)]

    def sound(self, timbre: str, frequency: float, ticks: int) -> Samples:
        """Return a note's samples."""
        return tone(timbre, frequency, ticks * self.tick_s, self.rate)


def beats(style: Style, seed: int, *, seconds: float) -> tuple[list[float], list[float]]:
    """Return when a piece has beats, and downbeats: seconds from its start."""
    tick_s = _one(_draws(style, seed), style.ticks_s)

    def every(ticks: int) -> list[float]:
        return [tick * tick_s for tick in range(0, math.ceil(seconds / tick_s), ticks)]

    return every(style.beat), every(style.bar)


def piece(style: Style, seed: int, *, seconds: float, rate: int) -> Samples:
    """Make a piece of music.

    Args:
        style: what it chooses from.
        seed: 0 or more; the same seed gives the same piece.
        seconds: how long.
        rate: samples a second.

    Returns:
        float32 [seconds * rate], its peak at 0.8.
    """
    draw = _draws(style, seed)
    tick_s = _one(draw, style.ticks_s)
    plan = _Plan(
        style=style,
        tick_s=tick_s,
        scale=_one(draw, style.scales),
        root=_one(draw, style.roots),
        progression=_one(draw, style.progressions),
        bars=math.ceil(seconds / (tick_s * style.bar)),
        rate=rate,
    )
    total = np.zeros(round(seconds * rate), dtype=np.float32)
    for event in _events(plan, draw):
        start = round(event.tick * tick_s * rate)
        part = event.samples[: max(len(total) - start, 0)]
        total[start : start + len(part)] += event.gain * part
    scaled: Samples = total * (_PEAK / np.abs(total).max())
    return scaled


def _events(plan: _Plan, draw: np.random.Generator) -> Iterator[Event]:
    makers = {"chords": _chords, "bass": _bass, "melody": _melody, "drums": _drums}
    possible = [name for name in makers if getattr(plan.style, name)]
    chosen = [name for name in possible if draw.random() < _PART_PROBABILITY[name]]
    for name in chosen or possible[:1]:
        yield from makers[name](plan, draw)


def _chords(plan: _Plan, draw: np.random.Generator) -> Iterator[Event]:
    timbre = _one(draw, plan.style.chords)
    ticks = _one(draw, plan.style.chord_rhythms)
    ends = (*ticks[1:], plan.style.bar)
    for bar in range(plan.bars):
        for tick, end in zip(ticks, ends, strict=True):
            for step in (0, 2, 4):
                frequency = plan.pitch(plan.degree(bar) + step, 1)
                while frequency > 4.001 * plan.root:  # close voicing
                    frequency /= 2
                samples = plan.sound(timbre, frequency, end - tick)
                yield Event(bar * plan.style.bar + tick, samples, _GAINS["chords"])


def _bass(plan: _Plan, draw: np.random.Generator) -> Iterator[Event]:
    timbre = _one(draw, plan.style.bass)
    line = _one(draw, plan.style.bass_lines)
    for bar in range(plan.bars):
        for tick, length, step in line:
            samples = plan.sound(timbre, plan.pitch(plan.degree(bar) + step), length)
            yield Event(bar * plan.style.bar + tick, samples, _GAINS["bass"])


def _melody(plan: _Plan, draw: np.random.Generator) -> Iterator[Event]:
    timbre = _one(draw, plan.style.melody)
    rhythms = [_one(draw, plan.style.melody_rhythms) for _ in range(2)]
    phrases = [_contour(draw, len(rhythm)) for rhythm in rhythms]
    for bar in range(plan.bars):
        which = bar % 2
        if bar >= 2 and draw.random() < 0.3:
            phrases[which] = _contour(draw, len(rhythms[which]))
        tick = bar * plan.style.bar
        for length, step in zip(rhythms[which], phrases[which], strict=True):
            if length > 0:
                frequency = plan.pitch(plan.degree(bar) + step, 2)
                yield Event(tick, plan.sound(timbre, frequency, length), _GAINS["melody"])
            tick += abs(length)


def _contour(draw: np.random.Generator, count: int) -> list[int]:
    """Return scale steps above the chord: from a chord tone on, mostly in small steps."""
    steps = [_one(draw, (0, 2, 4))]
    while len(steps) < count:
        step = steps[-1] + _one(draw, (-2, -1, -1, 0, 1, 1, 2))
        steps.append(min(max(step, -2), 8))
    return steps


def _drums(plan: _Plan, draw: np.random.Generator) -> Iterator[Event]:
    kit = int(draw.integers(plan.style.kits))
    pattern = _one(draw, plan.style.drums)
    for bar in range(plan.bars):
        for drum, ticks in zip(("kick", "snare", "hat"), pattern, strict=True):
            for tick in ticks:
                samples = hit(drum, kit, plan.rate)
                yield Event(bar * plan.style.bar + tick, samples, _GAINS[drum])


def _draws(style: Style, seed: int) -> np.random.Generator:
    return np.random.default_rng([style.number, seed])


def _one(draw: np.random.Generator, choices: Sequence[T]) -> T:
    return choices[int(draw.integers(len(choices)))]
