"""Where the random numbers of masks and generation come from, without torch.

`PhiloxNoise` is a definition, bit by bit, so that a seed means the same tokens everywhere:

1. Words: Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011)
   with the key (seed, stream) and the 256-bit counter 1, 2, 3, ...; each counter gives four
   64-bit words, taken in their order.  NumPy's bit generator of that name is used.
2. Every number takes one word w, in C order of the array asked for, the array asked for
   first coming first.
3. Uniform, float32 in (0, 1): (2 * (w >> 41) + 1) * 2**-24, which is exact.
4. Exponential(1), float32: u = (2 * (w >> 12) + 1) * 2**-53, which is an exact float64; then
   -log(u) in float64 as `log` computes it, rounded to float32.
5. Integers below n, up to 2**32: ((w >> 32) * n) >> 32.

Guaranteed: steps 1 to 3 and 5 are integer arithmetic and exact scalings, and `log` is made of
IEEE 754 additions, products and quotients alone, each its own NumPy operation, so no
mathematical library and no fused operation has a part in it: the same bits on every platform
with IEEE doubles.  What is made *of* the noise (softmax, matrix products) is as equal as ONNX
Runtime's kernels are between the platforms.

The numbers are not torch's: a seed of the published package means other tokens here.  To get
those, hand over ``models.behaviour.torch_draws.TorchDraws``, which torch is needed for.

A run takes its numbers from `Draws`: those of the mask, then those of the tokens.
"""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.noise import LN2_HIGH, LN2_LOW, LOG_SERIES, MASK, SEEDS, TOKENS
from vampnet_onnx.configs.settings import MaskSettings

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

_WORDS = 4  # that a counter gives
_BLOCK = 1 << 14  # numbers made at a time, so that the arrays of `log` stay in the cache


class NoiseSource(Protocol):
    """Gives noise in the order it is asked for.

    The generation loop asks for the exponential noise of a step's draw (not on steps that
    take the most probable entry), then for the uniform noise of its remasking.
    """

    @property
    def name(self) -> str:
        """What it is, for messages, such as ``seed 7``."""

    def exponential(self, shape: tuple[int, ...]) -> Floats:
        """Return Exponential(1) noise of a shape, float32."""

    def uniform(self, shape: tuple[int, ...]) -> Floats:
        """Return uniform noise in (0, 1) of a shape, float32."""

    def restart(self) -> None:
        """Go back to where the seed begins."""


class Draws(Protocol):
    """All random numbers of a run, from one seed: of its mask first, then of its tokens."""

    def of_mask(
        self, shape: tuple[int, ...], settings: MaskSettings
    ) -> tuple[Floats, int, Integers]:
        """Draw what a mask of this shape, [B, C, T], takes; asked for once, and first.

        Returns:
            A uniform number a code, float32 [B, C, T]; the roll of the periodic prompts, below
            their period, 0 without; and the dropped steps, int64 [int(T * dropout)].
        """

    def of_beats(self, frames: int, beats: Sequence[int], before: int, after: int) -> Floats:
        """Draw the mask's numbers of beats, after `of_mask`: one a step around each.

        Returns:
            float32 [beats, before + after] in [0, 1), of a clip of so many frames.
        """

    def of_tokens(self) -> NoiseSource:
        """Return the noise of a generation; every one begins at the same place."""


# From a seed to the random numbers of a run.
DrawsOf = Callable[[int], Draws]


