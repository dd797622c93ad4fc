"""What is generated: excerpts of the packaged clip, varied as `vamp` does, a seed each.

Items are excerpts of one clip under the published mask, two seeds of every excerpt.  A batch
of them is what as many calls with a seed each would give: every item has noise of its own and
counts its own masked codes.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import torch

from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.configs.packaged import CLIP, DEMO_SET, packaged_set
from vampnet_onnx.configs.settings import (
    Mode,
    VampSettings,
    generation_settings,
    vamp_settings,
)
from vampnet_onnx.models.behaviour.audio import preprocess
from vampnet_onnx.models.networks.dims import CodecDims
from vampnet_onnx.pipeline.files.audio_files import open_audio
from vampnet_onnx.pipeline.steps.noise import Floats, Integers, PhiloxNoise
from vampnet_onnx.pipeline.version.components import Codec
from vampnet_onnx.verify.subjects.random import Random

SEEDS = 64
FRAMES = 48
PER_EXCERPT = 2  # seeds of the reference whose distance is that of two variations

_KEPT_EVERY = 7  # frames, as the published periodic prompt,
_KEPT_BOOKS = 3  # in as many codebooks

# So many parts of the generated codes are hidden in turn while they are scored.
PARTS = 4


@cache
def clip(sample_rate: int, hop_length: int) -> Floats:
    """Return the packaged clip as the codec takes it, float32 [1, 1, samples]."""
    file = open_audio(packaged_set(DEMO_SET, CLIP) / CLIP)
    audio = torch.from_numpy(np.concatenate(list(file.blocks()), axis=1))[None]
    # Nothing else of a codec's dimensions has a part in the preparation.
    dims = CodecDims(1, (), 1, (hop_length,), 1, 1, (1,), sample_rate)
    prepared: Floats = preprocess(audio, file.sample_rate, dims).numpy()
    return prepared


def excerpts(codes: Integers, count: int, frames: int) -> Integers:
    """Cut a clip's codes (int64 [1, C, T]) into excerpts, int64 [count, C, frames].

    They begin at even distances, two at each place, and go on at the start of a clip that is
    shorter.
    """
    length = codes.shape[-1]
    places = -(-count // PER_EXCERPT)
    starts = np.linspace(0, max(0, length - frames), places).astype(np.int64)
    where = np.repeat(starts, PER_EXCERPT)[:count, None] + np.arange(frames)
    return np.ascontiguousarray(codes[0][:, where % length].transpose(1, 0, 2))


def mask_of(codes: Integers, n_coarse: int) -> Integers:
    """Return the published mask of codes: 1 but for every seventh frame of the first ones."""
    mask = np.ones_like(codes)
    mask[:, : min(_KEPT_BOOKS, n_coarse), ::_KEPT_EVERY] = 0
    return mask


def options(count: int, frames: int, codec: Codec) -> VampSettings:
    """Return the published options, for one chunk and each item by itself."""
    # A batch of the reference mode shares one count of masked codes; its typical filter has
    # no effect.  So this is what it gives item by item.
    alone = {"mode": Mode.CORRECTED, "typical_filtering": False}
    seconds = codec.seconds_of(frames) * (1 - 0.5 / frames)  # so that rounding up gives them
    settings = vamp_settings(
        generation_settings(**alone),
        batch_size=count,
        coarse_chunk_s=seconds,
        c2f_chunk_s=seconds,
    )
    return replace(settings, c2f=replace(settings.c2f, **alone))  # type: ignore[arg-type]


class NoiseOfEach:
    """Noise for a batch: each item's is that of its own seed."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.name = f"seeds {seeds[0]} to {seeds[-1]}"
        self._each = [PhiloxNoise(seed) for seed in seeds]

    def exponential(self, shape: tuple[int, ...]) -> Floats:
        """Return Exponential(1) noise, float32 [items * positions, entries]."""
        own = (shape[0] // len(self._each), *shape[1:])
        return np.concatenate([noise.exponential(own) for noise in self._each])

    def uniform(self, shape: tuple[int, ...]) -> Floats:
        """Return uniform noise, float32 [items, positions]."""
        return np.concatenate([noise.uniform((1, *shape[1:])) for noise in self._each])

    def restart(self) -> None:
        """Go back to where the seeds begin."""
        for noise in self._each:
            noise.restart()


def parts_to_hide(shape: tuple[int, ...]) -> Integers:
    """Return which part of the codes each position belongs to, int64 in [0, `PARTS`)."""
    return Random("parts").integers(shape, PARTS)


def codec_of_record(record: ComponentRecord) -> Codec:
    """Return what a generation must know of the codec."""
    names = ("sample_rate", "hop_length", "n_codebooks", "codebook_size")
    return Codec(*map(record.dim, names))
