"""Low-rank updates are merged, and every linear weight is laid out for MatMul."""

from torch import Tensor, nn

from vampnet_onnx.models.networks.layers import LoRALinear

from .base import REORDERING, PassResult, ReplaceEvery, frozen


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
        merged = sum(isinstance(m, LoRALinear) and m.rank > 0 for m in module.modules())
        self.details = self.details.replace("{merged}", str(merged))
        return super().call(module)

    def replacement(self, module: LoRALinear) -> Dense:
        """Merge."""
        return Dense(module.merged_weight().t())