class PhiloxNoise:
    """Seeded noise, the same on every platform; see the module's text for its definition.

    Attributes:
        place: how many words of the stream are taken.
    """

    def __init__(self, seed: int, *, stream: int = TOKENS) -> None:
        """Start a stream.

        Args:
            seed: 0 to 2**64 - 1.
            stream: numbers of different streams of a seed have nothing to do with each other.

        Raises:
            InputError: the seed is out of range.
        """
        if not 0 <= seed < SEEDS:
            raise InputError(f"seed = {seed} is outside 0 to 2**64 - 1")
        self.name = f"seed {seed}"
        self.seed, self.stream = seed, stream
        self.restart()

    def restart(self) -> None:
        """Go back to the first word."""
        self.move_to(0)

    def move_to(self, place: int) -> None:
        """Go to where so many words of the stream are taken."""
        key = self.seed | self.stream << 64
        self._words = np.random.Philox(key=key, counter=place // _WORDS)
        self._words.random_raw(place % _WORDS)
        self.place = place

    def _taken(self, count: int) -> NDArray[np.uint64]:
        self.place += count
        return self._words.random_raw(count)

    def exponential(self, shape: tuple[int, ...]) -> Floats:
        """Return Exponential(1) noise, float32, from 2**-53 to 36.8."""
        numbers = np.empty(math.prod(shape), np.float32)
        for start in range(0, numbers.size, _BLOCK):
            part = numbers[start : start + _BLOCK]
            odd = (self._taken(part.size) >> np.uint64(12)) * 2 + 1
            part[...] = -log(odd.astype(np.float64) * 2.0**-53)
        return numbers.reshape(shape)

    def uniform(self, shape: tuple[int, ...]) -> Floats:
        """Return uniform noise, float32, from 2**-24 to 1 - 2**-24."""
        odd = (self._taken(math.prod(shape)) >> np.uint64(41)) * 2 + 1
        return (odd.astype(np.float32) * np.float32(2.0**-24)).reshape(shape)

    def integers(self, below: int, shape: tuple[int, ...]) -> Integers:
        """Return integers from 0 to `below` - 1, int64; `below` is 1 to 2**32."""
        high = self._taken(math.prod(shape)) >> np.uint64(32)
        return (high * np.uint64(below) >> np.uint64(32)).astype(np.int64).reshape(shape)


class PhiloxDraws:
    """The numbers of a run by `PhiloxNoise`: mask and tokens have a stream each."""

    def __init__(self, seed: int) -> None:
        """Take a seed, 0 to 2**64 - 1.

        Raises:
            InputError: the seed is out of range.
        """
        self._seed, self._mask = seed, PhiloxNoise(seed, stream=MASK)

    def of_mask(
        self, shape: tuple[int, ...], settings: MaskSettings
    ) -> tuple[Floats, int, Integers]:
        """Draw a mask's numbers, in the order in which `Draws` lists them."""
        frames, period = shape[-1], settings.periodic_prompt
        uniform = self._mask.uniform(shape)
        roll = int(self._mask.integers(period, (1,))[0]) if period else 0
        return uniform, roll, self._mask.integers(frames, (int(frames * settings.dropout),))

    def of_beats(self, frames: int, beats: Sequence[int], before: int, after: int) -> Floats:
        """Draw a number a step of each beat, whether it lies within the clip or not."""
        return self._mask.uniform((len(beats), before + after))

    def of_tokens(self) -> PhiloxNoise:
        """Return the noise of a generation."""
        return PhiloxNoise(self._seed)


def log(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the natural logarithm by IEEE operations alone, to 1 unit in the last place.

    Source: FreeBSD msun, e_log.c: x = 2**k * (1 + f) with 1 + f within sqrt(1/2) and sqrt(2),
    s = f / (2 + f), and log(1 + f) = f - (f**2 / 2 - s * (f**2 / 2 + R(s**2))).

    Args:
        x: float64, positive, finite and normal.
    """
    fraction, exponent = np.frexp(x)
    small = fraction < math.sqrt(0.5)
    f = np.where(small, fraction * 2, fraction) - 1.0
    k = (exponent - small).astype(np.float64)
    s = f / (f + 2.0)
    z = s * s
    series = z * LOG_SERIES[-1]
    for coefficient in reversed(LOG_SERIES[:-1]):
        series += coefficient
        series *= z
    half = f * f
    half *= 0.5
    inner = s * (half + series) + k * LN2_LOW
    return k * LN2_HIGH - ((half - inner) - f)
