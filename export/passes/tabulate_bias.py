"""The position bias becomes a table over clipped distances."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vampnet_onnx.models.networks.vampnet import (
    MAX_DISTANCE,
    RelativePositionBias,
    position_bucket,
)

from .base import PassError, ReplaceEvery, frozen


class PositionTable(nn.Module):
    """Bias by clipped relative position, float [2 * reach + 1, heads]."""

    def __init__(self, weight: Tensor, reach: int) -> None:
        super().__init__()
        self.weight = frozen(weight)
        self.reach = reach

    def forward(self, frames: int) -> Tensor:
        """Return the bias for `frames` queries and keys, float [heads, frames, frames]."""
        position = torch.arange(frames, device=self.weight.device)
        relative = position[None, :] - position[:, None]
        index = relative.clamp(-self.reach, self.reach) + self.reach
        return F.embedding(index, self.weight).permute(2, 0, 1)


class TabulatePositionBias(ReplaceEvery[RelativePositionBias]):
    """Evaluate the buckets once, at export.

    The bucket formula takes a float32 logarithm that lands exactly on bucket borders; a
    runtime whose logarithm is an ulp off would move positions to another bucket.  Beyond
    `MAX_DISTANCE` every distance shares the last bucket, so a table of clipped distances is
    the same function.

    Rules:
        RelativePositionBias -> PositionTable.
    """

    kind = RelativePositionBias
    details = f"{{paths}} tabulated for distances up to {MAX_DISTANCE}"

    def requires(self, module: nn.Module) -> None:
        """There is exactly one position bias, layer 0's."""
        count = sum(isinstance(m, RelativePositionBias) for m in module.modules())
        if count != 1:
            raise PassError(f"expected one relative position bias, found {count}")

    def replacement(self, module: RelativePositionBias) -> PositionTable:
        """Evaluate it at every distance that has a bucket of its own."""
        distances = torch.arange(-MAX_DISTANCE, MAX_DISTANCE + 1)
        rows = F.embedding(position_bucket(distances), module.weight)
        return PositionTable(rows, MAX_DISTANCE)
