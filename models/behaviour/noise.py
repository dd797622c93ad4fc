"""Where the random numbers of generation come from.

The generation loop asks a `NoiseSource` for tensors by shape, in a fixed order: for each step
the exponential noise of the draw (none on argmax steps), then the uniform noise of the
remasking.  So one loop runs on torch's generator, on recorded noise, or on any other.
Where the published seed is handed to ``vamp``, every coarse generation begins with `restart`.
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

    def restart(self) -> None:
        """Go back to where the seed begins."""


class TorchNoise:
    """Noise from torch's CPU generator, drawn as the published packages draw it.

    Args:
        seed: what the published packages give ``torch.manual_seed``; None goes on with
            torch's global generator wherever it is.  With a seed the global one is left
            alone: a generator of its own gives the same numbers.
        state: of a generator to go on from, instead of where the seed begins.
    """

    def __init__(self, seed: int | None = None, *, state: Tensor | None = None) -> None:
        self._seed = seed
        self._generator = None if seed is None else torch.Generator().manual_seed(seed)
        if self._generator is not None and state is not None:
            self._generator.set_state(state)

    def exponential(self, shape: tuple[int, ...]) -> Tensor:
        """Draw what multinomial draws."""
        return torch.empty(shape).exponential_(1, generator=self._generator)

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """Draw what the remasking draws."""
        return torch.zeros(shape).uniform_(_SMALLEST_UNIFORM, 1, generator=self._generator)

    def restart(self) -> None:
        """Go back to where the seed begins.

        Raises:
            ValueError: no seed was given.
        """
        if self._generator is None or self._seed is None:
            raise ValueError("torch's global generator has no seed of ours to go back to")
        self._generator.manual_seed(self._seed)
