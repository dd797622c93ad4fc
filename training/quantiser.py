"""Training of the residual quantiser: straight-through gradients and living codebooks.

Source: van den Oord et al., "VQ-VAE" (2017), for the gradients, the commitment and codebooks
that follow running means; Zeghidour et al., "SoundStream" (2021), for codebooks that start
as k-means finds them, entries that are replaced when they die, and the dropout of codebooks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vampnet_onnx.models import ResidualVectorQuantize
from vampnet_onnx.models.networks.quantize import VectorQuantize

from .weight_norm import set_weight

_COMMITMENT = 0.25  # weight of a codebook's squared error, relative to what it quantises
_MEMORY = 0.99  # of the running means, a step
_DEAD = 0.1  # of the average use
_CHECKED = 20  # steps between two looks for dead entries
_ROUNDS = 20  # of k-means


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
        settle: step from which dead entries stay dead.
    """

    def __init__(
        self,
        quantizer: ResidualVectorQuantize,
        generator: torch.Generator,
        *,
        dropout: float,
        settle: int,
    ) -> None:
        self._books = [quantizer.book(index) for index in range(len(quantizer.quantizers))]
        self._generator = generator
        self._dropout = dropout
        self._settle = settle
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
            self._replace_entries(index, latents)
            entries = self._nearest_entries(index, book, latents)
            turned = _turned(latents)
            size = latents.detach().square().mean()
            loss = loss + _COMMITMENT * F.mse_loss(turned, entries) / size
            projected = book.out_proj(turned + (entries - latents).detach())
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
        if self._steps >= self._settle or self._steps % _CHECKED:
            return
        counts = self._counts[index]
        dead = counts < _DEAD * counts.mean()
        pool = _rows(latents)
        drawn = _drawn_rows(pool, int(dead.sum()), self._generator)
        counts[dead] = counts.mean()
        self._sums[index][dead] = drawn * counts.mean()
        self._books[index].codebook.weight.copy_(self._sums[index] / counts[:, None])


@torch.no_grad()
def fit_books(
    quantizer: ResidualVectorQuantize, encoded: Tensor, generator: torch.Generator
) -> None:
    """Start a quantiser from what an encoder gives, one codebook after the other.

    Each projects to the axes along which the earlier ones left most, and back; its entries
    are found as k-means finds them (Lloyd 1982), nearness taken as the codec takes it.

    Args:
        quantizer: changed in place.
        encoded: float32 [B, latent_dim, T], with more steps than a codebook has entries.
        generator: draws the first entries, and others for those that nothing is near to.
    """
    residual = _rows(encoded)
    for index in range(len(quantizer.quantizers)):
        book = quantizer.book(index)
        entries = book.codebook.weight
        size, width = entries.shape
        axes = torch.linalg.eigh(residual.t() @ residual).eigenvectors[:, -width:]
        set_weight(book.in_proj, axes.t()[:, :, None])
        set_weight(book.out_proj, axes[:, :, None])
        latents = residual @ axes
        entries.copy_(_drawn_rows(latents, size, generator))
        for _ in range(_ROUNDS):
            codes = book.nearest(latents.t()[None])[0]
            hits = codes.bincount(minlength=size)
            entries.zero_().index_add_(0, codes, latents).div_(hits.clamp(min=1)[:, None])
            entries[hits == 0] = _drawn_rows(latents, int((hits == 0).sum()), generator)
        residual = residual - entries[book.nearest(latents.t()[None])[0]] @ axes.t()


def _turned(latents: Tensor) -> Tensor:
    """Return latents (float [B, width, T]) with gradients that turn them only.

    The choice of an entry depends on the direction of a latent alone.  A gradient along it
    would promise what no change of length can give: the reconstruction's would stretch latents
    without end, the commitment's would shrink them, since entries are means and so shorter.
    """
    turned: Tensor = F.normalize(latents, dim=1) * latents.detach().norm(dim=1, keepdim=True)
    return turned


def _drawn_rows(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return rows[torch.randint(len(rows), (count,), generator=generator).to(rows.device)]


def _rows(latents: Tensor) -> Tensor:
    """Return latents (float [B, width, T]) as rows, float [B * T, width]."""
    return latents.transpose(1, 2).flatten(0, 1)
