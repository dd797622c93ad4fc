"""Training of the residual quantiser: straight-through gradients and living codebooks.

Source: van den Oord et al., "VQ-VAE" (2017), for the gradients, the commitment and codebooks
that follow running means; Zeghidour et al., "SoundStream" (2021), for codebooks that start
from a batch, entries that are replaced when they die, and the dropout of codebooks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from models import ResidualVectorQuantize
from models.quantize import VectorQuantize

_COMMITMENT = 0.25
_MEMORY = 0.97  # of the running means, a step
_DEAD = 0.1  # of the average use
_CHECKED = 20  # steps between two looks for dead entries


@dataclass(frozen=True)
class Trained:
    """What the quantiser returns in training.

    Attributes:
        z: sum of the projected entries, float [B, latent_dim, T], with gradients that pass
            through the choice of entries.
        loss: of commitment, scalar.
    """

    z: Tensor
    loss: Tensor


class QuantiserTraining:
    """Runs a quantiser in training.

    Its codebooks are no matter of gradients: each entry is the running mean of the latents
    that it was the nearest to.

    Args:
        quantizer: its codebooks are changed in place, and need no gradient from here on.
        generator: on the CPU; draws entries and dropped codebooks.
        dropout: share of the items that get the first codebooks only.
        start: steps before which nothing is quantised, so that codebooks start from latents
            that mean something.
        settle: step from which dead entries stay dead.
    """

    def __init__(
        self,
        quantizer: ResidualVectorQuantize,
        generator: torch.Generator,
        *,
        dropout: float,
        start: int,
        settle: int,
    ) -> None:
        self._books = [quantizer.book(index) for index in range(len(quantizer.quantizers))]
        self._generator = generator
        self._dropout = dropout
        self._start, self._settle = start, settle
        self._steps = 0
        for book in self._books:
            book.codebook.requires_grad_(False)
        self._counts = [torch.ones_like(book.codebook.weight[:, 0]) for book in self._books]
        self._sums = [book.codebook.weight.clone() for book in self._books]

    def __call__(self, encoded: Tensor) -> Trained:
        """Quantise encoder output (float [B, latent_dim, T]); one step of training."""
        residual, total = encoded, torch.zeros_like(encoded)
        loss = encoded.new_zeros(())
        kept = self._kept_books(len(encoded)).to(encoded.device)
        for index, book in enumerate(self._books):
            latents = book.in_proj(residual)
            passed = latents
            if self._steps >= self._start:
                self._replace_entries(index, latents)
                entries = self._nearest_entries(index, book, latents)
                loss = loss + _COMMITMENT * F.mse_loss(latents, entries)
                passed = latents + (entries - latents).detach()
            projected = book.out_proj(passed)
            total = total + projected * (kept > index)[:, None, None]
            residual = residual - projected
        self._steps += 1
        return Trained(total, loss)

    def _kept_books(self, batch: int) -> Tensor:
        """Draw how many codebooks each item keeps, int64 [batch]."""
        drawn = torch.randint(1, len(self._books) + 1, (batch,), generator=self._generator)
        drops = torch.rand(batch, generator=self._generator) < self._dropout
        return torch.where(drops, drawn, len(self._books))

    @torch.no_grad()
    def _nearest_entries(self, index: int, book: VectorQuantize, latents: Tensor) -> Tensor:
        """Return the entries nearest to latents (both float [B, width, T]), and move them."""
        codes = book.nearest(latents)
        entries = book.entries(codes)
        hits = F.one_hot(codes.flatten(), len(self._counts[index])).to(latents.dtype)
        self._counts[index].lerp_(hits.sum(0), 1 - _MEMORY)
        self._sums[index].lerp_(hits.t() @ _rows(latents), 1 - _MEMORY)
        book.codebook.weight.copy_(self._sums[index] / self._counts[index][:, None])
        return entries

    @torch.no_grad()
    def _replace_entries(self, index: int, latents: Tensor) -> None:
        """Put latents of the batch (float [B, width, T]) where entries are dead."""
        counts = self._counts[index]
        if self._steps == self._start:
            dead = torch.ones_like(counts, dtype=torch.bool)
            counts.fill_(latents[:, 0].numel() / len(counts))
        elif self._steps < self._settle and self._steps % _CHECKED == 0:
            dead = counts < _DEAD * counts.mean()
        else:
            return
        pool = _rows(latents)
        drawn = torch.randint(len(pool), (int(dead.sum()),), generator=self._generator)
        counts[dead] = counts.mean()
        self._sums[index][dead] = pool[drawn.to(pool.device)] * counts.mean()
        self._books[index].codebook.weight.copy_(self._sums[index] / counts[:, None])


def _rows(latents: Tensor) -> Tensor:
    """Return latents (float [B, width, T]) as rows, float [B * T, width]."""
    return latents.transpose(1, 2).flatten(0, 1)
