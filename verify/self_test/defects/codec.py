"""Defects of the codec."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vampnet_onnx.models.networks.layers import Snake1d, WNConv1d
from vampnet_onnx.models.networks.quantize import Quantized, VectorQuantize

from .base import (
    ForwardDefect,
    GraphDefect,
    ModuleDefect,
    ModuleLost,
    replace_forward,
    replace_tensor,
    replace_weight,
)


class ConvolutionDefect(ModuleDefect):
    """A mistake in one convolution, whose effective weight is right.

    Attributes:
        convolve: static; takes the convolution, as `_Convolution`, and its input.
    """

    convolve: Callable[..., Tensor]

    def plant(self, module: Any) -> None:
        """Put another convolution of the same weight in its place."""
        changed = _Convolution(module.get_submodule(self.culprit))
        replace_forward(changed, self.convolve)
        module.set_submodule(self.culprit, changed)


class UndilatedConvolution(ModuleDefect):
    """One dilated convolution is not dilated; its output keeps its length."""

    def plant(self, module: Any) -> None:
        """Set its dilation to one."""
        conv = module.get_submodule(self.culprit)
        assert isinstance(conv, WNConv1d)
        conv.dilation, conv.padding = 1, (conv.weight_v.shape[-1] - 1) // 2


class MaskTokenDecodedAsAnother(GraphDefect, of="codec_decoder", at="quantizer"):
    """The mask token reads as code 1 in the decoder."""

    def plant(self, model: ir.Model) -> None:
        def misread(rows: np.ndarray) -> np.ndarray:
            rows[:, -1] = rows[:, 1]  # the mask token's row is the last one
            return rows

        replace_weight(model, "quantizer.tables", misread)


class OneChainMissing(
    ModuleDefect, of="codec_decoder", at="decoder.model.2.block.2.mrf_blocks.2"
):
    """One of the decoder's parallel chains is left out of the mean."""

    def plant(self, module: Any) -> None:
        def forward(part: Any, x: Tensor) -> Any:
            return (part.mrf_blocks[0](x) + part.mrf_blocks[1](x)) / 2

        replace_forward(module.get_submodule("decoder.model.2.block.2"), forward)


class UpsamplingCutOnTheOtherSide(
    ConvolutionDefect, of="codec_decoder", at="decoder.model.1.block.1"
):
    """A transposed convolution is cropped by other amounts than its padding."""

    @staticmethod
    def convolve(conv: Any, x: Tensor) -> Tensor:
        whole: Tensor = F.conv_transpose1d(x, conv.weight, conv.bias, conv.stride)
        early, late = conv.padding - 1, conv.padding + 1
        return whole[..., early : whole.shape[-1] - late]


class NormOverTheWrongAxis(ModuleDefect, of="codec_decoder", at="decoder.model.3.block.1"):
    """A transposed convolution's weight is normalised over its output channels."""

    def plant(self, module: Any) -> None:
        def rescale(v: Tensor) -> Tensor:
            right = v.flatten(1).norm(dim=1)[:, None, None]
            wrong = v.transpose(0, 1).flatten(1).norm(dim=1)[None, :, None]
            scaled: Tensor = v * right / wrong
            return scaled

        conv = module.get_submodule(self.culprit)
        kept = conv.weight
        wrong = rescale(conv.weight_v.detach())
        object.__setattr__(conv, "weight", lambda: kept() * (wrong / conv.weight_v))


class SnakeOfHalfTheFrequency(ModuleDefect, of="codec_decoder", at="decoder.model.1.block.0"):
    """One Snake of the decoder is half as fast."""

    def plant(self, module: Any) -> None:
        replace_tensor(module, f"{self.culprit}.alpha", lambda alpha: alpha / 2)


class ReflectedEdges(ConvolutionDefect, of="codec_encoder", at="encoder.block.0"):
    """The first convolution reflects the audio at its edges instead of padding zeros."""

    @staticmethod
    def convolve(conv: Any, x: Tensor) -> Tensor:
        edge = conv.padding
        before = x[..., 1 : edge + 1].flip(-1)
        after = x[..., -edge - 1 : -1].flip(-1)
        return F.conv1d(torch.cat([before, x, after], dim=-1), conv.weight, conv.bias)


class ResidualOfNormalisedRows(ModuleDefect, of="codec_encoder", at="quantizer.quantizers.0"):
    """Normalised rows are taken off the residual instead of the rows themselves."""

    def plant(self, module: Any) -> None:
        for book in module.get_submodule("quantizer.quantizers"):
            replace_tensor(book, "codebook.weight", F.normalize)


class EncoderDilationWrong(
    UndilatedConvolution, of="codec_encoder", at="encoder.block.1.block.1.block.1"
):
    """One dilated convolution of the encoder is not dilated."""


class DecoderDilationWrong(
    UndilatedConvolution,
    of="codec_decoder",
    at="decoder.model.1.block.2.mrf_blocks.0.block.1.layer.1",
):
    """One dilated convolution of the decoder is not dilated."""


class PaddingOneSided(ConvolutionDefect, of="codec_encoder", at="encoder.block.0"):
    """The first convolution pads on the right only."""

    @staticmethod
    def convolve(conv: Any, x: Tensor) -> Tensor:
        return F.conv1d(F.pad(x, (0, 2 * conv.padding)), conv.weight, conv.bias)


