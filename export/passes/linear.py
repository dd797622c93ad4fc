"""Linear layers are laid out for MatMul: LoRA merged, kernel-1 convolutions turned."""

from torch import Tensor, nn

from vampnet_onnx.models.networks.layers import LoRALinear

from .base import REORDERING, PassError, PassResult, ReplaceEvery, frozen


class Dense(nn.Module):
    """x @ weight, the weight stored [in, out] so that the graph needs no transpose."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = frozen(weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (float [..., in]) to [..., out]."""
        return x @ self.weight


class MergeLoRA(ReplaceEvery[LoRALinear]):
    """Merge W + (B @ A) * alpha / rank into one weight.

    Rules:
        LoRALinear -> Dense, whether or not it has LoRA tensors.
    """

    tolerance = REORDERING  # another layout of the same product: float32 reordering only
    kind = LoRALinear
    details = "merged LoRA into {merged} of {count} linear layers"

    def call(self, module: nn.Module) -> PassResult:
        """Replace every linear layer of the transformer."""
        layers = [m for m in module.modules() if isinstance(m, LoRALinear)]
        merged = sum(m.rank > 0 or m.merged for m in layers)  # some when models are opened
        self.details = self.details.replace("{merged}", str(merged))
        return super().call(module)

    def replacement(self, module: LoRALinear) -> Dense:
        """Merge."""
        return Dense(module.merged_weight().t())


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
