"""Defects of the codec."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vampnet_onnx.models.networks.layers import Snake1d, WNConv1d
from vampnet_onnx.models.networks.quantize import Quantized, VectorQuantize

from .base import Defect, Identity, ModuleDefect, replace_forward, replace_tensor


class EncoderDilationWrong(ModuleDefect):
    """One dilated convolution of the encoder is not dilated."""

    component = "codec_encoder"
    culprit = "encoder.block.1.block.1.block.1"

    def plant(self, module: Any) -> None:
        conv = module.get_submodule(self.culprit)
        assert isinstance(conv, WNConv1d)
        conv.dilation, conv.padding = 1, (conv.weight_v.shape[-1] - 1) // 2


class DecoderDilationWrong(ModuleDefect):
    """One dilated convolution of the decoder is not dilated."""

    component = "codec_decoder"
    culprit = "decoder.model.1.block.2.mrf_blocks.0.block.1.layer.1"

    def plant(self, module: Any) -> None:
        conv = module.get_submodule(self.culprit)
        assert isinstance(conv, WNConv1d)
        conv.dilation, conv.padding = 1, (conv.weight_v.shape[-1] - 1) // 2


class PaddingOneSided(ModuleDefect):
    """The first convolution pads on the right only."""

    component = "codec_encoder"
    culprit = "encoder.block.0"

    def plant(self, module: Any) -> None:
        block = module.get_submodule("encoder.block")
        conv = block[0]
        reach = 2 * conv.padding

        class Shifted(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(conv.weight().detach(), requires_grad=False)
                self.bias = conv.bias

            def forward(self, x: Tensor) -> Tensor:
                return F.conv1d(F.pad(x, (0, reach)), self.weight, self.bias)

        block[0] = Shifted()


class TanhLost(ModuleDefect):
    """Audio leaves the decoder without its tanh."""

    component = "codec_decoder"
    culprit = "decoder.model.6"

    def plant(self, module: Any) -> None:
        layers = module.get_submodule("decoder.model")
        layers[len(layers) - 1] = Identity()


class SnakeWithoutReciprocal(ModuleDefect):
    """One Snake adds sin(a x)^2 without dividing by a."""

    component = "codec_encoder"
    culprit = "encoder.block.2.block.0.block.0"

    def plant(self, module: Any) -> None:
        snake: Snake1d = module.get_submodule(self.culprit)
        object.__setattr__(snake, "inverse", lambda: torch.ones_like(snake.alpha))


class ChainsSummedNotAveraged(ModuleDefect):
    """Parallel chains of the decoder are summed."""

    component = "codec_decoder"
    culprit = "decoder.model.1.block.2"

    def plant(self, module: Any) -> None:
        def forward(self: Any, x: Tensor) -> Any:
            return sum((block(x) for block in self.mrf_blocks), start=torch.zeros_like(x))

        replace_forward(module.get_submodule(self.culprit), forward)


class EncoderResidualLost(ModuleDefect):
    """One residual layer of the encoder forgets its input."""

    component = "codec_encoder"
    culprit = "encoder.block.2.block.1"

    def plant(self, module: Any) -> None:
        def forward(self: Any, x: Tensor) -> Any:
            return self.block(x)

        replace_forward(module.get_submodule(self.culprit), forward)


class UpsamplingShifted(ModuleDefect):
    """A transposed convolution's output is one sample late."""

    component = "codec_decoder"
    culprit = "decoder.model.2.block.1"

    def plant(self, module: Any) -> None:
        block = module.get_submodule("decoder.model.2.block")
        conv = block[1]

        class Late(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(conv.weight().detach(), requires_grad=False)
                self.bias = conv.bias

            def forward(self, x: Tensor) -> Tensor:
                y = F.conv_transpose1d(x, self.weight, self.bias, conv.stride, conv.padding)
                return F.pad(y, (1, 0))[..., :-1]

        block[1] = Late()


class CodebookNotNormalised(ModuleDefect):
    """One codebook is searched without normalising its entries."""

    component = "codec_encoder"
    culprit = "quantizer.quantizers.0"

    def plant(self, module: Any) -> None:
        quantizer = module.get_submodule("quantizer")
        book = quantizer.get_submodule("quantizers.0")
        assert isinstance(book, VectorQuantize)
        quantizer.quantizers[0] = _PlainSearch(book)


class ResidualNotSubtracted(ModuleDefect):
    """Every codebook quantises the same latents."""

    component = "codec_encoder"
    culprit = "quantizer"

    def plant(self, module: Any) -> None:
        def forward(self: Any, z: Tensor) -> Any:
            found = [book(z) for book in self.quantizers]
            codes = torch.stack([item[1] for item in found], dim=1)
            latents = torch.cat([item[2] for item in found], dim=1)
            return Quantized(sum(item[0] for item in found), codes, latents)

        replace_forward(module.get_submodule("quantizer"), forward)


class DecoderCodebooksPermuted(ModuleDefect):
    """Two codebooks of the decoder change places."""

    component = "codec_decoder"
    culprit = "quantizer"

    def plant(self, module: Any) -> None:
        books = module.get_submodule("quantizer.quantizer.quantizers")
        books[0], books[1] = books[1], books[0]


class LastCodebookMissing(ModuleDefect):
    """The last codebook adds nothing."""

    component = "codec_decoder"
    culprit = "quantizer"

    def plant(self, module: Any) -> None:
        books = module.get_submodule("quantizer.quantizer.quantizers")
        last = books[len(books) - 1]
        replace_tensor(last, "out_proj.weight_g", torch.zeros_like)
        replace_tensor(last, "out_proj.bias", torch.zeros_like)


class LengthFrozen(ModuleDefect):
    """The encoder cuts or pads every input to the traced length."""

    component = "codec_encoder"
    culprit = ""

    def plant(self, module: Any) -> None:
        codec = module.codec[0]
        frozen = 13 * codec.dims.hop_length

        class Fixed:
            dims = codec.dims

            def pad(self, audio: Tensor) -> Tensor:
                return F.pad(audio, (0, frozen))[..., :frozen]

        module.codec = [Fixed()]


class HopPaddingOnTheLeft(ModuleDefect):
    """Audio is padded to the hop on the left."""

    component = "codec_encoder"
    culprit = ""

    def plant(self, module: Any) -> None:
        codec = module.codec[0]

        class Left:
            def pad(self, audio: Tensor) -> Tensor:
                padded: Tensor = codec.pad(audio)
                return F.pad(audio, (padded.shape[-1] - audio.shape[-1], 0))

        module.codec = [Left()]


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


CODEC_DEFECTS: tuple[Defect, ...] = (
    EncoderDilationWrong(),
    DecoderDilationWrong(),
    PaddingOneSided(),
    TanhLost(),
    SnakeWithoutReciprocal(),
    ChainsSummedNotAveraged(),
    EncoderResidualLost(),
    UpsamplingShifted(),
    CodebookNotNormalised(),
    ResidualNotSubtracted(),
    DecoderCodebooksPermuted(),
    LastCodebookMissing(),
    LengthFrozen(),
    HopPaddingOnTheLeft(),
)
