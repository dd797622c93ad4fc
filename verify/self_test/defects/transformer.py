"""Defects of the transformers."""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vampnet_onnx.export.passes.sharing import sharing_copy
from vampnet_onnx.models.networks.layers import LoRALinear, RMSNorm

from .base import ForwardDefect, ModuleDefect, ModuleLost, replace_forward, replace_tensor

_LAYER = "transformer.layers.1"


class MissingFeedForwardNorm(ModuleLost, of="c2f", at=f"{_LAYER}.norm_3"):
    """The feed-forward is fed the un-normalised residual (norm_3 left out)."""


class MissingAttentionNorm(ModuleLost, of="coarse", at=f"{_LAYER}.norm_1"):
    """Attention is fed the un-normalised residual (norm_1 left out)."""


class FinalNormLost(ModuleLost, of="coarse", at="transformer.norm"):
    """The norm after the last layer is left out."""


class NormEpsilonTenfold(ModuleDefect, of="coarse", at="transformer.layers.0.norm_1"):
    """RMSNorm adds 1e-5 instead of 1e-6."""

    def plant(self, module: Any) -> None:
        for part in module.modules():
            if isinstance(part, RMSNorm):
                part.eps = 1e-5


class ClassifierScrambled(ModuleDefect, of="coarse", at="classifier.layers.0"):
    """Channels are read as codebook * vocabulary + entry."""

    def plant(self, module: Any) -> None:
        classifier = module.get_submodule("classifier")
        books = classifier.n_predict_codebooks
        assert isinstance(books, int)

        def scramble(rows: Tensor) -> Tensor:
            return torch.unflatten(rows, 0, (-1, books)).transpose(0, 1).flatten(0, 1)

        for name in ("weight_g", "weight_v", "bias"):
            replace_tensor(classifier, f"layers.0.{name}", scramble)


class MaskRowsZero(ModuleDefect, of="coarse", at="embedding"):
    """The mask token is embedded as zeros."""

    def plant(self, module: Any) -> None:
        embedding = module.get_submodule("embedding.embedding")
        replace_tensor(embedding, "special.MASK", torch.zeros_like)


class MaskClippedToLastEntry(ModuleDefect, of="coarse", at="embedding"):
    """The mask token is clipped to the last entry of the vocabulary."""

    def plant(self, module: Any) -> None:
        embedding = module.embedding
        # Clipping the index and giving the mask row the last entry's value are the same.
        books = range(embedding.embedding.special["MASK"].shape[0])
        rows = torch.stack([embedding.quantizer.book(i).codebook.weight[-1] for i in books])
        replace_tensor(embedding.embedding, "special.MASK", lambda _: rows.clone())


class LoRAUnmerged(ModuleDefect, of="coarse", at="transformer.layers.0.self_attn.w_qs"):
    """The low-rank updates are left out."""

    def plant(self, module: Any) -> None:
        for part in _low_rank(module):
            replace_tensor(part, "lora_B", torch.zeros_like)


class LoRAUnscaled(ModuleDefect, of="c2f", at="transformer.layers.0.self_attn.w_qs"):
    """The low-rank updates are merged without the factor alpha / rank."""

    def plant(self, module: Any) -> None:
        for part in _low_rank(module):
            replace_tensor(part, "lora_B", partial(torch.mul, other=part.rank))


class StaleFoldedWeight(ModuleDefect, of="c2f", at="classifier.layers.0"):
    """The classifier keeps the weight it had before its magnitude was loaded."""

    def plant(self, module: Any) -> None:
        replace_tensor(module, f"{self.culprit}.weight_g", torch.ones_like)


class ErfGelu(ModuleDefect, of="coarse", at="transformer.layers.0.feed_forward"):
    """The exact GELU is used in place of its tanh form."""

    def plant(self, module: Any) -> None:
        def forward(part: Any, x: Tensor) -> Any:
            value, gate = part.w_1(x).split(part.width, dim=-1)
            return part.w_2(value * F.gelu(gate))

        for layer in module.get_submodule("transformer.layers").children():
            replace_forward(layer.get_submodule("feed_forward"), forward)


