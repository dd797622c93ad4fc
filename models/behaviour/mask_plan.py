"""Whole masks: a plan of what to mask, the random numbers of it, and the two composed.

Published as ``Interface.build_mask``, which draws as it goes.  Here a mask is composed of a
`MaskPlan` in steps and a `MaskNoise` drawn beforehand, so that any source of noise, or a graph
without random operators, can be compared with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.settings import MaskSettings
from vampnet_onnx.models.networks.dims import CodecDims

from . import masks
from .sampling import gamma


@dataclass(frozen=True)
class MaskPlan:
    """What to mask, in time steps.

    The defaults mask everything.

    Attributes:
        rand_mask_intensity: probability that a code is masked at all.
        rand_mask_cosine: take its cosine schedule for that, as `masks.random` does.
        periodic_prompt: keep every so many; 0 keeps none.
        periodic_prompt_width: kept around each prompt.
        onset_mask_width: kept before, and from, each onset; 0 keeps none.
        beat_frames: of the beats, in the order they are laid down in.
        beat_after: kept from each beat on, `beat_before` those before it; both 0 keep none.
        beat_dropout: probability that a step of a beat is not kept.
        beat_invert: keep the beats; otherwise mask them, and keep what lies between.
        combine_or: mask what any strategy masks, instead of what all do; a strategy that is
            switched off takes no part, and beats take none: they are laid over the mask.
        dropout: fraction of the time steps that is masked whatever kept them.
        n_conditioning_codebooks: leading codebooks that are kept.
        upper_codebook_mask: codebooks from this one up are masked.
        time_stretch_factor: the mask is stretched, repetitions of a step are masked.
    """

    rand_mask_intensity: float = 1.0
    rand_mask_cosine: bool = False
    prefix_frames: int = 0
    suffix_frames: int = 0
    periodic_prompt: int = 0
    periodic_prompt_width: int = 1
    onset_frames: tuple[int, ...] = ()
    onset_mask_width: int = 0
    beat_frames: tuple[int, ...] = ()
    beat_before: int = 0
    beat_after: int = 0
    beat_dropout: float = 0.0
    beat_invert: bool = True
    combine_or: bool = False
    dropout: float = 0.0
    n_conditioning_codebooks: int = 0
    upper_codebook_mask: int = 1 << 20  # beyond any codec's
    time_stretch_factor: int = 1


@dataclass(frozen=True)
class MaskNoise:
    """The random numbers of a mask.

    Attributes:
        uniform: float32 [B, C, T] in [0, 1); a code is masked where it is below the
            probability.
        roll: by how many steps the periodic prompts are shifted, circularly.
        dropped: steps masked by dropout, int64 [int(T * dropout)].
        beats: float32 [beats, before + after], see `masks.beat_mask`.
    """

    uniform: Tensor
    roll: int
    dropped: Tensor
    beats: Tensor


def plan_mask(
    settings: MaskSettings, dims: CodecDims, *, onsets: tuple[int, ...] = ()
) -> MaskPlan:
    """Return the plan of published settings, seconds turned into steps."""
    return MaskPlan(
        rand_mask_intensity=settings.rand_mask_intensity,
        prefix_frames=masks.steps_of(settings.prefix_s, dims),
        suffix_frames=masks.steps_of(settings.suffix_s, dims),
        periodic_prompt=settings.periodic_prompt,
        periodic_prompt_width=settings.periodic_prompt_width,
        onset_frames=onsets,
        onset_mask_width=settings.onset_mask_width,
        dropout=settings.dropout,
        n_conditioning_codebooks=settings.n_conditioning_codebooks,
        upper_codebook_mask=settings.upper_codebook_mask,
    )


def draw_mask_noise(
    codes: Tensor, plan: MaskPlan, *, generator: torch.Generator | None = None
) -> MaskNoise:
    """Draw the noise of a mask from torch's generator, in the published order and number.

    A Bernoulli draw of torch on a CPU is a uniform number below the probability, so the
    numbers are drawn without knowing it.

    Of the codes (integer [B, C, T]) only the shape matters; generator None is the global one,
    as published.
    """
    steps = codes.shape[-1]
    uniform = torch.rand(codes.shape, generator=generator)
    roll = 0
    if plan.periodic_prompt > 0:
        masks.periodic_mask(
            codes, plan.periodic_prompt, plan.periodic_prompt_width, generator=generator
        )
        roll = int(torch.randint(0, plan.periodic_prompt, (1,), generator=generator))
    count = int(steps * plan.dropout)
    dropped = torch.randint(0, steps, (count,), generator=generator)
    around = plan.beat_frames, plan.beat_before, plan.beat_after
    beats = masks.beat_noise(steps, *around, generator=generator)
    return MaskNoise(uniform, roll, dropped, beats)


def build_mask(
    codes: Tensor,
    settings: MaskSettings,
    dims: CodecDims,
    *,
    onsets: Sequence[int] | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Build the published mask of settings, with noise from torch's generator.

    Args:
        codes: integer [B, C, T]; only the shape matters.
        onsets: steps of the onsets (`masks.onset_frames`), for `onset_mask_width` above 0.
        generator: None is the global one, as published.

    Raises:
        InputError: an onset mask without onsets.
    """
    if settings.onset_mask_width > 0 and onsets is None:
        raise InputError(
            f"onset_mask_width = {settings.onset_mask_width} needs the onsets of the audio"
        )
    plan = plan_mask(settings, dims, onsets=tuple(onsets or ()))
    return compose_mask(codes, plan, draw_mask_noise(codes, plan, generator=generator))


