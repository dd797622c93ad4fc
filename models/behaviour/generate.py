"""Masked parallel decoding: from codes with mask tokens to codes without.

Published as ``VampNet.generate``.  The loop does not know how logits are computed (a
`TokenModel` holds a function from codes to logits) nor where noise comes from
(`models.behaviour.noise`), so the PyTorch network and an exported graph run through the same
lines.

``pipeline/steps/generate.py`` has a loop of its own, and they stay two: shared, the check of
whole generations would compare a loop with itself.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.settings import GenerationSettings, Mode
from vampnet_onnx.models.networks.quantize import ResidualVectorQuantize
from vampnet_onnx.models.networks.vampnet import VampNet

from .masks import apply_mask, codebook_unmask, full_mask
from .noise import NoiseSource
from .sampling import StepResult, draws_tokens, sampling_step


@dataclass(frozen=True)
class TokenModel:
    """What generation needs to know of a transformer.

    Attributes:
        logits: from codes (int64 [B, C, T], mask token allowed) to logits
            (float32 [B, V, T * P], time-major and codebook-minor).
        n_codebooks: C, codebooks in its input.
        n_conditioning_codebooks: leading ones that it does not predict, C - P.
        mask_token: index of the mask token, V.
    """

    name: str
    logits: Callable[[Tensor], Tensor]
    n_codebooks: int
    n_conditioning_codebooks: int
    mask_token: int


def token_model(name: str, model: VampNet, quantizer: ResidualVectorQuantize) -> TokenModel:
    """Return the `TokenModel` of a PyTorch network and its codec's quantiser."""
    return TokenModel(
        name=name,
        logits=lambda codes: model.forward_codes(codes, quantizer),
        n_codebooks=model.dims.n_codebooks,
        n_conditioning_codebooks=model.dims.n_conditioning_codebooks,
        mask_token=model.dims.mask_token,
    )


def generate(
    model: TokenModel,
    codes: Tensor,
    mask: Tensor | None,
    *,
    settings: GenerationSettings,
    noise: NoiseSource,
    on_step: Callable[[int, StepResult], None] = lambda _step, _result: None,
) -> Tensor:
    """Generate the masked codes.

    What is generated is every mask token among the predicted codebooks, whether the mask put
    it there or the codes brought it.  Conditioning codebooks come back as they were.

    Reference mode counts the mask tokens at the start over the whole batch and all codebooks,
    so batch items influence each other; corrected mode counts each item's own.  A mask over
    conditioning codebooks, which the published interface never hands on, is applied at the
    first step only (and counted) in reference mode, and ignored in corrected mode.

    Args:
        codes: int64 [B, C, T], mask token allowed.
        mask: int64 [B, C, T] of 0 and 1, or None for all but the conditioning codebooks.
        noise: asked twice a step, see `models.behaviour.noise`.
        on_step: told the step's number and its result (predicted codebooks only).

    Returns:
        int64 [B, C, T] without mask tokens in the predicted codebooks.

    Raises:
        InputError: codes or mask do not fit the model.
        FloatingPointError: the model gives logits that are not finite.
    """
    n_given = model.n_conditioning_codebooks
    if mask is None:
        mask = codebook_unmask(full_mask(codes), n_given)
    require_codes(codes, mask, n_codebooks=model.n_codebooks, mask_token=model.mask_token)
    if settings.mode is Mode.CORRECTED:
        mask = codebook_unmask(mask, n_given)
    masked = apply_mask(codes, mask, model.mask_token)
    given, predicted = masked.tensor_split([n_given], dim=1)
    at_start = count_at_start(masked, predicted, model.mask_token, settings.mode)
    for step in range(settings.steps):
        logits = _guided_logits(model, torch.cat([given, predicted], dim=1), settings)
        if not torch.isfinite(logits).all():
            raise FloatingPointError(f"{model.name}: logits are not finite at step {step}")
        exponential, uniform = _step_noise(logits, step, settings, noise)
        result = sampling_step(
            logits,
            predicted,
            step=step,
            at_start=at_start,
            mask_token=model.mask_token,
            settings=settings,
            exponential=exponential,
            uniform=uniform,
        )
        on_step(step, result)
        given, predicted = codes[:, :n_given], result.codes
    return torch.cat([given, result.sampled], dim=1)


def require_codes(codes: Tensor, mask: Tensor, *, n_codebooks: int, mask_token: int) -> None:
    """Check codes and their mask before anything is made of them.

    Codes should be int64 [B, n_codebooks, T] from 0 to `mask_token`, the mask of the same
    shape with 0 and 1 only.

    Raises:
        InputError: naming what does not fit.
    """
    if codes.ndim != 3 or codes.shape[1] != n_codebooks or not codes.numel():
        raise InputError(
            f"codes must be [batch, {n_codebooks}, steps], not {list(codes.shape)}"
        )
    if codes.dtype != torch.int64 or codes.min() < 0 or codes.max() > mask_token:
        raise InputError(
            f"codes must be int64 from 0 to {mask_token}, the mask token; these are"
            f" {codes.dtype} from {codes.min()} to {codes.max()}"
        )
    if mask.shape != codes.shape:
        raise InputError(f"the mask is {list(mask.shape)}, the codes {list(codes.shape)}")
    if not ((mask == 0) | (mask == 1)).all():
        raise InputError("a mask holds only 0 (keep) and 1 (generate); this one has others")


def count_at_start(masked: Tensor, predicted: Tensor, mask_token: int, mode: Mode) -> Tensor:
    """Return the number the schedule counts down from.

    In reference mode one number for the batch, of all codebooks before the first step
    (`masked`, int64 [B, C, T]); in corrected mode int64 [B], of the predicted ones of them.
    """
    if mode is Mode.REFERENCE:
        return (masked == mask_token).sum()
    return (predicted == mask_token).sum(dim=(1, 2))


def _guided_logits(model: TokenModel, codes: Tensor, settings: GenerationSettings) -> Tensor:
    """Return logits, with classifier-free guidance where it has an effect.

    Published: the batch is doubled by items that are all mask tokens, the two halves' logits
    are combined, and the combination is not used.  Corrected: Ho and Salimans,
    "Classifier-Free Diffusion Guidance" (2022): g * conditional + (1 - g) * unconditional.
    """
    scale = settings.cfg_guidance
    if scale is None or settings.mode is Mode.REFERENCE:
        return model.logits(codes)
    both = torch.cat([codes, torch.full_like(codes, model.mask_token)])
    conditional, unconditional = model.logits(both).chunk(2)
    return scale * conditional + (1 - scale) * unconditional


def _step_noise(
    logits: Tensor, step: int, settings: GenerationSettings, noise: NoiseSource
) -> tuple[Tensor | None, Tensor]:
    """Ask for a step's noise, for twice the items where the published batch is doubled."""
    batch, entries, positions = logits.shape
    doubled = settings.cfg_guidance is not None and settings.mode is Mode.REFERENCE
    asked = 2 * batch if doubled else batch
    exponential = None
    if draws_tokens(step, settings):
        exponential = noise.exponential((asked * positions, entries))[: batch * positions]
    return exponential, noise.uniform((asked, positions))[:batch]