class GegluHalvesSwapped(ForwardDefect, of="coarse", at=f"{_LAYER}.feed_forward"):
    """The first half of the hidden layer gates the second."""

    @staticmethod
    def forward(part: Any, x: Tensor) -> Any:
        gate, value = part.w_1(x).split(part.width, dim=-1)
        return part.w_2(value * F.gelu(gate, approximate="tanh"))


class LayerDropped(ModuleLost, of="coarse", at=_LAYER):
    """One layer is left out."""


class LayerDoubled(ForwardDefect, of="coarse", at=_LAYER):
    """One layer runs twice."""

    @staticmethod
    def forward(layer: Any, x: Tensor, bias: Tensor) -> Any:
        once = type(layer).forward
        return once(layer, once(layer, x, bias), bias)


class SquareMatrixTransposed(ModuleDefect, of="coarse", at=f"{_LAYER}.self_attn.w_ks"):
    """A square weight is copied without its transpose."""

    def plant(self, module: Any) -> None:
        replace_tensor(module, f"{self.culprit}.weight", lambda w: w.t().contiguous())


class EmbeddingCodebooksPermuted(ModuleDefect, of="c2f", at="embedding"):
    """Two codebooks of the input change places."""

    def plant(self, module: Any) -> None:
        entry = module.get_submodule("embedding.embedding")
        width = int(entry.special["MASK"].shape[1])

        def swap(weight: Tensor) -> Tensor:
            first, second, rest = weight.split([width, width, weight.shape[1] - 2 * width], 1)
            return torch.cat([second, first, rest], dim=1)

        replace_tensor(entry, "out_proj.weight", swap)


class WeightOnePercentOff(ModuleDefect, of="coarse", at=f"{_LAYER}.feed_forward.w_2"):
    """The largest entry of one weight is 1 % too large."""

    def plant(self, module: Any) -> None:
        def grow(weight: Tensor) -> Tensor:
            weight.view(-1)[weight.abs().argmax()] *= 1.01
            return weight

        replace_tensor(module, f"{self.culprit}.weight", grow)


class BiasSignFlipped(ModuleDefect, of="c2f", at="classifier.layers.0"):
    """One bias of the classifier has the wrong sign."""

    def plant(self, module: Any) -> None:
        def flip(bias: Tensor) -> Tensor:
            bias[bias.abs().argmax()] *= -1
            return bias

        replace_tensor(module, f"{self.culprit}.bias", flip)


class HalfPrecisionOverflow(ForwardDefect, of="coarse", at=f"{_LAYER}.feed_forward"):
    """The feed-forward's hidden layer overflows float16."""

    @staticmethod
    def forward(part: Any, x: Tensor) -> Any:
        hidden = (part.w_1(x) * 30000.0).half().float() / 30000.0
        value, gate = hidden.split(part.width, dim=-1)
        return part.w_2(value * F.gelu(gate, approximate="tanh"))


class QuantisedScaleOffByAChannel(ModuleDefect, of="coarse", at=f"{_LAYER}.feed_forward.w_1"):
    """Eight-bit weights are scaled by their neighbour's scale."""

    def plant(self, module: Any) -> None:
        def quantise(weight: Tensor) -> Tensor:
            scale = weight.abs().amax(dim=1, keepdim=True) / 127
            return (weight / scale).round() * scale.roll(1, dims=0)

        replace_tensor(module, f"{self.culprit}.weight", quantise)


class ConstantLogits(ModuleDefect, of="coarse", at="classifier.layers.0"):
    """The output does not depend on the input."""

    def plant(self, module: Any) -> None:
        replace_tensor(module, f"{self.culprit}.weight_g", torch.zeros_like)


