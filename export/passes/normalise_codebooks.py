"""Codebook entries are normalised once, at export."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vampnet_onnx.models.networks.quantize import VectorQuantize

from .base import PassError, PassResult, frozen, replace_modules

_SHORTEST = 1e-12  # what F.normalize divides by at least


class NormalisedQuantize(nn.Module):
    """`models.networks.quantize.VectorQuantize` with its normalised entries stored.

    Attributes:
        entries: float [width, V], columns of length one.
        squares: float [V], their squared lengths, one but for rounding.
        codebook: float [V, width], rows as trained.
    """

    def __init__(self, quantize: VectorQuantize) -> None:
        super().__init__()
        entries = F.normalize(quantize.codebook.weight)
        self.in_proj = quantize.in_proj
        self.out_proj = quantize.out_proj
        self.entries = frozen(entries.t())
        self.squares = frozen(entries.pow(2).sum(1))
        self.codebook = frozen(quantize.codebook.weight)

    def forward(self, residual: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantise a residual (float [B, latent_dim, T]); results as of `VectorQuantize`."""
        latents = self.in_proj(residual)
        rows = latents.transpose(1, 2)
        # As of torch's F.normalize, without its expansion to the shape of the rows.
        encodings = rows / rows.norm(dim=-1, keepdim=True).clamp_min(_SHORTEST)
        distances = (
            encodings.pow(2).sum(-1, keepdim=True)
            - 2 * encodings @ self.entries
            + self.squares
        )
        codes = torch.argmax(-distances, dim=-1)
        found = F.embedding(codes, self.codebook).transpose(1, 2)
        return self.out_proj(latents + (found - latents)), codes, latents


class NormaliseCodebooks:
    """Store normalised codebook entries.

    Rules:
        VectorQuantize -> NormalisedQuantize.
    """

    tolerance = 0.0  # the same operations in the same order, some of them done once

    def requires(self, module: nn.Module) -> None:
        """Nothing."""

    def call(self, module: nn.Module) -> PassResult:
        """Replace every codebook."""
        paths = replace_modules(module, lambda m: isinstance(m, VectorQuantize), _normalised)
        return PassResult(len(paths), f"normalised the entries of {len(paths)} codebooks")

    def ensures(self, module: nn.Module) -> None:
        """No VectorQuantize is left."""
        if any(isinstance(m, VectorQuantize) for m in module.modules()):
            raise PassError("NormaliseCodebooks left a codebook")


def _normalised(quantize: nn.Module) -> nn.Module:
    if not isinstance(quantize, VectorQuantize):
        raise PassError(f"cannot normalise a {type(quantize).__name__}")
    return NormalisedQuantize(quantize)
