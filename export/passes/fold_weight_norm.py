"""Weight-normed convolutions become plain ones with the effective weight."""

from torch import nn
from torch.nn.utils import skip_init

from vampnet_onnx.models.networks.layers import WNConv1d, WNConvTranspose1d

from .base import ReplaceEvery, frozen


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
