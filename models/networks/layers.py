"""Layers shared by the codec and the transformer, under the published parameter names."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Snake1d(nn.Module):
    """Periodic activation x + sin(a x)^2 / (a + 1e-9), one ``a`` a channel.

    Source: Ziyin et al., "Neural Networks Fail to Learn Periodic Functions" (2020);
    published as ``lac.nn.layers.Snake1d``.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1))

    def inverse(self) -> Tensor:
        """Return 1 / (a + 1e-9), float [1, C, 1]."""
        return (self.alpha + 1e-9).reciprocal()

    def forward(self, x: Tensor) -> Tensor:
        """Activate x (float [B, C, T]) element by element."""
        return x + self.inverse() * torch.sin(self.alpha * x).pow(2)


class _WeightNormed(nn.Module):
    """A convolution whose weight is g * v / ||v||, the norm over all axes but the first.

    Source: Salimans and Kingma, "Weight Normalization" (2016).  The weight is formed at
    every forward, so a freshly loaded module has no stale copy of it.
    """

    def __init__(self, out_channels: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_g = nn.Parameter(torch.ones(shape[0], 1, 1))
        self.weight_v = nn.Parameter(torch.ones(shape))

    def weight(self) -> Tensor:
        """Return the effective weight, of the shape of ``weight_v``."""
        return torch._weight_norm(self.weight_v, self.weight_g, 0)


class WNConv1d(_WeightNormed):
    """Conv1d, weight-normed: float [out, in, k]."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
    ) -> None:
        super().__init__(out_channels, (out_channels, in_channels, kernel_size))
        self.stride, self.padding, self.dilation = stride, padding, dilation

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x (float [B, in, T]) to [B, out, T']."""
        return F.conv1d(x, self.weight(), self.bias, self.stride, self.padding, self.dilation)


class WNConvTranspose1d(_WeightNormed):
    """Transposed Conv1d, weight-normed; its first weight axis is the *input* channels."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int,
        padding: int,
    ) -> None:
        super().__init__(out_channels, (in_channels, out_channels, kernel_size))
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """Upsample x (float [B, in, T]) to [B, out, T * stride]."""
        return F.conv_transpose1d(x, self.weight(), self.bias, self.stride, self.padding)


class RMSNorm(nn.Module):
    """x * rsqrt(mean(x^2) + 1e-6) * weight, over the last axis.

    Source: Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019); published as
    ``vampnet.modules.transformer.RMSNorm``.
    """

    eps = 1e-6

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (float [..., width])."""
        scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * (x * scale)


class LoRALinear(nn.Module):
    """Bias-free linear layer with an optional low-rank update: W + (B @ A) * alpha / rank.

    Source: Hu et al., "LoRA" (2021), as ``loralib.Linear`` with alpha 1.  The rank is that
    of the tensors; without them the layer is a plain linear layer.
    """

    alpha = 1.0

    def __init__(self, in_features: int, out_features: int, *, rank: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out_features, in_features))
        if rank:
            self.lora_A = nn.Parameter(torch.zeros(rank, in_features))
            self.lora_B = nn.Parameter(torch.zeros(out_features, rank))
        self.rank, self.merged = rank, False

    def merged_weight(self) -> Tensor:
        """Return the effective weight, float [out, in]."""
        if not self.rank:
            return self.weight
        return self.weight + (self.lora_B @ self.lora_A) * (self.alpha / self.rank)

    def merge(self) -> None:
        """Make the effective weight the weight, as ``loralib`` does on ``eval()``.

        What every forward would compute is computed once; the layer has no update after it.
        """
        if self.rank:
            with torch.no_grad():
                self.weight.copy_(self.merged_weight())
            del self.lora_A, self.lora_B
            self.rank, self.merged = 0, True

    def forward(self, x: Tensor) -> Tensor:
        """Map x (float [..., in]) to [..., out]."""
        return F.linear(x, self.merged_weight())


def merge_lora(model: nn.Module) -> None:
    """Form every effective weight of a model once and in place.

    At released size a forward spends 0.5 s on it.
    """
    for layer in model.modules():
        if isinstance(layer, LoRALinear):
            layer.merge()


def same_padding(kernel_size: int, dilation: int = 1) -> int:
    """Return the padding that keeps the length for an odd kernel.

    Raises:
        ValueError: the kernel reaches over an odd number of gaps, so no padding does.
    """
    reach = dilation * (kernel_size - 1)
    if reach % 2:
        raise ValueError(f"kernel {kernel_size} with dilation {dilation} cannot keep length")
    return reach // 2
