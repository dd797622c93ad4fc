"""Masks: which codes are to be generated anew.

A mask is int64 of the codes' shape, [B, codebooks, T]: 1 where a code is masked, 0 where it is
kept.  Of the codes a mask is for, only the shape matters.  Published as ``vampnet.mask``;
`models.behaviour.mask_plan` composes them.

The random functions draw from torch's generator in the published order and number, so that
the same seed gives the same mask: `generator` None is the global one, as published.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.extras import require_optional
from vampnet_onnx.models.networks.dims import CodecDims

from .sampling import gamma


def full_mask(codes: Tensor) -> Tensor:
    """Return the mask of codes (any integer [B, C, T]) that masks everything, int64."""
    return torch.ones_like(codes, dtype=torch.int64)


def linear_random(
    codes: Tensor, probability: float, *, generator: torch.Generator | None = None
) -> Tensor:
    """Mask each code with `probability`; one draw a code."""
    _require_fraction("rand_mask_intensity", probability)
    return _bernoulli(codes, torch.tensor(probability, dtype=torch.float32), generator)


def random(codes: Tensor, ratio: float, *, generator: torch.Generator | None = None) -> Tensor:
    """Mask each code with probability gamma(ratio); one draw a code.

    Ratio 0 masks everything, ratio 1 next to nothing.
    """
    _require_fraction("ratio", ratio)
    return _bernoulli(codes, gamma(torch.tensor(ratio, dtype=torch.float32)), generator)


def inpaint(codes: Tensor, n_prefix: int, n_suffix: int) -> Tensor:
    """Keep the first and last steps (beyond T: all of them), mask what lies between."""
    if n_prefix < 0 or n_suffix < 0:
        raise InputError(f"prefix and suffix cannot be negative: {n_prefix}, {n_suffix}")
    mask = full_mask(codes)
    mask[..., :n_prefix] = 0
    mask[..., max(codes.shape[-1] - n_suffix, 0) :] = 0
    return mask


def periodic_mask(
    codes: Tensor,
    period: int,
    width: int = 1,
    *,
    random_roll: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Keep steps around every `period`-th one.

    A prompt at j keeps [j - width // 2, j + width // 2], clipped to the clip, so an even
    width keeps width + 1 steps.  The published function draws a Bernoulli number, always 1,
    for every step a prompt covers in every batch item; they are drawn here for the sake of
    what is drawn after them.

    Args:
        codes: integer [B, C, T]; only the shape matters.
        period: steps between prompts; 0 keeps nothing and draws nothing, the roll included.
        width: steps kept around each prompt.
        random_roll: shift the mask in time, circularly, by a drawn number of steps.
    """
    if period < 0 or width < 0:
        raise InputError(f"period and width cannot be negative: {period}, {width}")
    mask = full_mask(codes)
    if period == 0:
        return mask
    batch, _, steps = codes.shape
    for _ in range(batch):
        for prompt in range(0, steps, period):
            start, stop = max(prompt - width // 2, 0), min(prompt + width // 2 + 1, steps)
            torch.bernoulli(torch.ones(stop - start), generator=generator)
            mask[..., start:stop] = 0
    if random_roll:
        offset = torch.randint(0, period, (1,), generator=generator)
        mask = mask.roll(int(offset), dims=-1)
    return mask


def onset_frames(audio: Tensor, sample_rate: int, hop_length: int) -> list[int]:
    """Detect onsets as the published mask does.

    ``librosa.onset.onset_detect(y, sr, hop_length=hop_length, backtrack=True)``.

    Audio is float32 [samples], mono, at a rate in Hz; a step has `hop_length` samples.

    Raises:
        EnvironmentLacksError: librosa is not installed.
    """
    require_optional("librosa")
    import librosa

    found = librosa.onset.onset_detect(
        y=audio.numpy(), sr=sample_rate, hop_length=hop_length, backtrack=True
    )
    return [int(frame) for frame in found]


def onset_mask(codes: Tensor, onsets: list[int], width: int = 1) -> Tensor:
    """Keep steps onset - width to onset + width - 1 of every onset (`onset_frames`).

    A negative start counts from the end, as in any slice: an onset at 0 with a width above 0
    selects nothing unless the clip is as short as twice the width.
    """
    mask = full_mask(codes)
    for onset in onsets:
        mask[..., onset - width : onset + width] = 0
    return mask


def beat_mask(
    codes: Tensor,
    beats: Sequence[int],
    before: int,
    after: int,
    *,
    uniform: Tensor,
    dropout: float = 0.0,
    invert: bool = True,
) -> Tensor:
    """Keep steps beat - before to beat + after - 1 of every beat, as a slice does.

    See `onset_mask` for a beat so early that the slice starts before the clip.  The mask is as
    long as the codes.  The published one has its length from the seconds of the audio, by a
    ceil of a float, which of 228 lengths in 3000 is one step too many.

    Args:
        codes: integer [B, C, T]; only the shape matters.
        beats: steps, in the order they are laid down in: of steps that two of them cover,
            the later one decides.
        uniform: float32 [beats, before + after] in [0, 1), from `beat_noise`; a step of a beat
            is kept where it is below 1 - `dropout`.
        dropout: probability that a step of a beat is not kept.
        invert: keep the beats, mask what lies between.  Otherwise the other way round.

    Returns:
        int64 [B, C, T].
    """
    _require_fraction("beat_dropout", dropout)
    marked = torch.zeros(codes.shape[-1], dtype=torch.int64)
    taken = uniform < torch.tensor(1 - dropout, dtype=torch.float32)
    for beat, own in zip(beats, taken, strict=True):
        steps = marked[beat - before : beat + after]
        steps[:] = own[: len(steps)]
    return (1 - marked if invert else marked).expand(codes.shape).clone()


def beat_noise(
    steps: int,
    beats: Sequence[int],
    before: int,
    after: int,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw the noise of `beat_mask` in the published order: a number a step of each beat.

    Returns:
        float32 [beats, before + after]; 0, and not drawn, where a beat's slice of a clip of
        `steps` is shorter.
    """
    noise = torch.zeros(len(beats), before + after)
    for beat, own in zip(beats, noise, strict=True):
        count = len(range(steps)[beat - before : beat + after])
        own[:count] = torch.rand(count, generator=generator)
    return noise


def dropout(
    mask: Tensor, fraction: float, *, generator: torch.Generator | None = None
) -> Tensor:
    """Mask int(T * fraction) whole time steps, drawn once for all items, with replacement."""
    _require_fraction("dropout", fraction)
    steps = mask.shape[-1]
    drawn = torch.randint(0, steps, (int(steps * fraction),), generator=generator)
    dropped = mask.clone()
    dropped[..., drawn] = 1
    return dropped


def codebook_mask(mask: Tensor, first: int) -> Tensor:
    """Mask codebooks from `first` up."""
    masked = mask.clone()
    masked[:, first:] = 1
    return masked


def codebook_unmask(mask: Tensor, count: int) -> Tensor:
    """Keep the first `count` codebooks."""
    kept = mask.clone()
    kept[:, :count] = 0
    return kept


def mask_and(a: Tensor, b: Tensor) -> Tensor:
    """Mask what both masks mask."""
    return torch.minimum(a, b)


def mask_or(a: Tensor, b: Tensor) -> Tensor:
    """Mask what either mask masks."""
    return torch.maximum(a, b)


def time_stretch_mask(
    codes: Tensor, factor: int, *, generator: torch.Generator | None = None
) -> Tensor:
    """Mask all but every `factor`-th step of the stretched codes, cut to the old length.

    The constant draws of `periodic_mask` are made here, too.
    """
    if factor < 1:
        raise InputError(f"a time stretch factor is at least 1, not {factor}")
    stretched = codes.repeat_interleave(factor, dim=-1)[..., : codes.shape[-1]]
    return periodic_mask(stretched, factor, width=1, generator=generator)


def apply_mask(codes: Tensor, mask: Tensor, mask_token: int) -> Tensor:
    """Return codes (int64 [B, C, T]) with the mask token where the mask is 1."""
    return torch.where(mask.bool(), mask_token, codes)


def steps_of(seconds: float, dims: CodecDims) -> int:
    """Return the time steps that hold `seconds`, rounded up."""
    return math.ceil(seconds * dims.sample_rate / dims.hop_length)


def _bernoulli(
    codes: Tensor, probability: Tensor, generator: torch.Generator | None
) -> Tensor:
    probabilities = torch.ones(codes.shape, dtype=torch.float32) * probability
    return torch.bernoulli(probabilities, generator=generator).to(torch.int64)


def _require_fraction(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise InputError(f"{name} = {value} is outside 0 to 1")
