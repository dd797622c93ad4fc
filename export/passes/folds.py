"""What the codec computes from its weights alone is folded into them, at export."""

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from vampnet_onnx.models.networks.layers import Snake1d, WNConv1d, WNConvTranspose1d

from .base import ReplaceEvery, frozen


class FoldedSnake(nn.Module):
    """x + inverse * sin(alpha x)^2 with the inverse stored.

    The square is a product: ONNX Runtime's Pow takes half as long again, and gives the same.
    """

    def __init__(self, alpha: Tensor, inverse: Tensor) -> None:
        super().__init__()
        self.alpha = frozen(alpha)
        self.inverse = frozen(inverse)

    def forward(self, x: Tensor) -> Tensor:
        """Activate x (float [B, C, T])."""
        sine = torch.sin(self.alpha * x)
        return x + self.inverse * (sine * sine)


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


class FoldWeightNorm(ReplaceEvery[WNConv1d | WNConvTranspose1d]):
    """Fold g * v / ||v|| into one weight.

    Rules:
        WNConv1d -> Conv1d; WNConvTranspose1d -> ConvTranspose1d.
    """

    kind = (WNConv1d, WNConvTranspose1d)
    details = "folded {count} weight-normed convolutions"

    def replacement(
        self, module: WNConv1d | WNConvTranspose1d
    ) -> nn.Conv1d | nn.ConvTranspose1d:
        """Take the product."""
        options = {"stride": module.stride, "padding": module.padding}
        plain: nn.Conv1d | nn.ConvTranspose1d
        if isinstance(module, WNConvTranspose1d):
            inputs, outputs, kernel = module.weight_v.shape
            plain = skip_init(nn.ConvTranspose1d, inputs, outputs, kernel, **options)
        else:
            outputs, inputs, kernel = module.weight_v.shape
            options["dilation"] = module.dilation
            plain = skip_init(nn.Conv1d, inputs, outputs, kernel, **options)
        plain.weight = frozen(module.weight())
        plain.bias = frozen(module.bias)
        return plain