class TanhLost(ModuleLost, of="codec_decoder", at="decoder.model.6"):
    """Audio leaves the decoder without its tanh."""


class SnakeWithoutReciprocal(
    ModuleDefect, of="codec_encoder", at="encoder.block.2.block.0.block.0"
):
    """One Snake adds sin(a x)^2 without dividing by a."""

    def plant(self, module: Any) -> None:
        snake: Snake1d = module.get_submodule(self.culprit)
        object.__setattr__(snake, "inverse", lambda: torch.ones_like(snake.alpha))


class ChainsSummedNotAveraged(ForwardDefect, of="codec_decoder", at="decoder.model.1.block.2"):
    """Parallel chains of the decoder are summed."""

    @staticmethod
    def forward(part: Any, x: Tensor) -> Any:
        return sum((block(x) for block in part.mrf_blocks), start=torch.zeros_like(x))


class EncoderResidualLost(ForwardDefect, of="codec_encoder", at="encoder.block.2.block.1"):
    """One residual layer of the encoder forgets its input."""

    @staticmethod
    def forward(part: Any, x: Tensor) -> Any:
        return part.block(x)


class UpsamplingShifted(ConvolutionDefect, of="codec_decoder", at="decoder.model.2.block.1"):
    """A transposed convolution's output is one sample late."""

    @staticmethod
    def convolve(conv: Any, x: Tensor) -> Tensor:
        y = F.conv_transpose1d(x, conv.weight, conv.bias, conv.stride, conv.padding)
        return F.pad(y, (1, 0))[..., :-1]


class CodebookNotNormalised(ModuleDefect, of="codec_encoder", at="quantizer.quantizers.0"):
    """One codebook is searched without normalising its entries."""

    def plant(self, module: Any) -> None:
        quantizer = module.get_submodule("quantizer")
        book = quantizer.get_submodule("quantizers.0")
        assert isinstance(book, VectorQuantize)
        quantizer.quantizers[0] = _PlainSearch(book)


class ResidualNotSubtracted(ForwardDefect, of="codec_encoder", at="quantizer"):
    """Every codebook quantises the same latents."""

    @staticmethod
    def forward(quantizer: Any, z: Tensor) -> Any:
        found = [book(z) for book in quantizer.quantizers]
        codes = torch.stack([item[1] for item in found], dim=1)
        latents = torch.cat([item[2] for item in found], dim=1)
        return Quantized(sum(item[0] for item in found), codes, latents)


class DecoderCodebooksPermuted(ModuleDefect, of="codec_decoder", at="quantizer"):
    """Two codebooks of the decoder change places."""

    def plant(self, module: Any) -> None:
        books = module.get_submodule("quantizer.quantizer.quantizers")
        books[0], books[1] = books[1], books[0]


class LastCodebookMissing(ModuleDefect, of="codec_decoder", at="quantizer"):
    """The last codebook adds nothing."""

    def plant(self, module: Any) -> None:
        books = module.get_submodule("quantizer.quantizer.quantizers")
        last = books[len(books) - 1]
        replace_tensor(last, "out_proj.weight_g", torch.zeros_like)
        replace_tensor(last, "out_proj.bias", torch.zeros_like)


class LengthFrozen(ModuleDefect, of="codec_encoder", at=""):
    """The encoder cuts or pads every input to the traced length."""

    def plant(self, module: Any) -> None:
        codec = module.codec[0]
        frozen = 13 * codec.dims.hop_length

        class Fixed:
            dims = codec.dims

            def pad(self, audio: Tensor) -> Tensor:
                return F.pad(audio, (0, frozen))[..., :frozen]

        module.codec = [Fixed()]


class HopPaddingOnTheLeft(ModuleDefect, of="codec_encoder", at=""):
    """Audio is padded to the hop on the left."""

    def plant(self, module: Any) -> None:
        codec = module.codec[0]

        class Left:
            def pad(self, audio: Tensor) -> Tensor:
                padded: Tensor = codec.pad(audio)
                return F.pad(audio, (padded.shape[-1] - audio.shape[-1], 0))

        module.codec = [Left()]


class _Convolution(nn.Module):
    """A convolution without weight norm, which waits for its forward."""

    def __init__(self, conv: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(conv.weight().detach(), requires_grad=False)
        self.bias, self.stride, self.padding = conv.bias, conv.stride, conv.padding


class _PlainSearch(nn.Module):
    """A codebook searched by distance between vectors of unequal length."""

    def __init__(self, book: VectorQuantize) -> None:
        super().__init__()
        self.in_proj, self.out_proj = book.in_proj, book.out_proj
        rows = book.codebook.weight.detach()
        lengths = torch.linspace(0.5, 2, rows.shape[0])[:, None]
        self.rows = nn.Parameter(rows, requires_grad=False)
        self.entries = nn.Parameter(F.normalize(rows) * lengths, requires_grad=False)

    def forward(self, residual: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        latents = self.in_proj(residual)
        encodings = F.normalize(latents.transpose(1, 2), dim=-1)
        distances = self.entries.pow(2).sum(1) - 2 * encodings @ self.entries.t()
        codes = torch.argmax(-distances, dim=-1)
        return self.out_proj(F.embedding(codes, self.rows).transpose(1, 2)), codes, latents
