"""Defects of wiring and convention: the right parts, put together another way."""

from __future__ import annotations

import math
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vampnet_onnx.export.components.component import sharing_copy
from vampnet_onnx.export.graph import MODULE_KEY

from .base import Defect, GraphDefect, ModuleDefect, replace_forward, replace_tensor

_LAYER = "transformer.layers.1"


class HeadsOfQueriesRolled(ModuleDefect):
    """Each head's queries meet the keys of the next head."""

    component = "coarse"
    culprit = f"{_LAYER}.self_attn"

    def plant(self, module: Any) -> None:
        def forward(self: Any, x: Tensor, bias: Tensor) -> Any:
            q, k, v = (self._heads(w(x)) for w in (self.w_qs, self.w_ks, self.w_vs))
            scores = q.roll(1, dims=1) @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + bias
            return self.fc((torch.softmax(scores, dim=-1) @ v).transpose(1, 2).flatten(2))

        replace_forward(module.get_submodule(self.culprit), forward)


class ScoresScaledTwice(ModuleDefect):
    """Attention scores are divided by the head's width instead of its square root."""

    component = "c2f"
    culprit = f"{_LAYER}.self_attn"

    def plant(self, module: Any) -> None:
        def forward(self: Any, x: Tensor, bias: Tensor) -> Any:
            q, k, v = (self._heads(w(x)) for w in (self.w_qs, self.w_ks, self.w_vs))
            scores = q @ k.transpose(-1, -2) / q.shape[-1] + bias
            return self.fc((torch.softmax(scores, dim=-1) @ v).transpose(1, 2).flatten(2))

        replace_forward(module.get_submodule(self.culprit), forward)


class CausalMaskAdded(ModuleDefect):
    """One layer sees no key after its query."""

    component = "coarse"
    culprit = f"{_LAYER}.self_attn"

    def plant(self, module: Any) -> None:
        def forward(self: Any, x: Tensor, bias: Tensor) -> Any:
            q, k, v = (self._heads(w(x)) for w in (self.w_qs, self.w_ks, self.w_vs))
            scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + bias
            position = torch.arange(scores.shape[-1])
            scores = scores.masked_fill(position[None] > position[:, None], -1e30)
            return self.fc((torch.softmax(scores, dim=-1) @ v).transpose(1, 2).flatten(2))

        replace_forward(module.get_submodule(self.culprit), forward)


class BiasTransposed(GraphDefect):
    """The position bias is that of query minus key."""

    component = "c2f"
    culprit = "transformer.layers.0.self_attn.relative_attention_bias"

    def plant(self, model: ir.Model) -> None:
        turn = next(
            n
            for n in model.graph
            if n.op_type == "Transpose" and n.metadata_props[MODULE_KEY] == self.culprit
        )
        turn.attributes["perm"] = ir.AttrInt64s("perm", [2, 1, 0])


class ReluGate(ModuleDefect):
    """The feed-forward is gated by a ReLU."""

    component = "c2f"
    culprit = f"{_LAYER}.feed_forward"

    def plant(self, module: Any) -> None:
        def forward(self: Any, x: Tensor) -> Any:
            hidden = self.w_1(x)
            return self.w_2(hidden[..., : self.width] * F.relu(hidden[..., self.width :]))

        replace_forward(module.get_submodule(self.culprit), forward)


class LayerNormForRMSNorm(ModuleDefect):
    """One norm takes the mean off first."""

    component = "coarse"
    culprit = f"{_LAYER}.norm_3"

    def plant(self, module: Any) -> None:
        norm = module.get_submodule(self.culprit)
        forward = norm.forward
        replace_forward(norm, lambda _self, x: forward(x - x.mean(-1, keepdim=True)))


class AttentionResidualLost(ModuleDefect):
    """The attention's output replaces the residual stream."""

    component = "coarse"
    culprit = _LAYER

    def plant(self, module: Any) -> None:
        def forward(self: Any, x: Tensor, bias: Tensor) -> Any:
            x = self.self_attn(self.norm_1(x), bias)
            return x + self.feed_forward(self.norm_3(x))

        replace_forward(module.get_submodule(_LAYER), forward)


class BranchesInParallel(ModuleDefect):
    """Attention and feed-forward of one layer are fed the same input."""

    component = "c2f"
    culprit = _LAYER

    def plant(self, module: Any) -> None:
        def forward(self: Any, x: Tensor, bias: Tensor) -> Any:
            attended = self.self_attn(self.norm_1(x), bias)
            return x + attended + self.feed_forward(self.norm_3(x))

        replace_forward(module.get_submodule(_LAYER), forward)


class LayersInTurn(ModuleDefect):
    """Two layers change places."""

    component = "coarse"
    culprit = "transformer"

    def plant(self, module: Any) -> None:
        def forward(self: Any, x: Tensor) -> Any:
            bias = self.layers[0].self_attn.relative_attention_bias(x.shape[1])
            for i in (0, 2, 1):
                x = self.layers[i](x, bias)
            return self.norm(x)

        replace_forward(module.get_submodule("transformer"), forward)


