"""First weights of the codec: a lapped transform, from which training goes on.

A codec of random weights has to find out first how to pass a waveform at all, which takes much
of a short training.  So the encoder starts as the analysis and the decoder as the
synthesis of a modified discrete cosine transform whose hop is the codec's, of as many of the
lowest bands as there are latents: early strides collect samples into channels, the last one
multiplies two hops of them by the transform's basis.  Snake starts all but linear, residual
branches all but silent; channels that the transform has no use for stay random.

Source: Princen, Johnson and Bradley, "Subband/Transform Coding Using Filter Bank Designs Based
on Time Domain Aliasing Cancellation" (1987).
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor

from vampnet_onnx.models import LAC
from vampnet_onnx.models.networks.lac import (
    DecoderBlock,
    EncoderBlock,
    EncoderLayer,
    ResidualLayer,
)
from vampnet_onnx.models.networks.layers import Snake1d, WNConv1d, WNConvTranspose1d

from .weight_norm import set_weight

_ALPHA = 0.01  # of Snake: what it adds to x is about alpha x^2
_BRANCH = 0.03  # factor of a residual branch's gain


def lapped_basis(bands: int, hop: int) -> Tensor:
    """Return the lowest rows of the transform, float32 [bands, 2 * hop], orthonormal."""
    time = torch.arange(2 * hop, dtype=torch.float64) + 0.5
    band = torch.arange(bands, dtype=torch.float64)[:, None] + 0.5
    window = torch.sin(math.pi / (2 * hop) * time)
    waves = torch.cos(math.pi / hop * band * (time + hop / 2))
    return (math.sqrt(2 / hop) * window * waves).float()


@torch.no_grad()
def start_lapped(codec: LAC) -> None:
    """Change the first weights of a codec in place.

    Args:
        codec: with random weights.

    Raises:
        ValueError: a stage has fewer channels than the samples it has to hold.
    """
    for module in codec.modules():
        if isinstance(module, Snake1d):
            module.alpha.fill_(_ALPHA)
        elif isinstance(module, WNConv1d | WNConvTranspose1d):
            module.bias.zero_()
        elif isinstance(module, EncoderLayer):
            cast(WNConv1d, module.block[3]).weight_g.mul_(_BRANCH)
        elif isinstance(module, ResidualLayer):
            cast(WNConv1d, module.layer[3]).weight_g.mul_(_BRANCH)
    dims, hop = codec.dims, codec.dims.hop_length
    basis = lapped_basis(min(dims.latent_dim, dims.decoder_dim, hop), hop)
    _start_encoder(codec, basis)
    _start_decoder(codec, basis)


def _start_encoder(codec: LAC, basis: Tensor) -> None:
    first, *blocks, _snake, last = codec.encoder.block
    _set_outputs(cast(WNConv1d, first), _passing(1, 7))
    samples = 1
    for block, stride in zip(blocks, codec.dims.encoder_rates, strict=True):
        conv = cast(WNConv1d, cast(EncoderBlock, block).block[4])
        final = block is blocks[-1]
        _set_outputs(conv, _windows(basis, samples) if final else _phases(samples, stride))
        samples *= stride
    _set_outputs(cast(WNConv1d, last), _passing(len(basis), 3))


def _start_decoder(codec: LAC, basis: Tensor) -> None:
    first, *blocks, _snake, last, _tanh = codec.decoder.model
    _set_outputs(cast(WNConv1d, first), _passing(len(basis), 7))
    samples = codec.dims.hop_length
    for block, stride in zip(blocks, codec.dims.decoder_rates, strict=True):
        conv = cast(WNConvTranspose1d, cast(DecoderBlock, block).block[1])
        samples //= stride
        started = block is blocks[0]
        _set_inputs(conv, _windows(basis, samples) if started else _phases(samples, stride))
    _set_outputs(cast(WNConv1d, last), _passing(1, 7))


def _passing(channels: int, kernel: int) -> Tensor:
    """Return a kernel that changes nothing, float32 [channels, channels, kernel]."""
    weight = torch.zeros(channels, channels, kernel)
    weight[:, :, kernel // 2] = torch.eye(channels)
    return weight


def _phases(samples: int, stride: int) -> Tensor:
    """Return a kernel that collects what ``stride`` steps hold of so many samples each.

    Returns:
        float32 [stride * samples, samples, 2 * stride]: the step's own half of the kernel.
    """
    weight = torch.zeros(stride, samples, samples, 2 * stride)
    for phase in range(stride):
        weight[phase, :, :, stride // 2 + phase] = torch.eye(samples)
    return weight.flatten(0, 1)


def _windows(basis: Tensor, samples: int) -> Tensor:
    """Return the basis (float32 [bands, 2 * hop]) as [bands, samples, steps]."""
    windows: Tensor = basis.unflatten(1, (-1, samples)).transpose(1, 2)
    return windows


def _set_outputs(conv: WNConv1d, kernel: Tensor) -> None:
    """Let a kernel make the first outputs of a convolution, of its first inputs alone."""
    outputs, inputs, _ = kernel.shape
    _check_room(conv.weight_v, outputs, inputs)
    weight = conv.weight().clone()
    weight[:outputs] = 0
    weight[:outputs, :inputs] = kernel
    set_weight(conv, weight)


def _set_inputs(conv: WNConvTranspose1d, kernel: Tensor) -> None:
    """Let a kernel make the first outputs of a transposed convolution likewise."""
    inputs, outputs, _ = kernel.shape
    _check_room(conv.weight_v, inputs, outputs)
    weight = conv.weight().clone()
    weight[:, :outputs] = 0
    weight[:inputs, :outputs] = kernel
    set_weight(conv, weight)


def _check_room(weight: Tensor, *needed: int) -> None:
    if any(have < need for have, need in zip(weight.shape[:2], needed, strict=True)):
        raise ValueError(
            f"a convolution of shape {tuple(weight.shape)} has no room for a transform's "
            f"{' x '.join(map(str, needed))}: give the codec more channels"
        )
