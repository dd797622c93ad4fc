"""Kernel-1 convolutions become linear layers."""

from torch import Tensor, nn

from .base import REORDERING, PassError, ReplaceEvery, frozen


class Pointwise(nn.Module):
    """A kernel-1 convolution as one matrix product, axes kept: [B, in, T] to [B, out, T]."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = frozen(weight)
        self.bias = frozen(bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (float [B, in, T])."""
        return (x.transpose(1, 2) @ self.weight + self.bias).transpose(1, 2)


class PointwiseToLinear(ReplaceEvery[nn.Conv1d]):
    """Turn pointwise convolutions into matrix products.

    The neighbours of these layers in the transformer work on [B, T, D], so the transposes
    meet others and cancel in the graph.

    Rules:
        Conv1d of kernel 1, stride 1, no padding, one group -> Pointwise.
    """

    tolerance = REORDERING  # another order of the same sum
    details = "turned {paths} into MatMul"

    def requires(self, module: nn.Module) -> None:
        """Weight norm is folded: a weight-normed convolution would be missed."""
        if any(name.endswith("weight_g") for name, _ in module.named_parameters()):
            raise PassError("PointwiseToLinear must run after FoldWeightNorm")

    def matches(self, module: nn.Module) -> bool:
        """Whether it is a pointwise convolution."""
        return (
            isinstance(module, nn.Conv1d)
            and module.kernel_size == (1,)
            and module.stride == (1,)
            and module.padding in ((0,), 0)
            and module.groups == 1
        )

    def replacement(self, module: nn.Conv1d) -> Pointwise:
        """Take the kernel as a matrix."""
        if module.bias is None:
            raise PassError("a pointwise convolution without bias is not expected")
        return Pointwise(module.weight[:, :, 0].t(), module.bias)
