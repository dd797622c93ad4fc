"""The reference's side: what it generates, and how likely it finds what anybody generated."""

import math
from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.configs.names import TRANSFORMERS
from vampnet_onnx.models import LAC, ModelSet
from vampnet_onnx.models.behaviour import interface
from vampnet_onnx.models.behaviour.generate import TokenModel, token_model
from vampnet_onnx.pipeline.steps.noise import Integers
from vampnet_onnx.verify.subjects.case import Computed, Likelihood, Outputs, Scores
from vampnet_onnx.verify.subjects.codec import codec_of

from .plan import (
    PARTS,
    NoiseOfEach,
    clip,
    codec_of_record,
    excerpts,
    mask_of,
    options,
    parts_to_hide,
)

_AT_ONCE = 16  # items that are scored at a time


class _OfTorch:
    """Noise as the networks in PyTorch take it."""

    def __init__(self, noise: NoiseOfEach) -> None:
        self._noise = noise

    def exponential(self, shape: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(self._noise.exponential(shape))

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(self._noise.uniform(shape))

    def restart(self) -> None:
        self._noise.restart()


def generate_in_torch(record: ComponentRecord, inputs: Outputs, models: ModelSet) -> Computed:
    """Vary the clip in PyTorch.

    Args:
        models: with codec, coarse and, where the record has fine codes, c2f.

    Returns:
        ``tokens`` (int64 [B, C, T]) and ``audio`` (float32 [B, 1, samples]), with what scores
        any tokens.
    """
    codec = codec_of(models)
    parts = token_models(models, fine=bool(record.dim("n_fine", least=0)))
    made = vary(record, inputs, codec, parts)
    generated = (made.masked_tokens == codec.dims.codebook_size).numpy()
    scored = partial(likelihood, parts, generated)
    tokens = made.tokens.numpy()
    return Computed(
        {"tokens": tokens, "audio": codec.decode_requantised(made.tokens).numpy()},
        likelihood=Likelihood(scored(tokens), scored),
    )


def vary(
    record: ComponentRecord, inputs: Outputs, codec: LAC, parts: Mapping[str, TokenModel]
) -> interface.Vamped:
    """Vary the clip by any networks: ``coarse``, and ``c2f`` if fine codes are made."""
    seeds, frames = [int(seed) for seed in inputs["seeds"]], int(inputs["frames"])
    whole = codec.encode(torch.from_numpy(inputs["audio"])).codes.numpy()
    codes = excerpts(whole, len(seeds), frames)
    return interface.vamp(
        torch.from_numpy(codes),
        torch.from_numpy(mask_of(codes, record.dim("n_coarse"))),
        coarse=parts["coarse"],
        c2f=parts.get("c2f"),
        dims=codec.dims,
        settings=options(len(seeds), frames, codec_of_record(record)),
        noise=_OfTorch(NoiseOfEach(seeds)),
    )


def likelihood(
    parts: Mapping[str, TokenModel], generated: np.ndarray, tokens: Integers
) -> Scores:
    """Return how likely networks find the codes that were generated.

    A quarter of them is hidden at a time, so that every one is scored once, given all others.

    Args:
        generated: which codes were, bool [B, C, T].
        tokens: int64 [B, C, T], of any origin.

    Returns:
        By network, the mean log-likelihood of its own codes, nats a code, float64 [B].
    """
    found = {}
    with torch.inference_mode():
        for name, model in parts.items():
            own = slice(model.n_conditioning_codebooks, model.n_codebooks)
            pairs = zip(
                torch.from_numpy(tokens[:, : model.n_codebooks]).split(_AT_ONCE),
                torch.from_numpy(generated[:, own]).split(_AT_ONCE),
                strict=True,
            )
            found[name] = torch.cat([_scored(model, *pair) for pair in pairs]).numpy()
    return found


def gain_over_chance(models: ModelSet) -> float:
    """Return how much better than chance coarse predicts the codes of music, nats a code.

    Chance is one in as many as a codebook has entries.  A network of random weights is worse
    than that; one that has learnt from music is better.
    """
    codec = codec_of(models)
    audio = clip(codec.dims.sample_rate, codec.dims.hop_length)
    with torch.inference_mode():
        codes = codec.encode(torch.from_numpy(audio)).codes.numpy()
    scored = likelihood(token_models(models, fine=False), np.ones(codes.shape, bool), codes)[
        "coarse"
    ]
    return float(scored.mean()) + math.log(codec.dims.codebook_size)


def token_models(models: ModelSet, *, fine: bool) -> dict[str, TokenModel]:
    """Return coarse, and c2f if asked for."""
    quantizer = codec_of(models).quantizer
    return {
        name: token_model(name, models.transformers[name], quantizer)
        for name in TRANSFORMERS
        if name == "coarse" or fine
    }


def _scored(model: TokenModel, codes: Tensor, generated: Tensor) -> Tensor:
    """Score codes, int64 [B, C, T], of which some of the predicted ones were generated."""
    predicted = codes[:, model.n_conditioning_codebooks :]
    part = torch.from_numpy(parts_to_hide(tuple(predicted.shape[1:])))
    total = torch.zeros(len(codes), dtype=torch.float64)
    for number in range(PARTS):
        hidden = generated & (part == number)
        given = codes.clone()
        given[:, model.n_conditioning_codebooks :][hidden] = model.mask_token
        logits = model.logits(given).unflatten(2, (-1, predicted.shape[1]))
        each = logits.transpose(1, 3).double().log_softmax(dim=-1)  # [B, P, T, V]
        own = each.gather(3, predicted[..., None])[..., 0]
        total += torch.where(hidden, own, 0).sum(dim=(1, 2))
    return total / generated.sum(dim=(1, 2))
