"""Snake's reciprocal and weight norm, folded into weights."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tests.support.modules import parameters
from vampnet_onnx.export.passes import FoldSnake, FoldWeightNorm
from vampnet_onnx.models.networks.layers import Snake1d, WNConv1d, WNConvTranspose1d


def test_snake_keeps_its_reciprocal() -> None:
    holder = nn.Sequential(Snake1d(3))
    holder[0].alpha.data = torch.tensor([0.5, -2.0, 3.0])[None, :, None]
    x = torch.linspace(-3, 3, 30).reshape(1, 3, 10)
    alpha = holder[0].alpha.data
    expected = x + torch.sin(alpha * x).pow(2) / (alpha + 1e-9)
    FoldSnake().call(holder)
    FoldSnake().ensures(holder)
    assert parameters(holder) == {"alpha", "inverse"}
    torch.testing.assert_close(holder(x), expected, rtol=1e-6, atol=1e-6)


def test_weight_norm_is_folded_to_g_v_over_its_norm() -> None:
    draw = torch.Generator().manual_seed(0)
    holder = nn.Module()
    holder.a = WNConv1d(3, 5, 7, stride=2, padding=3, dilation=1)
    holder.b = WNConvTranspose1d(3, 5, 4, stride=2, padding=1)
    for conv in (holder.a, holder.b):
        for value in conv.parameters():
            value.data = torch.randn(value.shape, generator=draw)
    x = torch.randn(2, 3, 20, generator=draw)
    by_hand = {}
    for key in ("a", "b"):
        conv = getattr(holder, key)
        norm = conv.weight_v.flatten(1).norm(dim=1)[:, None, None]
        by_hand[key] = conv.weight_g * conv.weight_v / norm
    expected = (
        F.conv1d(x, by_hand["a"], holder.a.bias, stride=2, padding=3),
        F.conv_transpose1d(x, by_hand["b"], holder.b.bias, stride=2, padding=1),
    )
    result = FoldWeightNorm().call(holder)
    FoldWeightNorm().ensures(holder)
    assert result.changed == 2 and parameters(holder) == {"weight", "bias"}
    for key, wanted in zip("ab", expected, strict=True):
        torch.testing.assert_close(getattr(holder, key)(x), wanted, rtol=1e-5, atol=1e-5)
