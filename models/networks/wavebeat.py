"""The beat tracker: a temporal convolutional network from raw audio to beats and downbeats.

Source: Steinmetz and Reiss, "WaveBeat: End-to-end beat and downbeat tracking in the time
domain" (2021).  Each block halves the rate: a dilated convolution, batch norm and PReLU,
beside it a convolution of one tap with its own batch norm.  Written from the paper and from
the names and shapes in the checkpoint; the published code, under the GPL, was run beside it
and never read.  Convolutions are centred: they see zeros beyond either end.
"""

import torch
from torch import Tensor, nn

from .dims import TrackerDims

_STRIDE = 2
_EPS = 1e-5  # of every batch norm


class BatchNorm(nn.Module):
    """Batch norm as it is after training: what it learnt and what it saw are weights alike."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.running_mean = nn.Parameter(torch.zeros(channels))
        self.running_var = nn.Parameter(torch.ones(channels))

    def scale(self) -> Tensor:
        """Return what it multiplies with, float [C]."""
        return self.weight / torch.sqrt(self.running_var + _EPS)

    def shift(self) -> Tensor:
        """Return what it adds after that, float [C]."""
        return self.bias - self.running_mean * self.scale()

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (float [B, C, T])."""
        return x * self.scale()[:, None] + self.shift()[:, None]


class Block(nn.Module):
    """One halving of the rate."""

    def __init__(self, dims: TrackerDims, number: int) -> None:
        super().__init__()
        inputs, outputs = dims.inputs(number), dims.channels[number]
        dilation = dims.dilation(number)
        self.conv1 = nn.Conv1d(
            inputs,
            outputs,
            dims.kernel_size,
            stride=_STRIDE,
            dilation=dilation,
            padding=dilation * (dims.kernel_size // 2),
        )
        self.norm1 = BatchNorm(outputs)
        self.act1 = nn.PReLU(outputs)
        self.res_norm = BatchNorm(outputs)
        self.res_conv = nn.Conv1d(inputs, outputs, 1, stride=_STRIDE)

    def forward(self, x: Tensor) -> Tensor:
        """Take float [B, C, T], give [B, C', ceil(T / 2)]."""
        found: Tensor = self.act1(self.norm1(self.conv1(x))) + self.res_norm(self.res_conv(x))
        return found


class WaveBeat(nn.Module):
    """The tracker, under the names of its state dict."""

    def __init__(self, dims: TrackerDims) -> None:
        super().__init__()
        self.dims = dims
        self.blocks = nn.ModuleList(Block(dims, n) for n in range(len(dims.channels)))
        self.output = nn.Conv1d(dims.channels[-1], 2, 1)

    def forward(self, audio: Tensor) -> Tensor:
        """Track beats.

        Args:
            audio: float [B, 1, samples] at `TrackerDims.audio_sample_rate`, peak 1.

        Returns:
            Logits of a beat and of a downbeat, float [B, 2, frames].
        """
        for block in self.blocks:
            audio = block(audio)
        logits: Tensor = self.output(audio)
        return logits
