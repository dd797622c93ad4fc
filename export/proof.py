"""Passes over modules proved: by running a module before and after each of them.

Not the checkpoint's own, which may be of gigabytes, but one of the same structure: as many
layers, codebooks, heads and rates, of small widths and random weights.  A pass that breaks a
layer breaks that one's, and what it costs is the same for every size.  So the proof depends on
what the graph depends on, and who has the graph has the proof.
"""

from dataclasses import replace
from functools import cache
from typing import TypeVar

import torch
from torch import nn

from vampnet_onnx.models import LAC, CodecDims, VampNet, VampNetDims, WaveBeat
from vampnet_onnx.models.checkpoints.random_checkpoint import random_state

from .components.component import Structure, TracedComponent
from .components.registry import component_of
from .passes import run_module_passes

M = TypeVar("M", bound=nn.Module)

_WIDTH = 2  # of a head, and the least of a codebook's entries
_ENTRIES = 16
_LORA_RANK = 2


@cache
def prove_passes(structure: Structure) -> None:
    """Run every pass of a component on a small module of its structure; once a process.

    Raises:
        PassError: a pass changes what the module computes, or does not do what it says.
    """
    component = small_component(structure)
    run_module_passes(component.module, component.passes, component.example)


def small_component(structure: Structure) -> TracedComponent:
    """Return a component of the same structure, of small widths and seeded random weights.

    Its transformer has low-rank updates, so that merging them is proved, too.
    """
    small = small_structure(structure)
    generator = torch.Generator().manual_seed(0)
    codec = None if small.codec is None else _random(LAC(small.codec), generator)
    model = None
    if small.transformer is not None:
        model = _random(VampNet(small.transformer, rank=_LORA_RANK), generator)
    tracker = None if small.tracker is None else _random(WaveBeat(small.tracker), generator)
    return component_of(small, codec, model, tracker)


def small_structure(structure: Structure) -> Structure:
    """Return the structure with small widths; those that differ go on differing."""
    codec, transformer = structure.codec, structure.transformer
    widths = set(codec.codebook_dims) if codec is not None else set[int]()
    if transformer is not None:
        widths.add(transformer.latent_dim)
    narrow = {width: _WIDTH + i for i, width in enumerate(sorted(widths))}
    return replace(
        structure,
        codec=None if codec is None else _small_codec(codec, narrow),
        transformer=(None if transformer is None else _small_transformer(transformer, narrow)),
    )


def _small_codec(dims: CodecDims, narrow: dict[int, int]) -> CodecDims:
    return replace(
        dims,
        encoder_dim=min(dims.encoder_dim, _WIDTH),
        decoder_dim=min(dims.decoder_dim, _WIDTH << len(dims.decoder_rates)),
        codebook_size=min(dims.codebook_size, _ENTRIES),
        codebook_dims=tuple(narrow[width] for width in dims.codebook_dims),
    )


def _small_transformer(dims: VampNetDims, narrow: dict[int, int]) -> VampNetDims:
    return replace(
        dims,
        embedding_dim=min(dims.embedding_dim, _WIDTH * dims.n_heads),
        vocab_size=min(dims.vocab_size, _ENTRIES),
        latent_dim=narrow[dims.latent_dim],
    )


def _random(module: M, generator: torch.Generator) -> M:
    module.load_state_dict(random_state(module, generator))
    return module.eval().requires_grad_(False)
