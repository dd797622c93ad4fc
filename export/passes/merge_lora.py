"""Low-rank updates are merged, and every linear weight is laid out for MatMul."""

from __future__ import annotations

from torch import Tensor, nn

from vampnet_onnx.models.networks.layers import LoRALinear

from .base import REORDERING, PassError, PassResult, frozen, replace_modules


class Dense(nn.Module):
    """x @ weight, the weight stored [in, out] so that the graph needs no transpose."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = frozen(weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (float [..., in]) to [..., out]."""
        return x @ self.weight


class MergeLoRA:
    """Merge W + (B @ A) * alpha / rank into one weight.

    Rules:
        LoRALinear -> Dense, whether or not it has LoRA tensors.
    """

    tolerance = REORDERING  # another layout of the same product: float32 reordering only

    def requires(self, module: nn.Module) -> None:
        """Nothing."""

    def call(self, module: nn.Module) -> PassResult:
        """Replace every linear layer of the transformer."""
        merged = sum(isinstance(m, LoRALinear) and m.rank > 0 for m in module.modules())
        paths = replace_modules(module, lambda m: isinstance(m, LoRALinear), _dense)
        return PassResult(
            len(paths), f"merged LoRA into {merged} of {len(paths)} linear layers"
        )

    def ensures(self, module: nn.Module) -> None:
        """No lora_A or lora_B is left."""
        left = [n for n, _ in module.named_parameters() if n.endswith(("lora_A", "lora_B"))]
        if left:
            raise PassError(f"MergeLoRA left {left[0]} and {len(left) - 1} more")


def _dense(layer: nn.Module) -> nn.Module:
    if not isinstance(layer, LoRALinear):
        raise PassError(f"cannot merge a {type(layer).__name__}")
    return Dense(layer.merged_weight().t())