def compose_mask(codes: Tensor, plan: MaskPlan, noise: MaskNoise) -> Tensor:
    """Compose a mask: strategies, dropout, conditioning codebooks, upper ones, beats, stretch.

    Beats are laid over the finished mask, as the published app does, so that dropout leaves
    them alone, and the upper codebooks are masked once more behind them.

    Codes are integer [B, C, T], of which only the shape matters; the mask is int64
    [B, C, T * time_stretch_factor].
    """
    probability = torch.tensor(plan.rand_mask_intensity, dtype=torch.float32)
    if plan.rand_mask_cosine:
        probability = gamma(probability)
    parts = [(noise.uniform < probability).to(torch.int64)]
    if plan.prefix_frames or plan.suffix_frames:
        parts.append(masks.inpaint(codes, plan.prefix_frames, plan.suffix_frames))
    if plan.periodic_prompt:
        periodic = masks.periodic_mask(
            codes,
            plan.periodic_prompt,
            plan.periodic_prompt_width,
            generator=torch.Generator(),  # its draws have no effect, and none here
        )
        parts.append(periodic.roll(noise.roll, dims=-1))
    if plan.onset_mask_width:
        onsets = list(plan.onset_frames)
        parts.append(masks.onset_mask(codes, onsets, plan.onset_mask_width))
    mask = reduce(masks.mask_or if plan.combine_or else masks.mask_and, parts)
    mask[..., noise.dropped[: int(codes.shape[-1] * plan.dropout)]] = 1
    mask = masks.codebook_unmask(mask, plan.n_conditioning_codebooks)
    mask = masks.codebook_mask(mask, plan.upper_codebook_mask)
    if plan.beat_before or plan.beat_after:
        beats = masks.beat_mask(
            codes,
            plan.beat_frames,
            plan.beat_before,
            plan.beat_after,
            uniform=noise.beats,
            dropout=plan.beat_dropout,
            invert=plan.beat_invert,
        )
        mask = masks.codebook_mask(masks.mask_and(mask, beats), plan.upper_codebook_mask)
    return stretched(mask, plan.time_stretch_factor)


def stretched(mask: Tensor, factor: int) -> Tensor:
    """Repeat every step of a mask (int64 [B, C, T]) and mask the repetitions."""
    mask = mask.repeat_interleave(factor, dim=-1)
    added = torch.arange(mask.shape[-1]) % factor > 0
    return torch.where(added, 1, mask)
