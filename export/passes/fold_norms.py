"""What a batch norm computes from its weights alone is folded into two of them, at export."""

from torch import Tensor, nn

from vampnet_onnx.models.networks.wavebeat import BatchNorm

from .base import ReplaceEvery, frozen


class FoldedNorm(nn.Module):
    """x * scale + shift, a channel each."""

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.scale = frozen(scale[:, None])
        self.shift = frozen(shift[:, None])

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (float [B, C, T])."""
        return x * self.scale + self.shift


class FoldBatchNorm(ReplaceEvery[BatchNorm]):
    """Store what a batch norm multiplies with and adds.

    Rules:
        BatchNorm -> FoldedNorm.
    """

    kind = BatchNorm
    details = "folded {count} batch norms"

    def replacement(self, module: BatchNorm) -> FoldedNorm:
        """Take scale and shift."""
        return FoldedNorm(module.scale(), module.shift())
