"""Weight-normed convolutions become plain ones with the effective weight."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import skip_init

from vampnet_onnx.models.networks.layers import WNConv1d, WNConvTranspose1d

from .base import PassError, PassResult, frozen, replace_modules


class FoldWeightNorm:
    """Fold g * v / ||v|| into one weight.

    Rules:
        WNConv1d -> Conv1d; WNConvTranspose1d -> ConvTranspose1d.
    """

    tolerance = 0.0  # the same product, computed once instead of at every forward

    def requires(self, module: nn.Module) -> None:
        """Nothing."""

    def call(self, module: nn.Module) -> PassResult:
        """Replace every weight-normed convolution."""
        paths = replace_modules(
            module, lambda m: isinstance(m, (WNConv1d, WNConvTranspose1d)), _plain
        )
        return PassResult(len(paths), f"folded {len(paths)} weight-normed convolutions")

    def ensures(self, module: nn.Module) -> None:
        """No weight_g or weight_v is left."""
        left = [
            n for n, _ in module.named_parameters() if n.endswith(("weight_g", "weight_v"))
        ]
        if left:
            raise PassError(f"FoldWeightNorm left {left[0]} and {len(left) - 1} more")


def _plain(conv: nn.Module) -> nn.Module:
    plain: nn.Conv1d | nn.ConvTranspose1d
    if isinstance(conv, WNConvTranspose1d):
        inputs, outputs, kernel = conv.weight_v.shape
        plain = skip_init(
            nn.ConvTranspose1d,
            inputs,
            outputs,
            kernel,
            stride=conv.stride,
            padding=conv.padding,
        )
    elif isinstance(conv, WNConv1d):
        outputs, inputs, kernel = conv.weight_v.shape
        plain = skip_init(
            nn.Conv1d,
            inputs,
            outputs,
            kernel,
            stride=conv.stride,
            padding=conv.padding,
            dilation=conv.dilation,
        )
    else:
        raise PassError(f"cannot fold a {type(conv).__name__}")
    plain.weight = frozen(conv.weight())
    plain.bias = frozen(conv.bias)
    return plain
