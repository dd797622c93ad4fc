"""The LAC codec in PyTorch, under the state-dict names of the published ``lac`` package.

Audio in, codes out, and back.  Dimensions come from the checkpoint (`models.networks.dims`).
"""

from __future__ import annotations

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


class EncoderLayer(nn.Module):
    """Residual layer: Snake, dilated convolution, Snake, pointwise convolution."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        pad = same_padding(_ENCODER_KERNEL, dilation)
        self.block = nn.Sequential(
            Snake1d(channels),
            WNConv1d(channels, channels, _ENCODER_KERNEL, padding=pad, dilation=dilation),
            Snake1d(channels),
            WNConv1d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map x (float [B, C, T]) to the same shape."""
        out: Tensor = x + self.block(x)
        return out


class EncoderBlock(nn.Module):
    """Three residual layers, then a strided convolution that doubles the channels."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            *(EncoderLayer(channels, dilation) for dilation in _ENCODER_DILATIONS),
            Snake1d(channels),
            WNConv1d(channels, 2 * channels, 2 * stride, stride=stride, padding=stride // 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map x (float [B, C, T]) to [B, 2C, T / stride]."""
        out: Tensor = self.block(x)
        return out


class Encoder(nn.Module):
    """Audio (float [B, 1, frames * hop]) to latents (float [B, latent_dim, frames])."""

    def __init__(self, dims: CodecDims) -> None:
        super().__init__()
        channels = dims.encoder_dim
        layers: list[nn.Module] = [
            WNConv1d(1, channels, _ENCODER_KERNEL, padding=same_padding(_ENCODER_KERNEL))
        ]
        for stride in dims.encoder_rates:
            layers.append(EncoderBlock(channels, stride))
            channels *= 2
        layers += [Snake1d(channels), WNConv1d(channels, channels, 3, padding=1)]
        self.block = nn.Sequential(*layers)

    def forward(self, audio: Tensor) -> Tensor:
        """Encode audio whose length is a multiple of the hop."""
        out: Tensor = self.block(audio)
        return out


class ResidualLayer(nn.Module):
    """Snake, dilated convolution, Snake, convolution, plus the input."""

    def __init__(self, channels: int, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(
            Snake1d(channels),
            WNConv1d(
                channels,
                channels,
                kernel_size,
                padding=same_padding(kernel_size, dilation),
                dilation=dilation,
            ),
            Snake1d(channels),
            WNConv1d(channels, channels, kernel_size, padding=same_padding(kernel_size)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map x (float [B, C, T]) to the same shape."""
        out: Tensor = x + self.layer(x)
        return out


class ResidualBlock(nn.Module):
    """Chain of residual layers of one kernel size."""

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            *(
                ResidualLayer(channels, kernel_size, dilation)
                for dilation in _DECODER_DILATIONS
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map x (float [B, C, T]) to the same shape."""
        out: Tensor = self.block(x)
        return out


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


class DecoderBlock(nn.Module):
    """Snake, transposed convolution that halves the channels, multi-receptive fusion."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        half = channels // 2
        self.block = nn.Sequential(
            Snake1d(channels),
            WNConvTranspose1d(channels, half, 2 * stride, stride=stride, padding=stride // 2),
            MRFBlock(half),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map x (float [B, C, T]) to [B, C/2, T * stride]."""
        out: Tensor = self.block(x)
        return out


class Decoder(nn.Module):
    """Latents (float [B, latent_dim, frames]) to audio (float [B, 1, frames * hop])."""

    def __init__(self, dims: CodecDims) -> None:
        super().__init__()
        channels = dims.decoder_dim
        layers: list[nn.Module] = [WNConv1d(dims.latent_dim, channels, 7, padding=3)]
        for stride in dims.decoder_rates:
            layers.append(DecoderBlock(channels, stride))
            channels //= 2
        layers += [Snake1d(channels), WNConv1d(channels, 1, 7, padding=3), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """Decode z."""
        out: Tensor = self.model(z)
        return out


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

        Mask tokens become code 0, the rows are looked up, re-quantised each by itself, and
        decoded.  It differs from `decode_codes` only where two rows of a codebook point the
        same way.

        Args:
            codes: int64 [B, all codebooks, T].
        """
        codes = torch.where(codes == self.dims.codebook_size, 0, codes)
        latents = self.quantizer.from_codes(codes).latents
        audio: Tensor = self.decoder(self.quantizer.from_latents(latents).z)
        return audio
