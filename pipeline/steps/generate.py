"""Masked parallel decoding on the artifacts: from codes with mask tokens to codes without.

Published as ``VampNet.generate``; the same lines as ``models.behaviour.generate`` around two
graphs, the transformer and the sampler.  Everything that looks at a probability is in the
sampler's graph.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from vampnet_onnx.configs.errors import NotFiniteError
from vampnet_onnx.configs.settings import GenerationSettings, Mode
from vampnet_onnx.pipeline.version.components import Generator, Transformer
from vampnet_onnx.pipeline.version.session import Graph

from .checks import require_codes, require_mask
from .noise import Floats, Integers, NoiseSource


def generate(
    model: Transformer,
    sampler: Graph,
    codes: Integers,
    mask: Integers | None,
    *,
    settings: GenerationSettings,
    noise: NoiseSource,
    on_step: Callable[[], None] = lambda: None,
    where: str = "",
) -> Integers:
    """Generate the masked codes.

    What is generated is every mask token among the predicted codebooks, whether the mask put
    it there or the codes brought it.  Conditioning codebooks come back as they were.  For
    what the modes differ in see `configs.settings.Mode` and ``models.behaviour.generate``.

    Args:
        codes: int64 [B, C, T], mask token allowed.
        mask: int64 [B, C, T] of 0 and 1, or None for all but the conditioning codebooks.
        noise: asked twice a step, by a thread of its own while the network runs; a step ends
            with its noise drawn, also one that fails.
        on_step: called after every step.
        where: what the messages say of the place, beside the step.

    Returns:
        int64 [B, C, T] without mask tokens in the predicted codebooks.

    Raises:
        InputError: codes or mask do not fit the model.
        NotFiniteError: logits or confidences are not finite; step, component and seed named.
    """
    n_given, token = model.n_conditioning_codebooks, model.mask_token
    mask = required_mask(model, codes, mask)
    if settings.mode is Mode.CORRECTED:
        mask = mask.copy()
        mask[:, :n_given] = 0
    masked = apply_mask(codes, mask, token)
    given, predicted = masked[:, :n_given], masked[:, n_given:]
    at_start = _count_at_start(masked, predicted, token, settings.mode)
    fixed = _sampler_options(settings)
    with ThreadPoolExecutor(1, "noise") as drawer:
        for step in range(settings.steps):
            drawing = drawer.submit(_step_noise, predicted.shape, token, step, settings, noise)
            place = f"{model.name}: step {step + 1} of {settings.steps}{where}, {noise.name}"
            logits = _guided_logits(
                model, np.concatenate([given, predicted], axis=1), settings, place
            )
            exponential, uniform = drawing.result()
            result = sampler.run(
                {
                    **fixed,
                    "logits": logits,
                    "codes": predicted,
                    "step": np.array(step, np.int64),
                    "at_start": at_start,
                    "exponential": exponential,
                    "uniform": uniform,
                }
            )
            if np.isnan(result["confidence"]).any():
                raise confidences_are_no_numbers(place, settings)
            on_step()
            given, predicted = codes[:, :n_given], result["next_codes"]
    return np.concatenate([given, result["sampled"]], axis=1)


def required_mask(
    model: Transformer | Generator, codes: Integers, mask: Integers | None
) -> Integers:
    """Return the mask of codes, that of all predicted ones for None; arguments as `generate`.

    Raises:
        InputError: codes or mask do not fit the model.
    """
    if mask is None:
        mask = np.ones_like(codes)
        mask[:, : model.n_conditioning_codebooks] = 0
    require_codes(codes, n_codebooks=model.n_codebooks, mask_token=model.mask_token)
    require_mask(mask, codes)
    return mask


def logits_are_not_finite(place: str) -> NotFiniteError:
    """Return what to raise at a place: component, step and seed."""
    return NotFiniteError(
        f"{place}: logits are not finite; the component computes nonsense, so nothing is made"
        " of it. Verify the artifacts (vampnet-onnx verify)"
    )


def confidences_are_no_numbers(place: str, settings: GenerationSettings) -> NotFiniteError:
    """Return what to raise at a place; see `logits_are_not_finite`."""
    return NotFiniteError(
        f"{place}: confidences are not numbers; temperature = {settings.temperature} is too"
        " small for these logits, raise it, or mask_temperature ="
        f" {settings.mask_temperature} too large, lower it"
    )


def guidance_is_too_large(place: str, settings: GenerationSettings) -> NotFiniteError:
    """Return what to raise at a place; see `logits_are_not_finite`."""
    return NotFiniteError(
        f"{place}: cfg_guidance = {settings.cfg_guidance} is too large for these logits, lower"
        " it"
    )


def apply_mask(codes: Integers, mask: Integers, mask_token: int) -> Integers:
    """Return codes (int64 [B, C, T]) with the mask token where the mask is 1."""
    return np.where(mask == 1, np.int64(mask_token), codes)


def _count_at_start(
    masked: Integers, predicted: Integers, mask_token: int, mode: Mode
) -> Integers:
    """Return the number the schedule counts down from for each item, int64 [B]."""
    if mode is Mode.CORRECTED:
        return np.asarray((predicted == mask_token).sum(axis=(1, 2)), np.int64)
    total = np.int64((masked == mask_token).sum())
    return np.full(len(masked), total)


def _sampler_options(settings: GenerationSettings) -> dict[str, NDArray[np.generic]]:
    """Return the sampler's inputs that stay the same from step to step."""
    corrected = settings.mode is Mode.CORRECTED
    return {
        "steps": np.array(settings.steps, np.int64),
        "temperature": np.array(settings.temperature, np.float32),
        "mask_temperature": np.array(settings.mask_temperature, np.float32),
        "sample_cutoff": np.array(settings.sample_cutoff, np.float64),
        "top_k": np.array((settings.top_k or 0) if corrected else 0, np.int64),
        "top_p": np.array(1.0 if settings.top_p is None else settings.top_p, np.float32),
        "typical_filtering": np.array(corrected and settings.typical_filtering),
        "typical_mass": np.array(settings.typical_mass, np.float32),
        "typical_min_tokens": np.array(settings.typical_min_tokens, np.int64),
    }


