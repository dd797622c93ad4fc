"""Weight norm folded into weights."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tests.support.modules import parameters
from vampnet_onnx.export.passes import FoldWeightNorm
from vampnet_onnx.models.networks.layers import WNConv1d, WNConvTranspose1d


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
