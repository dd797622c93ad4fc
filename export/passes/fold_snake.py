"""Snake's reciprocal is taken once, at export."""

import torch
from torch import Tensor, nn

from vampnet_onnx.models.networks.layers import Snake1d

from .base import ReplaceEvery, frozen


class FoldedSnake(nn.Module):
    """x + inverse * sin(alpha x)^2 with the inverse stored."""

    def __init__(self, alpha: Tensor, inverse: Tensor) -> None:
        super().__init__()
        self.alpha = frozen(alpha)
        self.inverse = frozen(inverse)

    def forward(self, x: Tensor) -> Tensor:
        """Activate x (float [B, C, T])."""
        return x + self.inverse * torch.sin(self.alpha * x).pow(2)


class FoldSnake(ReplaceEvery[Snake1d]):
    """Store 1 / (alpha + 1e-9).

    Rules:
        Snake1d -> FoldedSnake.
    """

    kind = Snake1d
    details = "folded the reciprocal of {count} activations"

    def replacement(self, module: Snake1d) -> FoldedSnake:
        """Take the reciprocal."""
        return FoldedSnake(module.alpha, module.inverse())
