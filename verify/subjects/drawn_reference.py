"""The oracle of the drawn components: audio preparation, masks and sampling of ``models/``.

The sampler's margins are how far the reference was from deciding otherwise: between its two
best entries, at the edge of a filter, and at the edge of what is masked again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.configs.settings import GenerationSettings, Mode, generation_settings
from vampnet_onnx.models import CodecDims
from vampnet_onnx.models.behaviour import sampling
from vampnet_onnx.models.behaviour.audio import loudness, preprocess, resample
from vampnet_onnx.models.behaviour.mask_plan import MaskNoise, MaskPlan, compose_mask

from .computed import Computed
from .drawn_cases import audio_rate

_Inputs = Mapping[str, np.ndarray]


def run_drawn(component: ComponentRecord, inputs: _Inputs, dims: CodecDims) -> Computed:
    """Compute the outputs of a drawn component.

    Args:
        component: from the manifest.
        inputs: arrays by the component's input names.
        dims: of the codec.

    Returns:
        Outputs by name; for the sampler with margins, float [2, B, positions]: of the drawn
        tokens, relative, and of the remasking, in units of confidence.
    """
    if component.name == "audio_processor":
        audio = torch.from_numpy(inputs["audio"])
        return Computed(_prepare(audio, audio_rate(component), dims))
    if component.name == "mask_generator":
        return Computed({"mask": _mask(inputs).numpy()})
    return _sample(inputs, dims.codebook_size)


def _prepare(audio: Tensor, sample_rate: int, dims: CodecDims) -> dict[str, np.ndarray]:
    mono = resample(audio, sample_rate, dims.sample_rate).mean(dim=1, keepdim=True)
    return {
        "prepared": preprocess(audio, sample_rate, dims).numpy(),
        "loudness": loudness(mono, dims.sample_rate).numpy(),
    }


def _mask(inputs: _Inputs) -> Tensor:
    names = {field.name for field in fields(MaskPlan)}
    chosen: dict[str, Any] = {n: v.tolist() for n, v in inputs.items() if n in names}
    lists = {n: tuple(v) for n, v in chosen.items() if isinstance(v, list)}
    plan = MaskPlan(**(chosen | lists))
    noise = MaskNoise(
        uniform=torch.from_numpy(inputs["uniform"]),
        roll=int(inputs["roll"]),
        dropped=torch.from_numpy(inputs["dropped_frames"]),
    )
    return compose_mask(torch.from_numpy(inputs["codes"]), plan, noise)


def _sample(inputs: _Inputs, mask_token: int) -> Computed:
    settings, step = _generation_settings(inputs), int(inputs["step"])
    logits, codes = torch.from_numpy(inputs["logits"]), torch.from_numpy(inputs["codes"])
    at_start = torch.from_numpy(inputs["at_start"])
    draws = sampling.draws_tokens(step, settings)
    exponential = torch.from_numpy(inputs["exponential"]) if draws else None
    result = sampling.sampling_step(
        logits,
        codes,
        step=step,
        at_start=at_start,
        mask_token=mask_token,
        settings=settings,
        exponential=exponential,
        uniform=torch.from_numpy(inputs["uniform"]),
    )
    masked = sampling.flatten_codes(codes) == mask_token
    again = (result.codes == mask_token).long()
    margins = sampling_margins(
        logits,
        codes,
        result,
        step=step,
        at_start=at_start,
        mask_token=mask_token,
        settings=settings,
        exponential=exponential,
    )
    confidence = torch.where(masked, result.confidence, 0.0)
    return Computed(
        {
            "next_codes": result.codes.numpy(),
            "next_mask": again.numpy(),
            "sampled": result.sampled.numpy(),
            "confidence": confidence.numpy(),
        },
        margins,
    )


def sampling_margins(
    logits: Tensor,
    codes: Tensor,
    result: sampling.StepResult,
    *,
    step: int,
    at_start: Tensor,
    mask_token: int,
    settings: GenerationSettings,
    exponential: Tensor | None,
) -> np.ndarray:
    """Return how far a sampling step was from deciding otherwise.

    Args:
        logits: float32 [B, V, N].
        codes: before the step, int64 [B, P, T].
        result: of the step.
        step: its number, from 0.
        at_start: masked codes before the first step, int64 [B] or scalar.
        mask_token: its index.
        settings: filters count where the mode lets them have an effect.
        exponential: as `models.behaviour.sampling.sampling_step`.

    Returns:
        float [2, B, N]: of the drawn tokens, relative to the best score and infinite where
        the argmax is taken; of the remasking, in units of confidence.
    """
    masked_now = (sampling.flatten_codes(codes) == mask_token).sum(dim=-1)
    count = sampling.count_to_mask(step, settings.steps, at_start, masked_now)
    remasking = _remask_margin(count, result.confidence)
    uncertain = _uncertain_count(step, settings, at_start)
    remasking[uncertain.expand(len(remasking))] = 0.0
    drawing = torch.minimum(
        _draw_margin(logits.transpose(1, 2), exponential, settings),
        _filter_margin(logits.transpose(1, 2), settings),
    )
    return np.stack([drawing.numpy(), remasking.nan_to_num(nan=np.inf).numpy()])


def _generation_settings(inputs: _Inputs) -> GenerationSettings:
    """Return settings in which every option of the graph has its effect."""
    top_k, top_p = int(inputs["top_k"]), float(inputs["top_p"])
    return generation_settings(
        steps=int(inputs["steps"]),
        temperature=float(inputs["temperature"]),
        mask_temperature=float(inputs["mask_temperature"]),
        sample_cutoff=float(inputs["sample_cutoff"]),
        typical_filtering=bool(inputs["typical_filtering"]),
        typical_mass=float(inputs["typical_mass"]),
        typical_min_tokens=int(inputs["typical_min_tokens"]),
        top_k=top_k or None,
        top_p=top_p if top_p < 1 else None,
        mode=Mode.CORRECTED,
    )


def _remask_margin(count: Tensor, confidence: Tensor) -> Tensor:
    """Return how far each confidence is from the other side of the choice, float [B, N].

    What is masked again is below the one at position `count` of the order; what is not is no
    lower than that, and so above the one before it.
    """
    ascending = confidence.sort(dim=-1).values
    last = confidence.shape[-1] - 1
    kept_from = ascending.gather(-1, count.clamp(max=last)[:, None])
    below = count.clamp(max=last)[:, None] - 1
    chosen_to = torch.where(below < 0, -torch.inf, ascending.gather(-1, below.clamp(min=0)))
    return torch.where(confidence < kept_from, kept_from - confidence, confidence - chosen_to)


def _uncertain_count(step: int, settings: GenerationSettings, at_start: Tensor) -> Tensor:
    """Return for which items the count depends on whose float32 cosine is taken.

    Torch's is one rounding off here and there; the float64 one, rounded, is right.
    """
    ratio = sampling.step_ratio(step, settings.steps)
    rounded = torch.cos((ratio * math.pi / 2).double()).float().clamp(min=0.0)
    found: Tensor = (sampling.gamma(ratio) * at_start).floor() != (rounded * at_start).floor()
    return found


def _draw_margin(
    logits: Tensor, exponential: Tensor | None, settings: GenerationSettings
) -> Tensor:
    """Return how far ahead the best entry is, relative to its score, float [B, N].

    Where the argmax is taken, both sides compare the same logits, and nothing is a tie.
    """
    if exponential is None or logits.shape[-1] < 2:
        return torch.full(logits.shape[:2], torch.inf, dtype=torch.float64)
    scores = sampling.filter_logits(logits, settings).double()
    tempered = scores / settings.temperature if settings.temperature > 0 else scores
    scores = torch.softmax(tempered, dim=-1) / exponential.view_as(scores)
    first, second = scores.topk(2, dim=-1).values.unbind(dim=-1)
    return (first - second) / first


def _filter_margin(logits: Tensor, settings: GenerationSettings) -> Tensor:
    """Return how far each position's filters were from keeping other entries, float [B, N].

    Top-k compares the logits themselves, which are the same on both sides.
    """
    margin = torch.full(logits.shape[:2], torch.inf, dtype=torch.float64)
    corrected = settings.mode is Mode.CORRECTED
    if corrected and settings.typical_filtering:
        log_p = logits.double().log_softmax(dim=-1)
        entropy = -(log_p * log_p.exp()).sum(dim=-1, keepdim=True)
        distance, order = (-log_p - entropy).abs().sort(dim=-1)
        reached = log_p.exp().gather(-1, order).cumsum(dim=-1)
        margin = (reached - settings.typical_mass).abs().amin(dim=-1)
        # Of two entries as far from the entropy, either may be the last one kept.
        last = (reached < settings.typical_mass).sum(dim=-1, keepdim=True)
        for edge in (last, last - 1):
            pair = torch.cat([edge, edge + 1], dim=-1).clamp(0, logits.shape[-1] - 1)
            gap = distance.gather(-1, pair).diff(dim=-1)[..., 0]
            gap = torch.where(pair[..., 0] < pair[..., 1], gap, torch.inf)
            margin = torch.minimum(margin, gap)
        logits = sampling.keep_typical(
            logits, settings.typical_mass, settings.typical_min_tokens
        )
    if corrected and settings.top_k is not None:
        logits = sampling.keep_top_k(logits, settings.top_k)
    if settings.top_p is not None:
        probabilities = logits.double().softmax(dim=-1)
        beyond = probabilities.sort(dim=-1, descending=True).values.cumsum(dim=-1)
        margin = torch.minimum(margin, (beyond - settings.top_p).abs().amin(dim=-1))
    return margin