class LogitsCodebookMajor(ModuleDefect):
    """Positions of the logits are codebook-major instead of time-major."""

    component = "coarse"
    culprit = "classifier"

    def plant(self, module: Any) -> None:
        def forward(self: Any, x: Tensor) -> Any:
            channels = self.layers[0](x)
            entries = torch.unflatten(channels, 1, (-1, self.n_predict_codebooks))
            return entries.flatten(2)

        replace_forward(module.get_submodule("classifier"), forward)


class TablesOfTheNextCodebook(ModuleDefect):
    """Each codebook is looked up in the table of the one after it."""

    component = "c2f"
    culprit = "embedding"

    def plant(self, module: Any) -> None:
        embedding = module.get_submodule("embedding")
        embedding.quantizer = sharing_copy(embedding.quantizer)  # the codec's own, so far
        books = embedding.quantizer.quantizers
        tables = [book.codebook for book in books]
        for book, table in zip(books, [*tables[1:], tables[0]], strict=True):
            book.codebook = table


class MaskTokenDecodedAsAnother(GraphDefect):
    """The mask token reads as code 1 in the decoder."""

    component = "codec_decoder"
    culprit = "quantizer"

    def plant(self, model: ir.Model) -> None:
        tables = model.graph.initializers["quantizer.tables"]
        assert tables.const_value is not None
        rows = tables.const_value.numpy().copy()
        rows[:, -1] = rows[:, 1]  # the mask token's row is the last one
        tables.const_value = ir.tensor(rows, name=tables.name)


class OneChainMissing(ModuleDefect):
    """One of the decoder's parallel chains is left out of the mean."""

    component = "codec_decoder"
    culprit = "decoder.model.2.block.2.mrf_blocks.2"

    def plant(self, module: Any) -> None:
        def forward(self: Any, x: Tensor) -> Any:
            return (self.mrf_blocks[0](x) + self.mrf_blocks[1](x)) / 2

        replace_forward(module.get_submodule("decoder.model.2.block.2"), forward)


class UpsamplingCutOnTheOtherSide(ModuleDefect):
    """A transposed convolution is cropped by other amounts than its padding."""

    component = "codec_decoder"
    culprit = "decoder.model.1.block.1"

    def plant(self, module: Any) -> None:
        block = module.get_submodule("decoder.model.1.block")
        conv = block[1]

        class Cropped(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(conv.weight().detach(), requires_grad=False)
                self.bias = conv.bias

            def forward(self, x: Tensor) -> Tensor:
                whole: Tensor = F.conv_transpose1d(x, self.weight, self.bias, conv.stride)
                early, late = conv.padding - 1, conv.padding + 1
                return whole[..., early : whole.shape[-1] - late]

        block[1] = Cropped()


class NormOverTheWrongAxis(ModuleDefect):
    """A transposed convolution's weight is normalised over its output channels."""

    component = "codec_decoder"
    culprit = "decoder.model.3.block.1"

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


class SnakeOfHalfTheFrequency(ModuleDefect):
    """One Snake of the decoder is half as fast."""

    component = "codec_decoder"
    culprit = "decoder.model.1.block.0"

    def plant(self, module: Any) -> None:
        replace_tensor(module, f"{self.culprit}.alpha", lambda alpha: alpha / 2)


class ReflectedEdges(ModuleDefect):
    """The first convolution reflects the audio at its edges instead of padding zeros."""

    component = "codec_encoder"
    culprit = "encoder.block.0"

    def plant(self, module: Any) -> None:
        def forward(self: Any, x: Tensor) -> Any:
            edge = self.padding
            before = x[..., 1 : edge + 1].flip(-1)
            after = x[..., -edge - 1 : -1].flip(-1)
            return F.conv1d(torch.cat([before, x, after], dim=-1), self.weight(), self.bias)

        conv = module.get_submodule(self.culprit)
        weight, padding = nn.Parameter(conv.weight().detach()), conv.padding

        class Reflecting(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.kernel, self.bias, self.padding = weight, conv.bias, padding

            def weight(self) -> Tensor:
                return self.kernel

        reflecting = Reflecting()
        replace_forward(reflecting, forward)
        module.get_submodule("encoder.block")[0] = reflecting


class ResidualOfNormalisedRows(ModuleDefect):
    """Normalised rows are taken off the residual instead of the rows themselves."""

    component = "codec_encoder"
    culprit = "quantizer.quantizers.0"

    def plant(self, module: Any) -> None:
        for book in module.get_submodule("quantizer.quantizers"):
            replace_tensor(book, "codebook.weight", F.normalize)


WIRING_DEFECTS: tuple[Defect, ...] = (
    HeadsOfQueriesRolled(),
    ScoresScaledTwice(),
    CausalMaskAdded(),
    BiasTransposed(),
    ReluGate(),
    LayerNormForRMSNorm(),
    AttentionResidualLost(),
    BranchesInParallel(),
    LayersInTurn(),
    LogitsCodebookMajor(),
    TablesOfTheNextCodebook(),
    MaskTokenDecodedAsAnother(),
    OneChainMissing(),
    UpsamplingCutOnTheOtherSide(),
    NormOverTheWrongAxis(),
    SnakeOfHalfTheFrequency(),
    ReflectedEdges(),
    ResidualOfNormalisedRows(),
)
