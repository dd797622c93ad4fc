"""A model of tokens that takes no time, and logits for it."""

from __future__ import annotations

import torch

from vampnet_onnx.models.behaviour.generate import TokenModel


def logits_of(*shape: int, seed: int = 0, scale: float = 3.0) -> torch.Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def toy_model(
    *, n_codebooks: int = 3, n_conditioning: int = 0, entries: int = 11, seed: int = 0
) -> TokenModel:
    """Return a model whose logits depend on every code of the same item, and on no other."""
    draw = torch.Generator().manual_seed(seed)
    n_predicted = n_codebooks - n_conditioning
    table = torch.randn(n_codebooks, entries + 1, 8, generator=draw)
    out = torch.randn(8, entries * n_predicted, generator=draw)

    def logits(codes: torch.Tensor) -> torch.Tensor:
        x = torch.stack([table[i][codes[:, i]] for i in range(n_codebooks)]).sum(0)
        x = x + x.mean(dim=1, keepdim=True)
        flat = (x @ out).reshape(len(codes), -1, entries)  # time-major, codebook-minor
        return flat.transpose(1, 2)

    return TokenModel("toy", logits, n_codebooks, n_conditioning, mask_token=entries)