class NaNForRareValues(ForwardDefect, of="c2f", at=f"{_LAYER}.norm_3"):
    """A norm gives NaN for inputs in a narrow range, which most positions never reach."""

    @staticmethod
    def forward(norm: Any, x: Tensor) -> Any:
        rare = (x[..., :1] > 0.5) & (x[..., :1] < 0.51)
        return torch.where(rare, torch.nan, type(norm).forward(norm, x))


class MaskTokenSampleable(ForwardDefect, of="coarse", at="classifier"):
    """Logits have a row for the mask token."""

    @staticmethod
    def forward(classifier: Any, x: Tensor) -> Any:
        return F.pad(type(classifier).forward(classifier, x), (0, 0, 0, 1))


class ResidualLost(ForwardDefect, of="c2f", at=_LAYER):
    """The feed-forward's output replaces the residual stream."""

    @staticmethod
    def forward(layer: Any, x: Tensor, bias: Tensor) -> Any:
        x = x + layer.self_attn(layer.norm_1(x), bias)
        return layer.feed_forward(layer.norm_3(x))


class ReluGate(ForwardDefect, of="c2f", at=f"{_LAYER}.feed_forward"):
    """The feed-forward is gated by a ReLU."""

    @staticmethod
    def forward(part: Any, x: Tensor) -> Any:
        value, gate = part.w_1(x).split(part.width, dim=-1)
        return part.w_2(value * F.relu(gate))


class LayerNormForRMSNorm(ForwardDefect, of="coarse", at=f"{_LAYER}.norm_3"):
    """One norm takes the mean off first."""

    @staticmethod
    def forward(norm: Any, x: Tensor) -> Any:
        return type(norm).forward(norm, x - x.mean(-1, keepdim=True))


class AttentionResidualLost(ForwardDefect, of="coarse", at=_LAYER):
    """The attention's output replaces the residual stream."""

    @staticmethod
    def forward(layer: Any, x: Tensor, bias: Tensor) -> Any:
        x = layer.self_attn(layer.norm_1(x), bias)
        return x + layer.feed_forward(layer.norm_3(x))


class BranchesInParallel(ForwardDefect, of="c2f", at=_LAYER, also=(f"{_LAYER}.norm_3",)):
    """Attention and feed-forward of one layer are fed the same input."""

    @staticmethod
    def forward(layer: Any, x: Tensor, bias: Tensor) -> Any:
        attended = layer.self_attn(layer.norm_1(x), bias)
        return x + attended + layer.feed_forward(layer.norm_3(x))


class LayersInTurn(ForwardDefect, of="coarse", at="transformer"):
    """Two layers change places."""

    @staticmethod
    def forward(stack: Any, x: Tensor) -> Any:
        bias = stack.layers[0].self_attn.relative_attention_bias(x.shape[1])
        for i in (0, 2, 1):
            x = stack.layers[i](x, bias)
        return stack.norm(x)


class LogitsCodebookMajor(ForwardDefect, of="coarse", at="classifier"):
    """Positions of the logits are codebook-major instead of time-major."""

    @staticmethod
    def forward(classifier: Any, x: Tensor) -> Any:
        channels = classifier.layers[0](x)
        return torch.unflatten(channels, 1, (-1, classifier.n_predict_codebooks)).flatten(2)


class TablesOfTheNextCodebook(ModuleDefect, of="c2f", at="embedding"):
    """Each codebook is looked up in the table of the one after it."""

    def plant(self, module: Any) -> None:
        embedding = module.get_submodule("embedding")
        embedding.quantizer = sharing_copy(embedding.quantizer)  # the codec's own, so far
        books = embedding.quantizer.quantizers
        tables = [book.codebook for book in books]
        for book, table in zip(books, [*tables[1:], tables[0]], strict=True):
            book.codebook = table


def _low_rank(module: Any) -> list[LoRALinear]:
    return [p for p in module.modules() if isinstance(p, LoRALinear) and p.rank]
