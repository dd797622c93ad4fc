"""Snake's reciprocal is taken once, at export."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vampnet_onnx.models.networks.layers import Snake1d

from .base import PassError, PassResult, frozen, replace_modules


class FoldedSnake(nn.Module):
    """x + inverse * sin(alpha x)^2 with the inverse stored."""

    def __init__(self, alpha: Tensor, inverse: Tensor) -> None:
        super().__init__()
        self.alpha = frozen(alpha)
        self.inverse = frozen(inverse)

    def forward(self, x: Tensor) -> Tensor:
        """Activate x (float [B, C, T])."""
        return x + self.inverse * torch.sin(self.alpha * x).pow(2)


class FoldSnake:
    """Store 1 / (alpha + 1e-9).

    Rules:
        Snake1d -> FoldedSnake.
    """

    tolerance = 0.0  # the same number, computed once

    def requires(self, module: nn.Module) -> None:
        """Nothing."""

    def call(self, module: nn.Module) -> PassResult:
        """Replace every Snake."""
        paths = replace_modules(module, lambda m: isinstance(m, Snake1d), _folded)
        return PassResult(len(paths), f"folded the reciprocal of {len(paths)} activations")

    def ensures(self, module: nn.Module) -> None:
        """No Snake1d is left."""
        if any(isinstance(m, Snake1d) for m in module.modules()):
            raise PassError("FoldSnake left a Snake1d")


def _folded(snake: nn.Module) -> nn.Module:
    if not isinstance(snake, Snake1d):
        raise PassError(f"cannot fold a {type(snake).__name__}")
    return FoldedSnake(snake.alpha, snake.inverse())
