"""Where the random numbers of generation come from.

The generation loop asks a `NoiseSource` for tensors by shape, in a fixed order: for each step
the exponential noise of the draw (none on argmax steps), then the uniform noise of the
remasking.  So one loop runs on torch's generator, on recorded noise, or on any other.
"""

from typing import Protocol

import torch
from torch import Tensor

# The published uniform noise starts here, so that its logarithm is finite.
_SMALLEST_UNIFORM = 1e-20


class NoiseSource(Protocol):
    """Gives noise, float32, in the order it is asked for."""

    def exponential(self, shape: tuple[int, ...]) -> Tensor:
        """Return Exponential(1) noise of a shape."""

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """Return uniform noise in (0, 1) of a shape."""


class TorchNoise:
    """Noise from torch's CPU generator, drawn as the published packages draw it.

    Args:
        seed: what the published packages give ``torch.manual_seed``; None goes on with
            torch's global generator wherever it is.  With a seed the global one is left
            alone: a generator of its own gives the same numbers.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._generator = None if seed is None else torch.Generator().manual_seed(seed)

    def exponential(self, shape: tuple[int, ...]) -> Tensor:
        """Draw what multinomial draws."""
        return torch.empty(shape).exponential_(1, generator=self._generator)

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """Draw what the remasking draws."""
        return torch.zeros(shape).uniform_(_SMALLEST_UNIFORM, 1, generator=self._generator)
