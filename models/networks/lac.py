"""The LAC codec in PyTorch, under the state-dict names of the published ``lac`` package.

Audio in, codes out, and back.  Dimensions come from the checkpoint (`models.networks.dims`).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .dims import CodecDims
from .layers import Snake1d, WNConv1d, WNConvTranspose1d, same_padding
from .quantize import Quantized, ResidualVectorQuantize

_ENCODER_KERNEL = 7
_ENCODER_DILATIONS = (1, 3, 9)
_DECODER_KERNELS = (3, 7, 11)
_DECODER_DILATIONS = (1, 3, 5)


class _Chain(nn.Module):
    """Modules that run one after the other, under the name that published keys have."""

    name = "block"
    block: nn.Sequential

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.add_module(self.name, nn.Sequential(*modules))

    def forward(self, x: Tensor) -> Tensor:
        """Run them on x (float [B, C, T])."""
        out: Tensor = getattr(self, self.name)(x)
        return out


class EncoderLayer(_Chain):
    """Residual layer: Snake, dilated convolution, Snake, pointwise convolution."""

    def __init__(self, channels: int, dilation: int) -> None:
        pad = same_padding(_ENCODER_KERNEL, dilation)
        super().__init__(
            Snake1d(channels),
            WNConv1d(channels, channels, _ENCODER_KERNEL, padding=pad, dilation=dilation),
            Snake1d(channels),
            WNConv1d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map x (float [B, C, T]) to the same shape."""
        return x + super().forward(x)


class EncoderBlock(_Chain):
    """Three residual layers, then a strided convolution that doubles the channels.

    Maps [B, C, T] to [B, 2C, T / stride].
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__(
            *(EncoderLayer(channels, dilation) for dilation in _ENCODER_DILATIONS),
            Snake1d(channels),
            WNConv1d(channels, 2 * channels, 2 * stride, stride=stride, padding=stride // 2),
        )


class Encoder(_Chain):
    """Audio (float [B, 1, frames * hop]) to latents (float [B, latent_dim, frames])."""

    def __init__(self, dims: CodecDims) -> None:
        channels = dims.encoder_dim
        layers: list[nn.Module] = [
            WNConv1d(1, channels, _ENCODER_KERNEL, padding=same_padding(_ENCODER_KERNEL))
        ]
        for stride in dims.encoder_rates:
            layers.append(EncoderBlock(channels, stride))
            channels *= 2
        super().__init__(
            *layers, Snake1d(channels), WNConv1d(channels, channels, 3, padding=1)
        )


class ResidualLayer(_Chain):
    """Snake, dilated convolution, Snake, convolution, plus the input."""

    name = "layer"
    layer: nn.Sequential

    def __init__(self, channels: int, kernel_size: int, dilation: int) -> None:
        dilated, plain = same_padding(kernel_size, dilation), same_padding(kernel_size)
        super().__init__(
            Snake1d(channels),
            WNConv1d(channels, channels, kernel_size, padding=dilated, dilation=dilation),
            Snake1d(channels),
            WNConv1d(channels, channels, kernel_size, padding=plain),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map x (float [B, C, T]) to the same shape."""
        return x + super().forward(x)


class ResidualBlock(_Chain):
    """Residual layers of one kernel size."""

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__(
            *(ResidualLayer(channels, kernel_size, d) for d in _DECODER_DILATIONS)
        )


class MRFBlock(nn.Module):
    """Mean of parallel residual chains (multi-receptive-field fusion).

    Source: Kong et al., "HiFi-GAN" (2020).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mrf_blocks = nn.ModuleList(
            ResidualBlock(channels, kernel_size) for kernel_size in _DECODER_KERNELS
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map x (float [B, C, T]) to the same shape."""
        total: Tensor = self.mrf_blocks[0](x)
        for block in self.mrf_blocks[1:]:
            total = total + block(x)
        return total / len(self.mrf_blocks)


class DecoderBlock(_Chain):
    """Snake, transposed convolution that halves the channels, multi-receptive fusion.

    Maps [B, C, T] to [B, C / 2, T * stride].
    """

    def __init__(self, channels: int, stride: int) -> None:
        half = channels // 2
        super().__init__(
            Snake1d(channels),
            WNConvTranspose1d(channels, half, 2 * stride, stride=stride, padding=stride // 2),
            MRFBlock(half),
        )


class Decoder(_Chain):
    """Latents (float [B, latent_dim, frames]) to audio (float [B, 1, frames * hop])."""

    name = "model"
    model: nn.Sequential

    def __init__(self, dims: CodecDims) -> None:
        channels = dims.decoder_dim
        layers: list[nn.Module] = [WNConv1d(dims.latent_dim, channels, 7, padding=3)]
        for stride in dims.decoder_rates:
            layers.append(DecoderBlock(channels, stride))
            channels //= 2
        super().__init__(
            *layers, Snake1d(channels), WNConv1d(channels, 1, 7, padding=3), nn.Tanh()
        )


class LAC(nn.Module):
    """The whole codec."""

    def __init__(self, dims: CodecDims) -> None:
        super().__init__()
        self.dims = dims
        self.encoder = Encoder(dims)
        self.quantizer = ResidualVectorQuantize(
            dims.latent_dim, dims.codebook_size, dims.codebook_dims
        )
        self.decoder = Decoder(dims)

    def pad(self, audio: Tensor) -> Tensor:
        """Zero-pad audio (float [B, 1, samples]) on the right to a multiple of the hop."""
        hop = self.dims.hop_length
        samples = audio.shape[-1]
        return F.pad(audio, (0, (samples + hop - 1) // hop * hop - samples))

    def encode(self, audio: Tensor) -> Quantized:
        """Encode audio (float [B, 1, samples], any length from 1)."""
        quantized: Quantized = self.quantizer(self.encoder(self.pad(audio)))
        return quantized

    def decode_codes(self, codes: Tensor) -> Tensor:
        """Decode codes (int64 [B, n, T]) to audio (float [B, 1, T * hop]).

        As the published ``Interface.decode`` does, the mask token reads as code 0.
        """
        codes = torch.where(codes == self.dims.codebook_size, 0, codes)
        audio: Tensor = self.decoder(self.quantizer.from_codes(codes).z)
        return audio

    def decode_requantised(self, codes: Tensor) -> Tensor:
        """Decode the way the published ``Interface.decode`` does.

        Mask tokens become code 0, the rows of all codebooks (int64 [B, codebooks, T]) are
        looked up, re-quantised each by itself, and decoded.  It differs from `decode_codes`
        only where two rows of a codebook point the same way.
        """
        codes = torch.where(codes == self.dims.codebook_size, 0, codes)
        latents = self.quantizer.from_codes(codes).latents
        audio: Tensor = self.decoder(self.quantizer.from_latents(latents).z)
        return audio
