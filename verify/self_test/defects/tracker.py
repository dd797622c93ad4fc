"""Defects of the beat tracker."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .base import ForwardDefect, ModuleDefect, ModuleLost, replace_tensor


class MeanFoldedUnscaled(ModuleDefect, of="beat_tracker", at="blocks.2.norm1"):
    """A batch norm is folded with its mean taken off as it is, not scaled."""

    def plant(self, module: Any) -> None:
        norm = module.get_submodule(self.culprit)
        object.__setattr__(norm, "shift", lambda: norm.bias - norm.running_mean)


class VarianceFoldedForItsRoot(ModuleDefect, of="beat_tracker", at="blocks.3.res_norm"):
    """A batch norm is folded with its variance for a standard deviation."""

    def plant(self, module: Any) -> None:
        norm = module.get_submodule(self.culprit)
        object.__setattr__(norm, "scale", lambda: norm.weight / norm.running_var)


class TrackerDilationWrong(ModuleDefect, of="beat_tracker", at="blocks.1.conv1"):
    """One dilated convolution of the tracker is not dilated; its output keeps its length."""

    def plant(self, module: Any) -> None:
        conv = module.get_submodule(self.culprit)
        conv.dilation, conv.padding = (1,), (conv.kernel_size[0] // 2,)


class TrackerLooksBack(ForwardDefect, of="beat_tracker", at="blocks.0.conv1"):
    """One convolution of the tracker sees what was before, as a causal one does."""

    @staticmethod
    def forward(conv: Any, x: Tensor) -> Tensor:
        whole = F.pad(x, (2 * conv.padding[0], 0))
        return F.conv1d(whole, conv.weight, conv.bias, conv.stride, 0, conv.dilation)


class StrideFromTheSecondSample(ForwardDefect, of="beat_tracker", at="blocks.2.res_conv"):
    """Beside one block every second sample is taken, beginning with the second."""

    @staticmethod
    def forward(conv: Any, x: Tensor) -> Tensor:
        return F.conv1d(F.pad(x, (0, 1))[..., 1:], conv.weight, conv.bias, conv.stride)


class BesideTheBlockLost(
    ForwardDefect, of="beat_tracker", at="blocks.4", also=("blocks.4.res_conv",)
):
    """Nothing is added beside the last block."""

    @staticmethod
    def forward(block: Any, x: Tensor) -> Any:
        return block.act1(block.norm1(block.conv1(x)))


class TrackerActivationLost(ModuleLost, of="beat_tracker", at="blocks.3.act1"):
    """One block has no activation."""


class OneSlopeForAllChannels(ModuleDefect, of="beat_tracker", at="blocks.1.act1"):
    """The slopes of one activation are all that of its first channel."""

    def plant(self, module: Any) -> None:
        replace_tensor(
            module, f"{self.culprit}.weight", lambda slopes: slopes[:1] + 0 * slopes
        )


class BeatsForDownbeats(ModuleDefect, of="beat_tracker", at="output"):
    """Beats and downbeats change places."""

    def plant(self, module: Any) -> None:
        for name in ("weight", "bias"):
            replace_tensor(module, f"{self.culprit}.{name}", lambda rows: rows.flip(0))


class PeakOfTheBatch(ForwardDefect, of="beat_tracker", at=""):
    """Audio is divided by the largest peak of the batch."""

    @staticmethod
    def forward(tracker: Any, audio: Tensor) -> Any:
        peak = audio.abs().amax(dim=-1, keepdim=True).amax(dim=0, keepdim=True)
        audio = audio / torch.clamp(peak, min=1e-9)
        for block in tracker.blocks:
            audio = block(audio)
        return tracker.output(audio)
