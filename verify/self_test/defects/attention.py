"""Defects of attention: its bias, its scores and what it mixes."""

import math
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor

from .base import GraphDefect, ModuleDefect, nodes_of, replace_forward, replace_tensor

_TABLE = "transformer.layers.0.self_attn.relative_attention_bias"


class AttentionDefect(ModuleDefect):
    """A mistake in the attention of one layer: a subclass has one of its steps wrong."""

    culprit = "transformer.layers.1.self_attn"

    def plant(self, module: Any) -> None:
        """Replace the forward by one of these steps."""

        def forward(attention: Any, x: Tensor, bias: Tensor) -> Any:
            weights = (attention.w_qs, attention.w_ks, attention.w_vs)
            q, k, v = (attention._heads(weight(x)) for weight in weights)
            mixed = torch.softmax(self.scores(q, k) + bias, dim=-1) @ self.values(v)
            return attention.fc(mixed.transpose(1, 2).flatten(2))

        replace_forward(module.get_submodule(self.culprit), forward)

    def scores(self, q: Tensor, k: Tensor) -> Tensor:
        """Return how much each query attends to each key, without bias: [B, heads, T, T]."""
        return q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])

    def values(self, v: Tensor) -> Tensor:
        """Return what is mixed: [B, heads, T, width]."""
        return v


class BiasInFirstLayerOnly(ModuleDefect, of="coarse", at="transformer.layers.1.self_attn"):
    """Later layers attend without the position bias."""

    def plant(self, module: Any) -> None:
        for layer in list(module.get_submodule("transformer.layers").children())[1:]:
            attention = layer.get_submodule("self_attn")
            forward = attention.forward

            def unbiased(self: Any, x: Tensor, bias: Tensor, inner: Any = forward) -> Any:
                return inner(x, bias * 0)

            replace_forward(attention, unbiased)


class BucketOffByOne(ModuleDefect, of="coarse", at=_TABLE):
    """Position buckets are counted from one."""

    def plant(self, module: Any) -> None:
        replace_tensor(module, f"{self.culprit}.weight", lambda w: w.roll(1, dims=0))


class BucketSidesSwapped(ModuleDefect, of="c2f", at=_TABLE):
    """The bias of a key before the query is that of one after it."""

    def plant(self, module: Any) -> None:
        replace_tensor(module, f"{self.culprit}.weight", lambda w: w.roll(w.shape[0] // 2, 0))


class ScoresUnscaled(AttentionDefect, of="coarse"):
    """Attention scores are not divided by the square root of the head's width."""

    def scores(self, q: Tensor, k: Tensor) -> Tensor:
        return q @ k.transpose(-1, -2)


class InfinityHiddenBySoftmax(AttentionDefect, of="coarse"):
    """The first key's score is minus infinity, which the softmax turns into a zero."""

    def scores(self, q: Tensor, k: Tensor) -> Tensor:
        scores = super().scores(q, k)
        return scores.masked_fill(torch.arange(scores.shape[-1]) == 0, -math.inf)


class BatchItemsMixed(AttentionDefect, of="coarse"):
    """Each item of a batch attends to another's values."""

    def values(self, v: Tensor) -> Tensor:
        return torch.cat([v[1:], v[:1]])


class HeadsOfQueriesRolled(AttentionDefect, of="coarse"):
    """Each head's queries meet the keys of the next head."""

    def scores(self, q: Tensor, k: Tensor) -> Tensor:
        return super().scores(q.roll(1, dims=1), k)


class ScoresScaledTwice(AttentionDefect, of="c2f"):
    """Attention scores are divided by the head's width instead of its square root."""

    def scores(self, q: Tensor, k: Tensor) -> Tensor:
        return q @ k.transpose(-1, -2) / q.shape[-1]


class CausalMaskAdded(AttentionDefect, of="coarse"):
    """One layer sees no key after its query."""

    def scores(self, q: Tensor, k: Tensor) -> Tensor:
        scores = super().scores(q, k)
        position = torch.arange(scores.shape[-1])
        return scores.masked_fill(position[None] > position[:, None], -1e30)


class BiasTransposed(GraphDefect, of="c2f", at=_TABLE):
    """The position bias is that of query minus key."""

    def plant(self, model: ir.Model) -> None:
        turn = next(nodes_of(model, self.culprit, "Transpose"))
        turn.attributes["perm"] = ir.AttrInt64s("perm", [2, 1, 0])
