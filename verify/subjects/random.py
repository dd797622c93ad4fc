"""Seeded numbers that are the same on any machine.

They come from the raw bits of NumPy's Philox generator, a counter-based generator with a
published definition (Salmon et al., 2011), and from integer arithmetic alone; nothing depends
on a library's way to make a normal deviate or on a platform's sine.
"""

import zlib

import numpy as np

_UNIT = 1 << 24  # steps of a float32 in [0, 1)


class Random:
    """Integers and unit floats from Philox's raw bits."""

    def __init__(self, name: str) -> None:
        """Seed by a name, such as a case's id."""
        key = (zlib.crc32(name.encode()) << 32) | zlib.crc32(name[::-1].encode())
        self._bits = np.random.Philox(key=key)

    def integers(self, shape: tuple[int, ...], below: int) -> np.ndarray:
        """Return int64 in [0, below); the bias of the modulus is below 2^-30."""
        raw = self._bits.random_raw(int(np.prod(shape))) >> np.uint64(11)
        return (raw % np.uint64(below)).astype(np.int64).reshape(shape)

    def unit(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return float32 in [0, 1), exact multiples of 2^-24."""
        return (self.integers(shape, _UNIT) / _UNIT).astype(np.float32)


def made_audio(random: Random, batch: int, samples: int) -> np.ndarray:
    """Sum triangle waves and noise under a slow envelope, exactly, in integers.

    Returns:
        float32 [batch, 1, samples] within full scale.
    """
    time = np.arange(samples, dtype=np.int64)
    out = np.empty((batch, 1, samples), np.float32)
    for item in range(batch):
        total = np.zeros(samples, np.int64)
        for increment in random.integers((4,), 3000) + 40:  # of a phase of 2^16 a sample
            phase = (time * increment + random.integers((1,), 1 << 16)) & 0xFFFF
            total += np.abs(phase - (1 << 15)) - (1 << 14)
        total += random.integers((samples,), 1 << 13) - (1 << 12)
        slow = (time * (random.integers((1,), 12) + 1)) & 0xFFFF
        envelope = np.abs(slow - (1 << 15)) + (1 << 12)
        out[item, 0] = (total * envelope).astype(np.float64) / 2.0**33
    return out
