"""The registry of components: what each one's file takes and gives, and how it is made.

Networks are traced (`TracedComponent`) after passes over their modules; what has no weights
is drawn (`DrawnComponent`), each in a module of its own.

Sources of the order and the names: ARCHITECTURE.md, table of components.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.names import TRANSFORMERS
from vampnet_onnx.export.passes import (
    FoldCodebooksIntoEmbedding,
    FoldSnake,
    FoldWeightNorm,
    MergeLoRA,
    ModulePass,
    NormaliseCodebooks,
    PointwiseToLinear,
    StackCodebooks,
    TabulatePositionBias,
)
from vampnet_onnx.models import LAC, CodecDims, ModelSet, VampNet

from . import audio_processor as audio
from .codec_facts import decoder_context, encoder_context, requantised
from .component import Component, DrawnComponent, TracedComponent
from .component import signature as _signature
from .entries import CodecDecoder, CodecEncoder, Transformer
from .mask_generator import mask_generator
from .sampler import sampler

__all__ = [
    "COMPONENTS",
    "LATENTS",
    "Component",
    "available",
    "build_component",
    "required_checkpoint",
    "sharing_copy",
    "variants",
]

COMPONENTS = (
    "codec_encoder",
    "codec_decoder",
    *TRANSFORMERS,
    audio.NAME,
    "mask_generator",
    "sampler",
)
LATENTS = "latents"

# Traced sizes are primes, so that no fixed number of the graph can be mistaken for them.
_TRACE_BATCH = 2
_TRACE_FRAMES = 13


def required_checkpoint(name: str) -> tuple[str, ...]:
    """Return the transformers whose checkpoint a component is made from."""
    return (name,) if name in TRANSFORMERS else ()


def available(present: Sequence[str]) -> list[str]:
    """Return the components that can be made from the checkpoints present."""
    return [n for n in COMPONENTS if (n if n in TRANSFORMERS else "codec") in present]


def variants(
    name: str, *, inputs: Sequence[str], rates: Sequence[int] | None, dims: CodecDims | None
) -> list[str]:
    """Return the variants of a component to export, empty for the standard one.

    Args:
        name: component.
        inputs: entry points of the transformers, ``codes`` and ``latents``.
        rates: of audio in Hz that the audio processor is to take beside the codec's own;
            None for the usual ones.
        dims: of the codec, if there is one.
    """
    if name in TRANSFORMERS:
        return [LATENTS if entry == LATENTS else "" for entry in inputs]
    if name == audio.NAME and dims is not None:
        return ["", *map(audio.variant_name, audio.resampled_rates(dims, rates))]
    return [""]


def is_known(name: str, variant: str) -> bool:
    """Return whether there is such a component with such a variant."""
    if not variant or name not in COMPONENTS:
        return name in COMPONENTS
    if name in TRANSFORMERS:
        return variant == LATENTS
    return name == audio.NAME and re.fullmatch(r"from_[1-9][0-9]*", variant) is not None


def build_component(name: str, models: ModelSet, *, variant: str = "") -> Component:
    """Prepare one component for export.

    The module shares its tensors with the models but none of its structure, so passes leave
    the models as they are.

    Raises:
        InputError: the checkpoints it is made from are not there.
    """
    if name not in TRANSFORMERS:
        if models.codec is None:
            raise InputError(f"{models.folder}: no codec.pth, which {name} is made from")
        if name in ("codec_encoder", "codec_decoder"):
            build = _encoder if name == "codec_encoder" else _decoder
            return build(sharing_copy(models.codec))
        return _drawn(name, variant, models.codec.dims)
    if name not in models.transformers:
        raise InputError(f"{models.folder}: no {name}.pth, which {name} is made from")
    model = sharing_copy(models.transformers[name])
    if variant == LATENTS:
        return _transformer(name, model, None)
    if models.codec is None:
        raise InputError(
            f"{models.folder}: {name} looks codes up in the codec's tables, but there is no"
            f" codec.pth; add it, or export the entry by latents with --input latents"
        )
    return _transformer(name, model, models.codec)


def sharing_copy(module: nn.Module) -> nn.Module:
    """Copy a module's structure; parameters and buffers stay the same tensors."""
    shared = {id(t): t for t in (*module.parameters(), *module.buffers())}
    return copy.deepcopy(module, dict(shared))


