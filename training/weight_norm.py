"""Weights given to weight-normed convolutions."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

from vampnet_onnx.models.networks.layers import WNConv1d, WNConvTranspose1d


def set_weight(conv: WNConv1d | WNConvTranspose1d, weight: Tensor) -> None:
    """Give a convolution a weight of its shape, as norm and direction, and no bias.

    The direction has entries of about unit size, as random ones have: how far a step of Adam
    turns it depends on that.
    """
    rows = weight.flatten(1)
    conv.weight_g.copy_(rows.norm(dim=1)[:, None, None])
    conv.weight_v.copy_((F.normalize(rows) * math.sqrt(rows.shape[1])).view_as(weight))
    conv.bias.zero_()
