"""Sounds of the music source: tones of a few partials, and drums.

A sound is a pure function of its parameters: the same note always has the same samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

_HIGHEST = 0.45  # of the sample rate; partials above it are left out
_RELEASE_S = 0.03  # how a tone ends, so that it does not click
_KEPT = 2048  # sounds in memory, some 60 MB


@dataclass(frozen=True)
class Timbre:
    """A tone as a sum of decaying sines.

    Attributes:
        partials: frequency as a multiple of the note's, and amplitude.
        attack_s: seconds to full loudness.
        decay_s: seconds in which the lowest partial falls to 1/e; 0 for a sustained tone.
        damping: how much faster a partial decays per multiple of the frequency.
    """

    partials: tuple[tuple[float, float], ...]
    attack_s: float
    decay_s: float = 0.0
    damping: float = 0.0


def _harmonics(*amplitudes: float) -> tuple[tuple[float, float], ...]:
    return tuple((number + 1.0, value) for number, value in enumerate(amplitudes) if value)


TIMBRES: dict[str, Timbre] = {
    "organ": Timbre(_harmonics(1, 0.6, 0.3, 0.35, 0, 0.15, 0, 0.2), attack_s=0.012),
    "strings": Timbre(_harmonics(*(1 / k for k in range(1, 13))), attack_s=0.12),
    "reed": Timbre(_harmonics(1, 0, 0.45, 0, 0.3, 0, 0.2, 0, 0.12), attack_s=0.03),
    "flute": Timbre(_harmonics(1, 0.25, 0.08), attack_s=0.05),
    "piano": Timbre(
        _harmonics(1, 0.7, 0.4, 0.3, 0.2, 0.12, 0.08), attack_s=0.004, decay_s=0.7, damping=0.5
    ),
    "pluck": Timbre(
        _harmonics(*(1 / k for k in range(1, 11))), attack_s=0.002, decay_s=0.35, damping=0.8
    ),
    "round bass": Timbre(_harmonics(1, 0.35, 0.1), attack_s=0.008, decay_s=0.9),
    "bright bass": Timbre(
        _harmonics(*(1 / k for k in range(1, 9))), attack_s=0.005, decay_s=0.5, damping=0.3
    ),
    "bell": Timbre(
        ((1.0, 1.0), (2.0, 0.5), (2.76, 0.45), (5.4, 0.25)),
        attack_s=0.002,
        decay_s=0.9,
        damping=0.35,
    ),
    "music box": Timbre(
        ((1.0, 1.0), (3.0, 0.3), (6.27, 0.2)), attack_s=0.001, decay_s=0.5, damping=0.2
    ),
}


@lru_cache(maxsize=_KEPT)
def tone(timbre: str, frequency: float, seconds: float, rate: int) -> Samples:
    """Return a note as float32 samples of about unit amplitude.

    Args:
        timbre: of `TIMBRES`.
        frequency: of its first partial, Hz.
        seconds: until it ends; a release of 30 ms is part of it.
        rate: samples a second.
    """
    sound = TIMBRES[timbre]
    time = np.arange(round(seconds * rate)) / rate
    total = np.zeros_like(time)
    for multiple, amplitude in sound.partials:
        if frequency * multiple > _HIGHEST * rate:
            continue
        partial = amplitude * np.sin(2 * np.pi * frequency * multiple * time)
        if sound.decay_s:
            partial *= np.exp(-time / sound.decay_s * (1 + sound.damping * (multiple - 1)))
        total += partial
    total *= np.minimum(time / sound.attack_s, 1.0)
    total *= np.minimum((seconds - time) / _RELEASE_S, 1.0)
    loudest = sum(amplitude for _, amplitude in sound.partials)
    return (total / loudest).astype(np.float32)


@lru_cache(maxsize=_KEPT)
def hit(drum: str, kit: int, rate: int) -> Samples:
    """Return a drum as float32 samples: ``kick``, ``snare`` or ``hat`` of a kit from 0 up."""
    return _DRUMS[drum](kit, rate).astype(np.float32)


def _kick(kit: int, rate: int) -> NDArray[np.float64]:
    time = np.arange(round(0.25 * rate)) / rate
    low, fall = 42.0 + 6 * kit, 0.03 + 0.01 * kit
    phase = 2 * np.pi * (low * time + 110.0 * fall * (1 - np.exp(-time / fall)))
    return np.sin(phase) * np.exp(-time / 0.09)


def _snare(kit: int, rate: int) -> NDArray[np.float64]:
    time = np.arange(round(0.2 * rate)) / rate
    body = np.sin(2 * np.pi * (170.0 + 25 * kit) * time) * np.exp(-time / 0.05)
    return 0.5 * body + 0.6 * _noise(100 + kit, time) * np.exp(-time / (0.05 + 0.02 * kit))


def _hat(kit: int, rate: int) -> NDArray[np.float64]:
    time = np.arange(round(0.08 * rate)) / rate
    bright = np.diff(_noise(200 + kit, time), prepend=0.0)  # a difference lifts the highs
    return 0.5 * bright * np.exp(-time / (0.012 + 0.008 * kit))


def _noise(seed: int, time: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(-1.0, 1.0, len(time))


_DRUMS: dict[str, Callable[[int, int], NDArray[np.float64]]] = {
    "kick": _kick,
    "snare": _snare,
    "hat": _hat,
}
