"""Training of the transformers: to predict codes that are masked.

Source: Garcia et al., "VampNet" (2023), and Chang et al., "MaskGIT" (2022): each item is
masked at a ratio of its own, gamma(r) with r uniform, and the loss is the cross-entropy of the
masked codes.  The codec's tables are inputs of the network and stay as they are.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vampnet_onnx.models import LAC, ResidualVectorQuantize, VampNet, VampNetDims
from vampnet_onnx.models.behaviour.masks import apply_mask, codebook_unmask
from vampnet_onnx.models.behaviour.sampling import flatten_codes, gamma
from vampnet_onnx.models.checkpoints.random_checkpoint import random_state

from .corpus import random_segments
from .optimise import Progress, device, optimise
from .recipe import LoraStage, Stage


def random_masks(codes: Tensor, n_conditioning: int, generator: torch.Generator) -> Tensor:
    """Mask each item of codes (int64 [B, C, T]) at a ratio of its own; int64 [B, C, T]."""
    ratio = gamma(torch.rand(len(codes), 1, 1, generator=generator))
    mask = torch.bernoulli(ratio.expand(codes.shape), generator=generator).long()
    return codebook_unmask(mask, n_conditioning)


def masked_cross_entropy(
    model: VampNet, quantizer: ResidualVectorQuantize, codes: Tensor, mask: Tensor
) -> Tensor:
    """Return the cross-entropy of every masked code in nats, float32 [masked codes].

    Args:
        model: to predict them.
        quantizer: of the codec, for its tables.
        codes: int64 [B, C, T].
        mask: int64 of the same shape, 0 on conditioning codebooks.
    """
    given = model.dims.n_conditioning_codebooks
    logits = model.forward_codes(apply_mask(codes, mask, model.dims.mask_token), quantizer)
    losses = F.cross_entropy(logits, flatten_codes(codes[:, given:]), reduction="none")
    return losses[flatten_codes(mask[:, given:]).bool()]


def train_transformer(
    kwargs: dict[str, Any], codec: LAC, corpus: Tensor, stage: Stage, *, progress: Progress
) -> tuple[VampNet, list[float]]:
    """Train a transformer from scratch.

    Args:
        kwargs: the published constructor's keywords.
        codec: that made the codes.
        corpus: codes, int64 [pieces, codebooks, frames].
        stage: its training.
        progress: told of every 25 steps.

    Returns:
        The transformer, on the CPU, and its loss curve.
    """
    generator = torch.Generator().manual_seed(stage.seed)
    model = VampNet(VampNetDims.from_kwargs(kwargs, "the recipe"), rank=0)
    model.load_state_dict(random_state(model, generator))
    curve = _fit(model, codec, corpus, stage, generator, progress)
    return model, curve


def train_lora(
    base: VampNet, codec: LAC, corpus: Tensor, stage: LoraStage, *, progress: Progress
) -> tuple[dict[str, Tensor], list[float]]:
    """Train a low-rank update of a transformer.

    Source: Hu et al., "LoRA" (2021).  A starts random, B as zeros, so the update starts as
    none.

    Args:
        base: without LoRA tensors; it is not changed.
        codec: that made the codes.
        corpus: codes, int64 [pieces, codebooks, frames].
        stage: its training.
        progress: told of every 25 steps.

    Returns:
        The tensors of a LoRA file, and the loss curve.
    """
    generator = torch.Generator().manual_seed(stage.seed)
    model = VampNet(base.dims, rank=stage.rank)
    model.load_state_dict(base.state_dict(), strict=False)  # the base has no update yet
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.endswith((".lora_A", ".lora_B")))
        if name.endswith(".lora_A"):
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data = noise / math.sqrt(parameter.shape[1])
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    curve = _fit(model, codec, corpus, stage, generator, progress)
    state = model.state_dict()
    return {name: state[name] for name in names}, curve


def _fit(
    model: VampNet,
    codec: LAC,
    corpus: Tensor,
    stage: Stage,
    generator: torch.Generator,
    progress: Progress,
) -> list[float]:
    """Minimise the masked cross-entropy; the model comes back frozen and on the CPU."""
    model.to(device())
    quantizer = codec.quantizer.to(device())
    own = corpus[:, : model.dims.n_codebooks]

    def loss(_step: int) -> Tensor:
        codes = random_segments(
            own, length=stage.segment_frames, batch=stage.batch, generator=generator
        )
        mask = random_masks(codes, model.dims.n_conditioning_codebooks, generator)
        return masked_cross_entropy(
            model, quantizer, codes.to(device()), mask.to(device())
        ).mean()

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    curve = optimise({1.0: trained}, loss, stage, progress=progress)
    quantizer.cpu()
    model.cpu().eval().requires_grad_(False)
    return curve
