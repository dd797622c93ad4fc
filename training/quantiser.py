"""Training of the residual quantiser: straight-through gradients and living codebooks.

Source: van den Oord et al., "VQ-VAE" (2017), for the losses; Zeghidour et al., "SoundStream"
(2021), for codebooks that start from a batch, entries that are replaced when they die, and the
dropout of codebooks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from models import ResidualVectorQuantize

_COMMITMENT = 0.25
_MEMORY = 0.98  # of how often an entry is used, a step
_DEAD = 0.03  # of the average use
_CHECKED = 20  # steps between two looks for dead entries


@dataclass(frozen=True)
class Trained:
    """What the quantiser returns in training.

    Attributes:
        z: sum of the projected entries, float [B, latent_dim, T], with gradients that pass
            through the choice of entries.
        loss: of codebooks and commitment, scalar.
    """

    z: Tensor
    loss: Tensor


class QuantiserTraining:
    """Runs a quantiser in training and keeps its codebooks in use.

    Args:
        quantizer: its codebooks are changed in place.
        generator: on the CPU; draws entries and dropped codebooks.
        dropout: share of the items that get the first codebooks only.
    """

    def __init__(
        self, quantizer: ResidualVectorQuantize, generator: torch.Generator, *, dropout: float
    ) -> None:
        self._quantizer = quantizer
        self._generator = generator
        self._dropout = dropout
        books = len(quantizer.quantizers)
        entries = quantizer.book(0).codebook.num_embeddings
        self._use = torch.zeros(books, entries)
        self._calls = 0

    def __call__(self, encoded: Tensor, *, revive: bool) -> Trained:
        """Quantise encoder output.

        Args:
            encoded: float [B, latent_dim, T].
            revive: whether dead entries may be replaced.
        """
        residual, total = encoded, torch.zeros_like(encoded)
        loss = encoded.new_zeros(())
        kept = self._kept_books(len(encoded)).to(encoded.device)
        for index in range(len(self._use)):
            book = self._quantizer.book(index)
            latents = book.in_proj(residual)
            if self._calls == 0:
                self._replace(
                    index, torch.ones_like(self._use[index], dtype=torch.bool), latents
                )
            codes = book.nearest(latents)
            self._note(index, codes)
            if revive and self._calls % _CHECKED == _CHECKED - 1:
                use = self._use[index]
                self._replace(index, use < _DEAD * use.mean(), latents)
            entries = book.entries(codes)
            loss = loss + F.mse_loss(entries, latents.detach())
            loss = loss + _COMMITMENT * F.mse_loss(latents, entries.detach())
            projected = book.out_proj(latents + (entries - latents).detach())
            total = total + projected * (kept > index)[:, None, None]
            residual = residual - projected
        self._calls += 1
        return Trained(total, loss)

    def _kept_books(self, batch: int) -> Tensor:
        """Draw how many codebooks each item keeps, int64 [batch]."""
        books = len(self._use)
        drawn = torch.randint(1, books + 1, (batch,), generator=self._generator)
        drops = torch.rand(batch, generator=self._generator) < self._dropout
        return torch.where(drops, drawn, books)

    def _note(self, index: int, codes: Tensor) -> None:
        counts = torch.bincount(codes.flatten().cpu(), minlength=self._use.shape[1])
        self._use[index].mul_(_MEMORY).add_(counts, alpha=1 - _MEMORY)

    def _replace(self, index: int, which: Tensor, latents: Tensor) -> None:
        """Set entries (bool [entries]) to latents of the batch (float [B, width, T])."""
        weight = self._quantizer.book(index).codebook.weight
        pool = latents.detach().transpose(1, 2).flatten(0, 1)
        drawn = torch.randint(len(pool), (int(which.sum()),), generator=self._generator)
        weight.data[which.to(weight.device)] = pool[drawn.to(pool.device)]
        self._use[index, which] = self._use[index].mean()
