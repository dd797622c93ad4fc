"""The mel scale: 2595 log10(1 + f / 700).

Source: O'Shaughnessy, "Speech Communication" (1987).
"""

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def to_mel(hertz: Doubles) -> Doubles:
    """Return frequencies in mel; one below 0 counts as 0."""
    return 2595 * np.log10(1 + np.maximum(hertz, 0) / 700)


def to_hertz(mel: Doubles) -> Doubles:
    """Return mel as frequencies."""
    return 700 * (np.power(10, mel / 2595) - 1)


def mel_triangles(bins: int, bands: int, rate: int) -> Doubles:
    """Return triangular filters of height 1, evenly spaced in mel, float64 [bands, bins].

    The bins are those of a spectrum from 0 Hz to half the rate (samples a second); the
    narrowest bands may lie between two of them and hold none.
    """
    top = to_mel(np.array([rate / 2]))[0]
    edges = to_hertz(np.linspace(0, top, bands + 2))[:, None]
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    frequency = np.linspace(0, rate / 2, bins)
    rising, falling = (frequency - low) / (middle - low), (high - frequency) / (high - middle)
    return np.minimum(rising, falling).clip(min=0)
