"""Variations of codes: coarse generation in chunks, then coarse to fine.

Published as ``vampnet.interface.Interface``: `encode`, `coarse_vamp`, `coarse_to_fine`,
`vamp`.  Decoding is `LAC.decode_requantised`.  The noise source is handed from chunk to chunk,
from feedback step to feedback step and on to the fine codes, as the published package goes on
with torch's generator; with the setting `reseed` every coarse generation restarts it, as the
published one does that is given a seed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.settings import GenerationSettings, VampSettings
from vampnet_onnx.models.networks.dims import CodecDims
from vampnet_onnx.models.networks.lac import LAC

from .audio import preprocess
from .generate import TokenModel, generate, require_codes
from .mask_plan import stretched
from .masks import apply_mask, codebook_unmask, full_mask, steps_of
from .noise import NoiseSource
from .sampling import StepResult

# Told the number of a generation's step and its result, predicted codebooks only.
OnStep = Callable[[int, StepResult], None]


def _ignore(_step: int, _result: StepResult) -> None:
    """Watch nothing."""


@dataclass(frozen=True)
class Vamped:
    """What vamping returns.

    Attributes:
        tokens: codes, int64 [B, C, T].
        masked_tokens: the codes that generation started from, with the mask token where a
            mask was in use, int64 [B, C, T]: what coarse saw in the last feedback step, and
            the fine codes under the mask of coarse-to-fine.
    """

    tokens: Tensor
    masked_tokens: Tensor


def encode(audio: Tensor, sample_rate: int, codec: LAC) -> Tensor:
    """Prepare and encode audio, float32 [B, channels, samples]: int64 [B, codebooks, T]."""
    return codec.encode(preprocess(audio, sample_rate, codec.dims)).codes


def vamp(
    codes: Tensor,
    mask: Tensor,
    *,
    coarse: TokenModel,
    c2f: TokenModel | None,
    dims: CodecDims,
    settings: VampSettings,
    noise: NoiseSource,
    on_step: OnStep = _ignore,
) -> Vamped:
    """Make variations of codes.

    Every feedback step masks what the one before generated, under the original mask, so all
    but the last leave no trace but the noise they used up.  That is as published.

    Args:
        codes: int64 [1 or B, C, T] of all codebooks.
        mask: int64 [1 or B, C, T] of 0 and 1.
        c2f: generates the fine ones; None keeps those of the input, by request: the
            published interface has no such option.
        on_step: told every step of every chunk, in order.

    Returns:
        Codes of T * time_stretch_factor steps.

    Raises:
        InputError: codes, mask, models and settings do not fit each other.
    """
    _require_models(coarse, c2f, dims)
    codes = _expanded(codes, settings.batch_size)
    mask = _expanded(mask, settings.batch_size)
    require_codes(codes, mask, n_codebooks=dims.n_codebooks, mask_token=coarse.mask_token)
    codes, mask = stretch(codes, mask, settings.time_stretch_factor)
    chunk = steps_of(settings.coarse_chunk_s, dims)
    part = Part(coarse, settings.coarse, chunk, noise, on_step, settings.reseed)
    tokens = codes
    for _ in range(settings.feedback_steps):
        made = coarse_vamp(part, tokens, mask)
        tokens = made.tokens
    if c2f is None:
        return made
    chunk = steps_of(settings.c2f_chunk_s, dims)
    fine = coarse_to_fine(Part(c2f, settings.c2f, chunk, noise, on_step), tokens, mask)
    n_coarse = coarse.n_codebooks
    masked = [made.masked_tokens[:, :n_coarse], fine.masked_tokens[:, n_coarse:]]
    return Vamped(fine.tokens, torch.cat(masked, dim=1))


@dataclass(frozen=True)
class Part:
    """One of the two models at work, on `chunk` time steps at a time.

    `reseed`: restart the noise before each of them.
    """

    model: TokenModel
    settings: GenerationSettings
    chunk: int
    noise: NoiseSource
    on_step: OnStep = _ignore
    reseed: bool = False

    def generate(self, codes: Tensor, mask: Tensor) -> Tensor:
        """Generate the masked codes of a chunk."""
        if self.reseed:
            self.noise.restart()
        return generate(
            self.model,
            codes,
            mask,
            settings=self.settings,
            noise=self.noise,
            on_step=self.on_step,
        )


def coarse_vamp(part: Part, codes: Tensor, mask: Tensor) -> Vamped:
    """Generate the masked coarse codes of all codes (int64 [B, C, T]) chunk by chunk.

    If any coarse code of a chunk (in any batch item) is kept, its first and last time step
    are kept, too, so that chunks join smoothly.  The last chunk is shorter.

    Returns:
        Codes with the fine codebooks of the input, which are in `masked_tokens`, too.
    """
    n = part.model.n_codebooks
    made, masked = [], []
    for piece, given_mask in _chunks(codes[:, :n], mask[:, :n], part.chunk):
        piece_mask = keep_edges(given_mask)
        start = apply_mask(piece, piece_mask, part.model.mask_token)
        made.append(part.generate(start, piece_mask))
        masked.append(start)
    fine = codes[:, n:]
    return Vamped(
        torch.cat([torch.cat(made, dim=-1), fine], dim=1),
        torch.cat([torch.cat(masked, dim=-1), fine], dim=1),
    )


def coarse_to_fine(part: Part, codes: Tensor, mask: Tensor | None = None) -> Vamped:
    """Generate the masked fine codes, given the coarse ones, chunk by chunk.

    Without a mask all of them, which `codes` need not have then: code 0 stands for them.  The
    last chunk is filled up with code 0 under mask 1; what is generated there is cut off.
    What is masked of the conditioning codebooks is kept.
    """
    steps, model = codes.shape[-1], part.model
    missing = -steps % part.chunk
    codes = F.pad(codes, (0, 0, 0, model.n_codebooks - codes.shape[1]))
    mask = full_mask(codes) if mask is None else mask
    mask = codebook_unmask(F.pad(mask, (0, missing), value=1), model.n_conditioning_codebooks)
    pieces = _chunks(F.pad(codes, (0, missing)), mask, part.chunk)
    tokens = torch.cat([part.generate(*piece) for piece in pieces], dim=-1)[..., :steps]
    return Vamped(tokens, apply_mask(tokens, mask[..., :steps], model.mask_token))


def keep_edges(mask: Tensor) -> Tensor:
    """Keep the first and last time step of a mask (int64 [B, C, T]) that keeps anything."""
    if (mask == 1).all():
        return mask
    kept = mask.clone()
    kept[..., 0] = 0
    kept[..., -1] = 0
    return kept


def stretch(codes: Tensor, mask: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Repeat every time step of codes and mask `factor` times and mask the repetitions."""
    return codes.repeat_interleave(factor, dim=-1), stretched(mask, factor)


def _chunks(codes: Tensor, mask: Tensor, length: int) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, codes.shape[-1], length):
        yield codes[..., start : start + length], mask[..., start : start + length]


def _expanded(tensor: Tensor, batch_size: int) -> Tensor:
    if tensor.ndim != 3 or tensor.shape[0] not in (1, batch_size):
        raise InputError(
            f"codes and mask must be [1 or {batch_size}, codebooks, steps] for batch_size ="
            f" {batch_size}, not {list(tensor.shape)}"
        )
    return tensor.expand(batch_size, -1, -1)


def _require_models(coarse: TokenModel, c2f: TokenModel | None, dims: CodecDims) -> None:
    for model in filter(None, (coarse, c2f)):
        if model.mask_token != dims.codebook_size:
            raise InputError(
                f"{model.name} has {model.mask_token} entries a codebook, the codec"
                f" {dims.codebook_size}: they are not of one set"
            )
        beyond = model.n_codebooks - dims.n_codebooks
        if beyond > 0 or (model is c2f and beyond):  # coarse may leave fine ones out
            raise InputError(
                f"{model.name} works on {model.n_codebooks} codebooks, the codec has"
                f" {dims.n_codebooks}: they are not of one set"
            )