def _drawn(name: str, variant: str, dims: CodecDims) -> DrawnComponent:
    if name == audio.NAME:
        return audio.audio_processor(dims, source_rate=audio.rate_of_variant(variant))
    return {"mask_generator": mask_generator, "sampler": sampler}[name](dims)


def _encoder(codec: nn.Module) -> TracedComponent:
    assert isinstance(codec, LAC)
    dims = codec.dims
    samples = _TRACE_FRAMES * dims.hop_length - dims.hop_length // 3
    return TracedComponent(
        name="codec_encoder",
        variant="",
        module=CodecEncoder(codec),
        passes=(FoldWeightNorm(), FoldSnake(), NormaliseCodebooks()),
        example=(_seeded(lambda g: torch.randn(_TRACE_BATCH, 1, samples, generator=g)) / 4,),
        inputs=(_signature("audio", "float32", "batch", 1, "samples"),),
        outputs=(
            _signature("codes", "int64", "batch", dims.n_codebooks, "frames"),
            _signature("latents", "float32", "batch", sum(dims.codebook_dims), "frames"),
        ),
        dims=dims,
        facts={"context_frames": encoder_context(codec)},
    )


def _decoder(codec: nn.Module) -> TracedComponent:
    assert isinstance(codec, LAC)
    dims = codec.dims
    # Not all codebooks where there are several: the axis must stay free.
    books = max(1, dims.n_codebooks - 1)
    return TracedComponent(
        name="codec_decoder",
        variant="",
        module=CodecDecoder(codec),
        passes=(FoldWeightNorm(), FoldSnake(), StackCodebooks()),
        example=(_seeded_codes(_TRACE_BATCH, books, dims.codebook_size + 1),),
        inputs=(_signature("codes", "int64", "batch", "codebooks", "frames"),),
        outputs=(_signature("audio", "float32", "batch", 1, "samples"),),
        dims=dims,
        facts={"context_frames": decoder_context(codec), "requantised": requantised(codec)},
    )


def _transformer(name: str, model: nn.Module, codec: LAC | None) -> TracedComponent:
    assert isinstance(model, VampNet)
    dims = model.dims
    logits = _signature("logits", "float32", "batch", dims.vocab_size, "positions")
    common: tuple[ModulePass, ...] = (FoldWeightNorm(), MergeLoRA(), TabulatePositionBias())
    if codec is None:
        width = dims.n_codebooks * dims.latent_dim
        shape = (_TRACE_BATCH, width, _TRACE_FRAMES)
        return TracedComponent(
            name=name,
            variant=LATENTS,
            module=Transformer(model, None),
            passes=(*common, PointwiseToLinear()),
            example=(_seeded(lambda g: torch.randn(shape, generator=g)),),
            inputs=(_signature(LATENTS, "float32", "batch", width, "frames"),),
            outputs=(logits,),
            dims=dims,
        )
    return TracedComponent(
        name=name,
        variant="",
        module=Transformer(model, codec.quantizer),
        passes=(FoldCodebooksIntoEmbedding(), *common, PointwiseToLinear()),
        example=(_seeded_codes(_TRACE_BATCH, dims.n_codebooks, dims.vocab_size + 1),),
        inputs=(_signature("codes", "int64", "batch", dims.n_codebooks, "frames"),),
        outputs=(logits,),
        dims=dims,
    )


def _seeded_codes(batch: int, books: int, below: int) -> Tensor:
    shape = (batch, books, _TRACE_FRAMES)
    return _seeded(lambda g: torch.randint(below, shape, generator=g))


def _seeded(draw: Callable[[torch.Generator], Tensor]) -> Tensor:
    return draw(torch.Generator().manual_seed(0))
