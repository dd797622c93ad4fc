"""torch's random numbers for the pipeline, drawn as the published package draws them on a CPU.

`TorchDraws` is to the pipeline what ``pipeline.steps.noise.PhiloxDraws`` is, in NumPy arrays:
one generator gives a mask's numbers and goes on with the tokens', as in a program that seeds
torch, builds a mask and makes a variation.  With the setting `reseed` each coarse generation
goes back to the seed, as where the published ``vamp`` is handed one.

Which numbers a seed means is up to the version of torch; docs/decisions.md says what is known.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.settings import MaskSettings

from .mask_plan import MaskPlan, draw_mask_noise
from .masks import beat_noise
from .noise import TorchNoise

_Floats = NDArray[np.float32]
_SEEDS = 1 << 64


class TorchDraws:
    """The numbers of a run from torch's CPU generator; torch's global one is left alone."""

    def __init__(self, seed: int) -> None:
        """Take a seed, 0 to 2**64 - 1.

        Raises:
            InputError: the seed is out of range.
        """
        if not 0 <= seed < _SEEDS:
            raise InputError(f"seed = {seed} is outside 0 to 2**64 - 1")
        self._seed, self._generator = seed, torch.Generator().manual_seed(seed)

    def of_mask(
        self, shape: tuple[int, ...], settings: MaskSettings
    ) -> tuple[_Floats, int, NDArray[np.int64]]:
        """Draw a mask's numbers (shape [B, C, T]) as `draw_mask_noise` does.

        Returns:
            float32 [B, C, T], the roll, and the dropped steps, int64 [int(T * dropout)].
        """
        names = ("periodic_prompt", "periodic_prompt_width", "dropout")
        plan = MaskPlan(**{name: getattr(settings, name) for name in names})
        codes = torch.zeros(shape, dtype=torch.int64)
        drawn = draw_mask_noise(codes, plan, generator=self._generator)
        return drawn.uniform.numpy(), drawn.roll, drawn.dropped.numpy()

    def of_beats(self, frames: int, beats: Sequence[int], before: int, after: int) -> _Floats:
        """Draw the numbers of beats (float32 [beats, before + after]) as `beat_noise` does."""
        return beat_noise(frames, beats, before, after, generator=self._generator).numpy()

    def of_tokens(self) -> "_InArrays":
        """Return the noise of a generation, which goes on where the mask's ended."""
        source = TorchNoise(self._seed, state=self._generator.get_state())
        return _InArrays(f"torch's seed {self._seed}", source)


class _InArrays:
    """`TorchNoise` in NumPy arrays."""

    def __init__(self, name: str, source: TorchNoise) -> None:
        self.name, self._source = name, source

    def exponential(self, shape: tuple[int, ...]) -> _Floats:
        return self._source.exponential(shape).numpy()

    def uniform(self, shape: tuple[int, ...]) -> _Floats:
        return self._source.uniform(shape).numpy()

    def restart(self) -> None:
        self._source.restart()
