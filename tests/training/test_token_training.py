"""Training of the transformers."""

from __future__ import annotations

import torch

from training.token_training import random_masks


def test_masks_leave_conditioning_alone_and_have_ratios_of_their_own() -> None:
    codes = torch.zeros(200, 4, 50, dtype=torch.int64)
    masks = random_masks(codes, 2, torch.Generator().manual_seed(0))
    assert masks[:, :2].sum() == 0
    ratios = masks[:, 2:].float().mean((1, 2))
    assert ratios.min() < 0.1 and ratios.max() > 0.95
    assert abs(ratios.mean() - 2 / torch.pi) < 0.05  # of cos(r pi / 2) with r uniform
