"""The reciprocal of a snake, kept."""

from __future__ import annotations

import torch
from torch import nn

from tests.support.modules import parameters
from vampnet_onnx.export.passes import FoldSnake
from vampnet_onnx.models.networks.layers import Snake1d


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
