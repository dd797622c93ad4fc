"""Residual vector quantiser of the codec, published as ``lac.nn.quantize``."""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import WNConv1d


class Quantized(NamedTuple):
    """What the residual quantiser returns.

    Attributes:
        z: sum of the projected entries, float [B, latent_dim, T].
        codes: int64 [B, codebooks, T].
        latents: every codebook's projected residual (from `forward`) or entry (from
            `from_codes` and `from_latents`), float [B, sum of codebook widths, T].
    """

    z: Tensor
    codes: Tensor
    latents: Tensor


class VectorQuantize(nn.Module):
    """One codebook: nearest entry by distance between L2-normalised vectors."""

    def __init__(self, latent_dim: int, codebook_size: int, codebook_dim: int) -> None:
        super().__init__()
        self.in_proj = WNConv1d(latent_dim, codebook_dim, 1)
        self.out_proj = WNConv1d(codebook_dim, latent_dim, 1)
        self.codebook = nn.Embedding(codebook_size, codebook_dim)

    def distances(self, latents: Tensor) -> Tensor:
        """Return squared distances of latents (float [B, codebook_dim, T]) to all entries.

        They are those on the unit sphere, float [B, T, entries].
        """
        encodings = F.normalize(latents.transpose(1, 2), dim=-1)
        entries = F.normalize(self.codebook.weight)
        return (
            encodings.pow(2).sum(-1, keepdim=True)
            - 2 * encodings @ entries.t()
            + entries.pow(2).sum(1)
        )

    def nearest(self, latents: Tensor) -> Tensor:
        """Return the nearest entry's index, int64 [B, T]; the first one wins a tie."""
        return torch.argmax(-self.distances(latents), dim=-1)

    def entries(self, codes: Tensor) -> Tensor:
        """Look up codes (int64 [B, T]): the un-normalised rows, float [B, codebook_dim, T]."""
        rows: Tensor = self.codebook(codes)
        return rows.transpose(1, 2)

    def forward(self, residual: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantise a residual (float [B, latent_dim, T]).

        Returns:
            The projected entry (float [B, latent_dim, T]), codes (int64 [B, T]) and the
            projected residual (float [B, codebook_dim, T]).
        """
        latents = self.in_proj(residual)
        codes = self.nearest(latents)
        # The published forward keeps its straight-through form, which costs an ulp or so.
        entries = latents + (self.entries(codes) - latents)
        return self.out_proj(entries), codes, latents


class ResidualVectorQuantize(nn.Module):
    """A chain of codebooks, each quantising what the ones before left over.

    Source: Zeghidour et al., "SoundStream" (2021).
    """

    def __init__(
        self, latent_dim: int, codebook_size: int, codebook_dims: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.codebook_dims = codebook_dims
        self.quantizers = nn.ModuleList(
            VectorQuantize(latent_dim, codebook_size, width) for width in codebook_dims
        )

    def book(self, index: int) -> VectorQuantize:
        """Return one codebook with its projections."""
        return cast(VectorQuantize, self.quantizers[index])

    def forward(self, z: Tensor) -> Quantized:
        """Quantise encoder output z (float [B, latent_dim, T])."""
        residual = z
        total = torch.zeros_like(z)
        codes, latents = [], []
        for quantizer in self.quantizers:
            projected, code, latent = quantizer(residual)
            total = total + projected
            residual = residual - projected
            codes.append(code)
            latents.append(latent)
        return Quantized(total, torch.stack(codes, dim=1), torch.cat(latents, dim=1))

    def from_codes(self, codes: Tensor) -> Quantized:
        """Sum the projected entries of codes (int64 [B, n, T], n from 1 to all codebooks)."""
        count = codes.shape[1]
        if not 1 <= count <= len(self.quantizers):
            raise ValueError(f"codes have {count} codebooks, not 1 to {len(self.quantizers)}")
        rows = [self.book(i).entries(codes[:, i]) for i in range(count)]
        projected = [self.book(i).out_proj(row) for i, row in enumerate(rows)]
        total = projected[0]
        for part in projected[1:]:
            total = total + part
        return Quantized(total, codes, torch.cat(rows, dim=1))

    def from_latents(self, latents: Tensor) -> Quantized:
        """Quantise each codebook's slice of latents by itself: no residual is taken."""
        slices = torch.split(latents, list(self.codebook_dims), dim=1)
        codes = torch.stack(
            [self.book(i).nearest(part) for i, part in enumerate(slices)], dim=1
        )
        return self.from_codes(codes)