def _guided_logits(
    model: Transformer, codes: Integers, settings: GenerationSettings, place: str
) -> Floats:
    """Return finite logits, with classifier-free guidance where it has an effect."""
    scale = settings.cfg_guidance
    guided = scale is not None and settings.mode is Mode.CORRECTED
    if guided:
        codes = np.concatenate([codes, np.full_like(codes, model.mask_token)])
    logits = model.logits(codes)
    if not np.isfinite(logits).all():
        raise logits_are_not_finite(place)
    if scale is None or not guided:
        return logits
    conditional, unconditional = np.split(logits, 2)
    with np.errstate(over="ignore", invalid="ignore"):  # looked for below
        logits = np.float32(scale) * conditional + np.float32(1 - scale) * unconditional
    if not np.isfinite(logits).all():
        raise guidance_is_too_large(place, settings)
    return logits


def _step_noise(
    predicted: tuple[int, ...],
    entries: int,
    step: int,
    settings: GenerationSettings,
    noise: NoiseSource,
) -> tuple[Floats, Floats]:
    """Ask for a step's noise, for twice the items where the published batch is doubled.

    Args:
        predicted: shape of the predicted codes, [B, P, T].
        entries: of a codebook.
    """
    batch, positions = predicted[0], predicted[1] * predicted[2]
    doubled = settings.cfg_guidance is not None and settings.mode is Mode.REFERENCE
    asked = 2 * batch if doubled else batch
    exponential = np.zeros((0, entries), np.float32)
    if step / settings.steps <= settings.sample_cutoff:  # later ones take the most probable
        exponential = noise.exponential((asked * positions, entries))[: batch * positions]
    return exponential, noise.uniform((asked, positions))[:batch]
