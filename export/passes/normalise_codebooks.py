"""Codebook entries are normalised once, at export."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vampnet_onnx.models.networks.quantize import VectorQuantize

from .base import ReplaceEvery, frozen

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


class NormaliseCodebooks(ReplaceEvery[VectorQuantize]):
    """Store normalised codebook entries.

    Rules:
        VectorQuantize -> NormalisedQuantize.
    """

    kind = VectorQuantize
    details = "normalised the entries of {count} codebooks"

    def replacement(self, module: VectorQuantize) -> NormalisedQuantize:
        """Normalise the entries."""
        return NormalisedQuantize(module)
