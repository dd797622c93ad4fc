"""Defects of attention: its bias, its scores and what it mixes."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .base import Defect, ModuleDefect, replace_forward, replace_tensor

_LAYER = "transformer.layers.1"


class BiasInFirstLayerOnly(ModuleDefect):
    """Later layers attend without the position bias."""

    component = "coarse"
    culprit = f"{_LAYER}.self_attn"

    def plant(self, module: Any) -> None:
        for layer in list(module.get_submodule("transformer.layers").children())[1:]:
            attention = layer.get_submodule("self_attn")
            forward = attention.forward

            def unbiased(self: Any, x: Tensor, bias: Tensor, inner: Any = forward) -> Any:
                return inner(x, bias * 0)

            replace_forward(attention, unbiased)


class BucketOffByOne(ModuleDefect):
    """Position buckets are counted from one."""

    component = "coarse"
    culprit = "transformer.layers.0.self_attn.relative_attention_bias"

    def plant(self, module: Any) -> None:
        replace_tensor(module, f"{self.culprit}.weight", lambda w: w.roll(1, dims=0))


class BucketSidesSwapped(ModuleDefect):
    """The bias of a key before the query is that of one after it."""

    component = "c2f"
    culprit = "transformer.layers.0.self_attn.relative_attention_bias"

    def plant(self, module: Any) -> None:
        replace_tensor(module, f"{self.culprit}.weight", lambda w: w.roll(w.shape[0] // 2, 0))


class ScoresUnscaled(ModuleDefect):
    """Attention scores are not divided by the square root of the head's width."""

    component = "coarse"
    culprit = f"{_LAYER}.self_attn"

    def plant(self, module: Any) -> None:
        _replace_attention(module, scale=1.0)


class InfinityHiddenBySoftmax(ModuleDefect):
    """The first key's score is minus infinity, which the softmax turns into a zero."""

    component = "coarse"
    culprit = f"{_LAYER}.self_attn"

    def plant(self, module: Any) -> None:
        _replace_attention(module, hide_first_key=True)


class BatchItemsMixed(ModuleDefect):
    """Each item of a batch attends to another's values."""

    component = "coarse"
    culprit = f"{_LAYER}.self_attn"

    def plant(self, module: Any) -> None:
        _replace_attention(module, roll_batch=True)


def _replace_attention(
    module: Any,
    *,
    scale: float | None = None,
    hide_first_key: bool = False,
    roll_batch: bool = False,
) -> None:
    def forward(self: Any, x: Tensor, bias: Tensor) -> Any:
        q, k, v = (self._heads(w(x)) for w in (self.w_qs, self.w_ks, self.w_vs))
        scores = q @ k.transpose(-1, -2) / (scale or math.sqrt(q.shape[-1])) + bias
        if hide_first_key:
            first = torch.arange(scores.shape[-1]) == 0
            scores = scores.masked_fill(first, -math.inf)
        if roll_batch:
            v = torch.cat([v[1:], v[:1]])
        mixed = torch.softmax(scores, dim=-1) @ v
        return self.fc(mixed.transpose(1, 2).flatten(2))

    replace_forward(module.get_submodule(f"{_LAYER}.self_attn"), forward)


ATTENTION_DEFECTS: tuple[Defect, ...] = (
    BiasInFirstLayerOnly(),
    BucketOffByOne(),
    BucketSidesSwapped(),
    ScoresUnscaled(),
    InfinityHiddenBySoftmax(),
    BatchItemsMixed(),
)
