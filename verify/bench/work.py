"""How much there is to compute: floating-point operations, from a network's dimensions.

Torch's own counter goes over the network in PyTorch without memory: products and
convolutions, two operations a multiplication with its addition.  So the number is that of the
network, not of a graph made of it, and the same for every contestant; what a weight norm, an
activation or a softmax costs is not in it.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.models import LAC, CodecDims, VampNet, VampNetDims


def flops(record: ComponentRecord, shapes: Sequence[Sequence[int]]) -> int:
    """Return the operations of a network of the manifest on inputs of these shapes."""
    dims: dict[str, Any] = dict(record.dims)
    of_codec = {field.name for field in dataclasses.fields(CodecDims)} <= dims.keys()
    (given,) = shapes
    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as count:
        if of_codec:
            codec = LAC(CodecDims(**dims))
            if record.inputs[0].dtype == "int64":
                codec.decode_codes(_codes(given))
            else:
                codec.encode(torch.empty(*given))
        else:
            # Of a merged model: LoRA layers are folded into the weights.
            model = VampNet(VampNetDims(**dims), rank=0)
            width = model.dims.n_codebooks * model.dims.latent_dim
            model(torch.empty(given[0], width, given[-1]))
    return int(count.get_total_flops())


def _codes(shape: Sequence[int]) -> Tensor:
    return torch.zeros(*shape, dtype=torch.int64)
