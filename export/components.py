"""What each component's file takes and gives, and how its module is made ready.

Sources of the order and the names: ARCHITECTURE.md, table of components.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from configs.errors import InputError
from configs.manifest import Fact, TensorSignature
from models import LAC, CodecDims, ModelSet, VampNet, VampNetDims

from .codec_facts import decoder_context, encoder_context, requantised
from .entries import CodecDecoder, CodecEncoder, Transformer
from .passes import (
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

COMPONENTS = ("codec_encoder", "codec_decoder", "coarse", "c2f")
LATENTS = "latents"

# Traced sizes are primes, so that no fixed number of the graph can be mistaken for them.
_TRACE_BATCH = 2
_TRACE_FRAMES = 13


@dataclass(frozen=True)
class Component:
    """One file to export.

    Attributes:
        name: component name.
        variant: empty, or ``latents``.
        module: the module to trace; passes change it in place.
        passes: to run on it.
        example: traced input, seeded.
        inputs: signature of the file.
        outputs: signature of the file.
        dims: dimensions of the checkpoint.
        facts: what a caller must know beyond the signature (`export.codec_facts`).
    """

    name: str
    variant: str
    module: nn.Module
    passes: Sequence[ModulePass]
    example: tuple[Tensor, ...]
    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]
    dims: CodecDims | VampNetDims
    facts: dict[str, Fact] = dataclasses.field(default_factory=dict)

    @property
    def id(self) -> str:
        """Name with variant, such as ``coarse.latents``."""
        return f"{self.name}.{self.variant}" if self.variant else self.name

    def dims_record(self) -> dict[str, int | tuple[int, ...]]:
        """Return the dimensions as plain values."""
        return dataclasses.asdict(self.dims)


def required_checkpoint(name: str) -> tuple[str, ...]:
    """Return the transformers whose checkpoint a component is made from."""
    return (name,) if name in ("coarse", "c2f") else ()


def available(present: Sequence[str]) -> list[str]:
    """Return the components that can be made from the checkpoints present."""
    return [
        n for n in COMPONENTS if n in present or (n.startswith("codec") and "codec" in present)
    ]


def build_component(name: str, models: ModelSet, *, variant: str = "") -> Component:
    """Prepare one component for export.

    The module shares its tensors with the models but none of its structure, so passes leave
    the models as they are.

    Raises:
        InputError: the checkpoints it is made from are not there.
    """
    if name in ("codec_encoder", "codec_decoder"):
        if models.codec is None:
            raise InputError(f"{models.folder}: no codec.pth, which {name} is made from")
        build = _encoder if name == "codec_encoder" else _decoder
        return build(sharing_copy(models.codec))
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


def _encoder(codec: nn.Module) -> Component:
    assert isinstance(codec, LAC)
    dims = codec.dims
    samples = _TRACE_FRAMES * dims.hop_length - dims.hop_length // 3
    return Component(
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


def _decoder(codec: nn.Module) -> Component:
    assert isinstance(codec, LAC)
    dims = codec.dims
    # Not all codebooks where there are several: the axis must stay free.
    books = max(1, dims.n_codebooks - 1)
    return Component(
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


def _transformer(name: str, model: nn.Module, codec: LAC | None) -> Component:
    assert isinstance(model, VampNet)
    dims = model.dims
    logits = _signature("logits", "float32", "batch", dims.vocab_size, "positions")
    common: tuple[ModulePass, ...] = (FoldWeightNorm(), MergeLoRA(), TabulatePositionBias())
    if codec is None:
        width = dims.n_codebooks * dims.latent_dim
        shape = (_TRACE_BATCH, width, _TRACE_FRAMES)
        return Component(
            name=name,
            variant=LATENTS,
            module=Transformer(model, None),
            passes=(*common, PointwiseToLinear()),
            example=(_seeded(lambda g: torch.randn(shape, generator=g)),),
            inputs=(_signature(LATENTS, "float32", "batch", width, "frames"),),
            outputs=(logits,),
            dims=dims,
        )
    return Component(
        name=name,
        variant="",
        module=Transformer(model, codec.quantizer),
        passes=(FoldCodebooksIntoEmbedding(), *common, PointwiseToLinear()),
        example=(_seeded_codes(_TRACE_BATCH, dims.n_codebooks, dims.vocab_size + 1),),
        inputs=(_signature("codes", "int64", "batch", dims.n_codebooks, "frames"),),
        outputs=(logits,),
        dims=dims,
    )


def _signature(name: str, dtype: str, *shape: int | str) -> TensorSignature:
    return TensorSignature(name=name, dtype=dtype, shape=shape)


def _seeded_codes(batch: int, books: int, below: int) -> Tensor:
    shape = (batch, books, _TRACE_FRAMES)
    return _seeded(lambda g: torch.randint(below, shape, generator=g))


def _seeded(draw: Callable[[torch.Generator], Tensor]) -> Tensor:
    return draw(torch.Generator().manual_seed(0))
