"""Kernel-1 convolutions become linear layers."""

from __future__ import annotations

from torch import Tensor, nn

from .base import REORDERING, PassError, PassResult, frozen, replace_modules


class Pointwise(nn.Module):
    """A kernel-1 convolution as one matrix product, axes kept: [B, in, T] to [B, out, T]."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = frozen(weight)
        self.bias = frozen(bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (float [B, in, T])."""
        return (x.transpose(1, 2) @ self.weight + self.bias).transpose(1, 2)


class PointwiseToLinear:
    """Turn pointwise convolutions into matrix products.

    The neighbours of these layers in the transformer work on [B, T, D], so the transposes
    meet others and cancel in the graph.

    Rules:
        Conv1d of kernel 1, stride 1, no padding, one group -> Pointwise.
    """

    tolerance = REORDERING  # another order of the same sum

    def requires(self, module: nn.Module) -> None:
        """Weight norm is folded: a weight-normed convolution would be missed."""
        if any(name.endswith("weight_g") for name, _ in module.named_parameters()):
            raise PassError("PointwiseToLinear must run after FoldWeightNorm")

    def call(self, module: nn.Module) -> PassResult:
        """Replace every pointwise convolution."""
        paths = replace_modules(module, _is_pointwise, _linear)
        return PassResult(len(paths), f"turned {', '.join(paths) or 'nothing'} into MatMul")

    def ensures(self, module: nn.Module) -> None:
        """No pointwise convolution is left."""
        if any(_is_pointwise(m) for m in module.modules()):
            raise PassError("PointwiseToLinear left a pointwise convolution")


def _is_pointwise(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv1d)
        and module.kernel_size == (1,)
        and module.stride == (1,)
        and module.padding in ((0,), 0)
        and module.groups == 1
    )


def _linear(conv: nn.Module) -> nn.Module:
    if not isinstance(conv, nn.Conv1d) or conv.bias is None:
        raise PassError("a pointwise convolution without bias is not expected")
    return Pointwise(conv.weight[:, :, 0].t(), conv.bias)
